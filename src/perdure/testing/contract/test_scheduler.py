"""The scheduler: which slots run, which are skipped, who runs them, and what the rows say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from perdure import CronContext, CronPass, InvalidError, RetentionConfig, Store
from perdure.operation import Bumps, Operation, Plan, Statement
from perdure.sql import parse
from perdure.testing.clocks import START, FixedClock
from perdure.testing.colours import beside
from perdure.testing.contract.scheduling import (
    HOUR,
    MINUTE,
    Log,
    claimed_at,
    history,
    in_store,
    noting,
    scheduler,
)
from perdure.testing.databases import Dump, OpenStore
from perdure.webhooks import Webhook
from perdure.workers import Scheduler


async def test_a_slot_runs_once_when_it_has_come(store: Store, clock: FixedClock) -> None:
    log: Log = []
    task = await store.cron.create("digest", "@hourly", {"n": 1}, app="shop")
    worker = scheduler(store, noting(log))

    early = await worker.run_once()
    clock.set(START + HOUR)
    due = await worker.run_once()
    again = await worker.run_once()

    assert (early, due, again) == (CronPass(), CronPass(success=1), CronPass())
    assert log == ["01:00"]
    [run] = await store.cron.runs(task.id)
    assert (run.status, run.trigger, run.error) == ("success", "slot", "")
    assert (run.app, run.task_name, run.scheduled_at) == ("shop", "digest", START + HOUR)
    assert run.started_at is not None
    assert run.finished_at is not None
    assert run.started_at <= run.finished_at
    after = await store.cron.get(task.id)
    assert (after.last_triggered_at, after.next_run_at) == (START + HOUR, START + 2 * HOUR)
    assert after.updated_at == task.updated_at


async def test_of_two_schedulers_one_runs_the_slot(
    store: Store, clock: FixedClock, open_store: OpenStore
) -> None:
    log: Log = []
    await store.cron.create("digest", "@hourly")
    other = await open_store()
    clock.set(START + HOUR)

    passes = [await scheduler(one, noting(log)).run_once() for one in (store, other)]

    assert [one.success for one in passes] == [1, 0]
    assert log == ["01:00"]


async def test_a_slot_that_has_its_run_gets_no_other_when_the_clock_goes_back(
    store: Store, clock: FixedClock
) -> None:
    log: Log = []
    task = await store.cron.create("digest", "@hourly")
    worker = scheduler(store, noting(log))
    clock.set(START + HOUR)
    await worker.run_once()

    clock.set(START)
    await store.cron.pause(task.id, by="ada")
    resumed = await store.cron.resume(task.id)
    clock.set(START + HOUR)
    again = await worker.run_once()

    assert resumed.next_run_at == START + HOUR
    assert again == CronPass()
    assert log == ["01:00"]


async def test_the_handler_is_that_of_the_actions_type_or_of_the_name_or_for_all(
    store: Store, clock: FixedClock
) -> None:
    log: Log = []
    await store.cron.create("a", "@hourly", {"type": "report", "n": 1})
    await store.cron.create("b", "@hourly")
    await store.cron.create("c", "@hourly", [1])
    await store.cron.create("d", "@hourly", {"type": 5})
    clock.set(START + HOUR)
    handlers = {
        "report": lambda context: log.append(f"report {context.task.action['n']}"),
        "b": lambda context: log.append(f"b {context.store is not None}"),
        "*": lambda context: log.append(f"* {context.task.name}"),
    }

    await beside(store, Scheduler(store, handlers)).run_once()

    assert sorted(log) == ["* c", "* d", "b True", "report 1"]


async def test_what_has_no_handler_here_is_left_to_others(
    store: Store, clock: FixedClock, open_store: OpenStore
) -> None:
    log: Log = []
    for number in range(3):
        await store.cron.create(f"known {number}", "@hourly", {"type": "known"})
    task = await store.cron.create("a", "@hourly", {"type": "unknown"})
    manual = await store.cron.trigger(task.id)
    clock.set(START + HOUR)

    known = beside(store, Scheduler(store, {"known": noting(log)}))
    assert (await known.run_once()).success == 3
    assert (await store.cron.get(task.id)).next_run_at == START + HOUR
    assert (await store.cron.get_run(manual.id)).status == "queued"
    other = await open_store()
    await scheduler(other, noting(log)).run_once()

    assert len(log) == 5


async def test_a_task_that_cannot_be_run_holds_up_no_other(store: Store, clock: FixedClock) -> None:
    log: Log = []
    tasks = [await store.cron.create(name, "@hourly") for name in ("a", "b", "c")]
    # A zone that was taken out of the database of zones, and an action that a fault has damaged.
    for column, task in zip(("timezone", "action"), tasks, strict=False):
        damage = parse(f"-- name: damage\nUPDATE cron_tasks SET {column} = '?' WHERE id = :id")
        await in_store(store, Operation("test", (), {}, _doing(damage.damage(id=task.id))))
    clock.set(START + HOUR)

    done = await scheduler(store, noting(log)).run_once()

    assert (done.success, log) == (1, ["01:00"])
    assert (await store.cron.get(tasks[2].id)).last_triggered_at == START + HOUR


def _doing(statement: Statement) -> Callable[[Bumps], Plan[None]]:
    def work(_: Bumps) -> Plan[None]:
        yield statement

    return work


# -- slots at which nobody ran -------------------------------------------------------------------

ALL_FIVE = ["01:00", "02:00", "03:00", "04:00", "05:00"]


#: The policy, how many slots count, how late it is after the fifth one; which run, which do not.
MISFIRES = [
    ("skip", 100, 30 * MINUTE, [], ALL_FIVE),
    ("skip", 100, timedelta(seconds=5), ["05:00"], ALL_FIVE[:4]),
    ("skip", 2, 30 * MINUTE, [], ["04:00", "05:00"]),
    ("once", 100, 30 * MINUTE, ["05:00"], ALL_FIVE[:4]),
    ("once", 100, timedelta(seconds=5), ["05:00"], ALL_FIVE[:4]),
    ("once", 1, 30 * MINUTE, ["05:00"], []),
    ("all", 100, 30 * MINUTE, ALL_FIVE, []),
    ("all", 3, 30 * MINUTE, ["03:00", "04:00", "05:00"], []),
]


@pytest.mark.parametrize("overlap", ["skip", "queue", "allow"])
async def test_misfires(store: Store, clock: FixedClock, overlap: str) -> None:
    for misfire, limit, late, ran, skipped in MISFIRES:
        log: Log = []
        clock.set(START)
        task = await store.cron.create(
            "digest", "@hourly", misfire=misfire, misfire_limit=limit, overlap=overlap
        )
        clock.set(START + 5 * HOUR + late)

        done = await scheduler(store, noting(log)).run_once()

        # Where runs may overlap they begin together.
        assert (sorted(log) if overlap == "allow" else log) == ran
        assert (done.success, done.skipped) == (len(ran), len(skipped))
        expected = [(slot, "success") for slot in ran] + [(slot, "skipped") for slot in skipped]
        assert await history(store, task.id) == sorted(expected)
        after = await store.cron.get(task.id)
        assert after.next_run_at == START + 6 * HOUR
        assert after.last_triggered_at == (START + 5 * HOUR if ran else None)
        for run in await store.cron.runs(task.id, status="skipped", limit=100):
            assert run.error == "missed: no scheduler was running"
            assert run.finished_at is not None
        await store.cron.delete(task.id)


#: Zone, midnight there in UTC, an hour that is left out or comes twice; what runs until five.
NIGHTS = [
    ("Europe/Berlin", datetime(2026, 3, 28, 23, tzinfo=UTC), 2, ["03:00"]),
    ("Europe/Berlin", datetime(2026, 10, 24, 22, tzinfo=UTC), 2, ["02:30"]),
    ("America/New_York", datetime(2026, 3, 8, 5, tzinfo=UTC), 2, ["03:00"]),
    ("America/New_York", datetime(2026, 11, 1, 4, tzinfo=UTC), 1, ["01:30"]),
]


async def test_on_the_nights_when_clocks_change_nothing_runs_twice_and_nothing_is_lost(
    store: Store, clock: FixedClock
) -> None:
    log: dict[str, Log] = {}

    def handler(context: CronContext) -> None:
        there = context.run.scheduled_at.astimezone(ZoneInfo(context.task.timezone))
        log[context.task.name].append(f"{there:%H:%M}")

    worker = scheduler(store, handler)
    for zone, midnight, hour, fixed in NIGHTS:
        clock.set(midnight - MINUTE)
        log = {"fixed": [], "passing": []}
        tasks = [
            await store.cron.create("fixed", f"30 {hour} * * *", timezone=zone),
            await store.cron.create("passing", "*/30 * * * *", timezone=zone),
        ]
        for half_hours in range(10):
            clock.set(midnight + half_hours * timedelta(minutes=30))
            await worker.run_once()
        for task in tasks:
            assert len(await store.cron.runs(task.id, limit=100)) == len(log[task.name])
            await store.cron.delete(task.id)

        assert log["fixed"] == fixed
        # Every half hour that passed, whatever the clocks showed.
        assert len(log["passing"]) == 10
        assert ("02:30" in log["passing"]) == (midnight.month > 9)


async def test_run_once_has_an_end_where_handlers_take_longer_than_their_slots(
    store: Store, clock: FixedClock
) -> None:
    log: Log = []
    task = await store.cron.create("tick", "0 * * * *")
    clock.set(START + HOUR)

    def handler(context: CronContext) -> None:
        assert len(log) < 3, "it goes on and on"
        clock.advance(HOUR)
        noting(log)(context)

    done = [await scheduler(store, handler).run_once() for _ in range(2)]

    assert done == [CronPass(success=1)] * 2
    assert log == ["01:00", "02:00"]
    assert (await store.cron.get(task.id)).next_run_at == START + 3 * HOUR


async def test_years_of_missed_minutes_cost_no_more_than_the_limit(
    store: Store, clock: FixedClock
) -> None:
    log: Log = []
    task = await store.cron.create("tick", "* * * * *", misfire="all", misfire_limit=3)
    clock.set(START + timedelta(days=20_000))

    await scheduler(store, noting(log)).run_once()

    assert log == ["23:58", "23:59", "00:00"]
    assert len(await store.cron.runs(task.id)) == 3


async def test_what_is_missed_beyond_the_room_waits_its_turn(
    store: Store, clock: FixedClock
) -> None:
    log: Log = []
    for name in ("a", "b", "c"):
        await store.cron.create(name, "@hourly", misfire="all", overlap="allow")
    clock.set(START + 5 * HOUR)

    done = await scheduler(store, noting(log), limit=2).run_once()

    assert done.success == 15
    assert sorted(log) == sorted(ALL_FIVE * 3)


# -- what is told, and what is kept --------------------------------------------------------------


async def test_a_failed_and_an_abandoned_run_are_told_to_webhooks(
    open_store: OpenStore, clock: FixedClock, dump: Dump
) -> None:
    hook = Webhook(url="https://example.org/", secret="s" * 16, kinds=["cron.run_failed"])
    store = await open_store(webhooks=[hook])
    await store.cron.create("bad", "@hourly", app="shop")
    await store.cron.create("good", "@hourly")

    def handler(context: CronContext) -> None:
        if context.task.name == "bad":
            raise ValueError("no such table")

    clock.set(START + HOUR)
    done = await scheduler(store, handler).run_once()
    clock.set(START + 2 * HOUR)
    await claimed_at(store, clock, START + 2 * HOUR)
    clock.advance(2 * MINUTE)
    lost = await scheduler(store, lambda _: None).run_once()

    assert (done.success, done.failed, lost.abandoned) == (1, 1, 1)
    told = (await dump())["outbox"]
    assert [row[3] for row in told] == ["cron.run_failed"] * 2
    assert "no such table" in str(told)
    assert "not heard of" in str(told)


async def test_runs_are_kept_for_thirty_days_or_as_the_retention_says(
    store: Store, clock: FixedClock, open_store: OpenStore
) -> None:
    forever = await open_store(retention=RetentionConfig(retention_days=None, cron_history=None))
    briefly = await open_store(
        retention=RetentionConfig(retention_days=None, cron_history=timedelta(days=1))
    )
    ids = []
    for number, one in enumerate((store, forever, briefly)):
        task = await one.cron.create(f"task {number}", "@yearly")
        run = await one.cron.trigger(task.id)
        await scheduler(one, lambda _: None).run_once()
        ids.append(run.id)
    waits = await store.cron.trigger(task.id)

    async def left() -> list[bool]:
        kept = {run.id for run in await store.cron.runs(limit=10)}
        return [one in kept for one in [*ids, waits.id]]

    clock.advance(timedelta(days=2))
    await store.sweep()
    after_two_days = await left()
    clock.advance(timedelta(days=29))
    dry = await store.sweep(dry_run=True)
    await store.sweep()

    assert after_two_days == [True, True, False, True]
    assert dry.kinds["cron_runs"].count == 1
    assert await left() == [False, True, False, True]


async def test_subscribers_hear_of_what_a_scheduler_does(store: Store, clock: FixedClock) -> None:
    await store.cron.create("tick", "@hourly", app="shop")
    clock.set(START + HOUR)

    async with store.subscribe(["cron.run_changed"]) as facts:
        await scheduler(store, lambda _: None).run_once()
        heard = [await facts.get(5) for _ in range(2)]

    assert [(fact.app, fact.value.status) for fact in heard if fact] == [
        ("shop", "running"), ("shop", "success"),
    ]  # fmt: skip


async def test_options_are_checked(store: Store, open_store: OpenStore) -> None:
    for options in (
        {"interval": timedelta(0)},
        {"lease": 5},
        {"lease": timedelta.max},
        {"grace": timedelta(0)},
        {"limit": 0},
    ):
        with pytest.raises(InvalidError):
            Scheduler(store, {}, **options)
    bad: list[Any] = [[], {"a": 5}, {5: print}]
    for handlers in bad:
        with pytest.raises(InvalidError, match="cron_handlers"):
            Scheduler(store, handlers)
        with pytest.raises(InvalidError, match="cron_handlers"):
            await open_store(cron_handlers=handlers)


async def test_a_store_with_handlers_starts_a_scheduler_with_its_workers(
    open_store: OpenStore, store: Store
) -> None:
    with_handlers = await open_store(cron_handlers={"tick": print})

    workers = await with_handlers.start_workers()
    names = {worker.name for worker in workers}
    await workers.stop()
    without = await store.start_workers()

    assert "scheduler" in names
    assert "scheduler" not in {worker.name for worker in without}
    await without.stop()
    assert set(with_handlers.scheduler().handlers) == {"tick"}
