"""Runs that wait for each other, and the leases of those under way."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from perdure import CronContext, CronPass, Store
from perdure.features import cron_runs
from perdure.features.cron_runs import Claim
from perdure.tables import TABLES
from perdure.testing.clocks import START, FixedClock
from perdure.testing.contract.scheduling import (
    HOUR,
    MINUTE,
    Log,
    at,
    claimed_at,
    end,
    history,
    in_store,
    noting,
    scheduler,
)
from perdure.testing.databases import Dump, OpenStore

RUNS = next(table.columns for table in TABLES if table.name == "cron_runs")

# -- slots that come while a run is under way ----------------------------------------------------


@pytest.mark.parametrize(
    ("overlap", "then", "at_last"),
    [
        ("skip", ["running", "skipped", "skipped"], ["success", "skipped", "skipped"]),
        ("queue", ["running", "queued", "queued"], ["success", "success", "success"]),
        ("allow", ["running", "success", "success"], ["success", "success", "success"]),
    ],
)
async def test_overlaps(
    store: Store, clock: FixedClock, overlap: str, then: Log, at_last: Log
) -> None:
    log: Log = []
    task = await store.cron.create("tick", "* * * * *", overlap=overlap)
    worker = scheduler(store, noting(log))
    first = await claimed_at(store, clock, START + MINUTE, lease=HOUR)

    for minute in (2, 3):
        clock.set(START + minute * MINUTE)
        await worker.run_once()
    between = await history(store, task.id)
    await end(store, first)
    await worker.run_once()

    slots = ["00:01", "00:02", "00:03"]
    assert between == list(zip(slots, then, strict=True))
    assert await history(store, task.id) == list(zip(slots, at_last, strict=True))
    assert log == [
        slot for slot, status in zip(slots[1:], at_last[1:], strict=True) if status == "success"
    ]
    for run in await store.cron.runs(task.id, status="skipped"):
        assert run.error == "the run before it was still under way"


async def test_the_last_slot_of_a_task_is_the_last_one_that_began(
    store: Store, clock: FixedClock
) -> None:
    async def last(task_id: str) -> Any:
        return (await store.cron.get(task_id)).last_triggered_at

    skips = await store.cron.create("a", "* * * * *", overlap="skip")
    waits = await store.cron.create("b", "* * * * *", overlap="queue")
    worker = scheduler(store, lambda _: None)
    runs = [await claimed_at(store, clock, START + MINUTE, lease=HOUR) for _ in range(2)]

    clock.set(START + 2 * MINUTE)
    await worker.run_once()
    assert [await last(skips.id), await last(waits.id)] == [START + MINUTE] * 2

    for run in runs:
        await end(store, run)
    await worker.run_once()
    assert [await last(skips.id), await last(waits.id)] == [START + MINUTE, START + 2 * MINUTE]
    # What is begun by hand is no slot.
    clock.set(START + 2 * MINUTE + timedelta(seconds=1))
    await store.cron.trigger(skips.id)
    await worker.run_once()
    assert await last(skips.id) == START + MINUTE


@pytest.mark.parametrize("overlap", ["skip", "queue", "allow"])
async def test_a_trigger_waits_for_the_run_under_way_but_where_overlap_is_allowed(
    store: Store, clock: FixedClock, overlap: str
) -> None:
    task = await store.cron.create("tick", "* * * * *", overlap=overlap)
    worker = scheduler(store, lambda _: None)
    first = await claimed_at(store, clock, START + MINUTE, lease=HOUR)

    manual = await store.cron.trigger(task.id)
    await worker.run_once()
    between = (await store.cron.get_run(manual.id)).status
    await end(store, first)
    await worker.run_once()

    assert between == ("success" if overlap == "allow" else "queued")
    assert (await store.cron.get_run(manual.id)).status == "success"
    # The slot that comes next is the one that would have come.
    assert (await store.cron.get(task.id)).next_run_at == START + 2 * MINUTE


async def test_no_more_runs_wait_than_the_limit(store: Store, clock: FixedClock) -> None:
    task = await store.cron.create("tick", "* * * * *", overlap="queue", misfire_limit=2)
    await claimed_at(store, clock, START + MINUTE, lease=HOUR)

    for minute in range(2, 6):
        clock.set(START + minute * MINUTE)
        await scheduler(store, print).run_once()

    statuses = [status for _, status in await history(store, task.id)]
    assert statuses == ["running", "queued", "queued", "skipped", "skipped"]
    [latest, *_] = await store.cron.runs(task.id)
    assert latest.error == "as many as misfire_limit waited already"


async def test_what_was_triggered_uses_up_no_slot_that_comes_meanwhile(
    store: Store, clock: FixedClock
) -> None:
    log: Log = []
    task = await store.cron.create("tick", "* * * * *", overlap="skip")
    manual = await store.cron.trigger(task.id)

    async def handler(context: CronContext) -> None:
        log.append(f"{context.run.trigger} {context.run.scheduled_at:%H:%M}")
        if context.run.trigger == "manual":
            # Two slots come while it runs: the second one finds the first one waiting.
            for minute in (1, 2):
                clock.set(START + minute * MINUTE)
                await scheduler(store, print).run_once()

    await scheduler(store, handler, lease=HOUR).run_once()

    assert (await store.cron.get_run(manual.id)).status == "success"
    assert log == ["manual 00:00", "slot 00:01"]
    [skipped] = await store.cron.runs(task.id, status="skipped")
    assert skipped.scheduled_at == START + 2 * MINUTE


async def test_a_paused_task_runs_by_hand_and_not_by_the_clock(
    store: Store, clock: FixedClock
) -> None:
    log: Log = []
    task = await store.cron.create("tick", "* * * * *", overlap="queue")
    first = await claimed_at(store, clock, START + MINUTE, lease=HOUR)
    clock.set(START + 2 * MINUTE)
    worker = scheduler(store, noting(log))
    await worker.run_once()

    await store.cron.pause(task.id, by="ada")
    await end(store, first)
    await store.cron.trigger(task.id)
    clock.set(START + 10 * MINUTE)
    await worker.run_once()

    assert log == ["00:02"]
    [manual, queued, _] = await store.cron.runs(task.id)
    assert (manual.trigger, manual.status) == ("manual", "success")
    assert (queued.status, queued.error) == ("skipped", "its task was paused")


async def test_a_task_that_was_changed_since_it_was_read_is_not_claimed(
    store: Store, clock: FixedClock
) -> None:
    task = await store.cron.create("tick", "* * * * *", {"n": 1})
    clock.set(START + MINUTE)
    [row] = await in_store(store, cron_runs.due("", at(clock), None, 10))
    await store.cron.update(task.id, action={"n": 2})

    by = Claim("me", at(clock), at(clock) + 1, 1)
    claimed = await in_store(
        store, cron_runs.claim(row, cron_runs.decide(row, by.now, 1), by, store._settings)
    )

    assert claimed == []
    seen: list[Any] = []
    await scheduler(store, lambda context: seen.append(context.task.action)).run_once()
    assert seen == [{"n": 2}]


# -- leases --------------------------------------------------------------------------------------


async def test_the_run_of_a_dead_scheduler_is_abandoned_and_not_run_again(
    store: Store, clock: FixedClock
) -> None:
    log: Log = []
    task = await store.cron.create("tick", "0 * * * *")
    clock.set(START + HOUR - MINUTE)
    run = await claimed_at(store, clock, START + HOUR)
    worker = scheduler(store, noting(log))

    clock.set(START + HOUR + timedelta(seconds=59))
    before = await worker.run_once()
    clock.set(START + HOUR + 2 * MINUTE)
    after = await worker.run_once()

    assert (before.abandoned, after.abandoned, log) == (0, 1, [])
    lost = await store.cron.get_run(run.id)
    assert (lost.status, lost.owner) == ("abandoned", "somebody")
    assert lost.error == "its scheduler was not heard of any more"
    assert lost.finished_at is not None
    # Whoever comes back from the dead changes nothing.
    assert await end(store, run) is None
    assert (await store.cron.get_run(run.id)).status == "abandoned"
    assert await in_store(store, cron_runs.renew(run.id.split("_")[1], run, 2**50)) is False
    assert (await store.cron.get(task.id)).next_run_at == START + 2 * HOUR


async def test_a_lease_is_renewed_while_the_handler_runs(
    store: Store, clock: FixedClock, open_store: OpenStore, dump: Dump
) -> None:
    task = await store.cron.create("tick", "0 * * * *")
    other = await open_store()
    abandoned: list[int] = []

    async def seconds_left() -> float:
        [run] = (await dump())["cron_runs"]
        until: int = run[RUNS.index("until")]
        return (until - at(clock)) / 1e6

    async def handler(_: CronContext) -> None:
        for _beat in range(3):
            clock.advance(timedelta(seconds=25))
            end_at = time.monotonic() + 20
            while await seconds_left() < 45:
                assert time.monotonic() < end_at, "it is not renewed"
                await asyncio.sleep(0.1)
            abandoned.append((await scheduler(other, print).run_once()).abandoned)

    clock.set(START + HOUR)
    done = await scheduler(store, handler).run_once()

    assert done == CronPass(success=1)
    assert abandoned == [0, 0, 0]
    assert [run.status for run in await store.cron.runs(task.id)] == ["success"]


async def test_a_started_scheduler_renews_leases_however_seldom_it_looks(
    open_store: OpenStore,
) -> None:
    store = await open_store(clock=None)
    other = await open_store(clock=None)
    lease = timedelta(seconds=1)
    go = threading.Event()
    task = await store.cron.create("tick", "0 0 1 1 *")
    await store.cron.trigger(task.id)
    worker = scheduler(store, lambda _: go.wait(20), interval=HOUR, lease=lease)
    await worker.start()

    abandoned = 0
    end_at = time.monotonic() + 1.5
    while time.monotonic() < end_at:
        abandoned += (await scheduler(other, print).run_once()).abandoned
        await asyncio.sleep(0.1)
    go.set()
    assert await worker.stop() is True

    assert abandoned == 0
    assert [run.status for run in await store.cron.runs(task.id)] == ["success"]


async def test_what_waits_goes_on_behind_a_run_that_was_abandoned(
    store: Store, clock: FixedClock
) -> None:
    log: Log = []
    task = await store.cron.create("tick", "* * * * *", overlap="queue")
    await claimed_at(store, clock, START + MINUTE)

    clock.set(START + 2 * MINUTE - timedelta(seconds=1))
    await store.cron.trigger(task.id)
    clock.set(START + 2 * MINUTE + timedelta(seconds=1))
    done = await scheduler(store, noting(log)).run_once()

    assert done.abandoned == 1
    assert log == ["00:01", "00:02"]
