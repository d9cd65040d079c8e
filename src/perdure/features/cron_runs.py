"""Runs of tasks: which slots run, who has them, what became of them. What schedulers build on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from perdure.features.cron_tasks import CRON, TaskRow, find
from perdure.features.outbox import Notes, notes
from perdure.features.schedules import slots_until
from perdure.operation import Bumps, Operation, Plan, Settings
from perdure.records import CronRun, SessionKey
from perdure.values import FIRST_MICROS, digest, from_micros, maybe

KEPT = timedelta(days=30)
_MICRO = timedelta(microseconds=1)
_LONGEST_FAILURE = 2000

MISSED = "missed: no scheduler was running"
OVERLAPPED = "the run before it was still under way"
CROWDED = "as many as misfire_limit waited already"
DELETED = "its task was deleted"
PAUSED = "its task was paused"
SILENT = "its scheduler was not heard of any more"


class RunRow(NamedTuple):
    """A row of the table, in the order of `run` in cron.sql."""

    part: str
    id: str
    tenant: str
    app: str
    task_id: str
    task_name: str
    cause: Literal["slot", "manual"]
    alone: int
    scheduled_at: int
    status: Any
    owner: str
    until: int | None
    started_at: int | None
    finished_at: int | None
    failure: str
    run_id: str
    session_part: str
    session_uid: str
    expires_at: int | None

    def record(self, session: SessionKey | None = None) -> CronRun:
        """What is returned."""
        return CronRun(
            id=self.id,
            app=self.app,
            task_id=self.task_id,
            task_name=self.task_name,
            trigger=self.cause,
            scheduled_at=from_micros(self.scheduled_at),
            started_at=maybe(from_micros, self.started_at),
            finished_at=maybe(from_micros, self.finished_at),
            status=self.status,
            error=self.failure,
            owner=self.owner,
            run_id=self.run_id,
            session=session,
        )


# -- deciding ------------------------------------------------------------------------------------


class Decision(NamedTuple):
    """What is to become of the slots of a task that have come: ``missed`` ones never begin."""

    slots: Sequence[int]
    missed: frozenset[int]
    next_run_at: int | None


def decide(task: TaskRow, now: int, grace: int) -> Decision:
    """What is to become of the slots from ``next_run_at`` to now.

    A slot that is older than ``grace`` (microseconds) was missed.
    """
    first = now if task.next_run_at is None else task.next_run_at
    slots, following = slots_until(task.expression, task.timezone, first, now, task.misfire_limit)
    if task.misfire == "all":
        return Decision(slots, frozenset(), following)
    running = slots[-1:]
    if task.misfire == "skip" and running and now - running[0] > grace:
        running = []
    return Decision(slots, frozenset(slots) - set(running), following)


# -- a run's row ---------------------------------------------------------------------------------


def new_run(task: TaskRow, cause: Literal["slot", "manual"], id: str, at: int) -> RunRow:
    """A run that waits."""
    return RunRow(
        part=task.part,
        id=f"run_{task.part}_{id}",
        tenant=task.tenant,
        app=task.app,
        task_id=task.id,
        task_name=task.name,
        cause=cause,
        alone=int(task.overlap != "allow"),
        scheduled_at=at,
        status="queued",
        owner="",
        until=None,
        started_at=None,
        finished_at=None,
        failure="",
        run_id="",
        session_part="",
        session_uid="",
        expires_at=None,
    )


def insert(row: RunRow) -> Plan[bool]:
    """Write it; False if the slot has its run already."""
    return bool((yield CRON.insert_run(**row._asdict())))


def kept_until(settings: Settings, now: int) -> int | None:
    """Until when a run that ends now is kept, as the store's retention says."""
    kept = KEPT if settings.retention is None else settings.retention.cron_history
    return None if kept is None else now + kept // _MICRO


def cut(failure: str) -> str:
    """What is told of a failure, fit to be stored."""
    plain = failure.replace("\0", "\\0").encode("utf-8", "replace").decode()
    return plain[:_LONGEST_FAILURE]


# -- claiming slots ------------------------------------------------------------------------------


class Claim(NamedTuple):
    """Who takes the slots of a task, with which lease, and for how many it has room."""

    owner: str
    now: int
    until: int
    room: int


def claim(task: TaskRow, what: Decision, by: Claim, settings: Settings) -> Operation[list[CronRun]]:
    """Take what is due of a task, in one transaction: its new runs, whoever is to run them.

    None of them if another scheduler has taken it, or the task was changed since it was read.
    """
    expires_at = kept_until(settings, by.now)

    def work(_: Bumps) -> Plan[list[CronRun]]:
        claimed = yield CRON.claim(
            part=task.part,
            id=task.id,
            version=task.version,
            expected=task.next_run_at,
            next_run_at=what.next_run_at,
        )
        if not claimed:
            return []
        return (yield from _insert(task, what, by, expires_at))

    return Operation("cron.claim", (), {}, work, of_session=False)


def _insert(
    task: TaskRow, what: Decision, by: Claim, expires_at: int | None
) -> Plan[list[CronRun]]:
    alone = task.overlap != "allow"
    [(cause, waiting)] = yield CRON.open_runs(part=task.part, task_id=task.id)
    busy = alone and cause is not None
    # Slots that all are to run wait for each other: they were asked for. And what was started by
    # hand uses up no slot.
    several = len(what.slots) - len(what.missed) > 1
    queues = task.overlap == "queue" or several or cause == "manual"
    room = by.room
    last: RunRow | None = None
    runs = []
    for slot in what.slots:
        run = new_run(task, "slot", digest("slot", task.id, str(slot)), slot)
        if slot in what.missed:
            run = _skipped(run, MISSED, by.now, expires_at)
        elif busy and not queues:
            run = _skipped(run, OVERLAPPED, by.now, expires_at)
        elif busy and waiting > task.misfire_limit:
            run = _skipped(run, CROWDED, by.now, expires_at)
        elif not busy and room > 0:
            run = run._replace(status="running", owner=by.owner, until=by.until, started_at=by.now)
        if not (yield from insert(run)):
            continue
        runs.append(run.record())
        waiting += run.status != "skipped"
        if run.status == "running":
            room -= 1
            busy = alone
            last = run
    if last is not None:
        yield from _dispatched(last)
    return runs


def _dispatched(run: RunRow) -> Plan[None]:
    if run.cause == "slot":
        yield CRON.dispatched(part=run.part, id=run.task_id, slot=run.scheduled_at)


def _skipped(run: RunRow, why: str, now: int, expires_at: int | None) -> RunRow:
    return run._replace(status="skipped", finished_at=now, failure=why, expires_at=expires_at)


# -- what waits, and what is under way -----------------------------------------------------------


def due(tenant: str, now: int, after: TaskRow | None, limit: int) -> Operation[list[TaskRow]]:
    """Tasks with a slot that has come, the longest waiting first."""
    start = (FIRST_MICROS - 1, "", "") if after is None else (after.next_run_at, *after[:2])
    where = dict(zip(("after_at", "after_part", "after_id"), start, strict=True))

    def work() -> Plan[list[TaskRow]]:
        rows = yield CRON.due(tenant=tenant, now=now, limit=limit, **where)
        return [TaskRow._make(row) for row in rows]

    return Operation("cron.due", (), {}, lambda _: work(), reads=True, of_session=False)


class Waiting(NamedTuple):
    """A run that may begin, and its task (None: deleted)."""

    run: RunRow
    task: TaskRow | None


def waiting(tenant: str, after: RunRow | None, limit: int) -> Operation[list[Waiting]]:
    """Runs that may begin, the longest waiting first."""
    start = (FIRST_MICROS - 1, "", "") if after is None else (after.scheduled_at, *after[:2])
    where = dict(zip(("after_at", "after_part", "after_id"), start, strict=True))

    def work() -> Plan[list[Waiting]]:
        rows = yield CRON.waiting(tenant=tenant, limit=limit, **where)
        runs = [RunRow._make(row) for row in rows]
        tasks: dict[str, TaskRow | None] = {}
        # Once a task: of one that was behind many slots may wait.
        for part, task_id in dict.fromkeys((run.part, run.task_id) for run in runs):
            tasks[task_id] = yield from find(part, task_id, tenant)
        return [Waiting(run, tasks[run.task_id]) for run in runs]

    return Operation("cron.waiting", (), {}, lambda _: work(), reads=True, of_session=False)


def begin(run: RunRow, by: Claim, settings: Settings) -> Operation[CronRun | None]:
    """Begin what waits; None if another scheduler has, or the run before it has not ended."""
    expires_at = kept_until(settings, by.now)
    where = {"part": run.part, "id": run.id}

    def work(_: Bumps) -> Plan[CronRun | None]:
        # The task's row first: of two runs that wait for each other's end only one begins.
        held = yield CRON.hold_task(part=run.part, id=run.task_id, tenant=run.tenant)
        if not held:
            yield CRON.skip(**where, now=by.now, failure=DELETED, expires_at=expires_at)
            return None
        if run.alone and (yield CRON.under_way(part=run.part, task_id=run.task_id)):
            return None
        rows = yield CRON.begin(**where, owner=by.owner, until=by.until, now=by.now)
        if not rows:
            return None
        begun = RunRow._make(rows[0])
        yield from _dispatched(begun)
        return begun.record()

    return Operation("cron.begin", (), {}, work, of_session=False)


def next_due(tenant: str, now: int) -> Operation[int | None]:
    """When the next slot comes, of those that have not."""

    def work() -> Plan[int | None]:
        [(moment,)] = yield CRON.next_due(tenant=tenant, now=now)
        found: int | None = moment
        return found

    return Operation("cron.next_due", (), {}, lambda _: work(), reads=True, of_session=False)


def renew(part: str, run: CronRun, until: int) -> Operation[bool]:
    """Have a run under way for longer; False if it is not ours any more."""

    def work(_: Bumps) -> Plan[bool]:
        return bool((yield CRON.renew(part=part, id=run.id, owner=run.owner, until=until)))

    return Operation("cron.renew", (), {}, work, of_session=False)


# -- the end of a run ----------------------------------------------------------------------------


def finish(
    part: str, run: CronRun, status: str, failure: str, settings: Settings
) -> Operation[CronRun | None]:
    """Say how a run has ended; None if it is not ours any more."""
    now = settings.clock()
    expires_at, telling, failure = kept_until(settings, now), notes(settings), cut(failure)

    def work(_: Bumps) -> Plan[CronRun | None]:
        rows = yield CRON.finish(
            part=part,
            id=run.id,
            owner=run.owner,
            status=status,
            failure=failure,
            now=now,
            expires_at=expires_at,
        )
        if not rows:
            return None
        return (yield from _ended(RunRow._make(rows[0]), telling))

    return Operation("cron.finish", (), {}, work, of_session=False)


def stale(tenant: str, now: int, limit: int) -> Operation[list[tuple[str, str]]]:
    """Runs under way whose lease has ended: part and id."""

    def work() -> Plan[list[tuple[str, str]]]:
        rows = yield CRON.stale(tenant=tenant, now=now, limit=limit)
        return [(part, run_id) for part, run_id in rows]

    return Operation("cron.stale", (), {}, lambda _: work(), reads=True, of_session=False)


def abandon(part: str, id: str, settings: Settings) -> Operation[CronRun | None]:
    """Say of a run that nobody knows how it ended; None if somebody does."""
    now = settings.clock()
    expires_at, telling = kept_until(settings, now), notes(settings)

    def work(_: Bumps) -> Plan[CronRun | None]:
        rows = yield CRON.abandon(part=part, id=id, now=now, failure=SILENT, expires_at=expires_at)
        if not rows:
            return None
        return (yield from _ended(RunRow._make(rows[0]), telling))

    return Operation("cron.abandon", (), {}, work, of_session=False)


def _ended(row: RunRow, telling: Notes) -> Plan[CronRun]:
    if row.status != "success":
        yield from telling.tell(
            row.part,
            "cron.run_failed",
            app=row.app,
            task=row.task_name,
            task_id=row.task_id,
            run=row.id,
            status=row.status,
            error=row.failure,
            scheduled_at=from_micros(row.scheduled_at).isoformat(),
        )
    return row.record()
