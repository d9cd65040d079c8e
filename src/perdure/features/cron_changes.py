"""Changing tasks: one by one, and all that configuration names."""

from __future__ import annotations

from typing import Any

from perdure.errors import ConflictError
from perdure.features import cron_tasks
from perdure.features.cron_runs import PAUSED, kept_until
from perdure.features.cron_tasks import CRON, TaskRow
from perdure.operation import Plan, Settings
from perdure.records import CronSync, CronTask

#: What configuration says of a task; `enabled` counts too, but for what a person paused.
_CONFIGURED = (
    "expression", "timezone", "action", "misfire", "misfire_limit", "overlap", "timeout",
)  # fmt: skip


def changed(
    part: str, id: str, now: int, values: dict[str, Any], settings: Settings
) -> Plan[CronTask]:
    """Give a task these columns; `NotFoundError`."""
    row = yield from cron_tasks.hold(part, id, settings.tenant)
    after = yield from _put(row, row.changed(now, **values), now, settings)
    return after.record


def _put(before: TaskRow, after: TaskRow, now: int, settings: Settings) -> Plan[TaskRow]:
    """Write a change; slots that wait behind a run do not begin once it is switched off."""
    stored = yield from cron_tasks.settled(before, after, now)
    if before.enabled and not after.enabled:
        yield CRON.pick("unqueue", "slots")(
            part=after.part,
            task_id=after.id,
            now=now,
            failure=PAUSED,
            expires_at=kept_until(settings, now),
        )
    return stored


def synced(part: str, now: int, wanted: dict[str, TaskRow], settings: Settings) -> Plan[CronSync]:
    """Make the tasks of an app that came from configuration those that are wanted."""
    rows = [TaskRow._make(row) for row in (yield CRON.hold_app(part=part))]
    there = {row.name: row for row in rows}
    added, updated, disabled, fresh = [], [], [], []
    # By name, so that no two calls lock the same tasks crosswise.
    for name, new in sorted(wanted.items()):
        row = there.get(name)
        if row is None and (yield from cron_tasks.insert(new)):
            added.append(name)
            fresh.append(new)
            continue
        if row is None:
            # Processes that start together sync together: another one was first.
            row = yield from cron_tasks.hold_named(part, name)
        if (yield from _brought(row, new, now, settings)):
            updated.append(name)
    for name, row in sorted(there.items()):
        if row.source == "config" and row.enabled and name not in wanted:
            yield from _put(row, row.changed(now, enabled=0), now, settings)
            disabled.append(name)
    if fresh:
        yield from cron_tasks.add_to_index([cron_tasks.document_of(row) for row in fresh], fresh[0])
    return CronSync(tuple(added), tuple(updated), tuple(disabled))


def _brought(row: TaskRow, new: TaskRow, now: int, settings: Settings) -> Plan[bool]:
    """Bring a task to what the configuration says; whether it was another."""
    if row.source != "config":
        message = f"task {row.name!r} was made by cron.create: delete it, or take another name"
        raise ConflictError(message)
    values = {name: getattr(new, name) for name in _CONFIGURED}
    values["enabled"] = row.enabled if row.paused_by else new.enabled
    after = row.changed(now, **values)
    yield from _put(row, after, now, settings)
    return after != row
