"""Forks: a new session from an old one, as of any of its events."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    DELETE,
    AlreadyExistsError,
    InvalidError,
    NewEvent,
    NotFoundError,
    Opaque,
    Origin,
    SessionKey,
    Store,
)
from perdure.testing.databases import Dump

STATES: list[dict[str, Any]] = [
    {"start": 1},
    {"start": 1, "a": 1},
    {"start": 1, "a": 2, "b": [1]},
    {"start": 1, "b": [1]},
    {"start": 1, "b": [1], "by hand": True, "c": None},
]


async def story(store: Store) -> SessionKey:
    """Five points in time, 0 to 4, each with the state of its place in `STATES`."""
    key = (await store.sessions.create("support", "ada", "story", state={"start": 1})).key
    await store.events.append(key, NewEvent("one", id="e1", state_delta={"a": 1}))
    await store.events.append(
        key,
        NewEvent("two", id="e2", state_delta={"a": 2, "b": [1], "user:u": 1, "app:p": 1}),
        NewEvent("three", id="e3", state_delta={"a": DELETE, "temp:t": 1}),
    )
    await store.events.append(key, NewEvent("four", id="e4", state_delta={"c": None}))
    await store.state.set(key, {"by hand": True})
    return key


@pytest.mark.parametrize("seq", [0, 1, 2, 3, 4, None])
async def test_a_fork_has_the_events_and_the_session_state_as_of_its_seq(
    store: Store, seq: int | None
) -> None:
    key = await story(store)
    events = await store.events.read(key)
    end = 4 if seq is None else seq

    fork = await store.sessions.fork(key, at=seq, id="fork")

    taken = await store.events.read(fork.key)
    assert [(event.id, event.content) for event in taken] == [
        (event.id, event.content) for event in events[:end]
    ]
    assert await store.state.merged(fork.key) == {**STATES[end], "user:u": 1, "app:p": 1}
    assert (fork.event_count, fork.head_seq, fork.last_seq, fork.version) == (end, end, end, 1)
    assert fork.origin == Origin(key, end)


async def test_the_history_of_state_goes_along(store: Store) -> None:
    key = await story(store)

    fork = await store.sessions.fork(key)

    states = [await store.state.at(fork.key, seq) for seq in range(5)]
    assert states == [await store.state.at(key, seq) for seq in range(5)] == STATES


async def test_a_fork_keeps_the_description_and_what_events_are(store: Store) -> None:
    source = await store.sessions.create(
        "support", "ada", title="T", author="a", agent_type="g", tags=["x"], metadata={"m": 1},
        parent=SessionKey("support", "ada", "p"), ttl=timedelta(days=1),
    )  # fmt: skip
    event = NewEvent(
        Opaque("raw", b"\x00\xff"), id="e1", author="a", run_id="r", branch="b", filter_key="f",
        error="boom", usage={"u": 1}, metadata={"m": 1}, extra={"x": 1}, state_delta={"s": 1},
    )  # fmt: skip
    await store.events.append(source.key, event, "hello")
    before = await store.events.read(source.key)

    fork = await store.sessions.fork(source.key)

    assert (fork.title, fork.author, fork.agent_type) == ("T", "a", "g")
    assert (fork.tags, fork.metadata, fork.parent) == (("x",), {"m": 1}, source.parent)
    assert (fork.preview, fork.expires_at is not None) == ("hello", True)
    after = [replace(event, version=0) for event in await store.events.read(fork.key)]
    assert after == [replace(event, version=0) for event in before]
    assert await store.sessions.count(tags=["x"], metadata={"m": 1}) == 2


async def test_after_a_fork_each_goes_its_own_way(store: Store) -> None:
    key = await story(store)
    fork = (await store.sessions.fork(key, at=2)).key

    await store.events.append(fork, NewEvent("theirs", id="e3", state_delta={"a": "fork"}))
    await store.events.append(key, NewEvent("ours", id="e5", state_delta={"a": "origin"}))
    await store.sessions.update(fork, title="fork")

    assert [event.content for event in await store.events.read(fork)] == ["one", "two", "theirs"]
    assert (await store.events.read(key))[-1].content == "ours"
    assert (await store.state.merged(fork))["a"] == "fork"
    assert (await store.state.merged(key))["a"] == "origin"
    assert (await store.sessions.get(key)).title == ""


async def test_a_fork_outlives_its_origin(store: Store) -> None:
    key = await story(store)
    fork = await store.sessions.fork(key)

    await store.sessions.purge(key)

    assert len(await store.events.read(fork.key)) == 4
    assert (await store.sessions.get(fork.key)).origin == Origin(key, 4)


async def test_fork_takes_the_active_line_only(store: Store) -> None:
    key = await story(store)
    await store.events.rewind(key, 1)
    await store.events.append(key, NewEvent("other two", id="f2", state_delta={"a": "x"}))

    fork = await store.sessions.fork(key)

    taken = await store.events.read(fork.key, all_lines=True)
    assert [(event.seq, event.prev, event.content) for event in taken] == [
        (1, 0, "one"),
        (2, 1, "other two"),
    ]
    assert await store.state.at(fork.key, 2) == {"start": 1, "a": "x"}
    with pytest.raises(NotFoundError):
        await store.sessions.fork(key, at=3)


async def test_a_fork_of_a_fork_is_a_session_like_another(store: Store) -> None:
    key = await story(store)
    first = await store.sessions.fork(key, at=3)
    await store.events.append(first.key, "on")

    second = await store.sessions.fork(first.key, at=4)

    assert second.origin == Origin(first.key, 4)
    assert [event.content for event in await store.events.read(second.key)] == [
        "one", "two", "three", "on",
    ]  # fmt: skip
    assert await store.state.merged(second.key) == {**STATES[3], "user:u": 1, "app:p": 1}


async def test_a_fork_of_a_pruned_session_has_what_is_left(store: Store) -> None:
    key = await story(store)
    await store.events.prune(key, before_seq=3)

    fork = await store.sessions.fork(key, at=3)

    assert [event.content for event in await store.events.read(fork.key)] == ["three"]
    assert await store.state.merged(fork.key) == {**STATES[3], "user:u": 1, "app:p": 1}


async def test_the_origin_does_not_notice(store: Store) -> None:
    key = await story(store)
    before = await store.sessions.get(key)

    await store.sessions.fork(key, at=1)

    assert await store.sessions.get(key) == before


async def test_the_store_makes_the_id_unless_told(store: Store, key: SessionKey) -> None:
    fork = await store.sessions.fork(key)
    named = await store.sessions.fork(key, id="mine")

    assert fork.id not in {"", key.id}
    assert named.key == SessionKey("support", "ada", "mine")


async def test_an_id_in_use_is_refused(store: Store, key: SessionKey, dump: Dump) -> None:
    before = await dump()

    with pytest.raises(AlreadyExistsError, match="'chat'"):
        await store.sessions.fork(key, id="chat")
    assert await dump() == before


async def test_what_is_not_there_cannot_be_forked(store: Store, dump: Dump) -> None:
    key = await story(store)
    before = await dump()

    with pytest.raises(NotFoundError, match="5"):
        await store.sessions.fork(key, at=5)
    with pytest.raises(NotFoundError, match="'nowhere'"):
        await store.sessions.fork(SessionKey("support", "ada", "nowhere"))
    with pytest.raises(InvalidError, match="at"):
        await store.sessions.fork(key, at=-1)
    assert await dump() == before
