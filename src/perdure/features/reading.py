"""Reading along the active line: the last events, a range, a page, a window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from perdure.errors import InvalidError
from perdure.features.drafts import EventRow, contents_of, events_of, row_of
from perdure.features.line import EVENTS, NO_SEQ, Run, clip, runs
from perdure.features.lookup import SessionRow, Target, get
from perdure.formats import window_start
from perdure.operation import Bumps, Fused, Plan, Row, Rows, Statement, Work
from perdure.values import check_text, decode

_WINDOW_PAGE = 200
#: Longer than any text that is looked for.
_LONGEST = 2**20


class Filter(NamedTuple):
    """Which events are asked for; ``low`` and ``high`` are inclusive seqs."""

    low: int = 1
    high: int = NO_SEQ
    after_time: int | None = None
    branch: str | None = None
    run_id: str | None = None
    all_lines: bool = False


def lines(row: SessionRow, wanted: Filter) -> Plan[list[Run]]:
    """The runs of seqs to look through, newest first."""
    if wanted.all_lines:
        return clip([Run(1, row.last_seq, 0)], wanted.low, wanted.high)
    found = yield from runs(row.part, row.uid, row.head, wanted.low)
    return clip(found, wanted.low, wanted.high)


T = TypeVar("T")


class Shape(NamedTuple, Generic[T]):
    """How much of an event is read: its choice in events.sql, and the records of such rows."""

    name: str
    records: Callable[[Rows], list[T]]


WHOLE = Shape("events", events_of)
CONTENTS = Shape("contents", contents_of)


def newest(row: SessionRow, wanted: Filter, limit: int) -> Plan[list[EventRow]]:
    """The last events that pass the filter, newest first."""
    return list(map(row_of, (yield from _newest(row, wanted, limit, WHOLE.name))))


def _newest(row: SessionRow, wanted: Filter, limit: int, shape: str) -> Plan[list[Row]]:
    found: list[Row] = []
    for run in (yield from lines(row, wanted)):
        if len(found) >= limit:
            break
        found += yield from _read(row, run, wanted, "down", limit - len(found), shape)
    return found


def last(at: Target, wanted: Filter, limit: int, shape: Shape[T]) -> Work[list[T]]:
    """The work of reading the last events, oldest first.

    One statement can do it where nothing is filtered but seqs.
    """

    def work(_: Bumps) -> Plan[list[T]]:
        rows = yield from _newest((yield from get(at)), wanted, limit, shape.name)
        rows.reverse()
        return shape.records(rows)

    if wanted._replace(low=1, high=NO_SEQ) != Filter() or not limit > 0:
        return work

    def one() -> Statement:
        return EVENTS.pick("last", shape.name)(
            part=at.part,
            id=at.key.id,
            now=at.now,
            low=wanted.low,
            high=wanted.high,
            limit=limit,
        )

    return Fused(work, one, lambda rows: _found(rows, wanted.low, limit, shape), work)


def _found(rows: Rows, low: int, limit: int, shape: Shape[T]) -> list[T] | None:
    """The records of `last` in events.sql, oldest first; None if there may be more below."""
    if not rows:
        return None
    below = rows[0][-1]
    found = [] if rows[0][0] is None else shape.records(rows[::-1])
    return found if len(found) == limit or below < low else None


def oldest(row: SessionRow, wanted: Filter, limit: int) -> Plan[list[EventRow]]:
    """The first events that pass the filter, oldest first."""
    found: list[EventRow] = []
    for run in reversed((yield from lines(row, wanted))):
        if len(found) >= limit:
            break
        rows = yield from _read(row, run, wanted, "up", limit - len(found), WHOLE.name)
        found += map(row_of, rows)
    return found


def _read(
    row: SessionRow, run: Run, wanted: Filter, way: str, limit: int, shape: str
) -> Plan[Rows]:
    return (
        yield EVENTS.pick("read", way, shape)(
            part=row.part,
            uid=row.uid,
            low=run.low,
            high=run.high,
            after_time=wanted.after_time,
            branch=wanted.branch,
            run_id=wanted.run_id,
            limit=limit,
        )
    )


def count(row: SessionRow, wanted: Filter) -> Plan[int]:
    """How many events pass the filter."""
    total = 0
    for run in (yield from lines(row, wanted)):
        rows = yield EVENTS.count(
            part=row.part,
            uid=row.uid,
            low=run.low,
            high=run.high,
            after_time=wanted.after_time,
            branch=wanted.branch,
            run_id=wanted.run_id,
        )
        total += rows[0][0]
    return total


class Outline(NamedTuple):
    """What windows and prunes need to know of an event."""

    seq: int
    kind: str
    role: str
    calls: Sequence[str]
    results: Sequence[str]


def outline(row: SessionRow, high: int, limit: int) -> Plan[list[Outline]]:
    """The last events up to ``high`` on the active line, newest first."""
    found: list[Outline] = []
    for run in (yield from lines(row, Filter(high=high))):
        if len(found) >= limit:
            break
        span = {"part": row.part, "uid": row.uid, "low": run.low, "high": run.high}
        for seq, kind, role, calls, results, _ in (
            yield EVENTS.outline(**span, limit=limit - len(found))
        ):
            found.append(Outline(seq, kind, role, _ids(calls), _ids(results)))
    return found


def _ids(text: str | None) -> Sequence[str]:
    return () if text is None else decode(text, "tool call ids")


def window_low(row: SessionRow, last: int) -> Plan[int]:
    """The seq that a window of the last events starts at.

    Read in pages downwards until the start is sound: a user message, with no tool result
    above it whose call lies below.
    """
    size = last + _WINDOW_PAGE
    while True:
        items = (yield from outline(row, NO_SEQ, size))[::-1]
        at = window_start([item[1:] for item in items], last)
        if len(items) < size or (at > 0 and _all_called(items[at:])):
            return items[at].seq if items else 1
        size *= 2


def _all_called(items: Sequence[Outline]) -> bool:
    """Whether every result stands behind its call: else the call is further down."""
    called: set[str] = set()
    for item in items:
        # In order: ids may be used again, and a later call is not what is answered.
        if not called.issuperset(item.results):
            return False
        called.update(item.calls)
    return True


def wanted_text(value: str | None, name: str) -> str | None:
    """A text to look for, if any; what no store can hold is refused alike by all of them."""
    return None if value is None else check_text(value, name, _LONGEST)


def positive(value: int | None, name: str, *, least: int = 0) -> int | None:
    """The number, if it is one that makes sense."""
    if value is not None and (not isinstance(value, int) or not least <= value <= NO_SEQ):
        raise InvalidError(f"{name} must be a number, {least} or more, not {value!r}", name)
    return value
