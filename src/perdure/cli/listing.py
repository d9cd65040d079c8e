"""``perdure sessions ls``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from perdure.cli import when
from perdure.cli.describing import session_document
from perdure.cli.invocation import Invocation
from perdure.cli.lists import Form, first, print_some
from perdure.cli.tables import Column, table
from perdure.records import ALL, Session
from perdure.store import SyncStore

_FIELDS = ("updated_at", "created_at", "last_event_at", "title", "id")
ORDERS = [f"{sign}{name}" for name in _FIELDS for sign in ("-", "")]
_COLUMNS = (
    Column("SESSION", "id", yields=1),
    Column("APP", "dim", yields=2, optional=True),
    Column("USER", "dim", yields=3, optional=True),
    Column("TITLE", yields=5),
    Column("TAGS", "state", yields=4, optional=True),
    Column("EVENTS", right=True),
    Column("LAST EVENT", "dim"),
    Column("DELETED", "bad"),
)


class Wanted(NamedTuple):
    """Which sessions, how many, in which order."""

    app: str | None
    user: str | None
    tags: tuple[str, ...]
    text: str | None
    since: str | None
    deleted: bool
    limit: int
    order: str


def list_sessions(invocation: Invocation, wanted: Wanted) -> None:
    """Print them."""
    with invocation.store() as store:
        found = first(_found(invocation, store, wanted), wanted.limit)
        graphs = not found and bool(store.checkpoints.lineages(limit=1).items)
    print_some(invocation, found, Form(session_document, _values, lay_out), wanted.limit)
    if graphs:
        # Who looks for a graph's thread here first is not to think it lost.
        invocation.note("the threads of graphs are no sessions: see `perdure checkpoints ls`")


def _found(invocation: Invocation, store: SyncStore, wanted: Wanted) -> Iterator[Session]:
    after = wanted.since and when.since(wanted.since, invocation.now, invocation.zone)
    sessions = store.sessions.iter(
        ALL if wanted.app is None else wanted.app,
        ALL if wanted.app is None or wanted.user is None else wanted.user,
        order=wanted.order,
        text=wanted.text,
        tags=wanted.tags,
        updated_after=after or None,
        include_deleted=wanted.deleted,
    )
    for session in sessions:
        if wanted.user not in {None, session.key.user}:
            continue
        if not wanted.deleted or session.deleted_at is not None:
            yield session


def lay_out(invocation: Invocation, sessions: Sequence[Session]) -> None:
    """Print them as a table."""
    if not sessions:
        invocation.note("no sessions")
        return
    rows = [
        (
            session.id,
            session.key.app,
            session.key.user,
            session.title or session.preview,
            ", ".join(session.tags),
            f"{session.event_count:,}",
            when.ago(session.last_event_at, invocation.now) if session.last_event_at else "",
            when.ago(session.deleted_at, invocation.now) if session.deleted_at else "",
        )
        for session in sessions
    ]
    invocation.pages(table(_COLUMNS, rows, invocation.look))


def _values(session: Session) -> list[str]:
    return [
        session.id,
        session.key.app,
        session.key.user,
        str(session.event_count),
        when.iso(session.last_event_at) if session.last_event_at else "",
        session.title,
        ",".join(session.tags),
        when.iso(session.deleted_at) if session.deleted_at else "",
    ]
