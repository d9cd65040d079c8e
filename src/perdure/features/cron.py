"""Tasks that run by the clock, each slot once over all processes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from perdure.errors import AlreadyExistsError, InvalidError, TooLargeError
from perdure.features import cron_runs, cron_tasks
from perdure.features.cron_changes import changed, synced
from perdure.features.cron_runs import RunRow, new_run
from perdure.features.cron_tasks import CRON, TaskRow, checked, hold, not_found, part_of
from perdure.features.cursors import check_limit, pack, paged, unpack
from perdure.features.fulltext import unindex_alone
from perdure.features.indexed_texts import TASKS, block_of
from perdure.features.lookup import get, target
from perdure.features.schedules import check_expression, upcoming
from perdure.operation import (
    Bumps,
    Feature,
    Flow,
    M,
    Noted,
    Operation,
    Plan,
    Stream,
    Work,
    flow,
    operation,
    reading,
    run,
    stream,
)
from perdure.parts import place
from perdure.records import (
    ALL,
    DELETE,
    JSON,
    AllType,
    CronRun,
    CronStatus,
    CronSync,
    CronTask,
    Marker,
    NewCronTask,
    Page,
    SessionKey,
)
from perdure.values import LAST_MICROS, check_text, from_micros, to_micros

_STATUSES = ("queued", "running", "success", "failed", "abandoned", "skipped")


class Cron(Feature[M]):
    """What is to be run when, and what became of it. A `perdure.workers.Scheduler` runs it.

    Tasks belong to an app. Their ids, and those of runs, are enough inside the tenant.
    """

    name = "cron"
    _of_sessions = False

    # -- tasks -----------------------------------------------------------------------------------

    @operation
    def create(
        self,
        name: str,
        expression: str,
        action: JSON = None,
        *,
        app: str = "",
        timezone: str = "UTC",
        enabled: bool = True,
        misfire: str = "once",
        misfire_limit: int = 100,
        overlap: str = "skip",
        timeout: timedelta | None = None,
    ) -> Work[CronTask]:
        """A new task: see `NewCronTask` for what the fields mean.

        Its first slot is the first one after now. `AlreadyExistsError` if the app has a task of
        that name; `InvalidError` names the field that is wrong.
        """
        given = NewCronTask(
            name, expression, action, timezone, enabled, misfire, misfire_limit, overlap, timeout
        )
        row = self._row(app, checked(given, self._settings), "tool")
        doc = cron_tasks.document_of(row)

        def work(_: Bumps) -> Plan[CronTask]:
            if not (yield from cron_tasks.insert(row)):
                message = f"app {app!r} has a task {row.name!r}: update it, or take another name"
                raise AlreadyExistsError(message)
            yield from cron_tasks.add_to_index([doc], row)
            return row.record

        return work

    @reading
    def get(self, id: str) -> Work[CronTask]:
        """The task; `NotFoundError`."""
        part, tenant = self._part(id, "task"), self._settings.tenant

        def work(_: Bumps) -> Plan[CronTask]:
            row = yield from cron_tasks.find(part, id, tenant)
            if row is None:
                raise not_found("task", id)
            return row.record

        return work

    @reading
    def find(self, name: str, *, app: str = "") -> Work[CronTask | None]:
        """The task of that name, or None."""
        limit = self._settings.limits.text
        name = check_text(name, "name", limit, blank=False)
        part = place(self._settings.tenant, app, "", limit).app_part

        def work(_: Bumps) -> Plan[CronTask | None]:
            rows = yield CRON.named_task(part=part, name=name)
            return TaskRow._make(rows[0]).record if rows else None

        return work

    @reading
    def list(
        self,
        app: str | AllType = "",
        *,
        enabled: bool | None = None,
        source: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Work[Page[CronTask]]:
        """A page of the tasks of an app, by name; of all apps with ``app=ALL``."""
        return self._listed(app, enabled, source, cursor, limit)

    @stream
    def iter(
        self,
        app: str | AllType = "",
        *,
        enabled: bool | None = None,
        source: str | None = None,
    ) -> Stream[CronTask]:
        """Everything that `list` would give, page after page."""
        return paged(
            lambda cursor: run(
                self._reading("list", self._listed(app, enabled, source, cursor, 200))
            )
        )

    @operation
    def update(
        self,
        id: str,
        *,
        expression: str | None = None,
        action: JSON | None = None,
        timezone: str | None = None,
        enabled: bool | None = None,
        misfire: str | None = None,
        misfire_limit: int | None = None,
        overlap: str | None = None,
        timeout: timedelta | Marker | None = None,
    ) -> Work[CronTask]:
        """Change what is given; None leaves a field as it is, `DELETE` removes timeout or action.

        The next slot is computed anew if the expression or the zone is another one, or the task
        is switched on: it is the first one after now. Switching it on ends a pause, too.
        """
        part, now = self._part(id, "task"), self._settings.clock()
        values = self._changes(
            expression=(expression, check_expression),
            action=(
                action,
                lambda v: cron_tasks.action_text(None if v is DELETE else v, self._settings),
            ),
            timezone=(timezone, cron_tasks.check_timezone),
            enabled=(enabled, cron_tasks.check_flag),
            misfire=(misfire, lambda v: cron_tasks.check_one_of(v, "misfire", cron_tasks.MISFIRES)),
            misfire_limit=(misfire_limit, cron_tasks.check_misfire_limit),
            overlap=(overlap, lambda v: cron_tasks.check_one_of(v, "overlap", cron_tasks.OVERLAPS)),
            timeout=(timeout, lambda v: None if v is DELETE else cron_tasks.check_timeout(v)),
        )
        if enabled:
            values["paused_by"] = ""
        return lambda _: changed(part, id, now, values, self._settings)

    @operation
    def pause(self, id: str, *, by: str) -> Work[CronTask]:
        """Switch it off, and say who did: `sync` does not switch it on again.

        Slots that wait behind a run are skipped; the run under way goes on.
        """
        part, now = self._part(id, "task"), self._settings.clock()
        who = check_text(by, "by", self._settings.limits.title, blank=False)
        off = {"enabled": 0, "paused_by": who}
        return lambda _: changed(part, id, now, off, self._settings)

    @operation
    def resume(self, id: str) -> Work[CronTask]:
        """Switch it on; the next slot is the first one after now. What was missed is gone."""
        part, now = self._part(id, "task"), self._settings.clock()
        on = {"enabled": 1, "paused_by": ""}
        return lambda _: changed(part, id, now, on, self._settings)

    @operation
    def delete(self, id: str) -> Work[bool]:
        """Remove the task; whether it was there. Its runs stay, and what waits is skipped."""
        part, now, tenant = self._part(id, "task"), self._settings.clock(), self._settings.tenant
        expires_at = cron_runs.kept_until(self._settings, now)

        def work(_: Bumps) -> Plan[bool]:
            gone = yield CRON.remove_task(part=part, id=id, tenant=tenant)
            if gone:
                yield from unindex_alone(part, TASKS, id, block=block_of(id))
                yield CRON.pick("unqueue", "all")(
                    part=part, task_id=id, now=now, failure=cron_runs.DELETED, expires_at=expires_at
                )
            return bool(gone)

        return Noted(work, id)

    @operation
    def sync(self, tasks: Sequence[NewCronTask], *, app: str = "") -> Work[CronSync]:
        """Make the tasks of an app that came from configuration those that are given.

        New ones are added, changed ones updated, and those that are gone switched off, all in
        one transaction. What a person paused stays paused. `ConflictError` for the name of a
        task that `create` made.
        """
        if isinstance(tasks, str) or not isinstance(tasks, Sequence):
            raise InvalidError(f"tasks is a list of NewCronTask, not {tasks!r}", "tasks")
        most = self._settings.limits.records
        if len(tasks) > most:
            message = f"{len(tasks)} tasks in one call, the limit 'records' is {most}"
            raise TooLargeError(message, "records", "tasks")
        given = [self._row(app, checked(task, self._settings), "config") for task in tasks]
        wanted = {row.name: row for row in given}
        if len(wanted) < len(given):
            names = [row.name for row in given]
            twice = next(name for name in names if names.count(name) > 1)
            raise InvalidError(f"two tasks are named {twice!r}", "tasks")
        part, now = self._place(app), self._settings.clock()
        return lambda _: synced(part, now, wanted, self._settings)

    # -- runs ------------------------------------------------------------------------------------

    @operation
    def trigger(self, id: str) -> Work[CronRun]:
        """Have it run once now, also if it is paused; no slot is used up.

        The run waits for a scheduler, which looks every two seconds, and, but where overlap is
        allowed, for the run that is under way.
        """
        part, now, tenant = self._part(id, "task"), self._settings.clock(), self._settings.tenant
        new = self._settings.ids()

        def work(_: Bumps) -> Plan[CronRun]:
            task = yield from hold(part, id, tenant)
            row = new_run(task, "manual", new, now)
            yield from cron_runs.insert(row)
            return row.record()

        return work

    @reading
    def get_run(self, id: str) -> Work[CronRun]:
        """The run; `NotFoundError`."""
        part, tenant = self._part(id, "run"), self._settings.tenant

        def work(_: Bumps) -> Plan[CronRun]:
            rows = yield CRON.find_run(part=part, id=id, tenant=tenant)
            if not rows:
                raise not_found("run", id)
            return (yield from _with_session(RunRow._make(rows[0])))

        return work

    @reading
    def runs(
        self,
        task: str | None = None,
        *,
        app: str | AllType = "",
        status: CronStatus | None = None,
        cursor: str | None = None,
        limit: int = 10,
    ) -> Work[Page[CronRun]]:
        """A page of what has run and is to run, by slot, the latest first.

        Of one ``task`` (its id, also of one that was deleted), of an app, or of all apps with
        ``app=ALL``. They are kept for 30 days, or as long as `RetentionConfig.cron_history` says.
        """
        size = check_limit(limit, self._settings.limits.records)
        if status is not None:
            cron_tasks.check_one_of(status, "status", _STATUSES)
        start = (LAST_MICROS + 1, "") if cursor is None else unpack(cursor, "cron runs", int, str)
        scope, owner = self._scope(app)
        where = {"owner": owner}
        if task is not None:
            scope, where = "task", {"owner": self._part(task, "task"), "task_id": task}
        query = CRON.pick("runs", scope)
        before = {"before": start[0], "before_id": start[1]}

        def work(_: Bumps) -> Plan[Page[CronRun]]:
            rows = yield query(**where, **before, status=status, limit=size + 1)
            found = yield from _with_sessions([RunRow._make(row) for row in rows[:size]])
            last = RunRow._make(rows[size - 1]) if len(rows) > size else None
            return Page(found, last and pack("cron runs", last.scheduled_at, last.id))

        return work

    @flow
    def link(self, id: str, session: SessionKey, *, run_id: str | None = None) -> Flow[CronRun]:
        """Say which session a run made, and with which run of the agent; `NotFoundError`.

        The run holds no name: when the session is gone, so is the link.
        """
        settings = self._settings
        part = self._part(id, "run")
        at = target(settings.tenant, session, settings.limits.text, settings.clock())
        if run_id is not None:
            check_text(run_id, "run_id", settings.limits.text)
        found = yield from run(self._reading("link", lambda _: get(at)))

        def work(_: Bumps) -> Plan[CronRun]:
            rows = yield CRON.link(
                part=part,
                id=id,
                tenant=settings.tenant,
                session_part=found.part,
                session_uid=found.uid,
                run_id=run_id,
            )
            if not rows:
                raise not_found("run", id)
            return RunRow._make(rows[0]).record(found.key)

        return (yield from run(Operation("cron.link", (), {}, work, of_session=False)))

    @flow
    def upcoming(
        self,
        expression: str,
        timezone: str = "UTC",
        n: int = 5,
        *,
        after: datetime | None = None,
    ) -> Flow[Sequence[datetime]]:
        """The next so many slots of an expression in a time zone, in UTC; nothing is stored.

        ``after`` is a moment (default: now). On nights when clocks change it is as in Debian's
        cron: what has a fixed hour comes once, and what begins with ``*`` as time passes.
        """
        yield from ()
        expression = check_expression(expression)
        zone = cron_tasks.check_timezone(timezone)
        count = check_limit(n, self._settings.limits.records)
        start = self._settings.clock() if after is None else to_micros(after, "after")
        return [from_micros(slot) for slot in upcoming(expression, zone, start, count)]

    # -- inside ----------------------------------------------------------------------------------

    def _place(self, app: str) -> str:
        return place(self._settings.tenant, app, "", self._settings.limits.text).app_part

    def _part(self, id: str, kind: str) -> str:
        return part_of(id, kind, self._settings.limits)

    def _scope(self, app: str | AllType) -> tuple[str, str]:
        return ("tenant", self._settings.tenant) if app is ALL else ("app", self._place(app))

    def _row(self, app: str, columns: dict[str, Any], source: cron_tasks.Source) -> TaskRow:
        """A task that was not there."""
        settings = self._settings
        now, part = settings.clock(), self._place(app)
        row = TaskRow(
            part=part,
            id=cron_tasks.task_id(part, settings.ids()),
            tenant=settings.tenant,
            app=app,
            paused_by="",
            source=source,
            last_triggered_at=None,
            next_run_at=None,
            version=1,
            created_at=now,
            updated_at=now,
            **columns,
        )
        return row._replace(next_run_at=row.slot_after(now))

    def _changes(self, **given: tuple[Any, Any]) -> dict[str, Any]:
        """The columns of what is to change, each checked by its function."""
        return {name: check(value) for name, (value, check) in given.items() if value is not None}

    def _listed(
        self,
        app: str | AllType,
        enabled: bool | None,
        source: str | None,
        cursor: str | None,
        limit: int,
    ) -> Work[Page[CronTask]]:
        size = check_limit(limit, self._settings.limits.records)
        start = ("", "") if cursor is None else unpack(cursor, "cron", str, str)
        wanted = {
            "enabled": None if enabled is None else cron_tasks.check_flag(enabled),
            "source": source and cron_tasks.check_one_of(source, "source", cron_tasks.SOURCES),
        }
        scope, owner = self._scope(app)
        query = CRON.pick("tasks", scope)

        def work(_: Bumps) -> Plan[Page[CronTask]]:
            rows = yield query(
                owner=owner, after_app=start[0], after=start[1], limit=size + 1, **wanted
            )
            found = [TaskRow._make(row) for row in rows]
            last = found[size - 1] if len(found) > size else None
            more = last and pack("cron", last.app, last.name)
            return Page([row.record for row in found[:size]], more)

        return work


def _with_sessions(rows: Sequence[RunRow]) -> Plan[Sequence[CronRun]]:
    found = []
    for row in rows:
        run = yield from _with_session(row)
        found.append(run)
    return found


def _with_session(row: RunRow) -> Plan[CronRun]:
    """The record, with the session that it is linked to, if that is there."""
    if not row.session_uid:
        return row.record()
    rows = yield CRON.session_of(part=row.session_part, uid=row.session_uid)
    return row.record(SessionKey(*rows[0]) if rows else None)
