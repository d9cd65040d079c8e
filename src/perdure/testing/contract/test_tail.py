"""Following a session: what a tail tells of the past, of large backlogs, and of prunes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from perdure import Event, NewEvent, NotFoundError, Rewritten, SessionKey, Store
from perdure.testing.databases import OpenStore

Tail = AsyncIterator[Event | Rewritten]


async def take(tail: Tail, n: int) -> list[int | tuple[str, int]]:
    """The next n of it: seqs of events, and ("rewritten", from_seq)."""

    async def some() -> list[Event | Rewritten]:
        return [await anext(tail) for _ in range(n)]

    items = await asyncio.wait_for(some(), 10)
    return [item.seq if isinstance(item, Event) else ("rewritten", item.from_seq) for item in items]


async def test_a_tail_tells_no_change_that_was_made_before_it_began(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, "1", "2", "3")
    await store.events.rewind(key, 1)
    await store.events.append(key, "4")
    await store.events.clear(key)
    await store.events.append(key, "5")

    tail = store.events.tail(key, 0)

    assert await take(tail, 1) == [5]
    await store.events.append(key, "6")
    assert await take(tail, 1) == [6]


async def test_a_backlog_of_many_pages_has_each_change_at_its_place(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    await store.events.append(key, "1")
    tail = store.events.tail(key, 0)
    assert await take(tail, 1) == [1]
    other = await open_store()

    await other.events.append(key, *map(NewEvent, range(2, 601)))
    await other.events.rewind(key, 300)
    await other.events.append(key, *map(NewEvent, range(601, 1301)))
    await other.events.replace_suffix(key, 1300, [NewEvent(1301)])
    await other.events.replace_suffix(key, 1200, [NewEvent(n) for n in range(1302, 2000)])

    expected = [
        *range(2, 601), ("rewritten", 301), *range(601, 1302), ("rewritten", 1201),
        *range(1302, 2000),
    ]  # fmt: skip
    assert await take(tail, len(expected)) == expected


async def test_a_prune_is_not_told_and_what_it_removed_is_not_given(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    await store.events.append(key, "1", "2", "3", "4")
    tail = store.events.tail(key, 0)
    assert await take(tail, 2) == [1, 2]
    other = await open_store(event_limit=2)

    await other.events.prune(key, keep_last=1)
    await other.events.append(key, "5")
    await other.events.append(key, "6", "7", "8")

    # 3 and 4 were of the page that was read before the prune.
    assert await take(tail, 4) == [3, 4, 7, 8]


async def test_events_of_every_line_are_told(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    await store.events.append(key, "1", "2", "3")
    await store.events.append(key, "4", after=1)
    first, second = store.events.tail(key, 0), store.events.tail(key, 2)
    assert await take(first, 4) == [1, 2, 3, 4]
    assert await take(second, 2) == [3, 4]
    other = await open_store()

    await other.events.switch(key, "line-3")
    await other.events.append(key, "5")
    await other.events.drop_branch(key, "line-4")
    await other.events.append(key, "6")

    for tail in (first, second):
        assert await take(tail, 3) == [("rewritten", 2), 5, 6]


async def test_several_changes_of_one_turn_come_each_once(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    await store.events.append(key, "1", NewEvent("2", id="e2"), "3")
    tail = store.events.tail(key, 0)
    assert await take(tail, 3) == [1, 2, 3]
    other = await open_store()

    async with other.turn() as turn:
        turn.events.rewind(key, 2)
        turn.events.append(key, "4")
        turn.events.redact(key, "e2")
        turn.events.append(key, "5")

    assert await take(tail, 4) == [("rewritten", 3), 4, ("rewritten", 2), 5]


async def test_a_tail_sees_the_version_each_event_was_stored_with(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, "1", "2")
    await store.events.rewind(key, 1)
    done = await store.events.append(key, "3")

    tail = store.events.tail(key, 2)
    event = await asyncio.wait_for(anext(tail), 10)

    assert event == done.event
    assert event.version == done.version == (await store.sessions.get(key)).version


async def test_a_purged_session_ends_its_tails(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    await store.events.append(key, "1")
    tail = store.events.tail(key, 0)
    assert await take(tail, 1) == [1]
    other = await open_store()
    waiting = asyncio.create_task(take(tail, 1))

    await other.sessions.purge(key)

    with pytest.raises(NotFoundError, match="chat"):
        await waiting
    with pytest.raises(StopAsyncIteration):
        await anext(tail)


async def test_a_tail_of_a_restored_session_goes_on(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    await store.events.append(key, "1")
    other = await open_store()
    await other.sessions.delete(key)
    await other.sessions.restore(key)

    tail = store.events.tail(key, 0)
    assert await take(tail, 1) == [1]
    await other.sessions.delete(key)
    await other.sessions.restore(key)
    await other.events.append(key, "2")

    assert await take(tail, 1) == [2]
