"""Summaries in the background: a queue that outlives processes, one worker at a session."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    Event,
    InvalidError,
    NewEvent,
    NotFoundError,
    SessionKey,
    Store,
    SummaryRun,
    SummaryTrigger,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.colours import beside
from perdure.testing.contract.telling import joined
from perdure.testing.databases import Dump, NewKey, OpenStore, Reopen
from perdure.workers import Summariser


def fails(*_: Any) -> str:
    raise RuntimeError("no answer from the model")


async def states(store: Store) -> dict[tuple[str, str], tuple[str, int, str | None]]:
    found = (await store.summaries.jobs()).items
    return {(j.key.id, j.filter_key): (j.state, j.attempts, j.error) for j in found}


async def test_a_job_makes_the_summary_and_is_gone(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await store.events.append(key, "a", "b")
    await store.summaries.enqueue_summary(key)
    assert await states(store) == {("chat", ""): ("queued", 0, None)}
    assert await store.summaries.find(key) is None

    ran = await store.summaries.run_jobs(summariser=joined)

    assert ran == SummaryRun(done=1, failed=0)
    assert (await store.summaries.get(key)).text == "a+b"
    assert await states(store) == {}
    assert await store.summaries.run_jobs(summariser=joined) == SummaryRun()
    assert (await dump())["leases"] == []


async def test_a_job_outlives_the_store_that_asked(
    store: Store, key: SessionKey, reopen: Reopen
) -> None:
    await store.events.append(key, "a")
    await store.summaries.enqueue_summary(key)

    store = await reopen()
    await store.summaries.run_jobs(summariser=joined)

    assert (await store.summaries.get(key)).text == "a"


async def test_a_session_has_one_job_a_filter_however_often_it_is_asked_for(
    store: Store, key: SessionKey
) -> None:
    calls = []

    def counted(previous: str | None, events: Sequence[Event]) -> str:
        calls.append([event.text for event in events])
        return joined(previous, events)

    await store.events.append(key, NewEvent("a", filter_key="x"), NewEvent("b", filter_key="y"))
    for _ in range(3):
        await store.summaries.enqueue_summary(key, "x")
        await store.summaries.enqueue_summary(key, "y")

    assert len((await store.summaries.jobs(key)).items) == 2
    assert (await store.summaries.run_jobs(summariser=counted)).done == 2
    assert sorted(calls) == [["a"], ["b"]]


async def test_what_is_asked_for_while_the_job_is_done_is_done_next(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    other = await open_store()
    asked: list[bool] = []

    def asks_again(previous: str | None, events: Sequence[Event]) -> Any:
        async def work() -> str:
            if not asked:
                asked.append(True)
                await other.events.append(key, "b")
                await other.summaries.enqueue_summary(key)
            return joined(previous, events)

        return work()

    await store.events.append(key, "a")
    await store.summaries.enqueue_summary(key)

    await store.summaries.run_jobs(summariser=asks_again)
    assert (await store.summaries.get(key)).text == "a"
    await store.summaries.run_jobs(summariser=asks_again)

    assert (await store.summaries.get(key)).text == "a+b"
    assert await states(store) == {}


async def test_no_more_jobs_are_taken_than_the_pass_may_hold(store: Store, new_key: NewKey) -> None:
    for number in range(5):
        key = await new_key(f"s{number}")
        await store.events.append(key, "a")
        await store.summaries.enqueue_summary(key)

    assert (await store.summaries.run_jobs(2, summariser=joined)).done == 2
    assert sorted(await states(store)) == [("s2", ""), ("s3", ""), ("s4", "")]
    assert (await store.summaries.run_jobs(summariser=joined)).done == 3


async def test_a_failure_is_kept_and_tried_again_five_times_and_then_waits(
    store: Store, key: SessionKey, clock: FixedClock
) -> None:
    await store.events.append(key, "a")
    await store.summaries.enqueue_summary(key)
    error = "RuntimeError: no answer from the model"

    for attempt, pause in enumerate([10, 20, 40, 80], 1):
        assert await store.summaries.run_jobs(summariser=fails) == SummaryRun(failed=1)
        assert await states(store) == {("chat", ""): ("queued", attempt, error)}
        clock.advance(timedelta(seconds=pause - 1))
        assert await store.summaries.run_jobs(summariser=fails) == SummaryRun()
        clock.advance(timedelta(seconds=1))
    await store.summaries.run_jobs(summariser=fails)

    [job] = (await store.summaries.jobs()).items
    assert (job.state, job.attempts, job.error, job.due_at) == ("failed", 5, error, None)
    clock.advance(timedelta(days=1))
    assert await store.summaries.run_jobs(summariser=joined) == SummaryRun()

    await store.summaries.enqueue_summary(key)
    assert await states(store) == {("chat", ""): ("queued", 0, error)}
    assert await store.summaries.run_jobs(summariser=joined) == SummaryRun(done=1)


async def test_one_failure_does_not_keep_the_others_from_being_done(
    store: Store, new_key: NewKey
) -> None:
    def some_fail(previous: str | None, events: Sequence[Event]) -> str:
        return fails() if events[0].text == "bad" else joined(previous, events)

    for name in ("bad", "good", "fine"):
        key = await new_key(name)
        await store.events.append(key, name)
        await store.summaries.enqueue_summary(key)

    assert await store.summaries.run_jobs(summariser=some_fail) == SummaryRun(done=2, failed=1)
    assert list(await states(store)) == [("bad", "")]


async def test_an_error_of_odd_text_is_kept(store: Store, key: SessionKey) -> None:
    def odd(*_: Any) -> str:
        raise ValueError("lone \ud800, NUL \0 and long " + "x" * 5000)

    await store.events.append(key, "a")
    await store.summaries.enqueue_summary(key)
    await store.summaries.run_jobs(summariser=odd)

    [(_, _, error)] = (await states(store)).values()
    assert error is not None
    assert error.startswith("ValueError: lone ?, NUL \0 and long xxx")
    assert len(error) == 2000


async def test_a_job_heeds_its_trigger_when_its_turn_comes(store: Store, key: SessionKey) -> None:
    trigger = SummaryTrigger(events=1, tokens=1000, idle=timedelta(days=1), match="any")
    await store.events.append(key, "a")
    await store.summaries.enqueue_summary(key, trigger=trigger)
    await store.events.append(key, "b")
    await store.summaries.run_jobs(summariser=joined)
    assert (await store.summaries.get(key)).text == "a+b"

    await store.summaries.enqueue_summary(key, trigger=trigger)
    assert await store.summaries.run_jobs(summariser=fails) == SummaryRun(done=1)
    await store.summaries.enqueue_summary(key, trigger=trigger, force=True)
    await store.summaries.run_jobs(summariser=lambda *_: "forced")

    assert (await store.summaries.get(key)).text == "forced"


async def test_a_session_that_another_worker_is_at_is_left_to_it(
    store: Store, new_key: NewKey, open_store: OpenStore
) -> None:
    other = await open_store()
    seen: list[Any] = []

    def slow(previous: str | None, events: Sequence[Event]) -> Any:
        async def work() -> str:
            if not seen:
                seen.append(await states(other))
                seen.append(await other.summaries.run_jobs(summariser=joined))
            return joined(previous, events)

        return work()

    for name in ("first", "second"):
        key = await new_key(name)
        await store.events.append(key, name)
        await store.summaries.enqueue_summary(key)

    ran = await store.summaries.run_jobs(summariser=slow)

    assert [state for state, *_ in seen[0].values()] == ["running", "queued"]
    assert seen[1] == SummaryRun(done=1)
    assert ran == SummaryRun(done=1)


async def test_a_job_goes_with_its_session_and_comes_back_with_it(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, "a")
    await store.summaries.enqueue_summary(key)
    await store.sessions.delete(key)
    assert await states(store) == {}
    assert await store.summaries.run_jobs(summariser=fails) == SummaryRun()

    await store.sessions.restore(key)

    assert await store.summaries.run_jobs(summariser=joined) == SummaryRun(done=1)


async def test_a_job_can_be_cancelled(store: Store, key: SessionKey) -> None:
    await store.summaries.enqueue_summary(key, "f")

    assert await store.summaries.cancel_job(key) is False
    assert await store.summaries.cancel_job(key, "f") is True
    assert await store.summaries.cancel_job(SessionKey("a", "b", "c")) is False
    assert await states(store) == {}


async def test_jobs_of_another_tenant_are_none_of_ours(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    other = await open_store(tenant="acme")
    await store.events.append(key, "a")
    await store.summaries.enqueue_summary(key)

    assert await states(other) == {}
    assert await other.summaries.run_jobs(summariser=joined) == SummaryRun()
    assert len(await states(store)) == 1


async def test_jobs_of_a_session_that_has_expired_are_told_of_no_more(
    store: Store, clock: FixedClock
) -> None:
    brief = (await store.sessions.create("support", "ada", "s", ttl=timedelta(days=1))).key
    await store.summaries.enqueue_summary(brief)
    clock.advance(timedelta(days=2))

    assert await states(store) == {}


async def test_the_queue_is_listed_page_after_page(store: Store, new_key: NewKey) -> None:
    for number in range(5):
        await store.summaries.enqueue_summary(await new_key(f"s{number}"), "f")
    found: list[str] = []
    cursor = None

    while True:
        page = await store.summaries.jobs(cursor=cursor, limit=2)
        found += [job.key.id for job in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert sorted(found) == [f"s{number}" for number in range(5)]
    with pytest.raises(NotFoundError):
        await store.summaries.jobs(SessionKey("a", "b", "c"))


async def test_a_job_is_stored_with_the_rest_of_a_turn_or_not_at_all(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    before = await dump()

    async def stored_with(other: SessionKey) -> None:
        async with store.turn() as turn:
            turn.events.append(key, "a")
            turn.summaries.enqueue_summary(key)
            turn.summaries.enqueue_summary(other)

    with pytest.raises(NotFoundError):
        await stored_with(SessionKey("a", "b", "c"))
    assert await dump() == before
    await stored_with(key)

    assert len(await states(store)) == 1


async def test_what_makes_no_sense_is_refused(store: Store, key: SessionKey) -> None:
    with pytest.raises(InvalidError, match="summariser"):
        await store.summaries.run_jobs()
    with pytest.raises(InvalidError, match="limit"):
        await store.summaries.run_jobs(0, summariser=joined)
    with pytest.raises(InvalidError, match="lease"):
        await store.summaries.run_jobs(summariser=joined, lease=timedelta(0))
    with pytest.raises(NotFoundError):
        await store.summaries.enqueue_summary(SessionKey("a", "b", "c"))
    with pytest.raises(InvalidError):
        await store.summaries.enqueue_summary(key, trigger=SummaryTrigger())


# -- the worker ------------------------------------------------------------------------------------


async def until(holds: Any) -> None:
    deadline = time.monotonic() + 20
    while not await holds():
        assert time.monotonic() < deadline, "this takes too long"
        await asyncio.sleep(0.02)


async def test_a_worker_makes_what_is_asked_for_until_it_is_stopped(
    open_store: OpenStore, new_key: NewKey
) -> None:
    store = await open_store(summariser=joined)
    worker = beside(store, Summariser(getattr(store, "_target", store), timedelta(seconds=0.02)))
    await worker.start()
    keys = [await new_key(f"s{number}") for number in range(3)]
    for key in keys:
        await store.events.append(key, key.id)
        await store.summaries.enqueue_summary(key)

    async def empty() -> bool:
        return await states(store) == {}

    await until(empty)
    assert [(await store.summaries.get(key)).text for key in keys] == ["s0", "s1", "s2"]
    assert await worker.stop() is True
    await store.summaries.enqueue_summary(keys[0])
    await asyncio.sleep(0.1)
    assert len(await states(store)) == 1
    assert await worker.run_once() == SummaryRun(done=1)


async def test_closing_the_store_ends_the_worker_and_loses_no_job(
    open_store: OpenStore, key: SessionKey, store: Store
) -> None:
    async def slow(previous: str | None, events: Sequence[Event]) -> str:
        begun.append(True)
        await asyncio.sleep(0.2)
        return joined(previous, events)

    begun: list[bool] = []
    working = await open_store(summariser=slow)
    workers = await working.start_workers()
    assert "summariser" in [worker.name for worker in workers]
    other = await store.sessions.create("support", "ada", "other")
    for one in (key, other.key):
        await store.events.append(one, one.id)
        await store.summaries.enqueue_summary(one)

    async def at_it() -> bool:
        return bool(begun)

    await until(at_it)
    async with working:
        pass

    made = [await store.summaries.summary_text(one) for one in (key, other.key)]
    assert sum(text is not None for text in made) + len(await states(store)) == 2
    assert any(made)


async def test_a_store_without_a_summariser_has_no_such_worker(store: Store) -> None:
    with pytest.raises(InvalidError, match="summariser"):
        Summariser(getattr(store, "_target", store))
    assert "summariser" not in [worker.name for worker in await store.start_workers()]
