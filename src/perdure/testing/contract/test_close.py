"""Closing: what was accepted is stored, and everything else says that the store is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

import perdure
from perdure import AppScope, ClosedError, SessionKey, Store, UserScope
from perdure.features.events import Events
from perdure.features.sessions import Sessions
from perdure.features.state import State
from perdure.testing.databases import Database, Reopen

pytestmark = pytest.mark.own_engine

KEY = SessionKey("support", "ada", "chat")


def _sessions_methods() -> dict[str, Callable[[Store], Awaitable[object]]]:
    return {
        "create": lambda store: store.sessions.create("support", "ada"),
        "get": lambda store: store.sessions.get(KEY),
        "find": lambda store: store.sessions.find(KEY),
        "get_or_create": lambda store: store.sessions.get_or_create(*KEY),
        "update": lambda store: store.sessions.update(KEY, title="x"),
        "list": lambda store: store.sessions.list(),
        "iter": lambda store: anext(store.sessions.iter()),
        "count": lambda store: store.sessions.count(),
        "delete": lambda store: store.sessions.delete(KEY),
        "restore": lambda store: store.sessions.restore(KEY),
        "purge": lambda store: store.sessions.purge(KEY),
        "fork": lambda store: store.sessions.fork(KEY),
        "hold": lambda store: store.sessions.hold(KEY, by="me", reason="a case"),
        "release": lambda store: store.sessions.release(KEY, by="me"),
        "find_hold": lambda store: store.sessions.find_hold(KEY),
        "lease": lambda store: store.sessions.lease(KEY, "run"),
        "find_lease": lambda store: store.sessions.find_lease(KEY),
    }


def _events_methods() -> dict[str, Callable[[Store], Awaitable[object]]]:
    return {
        "append": lambda store: store.events.append(KEY, "x"),
        "append nothing": lambda store: store.events.append(KEY),
        "get": lambda store: store.events.get(KEY, "e"),
        "find": lambda store: store.events.find(KEY, "e"),
        "locate": lambda store: store.events.locate("support", "e"),
        "read": lambda store: store.events.read(KEY),
        "contents": lambda store: store.events.contents(KEY),
        "list": lambda store: store.events.list(KEY),
        "iter": lambda store: anext(store.events.iter(KEY)),
        "count": lambda store: store.events.count(KEY),
        "window": lambda store: store.events.window(KEY),
        "messages": lambda store: store.events.messages(KEY),
        "tail": lambda store: anext(store.events.tail(KEY)),
        "prune": lambda store: store.events.prune(KEY, keep_last=1),
        "rewind": lambda store: store.events.rewind(KEY, 0),
        "pop": lambda store: store.events.pop(KEY),
        "replace_suffix": lambda store: store.events.replace_suffix(KEY, 0, ["x"]),
        "clear": lambda store: store.events.clear(KEY),
        "delete": lambda store: store.events.delete(KEY, ids=["e"]),
        "redact": lambda store: store.events.redact(KEY, "e", "x"),
        "branches": lambda store: store.events.branches(KEY),
        "switch": lambda store: store.events.switch(KEY, "b"),
        "drop_branch": lambda store: store.events.drop_branch(KEY, "b"),
        "annotate": lambda store: store.events.annotate(KEY, "n", 1),
        "annotations": lambda store: store.events.annotations(KEY),
        "context": lambda store: store.events.context(KEY),
    }


def _state_methods() -> dict[str, Callable[[Store], Awaitable[object]]]:
    return {
        "get": lambda store: store.state.get(KEY, "a"),
        "find": lambda store: store.state.find(UserScope("a", "u"), "a"),
        "list": lambda store: store.state.list(AppScope("a")),
        "iter": lambda store: anext(store.state.iter(AppScope("a"))),
        "merged": lambda store: store.state.merged(KEY),
        "set": lambda store: store.state.set(AppScope("a"), {"a": 1}),
        "set nothing": lambda store: store.state.set(AppScope("a"), {}),
        "delete": lambda store: store.state.delete(KEY, "a"),
        "at": lambda store: store.state.at(KEY, 0),
        "history": lambda store: store.state.history(KEY, "a"),
    }


async def _turn(store: Store) -> None:
    async with store.turn() as turn:
        turn.events.append(KEY, "x")


async def _empty_turn(store: Store) -> None:
    async with store.turn():
        pass


def _store_methods() -> dict[str, Callable[[Store], Awaitable[object]]]:
    return {
        "session": lambda store: store.session(*KEY),
        "turn": _turn,
        "turn of nothing": _empty_turn,
        "erase_user": lambda store: store.erase_user("support", "ada"),
        "export_user": lambda store: anext(store.export_user("support", "ada")),
        "sweep": lambda store: store.sweep(),
        "sweep dry": lambda store: store.sweep(dry_run=True),
        "migrate": lambda store: store.migrate(),
        "search": lambda store: store.search("support", "ada", "parcel"),
        "index": lambda store: store.index("support"),
        "usage": lambda store: store.usage(),
        "du": lambda store: store.du(),
        "start_workers": lambda store: store.start_workers(),
        "step": lambda store: store.step("run", "step", len, "x"),
        "steps.find": lambda store: store.steps.find("run", "step"),
        "steps.list": lambda store: store.steps.list("run"),
        "steps.delete": lambda store: store.steps.delete("run"),
    }


METHODS = {
    f"{feature}.{name}": call
    for feature, calls in {
        "sessions": _sessions_methods(),
        "events": _events_methods(),
        "state": _state_methods(),
        "store": _store_methods(),
    }.items()
    for name, call in calls.items()
}


def test_the_list_of_methods_is_complete() -> None:
    public = {
        f"{feature}.{name}"
        for feature, owner in {
            "sessions": Sessions,
            "events": Events,
            "state": State,
        }.items()
        for name in dir(owner)
        if not name.startswith("_") and name != "name"
    }

    assert public - set(METHODS) == set()


async def test_a_closed_store_says_so_whatever_is_asked(lone: Database) -> None:
    store = lone.open()
    chat = await store.session(*KEY)
    await store.events.append(KEY, "hi")
    await store.close()
    wrong = []
    calls: dict[str, Callable[[Store], Awaitable[object]]] = {
        **METHODS,
        "handle.append": lambda _: chat.append("x"),
        "handle.append nothing": lambda _: chat.append(),
        "handle.refresh": lambda _: chat.refresh(),
    }
    for name, call in calls.items():
        try:
            await call(store)
        except ClosedError:
            continue
        except Exception as error:  # noqa: BLE001 - any other error is what is looked for
            wrong.append(f"{name}: {type(error).__name__}")
        else:
            wrong.append(f"{name}: no error")

    assert wrong == []


async def test_a_closed_async_store_cannot_be_entered() -> None:
    store = perdure.open("memory:")
    await store.close()

    with pytest.raises(ClosedError):
        await store


async def test_closing_twice_is_closing(lone: Database) -> None:
    store = lone.open()
    await store.sessions.create(*KEY)

    await store.close()
    await store.close()


async def test_closing_a_store_that_was_never_used_is_no_error(lone: Database) -> None:
    await lone.open().close()


async def test_what_was_accepted_before_the_close_is_stored(
    store: Store, key: SessionKey, reopen: Reopen
) -> None:
    tasks = [asyncio.ensure_future(store.events.append(key, f"{n}")) for n in range(20)]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    acknowledged = len(done)

    await asyncio.gather(*tasks, return_exceptions=True)
    store = await reopen()

    assert await store.events.count(key) >= acknowledged
    assert await store.events.count(key) == sum(task.exception() is None for task in tasks)
