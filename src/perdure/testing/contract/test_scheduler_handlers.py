"""Handlers: plain and async ones, what they get, how they end, and how a scheduler is stopped."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from perdure import CronContext, CronPass, CronRun, NotFoundError, SessionKey, Store
from perdure.testing.clocks import START, FixedClock
from perdure.testing.colours import beside
from perdure.testing.contract.scheduling import scheduler
from perdure.testing.databases import OpenStore
from perdure.workers import Scheduler

HOUR = timedelta(hours=1)


async def due(store: Store, clock: FixedClock, *names: str, **fields: Any) -> list[str]:
    """Tasks that are due now; their ids."""
    tasks = [await store.cron.create(name, "@hourly", **fields) for name in names]
    clock.set(START + HOUR)
    return [task.id for task in tasks]


async def only_run(store: Store, task_id: str) -> CronRun:
    [run] = await store.cron.runs(task_id)
    return run


async def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - a thread does it
            await asyncio.sleep(0.002)


# -- how a handler ends --------------------------------------------------------------------------


async def test_plain_and_async_handlers_run_to_their_end(store: Store, clock: FixedClock) -> None:
    ends: list[str] = []

    async def of_its_own(context: CronContext) -> None:
        await asyncio.sleep(0.01)
        ends.append(context.task.name)

    class Made:
        async def __call__(self, context: CronContext) -> None:
            await of_its_own(context)

    handlers: dict[str, Callable[[CronContext], Any]] = {
        "async": of_its_own,
        "plain": lambda context: ends.append(context.task.name),
        "object": Made(),
        "awaitable": partial(of_its_own),
    }
    await due(store, clock, *handlers)

    done = await beside(store, Scheduler(store, handlers)).run_once()

    assert done == CronPass(success=4)
    assert sorted(ends) == sorted(handlers)


async def test_what_a_handler_raises_is_the_error_of_its_run(
    store: Store, clock: FixedClock
) -> None:
    def plain(_: CronContext) -> None:
        raise ValueError("no \0 such\ud800 table " + "x" * 5000)

    async def later(_: CronContext) -> None:
        await asyncio.sleep(0)
        raise KeyError("later")

    def leaves(_: CronContext) -> None:
        raise SystemExit(3)

    handlers = {"plain": plain, "later": later, "leaves": leaves}
    ids = await due(store, clock, *handlers)

    done = await beside(store, Scheduler(store, handlers)).run_once()

    assert done == CronPass(failed=3)
    runs = [await only_run(store, task_id) for task_id in ids]
    assert [run.status for run in runs] == ["failed"] * 3
    assert runs[0].error.startswith("ValueError: no \\0 such? table xxx")
    assert len(runs[0].error) == 2000
    assert [run.error for run in runs[1:]] == ["KeyError: 'later'", "SystemExit: 3"]


async def test_an_async_handler_that_takes_too_long_is_cancelled(
    store: Store, clock: FixedClock
) -> None:
    ended: list[str] = []

    async def handler(context: CronContext) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(f"cancelled {context.cancelled}")
            raise

    [task_id] = await due(store, clock, "slow", timeout=timedelta(milliseconds=50))
    begun = time.monotonic()
    done = await scheduler(store, handler).run_once()

    assert (done, ended) == (CronPass(failed=1), ["cancelled True"])
    assert time.monotonic() - begun < 10
    assert (await only_run(store, task_id)).error == "it took longer than 0.05 s"


async def test_a_plain_handler_that_takes_too_long_is_asked_and_left(
    store: Store, clock: FixedClock
) -> None:
    go = threading.Event()
    seen: list[bool] = []

    def handler(context: CronContext) -> None:
        seen.append(context.wait(20))
        go.wait(20)

    [task_id] = await due(store, clock, "slow", timeout=timedelta(milliseconds=50))
    worker = scheduler(store, handler, limit=1)
    done = await worker.run_once()
    run = await only_run(store, task_id)
    # Its thread counts as one that is busy, until it ends.
    clock.set(START + 2 * HOUR)
    meanwhile = await worker.run_once()
    go.set()
    await until(lambda: len([t for t in threading.enumerate() if t.name == "perdure-call"]) == 0)

    assert (done, meanwhile, seen) == (CronPass(failed=1), CronPass(), [True])
    assert run.status == "failed"
    assert (
        run.error == "it took longer than 0.05 s, and goes on: a plain function cannot be stopped"
    )
    assert (await worker.run_once()).ran == 1


async def test_an_async_handler_that_does_not_let_itself_be_cancelled_is_left(
    store: Store, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.workers.handling.CANCEL_SECONDS", 0.2)
    go = threading.Event()

    async def handler(_: CronContext) -> None:
        while not go.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    [task_id] = await due(store, clock, "slow", timeout=timedelta(milliseconds=50))
    done = await scheduler(store, handler).run_once()
    go.set()

    assert done == CronPass(failed=1)
    error = (await only_run(store, task_id)).error
    assert error == "it took longer than 0.05 s, and does not end, cancelled or not"


async def test_one_slow_handler_delays_no_other_task(store: Store, clock: FixedClock) -> None:
    go = threading.Event()
    ends: list[str] = []

    def handler(context: CronContext) -> None:
        if context.task.name == "slow":
            go.wait(20)
        ends.append(context.task.name)

    await due(store, clock, "slow", "a", "b", "c")
    worker = scheduler(store, handler)
    await worker.start()
    await until(lambda: len(ends) == 3 and len(worker.running) == 1)
    running = [run.task_name for run in worker.running]
    go.set()
    await worker.stop()

    assert sorted(ends[:3]) == ["a", "b", "c"]
    assert running == ["slow"]
    assert ends[3:] == ["slow"]


async def test_no_more_handlers_run_at_a_time_than_the_limit(
    store: Store, clock: FixedClock
) -> None:
    # Three at a time can pass it; a fourth one would be counted.
    three = threading.Barrier(3)
    lock, counts = threading.Lock(), [0, 0]

    def handler(_: CronContext) -> None:
        with lock:
            counts[0] += 1
            counts[1] = max(counts)
        three.wait(20)
        with lock:
            counts[0] -= 1

    await due(store, clock, *(f"task {number:02}" for number in range(12)))

    done = await scheduler(store, handler, limit=3).run_once()

    assert (done.success, counts) == (12, [0, 3])


async def test_one_that_ends_makes_room_while_a_slow_one_goes_on(
    store: Store, clock: FixedClock
) -> None:
    last = threading.Event()

    def handler(context: CronContext) -> None:
        if context.task.name == "slow":
            # It ends only if the others need not wait for it.
            assert last.wait(20)
        time.sleep(0.05)
        if context.task.name == "d":
            last.set()

    await due(store, clock, "slow", "b", "c", "d")

    assert await scheduler(store, handler, limit=2).run_once() == CronPass(success=4)


# -- what a handler does with the store ----------------------------------------------------------


async def test_a_handler_appends_to_a_session_and_links_it_to_its_run(
    store: Store, clock: FixedClock
) -> None:
    async def handler(context: CronContext) -> None:
        session = await context.store.session("shop", "ada")
        await session.append({"role": "user", "content": context.task.action["ask"]})
        linked = context.link(SessionKey("shop", "ada", session.id), run_id=context.run.id)
        assert linked.status == "running"

    [task_id] = await due(store, clock, "digest", action={"ask": "What is new?"})
    done = await scheduler(store, handler).run_once()

    assert done == CronPass(success=1)
    run = await only_run(store, task_id)
    assert run.session is not None
    assert run.run_id == run.id
    [event] = await store.events.read(run.session)
    assert event.text == "What is new?"


async def test_a_session_that_is_not_there_is_not_linked(store: Store, clock: FixedClock) -> None:
    raised: list[Exception] = []

    def handler(context: CronContext) -> None:
        try:
            context.link(SessionKey("shop", "ada", "nobody"))
        except NotFoundError as error:
            raised.append(error)

    [task_id] = await due(store, clock, "digest")
    await scheduler(store, handler).run_once()

    assert len(raised) == 1
    run = await only_run(store, task_id)
    assert (run.status, run.session) == ("success", None)


async def test_a_handler_may_change_its_own_task(store: Store, clock: FixedClock) -> None:
    async def handler(context: CronContext) -> None:
        await context.store.cron.delete(context.task.id)

    [task_id] = await due(store, clock, "once only")
    done = await scheduler(store, handler).run_once()

    assert done == CronPass(success=1)
    assert (await only_run(store, task_id)).status == "success"
    assert await store.cron.find("once only") is None


# -- the thread of a scheduler -------------------------------------------------------------------


async def test_a_started_scheduler_runs_what_is_due_and_what_is_triggered(
    store: Store, clock: FixedClock
) -> None:
    [task_id] = await due(store, clock, "digest")
    ends: list[str] = []
    one = Scheduler(store, {"*": lambda context: ends.append(context.run.trigger)})
    worker = beside(store, one)

    await worker.start()
    assert one.is_running
    await until(lambda: len(ends) == 1)
    await store.cron.trigger(task_id)
    one.wake()
    await until(lambda: len(ends) == 2)

    assert await worker.stop() is True
    assert not one.is_running
    assert ends == ["slot", "manual"]
    assert [run.status for run in await store.cron.runs(task_id)] == ["success", "success"]


async def test_it_wakes_for_the_next_slot(open_store: OpenStore) -> None:
    # By the real clock: an interval of an hour, and a slot a moment from now.
    clock = FixedClock(START + HOUR - timedelta(milliseconds=200))
    begun = time.monotonic()
    clock_of = lambda: clock.now + timedelta(seconds=time.monotonic() - begun)  # noqa: E731
    store = await open_store(clock=clock_of)
    await store.cron.create("tick", "@hourly")
    ends: list[float] = []
    worker = scheduler(store, lambda _: ends.append(time.monotonic() - begun), interval=HOUR)

    await worker.start()
    await until(lambda: bool(ends))
    await worker.stop()

    assert 0.15 < ends[0] < 5


async def test_stop_waits_for_the_handler_under_way(store: Store, clock: FixedClock) -> None:
    entered = threading.Event()

    def handler(_: CronContext) -> None:
        entered.set()
        time.sleep(0.3)

    [task_id] = await due(store, clock, "slow")
    worker = scheduler(store, handler)
    await worker.start()
    await asyncio.to_thread(entered.wait, 20)

    assert await worker.stop() is True
    assert (await only_run(store, task_id)).status == "success"


@pytest.mark.parametrize("closing", [False, True])
async def test_closing_a_store_waits_for_its_scheduler(
    open_store: OpenStore, store: Store, clock: FixedClock, closing: bool
) -> None:
    entered = threading.Event()

    async def handler(context: CronContext) -> None:
        entered.set()
        await asyncio.sleep(0.2)
        await context.store.kv.set("done", "it", 1)

    own = await open_store()
    [task_id] = await due(store, clock, "slow")
    worker = scheduler(own, handler)
    await worker.start()
    await asyncio.to_thread(entered.wait, 20)

    if closing:
        await asyncio.to_thread(own._close)
    else:
        await worker.stop()

    assert (await only_run(store, task_id)).status == "success"
    assert (await store.kv.get("done", "it")).value == 1


async def test_at_the_end_of_its_time_stop_cancels_an_async_handler(
    store: Store, clock: FixedClock
) -> None:
    entered = threading.Event()

    async def handler(_: CronContext) -> None:
        entered.set()
        await asyncio.sleep(60)

    [task_id] = await due(store, clock, "slow")
    worker = scheduler(store, handler)
    await worker.start()
    await asyncio.to_thread(entered.wait, 20)

    assert await worker.stop(timeout=3) is True
    run = await only_run(store, task_id)
    assert (run.status, run.error) == ("failed", "the scheduler was stopped")


async def test_the_time_for_a_stop_is_that_of_the_workers_together_too(
    store: Store, open_store: OpenStore, clock: FixedClock
) -> None:
    entered, ended = threading.Event(), threading.Event()

    async def handler(_: CronContext) -> None:
        entered.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    own = await open_store(cron_handlers={"*": handler})
    [task_id] = await due(store, clock, "slow")
    workers = await own.start_workers()
    await asyncio.to_thread(entered.wait, 20)
    begun = time.monotonic()

    assert await workers.stop(timeout=3) is True
    assert time.monotonic() - begun < 3
    assert ended.is_set()
    assert (await only_run(store, task_id)).error == "the scheduler was stopped"


async def test_stop_says_that_a_plain_handler_goes_on(store: Store, clock: FixedClock) -> None:
    entered, go = threading.Event(), threading.Event()
    asked: list[bool] = []

    def handler(context: CronContext) -> None:
        entered.set()
        asked.append(context.wait(20))
        go.wait(20)

    [task_id] = await due(store, clock, "slow")
    one = Scheduler(store, {"*": handler})
    worker = beside(store, one)
    await worker.start()
    await asyncio.to_thread(entered.wait, 20)

    assert await worker.stop(timeout=0.5) is False
    assert (await only_run(store, task_id)).status == "running"
    go.set()
    await until(lambda: not one.running)
    assert asked == [True]
    assert (await only_run(store, task_id)).error == "the scheduler was stopped"


async def test_a_handler_whose_lease_was_lost_is_cancelled(
    store: Store, clock: FixedClock, open_store: OpenStore
) -> None:
    cancelled = threading.Event()

    async def handler(_: CronContext) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    task_id = (await store.cron.create("slow", "0 0 1 1 *")).id
    await store.cron.trigger(task_id)
    one = Scheduler(store, {"*": handler}, timedelta(milliseconds=20))
    worker = beside(store, one)
    await worker.start()
    await until(lambda: len(one.running) == 1)
    other = beside(store, Scheduler(await open_store(), {}))
    while (await only_run(store, task_id)).status != "abandoned":
        # A clock that jumps: the machine slept.
        clock.advance(2 * HOUR)
        await other.run_once()
    clock.advance(HOUR)

    assert await asyncio.to_thread(cancelled.wait, 20)
    await worker.stop()
    assert (await only_run(store, task_id)).status == "abandoned"
