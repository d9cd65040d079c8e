"""`compact`: the room of what was removed, and its bytes."""

from __future__ import annotations

import asyncio

import pytest

from perdure.errors import ClosedError
from perdure.records import SessionKey
from perdure.store import Store
from perdure.testing.databases import Dump

pytestmark = pytest.mark.own_engine


async def test_compacting_changes_nothing_that_is_stored(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await store.events.append(key, *[f"text {n}" for n in range(20)])
    await store.state.set(key, {"colour": "green"})
    await store.events.prune(key, keep_last=5)
    before = await dump()

    await store.compact()

    assert await dump() == before
    await store.events.append(key, "and on")
    assert [event.seq for event in await store.events.read(key)][-2:] == [20, 21]


async def test_compacting_says_how_much_there_was_and_is(store: Store, key: SessionKey) -> None:
    await store.events.append(key, *["x" * 10_000 for _ in range(200)])
    await store.sessions.purge(key)

    done = await store.compact()

    if done.before is None:
        assert done.after is None
    else:
        assert done.after is not None
        assert done.after < done.before - 1_000_000
        assert done.remains == ()


async def test_compacting_while_others_write_loses_nothing_of_theirs(
    store: Store, key: SessionKey
) -> None:
    writing = [store.events.append(key, f"text {n}") for n in range(30)]

    await asyncio.gather(store.compact(), *writing)

    events = await store.events.read(key)
    assert sorted(event.text for event in events) == sorted(f"text {n}" for n in range(30))


async def test_compacting_an_empty_store_is_no_error(store: Store) -> None:
    await store.compact()
    await store.compact()

    assert await store.sessions.count() == 0


async def test_compacting_a_closed_store_says_that_it_is_closed(store: Store) -> None:
    await store.sessions.count()
    await store.close()

    with pytest.raises(ClosedError):
        await store.compact()
