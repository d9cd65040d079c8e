"""What every worker does: its thread, its runs, what becomes of errors, and who does the work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from perdure import ClosedError, InvalidError, Store
from perdure.operation import Async, Call, Flow, M, flow
from perdure.store import _Store
from perdure.testing.clocks import FixedClock
from perdure.testing.colours import beside
from perdure.testing.databases import OpenStore
from perdure.workers import LEASE, Duty, Worker
from perdure.workers.worker import pause, retry_in

HOUR = timedelta(hours=1)


class Counting(Worker[M]):
    """Counts its runs; ``during`` is called in each."""

    name = "counting"

    def __init__(self, store: _Store[M], during: Callable[[], object] = lambda: None) -> None:
        super().__init__(store, HOUR)
        self.count = 0
        self.kept: list[bool] = []
        self._during = during

    @flow
    def run_once(self) -> Flow[int | None]:
        """How many runs there were; None if another process is at it."""
        return (yield from self._alone(self._work))

    def _round(self) -> Flow[timedelta | None]:
        done = yield from self._alone(self._work)
        return LEASE if done is None else None

    def _work(self, duty: Duty) -> Flow[int]:
        self.count += 1
        yield Call(self._during)
        self.kept.append((yield from duty.keep()))
        return self.count


async def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - a thread does it
            await asyncio.sleep(0.002)


def standing(entered: threading.Event, go: threading.Event) -> Callable[[], object]:
    """What a run does that says when it is there, and waits."""

    def during() -> None:
        entered.set()
        go.wait(20)

    return during


@asynccontextmanager
async def held(entered: threading.Event, go: threading.Event) -> AsyncIterator[None]:
    """A block in which a run is under way."""
    await asyncio.to_thread(entered.wait, 20)
    assert entered.is_set()
    try:
        yield
    finally:
        go.set()


async def test_a_started_worker_runs_at_once_and_waits_for_its_interval(store: Store) -> None:
    counting = Counting(store)
    worker = beside(store, counting)

    await worker.start()
    await until(lambda: counting.runs == 1)

    assert counting.is_running
    assert counting.count == 1
    assert await worker.stop() is True
    assert not counting.is_running
    assert counting.runs == 1


async def test_starting_and_stopping_twice_is_as_once(store: Store) -> None:
    counting = Counting(store)
    worker = beside(store, counting)

    await worker.start()
    await worker.start()
    await until(lambda: counting.runs == 1)
    await worker.stop()
    assert await worker.stop() is True

    assert counting.count == 1


async def test_a_stopped_worker_can_be_started_again(store: Store) -> None:
    counting = Counting(store)
    worker = beside(store, counting)

    async def start_and_stop() -> None:
        before = counting.runs
        await worker.start()
        await until(lambda: counting.runs > before)
        assert counting.is_running
        await worker.stop()

    for _ in range(3):
        await start_and_stop()


async def test_one_that_was_never_started_is_stopped_already(store: Store) -> None:
    assert await beside(store, Counting(store)).stop() is True


async def test_waking_begins_the_next_run(store: Store) -> None:
    counting = Counting(store)
    worker = beside(store, counting)
    await worker.start()
    await until(lambda: counting.runs == 1)

    counting.wake()
    await until(lambda: counting.runs == 2)

    await worker.stop()


async def test_who_wakes_it_during_a_run_gets_another_one(store: Store) -> None:
    entered, go = threading.Event(), threading.Event()
    counting = Counting(store, standing(entered, go))
    worker = beside(store, counting)
    await worker.start()
    async with held(entered, go):
        counting.wake()

    await until(lambda: counting.runs == 2)
    await worker.stop()


async def test_a_run_that_fails_is_kept_and_the_next_one_comes(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[Exception] = [ValueError("the first run")]

    def fail() -> None:
        if failures:
            raise failures.pop()

    counting = Counting(store, fail)
    worker = beside(store, counting)
    await worker.start()
    await until(lambda: counting.runs == 1)

    assert counting.is_running
    assert str(counting.last_error) == "the first run"
    assert "counting" in caplog.text
    counting.wake()
    await until(lambda: counting.runs == 2)
    assert counting.last_error is None
    await worker.stop()


async def test_a_run_that_fails_keeps_nobody_else_off(store: Store) -> None:
    failures: list[Exception] = [ValueError("the first run")]

    def fail() -> None:
        if failures:
            raise failures.pop()

    worker = beside(store, Counting(store, fail))
    with pytest.raises(ValueError, match="the first run"):
        await worker.run_once()

    assert await worker.run_once() == 2


def test_after_failures_the_waits_grow_to_five_minutes() -> None:
    waits = [retry_in(failed).total_seconds() for failed in (1, 2, 3, 9, 10, 10_000)]

    assert waits == [1, 2, 4, 256, 300, 300]


def test_a_pause_is_the_interval_or_what_is_sooner() -> None:
    assert pause(HOUR, None) == 3600
    assert pause(HOUR, LEASE) == 60
    assert pause(LEASE, HOUR) == 60
    assert pause(HOUR, timedelta(seconds=-1)) == 0
    assert pause(timedelta.max, None) == threading.TIMEOUT_MAX


async def test_stopping_waits_for_the_run_under_way_and_tells_it(store: Store) -> None:
    entered, go = threading.Event(), threading.Event()
    counting = Counting(store, standing(entered, go))
    worker = beside(store, counting)
    await worker.start()
    async with held(entered, go):
        assert await worker.stop(timeout=0.01) is False
        assert not counting.is_running
        assert counting.kept == []

    assert await worker.stop() is True
    assert counting.kept == [False]


async def test_a_run_by_hand_is_not_stopped_with_the_thread(store: Store) -> None:
    counting = Counting(store)
    worker = beside(store, counting)
    await worker.start()
    await until(lambda: counting.runs == 1)
    await worker.stop()

    await worker.run_once()

    assert counting.kept == [True, True]


async def test_closing_the_store_ends_its_workers(store: Store, open_store: OpenStore) -> None:
    other = await open_store()
    entered, go = threading.Event(), threading.Event()
    counting = Counting(other, standing(entered, go))
    worker = beside(other, counting)
    await worker.start()
    async with held(entered, go):
        closing = asyncio.create_task(other.__aexit__(None, None, None))
        await asyncio.sleep(0)

    await closing
    assert not counting.is_running
    assert counting.runs == 1
    assert counting.last_error is None
    with pytest.raises(ClosedError):
        await worker.start()
    assert await store.sessions.count() == 0


async def test_a_worker_of_a_closed_store_does_not_start(open_store: OpenStore) -> None:
    store = await open_store()
    await store.__aexit__(None, None, None)
    counting = Counting(store)

    with pytest.raises(ClosedError):
        await beside(store, counting).start()
    assert not counting.is_running


async def test_a_run_may_stop_its_own_worker(store: Store) -> None:
    done: list[object] = []

    def stop() -> None:
        done.append(counting._in_thread.flow(counting._stop(timeout=20)))

    counting: Counting[Async] = Counting(store, stop)
    worker = beside(store, counting)

    await worker.start()
    await until(lambda: counting.runs == 1)
    await until(lambda: not counting.is_running)

    assert done == [False]


async def test_while_one_is_at_it_no_other_does_it(store: Store, open_store: OpenStore) -> None:
    other = await open_store()
    entered, go = threading.Event(), threading.Event()
    counting = Counting(store, standing(entered, go))
    worker = beside(store, counting)
    await worker.start()
    async with held(entered, go):
        assert await beside(other, Counting(other)).run_once() is None

    await worker.stop()
    assert await beside(other, Counting(other)).run_once() == 1


async def test_every_tenant_has_its_own_turn(store: Store, open_store: OpenStore) -> None:
    acme = await open_store(tenant="acme")
    entered, go = threading.Event(), threading.Event()
    counting = Counting(store, standing(entered, go))
    worker = beside(store, counting)
    await worker.start()
    async with held(entered, go):
        assert await beside(acme, Counting(acme)).run_once() == 1
    await worker.stop()


async def test_what_a_dead_process_was_at_is_taken_over_after_a_minute(
    store: Store, open_store: OpenStore, clock: FixedClock
) -> None:
    clock.step = timedelta(0)
    other = await open_store()
    counting = Counting(store, lambda: clock.advance(LEASE))

    assert await beside(store, counting).run_once() == 1

    # Its lease had run out when it was asked: nobody may go on then.
    assert counting.kept == [False]
    assert await beside(other, Counting(other)).run_once() == 1


async def test_a_long_run_keeps_its_lease(store: Store, clock: FixedClock) -> None:
    clock.step = timedelta(0)
    counting = Counting(store, lambda: clock.advance(LEASE / 2))

    await beside(store, counting).run_once()

    assert counting.kept == [True]


async def test_an_interval_is_a_time_above_zero(store: Store) -> None:
    for interval in (timedelta(0), -HOUR, 60, None):
        with pytest.raises(InvalidError, match="interval"):
            Worker(store, interval)  # type: ignore[arg-type]


async def test_the_workers_of_a_store_are_started_and_stopped_as_one(store: Store) -> None:
    workers = await store.start_workers()

    assert workers.is_running
    assert await workers.stop() is True
    assert [worker.is_running for worker in workers] == [False] * len(list(workers))
