"""``perdure cron``: look at tasks and their runs, make, start, pause and remove them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import click

from perdure.cli import when
from perdure.cli.commands import Group
from perdure.cli.invocation import Invocation, zone_of
from perdure.cli.keyvalues import Lifetime
from perdure.cli.lists import Form, first, print_some
from perdure.cli.tables import Column, table
from perdure.errors import InvalidError, NotFoundError
from perdure.records import ALL, CronRun, CronTask
from perdure.store import SyncStore
from perdure.values import parse

F = TypeVar("F", bound=Callable[..., Any])

_TASKS = (
    Column("TASK", "id", yields=1),
    Column("APP", "dim", yields=2, optional=True),
    Column("WHEN", yields=3),
    Column("ZONE", "dim", yields=4, optional=True),
    Column("NEXT", "state"),
    Column("LAST", "dim"),
    Column("PAUSED BY", "bad"),
)
_RUNS = (
    Column("TASK", "id", yields=1),
    Column("SLOT"),
    Column("STATUS", "state"),
    Column("TOOK", "dim", right=True),
    Column("SESSION", "dim", yields=2, optional=True),
    Column("ERROR", "bad", yields=3),
)


def task_document(task: CronTask) -> dict[str, Any]:
    """A task with every field; times in UTC, the timeout in seconds."""
    return {
        "id": task.id,
        "app": task.app,
        "name": task.name,
        "expression": task.expression,
        "timezone": task.timezone,
        "action": task.action,
        "enabled": task.enabled,
        "paused_by": task.paused_by,
        "source": task.source,
        "misfire": task.misfire,
        "misfire_limit": task.misfire_limit,
        "overlap": task.overlap,
        "timeout": task.timeout.total_seconds() if task.timeout else None,
        "last_triggered_at": when.iso(task.last_triggered_at) if task.last_triggered_at else None,
        "next_run_at": when.iso(task.next_run_at) if task.next_run_at else None,
        "created_at": when.iso(task.created_at),
        "updated_at": when.iso(task.updated_at),
    }


def run_document(run: CronRun) -> dict[str, Any]:
    """A run with every field; times in UTC."""
    return {
        "id": run.id,
        "app": run.app,
        "task_id": run.task_id,
        "task_name": run.task_name,
        "trigger": run.trigger,
        "scheduled_at": when.iso(run.scheduled_at),
        "started_at": when.iso(run.started_at) if run.started_at else None,
        "finished_at": when.iso(run.finished_at) if run.finished_at else None,
        "status": run.status,
        "error": run.error,
        "owner": run.owner,
        "run_id": run.run_id,
        "session": run.session._asdict() if run.session else None,
    }


def of_app(command: F) -> F:
    """The option that says whose task is meant."""
    return click.option(
        "--app", metavar="APP", default="", help="Of this app (default: that of no name)."
    )(command)


@click.group(cls=Group)
def cron() -> None:
    """List, make, start, pause and remove tasks, and see what became of their runs.

    A TASK is its name in the app, or its id.
    """


# -- looking ---------------------------------------------------------------------------------


@cron.command("ls")
@click.option("--app", metavar="APP", help="Only of this app (default: of all).")
@click.option(
    "--limit", type=click.IntRange(min=0), default=50, show_default=True, help="How many; 0: all."
)
@click.pass_obj
def ls(invocation: Invocation, app: str | None, limit: int) -> None:
    """List tasks by name.

    In a pipe: tab-separated name, app, expression, zone, next slot, last slot, on, off or paused.
    """
    with invocation.store() as store:
        found = first(store.cron.iter(ALL if app is None else app), limit)
    print_some(invocation, found, Form(task_document, _task_values, _lay_out_tasks), limit)


def _lay_out_tasks(invocation: Invocation, tasks: Sequence[CronTask]) -> None:
    if not tasks:
        invocation.note("no tasks")
        return
    rows = [
        (
            task.name,
            task.app,
            task.expression,
            task.timezone,
            when.ago(task.next_run_at, invocation.now) if task.next_run_at else "off",
            when.ago(task.last_triggered_at, invocation.now) if task.last_triggered_at else "",
            task.paused_by,
        )
        for task in tasks
    ]
    invocation.pages(table(_TASKS, rows, invocation.look))


def _task_values(task: CronTask) -> list[str]:
    off = "paused" if task.paused_by else "off"
    return [
        task.name,
        task.app,
        task.expression,
        task.timezone,
        when.iso(task.next_run_at) if task.next_run_at else "",
        when.iso(task.last_triggered_at) if task.last_triggered_at else "",
        "on" if task.enabled else off,
    ]


@cron.command("history")
@click.argument("task", metavar="[TASK]", required=False)
@of_app
@click.option(
    "--limit", type=click.IntRange(min=0), default=20, show_default=True, help="How many; 0: all."
)
@click.pass_obj
def history(invocation: Invocation, task: str | None, app: str, limit: int) -> None:
    """List the runs of a TASK, or of all tasks of an app, the latest slot first.

    In a pipe: tab-separated task, slot, status, start, end, session, error.
    """
    with invocation.store() as store:
        task_id = None if task is None else _found(store, task, app, gone=True)
        found = first(_runs(store, task_id, app), limit)
    print_some(invocation, found, Form(run_document, _run_values, _lay_out_runs), limit)


def _runs(store: SyncStore, task_id: str | None, app: str) -> Iterator[CronRun]:
    cursor = None
    while True:
        page = store.cron.runs(task_id, app=app, cursor=cursor, limit=200)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def _lay_out_runs(invocation: Invocation, runs: Sequence[CronRun]) -> None:
    if not runs:
        invocation.note("no runs")
        return
    rows = [
        (
            run.task_name,
            when.minute(run.scheduled_at, invocation.zone),
            run.status,
            _took(run),
            run.session.id if run.session else "",
            run.error,
        )
        for run in runs
    ]
    invocation.pages(table(_RUNS, rows, invocation.look))


def _took(run: CronRun) -> str:
    if run.started_at is None or run.finished_at is None:
        return ""
    return f"{(run.finished_at - run.started_at).total_seconds():.1f} s"


def _run_values(run: CronRun) -> list[str]:
    return [
        run.task_name,
        when.iso(run.scheduled_at),
        run.status,
        when.iso(run.started_at) if run.started_at else "",
        when.iso(run.finished_at) if run.finished_at else "",
        run.session.id if run.session else "",
        run.error,
    ]


@cron.command("next")
@click.argument("what", metavar="TASK|EXPRESSION")
@of_app
@click.option("--timezone", metavar="ZONE", help="For an expression (default: UTC).")
@click.option("--after", metavar="TIME", help="After this: 2026-10-24T12:00 (default: now).")
@click.option("-n", "count", type=click.IntRange(1, 1000), default=5, show_default=True,
              help="How many.")  # fmt: skip
@click.pass_obj
def following(
    invocation: Invocation, what: str, app: str, timezone: str | None, after: str | None, count: int
) -> None:
    """Show when a task, or an expression such as '30 7 * * MON-FRI' or @daily, comes next.

    A task has its own zone. In a pipe: the times in UTC, one a line.
    """
    start = None if after is None else when.since(after, invocation.now, invocation.zone)
    if not what.strip() or " " in what or what.startswith("@"):
        from perdure.opening import open_sync  # noqa: PLC0415 - help and completion need no store

        zone = timezone or "UTC"
        # Nothing is looked up: what is stored, and where, does not matter.
        with open_sync("memory:") as store:
            slots = store.cron.upcoming(what, zone, count, after=start)
    elif timezone is not None:
        raise click.UsageError(f"--timezone is for an expression: task {what!r} has its own zone")
    else:
        with invocation.store() as store:
            task = store.cron.get(_found(store, what, app))
            slots = store.cron.upcoming(task.expression, task.timezone, count, after=start)
        zone = task.timezone
        _tell_off(invocation, task)
    if invocation.form != "text":
        invocation.documents(when.iso(slot) for slot in slots)
    elif invocation.look.laid_out:
        there = zone_of(zone)
        invocation.lines(
            f"{when.day(slot, there)} {when.second(slot, there)} {when.of_zone(slot, there, zone)}"
            for slot in slots
        )
    else:
        invocation.lines(when.iso(slot) for slot in slots)


def _tell_off(invocation: Invocation, task: CronTask) -> None:
    if not task.enabled:
        state = f"paused by {task.paused_by}" if task.paused_by else "off"
        invocation.note(f"{task.name} is {state}: nothing runs before `perdure cron resume`")


# -- changing --------------------------------------------------------------------------------


@cron.command("add")
@click.argument("name")
@click.argument("expression")
@click.option("--action", metavar="JSON", default="null", help="What the handler gets.")
@of_app
@click.option("--timezone", metavar="ZONE", default="UTC", show_default=True,
              help="Whose clocks count.")  # fmt: skip
@click.option("--misfire", type=click.Choice(["once", "all", "skip"]), default="once",
              show_default=True, help="Of slots at which nobody ran.")  # fmt: skip
@click.option("--overlap", type=click.Choice(["skip", "queue", "allow"]), default="skip",
              show_default=True, help="While a run is under way.")  # fmt: skip
@click.option("--timeout", type=Lifetime("timeout"), help="How long a run may take: 90s, 15m, 2h.")
@click.pass_obj
def add(
    invocation: Invocation,
    name: str,
    expression: str,
    action: str,
    app: str,
    timezone: str,
    misfire: str,
    overlap: str,
    timeout: timedelta | None,
) -> None:
    """Make a task NAME that is run as EXPRESSION says: '30 7 * * MON-FRI', @daily."""
    try:
        given = parse(action)
    except InvalidError as error:
        raise InvalidError(f"--action: {error}", "action") from error
    with invocation.store() as store:
        made = store.cron.create(
            name, expression, given, app=app, timezone=timezone, misfire=misfire,
            overlap=overlap, timeout=timeout,
        )  # fmt: skip
    _tell(invocation, made, "added")


@cron.command("run")
@click.argument("task")
@of_app
@click.pass_obj
def run(invocation: Invocation, task: str, app: str) -> None:
    """Have a TASK run now, also if it is paused: by the next worker that has a handler for it."""
    with invocation.store() as store:
        started = store.cron.trigger(_found(store, task, app))
    if invocation.form != "text":
        invocation.document(run_document(started))
    else:
        invocation.note(f"{started.task_name} waits for a worker: `perdure cron history` tells")


@cron.command("pause")
@click.argument("task")
@of_app
@click.option("--by", metavar="NAME", help="Who pauses it (default: the user of this machine).")
@click.pass_obj
def pause(invocation: Invocation, task: str, app: str, by: str | None) -> None:
    """Switch a TASK off until it is resumed; configuration does not switch it on."""
    who = by or _me()
    with invocation.store() as store:
        paused = store.cron.pause(_found(store, task, app), by=who)
    _tell(invocation, paused, "paused")


def _me() -> str:
    """The name of whoever types; a container may run as a number that has none."""
    from getpass import getuser  # noqa: PLC0415 - only for who pauses

    try:
        return getuser()
    except (KeyError, OSError):
        message = "the user of this machine has no name: say who pauses it with --by"
        raise click.UsageError(message) from None


@cron.command("resume")
@click.argument("task")
@of_app
@click.pass_obj
def resume(invocation: Invocation, task: str, app: str) -> None:
    """Switch a TASK on; what it missed is not made up for."""
    with invocation.store() as store:
        resumed = store.cron.resume(_found(store, task, app))
    _tell(invocation, resumed, "resumed")


@cron.command("rm")
@click.argument("task")
@of_app
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rm(invocation: Invocation, task: str, app: str, dry_run: bool, yes: bool) -> None:
    """Remove a TASK; its history stays."""
    with invocation.store() as store:
        found = store.cron.get(_found(store, task, app))
        if not dry_run:
            if not invocation.sure(f"Remove task {found.name}?", yes=yes):
                raise click.exceptions.Exit(1)
            store.cron.delete(found.id)
    _tell(invocation, found, "would be removed" if dry_run else "removed")


def _found(store: SyncStore, given: str, app: str, *, gone: bool = False) -> str:
    """The id of a task that was named; with ``gone`` also of one that was removed."""
    task = store.cron.find(given, app=app)
    if task is not None:
        return task.id
    if given.startswith("task_"):
        return given if gone else store.cron.get(given).id
    if gone:
        for run in store.cron.runs(app=app, limit=1000):
            if run.task_name == given:
                return run.task_id
    others = sorted({task.app for task in store.cron.iter(ALL) if task.name == given})
    hint = "`perdure cron ls` lists them"
    if others:
        hint = "there is one of " + ", ".join(f"--app {other!r}" for other in others)
    raise NotFoundError(f"app {app!r} has no task {given!r}: {hint}")


def _tell(invocation: Invocation, task: CronTask, what: str) -> None:
    if invocation.form != "text":
        invocation.document(task_document(task))
        return
    following = ""
    if task.next_run_at and "removed" not in what:
        there = zone_of(task.timezone)
        clock = when.of_zone(task.next_run_at, there, task.timezone)
        following = f", next {when.minute(task.next_run_at, there)} {clock}"
    invocation.note(f"{task.name} {what}{following}")
