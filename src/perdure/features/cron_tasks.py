"""Tasks as rows: what is checked, what is written, what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from perdure.errors import ConflictError, InvalidError, NotFoundError
from perdure.features.describing import span
from perdure.features.fulltext import Doc, document, grow, index, reindex_alone
from perdure.features.hooks import passed
from perdure.features.indexed_texts import TASKS, block_of, task_text
from perdure.features.schedules import check_expression, next_after, zone_of
from perdure.operation import Plan, Settings
from perdure.parts import Place
from perdure.records import CronTask, NewCronTask
from perdure.sql import load
from perdure.values import Limits, check_text, decode, encode, from_micros, maybe

CRON = load("perdure.features", "cron.sql")

MISFIRES = ("skip", "once", "all")
OVERLAPS = ("skip", "queue", "allow")
SOURCES = ("config", "tool")
_PART = 32

Source = Literal["config", "tool"]
_MOST_MISSED = 10_000


class TaskRow(NamedTuple):
    """A row of the table, in the order of `task` in cron.sql."""

    part: str
    id: str
    tenant: str
    app: str
    name: str
    expression: str
    timezone: str
    action: str
    enabled: int
    paused_by: str
    source: Source
    misfire: Literal["skip", "once", "all"]
    misfire_limit: int
    overlap: Literal["skip", "queue", "allow"]
    timeout: int | None
    last_triggered_at: int | None
    next_run_at: int | None
    version: int
    created_at: int
    updated_at: int

    @property
    def record(self) -> CronTask:
        """What is returned."""
        return CronTask(
            id=self.id,
            app=self.app,
            name=self.name,
            expression=self.expression,
            timezone=self.timezone,
            action=decode(self.action, f"the action of task {self.id!r}"),
            enabled=bool(self.enabled),
            paused_by=self.paused_by,
            source=self.source,
            misfire=self.misfire,
            misfire_limit=self.misfire_limit,
            overlap=self.overlap,
            timeout=maybe(lambda value: timedelta(microseconds=value), self.timeout),
            last_triggered_at=maybe(from_micros, self.last_triggered_at),
            next_run_at=maybe(from_micros, self.next_run_at),
            created_at=from_micros(self.created_at),
            updated_at=from_micros(self.updated_at),
        )

    def changed(self, now: int, **values: Any) -> TaskRow:
        """The row with these columns, and with the slot that comes next by them."""
        row = self._replace(**values)
        when = (row.expression, row.timezone, row.enabled)
        if when != (self.expression, self.timezone, self.enabled):
            row = row._replace(next_run_at=row.slot_after(now))
        return row

    def slot_after(self, now: int) -> int | None:
        """The first slot after a moment; None if it is switched off."""
        return next_after(self.expression, self.timezone, now) if self.enabled else None


def checked(task: NewCronTask, settings: Settings) -> dict[str, Any]:
    """The columns of what is given for a task; `InvalidError`."""
    if not isinstance(task, NewCronTask):
        raise InvalidError(f"a task is a NewCronTask, not {task!r}", "tasks")
    name = check_text(task.name, "name", settings.limits.text, blank=False)
    task = passed(task, settings)
    if task.name != name:
        raise InvalidError("on_write cannot change the name of a task", "name")
    return {
        "name": name,
        "expression": check_expression(task.expression),
        "timezone": check_timezone(task.timezone),
        "action": encode(task.action, "action", settings.limits.event),
        "enabled": check_flag(task.enabled),
        "misfire": check_one_of(task.misfire, "misfire", MISFIRES),
        "misfire_limit": check_misfire_limit(task.misfire_limit),
        "overlap": check_one_of(task.overlap, "overlap", OVERLAPS),
        "timeout": check_timeout(task.timeout),
    }


def check_timezone(name: str) -> str:
    """The name, if it is that of a time zone."""
    zone_of(name)
    return name


def check_flag(value: object) -> int:
    """1 or 0 of what must be True or False."""
    if not isinstance(value, bool):
        raise InvalidError(f"enabled is True or False, not {value!r}", "enabled")
    return int(value)


def check_one_of(value: object, what: str, words: Sequence[str]) -> str:
    """The word, if it is one of them."""
    if not isinstance(value, str) or value not in words:
        raise InvalidError(f"{what} is one of {', '.join(words)}, not {value!r}", what)
    return value


def check_misfire_limit(value: object) -> int:
    """How many missed slots count."""
    if type(value) is not int or not 1 <= value <= _MOST_MISSED:
        message = f"misfire_limit is a whole number from 1 to {_MOST_MISSED}, not {value!r}"
        raise InvalidError(message, "misfire_limit")
    return value


def check_timeout(value: timedelta | None) -> int | None:
    """The microseconds of a time; None stays None."""
    return None if value is None else span(value, "timeout")


def action_text(action: Any, settings: Settings) -> str:
    """The stored form of an action that is to take the place of another."""
    written = passed(NewCronTask("", "", action), settings)
    return encode(written.action, "action", settings.limits.event)


def task_id(part: str, new: str) -> str:
    """The id of a new task: it says in which part it is found."""
    return f"task_{part}_{new}"


def part_of(given: object, kind: str, limits: Limits) -> str:
    """The part that an id names; `NotFoundError` for a text that is no such id."""
    text = check_text(given, f"{kind} id", limits.text, blank=False)
    word, _, rest = text.partition("_")
    part, line, _ = rest.partition("_")
    if word != kind or not line or len(part) != _PART:
        raise not_found(kind, text)
    return part


def not_found(kind: str, given: str) -> NotFoundError:
    """The error for an id that nothing has."""
    call = "cron.list()" if kind == "task" else "cron.runs()"
    return NotFoundError(f"no {kind} {given!r} of cron: {call} tells which there are")


def find(part: str, id: str, tenant: str) -> Plan[TaskRow | None]:
    """The row of that id."""
    rows = yield CRON.find_task(part=part, id=id, tenant=tenant)
    return TaskRow._make(rows[0]) if rows else None


def hold(part: str, id: str, tenant: str) -> Plan[TaskRow]:
    """The row, held for the rest of the transaction; `NotFoundError`."""
    rows = yield CRON.hold_task(part=part, id=id, tenant=tenant)
    if not rows:
        raise not_found("task", id)
    return TaskRow._make(rows[0])


def hold_named(part: str, name: str) -> Plan[TaskRow]:
    """The row of that name, held for the rest of the transaction; `ConflictError` if it is gone."""
    rows = yield CRON.hold_named(part=part, name=name)
    if not rows:
        raise ConflictError(f"task {name!r} was made and deleted by other calls: sync again")
    return TaskRow._make(rows[0])


def insert(row: TaskRow) -> Plan[bool]:
    """Write a new one; False if the app has one of that name."""
    return bool((yield CRON.insert_task(**row._asdict())))


def document_of(row: TaskRow) -> Doc:
    """What a search finds it by."""
    return document(row.id, task_text(row.name, row.action))


def add_to_index(docs: Sequence[Doc], row: TaskRow) -> Plan[None]:
    """Have a search find new tasks, one of which the row is of."""
    add = index if len(docs) == 1 else grow
    yield from add(Place(row.part, row.part), TASKS, docs, block=block_of(row.id))


def put(row: TaskRow) -> Plan[None]:
    """Write a changed one over what it was."""
    values = row._asdict()
    yield CRON.put_task.among(values)


def settled(before: TaskRow, after: TaskRow, now: int) -> Plan[TaskRow]:
    """Write a change if it is one; the row as it is then."""
    if after == before:
        return before
    after = after._replace(updated_at=now)
    yield from put(after)
    if after.action != before.action:
        where = Place(after.part, after.part)
        yield from reindex_alone(where, TASKS, document_of(after), block=block_of(after.id))
    return after._replace(version=before.version + 1)
