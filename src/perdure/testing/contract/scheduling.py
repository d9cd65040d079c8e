"""What the tests of schedulers share: handlers, clocks, and a scheduler that is somebody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from perdure import CronContext, CronRun, Store
from perdure.features import cron_runs
from perdure.features.cron_runs import Claim
from perdure.operation import Operation
from perdure.testing.clocks import FixedClock
from perdure.testing.colours import beside
from perdure.values import to_micros
from perdure.workers import Scheduler

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

Log = list[str]


def scheduler(
    store: Store, handler: Callable[[CronContext], Any], **options: Any
) -> Scheduler[Any]:
    """One with a handler for everything."""
    return beside(store, Scheduler(store, {"*": handler}, **options))


def noting(log: Log) -> Callable[[CronContext], None]:
    """A handler that writes down the slot it was called for."""

    def handler(context: CronContext) -> None:
        log.append(f"{context.run.scheduled_at:%H:%M}")

    return handler


async def history(store: Store, task_id: str) -> list[tuple[str, str]]:
    """The slots that have a run, the first one first, with what became of each."""
    runs = await store.cron.runs(task_id, limit=1000)
    return [(f"{run.scheduled_at:%H:%M}", run.status) for run in reversed(runs.items)]


async def in_store(store: Store, op: Operation[Any]) -> Any:
    """What an operation without a method gives."""
    return await asyncio.to_thread(store._engine.run, op)


def at(clock: FixedClock) -> int:
    """The time in microseconds."""
    return to_micros(clock.now, "now")


async def claimed_at(
    store: Store, clock: FixedClock, slot: datetime, lease: timedelta = MINUTE
) -> CronRun:
    """The run of the slot that comes first, which somebody else has under way from now on."""
    clock.set(slot)
    now = at(clock)
    row, *_ = await in_store(store, cron_runs.due("", now, None, 10))
    by = Claim("somebody", now, now + lease // timedelta(microseconds=1), 1)
    what = cron_runs.decide(row, now, 60_000_000)
    runs: list[CronRun] = await in_store(store, cron_runs.claim(row, what, by, store._settings))
    [run] = runs
    assert run.status == "running"
    return run


async def end(store: Store, run: CronRun) -> CronRun | None:
    """What the other one says at its end; None if it is too late."""
    part = run.id.split("_")[1]
    done = cron_runs.finish(part, run, "success", "", store._settings)
    ended: CronRun | None = await in_store(store, done)
    return ended
