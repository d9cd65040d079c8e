"""Turns: several writes stored together, or not at all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure import (
    AlreadyExistsError,
    ClosedError,
    ConflictError,
    InvalidError,
    NewEvent,
    NotFoundError,
    Pending,
    PerdureError,
    SessionKey,
    StaleSessionError,
    Store,
    UserScope,
)
from perdure.testing.databases import Dump, NewKey, Reopen

USER = UserScope("support", "ada")


class _UnluckyError(Exception):
    """What the user's own code raises."""


async def test_all_writes_of_a_turn_are_there_after_it(
    store: Store, key: SessionKey, reopen: Reopen
) -> None:
    async with store.turn() as turn:
        created = turn.sessions.create("support", "ada", "new", title="T")
        turn.events.append(key, "hello")
        counted = turn.state.set(USER, {"a": 1})
        turn.sessions.update(key, title="U")

    assert (created.value.title, counted.value) == ("T", 1)
    store = await reopen()
    assert (await store.sessions.get(key)).title == "U"
    assert (await store.events.read(key))[0].content == "hello"
    assert (await store.state.get(USER, "a")).value == 1


async def test_a_later_operation_sees_what_an_earlier_one_wrote(store: Store) -> None:
    key = SessionKey("support", "ada", "new")
    async with store.turn() as turn:
        turn.sessions.create(*key, state={"a": 1})
        first = turn.events.append(key, NewEvent("one", state_delta={"a": 2}))
        second = turn.events.append(key, "two")
        renamed = turn.sessions.update(key, title="T")
        fork = turn.sessions.fork(key, id="fork")

    assert (first.value.event.seq, second.value.event.seq) == (1, 2)
    assert (renamed.value.event_count, renamed.value.version) == (2, 4)
    assert (fork.value.title, fork.value.event_count) == ("T", 2)
    assert await store.state.merged(key) == {"a": 2}


async def test_expected_versions_are_those_of_the_beginning(store: Store, key: SessionKey) -> None:
    async with store.turn() as turn:
        turn.events.append(key, "one", expected_version=1)
        turn.sessions.update(key, title="T", expected_version=1)
        last = turn.events.append(key, "two", expected_version=1)

    assert last.value.version == (await store.sessions.get(key)).version == 4


async def test_an_expected_version_of_the_middle_is_stale(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    before = await dump()

    async def late() -> None:
        async with store.turn() as turn:
            turn.events.append(key, "one", expected_version=1)
            turn.events.append(key, "two", expected_version=2)

    with pytest.raises(StaleSessionError) as stale:
        await late()

    assert stale.value.current_version == 1
    assert stale.value.operation == (1, "events.append")
    assert await dump() == before


FAULTS: dict[str, tuple[Any, type[PerdureError], str]] = {
    "stale": (
        lambda turn, key: turn.events.append(key, "x", expected_version=9),
        StaleSessionError,
        "events.append",
    ),
    "exists": (lambda turn, key: turn.sessions.create(*key), AlreadyExistsError, "sessions.create"),
    "unknown": (
        lambda turn, key: turn.sessions.update(key._replace(id="nowhere"), title="x"),
        NotFoundError,
        "sessions.update",
    ),
    "conflict": (
        lambda turn, _: turn.state.set(USER, {"a": 1}, expected_versions={"a": 3}),
        ConflictError,
        "state.set",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_if_one_fails_nothing_is_stored_and_the_error_says_which(
    store: Store, key: SessionKey, dump: Dump, fault: str
) -> None:
    failing, error, name = FAULTS[fault]
    pending: list[Pending[Any]] = []
    before = await dump()

    async def unlucky() -> None:
        async with store.turn() as turn:
            pending.append(turn.sessions.create("support", "ada", "new"))
            pending.append(turn.events.append(key, NewEvent("hi", state_delta={"user:a": 1})))
            pending.append(failing(turn, key))
            pending.append(turn.events.append(key, "after"))

    with pytest.raises(error) as raised:
        await unlucky()

    assert raised.value.operation == (2, name)
    assert await dump() == before
    for one in pending:
        with pytest.raises(ClosedError):
            _ = one.value


async def test_what_is_refused_at_the_call_is_raised_there_and_sends_nothing(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    before = await dump()

    async def unlucky() -> None:
        async with store.turn() as turn:
            turn.events.append(key, "hi")
            with pytest.raises(InvalidError, match="values"):
                turn.state.set(USER, {"a": float("nan")})
            raise _UnluckyError

    with pytest.raises(_UnluckyError):
        await unlucky()

    assert await dump() == before


async def test_an_exception_in_the_block_sends_nothing_and_is_raised(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    pending: list[Pending[Any]] = []
    before = await dump()

    async def unlucky() -> None:
        async with store.turn() as turn:
            pending.append(turn.events.append(key, "hi"))
            raise _UnluckyError

    with pytest.raises(_UnluckyError):
        await unlucky()

    assert await dump() == before
    with pytest.raises(ClosedError):
        _ = pending[0].value


async def test_a_result_is_there_only_after_the_block(store: Store, key: SessionKey) -> None:
    async with store.turn() as turn:
        pending = turn.events.append(key, "hi")
        with pytest.raises(ClosedError, match="not been stored"):
            _ = pending.value

    assert pending.value.event.content == "hi"


async def test_no_lock_is_held_while_the_block_runs(store: Store, key: SessionKey) -> None:
    async with store.turn() as turn:
        pending = turn.events.append(key, "second")
        first = await store.events.append(key, "first")

    assert (first.event.seq, pending.value.event.seq) == (1, 2)


async def test_a_turn_is_stale_if_another_writer_came_between(
    store: Store, key: SessionKey
) -> None:
    async def slow() -> None:
        async with store.turn() as turn:
            turn.events.append(key, "mine", expected_version=1)
            await store.events.append(key, "theirs")

    with pytest.raises(StaleSessionError) as stale:
        await slow()

    assert stale.value.current_version == 2
    assert [event.content for event in await store.events.read(key)] == ["theirs"]


READS: list[tuple[str, str, tuple[Any, ...]]] = [
    ("sessions", "get", (SessionKey("a", "b", "c"),)),
    ("sessions", "find", (SessionKey("a", "b", "c"),)),
    ("sessions", "list", ()),
    ("sessions", "count", ()),
    ("sessions", "iter", ()),
    ("events", "read", (SessionKey("a", "b", "c"),)),
    ("events", "get", (SessionKey("a", "b", "c"), "e")),
    ("events", "window", (SessionKey("a", "b", "c"),)),
    ("events", "iter", (SessionKey("a", "b", "c"),)),
    ("events", "tail", (SessionKey("a", "b", "c"),)),
    ("state", "get", (USER, "a")),
    ("state", "merged", (SessionKey("a", "b", "c"),)),
    ("state", "iter", (USER,)),
]


@pytest.mark.parametrize(("feature", "name", "args"), READS, ids=[f"{f}.{n}" for f, n, _ in READS])
async def test_a_turn_refuses_to_read(
    store: Store, feature: str, name: str, args: tuple[Any, ...]
) -> None:
    async with store.turn() as turn:
        with pytest.raises(InvalidError, match="turn"):
            getattr(getattr(turn, feature), name)(*args)


async def test_a_turn_that_has_ended_takes_nothing_more(store: Store, key: SessionKey) -> None:
    async with store.turn() as turn:
        turn.events.append(key, "hi")

    with pytest.raises(ClosedError, match="ended"):
        turn.events.append(key, "too late")
    assert await store.events.count(key) == 1


async def test_a_turn_of_nothing_does_nothing(store: Store, dump: Dump) -> None:
    before = await dump()

    async with store.turn():
        pass

    assert await dump() == before


async def test_retrying_a_turn_with_the_same_ids_stores_it_once(
    store: Store, key: SessionKey
) -> None:
    for _ in range(2):
        async with store.turn() as turn:
            said = turn.events.append(key, NewEvent("hi", id="e1"), expected_version=1)
            turn.state.set(USER, {"a": 1})

    assert said.value.duplicate
    assert [event.id for event in await store.events.read(key)] == ["e1"]


async def test_turns_of_many_tasks_are_each_one_whole(store: Store, new_key: NewKey) -> None:
    keys = [await new_key(f"s{n}") for n in range(4)]

    async def both(n: int) -> None:
        async with store.turn() as turn:
            for key in keys:
                turn.events.append(key, f"{n}")

    await asyncio.gather(*(both(n) for n in range(8)))

    orders = [[event.content for event in await store.events.read(key)] for key in keys]
    assert set(orders[0]) == {f"{n}" for n in range(8)}
    assert orders == [orders[0]] * 4


async def test_a_turn_moves_what_would_be_two_half_changes(store: Store, new_key: NewKey) -> None:
    source, target = await new_key("source"), await new_key("target")
    await store.events.append(source, NewEvent("hi", id="e1"))

    async with store.turn() as turn:
        removed = turn.events.delete(source, ids=["e1"])
        turn.events.append(target, NewEvent("hi", id="e1"))
        turn.sessions.delete(source)

    assert removed.value == 1
    assert await store.sessions.find(source) is None
    assert (await store.events.get(target, "e1")).content == "hi"
