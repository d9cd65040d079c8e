"""`on_write`: the application's function between what is given and what is stored."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

import perdure
from perdure import (
    DELETE,
    AppScope,
    Config,
    InvalidError,
    NewAnnotation,
    NewArtifact,
    NewEvent,
    NewSession,
    NewState,
    NotFoundError,
    SessionKey,
    UserScope,
)
from perdure.testing.databases import Dump, OpenStore

SECRET = "sk-12345"
USER = UserScope("support", "ada")


def cleaned(value: Any) -> Any:
    """The value without what looks like a key."""
    if isinstance(value, str):
        return re.sub(r"sk-\d+", "[key]", value)
    if isinstance(value, dict):
        return {cleaned(key): cleaned(item) for key, item in value.items()}
    return [cleaned(item) for item in value] if isinstance(value, list) else value


def redacting(record: Any) -> Any:
    if isinstance(record, NewEvent):
        return replace(
            record,
            content=cleaned(record.content),
            metadata=cleaned(record.metadata),
            state_delta=cleaned(record.state_delta),
            error=cleaned(record.error),
            extra=cleaned(record.extra),
        )
    if isinstance(record, NewSession):
        fields = ("title", "author", "agent_type", "tags", "metadata", "state")
        return replace(record, **{name: cleaned(getattr(record, name)) for name in fields})
    if isinstance(record, NewAnnotation):
        return replace(record, value=cleaned(record.value))
    if isinstance(record, NewState):
        return replace(record, values=cleaned(record.values))
    return replace(record, data=record.data.replace(SECRET.encode(), b"[key]"))


class RefusedError(Exception):
    """The application's own."""


def refusing(record: Any) -> Any:
    if SECRET in repr(record):
        raise RefusedError(type(record).__name__)
    return record


def noting(seen: list[Any]) -> Callable[[Any], Any]:
    def note(record: Any) -> Any:
        seen.append(record)
        return record

    return note


async def test_what_it_changed_is_what_is_stored_and_returned(
    open_store: OpenStore, key: SessionKey, dump: Dump
) -> None:
    store = await open_store(on_write=redacting)
    given = {"role": "user", "content": f"My key is {SECRET}."}
    event = NewEvent(
        given,
        metadata={"m": SECRET},
        state_delta={"k": SECRET, "user:k": SECRET, "app:k": SECRET},
        error=SECRET,
        extra={"e": [SECRET]},
    )

    told = (await store.events.append(key, event)).event
    replaced = await store.events.replace_suffix(key, 1, [f"again {SECRET}"])
    async with store.turn() as turn:
        in_turn = turn.events.append(key, f"in a turn {SECRET}")
    await store.events.redact(key, told.id, f"redacted {SECRET}")
    await store.state.set(USER, {"u": {"deep": [SECRET]}, "gone": DELETE})
    created = await store.sessions.create(
        "support", "ada", "new", title=SECRET, tags=[SECRET], metadata={"m": SECRET},
        author=SECRET, agent_type=SECRET, state={"s": SECRET},
    )  # fmt: skip
    updated = await store.sessions.update(key, title=SECRET, tags=[SECRET], metadata={"m": SECRET})
    note = await store.events.annotate(key, "comment", {"why": SECRET})
    await store.artifacts.save(USER, "f", f"x {SECRET} y".encode())

    assert told.content == {"role": "user", "content": "My key is [key]."}
    assert (told.metadata, told.state_delta) == (
        {"m": "[key]"},
        {"k": "[key]", "user:k": "[key]", "app:k": "[key]"},
    )
    assert (await store.events.get(key, told.id)).content == "redacted [key]"
    assert replaced.event.content == "again [key]"
    assert in_turn.value.event.text == "in a turn [key]"
    assert (await store.state.get(USER, "u")).value == {"deep": ["[key]"]}
    assert await store.state.merged(created.key) == {
        "s": "[key]", "user:k": "[key]", "user:u": {"deep": ["[key]"]}, "app:k": "[key]",
    }  # fmt: skip
    assert (await store.artifacts.load(USER, "f")).data == b"x [key] y"
    assert (created.title, created.tags, created.metadata) == ("[key]", ("[key]",), {"m": "[key]"})
    assert (created.author, created.agent_type) == ("[key]", "[key]")
    assert (updated.title, updated.tags, updated.metadata) == ("[key]", ("[key]",), {"m": "[key]"})
    assert note.value == {"why": "[key]"}
    assert given["content"] == f"My key is {SECRET}."
    assert SECRET not in repr(await dump())


async def test_the_same_event_again_is_still_the_same(
    open_store: OpenStore, key: SessionKey, dump: Dump
) -> None:
    store = await open_store(on_write=redacting)
    event = NewEvent(f"My key is {SECRET}.", id="e1", state_delta={"k": SECRET})
    first = await store.events.append(key, event)
    stored = await dump()

    again = await store.events.append(key, event)

    assert (again.duplicate, again.event) == (True, first.event)
    assert await dump() == stored
    # Also for those who give it as it was stored.
    plain = NewEvent("My key is [key].", id="e1", state_delta={"k": "[key]"})
    assert (await store.events.append(key, plain)).duplicate


async def test_a_handle_holds_what_was_stored(open_store: OpenStore) -> None:
    store = await open_store(on_write=redacting)
    chat = await store.session("support", "ada", "chat", state={"s": SECRET})
    chat.state["k"] = SECRET
    chat.state["temp:k"] = SECRET

    await chat.append(f"My key is {SECRET}.")

    assert chat.events[-1].content == "My key is [key]."
    assert dict(chat.state) == {"s": "[key]", "k": "[key]", "temp:k": SECRET}
    await chat.refresh()
    assert dict(chat.state) == {"s": "[key]", "k": "[key]", "temp:k": SECRET}


async def test_what_it_refuses_is_not_stored_and_its_error_is_the_callers(
    open_store: OpenStore, key: SessionKey, dump: Dump
) -> None:
    store = await open_store(on_write=refusing)
    before = await dump()

    calls: dict[str, Callable[[], Any]] = {
        "NewEvent": lambda: store.events.append(key, "fine", SECRET),
        "NewState": lambda: store.state.set(key, {"k": SECRET}),
        "NewArtifact": lambda: store.artifacts.save(key, "f", SECRET.encode()),
        "NewSession": lambda: store.sessions.update(key, title=SECRET),
        "NewAnnotation": lambda: store.events.annotate(key, "n", SECRET),
    }
    for name, call in calls.items():
        with pytest.raises(RefusedError, match=name):
            await call()
    with pytest.raises(RefusedError, match="NewSession"):
        await store.sessions.create("support", "ada", "new", state={"k": SECRET})

    async def in_a_turn() -> None:
        async with store.turn() as turn:
            turn.events.append(key, "fine")
            turn.events.append(key, SECRET)

    with pytest.raises(RefusedError, match="NewEvent"):
        await in_a_turn()
    assert await dump() == before
    await store.events.append(key, "fine")


async def test_it_sees_each_write_once_as_it_was_given(
    open_store: OpenStore, key: SessionKey
) -> None:
    seen: list[Any] = []
    store = await open_store(on_write=noting(seen))
    event = NewEvent("one", id="e1", author="ada")

    await store.events.append(key, event, "two", NewEvent("part", partial=True))
    await store.state.set(AppScope("support"), {"a": 1})
    await store.sessions.create("support", "ada", "s", state={"user:b": 2})
    await store.sessions.create("support", "ada", "without")
    await store.sessions.update(key, title="t", metadata={"m": DELETE})
    await store.events.annotate(key, "n", 1, by="ada")
    await store.artifacts.save(key, "user:f", b"x", mime_type="a/b", metadata={"m": 1})
    await store.events.redact(key, "e1", "gone")
    await store.events.read(key)
    await store.state.delete(AppScope("support"), "a")

    assert seen == [
        event,
        NewEvent("two"),
        NewState(AppScope("support"), {"a": 1}),
        NewSession(SessionKey("support", "ada", "s"), "", "", "", (), None, {"user:b": 2}),
        NewSession(SessionKey("support", "ada", "without"), "", "", "", (), None, None),
        NewSession(key, title="t", metadata={"m": DELETE}),
        NewAnnotation(key, "n", 1, None, "ada"),
        NewArtifact(USER, "f", b"x", "a/b", {"m": 1}),
        NewEvent("gone", id="e1"),
    ]


async def test_it_is_not_called_again_when_a_plan_is_run_again(
    open_store: OpenStore, key: SessionKey
) -> None:
    seen: list[Any] = []
    store = await open_store(on_write=noting(seen))

    with pytest.raises(NotFoundError):
        await store.events.append(SessionKey("support", "ada", "unknown"), "lost")
    await store.events.append(key, "kept")

    assert seen == [NewEvent("lost"), NewEvent("kept")]


async def test_what_it_returns_is_checked_as_what_is_given(
    open_store: OpenStore, key: SessionKey, dump: Dump
) -> None:
    before = await dump()
    wrong: list[tuple[Callable[[Any], Any], str]] = [
        (lambda _: None, "NoneType"),
        (lambda _: "text", "str"),
        (lambda _: NewState(key, {}), "NewState"),
        (lambda event: replace(event, content=float("nan")), "nan"),
        (lambda event: replace(event, partial=True), "partial"),
    ]

    for hook, words in wrong:
        store = await open_store(on_write=hook)
        with pytest.raises(InvalidError, match=words):
            await store.events.append(key, "hi")
    assert await dump() == before


async def _async_hook(record: Any) -> Any:
    return record


class _AsyncHook:
    async def __call__(self, record: Any) -> Any:
        return record


@pytest.mark.parametrize("hook", [_async_hook, _AsyncHook()], ids=["function", "object"])
def test_an_async_one_is_refused_when_the_store_is_opened(hook: Any) -> None:
    with pytest.raises(InvalidError, match="plain function") as refused:
        perdure.open(Config(url="memory:", on_write=hook))
    assert refused.value.path == "on_write"


def _wrapped(hook: Any, record: Any) -> Any:
    return hook(record)


async def test_one_that_turns_out_to_be_async_is_refused_by_the_write(
    open_store: OpenStore, key: SessionKey
) -> None:
    store = await open_store(on_write=partial(_wrapped, _async_hook))

    with pytest.raises(InvalidError, match="plain function"):
        await store.events.append(key, "hi")


def test_what_cannot_be_called_is_refused() -> None:
    hook: Any = "redact"
    with pytest.raises(InvalidError, match="on_write must be callable"):
        perdure.open("memory:", on_write=hook)
