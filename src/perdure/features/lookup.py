"""Finding a session, and turning its row into a record: what every feature starts with."""

from __future__ import annotations

from typing import Any, NamedTuple

from perdure.errors import NotFoundError, StaleSessionError
from perdure.operation import Bumps, Plan, Query
from perdure.parts import Place, check_key, place
from perdure.records import Origin, Session, SessionKey
from perdure.sql import load
from perdure.values import decode, from_micros, maybe

SESSIONS = load("perdure.features", "sessions.sql")


class SessionRow(NamedTuple):
    """A row of the table, in the order of `columns` in sessions.sql."""

    part: str
    uid: str
    id: str
    tenant: str
    app: str
    user_id: str
    app_part: str
    version: int
    head: int
    left_head: int
    last_seq: int
    event_count: int
    created_at: int
    updated_at: int
    last_event_at: int | None
    ttl: int | None
    expires_at: int | None
    deleted_at: int | None
    title: str
    author: str
    agent_type: str
    tags: str
    metadata: str
    parent: str | None
    origin: str | None
    preview: str
    fence: int | None

    @property
    def key(self) -> SessionKey:
        """The key that people know the session by."""
        return SessionKey(self.app, self.user_id, self.id)


class Target(NamedTuple):
    """A session that is asked for: its checked key, its place, the time of the call.

    ``fence``: that of the lease under which it is written; None: under none.
    """

    key: SessionKey
    part: str
    app_part: str
    now: int
    fence: int | None = None


def target(tenant: str, key: SessionKey, limit: int, now: int, fence: int | None = None) -> Target:
    """The target of a key; `InvalidError` if it is none."""
    key = check_key(key, limit)
    found: Place = place(tenant, key.app, key.user, limit)
    return Target(key, found.part, found.app_part, now, fence)


def find(at: Target) -> Plan[SessionRow | None]:
    """The live session, or None."""
    rows = yield SESSIONS.find(part=at.part, id=at.key.id, now=at.now)
    return SessionRow._make(rows[0]) if rows else None


def get(at: Target) -> Plan[SessionRow]:
    """The live session; `NotFoundError`."""
    row = yield from find(at)
    if row is None:
        raise not_found(at.key)
    return row


def claim(at: Target, expected: int | None, bumps: Bumps) -> Plan[SessionRow]:
    """The session with its next version, held for the rest of the transaction.

    `StaleSessionError` if its version is not the expected one, or its fence not that of the
    target; versions that the same transaction has added do not count.
    """
    row = yield from claimed(SESSIONS.claim, at, expected, bumps)
    bump(bumps, at.key)
    return SessionRow._make(row)


def hold(at: Target, expected: int | None, bumps: Bumps) -> Plan[SessionRow]:
    """The session as it is, held for the rest of the transaction; its version stays.

    Raises as `claim` does: for what turns out to have nothing to change.
    """
    return SessionRow._make((yield from claimed(SESSIONS.hold, at, expected, bumps)))


def claimed(
    query: Query, at: Target, expected: int | None, bumps: Bumps, **more: Any
) -> Plan[tuple[Any, ...]]:
    """The row that a claim gives back; raises as `claim` does."""
    while True:
        rows = yield query(
            part=at.part,
            id=at.key.id,
            now=at.now,
            expected=shifted(at.key, expected, bumps),
            fence=at.fence,
            **more,
        )
        if rows:
            row: tuple[Any, ...] = rows[0]
            return row
        yield from _refuse(at, expected, bumps)


def bump(bumps: Bumps, key: SessionKey) -> None:
    """Count a version that this transaction has added to a session."""
    bumps[key] = bumps.get(key, 0) + 1


def shifted(key: SessionKey, expected: int | None, bumps: Bumps) -> int | None:
    """The version that must stand in the row for the expected one to have held before."""
    return None if expected is None else expected + bumps.get(key, 0)


def _refuse(at: Target, expected: int | None, bumps: Bumps) -> Plan[None]:
    """Raise the reason that a claim found no row, unless it has come since: unknown, or changed."""
    row = yield from find(at)
    if row is None:
        raise not_found(at.key)
    current = row.version - bumps.get(at.key, 0)
    if at.fence is not None and at.fence != row.fence:
        message = (
            f"fence {at.fence} is not that of session {at.key.id!r} any more: another run has "
            f"taken its lease since, it is at {row.fence}; stop this run, or take a lease again"
        )
        raise StaleSessionError(message, current)
    # None expected, or what was expected: it was created, or restored, since the claim looked.
    if expected not in {None, current}:
        raise StaleSessionError(
            f"session {at.key.id!r} was changed by another writer: it is at version {current}, "
            f"you expected {expected}; read it again, or pass expected_version=None to append "
            "blindly",
            current,
        )


def not_found(key: SessionKey) -> NotFoundError:
    """The error for a session that is unknown, deleted or expired."""
    where = f"app {key.app!r}, user {key.user!r}"
    return NotFoundError(f"no session {key.id!r} in {where}: create it, or restore it if deleted")


def session_of(row: SessionRow, state: dict[str, object] | None = None) -> Session:
    """The record of a row."""
    what = f"session {row.uid}"
    return Session(
        key=row.key,
        uid=row.uid,
        title=row.title,
        author=row.author,
        agent_type=row.agent_type,
        tags=tuple(decode(row.tags, what)),
        metadata=decode(row.metadata, what),
        parent=maybe(lambda text: SessionKey(*decode(text, what)), row.parent),
        origin=maybe(lambda text: _origin(text, what), row.origin),
        created_at=from_micros(row.created_at),
        updated_at=from_micros(row.updated_at),
        last_event_at=maybe(from_micros, row.last_event_at),
        expires_at=maybe(from_micros, row.expires_at),
        deleted_at=maybe(from_micros, row.deleted_at),
        version=row.version,
        event_count=row.event_count,
        head_seq=row.head,
        last_seq=row.last_seq,
        preview=row.preview,
        state=state,
    )


def _origin(text: str, what: str) -> Origin:
    app, user, session_id, seq = decode(text, what)
    return Origin(SessionKey(app, user, session_id), seq)
