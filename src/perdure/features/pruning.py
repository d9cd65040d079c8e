"""Dropping old events on purpose, never splitting a tool call from its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from perdure.features.branches import length, meet, settle
from perdure.features.changes import changes, fold, log
from perdure.features.coverage import anchor, counting, covered
from perdure.features.holds import refuse_if_held
from perdure.features.indexing import forget
from perdure.features.line import EVENTS, NO_SEQ, Run, clip, first_of, holds, runs
from perdure.features.lookup import SessionRow, Target, hold
from perdure.features.reading import outline
from perdure.features.scopes import STATE, Value
from perdure.operation import Plan
from perdure.records import DELETE

_PAGE = 200


class Cut(NamedTuple):
    """What to keep: the last events, those from a seq, or those from a time, in microseconds.

    And what the summary of the whole session does not cover, unless ``beyond_summary``.
    """

    keep_last: int | None = None
    before_seq: int | None = None
    before_time: int | None = None
    branches: bool = False
    beyond_summary: bool = False


class _Line(NamedTuple):
    """A line as it is, and the part of it that stays."""

    whole: list[Run]
    kept: list[Run]


def prune(at: Target, cut: Cut) -> Plan[int]:
    """Delete what lies before the cut on the active line, and what no line reaches any more.

    The session keeps its version: nobody who appends has to read again. Returns how many
    events were deleted.
    """
    row = yield from hold(at, None, {})
    yield from refuse_if_held(row.part, row.uid, f"prune session {row.id!r}")
    if cut.branches:
        yield EVENTS.drop_refs(part=row.part, uid=row.uid)
    active = yield from runs(row.part, row.uid, row.head)
    first = yield from _first_kept(row, cut, active)
    lines = yield from _kept_lines(row, active, first)
    gaps = complement([run for line in lines for run in line.kept], row.last_seq)
    removed = yield from _count(row, gaps)
    if removed:
        told = yield from counting(row, active)
        yield from _remove(row, lines, gaps, at.now)
        first, _ = yield from first_of(row.part, row.uid, lines[0].kept)
        yield from anchor(row, told, first)
    return removed


def _first_kept(row: SessionRow, cut: Cut, active: Sequence[Run]) -> Plan[int]:
    """The lowest seq to keep on the active line, so low that no result loses its call."""
    wanted = NO_SEQ
    if cut.keep_last is not None:
        newest = yield from outline(row, NO_SEQ, cut.keep_last)
        wanted = newest[-1].seq if newest else NO_SEQ
    if cut.before_seq is not None:
        wanted = min(wanted, cut.before_seq)
    if cut.before_time is not None:
        wanted = min(wanted, (yield from _first_since(row, active, cut.before_time)))
    if not cut.beyond_summary:
        wanted = min(wanted, (yield from covered(row, active)) + 1)
    return (yield from with_calls(row, wanted))


def _first_since(row: SessionRow, active: Sequence[Run], since: int) -> Plan[int]:
    lowest = NO_SEQ
    for run in active:
        rows = yield EVENTS.first_since(
            part=row.part, uid=row.uid, low=run.low, high=run.high, since=since
        )
        lowest = min(lowest, rows[0][0] if rows[0][0] is not None else NO_SEQ)
    return lowest


def with_calls(row: SessionRow, wanted: int) -> Plan[int]:
    """Go down from the wanted cut to the calls that the kept results answer."""
    open_results: set[str] = set()
    passed: set[str] = set()
    first, high = wanted, NO_SEQ
    # Mostly no call is missing: then this is all there is to look at.
    size = min(max(row.head - wanted, 0) + 2, _PAGE)
    while page := (yield from outline(row, high, size)):
        size = _PAGE
        for item in page:
            if item.seq < wanted and not open_results:
                return first
            passed.update(item.results)
            if item.seq >= wanted or open_results.intersection(item.calls):
                first = min(first, item.seq)
                open_results |= passed
                passed = set()
            open_results.difference_update(item.calls)
            passed.difference_update(item.calls)
        high = page[-1].seq - 1
    return first


def _kept_lines(row: SessionRow, active: Sequence[Run], first: int) -> Plan[list[_Line]]:
    """The active line from its first kept seq, then of each branch what is not below that."""
    below = clip(active, 1, first - 1)
    lines = [_Line(list(active), clip(active, first, NO_SEQ))]
    for name, head, _ in (yield EVENTS.refs(part=row.part, uid=row.uid)):
        if holds(below, head):
            yield EVENTS.drop_ref(part=row.part, uid=row.uid, name=name)
        else:
            line = yield from runs(row.part, row.uid, head)
            lines.append(_Line(line, clip(line, meet(line, below) + 1, NO_SEQ)))
    return lines


def complement(kept: Sequence[Run], last_seq: int) -> list[tuple[int, int]]:
    """The ranges from 1 to the last seq that no run holds."""
    gaps: list[tuple[int, int]] = []
    low = 1
    for run in sorted(kept):
        if run.low > low:
            gaps.append((low, run.low - 1))
        low = max(low, run.high + 1)
    if low <= last_seq:
        gaps.append((low, last_seq))
    return gaps


def _count(row: SessionRow, gaps: Sequence[tuple[int, int]]) -> Plan[int]:
    total = 0
    for low, high in gaps:
        rows = yield EVENTS.count(
            part=row.part,
            uid=row.uid,
            low=low,
            high=high,
            after_time=None,
            branch=None,
            run_id=None,
        )
        total += rows[0][0]
    return total


def _remove(
    row: SessionRow, lines: Sequence[_Line], gaps: Sequence[tuple[int, int]], now: int
) -> Plan[None]:
    bases = yield from _bases(row, lines)
    for low, high in gaps:
        span = {"part": row.part, "uid": row.uid, "low": low, "high": high}
        yield EVENTS.drop_notes_in(**span)
        yield EVENTS.remove_run(**span)
        yield from forget(row.part, row.uid, low, high)
        yield STATE.unlog(**span)
    if not (yield EVENTS.followers(part=row.part, uid=row.uid, seq=0)):
        yield STATE.unlog(part=row.part, uid=row.uid, low=0, high=0)
    for seq, version, state in bases:
        yield from log(row.part, row.uid, seq, version, state, now)
        if seq:
            yield EVENTS.cut_off(part=row.part, uid=row.uid, seq=seq)
    active = lines[0].kept
    first, _ = yield from first_of(row.part, row.uid, active)
    yield from settle(row, active, row.head if first else 0, length(active, first))


def _bases(
    row: SessionRow, lines: Sequence[_Line]
) -> Plan[list[tuple[int, int, dict[str, Value]]]]:
    """What stood before the first kept event of each line: (seq, version, state) to note."""
    bases: list[tuple[int, int, dict[str, Value]]] = []
    root = fold((yield from changes(row.part, row.uid, [])))
    for line in lines:
        found = yield from changes(row.part, row.uid, line.whole)
        first, prev = yield from first_of(row.part, row.uid, line.kept)
        if not first:
            state = fold(found)
            # What other lines begin with stays noted there: take away what this one has not.
            gone: dict[str, Value] = dict.fromkeys(root.keys() - state.keys(), DELETE)
            bases.append((0, row.version, gone | state))
        elif prev:
            before = [change for change in found if change[:2] < (first, 1)]
            bases.append((first, 0, fold(before)))
    return bases
