"""The scheduler: which slots run, which are skipped, who runs them, and what the rows say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import CronContext, CronPass, CronRun, InvalidError, RetentionConfig, Store
from perdure.features import cron_runs
from perdure.features.cron_runs import Claim
from perdure.operation import Operation
from perdure.testing.clocks import START, FixedClock
from perdure.testing.colours import beside
from perdure.testing.databases import Dump, OpenStore
from perdure.webhooks import Webhook
from perdure.workers import Scheduler

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

Log = list[str]


def scheduler(store: Store, handler: Callable[[CronContext], Any], **options: Any) -> Scheduler[Any]:
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


# -- slots at which nobody ran -------------------------------------------------------------------

ALL_FIVE = ["01:00", "02:00", "03:00", "04:00", "05:00"]


@pytest.mark.parametrize(
    ("misfire", "limit", "late", "ran", "skipped"),
    [
        ("skip", 100, 30 * MINUTE, [], ALL_FIVE),
        ("skip", 100, timedelta(seconds=5), ["05:00"], ALL_FIVE[:4]),
        ("skip", 2, 30 * MINUTE, [], ["04:00", "05:00"]),
        ("once", 100, 30 * MINUTE, ["05:00"], ALL_FIVE[:4]),
        ("once", 100, timedelta(seconds=5), ["05:00"], ALL_FIVE[:4]),
        ("once", 1, 30 * MINUTE, ["05:00"], []),
        ("all", 100, 30 * MINUTE, ALL_FIVE, []),
        ("all", 3, 30 * MINUTE, ["03:00", "04:00", "05:00"], []),
    ],
)
@pytest.mark.parametrize("overlap", ["skip", "queue", "allow"])
async def test_misfires(
    store: Store, clock: FixedClock, overlap: str, misfire: str, limit: int, late: timedelta,
    ran: Log, skipped: Log,
) -> None:  # fmt: skip
    log: Log = []
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
    for run in await store.cron.runs(task.id, status="skipped"):
        assert run.error == "missed: no scheduler was running"
        assert run.finished_at is not None


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


# -- slots that come while a run is under way ----------------------------------------------------


async def under_way(store: Store, task_id: str, clock: FixedClock) -> CronRun:
    """The run of the first slot, which somebody else has under way for an hour."""
    clock.set(START + MINUTE)
    [row] = await asyncio_run(store, cron_runs.due("", at(clock), None, 10))
    by = Claim("somebody", at(clock), at(clock) + 3_600_000_000, 1)
    what = cron_runs.decide(row, by.now, 60_000_000)
    [run] = await asyncio_run(store, cron_runs.claim(row, what, by, store._settings))
    assert (run.task_id, run.status) == (task_id, "running")
    return run


async def asyncio_run(store: Store, op: Operation[Any]) -> Any:

    return await asyncio.to_thread(store._engine.run, op)


def at(clock: FixedClock) -> int:
    return (clock.now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


async def end(store: Store, run: CronRun, status: str = "success") -> CronRun | None:
    """What the other one says at its end."""
    part = run.id.split("_")[1]
    done = cron_runs.finish(part, run, status, "", store._settings)
    ended: CronRun | None = await asyncio_run(store, done)
    return ended


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
    first = await under_way(store, task.id, clock)

    for minute in (2, 3):
        clock.set(START + minute * MINUTE)
        await worker.run_once()
    between = await history(store, task.id)
    await end(store, first)
    await worker.run_once()

    slots = ["00:01", "00:02", "00:03"]
    assert between == list(zip(slots, then, strict=True))
    assert await history(store, task.id) == list(zip(slots, at_last, strict=True))
    assert log == [slot for slot, status in zip(slots[1:], at_last[1:], strict=True) if status == "success"]
    for run in await store.cron.runs(task.id, status="skipped"):
        assert run.error == "the run before it was still under way"


@pytest.mark.parametrize("overlap", ["skip", "queue", "allow"])
async def test_a_trigger_waits_for_the_run_under_way_but_where_overlap_is_allowed(
    store: Store, clock: FixedClock, overlap: str
) -> None:
    task = await store.cron.create("tick", "* * * * *", overlap=overlap)
    worker = scheduler(store, lambda _: None)
    first = await under_way(store, task.id, clock)

    manual = await store.cron.trigger(task.id)
    await worker.run_once()
    between = (await store.cron.get_run(manual.id)).status
    await end(store, first)
    await worker.run_once()

    assert between == ("success" if overlap == "allow" else "queued")
    assert (await store.cron.get_run(manual.id)).status == "success"
    # The slot that comes next is the one that would have come.
    assert (await store.cron.get(task.id)).next_run_at == START + 2 * MINUTE


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
    first = await under_way(store, task.id, clock)
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
    [row] = await asyncio_run(store, cron_runs.due("", at(clock), None, 10))
    await store.cron.update(task.id, action={"n": 2})

    by = Claim("me", at(clock), at(clock) + 1, 1)
    claimed = await asyncio_run(
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
    run = await _claimed_at(store, clock, START + HOUR)
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
    assert await asyncio_run(store, cron_runs.renew(run.id.split("_")[1], run, 2**50)) is False
    assert (await store.cron.get(task.id)).next_run_at == START + 2 * HOUR


async def _claimed_at(store: Store, clock: FixedClock, slot: datetime) -> CronRun:
    clock.set(slot)
    now = at(clock)
    [row] = await asyncio_run(store, cron_runs.due("", now, None, 10))
    by = Claim("somebody", now, now + 60_000_000, 1)
    what = cron_runs.decide(row, now, 60_000_000)
    [run] = await asyncio_run(store, cron_runs.claim(row, what, by, store._settings))
    return run  # type: ignore[no-any-return]


async def test_a_lease_is_renewed_while_the_handler_runs(
    store: Store, clock: FixedClock, open_store: OpenStore
) -> None:
    task = await store.cron.create("tick", "0 * * * *")
    other = await open_store()
    abandoned: list[int] = []

    async def handler(context: CronContext) -> None:

        for _ in range(4):
            clock.advance(timedelta(seconds=25))
            await asyncio.sleep(0.45)
            abandoned.append((await scheduler(other, print).run_once()).abandoned)

    clock.set(START + HOUR)
    done = await scheduler(store, handler).run_once()

    assert done == CronPass(success=1)
    assert abandoned == [0, 0, 0, 0]
    assert [run.status for run in await store.cron.runs(task.id)] == ["success"]


async def test_what_waits_goes_on_behind_a_run_that_was_abandoned(
    store: Store, clock: FixedClock
) -> None:
    log: Log = []
    task = await store.cron.create("tick", "* * * * *", overlap="queue")
    await _claimed_at(store, clock, START + MINUTE)

    clock.set(START + 2 * MINUTE - timedelta(seconds=1))
    await store.cron.trigger(task.id)
    clock.set(START + 2 * MINUTE + timedelta(seconds=1))
    done = await scheduler(store, noting(log)).run_once()

    assert done.abandoned == 1
    assert log == ["00:01", "00:02"]


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
    await _claimed_first(store, clock)
    clock.advance(2 * MINUTE)
    lost = await scheduler(store, lambda _: None).run_once()

    assert (done.success, done.failed, lost.abandoned) == (1, 1, 1)
    told = [row for row in (await dump())["outbox"]]
    assert [row[3] for row in told] == ["cron.run_failed"] * 2
    assert "no such table" in str(told)
    assert "not heard of" in str(told)


async def _claimed_first(store: Store, clock: FixedClock) -> None:
    row, *_ = await asyncio_run(store, cron_runs.due("", at(clock), None, 10))
    by = Claim("somebody", at(clock), at(clock) + 60_000_000, 1)
    what = cron_runs.decide(row, by.now, 60_000_000)
    await asyncio_run(store, cron_runs.claim(row, what, by, store._settings))


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
        return [id in kept for id in [*ids, waits.id]]

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
    for options in ({"interval": timedelta(0)}, {"lease": 5}, {"grace": timedelta(0)}, {"limit": 0}):
        with pytest.raises(InvalidError):
            Scheduler(store, {}, **options)  # type: ignore[arg-type]
    for handlers in ([], {"a": 5}, {5: print}):
        with pytest.raises(InvalidError, match="cron_handlers"):
            Scheduler(store, handlers)  # type: ignore[arg-type]
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


