"""What schedulers in several processes do to the tasks of one store, whatever engine it is on."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import perdure
from perdure import CronContext
from perdure.testing.clocks import START, FixedClock
from perdure.workers import Scheduler
from tests.engines.processes import meet, python, side_by_side

SLOTS = 300
PROCESSES = 6
MINUTE = timedelta(minutes=1)
LEASE = timedelta(seconds=3)


def tick(url: str) -> list[str]:
    """Go for each slot at the same time as all others; the slots whose handler ran here."""
    ran: list[str] = []
    clock = FixedClock(START)
    with perdure.open_sync(url, durability="normal", clock=clock, pool_max=2) as store:
        worker = Scheduler(store, {"*": lambda context: ran.append(context.run.id)})
        for _ in range(SLOTS):
            clock.advance(MINUTE)
            meet()
            worker.run_once()
    return ran


def every_slot_of_a_task_runs_once(url: str) -> None:
    """A task of each minute, and clocks that are moved on together."""
    with perdure.open_sync(url, clock=FixedClock(START)) as store:
        task = store.cron.create("tick", "* * * * *", overlap="allow")

    ran = side_by_side(tick, [(url,)] * PROCESSES)

    with perdure.open_sync(url) as store:
        runs = store.cron.runs(task.id, limit=1000).items
    counted = Counter(one for own in ran for one in own)
    assert len(runs) == len(counted) == SLOTS
    assert set(counted.values()) == {1}
    assert {run.id for run in runs} == set(counted)
    assert {run.status for run in runs} == {"success"}
    slots = [START + (number + 1) * MINUTE for number in range(SLOTS)]
    assert sorted(run.scheduled_at for run in runs) == slots
    # Else nobody was in anybody's way.
    assert sum(map(bool, ran)) > 1


def take(url: str) -> list[str]:
    """Have a started scheduler run what is due, until nothing is left; what ran here."""
    ran: list[str] = []

    async def handler(context: CronContext) -> None:
        ran.append(context.task.name)

    with perdure.open_sync(url, durability="normal", pool_max=2) as store:
        meet()
        worker = Scheduler(store, {"*": handler}, timedelta(milliseconds=50), limit=5)
        worker.start()
        end = time.monotonic() + 60
        while store.cron.runs(status="success", limit=1000).items[SLOTS - 1 :] == []:
            assert time.monotonic() < end, "it takes too long"
            time.sleep(0.1)
        worker.stop()
    return ran


def tasks_that_are_due_at_once_run_once_each(url: str) -> None:
    """Three hundred tasks whose slot has come, and schedulers with threads of their own."""
    with perdure.open_sync(url, clock=FixedClock(START)) as store:
        for number in range(SLOTS):
            store.cron.create(f"task {number}", "0 0 2 1 *", misfire_limit=1)

    ran = side_by_side(take, [(url,)] * PROCESSES)

    names = [name for own in ran for name in own]
    assert sorted(names) == sorted(f"task {number}" for number in range(SLOTS))
    assert sum(map(bool, ran)) > 1
    with perdure.open_sync(url) as store:
        runs = store.cron.runs(limit=1000).items
        assert [run.status for run in runs] == ["success"] * SLOTS
        assert all(task.next_run_at for task in store.cron.iter())


_HANGING = """
import sys, time
from datetime import timedelta
import perdure
from perdure.workers import Scheduler

def handler(context):
    with open(sys.argv[2], "a") as log:
        log.write(context.run.id + "\\n")
    print("in", flush=True)
    time.sleep(60)

with perdure.open_sync(sys.argv[1]) as store:
    worker = Scheduler(store, {"*": handler}, timedelta(milliseconds=100),
                       lease=timedelta(seconds=float(sys.argv[3])))
    worker.start()
    time.sleep(60)
"""


def a_killed_scheduler_leaves_an_abandoned_run_that_is_not_run_again(
    url: str, folder: Path
) -> None:
    log = folder / "ran"
    with perdure.open_sync(url, clock=FixedClock(START)) as store:
        task = store.cron.create("tick", "0 0 2 1 *", misfire_limit=1)
    with python(_HANGING, url, str(log), str(LEASE.total_seconds())) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        with perdure.open_sync(url) as store:
            # As long as it lives its lease is renewed: nobody else touches the run.
            other = Scheduler(store, {"*": lambda _: log.write_text("again")}, lease=LEASE)
            end = time.monotonic() + 2 * LEASE.total_seconds()
            while time.monotonic() < end:
                assert other.run_once().abandoned == 0
                time.sleep(0.1)
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait()

    with perdure.open_sync(url) as store:
        other = Scheduler(store, {"*": lambda _: log.write_text("again")}, lease=LEASE)
        killed = time.monotonic()
        abandoned = 0
        while not abandoned:
            abandoned = other.run_once().abandoned
            assert time.monotonic() - killed < 3 * LEASE.total_seconds() + 5
            time.sleep(0.05)
        [run] = store.cron.runs(task.id).items
        assert other.run_once().ran == 0

    assert (abandoned, run.status) == (1, "abandoned")
    assert run.error == "its scheduler was not heard of any more"
    assert log.read_text().splitlines() == [run.id]


_STOPPED = """
import asyncio, sys, time
from datetime import timedelta
import perdure
from perdure.workers import Scheduler

async def handler(context):
    print("in", flush=True)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        raise

with perdure.open_sync(sys.argv[1]) as store:
    worker = Scheduler(store, {"*": handler}, timedelta(milliseconds=100),
                       lease=timedelta(seconds=1))
    worker.start()
    while worker.running or not worker.runs:
        time.sleep(0.05)
    print("over", flush=True)
"""


def a_scheduler_that_was_stopped_learns_that_its_run_was_abandoned(url: str) -> None:
    """SIGSTOP beyond its lease; what wakes up ends its handler and changes nothing."""
    with perdure.open_sync(url, clock=FixedClock(START)) as store:
        task = store.cron.create("tick", "0 0 2 1 *", misfire_limit=1)
    with python(_STOPPED, url) as process, perdure.open_sync(url) as store:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        os.kill(process.pid, signal.SIGSTOP)
        again: list[str] = []
        other = Scheduler(store, {"*": lambda context: again.append(context.run.id)})
        end = time.monotonic() + 30
        while not other.run_once().abandoned:
            assert time.monotonic() < end
            time.sleep(0.05)
        [abandoned] = store.cron.runs(task.id).items
        os.kill(process.pid, signal.SIGCONT)
        assert process.stdout.readline() == b"cancelled\n"
        assert process.stdout.readline() == b"over\n"
        assert other.run_once().ran == 0

        assert abandoned.status == "abandoned"
        assert store.cron.runs(task.id).items == [abandoned]
    assert again == []
