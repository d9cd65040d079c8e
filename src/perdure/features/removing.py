"""Really removing: events, all events, the content of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from perdure.errors import NotFoundError
from perdure.features import coverage
from perdure.features.branches import settle
from perdure.features.changes import changes, fold, log, same
from perdure.features.coverage import SUMMARIES, anchor_of
from perdure.features.drafts import EventRow
from perdure.features.holds import refuse_if_held
from perdure.features.indexing import forget, forget_all, replace_text
from perdure.features.keeping import forget_event
from perdure.features.line import EVENTS, NO_SEQ, Run, holds, runs
from perdure.features.lookup import SESSIONS, SessionRow, bump
from perdure.features.scopes import STATE, Value
from perdure.operation import Bumps, Plan
from perdure.records import DELETE, SessionKey
from perdure.values import decode_delta


class Doomed(NamedTuple):
    """Which events to remove: any that match all that is given."""

    ids: Sequence[str] | None = None
    run_id: str | None = None
    branch: str | None = None
    low: int = 1
    high: int = NO_SEQ


def clear(row: SessionRow, now: int) -> Plan[int]:
    """Remove all events of all lines, and what tells of them; the state stays as it is.

    The row is claimed.
    """
    line = yield from runs(row.part, row.uid, row.head)
    state = fold((yield from changes(row.part, row.uid, line)))
    counted = yield EVENTS.count(
        part=row.part,
        uid=row.uid,
        low=1,
        high=NO_SEQ,
        after_time=None,
        branch=None,
        run_id=None,
    )
    span = {"part": row.part, "uid": row.uid, "low": 0, "high": NO_SEQ}
    yield EVENTS.drop_refs(part=row.part, uid=row.uid)
    yield EVENTS.drop_event_notes(part=row.part, uid=row.uid)
    yield EVENTS.remove_run(**span)
    yield from forget_all(row.part, row.uid)
    yield STATE.unlog(**span)
    yield from log(row.part, row.uid, 0, row.version, state, now)
    yield EVENTS.add_rewrite(part=row.part, uid=row.uid, version=row.version, from_seq=1)
    yield from settle(row, [], 0, 0)
    removed: int = counted[0][0]
    return removed


Found = tuple[int, str]
"""seq and id"""


def matching(row: SessionRow, doomed: Doomed) -> Plan[list[Found]]:
    """The events that are meant."""
    found: list[Found] = []
    for event_id in doomed.ids if doomed.ids is not None else [None]:
        found += yield EVENTS.matching(
            part=row.part,
            uid=row.uid,
            event_id=event_id,
            run_id=doomed.run_id,
            branch=doomed.branch,
            low=doomed.low,
            high=doomed.high,
        )
    return found


def remove(row: SessionRow, found: Sequence[Found], now: int) -> Plan[int]:
    """Remove the events; what they brought to the state stays. The row is claimed."""
    yield from coverage.forget(row.part, row.uid, min(found)[0])
    line = yield from runs(row.part, row.uid, row.head)
    active = sum(holds(line, seq) for seq, *_ in found)
    for seq, event_id in sorted(set(found), reverse=True):
        row = yield from _remove_one(row, seq, event_id, now)
    yield EVENTS.add_rewrite(
        part=row.part, uid=row.uid, version=row.version, from_seq=min(found)[0]
    )
    line = yield from runs(row.part, row.uid, row.head)
    yield from _drop_covered(row, line)
    yield from settle(row, line, row.head, row.event_count - active)
    return len(found)


def _drop_covered(row: SessionRow, active: Sequence[Run]) -> Plan[None]:
    """Forget the names of ends that another line goes through now."""
    lines = [active]
    refs = yield EVENTS.refs(part=row.part, uid=row.uid)
    for name, head, _ in sorted(refs, key=lambda ref: -ref[1]):
        if any(holds(line, head) for line in lines):
            yield EVENTS.drop_ref(part=row.part, uid=row.uid, name=name)
        else:
            lines.append((yield from runs(row.part, row.uid, head)))


def _remove_one(row: SessionRow, seq: int, event_id: str, now: int) -> Plan[SessionRow]:
    prev: int = (yield EVENTS.prev_of(part=row.part, uid=row.uid, seq=seq))[0][0]
    stays = yield from _state_beyond(row, seq, prev)
    yield EVENTS.drop_notes(part=row.part, uid=row.uid, event_id=event_id)
    followers = yield EVENTS.followers(part=row.part, uid=row.uid, seq=seq)
    for follower, _ in followers:
        yield EVENTS.relink(part=row.part, uid=row.uid, prev=prev, seq=follower)
    if prev < 0:
        begins = anchor_of(row, followers[0][0] if followers else 0)
        yield SUMMARIES.move_anchor(part=row.part, uid=row.uid, seq=seq, anchor=begins)
    yield EVENTS.remove(part=row.part, uid=row.uid, seq=seq)
    yield from forget(row.part, row.uid, seq, seq)
    yield STATE.unlog(part=row.part, uid=row.uid, low=seq, high=seq)
    for name, head, _ in (yield EVENTS.refs(part=row.part, uid=row.uid)):
        if head == seq:
            yield EVENTS.drop_ref(part=row.part, uid=row.uid, name=name)
            if prev > 0:
                yield EVENTS.add_ref(part=row.part, uid=row.uid, name=name, head=prev, now=now)
    if row.head == seq:
        row = row._replace(head=max(prev, 0))
    for place in stays:
        yield from _keep_state(row, place, now)
    return row


class _Place(NamedTuple):
    """A point of a line, and the state that it is to have whatever is removed below it."""

    seq: int
    before: bool
    state: dict[str, Value]


def _state_beyond(row: SessionRow, seq: int, prev: int) -> Plan[list[_Place]]:
    """The state before each event that follows, or at the head: nothing if none is touched."""
    span = {"part": row.part, "uid": row.uid, "low": seq, "high": seq}
    below = {"part": row.part, "uid": row.uid, "low": prev, "high": prev}
    touched = (yield STATE.brought(**span)) or (yield STATE.logged(**span))
    touched = touched or (yield STATE.logged(**below))
    if not touched:
        return []
    places = []
    for follower, _ in (yield EVENTS.followers(part=row.part, uid=row.uid, seq=seq)):
        state = yield from _state_at(row, follower, before=True)
        places.append(_Place(follower, True, state))
    if row.head == seq:
        state = yield from _state_at(row, seq, before=False)
        places.append(_Place(seq, False, state))
    return places


def _state_at(row: SessionRow, seq: int, *, before: bool) -> Plan[dict[str, Value]]:
    line = yield from runs(row.part, row.uid, seq)
    found = yield from changes(row.part, row.uid, line)
    return fold(change for change in found if not before or change[:2] < (seq, 1))


def _keep_state(row: SessionRow, place: _Place, now: int) -> Plan[None]:
    """Note what the removal would change, so that the state at the place is what it was."""
    seq, version = (place.seq, 0) if place.before else (row.head, row.version)
    there = yield from _state_at(row, seq, before=place.before)
    delta: dict[str, Value] = dict.fromkeys(there.keys() - place.state.keys(), DELETE)
    delta |= {k: v for k, v in place.state.items() if k not in there or not same(v, there[k])}
    if not delta:
        return
    noted = yield STATE.logged(part=row.part, uid=row.uid, low=seq, high=seq)
    older: dict[str, Value] = {}
    for _, noted_version, text, _ in noted:
        if noted_version == version:
            older = decode_delta(text, "a state delta")
    yield from log(row.part, row.uid, seq, version, older | delta, now)


class RedactedColumns(NamedTuple):
    """What takes the place of an event's content, and its projection."""

    content: str | None
    codec: str | None
    data: bytes | None
    text: str
    kind: str
    role: str
    calls: str | None
    results: str | None
    format: str


def redact(
    row: SessionRow, event_id: str, columns: RedactedColumns, now: int, bumps: Bumps
) -> Plan[EventRow]:
    """Replace the content of an event, here and in the forks that copied it.

    Summaries that cover it go: they may tell what is not to be told any more.
    """
    rows = yield EVENTS.by_id(part=row.part, uid=row.uid, event_id=event_id)
    if not rows:
        raise NotFoundError(f"session {row.id!r} has no event {event_id!r}")
    event = EventRow._make(rows[0])
    if not columns.role:
        # A bare text does not say who speaks: the event did.
        columns = columns._replace(role=event.role)
    digest = (yield EVENTS.digest_of(part=row.part, uid=row.uid, seq=event.seq))[0][0]
    copies = yield from _held_copies(row, event, digest, now, bumps)
    yield from _redact_in(row.part, row.uid, event_id, event.seq, columns)
    yield EVENTS.add_rewrite(part=row.part, uid=row.uid, version=row.version, from_seq=event.seq)
    yield from coverage.forget(row.part, row.uid, event.seq)
    for uid, (seq, version) in copies.items():
        yield from _redact_in(row.part, uid, event_id, seq, columns)
        yield EVENTS.add_rewrite(part=row.part, uid=uid, version=version, from_seq=seq)
        yield from coverage.forget(row.part, uid, seq)
        yield from _refresh(row.part, uid, event_id, now)
    yield from _refresh(row.part, row.uid, event_id, now)
    return EventRow(**{**event._asdict(), **columns._asdict()})


def _held_copies(
    row: SessionRow, event: EventRow, digest: str, now: int, bumps: Bumps
) -> Plan[dict[str, tuple[int, int]]]:
    """The sessions with a copy of the event, held: the seq there, and the new version.

    Who forks holds what it copies from: when all that are known are held, and a last look finds
    no more, there are no more.
    """
    held: dict[str, tuple[int, int]] = {}
    gone: set[str] = set()
    while True:
        found = yield EVENTS.same_event(
            part=row.part,
            uid=row.uid,
            event_id=event.id,
            digest=digest,
            created_at=event.created_at,
        )
        fresh = sorted((uid, seq) for uid, seq in found if uid not in held and uid not in gone)
        if not fresh:
            return held
        for uid, seq in fresh:
            touched = yield SESSIONS.touched(part=row.part, uid=uid, now=now)
            if touched:
                version, *key = touched[0]
                held[uid] = (seq, version)
                yield from refuse_if_held(row.part, uid, f"redact the fork {key[-1]!r}")
                bump(bumps, SessionKey(*key))
            else:
                gone.add(uid)


def _redact_in(
    part: str, uid: str, event_id: str, seq: int, columns: RedactedColumns
) -> Plan[None]:
    yield EVENTS.redact(part=part, uid=uid, event_id=event_id, **columns._asdict())
    yield from replace_text(part, uid, seq, columns.text)


def _refresh(part: str, uid: str, event_id: str, now: int) -> Plan[None]:
    """The preview may show what was redacted, and memories may tell of it."""
    [found] = yield SESSIONS.find_uid(part=part, uid=uid)
    row = SessionRow._make(found)
    line = yield from runs(part, uid, row.head)
    yield from settle(row, line, row.head, row.event_count)
    yield from forget_event(part, row.id, event_id, now)
