"""What a summary covers, and what becomes of that when events are pruned, removed or copied.

A summary counts where the last event that it covers is on the active line. Once that event was
pruned, it is the event that the line begins with since then, its anchor, that must be on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from perdure.features.branches import length
from perdure.features.fulltext import document, drop, reindex, unindex
from perdure.features.line import NO_SEQ, Run, clip, holds, runs
from perdure.features.lookup import SessionRow
from perdure.operation import Plan
from perdure.parts import Place
from perdure.sql import load
from perdure.values import decode

SUMMARIES = load("perdure.features", "summaries.sql")
#: What the full-text index knows summaries as; the key of one is its filter.
KIND = "summaries"


class SummaryRow(NamedTuple):
    """A row of the table, in the order of `columns` in summaries.sql; JSON text is as stored."""

    filter_key: str
    text: str
    topics: str
    covers_seq: int
    anchor: int | None
    version: int
    updated_at: int


def counts(line: Sequence[Run], found: SummaryRow) -> bool:
    """Whether the summary tells of that line."""
    return reaches(line, found.covers_seq, found.anchor)


def reaches(line: Sequence[Run], covers_seq: int, anchor: int | None) -> bool:
    """The same, of a boundary and its anchor."""
    if not covers_seq or holds(line, covers_seq):
        return True
    if anchor is None or anchor > 0:
        return anchor is not None and holds(line, anchor)
    return not line or (line[-1].below == 0 and line[-1].low > -anchor)


def anchor_of(row: SessionRow, first: int) -> int:
    """The anchor on a line whose first kept event that is; 0 where none was kept."""
    return first or -row.last_seq


def best(row: SessionRow, filter_key: str) -> Plan[SummaryRow | None]:
    """The summary of that filter that counts, else the whole session's, else None."""
    rows = yield SUMMARIES.of_filter(part=row.part, uid=row.uid, filter_key=filter_key)
    if not rows:
        return None
    line = yield from runs(row.part, row.uid, row.head)
    found = [SummaryRow._make(columns) for columns in rows]
    found.sort(key=lambda one: one.filter_key != filter_key)
    return next((one for one in found if counts(line, one)), None)


def covered(row: SessionRow, line: Sequence[Run]) -> Plan[int]:
    """The last seq that the whole session's summary covers; no end if there is no summary."""
    rows = yield SUMMARIES.find(part=row.part, uid=row.uid, filter_key="")
    found = [one for one in map(SummaryRow._make, rows) if counts(line, one)]
    return found[0].covers_seq if found else NO_SEQ


def counting(row: SessionRow, line: Sequence[Run]) -> Plan[list[SummaryRow]]:
    """All summaries that tell of the line."""
    rows = yield SUMMARIES.every(part=row.part, uid=row.uid)
    return [one for one in map(SummaryRow._make, rows) if counts(line, one)]


def anchor(row: SessionRow, found: Sequence[SummaryRow], first: int) -> Plan[None]:
    """Keep summaries on a line whose events before ``first`` were pruned (0: all of them)."""
    for one in found:
        if one.covers_seq and (one.covers_seq < first or not first):
            yield SUMMARIES.set_anchor(
                part=row.part,
                uid=row.uid,
                filter_key=one.filter_key,
                anchor=anchor_of(row, first),
            )


def carry(
    row: SessionRow, new: SessionRow, line: Sequence[Run], taken: Sequence[Run], first: int
) -> Plan[None]:
    """Give a fork the summaries of what it took over, and the mark, by its own seqs.

    What tells of events after the last one taken stays behind.
    """
    for number, one in enumerate((yield from counting(row, line))):
        own = 0
        if one.covers_seq >= first and holds(line, one.covers_seq):
            if not holds(taken, one.covers_seq):
                continue
            own = length(clip(taken, 1, one.covers_seq), first)
        yield SUMMARIES.put(
            part=new.part,
            uid=new.uid,
            filter_key=one.filter_key,
            summary=one.text,
            topics=one.topics,
            covers_seq=own,
            anchor=None,
            now=one.updated_at,
        )
        # The id of the fork is as new as one drawn for this, and no other block begins with it.
        yield from index(new, one.filter_key, one.text, one.topics, f"{new.uid}.{number:04d}")
    hidden = length(clip(taken, 1, (yield from mark(row))), first)
    if hidden:
        yield SUMMARIES.set_mark(part=new.part, uid=new.uid, hidden_upto=hidden, now=new.updated_at)


def index(row: SessionRow, filter_key: str, text: str, topics: str, block: str) -> Plan[None]:
    """Have a search find a summary, of stored text and topics; the session is held."""
    what = f"the summary {filter_key!r} of session {row.id!r}"
    doc = document(filter_key, "\n".join([decode(text, what), *decode(topics, what)]))
    yield from reindex(Place(row.part, row.app_part), KIND, doc, block=block, uid=row.uid)


def remove(row: SessionRow, filter_key: str) -> Plan[bool]:
    """Remove the summary of that filter; whether there was one. The session is held."""
    gone = yield SUMMARIES.remove(part=row.part, uid=row.uid, filter_key=filter_key)
    if gone:
        yield from unindex(row.part, KIND, [filter_key], uid=row.uid)
    return bool(gone)


def clear(row: SessionRow) -> Plan[None]:
    """Remove all summaries of the held session."""
    yield SUMMARIES.clear(part=row.part, uid=row.uid)
    yield from drop(row.part, KIND, uid=row.uid)


def forget(part: str, uid: str, seq: int) -> Plan[None]:
    """Remove the summaries that tell of that event or later ones; the session is held."""
    gone = yield SUMMARIES.forget(part=part, uid=uid, seq=seq)
    yield from unindex(part, KIND, [filter_key for (filter_key,) in gone], uid=uid)


def mark(row: SessionRow) -> Plan[int]:
    """The last seq that is hidden from message-level reads; 0 if none is."""
    rows = yield SUMMARIES.mark(part=row.part, uid=row.uid)
    return rows[0][0] if rows else 0
