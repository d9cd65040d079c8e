"""``perdure import``: conversations of elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from perdure.cli.commands import Group
from perdure.cli.invocation import Invocation, zone_of
from perdure.cli.terminal import look_of
from perdure.errors import ConflictError, DeniedError, InvalidError

if TYPE_CHECKING:
    from perdure.importers import ImportReport, Progress

_TOLD = 20


@click.group("import", cls=Group)
def importing() -> None:
    """Bring in conversations that are kept elsewhere."""


@importing.command("chat")
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True),
)
@click.option("--app", metavar="APP", default="", help="The app they belong to.")
@click.option("--user", metavar="USER", default="", help="The user they belong to.")
@click.option("--timezone", metavar="ZONE", help="For times that name no zone; else refused.")
@click.option("--dry-run", is_flag=True, help="Say what would be imported, store nothing.")
@click.pass_obj
def chat(
    invocation: Invocation,
    files: tuple[str, ...],
    app: str,
    user: str,
    timezone: str | None,
    dry_run: bool,
) -> None:
    """Import OpenAI chat messages from JSONL files, or from standard input (-).

    A line is a conversation (an object with messages), a list of messages, or one message
    with a session_id. Importing again adds what is new, and nothing twice. Files whose lines
    are single messages of the same conversations are given together, oldest first.
    """
    from perdure.importers import load_sync, read_chat  # noqa: PLC0415 - only when it is used

    zone = None if timezone is None else zone_of(timezone)
    invocation = _looking(invocation) if dry_run else invocation
    with invocation.store(create=True) as store, _progress(invocation, files) as progress:
        report = load_sync(
            store,
            read_chat(_opened(files), zone=zone),
            app=app,
            user=user,
            dry_run=dry_run,
            progress=progress,
        )
    tell(invocation, report)
    raise click.exceptions.Exit(outcome(report))


@importing.command("picoclaw")
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option("--app", metavar="APP", default="", help="The app they belong to.")
@click.option("--user", metavar="USER", default="", help="The user they belong to.")
@click.option("--dry-run", is_flag=True, help="Say what would be imported, store nothing.")
@click.pass_obj
def picoclaw(invocation: Invocation, directory: str, app: str, user: str, dry_run: bool) -> None:
    """Import the sessions of PicoClaw: the directory with its .jsonl and .json files.

    Messages, summary and truncation come in; what was truncated is hidden and not lost.
    Importing again adds what is new, and nothing twice. The directory is only read.
    """
    from perdure.importers import load_sync, read_picoclaw  # noqa: PLC0415 - as above

    invocation = _looking(invocation) if dry_run else invocation
    found = read_picoclaw(directory)
    files = [str(path) for path in Path(directory).glob("*.jsonl")]
    with invocation.store(create=True) as store, _progress(invocation, files) as progress:
        report = load_sync(store, found, app=app, user=user, dry_run=dry_run, progress=progress)
    tell(invocation, report)
    raise click.exceptions.Exit(outcome(report))


def _looking(invocation: Invocation) -> Invocation:
    """The invocation of a dry run: nothing is stored, and looking must not make the file."""
    if invocation.is_there:
        return invocation
    return Invocation("memory:", invocation.tenant, invocation.form, quiet=invocation.quiet)


def outcome(report: ImportReport) -> int:
    """The exit code of an import: not 0 if the store does not have all that the files have."""
    if report.denied:
        return DeniedError.exit_code
    if report.skipped:
        return InvalidError.exit_code
    return ConflictError.exit_code if report.changed else 0


def tell(invocation: Invocation, report: ImportReport) -> None:
    """Print what an import did; what went wrong to standard error."""
    if invocation.form != "text":
        invocation.document({**asdict(report), "events_changed": report.events_changed})
        return
    invocation.lines(summary(report))
    _warn(invocation, report.skipped)
    _warn(invocation, report.changed)
    _warn(invocation, report.remarks)
    if report.denied:
        invocation.warn(f"{report.denied} conversations not stored: this user was erased")


def summary(report: ImportReport) -> Iterator[str]:
    """What an import did, in one sentence or two."""
    did = "would import" if report.dry_run else "imported"
    new = f"{_many(report.sessions_new, 'new session')}, {_many(report.events_new, 'new event')}"
    yield f"{did} {new}"
    known = [
        f"{_many(report.events_known, 'event')} of {_many(report.sessions_known, 'session')} known"
        if report.events_known
        else "",
        f"{_many(report.events_removed, 'event')} removed since" if report.events_removed else "",
        f"{_many(len(report.changed), 'conversation')} changed" if report.changed else "",
        f"{len(report.skipped):,} skipped" if report.skipped else "",
        f"{report.denied:,} denied" if report.denied else "",
    ]
    if any(known):
        yield ", ".join(part for part in known if part)


def _many(number: int, word: str) -> str:
    return f"{number:,} {word}{'s' * (number != 1)}"


def _warn(invocation: Invocation, problems: Sequence[object]) -> None:
    for problem in problems[:_TOLD]:
        invocation.warn(str(problem))
    if len(problems) > _TOLD:
        invocation.warn(f"… and {len(problems) - _TOLD:,} more: --json names them all")


def _opened(files: Sequence[str]) -> Iterator[tuple[str, Iterable[bytes]]]:
    for name in files:
        if name == "-":
            yield name, sys.stdin.buffer
            continue
        with Path(name).open("rb") as file:
            yield name, file


@contextmanager
def _progress(invocation: Invocation, files: Sequence[str]) -> Iterator[Progress | None]:
    """A bar on a terminal that can show one, else nothing."""
    look = look_of(sys.stderr, os.environ, no_color=invocation.no_color)
    if invocation.quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from rich import console, progress  # noqa: PLC0415 - a tenth of a second that pipes save

    columns = (
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TextColumn("{task.fields[messages]:,} messages"),
        progress.TimeRemainingColumn(),
    )
    system: Literal["standard"] | None = "standard" if look.color else None
    shown = console.Console(stderr=True, color_system=system, width=look.width)
    with progress.Progress(*columns, console=shown, transient=True) as bar:
        task = bar.add_task("import", total=_size(files), messages=0)
        done = 0

        def advance(size: int, messages: int) -> None:
            nonlocal done
            done += messages
            bar.update(task, advance=size, messages=done)

        yield advance


def _size(files: Sequence[str]) -> int | None:
    return None if "-" in files else sum(Path(name).stat().st_size for name in files)
