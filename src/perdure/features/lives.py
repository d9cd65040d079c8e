"""How sessions come and go: stored, deleted with those they opened, copied up to an event."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.errors import AlreadyExistsError, NotFoundError
from perdure.features import artifacts
from perdure.features.branches import length, settle
from perdure.features.changes import Change, changes, fold, log, restore
from perdure.features.coverage import carry
from perdure.features.holds import refuse_if_held
from perdure.features.ingesting import copied
from perdure.features.line import EVENTS, Run, clip, first_of, holds, runs
from perdure.features.lookup import SESSIONS, SessionRow, Target, find, hold, session_of
from perdure.features.outbox import Notes
from perdure.features.scopes import Value
from perdure.features.upkeep import purge
from perdure.operation import Plan, Settings
from perdure.records import Session
from perdure.values import Limits, encode_trusted


def insert(row: SessionRow) -> Plan[None]:
    """Store a new session, in the place of an expired one; `AlreadyExistsError`."""
    yield SESSIONS.retire_expired(part=row.part, id=row.id, now=row.updated_at)
    if not (yield SESSIONS.insert(**row._asdict())):
        raise AlreadyExistsError(f"session {row.id!r} exists: get it, or take another id")


def tell_removal(notes: Notes, part: str, uid: str, **why: str) -> Plan[None]:
    """Tell that a session is removed, unless it was told when it was deleted."""
    if notes.hooks:
        [found] = yield SESSIONS.find_uid(part=part, uid=uid)
        row = SessionRow._make(found)
        # A sweep goes through all tenants, and tells its own what was theirs.
        if row.deleted_at is None and row.tenant == notes.tenant:
            data = {"app": row.app, "user": row.user_id, "session": row.id, "uid": uid, **why}
            yield from notes.tell(part, "session.deleted", **data)


def delete(
    row: SessionRow, children: bool, soft: bool, settings: Settings, now: int, notes: Notes
) -> Plan[None]:
    """Delete the session, and with ``children`` those it opened; softly, if there is a grace."""
    doomed = {row.uid: row}
    waiting = [row] if children else []
    while waiting:
        parent = encode_trusted(list(waiting.pop().key))
        for columns in (yield SESSIONS.children(part=row.part, parent=parent)):
            child = SessionRow._make(columns)
            if child.uid not in doomed:
                doomed[child.uid] = child
                waiting.append(child)
    for uid, one in doomed.items():
        if uid != row.uid:
            yield SESSIONS.hold_uid(part=row.part, uid=uid)
        yield from refuse_if_held(row.part, uid, f"delete session {one.id!r}")
    for uid in doomed:
        yield from tell_removal(notes, row.part, uid)
        if soft and settings.deleted_grace:
            yield SESSIONS.mark_deleted(part=row.part, uid=uid, now=now)
        else:
            yield from purge(row.part, uid)


def fork(
    source: Target, seq: int | None, new_id: str, uid: str, settings: Settings, notes: Notes
) -> Plan[Session]:
    """A new session with the active line of another up to an event."""
    # Held: what is copied must not be pruned or rewritten between two statements.
    row = yield from hold(source, None, {})
    line = yield from runs(row.part, row.uid, row.head)
    if seq is not None and seq != 0 and not holds(line, seq):
        raise NotFoundError(f"session {row.id!r} has no event {seq} on its active line")
    end = row.head if seq is None else seq
    first, prev = yield from first_of(row.part, row.uid, line)
    if 0 < end < first:
        raise NotFoundError(f"event {end} of session {row.id!r} was pruned: the oldest is {first}")
    taken = clip(line, 1, end)
    # Of a pruned session the beginning is what stood before its first kept event.
    upto = (first, 1) if prev and not taken else (end + 1, 0)
    found = [c for c in (yield from changes(row.part, row.uid, line)) if c[:2] < upto]
    count = length(taken, first)
    new = row._replace(
        uid=uid, id=new_id, version=1, head=count, left_head=count, last_seq=count,
        event_count=count, created_at=source.now, updated_at=source.now, fence=None,
        expires_at=None if row.ttl is None else source.now + row.ttl,
        origin=encode_trusted([*row.key, end]),
    )  # fmt: skip
    if (yield from find(source._replace(key=new.key))):
        raise AlreadyExistsError(f"session {new_id!r} exists: take another id")
    yield from insert(new)
    base = 0
    spans = []
    for run_taken in reversed(taken):
        low = max(run_taken.low, first)
        spans.append((low, run_taken.high, base))
        yield EVENTS.copy_run(
            part=row.part, uid=row.uid, new_uid=uid, base=base, low=low, high=run_taken.high
        )
        base += run_taken.high - low + 1
    yield from copied(row.part, row.uid, uid, spans, source.now)
    yield SESSIONS.copy_terms(part=row.part, uid=row.uid, new_uid=uid)
    yield from artifacts.copy(row.part, row.uid, uid, taken, first if prev else 0)
    yield from carry(row, new, line, taken, first)
    yield from _fork_state(new, found, taken, first, prev != 0, settings.limits)
    settled = yield from settle(new, [Run(1, count, 0)], count, count)
    yield from notes.tell_session(row.part, "session.created", new.key, uid)
    return session_of(settled)


def _fork_state(
    new: SessionRow,
    found: Sequence[Change],
    line: Sequence[Run],
    first: int,
    pruned: bool,
    limits: Limits,
) -> Plan[None]:
    """The state as of the last event taken over, and its history by the new seqs."""
    noted: dict[tuple[int, int], dict[str, Value]] = {}
    for change in found:
        if change.noted:
            place = (length(clip(line, 1, change.seq), first), min(change.version, 1))
            if not line or (pruned and change[:2] == (first, 0)):
                place = (0, 1)
            noted.setdefault(place, {}).update(change.delta)
    for (seq, version), delta in noted.items():
        yield from log(new.part, new.uid, seq, version, delta, new.updated_at)
    state = fold(found)
    yield from restore(new.part, new.uid, state, state, limits, new.updated_at)
