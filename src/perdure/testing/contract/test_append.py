"""Appends: what is stored, once, in order, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import (
    DELETE,
    ConflictError,
    Event,
    EventError,
    InvalidError,
    NewEvent,
    NotFoundError,
    Opaque,
    SessionKey,
    StaleSessionError,
    Store,
)
from perdure.testing.clocks import START, FixedClock
from perdure.testing.databases import Dump, Reopen


def contents(events: Sequence[Event]) -> list[Any]:
    return [event.content for event in events]


async def test_one_event_is_stored_with_a_version_of_its_own(
    store: Store, key: SessionKey, reopen: Reopen
) -> None:
    done = await store.events.append(key, "hello")

    event = done.event
    assert (done.version, done.duplicate, done.events) == (2, False, (event,))
    assert (event.seq, event.prev, event.version, event.partial) == (1, 0, 2, False)
    store = await reopen()
    assert await store.events.read(key) == [event]
    session = await store.sessions.get(key)
    assert (session.version, session.event_count) == (2, 1)
    assert (session.head_seq, session.last_seq, session.preview) == (1, 1, "hello")


async def test_many_events_are_one_version_and_follow_each_other(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, "zero")
    done = await store.events.append(key, "one", "two", "three")

    assert [(e.seq, e.prev, e.version) for e in done] == [(2, 1, 3), (3, 2, 3), (4, 3, 3)]
    assert (done.version, done.event.content) == (3, "three")
    assert await store.events.read(key, after_seq=1) == list(done.events)


async def test_no_event_is_a_no_op(store: Store, key: SessionKey, dump: Dump) -> None:
    before = await dump()

    done = await store.events.append(key)

    assert (done.events, done.version, done.duplicate) == ((), 1, False)
    assert await dump() == before


async def test_if_one_event_is_refused_none_is_stored(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    before = await dump()

    with pytest.raises(InvalidError):
        await store.events.append(key, "fine", NewEvent())
    with pytest.raises(InvalidError):
        await store.events.append(key, NewEvent("fine", state_delta={"a": 1}), float("nan"))  # type: ignore[arg-type]

    assert await dump() == before


EMPTY: list[NewEvent] = [
    NewEvent(),
    NewEvent(id="e1", author="ada", run_id="r", branch="b", filter_key="f", timestamp=START),
    NewEvent(metadata={}, extra={}, state_delta={}),
    NewEvent(partial=True),
]


@pytest.mark.parametrize("event", EMPTY)
async def test_an_event_that_says_nothing_is_refused(
    store: Store, key: SessionKey, event: NewEvent
) -> None:
    with pytest.raises(InvalidError, match="needs content"):
        await store.events.append(key, event)
    assert await store.events.count(key) == 0


SAYING: list[NewEvent] = [
    NewEvent(error="boom"),
    NewEvent(usage={"tokens": 0}),
    NewEvent(metadata={"a": 1}),
    NewEvent(extra={"a": 1}),
    NewEvent(state_delta={"a": 1}),
    NewEvent(state_delta={"user:a": DELETE}),
    NewEvent(""),
    NewEvent(0),
    NewEvent(False),
    NewEvent([]),
    NewEvent({}),
    NewEvent(Opaque("raw", b"")),
]


@pytest.mark.parametrize("event", SAYING)
async def test_an_event_that_says_anything_is_stored(
    store: Store, key: SessionKey, event: NewEvent
) -> None:
    done = await store.events.append(key, event)

    [stored] = await store.events.read(key)
    assert stored == done.event
    assert (stored.content, type(stored.content)) == (event.content, type(event.content))


async def test_a_text_a_message_and_an_event_are_all_taken(store: Store, key: SessionKey) -> None:
    message = {"role": "assistant", "content": "hi"}

    text, mapping, event = await store.events.append(key, "hi", message, NewEvent(message))

    assert (text.content, text.role, text.author, text.kind) == ("hi", "user", "user", "message")
    assert (mapping.content, mapping.role, mapping.author) == (message, "assistant", "assistant")
    same = replace(event, id=mapping.id, seq=mapping.seq, prev=mapping.prev)
    assert same == mapping
    assert mapping.format == "openai.chat"


@pytest.mark.parametrize("given", [None, 1, ["hi"], b"hi", ("user", "hi")])
async def test_what_is_no_event_is_refused(store: Store, key: SessionKey, given: Any) -> None:
    with pytest.raises(InvalidError, match="an event is"):
        await store.events.append(key, given)


FULL = NewEvent(
    {"role": "assistant", "content": "hi", "more": [1, 2.5, None, True, {"é": "\U0001f600\0"}]},
    id="e-1",
    author="the agent",
    run_id="run-1",
    branch="main.sub",
    filter_key="filter/1",
    format="openai.chat",
    error=EventError("boom", "E42"),
    usage={"input_tokens": 1},
    metadata={"m": {"n": None}},
    state_delta={"a": {"b": [1]}, "gone": DELETE, "user:u": 1, "app:p": None},
    timestamp=datetime(2020, 2, 29, 12, 30, 15, 123456, tzinfo=UTC),
    extra={"x": [1]},
)


async def test_every_field_comes_back(
    store: Store, key: SessionKey, clock: FixedClock, reopen: Reopen
) -> None:
    clock.set(START + timedelta(hours=1))
    done = await store.events.append(key, FULL)
    store = await reopen()

    stored = await store.events.get(key, "e-1")

    assert stored == done.event
    for field in fields(NewEvent):
        assert getattr(stored, field.name) == getattr(FULL, field.name), field.name
    assert stored.created_at == START + timedelta(hours=1)
    assert (stored.kind, stored.role, stored.calls, stored.results) == (
        "message", "assistant", (), (),
    )  # fmt: skip
    assert stored.text == "hi"


async def test_what_is_not_given_gets_its_default(
    store: Store, key: SessionKey, clock: FixedClock
) -> None:
    clock.set(START + timedelta(hours=1))
    event = (await store.events.append(key, NewEvent(1))).event

    assert event.id
    assert event.timestamp == event.created_at == START + timedelta(hours=1)
    assert event.timestamp.tzinfo is UTC
    assert (event.run_id, event.branch, event.filter_key) == ("", "", "")
    assert (event.error, event.usage, event.metadata, event.state_delta, event.extra) == (
        None, None, None, None, None,
    )  # fmt: skip


async def test_mutating_what_was_given_or_returned_changes_nothing_stored(
    store: Store, key: SessionKey
) -> None:
    message: dict[str, Any] = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
    given: dict[str, Any] = {"list": [1]}
    event = NewEvent(message, id="e1", usage=given, metadata=given, extra=given, state_delta=given)
    done = await store.events.append(key, event)
    await store.events.append(key, message)
    before = await store.events.read(key)

    message["content"][0]["text"] = message["role"] = "changed"
    given["list"].append(2)
    for one in [done.event, *await store.events.read(key), await store.events.get(key, "e1")]:
        content: Any = one.content
        content["content"].clear()
        for value in (one.usage, one.metadata, one.extra, one.state_delta):
            if value is not None:
                value["list"].append(3)

    assert await store.events.read(key) == before
    assert before[0].content["content"] == [{"type": "text", "text": "hi"}]
    assert await store.state.merged(key) == {"list": [1]}


async def test_no_stored_delta_has_a_temp_key(store: Store, key: SessionKey, dump: Dump) -> None:
    delta = {"temp:secret": "secret", "kept": 1}

    done = await store.events.append(key, NewEvent("a", state_delta=delta))
    await store.events.append(key, NewEvent("b", state_delta={"temp:secret": "secret"}))

    assert done.event.state_delta == {"kept": 1}
    assert [e.state_delta for e in await store.events.read(key)] == [{"kept": 1}, None]
    assert "secret" not in repr(await dump())


async def test_equal_and_backdated_timestamps_keep_the_order_of_the_append(
    store: Store, key: SessionKey
) -> None:
    times = [START, START, START - timedelta(days=9), START + timedelta(days=9), START]
    for n, moment in enumerate(times):
        await store.events.append(key, NewEvent(n, timestamp=moment))

    events = await store.events.read(key)

    assert contents(events) == [0, 1, 2, 3, 4]
    assert [event.timestamp for event in events] == times


# -- idempotence -----------------------------------------------------------------------------


async def test_the_same_event_again_gives_the_stored_one_whatever_the_version(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    first = await store.events.append(key, FULL, expected_version=1)
    await store.events.append(key, "later")
    before = await dump()

    again = await store.events.append(key, FULL, expected_version=1)
    ignored = await store.events.append(key, FULL, expected_version=99, on_duplicate="ignore")

    assert again.events == ignored.events == first.events
    assert again.duplicate
    assert ignored.duplicate
    assert (again.version, ignored.version) == (3, 3)
    assert await dump() == before


OTHER: dict[str, Any] = {
    "content": "other",
    "author": "x",
    "run_id": "x",
    "branch": "x",
    "filter_key": "x",
    "format": "plain",
    "error": "x",
    "usage": 1,
    "metadata": {"x": 1},
    "state_delta": {"a": 1},
    "timestamp": START,
    "extra": {"x": 1},
}


@pytest.mark.parametrize("field", OTHER)
async def test_the_same_id_with_another_field_is_a_conflict(
    store: Store, key: SessionKey, dump: Dump, field: str
) -> None:
    await store.events.append(key, FULL)
    other = replace(FULL, **{field: OTHER[field]})
    before = await dump()

    with pytest.raises(ConflictError, match="'e-1'") as conflict:
        await store.events.append(key, other)
    ignored = await store.events.append(key, other, on_duplicate="ignore")

    assert not isinstance(conflict.value, StaleSessionError)
    assert ignored.duplicate
    assert ignored.event.content == FULL.content
    assert await dump() == before


def named(*names: str) -> list[NewEvent]:
    return [NewEvent(f"content of {name}", id=name) for name in names]


async def test_several_that_are_all_there_come_back(store: Store, key: SessionKey) -> None:
    first = await store.events.append(key, *named("a", "b", "c"))
    again = await store.events.append(key, *named("a", "b", "c"), expected_version=1)

    assert (again.events, again.duplicate) == (first.events, True)
    assert await store.events.count(key) == 3


async def test_some_there_and_some_new_is_a_conflict_that_stores_nothing(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await store.events.append(key, *named("a"))
    before = await dump()

    for batch in (named("a", "b"), named("b", "a"), [*named("a"), "without an id"]):
        with pytest.raises(ConflictError):
            await store.events.append(key, *batch)

    assert await dump() == before


async def test_ignoring_duplicates_stores_only_the_new_ones(store: Store, key: SessionKey) -> None:
    [old] = await store.events.append(key, *named("b"))

    done = await store.events.append(key, *named("a", "b", "c"), on_duplicate="ignore")

    assert [event.id for event in done] == ["a", "b", "c"]
    assert (done.events[1], done.duplicate, done.version) == (old, False, 3)
    assert [event.id for event in await store.events.read(key)] == ["b", "a", "c"]
    assert [event.seq for event in await store.events.read(key)] == [1, 2, 3]


@pytest.mark.parametrize("how", ["delete", "clear", "prune"])
async def test_the_id_of_a_removed_event_is_forgotten(
    store: Store, key: SessionKey, how: str
) -> None:
    await store.events.append(key, NewEvent("old", id="e1"), "kept")
    if how == "delete":
        await store.events.delete(key, ["e1"])
    elif how == "clear":
        await store.events.clear(key)
    else:
        await store.events.prune(key, keep_last=1)

    done = await store.events.append(key, NewEvent("new", id="e1"))

    assert (done.duplicate, done.event.seq) == (False, 3)
    assert (await store.events.get(key, "e1")).content == "new"


# -- versions and seqs -----------------------------------------------------------------------


@pytest.mark.parametrize("expected", [0, 1, 3, 2**40])
async def test_a_stale_append_changes_nothing_and_says_what_is_stored(
    store: Store, key: SessionKey, dump: Dump, expected: int
) -> None:
    await store.events.append(key, "theirs")
    before = await dump()

    with pytest.raises(StaleSessionError) as stale:
        await store.events.append(
            key, NewEvent("mine", state_delta={"a": 1}), expected_version=expected
        )

    assert stale.value.current_version == 2
    assert await dump() == before
    done = await store.events.append(key, "mine", expected_version=stale.value.current_version)
    assert done.version == 3


async def test_of_concurrent_appends_with_one_version_one_wins(
    store: Store, key: SessionKey
) -> None:
    results = await asyncio.gather(
        *(store.events.append(key, f"{n}", expected_version=1) for n in range(8)),
        return_exceptions=True,
    )

    assert sum(isinstance(result, StaleSessionError) for result in results) == 7
    assert await store.events.count(key) == 1


async def test_blind_appends_of_many_are_all_stored_without_a_gap(
    store: Store, key: SessionKey
) -> None:
    done = await asyncio.gather(*(store.events.append(key, f"{n}", "x") for n in range(20)))

    events = await store.events.read(key)
    assert [event.seq for event in events] == list(range(1, 41))
    assert [event.prev for event in events] == list(range(40))
    assert sorted(one.version for one in done) == list(range(2, 22))


async def test_no_seq_is_used_twice(store: Store, key: SessionKey) -> None:
    await store.events.append(key, "1", "2", NewEvent("3", id="e3"))
    await store.events.delete(key, ["e3"])
    assert (await store.events.append(key, "4")).event.seq == 4
    await store.events.pop(key)
    assert (await store.events.append(key, "5")).event.seq == 5
    await store.events.clear(key)
    done = await store.events.append(key, "6")

    assert (done.event.seq, done.event.prev) == (6, 0)
    with pytest.raises(StaleSessionError):
        await store.events.append(key, "7", expected_version=1)
    assert (await store.events.append(key, "7")).event.seq == 7


# -- partial events, limits, sessions that are not there -------------------------------------


async def test_a_partial_event_is_handed_back_and_not_stored(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    before = await dump()

    done = await store.events.append(key, NewEvent("hel", partial=True, state_delta={"a": 1}))

    assert (done.event.seq, done.event.partial, done.event.content) == (0, True, "hel")
    assert (done.version, done.duplicate) == (1, False)
    assert await dump() == before


async def test_partial_events_stand_at_their_place_in_what_comes_back(
    store: Store, key: SessionKey
) -> None:
    partial = NewEvent("par", id="e1", partial=True, state_delta={"a": 0})
    whole = NewEvent("partial no more", id="e1")

    done = await store.events.append(key, partial, whole, partial, "last")

    assert [(event.partial, event.seq) for event in done] == [
        (True, 0), (False, 1), (True, 0), (False, 2),
    ]  # fmt: skip
    assert contents(await store.events.read(key)) == ["partial no more", "last"]
    assert await store.state.merged(key) == {}


async def test_a_session_that_is_not_there_is_not_found(store: Store, key: SessionKey) -> None:
    await store.sessions.delete(key)
    for missing in (key, key._replace(id="never"), key._replace(user="bob")):
        for given in (["hi"], [], [NewEvent("hi", partial=True)], [NewEvent("hi", id="e")]):
            with pytest.raises(NotFoundError, match=missing.id):
                await store.events.append(missing, *given)
        with pytest.raises(NotFoundError):
            await store.events.append(missing, "hi", after=0, expected_version=1)
