"""``perdure sessions``: list, show, describe, copy and remove conversations."""

from __future__ import annotations

import click

from perdure.cli import holding, removing
from perdure.cli.commands import Group
from perdure.cli.describing import session_document
from perdure.cli.finding import SessionId, find_session, whose
from perdure.cli.invocation import Invocation
from perdure.cli.listing import ORDERS, Wanted, list_sessions
from perdure.cli.showing import Extent, show_session
from perdure.errors import InvalidError, StaleSessionError
from perdure.records import Session
from perdure.store import SyncStore


@click.group(cls=Group)
def sessions() -> None:
    """List, show, describe, copy and remove sessions."""


@sessions.command("ls")
@click.option("--app", metavar="APP", help="Only of this app.")
@click.option("--user", metavar="USER", help="Only of this user.")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="Only with this tag; repeatable.")
@click.option("--text", metavar="TEXT", help="Only with this in title, last message or id.")
@click.option("--since", metavar="TIME", help="Only changed since: 2h, 3d, yesterday, an ISO time.")
@click.option("--deleted", is_flag=True, help="Those that were deleted and can be restored.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=50, show_default=True, help="How many; 0: all."
)
@click.option(
    "--order",
    type=click.Choice(ORDERS),
    default="-last_event_at",
    metavar="FIELD",
    show_default=True,
    help="updated_at, created_at, last_event_at, title or id; - before it turns it round.",
)
@click.pass_obj
def ls(
    invocation: Invocation,
    app: str | None,
    user: str | None,
    tags: tuple[str, ...],
    text: str | None,
    since: str | None,
    deleted: bool,
    limit: int,
    order: str,
) -> None:
    """List sessions, those with the latest event first.

    In a pipe: tab-separated id, app, user, number of events, time of the last event, title,
    tags and time of deletion.
    """
    wanted = Wanted(app, user, tags, text, since, deleted, limit, order)
    list_sessions(invocation, wanted)


@sessions.command("show")
@click.argument("session", metavar="ID", type=SessionId())
@whose
@click.option("--last", type=click.IntRange(min=0), metavar="N", help="Only the last N events.")
@click.option("--all-lines", is_flag=True, help="Also events that are not on the active line.")
@click.option("--full", is_flag=True, help="Long results whole, which a terminal gets cut.")
@click.pass_obj
def show(
    invocation: Invocation,
    session: str,
    app: str | None,
    user: str | None,
    last: int | None,
    all_lines: bool,
    full: bool,
) -> None:
    """Show a session as a timeline: messages, tool calls with their results, state, errors."""
    with invocation.store() as store:
        found = find_session(store, session, app, user)
        show_session(invocation, store, found, Extent(last, all_lines, full))


@sessions.command("rename")
@click.argument("session", metavar="ID", type=SessionId())
@click.argument("title")
@whose
@click.pass_obj
def rename(
    invocation: Invocation, session: str, title: str, app: str | None, user: str | None
) -> None:
    """Give a session another title."""
    with invocation.store() as store:
        found = find_session(store, session, app, user)
        changed = store.sessions.update(found.key, title=title)
    _tell(invocation, changed, f"{changed.id} is now {changed.title!r}")


@sessions.command("tag")
@click.argument("session", metavar="ID", type=SessionId())
@click.argument("tags", metavar="[TAG]...", nargs=-1)
@click.option("--remove", metavar="TAG", multiple=True, help="Take this tag away; repeatable.")
@whose
@click.pass_obj
def tag(
    invocation: Invocation,
    session: str,
    tags: tuple[str, ...],
    remove: tuple[str, ...],
    app: str | None,
    user: str | None,
) -> None:
    """Add tags to a session, or take some away; without either, print those it has."""
    with invocation.store() as store:
        found = find_session(store, session, app, user)
        if tags or remove:
            found = _tagged(store, found, tags, remove)
    if invocation.form != "text":
        invocation.document(session_document(found))
    else:
        invocation.texts(found.tags)


def _tagged(
    store: SyncStore, session: Session, tags: tuple[str, ...], remove: tuple[str, ...]
) -> Session:
    """The session with other tags, also if somebody else is changing it."""
    for _ in range(10):
        kept = [tag for tag in (*session.tags, *tags) if tag not in remove]
        try:
            return store.sessions.update(session.key, tags=kept, expected_version=session.version)
        except StaleSessionError:
            session = store.sessions.get(session.key)
    return store.sessions.update(session.key, tags=kept, expected_version=session.version)


@sessions.command("fork")
@click.argument("session", metavar="ID", type=SessionId())
@click.option("--at", type=click.IntRange(min=0), metavar="SEQ", help="Up to this event.")
@click.option("--id", "new_id", metavar="NEW", help="The id of the copy (default: a new one).")
@whose
@click.pass_obj
def fork(
    invocation: Invocation,
    session: str,
    at: int | None,
    new_id: str | None,
    app: str | None,
    user: str | None,
) -> None:
    """Copy a session, up to an event; the id of the copy is printed."""
    if new_id is not None and not new_id.strip():
        raise InvalidError("the id of a copy must not be blank", "id")
    with invocation.store() as store:
        found = find_session(store, session, app, user)
        copy = store.sessions.fork(found.key, at=at, id=new_id)
    if invocation.form != "text":
        invocation.document(session_document(copy))
        return
    invocation.texts([copy.id])
    invocation.note(f"{copy.event_count} events of {found.id}")


@sessions.command("restore")
@click.argument("session", metavar="ID", type=SessionId())
@click.option("--uid", metavar="UID", help="Which one, if several of that id were deleted.")
@whose
@click.pass_obj
def restore(
    invocation: Invocation, session: str, uid: str | None, app: str | None, user: str | None
) -> None:
    """Bring a deleted session back."""
    with invocation.store() as store:
        found = find_session(store, session, app, user, deleted=True)
        restored = store.sessions.restore(found.key, uid=uid)
    _tell(invocation, restored, f"{restored.id} is back, with {restored.event_count} events")


def _tell(invocation: Invocation, session: Session, words: str) -> None:
    if invocation.form != "text":
        invocation.document(session_document(session))
    else:
        invocation.note(words)


sessions.add_command(removing.rm)
sessions.add_command(removing.purge)
sessions.add_command(holding.hold)
sessions.add_command(holding.release)
