"""What the tests of schedulers share: handlers, clocks, and a scheduler that is somebody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from perdure import CronContext, CronRun, Store
from perdure.features import cron_runs
from perdure.features.cron_runs import Claim
from perdure.operation import Operation
from perdure.testing.clocks import START, FixedClock
from perdure.testing.colours import beside
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


async def under_way(store: Store, task_id: str, clock: FixedClock) -> CronRun:
    """The run of the first slot, which somebody else has under way for an hour."""
    clock.set(START + MINUTE)
    [row] = await in_store(store, cron_runs.due("", at(clock), None, 10))
    by = Claim("somebody", at(clock), at(clock) + 3_600_000_000, 1)
    what = cron_runs.decide(row, by.now, 60_000_000)
    [run] = await in_store(store, cron_runs.claim(row, what, by, store._settings))
    assert (run.task_id, run.status) == (task_id, "running")
    return run


async def in_store(store: Store, op: Operation[Any]) -> Any:

    return await asyncio.to_thread(store._engine.run, op)


def at(clock: FixedClock) -> int:
    return (clock.now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


async def end(store: Store, run: CronRun, status: str = "success") -> CronRun | None:
    """What the other one says at its end."""
    part = run.id.split("_")[1]
    done = cron_runs.finish(part, run, status, "", store._settings)
    ended: CronRun | None = await in_store(store, done)
    return ended


async def claimed_at(store: Store, clock: FixedClock, slot: datetime) -> CronRun:
    clock.set(slot)
    now = at(clock)
    [row] = await in_store(store, cron_runs.due("", now, None, 10))
    by = Claim("somebody", now, now + 60_000_000, 1)
    what = cron_runs.decide(row, now, 60_000_000)
    [run] = await in_store(store, cron_runs.claim(row, what, by, store._settings))
    return run  # type: ignore[no-any-return]
