"""Moving the head of a session: rewind, pop, switch, a line that starts at an older event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure.errors import NotFoundError
from perdure.features.changes import changes, fold, log, restore, same
from perdure.features.drafts import PREVIEW_CHARACTERS, shown_text
from perdure.features.line import EVENTS, NO_SEQ, Run, clip, first_of, holds, runs
from perdure.features.lookup import SESSIONS, SessionRow
from perdure.features.scopes import STATE, Value
from perdure.operation import Plan, Rows
from perdure.records import DELETE
from perdure.values import Limits

State = dict[str, Value]


def branch_name(head: int) -> str:
    """What a left tip is called."""
    return f"line-{head}"


def meet(old: Sequence[Run], new: Sequence[Run]) -> int:
    """The highest seq that both lines hold; 0 if they share nothing."""
    common = 0
    for a in old:
        for b in new:
            low, high = max(a.low, b.low), min(a.high, b.high)
            if low <= high:
                common = max(common, high)
    return common


def length(line: Sequence[Run], first: int) -> int:
    """How many events the line has, if ``first`` is its first stored one."""
    return sum(run.high - max(run.low, first) + 1 for run in line if run.high >= first)


def move_head(
    row: SessionRow, seq: int, limits: Limits, now: int, *, keep_state: bool = False
) -> Plan[SessionRow]:
    """Make ``seq`` the end of the active line, with the session state it had there.

    Or, to ``keep_state``, with that which the session has. The row is claimed. What was left stays
    reachable under a name; nothing is deleted.
    """
    old = yield from runs(row.part, row.uid, row.head)
    new = yield from _line_to(row, seq, old)
    if not new:
        yield from _keep_beginning(row, old, now)
    if (yield from _state_differs(row, old, new)):
        before = fold((yield from changes(row.part, row.uid, old)))
        after = fold((yield from changes(row.part, row.uid, new)))
        if keep_state:
            yield from _note_state(row, seq, before, after, now)
        else:
            yield from _restore_state(row, before, after, limits, now)
    yield from _keep_tips(row, new, now)
    common = meet(old, new)
    yield EVENTS.add_rewrite(part=row.part, uid=row.uid, version=row.version, from_seq=common + 1)
    first, _ = yield from first_of(row.part, row.uid, new)
    return (yield from settle(row, new, seq, length(new, first) if first else 0))


def _keep_beginning(row: SessionRow, old: Sequence[Run], now: int) -> Plan[None]:
    """What stood before the first kept event is the beginning, where there is no other one."""
    first, prev = yield from first_of(row.part, row.uid, old)
    rooted = (yield EVENTS.followers(part=row.part, uid=row.uid, seq=0)) or (
        yield STATE.logged(part=row.part, uid=row.uid, low=0, high=0)
    )
    if prev and not rooted:
        found = yield from changes(row.part, row.uid, old)
        state = fold(change for change in found if change[:2] < (first, 1))
        yield from log(row.part, row.uid, 0, row.version, state, now)


def _line_to(row: SessionRow, seq: int, old: Sequence[Run]) -> Plan[list[Run]]:
    if seq != 0:
        found = yield STATE.event_version(part=row.part, uid=row.uid, seq=seq)
        if not found:
            raise NotFoundError(f"session {row.id!r} has no event with seq {seq}")
    if holds(old, seq):
        return [run for run in clip(old, 1, seq) if run.high > 0]
    return (yield from runs(row.part, row.uid, seq))


def settle(row: SessionRow, line: Sequence[Run], head: int, count: int) -> Plan[SessionRow]:
    """Write the head, the count and what the list shows of the last events."""
    preview = yield from _last_words(row, line)
    last = yield EVENTS.timestamp_at(part=row.part, uid=row.uid, seq=head)
    changed: dict[str, Any] = {
        "head": head,
        "event_count": count,
        "preview": preview,
        "last_event_at": last[0][0] if last else None,
    }
    yield SESSIONS.move_head(part=row.part, uid=row.uid, **changed)
    return row._replace(left_head=head, **changed)


def _last_words(row: SessionRow, line: Sequence[Run]) -> Plan[str]:
    """The beginning of the last message's text; "" if there is none."""
    for run in line:
        high = run.high
        found = yield EVENTS.last_message(part=row.part, uid=row.uid, low=run.low, high=high)
        while found:
            [(seq, text, within)] = found
            if words := shown_text(text, within):
                return words[:PREVIEW_CHARACTERS]
            # A message without words, such as a picture.
            found = yield EVENTS.last_message(part=row.part, uid=row.uid, low=run.low, high=seq - 1)
    return ""


def _restore_state(
    row: SessionRow, before: State, after: State, limits: Limits, now: int
) -> Plan[None]:
    touched = [key for key in {**before, **after} if key not in after or key not in before]
    touched += [key for key in before if key in after and not same(before[key], after[key])]
    yield from restore(row.part, row.uid, after, touched, limits, now)


def _note_state(row: SessionRow, seq: int, before: State, after: State, now: int) -> Plan[None]:
    """Note at the new end what the session has: whole, as it may take the place of another note."""
    gone = {key: DELETE for key in after if key not in before}
    yield from log(row.part, row.uid, seq, row.version, {**before, **gone}, now)


def _state_differs(row: SessionRow, old: Sequence[Run], new: Sequence[Run]) -> Plan[bool]:
    """Whether any change of state stands where the lines differ; most rewinds pass none."""
    common = meet(old, new)
    apart = [*clip(old, common + 1, NO_SEQ), *clip(new, common + 1, NO_SEQ)]
    for run in [*apart, Run(common, common, 0)]:
        span = {"part": row.part, "uid": row.uid, "low": run.low, "high": run.high}
        if run.low > common and (yield STATE.brought(**span)):
            return True
        if (yield STATE.logged(**span)):
            return True
    return False


def _keep_tips(row: SessionRow, new: Sequence[Run], now: int) -> Plan[None]:
    """Name the tip that is left, unless another line reaches it: then it is no tip."""
    refs = yield EVENTS.refs(part=row.part, uid=row.uid)
    if row.head and not holds(new, row.head) and not (yield from _reached(row, refs)):
        yield EVENTS.add_ref(
            part=row.part, uid=row.uid, name=branch_name(row.head), head=row.head, now=now
        )
    for name, head, _ in refs:
        if holds(new, head):
            yield EVENTS.drop_ref(part=row.part, uid=row.uid, name=name)


def _reached(row: SessionRow, refs: Rows) -> Plan[bool]:
    """Whether a line that was left goes through the head; looked up only where some line does."""
    if not (yield EVENTS.followers(part=row.part, uid=row.uid, seq=row.head)):
        return False
    for _, head, _ in refs:
        if holds((yield from runs(row.part, row.uid, head, row.head)), row.head):
            return True
    return False
