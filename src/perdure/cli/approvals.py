"""``perdure approvals``: what waits for a yes or a no, and saying it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

import click

from perdure.cli import when
from perdure.cli.commands import Group
from perdure.cli.describing import approval_document, step_document
from perdure.cli.drawing import cut
from perdure.cli.finding import whose
from perdure.cli.invocation import Invocation
from perdure.cli.lists import Form, first, print_some
from perdure.cli.outline import compact
from perdure.cli.tables import Column, table
from perdure.cli.watching import Watch, Whose, heading, line, short, subject
from perdure.cli.working import application
from perdure.errors import InvalidError, NotFoundError
from perdure.records import ALL, Approval, Decision, NewResolution, Principal
from perdure.store import Store, SyncStore
from perdure.values import parse

F = TypeVar("F", bound=Callable[..., Any])

_STATUSES = ("pending", "approved", "rejected", "expired", "cancelled", "consumed")
_DONE = {"approve": "approved", "reject": "rejected"}
_COLUMNS = (
    Column("APPROVAL", "id"),
    Column("STATUS", "state"),
    Column("TOOL", yields=1),
    Column("ARGUMENTS", yields=5, optional=True),
    Column("FOR", "dim", yields=2, optional=True),
    Column("ASKED", "dim"),
    Column("UNTIL", "bad"),
)


@click.group(cls=Group)
def approvals() -> None:
    """List, show, answer and watch what waits for a person.

    An ID may be shortened to how it begins or ends, as long as only one has that.
    """


@approvals.command("ls")
@click.option(
    "--status", type=click.Choice([*_STATUSES, "all"]), default="pending", show_default=True,
    help="Only those that are this.",
)  # fmt: skip
@click.option("--thread", metavar="ID", help="Only of this thread.")
@whose
@click.option(
    "--limit", type=click.IntRange(min=0), default=50, show_default=True, help="How many; 0: all."
)
@click.pass_obj
def ls(
    invocation: Invocation,
    status: str,
    thread: str | None,
    app: str | None,
    user: str | None,
    limit: int,
) -> None:
    """List approvals, the newest first.

    In a pipe: tab-separated id, status, tool, arguments, app, user, time of the request, the time
    until which it can be answered and used, and the question.
    """
    with invocation.store() as store:
        wanted: Any = None if status == "all" else status
        found = first(Whose(app, user, thread).every(store, wanted), limit)
    print_some(invocation, found, _FORM, limit)


@approvals.command("show")
@click.argument("approval", metavar="ID")
@click.pass_obj
def show(invocation: Invocation, approval: str) -> None:
    """Show one approval with all that is known of it, and every step it took."""
    with invocation.store() as store:
        found = _find(store, approval)
        steps = store.approvals.audit(found.id)
    document = approval_document(found)
    if invocation.form != "text":
        invocation.document({**document, "steps": [step_document(step) for step in steps]})
        return
    # Only a program can read it.
    document["resume"] = found.resume and compact(found.resume)
    for name, value in document.items():
        if value not in (None, "", {}):
            shown = value if isinstance(value, str) else compact(value)
            if name.endswith("_at"):
                shown = _time(invocation, getattr(found, name))
            invocation.texts([f"{name:<15}{shown}"])
    for step in steps:
        rule = f" ({step.rule})" if step.rule else ""
        by = f" by {step.by}" if step.by else ""
        invocation.texts([f"{'step':<15}{_time(invocation, step.at)} {step.to_status}{by}{rule}"])


def _time(invocation: Invocation, moment: datetime) -> str:
    zone = invocation.zone
    return when.exact(moment, zone) if invocation.look.laid_out else when.iso(moment)


def _answering(function: F) -> F:
    """What both answers take."""
    options: list[Callable[[Any], Any]] = [
        click.argument("approval", metavar="ID"),
        click.option("--by", metavar="NAME", required=True, help="Who answers."),
        click.option(
            "--role", "roles", metavar="ROLE", multiple=True, help="A role of theirs; repeatable."
        ),
        click.option("--feedback", metavar="TEXT", default="", help="What else there is to say."),
        click.option(
            "--app", metavar="MODULE:STORE",
            help="Take the store of your application, with its rule of who may answer.",
        ),
        click.option("--dry-run", is_flag=True, help="Only say what would be done, or refused."),
        click.pass_obj,
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@approvals.command("approve")
@click.option("--args", "edited", metavar="JSON", help="Run it with these arguments instead.")
@_answering
def approve(
    invocation: Invocation,
    approval: str,
    by: str,
    roles: tuple[str, ...],
    feedback: str,
    app: str | None,
    dry_run: bool,
    edited: str | None,
) -> None:
    """Say yes to what is pending: it may run once, with the arguments shown."""
    said = {"feedback": feedback, "edited_args": None if edited is None else _args(edited)}
    _answer(invocation, approval, "approve", Principal(by, roles), said, app, dry_run=dry_run)


@approvals.command("reject")
@_answering
def reject(
    invocation: Invocation,
    approval: str,
    by: str,
    roles: tuple[str, ...],
    feedback: str,
    app: str | None,
    dry_run: bool,
) -> None:
    """Say no to what is pending."""
    said = {"feedback": feedback}
    _answer(invocation, approval, "reject", Principal(by, roles), said, app, dry_run=dry_run)


@approvals.command("watch")
@whose
@click.option("-n", "--count", type=click.IntRange(min=1), metavar="N", help="End after N lines.")
@click.pass_obj
def watch(invocation: Invocation, app: str | None, user: str | None, count: int | None) -> None:
    """Show what is pending, then every status that an approval takes, until Ctrl-C.

    In a pipe as `ls`, a line for each status: also for what is asked and answered at once, and for
    what is used.
    """
    if invocation.form == "json":
        invocation.form = "jsonl"
    laid_out = invocation.form == "text" and invocation.look.laid_out
    with invocation.store() as store:
        if laid_out:
            invocation.lines([heading(invocation.look)])
            sys.stdout.flush()
        for change in islice(Watch(store, Whose(app, user)).changes(), count):
            if laid_out:
                at = when.second(change.at, invocation.zone)
                invocation.lines([line(change, at, invocation.look)])
            else:
                print_some(invocation, [change.approval], _FORM)
            sys.stdout.flush()


def _find(store: SyncStore, given: str) -> Approval:
    """The approval whose id is, or begins or ends with, what was given."""
    exact = store.approvals.find(given) if given.strip() else None
    if exact is not None:
        return exact
    found = [
        one
        for one in store.approvals.iter(app=ALL)
        if given.strip() and (one.id.startswith(given) or one.id.endswith(given))
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFoundError(f"no approval has the id {given!r}: see `perdure approvals ls`")
    raise click.UsageError(f"{given!r} could be {len(found)} approvals: write more of the id")


def _answer(
    invocation: Invocation,
    given: str,
    decision: Decision,
    who: Principal,
    said: dict[str, Any],
    app: str | None,
    *,
    dry_run: bool,
) -> None:
    with invocation.store() as store:
        found = _find(store, given)
        if app is None:
            found = _asked(store, found.id, decision, who, said, dry_run=dry_run)
    if app is not None:
        with _application(app) as theirs:
            answer = _asked(theirs, found.id, decision, who, said, dry_run=dry_run)
            found = asyncio.run(answer) if isinstance(theirs, Store) else answer
    if invocation.form != "text":
        invocation.document(approval_document(found))
        return
    shown = short(found.id) if sys.stderr.isatty() else found.id
    done = f"would be {_DONE[decision]}" if dry_run else found.status
    args = said.get("edited_args")
    words = subject(found) if args is None else compact(args)
    invocation.note(f"{shown} {done}: {found.tool_name or found.kind} {words}")


def _asked(
    store: Any, id: str, decision: Decision, who: Principal, said: dict[str, Any], *, dry_run: bool
) -> Any:
    """The answer given, or only asked whether it may be; of an async store an awaitable."""
    if dry_run:
        return store.approvals._tried(NewResolution(id, decision, **said), by=who)
    return store.approvals.resolve(id, decision, by=who, **said)


@contextmanager
def _application(place: str) -> Iterator[Any]:
    found = application(place)
    try:
        yield found
    finally:
        found._close()


def _args(text: str) -> Any:
    try:
        given = parse(text)
    except InvalidError as error:
        raise InvalidError(f"--args: {error}", "args") from error
    if given is None:
        # To the store that is "not edited", and would approve what was asked for.
        raise InvalidError("--args: null is no arguments: write {} for none", "args")
    return given


def _lay_out(invocation: Invocation, found: Sequence[Approval]) -> None:
    if not found:
        invocation.note("no approvals")
        return
    rows = [_cells(invocation, one) for one in found]
    invocation.pages(table(_COLUMNS, rows, invocation.look))


def _cells(invocation: Invocation, one: Approval) -> list[str]:
    # One that is long must not take the room of the others.
    columns = invocation.look.columns
    owner = cut("/".join(name for name in (one.app, one.user) if name), max(columns // 6, 12))
    tool = cut(one.tool_name or one.kind, max(columns // 5, 16))
    until = when.brief(one.expires_at, invocation.now) if one.expires_at else ""
    return [
        short(one.id), one.status, tool, subject(one), owner,
        when.brief(one.created_at, invocation.now),
        until if one.status in {"pending", "approved"} else "",
    ]  # fmt: skip


def _values(one: Approval) -> list[str]:
    until = when.iso(one.expires_at) if one.expires_at else ""
    return [
        one.id, one.status, one.tool_name or one.kind, compact(one.approved_args), one.app,
        one.user, when.iso(one.created_at), until, one.question,
    ]  # fmt: skip


_FORM = Form(approval_document, _values, _lay_out)
