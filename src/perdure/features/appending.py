"""The plan of an append: the same for one event, for many, and inside a turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from perdure.errors import ConflictError, InvalidError, StaleSessionError
from perdure.features.branches import move_head
from perdure.features.drafts import Draft, EventRow, event_of, preview_of, row_of
from perdure.features.holds import is_held
from perdure.features.line import EVENTS
from perdure.features.lookup import SESSIONS, Target, claim, claimed, get
from perdure.features.pruning import Cut, prune
from perdure.features.scopes import STATE, Entry, rows
from perdure.operation import Bumps, Fused, Plan, Rows, Settings, Statement, Work
from perdure.records import Appended

OnDuplicate = Literal["raise", "ignore"]


class Append(NamedTuple):
    """A checked call: where, what, and under which conditions."""

    at: Target
    drafts: Sequence[Draft]
    expected: int | None
    after: int | None
    on_duplicate: OnDuplicate
    #: Of a line that begins after an older event: the state stays that of the session.
    keep_state: bool = False


def work(call: Append, settings: Settings) -> Work[Appended]:
    """The work of an append; one statement can do the usual ones."""

    def plain(bumps: Bumps) -> Plan[Appended]:
        return append(call, settings, bumps)

    drafts = call.drafts
    if not drafts or call.after is not None or settings.event_limit:
        return plain
    shared = False
    for draft in drafts:
        if draft.partial:
            return plain
        shared = shared or bool(draft.delta.user or draft.delta.app)

    def again(bumps: Bumps) -> Plan[Appended]:
        # The first time may have stored them, also under the ids that are ours.
        named = [draft._replace(named=True) for draft in drafts]
        return append(call._replace(drafts=named), settings, bumps)

    order = (call.at.part, call.at.key.id)
    return Fused(
        plain,
        lambda: _at_once(call),
        lambda rows: _appended(drafts, rows),
        again,
        order,
        alone=shared,
    )


def _at_once(call: Append) -> Statement:
    """The whole append as one statement; its values in the order of `PARAMETERS`."""
    at, drafts = call.at, call.drafts
    preview = preview_of([draft.row for draft in drafts])
    last = drafts[-1].row.timestamp
    head = (at.now, len(drafts), last, preview, at.part, at.key.id, call.expected, at.fence)
    rows = [draft.columns for draft in drafts]
    # Ids of our own are new: looking for them would cost as much as storing them.
    known = "named" if any(draft.named for draft in drafts) else "new"
    brought, state = _brought(call)
    if len(rows) == 1:
        return Statement(EVENTS.pick("append_one", known, brought), (*head, *rows[0], *state))
    columns = map(list, zip(*rows, strict=True))
    return Statement(EVENTS.pick("append_many", known, brought), (*head, *columns, *state))


def _brought(call: Append) -> tuple[str, Sequence[Any]]:
    """Which form the state has, and its values: none, one key of the session, or arrays."""
    at, drafts = call.at, call.drafts
    if len(drafts) == 1:
        own, user, app = drafts[0].delta[1:]
        if not (user or app):
            if not own:
                return "plain", ()
            if len(own) == 1:
                return "key", own[0]
    state = [
        *((at.part, True, *entry) for entry in _sorted(drafts, "session")),
        *((at.part, False, *entry) for entry in _sorted(drafts, "user")),
        *((at.app_part, False, *entry) for entry in _sorted(drafts, "app")),
    ]
    return ("keys", list(map(list, zip(*state, strict=True)))) if state else ("plain", ())


_HEAD = ("now", "added", "last_event_at", "preview", "part", "id", "expected", "fence")
_COLUMNS = ("event_id", "digest", *EventRow._fields[4:])
_STATES = {
    "plain": (),
    "key": ("state_name", "state_value", "state_codec", "state_data"),
    "keys": (
        "state_parts", "state_owns", "state_names", "state_values", "state_codecs", "state_data",
    ),
}  # fmt: skip
#: The order of the values, by how much state there is. By name they would take as long to put
#: in order as the driver takes to send them.
PARAMETERS = {brought: (*_HEAD, *_COLUMNS, *state) for brought, state in _STATES.items()}


def _sorted(drafts: Sequence[Draft], scope: str) -> list[Entry]:
    """The entries of a scope by name, so that no two statements lock them crosswise."""
    last = {entry[0]: entry for draft in drafts for entry in getattr(draft.delta, scope)}
    return [last[name] for name in sorted(last)]


def _appended(drafts: Sequence[Draft], rows: Rows) -> Appended:
    """What the one statement has stored."""
    _, version, last_seq, head = rows[0]
    placed = _placed(drafts, version, last_seq, head)
    return Appended(tuple(map(event_of, placed)), version)


def _placed(drafts: Sequence[Draft], version: int, last_seq: int, head: int) -> list[EventRow]:
    """The rows at their place: the last seq is the last one's, the head what they follow."""
    first = last_seq - len(drafts) + 1
    return [
        row_of((seq, head if seq == first else seq - 1, version, *draft.row[3:]))
        for seq, draft in enumerate(drafts, first)
    ]


def append(call: Append, settings: Settings, bumps: Bumps) -> Plan[Appended]:
    """Store the events with their state, or give those that are stored already.

    Partial events are handed back as they are; with nothing else nothing is written.
    """
    whole = [draft for draft in call.drafts if not draft.partial]
    if not whole:
        done = Appended((), (yield from get(call.at)).version)
    elif len(whole) == len(call.drafts):
        return (yield from _append(call, settings, bumps))
    else:
        done = yield from _append(call._replace(drafts=whole), settings, bumps)
    stored = iter(done.events)
    events = [
        replace(event_of(draft.row), partial=True) if draft.partial else next(stored)
        for draft in call.drafts
    ]
    return Appended(tuple(events), done.version, done.duplicate)


def _append(call: Append, settings: Settings, bumps: Bumps) -> Plan[Appended]:
    stored = yield from _stored(call)
    if stored and len(stored) == len(call.drafts):
        if call.on_duplicate == "raise":
            _check_place(call, stored)
        return (yield from _duplicate(call, stored))
    new = [draft for draft in call.drafts if draft.row.id not in stored] if stored else call.drafts
    try:
        if call.after is not None:
            yield from _start_line(call, settings, bumps)
        placed = yield from _insert(call, new, settings, bumps)
    except StaleSessionError:
        # The first try of this same call may have been what changed the session, after the look.
        stored = yield from _stored(call)
        if len(stored) < len(call.drafts):
            raise
        return (yield from _duplicate(call, stored))
    if not stored:
        return Appended(tuple(map(event_of, placed)), placed[-1].version)
    known = stored | {row.id: row for row in placed}
    events = tuple(event_of(known[draft.row.id]) for draft in call.drafts)
    return Appended(events, placed[-1].version)


def _stored(call: Append) -> Plan[dict[str, EventRow]]:
    """Those of the events that are there, by id: looked up only for ids the caller chose."""
    found: dict[str, EventRow] = {}
    for draft in call.drafts:
        if draft.named:
            at = call.at
            found_rows = yield EVENTS.stored(
                part=at.part, id=at.key.id, now=at.now, event_id=draft.row.id
            )
            if found_rows:
                digest, *columns = found_rows[0]
                _check_same(draft, digest, call.on_duplicate)
                found[draft.row.id] = EventRow._make(columns)
    if found and call.on_duplicate == "raise":
        _check_all_there(call.drafts, found)
    return found


def _check_same(draft: Draft, digest: str, on_duplicate: OnDuplicate) -> None:
    if digest != draft.digest and on_duplicate == "raise":
        raise ConflictError(
            f"event {draft.row.id!r} is stored with other content: give a new id, "
            "or pass on_duplicate='ignore' to get the stored one"
        )


def _check_place(call: Append, stored: dict[str, EventRow]) -> None:
    """What is to stand behind an older event must stand there already, to be a retry."""
    first = stored[call.drafts[0].row.id]
    if call.after is not None and first.prev not in {call.after, -1}:
        raise ConflictError(
            f"event {first.id!r} is stored already, behind event {first.prev} and not behind "
            f"{call.after}: give it a new id"
        )


def _check_all_there(drafts: Sequence[Draft], found: dict[str, EventRow]) -> None:
    missing = [draft.row.id for draft in drafts if draft.row.id not in found]
    if missing:
        message = f"events {sorted(found)} are stored already, {missing} are not: all or none"
        raise ConflictError(message)
    seqs = [found[draft.row.id].seq for draft in drafts]
    if seqs != list(range(seqs[0], seqs[0] + len(seqs))):
        raise ConflictError(f"the events are stored, but not one after the other: seqs {seqs}")


def _duplicate(call: Append, stored: dict[str, EventRow]) -> Plan[Appended]:
    row = yield from get(call.at)
    events = tuple(event_of(stored[draft.row.id]) for draft in call.drafts)
    return Appended(events, row.version, duplicate=True)


def _start_line(call: Append, settings: Settings, bumps: Bumps) -> Plan[None]:
    row = yield from claim(call.at, call.expected, bumps)
    if call.after is not None and call.after != row.head:
        limits, now = settings.limits, call.at.now
        yield from move_head(row, call.after, limits, now, keep_state=call.keep_state)


def _insert(
    call: Append, drafts: Sequence[Draft], settings: Settings, bumps: Bumps
) -> Plan[list[EventRow]]:
    at = call.at
    # A new line has taken its version, and checked the expected one, when it moved the head.
    step, expected = (1, call.expected) if call.after is None else (0, None)
    row = yield from claimed(
        SESSIONS.claim_append, at, expected, bumps,
        step=step,
        added=len(drafts),
        last_event_at=drafts[-1].row.timestamp,
        preview=preview_of([draft.row for draft in drafts]),
    )  # fmt: skip
    bumps[at.key] = bumps.get(at.key, 0) + step
    uid, version, last_seq, head, event_count = row
    placed = _placed(drafts, version, last_seq, head)
    yield from _write(at.part, uid, placed, drafts)
    yield from apply_deltas(at, uid, drafts)
    # Not at each append over a large limit: a prune looks at all that it keeps.
    too_many = settings.event_limit and event_count > settings.event_limit * 11 // 10
    if too_many and not (yield from is_held(at.part, uid)):
        cut = Cut(keep_last=settings.event_limit, branches=True, beyond_summary=True)
        yield from prune(at, cut)
        placed = yield from _reread(at.part, uid, placed)
    return placed


def _reread(part: str, uid: str, placed: Sequence[EventRow]) -> Plan[list[EventRow]]:
    """The rows with the prev they have after a prune: one of them may begin the line now."""
    reread = []
    for row in placed:
        found = yield EVENTS.prev_of(part=part, uid=uid, seq=row.seq)
        reread.append(row._replace(prev=found[0][0]) if found else row)
    return reread


def _write(part: str, uid: str, placed: Sequence[EventRow], drafts: Sequence[Draft]) -> Plan[None]:
    values = [
        (part, uid, *row[:3], *draft.columns) for row, draft in zip(placed, drafts, strict=True)
    ]
    yield EVENTS.insert.many(values)


def apply_deltas(at: Target, uid: str, drafts: Sequence[Draft]) -> Plan[None]:
    """Write the state that the events bring, each scope in its own rows."""
    if len(drafts) == 1 and not (drafts[0].delta.user or drafts[0].delta.app):
        # The usual case; a delta has each key once.
        own = drafts[0].delta.session
        if own:
            yield STATE.put.many([(at.part, uid, *entry, at.now) for entry in own])
        return
    session: list[Entry] = []
    user: list[Entry] = []
    app: list[Entry] = []
    for draft in drafts:
        session += draft.delta.session
        user += draft.delta.user
        app += draft.delta.app
    if not (session or user or app):
        return
    yield STATE.put.many(
        [
            *rows(at.part, uid, session, at.now),
            *rows(at.part, "", user, at.now),
            *rows(at.app_part, "", app, at.now),
        ]
    )


def check_on_duplicate(value: str) -> OnDuplicate:
    """The word, if it is one of the two."""
    if value not in {"raise", "ignore"}:
        raise InvalidError(f"on_duplicate is 'raise' or 'ignore', not {value!r}", "on_duplicate")
    return "raise" if value == "raise" else "ignore"
