"""A cancelled call harms nobody: neither its own event nor anybody else's call."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

import perdure
from perdure import BusyError, ConflictError, NewEvent, SessionKey, Store, UserScope
from tests.effort import effort

KEY = SessionKey("app", "user", "chat")
OTHER = SessionKey("app", "user", "other")
CANCELLED = effort(400, 1000)


@pytest.fixture(params=["sqlite", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"


async def opened(url: str) -> Store:
    store = await perdure.open(url)
    await store.sessions.create(*KEY)
    await store.sessions.create(*OTHER)
    return store


async def append_until(store: Store, over: asyncio.Event) -> int:
    """What an innocent task does meanwhile: any error is one too many."""
    version = 1
    while not over.is_set():
        appended = await store.events.append(OTHER, f"event {version}", expected_version=version)
        assert appended.version == version + 1
        version = appended.version
        assert (await store.events.read(OTHER, recent=1))[0].seq == version - 1
    return version - 1


def event_of(number: int) -> NewEvent:
    delta = {f"key {number % 7}": number}
    return NewEvent(f"text {number}", id=f"event {number}", state_delta=delta)


async def some_time(task: asyncio.Task[Any], chance: random.Random) -> None:
    """From nothing to a little more than a call takes, however busy the machine is."""
    for _ in range(chance.randrange(5)):
        await asyncio.sleep(0)
    if chance.random() < 0.5:
        await asyncio.sleep(chance.random() * 0.003)
    if chance.random() < 0.1:
        await asyncio.wait([task])


async def cancelled_append(store: Store, number: int, chance: random.Random) -> bool:
    """Cancel an append somewhere between its first step and its last; whether it was too late."""
    task = asyncio.create_task(store.events.append(KEY, event_of(number)))
    await some_time(task, chance)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return False
    return True


def test_cancelled_appends_lose_nothing_and_fail_no_innocent_call(url: str) -> None:
    chance = random.Random(2024)

    async def work() -> tuple[list[bool], int, list[bool]]:
        store = await opened(url)
        over = asyncio.Event()
        bystander = asyncio.create_task(append_until(store, over))
        too_late: list[bool] = []
        for start in range(0, CANCELLED, 20):
            calls = [cancelled_append(store, n, chance) for n in range(start, start + 20)]
            too_late += await asyncio.gather(*calls)
        over.set()
        innocent = await bystander
        # What was accepted before this is stored by the time it is answered.
        await store.events.append(OTHER, "the last")
        innocent += 1
        stored_before = {event.id for event in await store.events.read(KEY)}
        duplicates = []
        for number in range(CANCELLED):
            event = event_of(number)
            again = await store.events.append(KEY, event)
            # The same id tells whether the cancelled call was made.
            assert again.duplicate == (event.id in stored_before)
            duplicates.append(again.duplicate)
        stored = await store.events.read(KEY)
        assert [event.seq for event in stored] == list(range(1, CANCELLED + 1))
        assert {event.id for event in stored} == {f"event {number}" for number in range(CANCELLED)}
        assert len(await store.events.read(OTHER)) == innocent
        assert (await store.sessions.get(KEY)).version == CANCELLED + 1
        await store.close()
        return too_late, innocent, duplicates

    too_late, innocent, duplicates = asyncio.run(work())

    # An acknowledged append is stored; and the cancels came at all kinds of moments.
    assert all(stored for late, stored in zip(too_late, duplicates, strict=True) if late)
    assert 0 < too_late.count(True) < CANCELLED
    assert duplicates.count(True) > too_late.count(True)
    assert innocent > 10


def test_a_cancelled_turn_is_stored_whole_or_not_at_all(url: str) -> None:
    chance = random.Random(5)
    user = UserScope("app", "user")

    async def turn(store: Store, number: int) -> None:
        async with store.turn() as turn:
            turn.events.append(KEY, NewEvent("one", id=f"turn {number}"))
            turn.events.append(OTHER, NewEvent("two", id=f"turn {number}"))
            turn.state.set(user, {f"turn {number}": True})

    async def cancelled(store: Store, number: int) -> None:
        task = asyncio.create_task(turn(store, number))
        await some_time(task, chance)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def work() -> tuple[set[str], set[str], set[str]]:
        async with await opened(url) as store:
            for start in range(0, 300, 10):
                await asyncio.gather(*[cancelled(store, n) for n in range(start, start + 10)])
            await store.events.append(KEY, NewEvent("after", id="after"))
            one = {event.id for event in await store.events.read(KEY)} - {"after"}
            two = {event.id for event in await store.events.read(OTHER)}
            kept = {entry.name for entry in await store.state.list(user)}
            return one, two, kept

    one, two, kept = asyncio.run(work())

    assert one == two == kept
    assert 0 < len(one) < 300


def test_a_call_that_is_cancelled_while_the_store_is_busy_is_not_made_twice(url: str) -> None:
    async def work() -> tuple[int, bool]:
        async with await opened(url) as store:
            event = NewEvent("once", id="once")
            task = asyncio.create_task(store.events.append(KEY, event))
            flood = [asyncio.create_task(store.events.append(OTHER, "x")) for _ in range(300)]
            await asyncio.sleep(0)
            task.cancel()
            again = await store.events.append(KEY, event)
            await asyncio.gather(*flood)
            return await store.events.count(KEY), again.duplicate

    count, duplicate = asyncio.run(work())

    assert count == 1
    assert duplicate


def test_a_timeout_around_a_call_leaves_the_store_as_good_as_before(url: str) -> None:
    async def work() -> tuple[int, int]:
        timeouts = 0
        async with await opened(url) as store:
            for number in range(200):
                try:
                    async with asyncio.timeout(0.0002):
                        await store.events.append(KEY, NewEvent("x", id=f"event {number}"))
                except BusyError:
                    raise
                except TimeoutError:
                    timeouts += 1
            for number in range(200):
                await store.events.append(KEY, NewEvent("x", id=f"event {number}"))
            return timeouts, await store.events.count(KEY)

    timeouts, count = asyncio.run(work())

    assert count == 200
    assert timeouts > 0


def test_cancelling_who_follows_a_session_harms_no_other_follower(url: str) -> None:
    async def follow(store: Store, count: int) -> list[int]:
        seqs: list[int] = []
        async for event in store.events.tail(KEY, after_seq=0):
            assert isinstance(event, perdure.Event)
            seqs.append(event.seq)
            if len(seqs) == count:
                break
        return seqs

    async def work() -> list[int]:
        async with await opened(url) as store:
            followers = [asyncio.create_task(follow(store, 50)) for _ in range(5)]
            for number in range(50):
                await store.events.append(KEY, "x")
                if number % 10 == 0 and len(followers) > 1:
                    followers.pop().cancel()
            return await followers[0]

    assert asyncio.run(work()) == list(range(1, 51))


def test_a_cancelled_handle_may_append_the_same_event_again(url: str) -> None:
    # Whatever became of the first call, the second one makes the handle go on from there.
    async def work(pauses: int) -> int:
        async with await opened(url) as store:
            handle = await store.session(*KEY)
            handle.state["count"] = 1
            event = NewEvent("hello", id="hello")
            task = asyncio.create_task(handle.append(event))
            for _ in range(pauses):
                await asyncio.sleep(0)
            task.cancel()
            [done] = await asyncio.gather(task, return_exceptions=True)
            if isinstance(done, asyncio.CancelledError):
                await handle.append(event)
            await handle.append("and on")
            assert (await store.state.merged(KEY)) == {"count": 1} == dict(handle.state)
            return len(handle.events)

    for pauses in range(6):
        assert asyncio.run(work(pauses)) == 2, pauses
        Path(url.removeprefix("sqlite:///")).unlink(missing_ok=True)


def test_one_id_with_two_contents_stays_a_conflict_after_a_cancel(url: str) -> None:
    async def work() -> None:
        async with await opened(url) as store:
            task = asyncio.create_task(store.events.append(KEY, NewEvent("a", id="same")))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(ConflictError):
                await store.events.append(KEY, NewEvent("b", id="same"))

    asyncio.run(work())
