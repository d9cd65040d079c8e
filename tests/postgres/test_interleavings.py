"""Two transactions that go through the same rows, one of them stopped halfway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import perdure
from perdure import DeniedError, NewEvent, SessionKey, Store, UserScope
from perdure.features.approvals import Approvals
from perdure.features.events import Events
from perdure.features.sessions import Sessions
from perdure.features.state import State
from tests.postgres.servers import fetch, wait_until
from tests.postgres.stepping import stepping

ADA = ("app", "ada")
USER = UserScope("app", "ada")

_WAITING = """SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'"""


def run(test: Callable[[Store], Coroutine[Any, Any, None]], url: str) -> None:
    async def whole() -> None:
        async with perdure.open(url) as store:
            await asyncio.wait_for(test(store), 60)

    asyncio.run(whole())


async def somebody_waits(url: str) -> None:
    """Until a statement waits for a row that another transaction holds."""

    def waits() -> bool:
        return int(fetch(url, _WAITING)[0][0]) > 0

    await asyncio.to_thread(wait_until, waits, "one waits for a lock")


async def all_of(store: Store) -> list[str]:
    """What there is of Ada, by the table of each row."""
    return [line async for line in store.export_user(*ADA)]


def test_who_is_created_while_the_person_is_erased_is_there_whole_or_not_at_all(
    database: str,
) -> None:
    async def test(store: Store) -> None:
        state = {"own": "1", "user:phone": "555"}
        making = stepping(
            database, Sessions.create, store.sessions, *ADA, "s1", title="t", state=state
        )
        async with making as made:
            await made.to_the_end()
            erasing = asyncio.create_task(store.erase_user(*ADA))
            await asyncio.sleep(0.2)
            await made.commit()
            await erasing

        session = await store.sessions.find(SessionKey(*ADA, "s1"))
        left = await all_of(store)
        if session is None:
            assert left == []
        else:
            assert session.title == "t"
            assert await store.state.find(USER, "phone") is not None
            assert await store.state.find(session.key, "own") is not None

    run(test, database)


def test_an_append_under_way_is_erased_with_its_session(database: str) -> None:
    async def test(store: Store) -> None:
        key = (await store.sessions.create(*ADA, "s1", state={"user:phone": "555"})).key
        making = stepping(database, Sessions.update, store.sessions, key, title="secret")
        async with making as made:
            await made.to_the_end()
            erasing = asyncio.create_task(store.erase_user(*ADA))
            await somebody_waits(database)
            assert not erasing.done()
            await made.commit()
            receipt = await erasing

        assert receipt.removed["sessions"] == 1
        assert await all_of(store) == []

    run(test, database)


def test_an_import_that_has_begun_is_erased_and_a_later_one_denied(database: str) -> None:
    async def test(store: Store) -> None:
        making = stepping(database, Sessions.create, store.sessions, *ADA, "s1", imported=True)
        async with making as made:
            await made.before("insert")
            erasing = asyncio.create_task(store.erase_user(*ADA))
            await somebody_waits(database)
            await made.commit()
            await erasing

        assert await all_of(store) == []
        with pytest.raises(DeniedError, match="'ada'"):
            await store.sessions.create(*ADA, "s1", imported=True)

    run(test, database)


def test_keys_that_are_set_while_the_person_is_erased_stay_together(database: str) -> None:
    async def test(store: Store) -> None:
        await store.state.set(USER, {"a": 1})
        async with stepping(database, State.set, store.state, USER, {"a": 2, "b": 2}) as made:
            await made.to_the_end()
            erasing = asyncio.create_task(store.erase_user(*ADA))
            await somebody_waits(database)
            await made.commit()
            await erasing

        left = {entry.name: entry.value for entry in (await store.state.list(USER)).items}
        assert left in ({}, {"a": 2, "b": 2})

    run(test, database)


def test_a_fork_that_is_being_made_is_redacted_too(database: str) -> None:
    async def test(store: Store) -> None:
        key = (await store.sessions.create(*ADA, "s1")).key
        await store.events.append(key, NewEvent("the secret", id="e1"))
        first = (await store.sessions.fork(key, id="f1")).key
        async with stepping(database, Sessions.fork, store.sessions, first, id="f2") as made:
            await made.before("copy_terms")
            redacting = asyncio.create_task(store.events.redact(key, "e1"))
            await somebody_waits(database)
            await made.commit()
            await redacting

        for name in ("s1", "f1", "f2"):
            [event] = await store.events.read(SessionKey(*ADA, name))
            assert "secret" not in repr(event), name
        assert "secret" not in "".join(await all_of(store))

    run(test, database)


def test_a_redaction_does_not_fail_because_a_fork_is_purged_meanwhile(database: str) -> None:
    async def test(store: Store) -> None:
        key = (await store.sessions.create(*ADA, "s1")).key
        await store.events.append(key, NewEvent("the secret", id="e1"))
        fork = (await store.sessions.fork(key, id="f1")).key
        async with stepping(database, Sessions.purge, store.sessions, fork) as made:
            await made.to_the_end()
            redacting = asyncio.create_task(store.events.redact(key, "e1"))
            await somebody_waits(database)
            await made.commit()
            await redacting

        assert "secret" not in "".join(await all_of(store))
        assert await store.sessions.find(fork) is None

    run(test, database)


def test_who_gets_or_creates_beside_a_short_life_gets_a_session(database: str) -> None:
    async def test(store: Store) -> None:
        key = SessionKey(*ADA, "s1")
        async with stepping(database, Sessions.get_or_create, store.sessions, *key) as made:
            await made.before("insert")
            await store.sessions.create(*key)
            await store.sessions.delete(key)
            await made.commit()

        assert await store.sessions.find(key) is not None

    run(test, database)


def asks(store: Store, key: SessionKey) -> Any:
    return Approvals.request, store.approvals, ("pay", {}), {"session": key, "tool_call_id": "c1"}


def appends(store: Store, key: SessionKey) -> Any:
    return Events.append, store.events, (key, NewEvent("Hello.")), {}


def updates(store: Store, key: SessionKey) -> Any:
    return Sessions.update, store.sessions, (key,), {"title": "t"}


@pytest.mark.parametrize("writes", [asks, appends, updates])
def test_a_session_that_is_created_while_somebody_looks_for_it_is_no_stale_one(
    database: str, writes: Callable[[Store, SessionKey], Any]
) -> None:
    async def test(store: Store) -> None:
        key = SessionKey(*ADA, "s1")
        what, feature, args, options = writes(store, key)
        async with stepping(database, what, feature, *args, **options) as made:
            # It has not found the session, and is about to look why.
            await made.before("find")
            await store.sessions.create(*key)
            await made.to_the_end()
            await made.commit()

        found = await store.sessions.get(key)
        asked = await store.approvals.list(app="app")
        assert (found.event_count, found.title, len(asked.items)) in [
            (1, "", 0),
            (0, "t", 0),
            (0, "", 1),
        ]

    run(test, database)
