"""``perdure sessions rm`` and ``purge``: never by surprise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

import click

from perdure.cli.commands import Command
from perdure.cli.describing import session_document
from perdure.cli.finding import SessionId, find_session, whose
from perdure.cli.invocation import Invocation
from perdure.errors import DeniedError, NotFoundError
from perdure.records import Session
from perdure.store import SyncStore


@click.command("rm", cls=Command)
@click.argument("sessions", metavar="ID...", nargs=-1, required=True, type=SessionId())
@click.option("--children", is_flag=True, help="Also the sessions that they opened.")
@whose
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rm(
    invocation: Invocation,
    sessions: tuple[str, ...],
    children: bool,
    app: str | None,
    user: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Delete sessions; `restore` brings them back until they are swept."""
    with invocation.store() as store:
        found = _found(store, sessions, app, user)
        refuse_if_held(store, found)
        if not dry_run:
            if not invocation.sure(f"Delete {_named(found)}?", yes=yes):
                raise click.exceptions.Exit(1)
            for one in found:
                store.sessions.delete(one.key, children=children)
    _tell(invocation, found, "would be deleted" if dry_run else "deleted")


@click.command("purge", cls=Command)
@click.argument("sessions", metavar="ID...", nargs=-1, required=True, type=SessionId())
@whose
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def purge(
    invocation: Invocation,
    sessions: tuple[str, ...],
    app: str | None,
    user: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Remove sessions for good, deleted ones of the same id too."""
    with invocation.store() as store:
        found = _found(store, sessions, app, user, either=True)
        refuse_if_held(store, found)
        if not dry_run:
            if not invocation.sure(f"Remove {_named(found)} for good?", yes=yes):
                raise click.exceptions.Exit(1)
            for one in found:
                store.sessions.purge(one.key)
    _tell(invocation, found, "would be removed for good" if dry_run else "removed for good")


def _found(
    store: SyncStore,
    given: Sequence[str],
    app: str | None,
    user: str | None,
    *,
    either: bool = False,
) -> list[Session]:
    """The sessions, each once."""
    found = [find_session(store, one, app, user, either=either) for one in given]
    return list({one.key: one for one in found}.values())


def refuse_if_held(store: SyncStore, sessions: Iterable[Session]) -> None:
    """`DeniedError` for what is held: before anybody is asked, and of a dry run too."""
    for one in sessions:
        with suppress(NotFoundError):
            hold = store.sessions.find_hold(one.key)
            if hold is not None:
                raise DeniedError(
                    f"{one.id} is held by {hold.by!r}: {hold.reason}; `perdure sessions release` "
                    "ends a hold"
                )


def _named(sessions: Sequence[Session]) -> str:
    if len(sessions) == 1:
        one = sessions[0]
        title = f" {one.title!r}" if one.title else ""
        return f"{one.id}{title} with {one.event_count} events"
    events = sum(one.event_count for one in sessions)
    return f"{len(sessions)} sessions with {events} events"


def _tell(invocation: Invocation, sessions: Sequence[Session], what: str) -> None:
    if invocation.form != "text":
        invocation.documents(session_document(one) for one in sessions)
        return
    for one in sessions:
        invocation.note(f"{one.id} {what} ({one.event_count} events)")
