"""Which events of a session memories were made of, and which are still to be looked at.

Seqs are noted as spans, not as one number: a line that is taken up again later may have events
below what another line had.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from perdure.errors import InvalidError, NotFoundError
from perdure.features.drafts import EventRow, event_of
from perdure.features.keeping import hold as hold_owner
from perdure.features.keeping import remembered
from perdure.features.line import EVENTS, runs
from perdure.features.lookup import Target, get, hold
from perdure.features.memory_rows import MEMORY, MemoryRow, Owner, as_memory, draft
from perdure.operation import Plan, Settings
from perdure.records import Event, MemoryInput, NewMemory, Remembered
from perdure.values import decode, encode_trusted

#: Events that an extractor is given at a time, and that are stored in one transaction.
PAGE = 200
_SPEAKERS = {"user", "assistant"}

Span = tuple[int, int]
"""From the first seq to the last, both included."""


def said(events: Sequence[Event]) -> list[NewMemory]:
    """The default extractor: what the user and the assistant said, each message by itself."""
    return [
        NewMemory(event.text, author=event.author, event_id=event.id, timestamp=event.timestamp)
        for event in events
        if event.kind == "message" and event.role in _SPEAKERS and event.text.strip()
    ]


class Batch(NamedTuple):
    """Events to make memories of, and the place they leave behind when that is done.

    ``session_version`` is that of the session as they were read, ``version`` of the spans.
    """

    uid: str
    session_version: int
    version: int
    spans: Sequence[Span]
    upto: int
    events: list[Event]


def pending(at: Target, upto: int | None) -> Plan[Batch]:
    """The oldest events of the active line, up to a seq, that were not looked at yet."""
    row = yield from get(at)
    spans, version = yield from _ingested(row.part, row.uid)
    last = row.last_seq if upto is None else upto
    line = yield from runs(row.part, row.uid, row.head)
    clipped = [(run.low, min(run.high, last)) for run in reversed(line) if run.low <= last]
    events: list[Event] = []
    for low, high in without(clipped, spans):
        found = yield from _read(row.part, row.uid, low, high, PAGE - len(events))
        events += found
        full = len(events) >= PAGE
        spans = joined([*spans, (low, found[-1].seq if full else high)])
        if full:
            break
    return Batch(row.uid, row.version, version, spans, last, events)


def _read(part: str, uid: str, low: int, high: int, limit: int) -> Plan[list[Event]]:
    rows = yield EVENTS.pick("read", "up", "events")(
        part=part, uid=uid, low=low, high=high, after_time=None, branch=None, run_id=None,
        limit=limit,
    )  # fmt: skip
    return [event_of(EventRow._make(row)) for row in rows]


def _ingested(part: str, uid: str) -> Plan[tuple[list[Span], int]]:
    rows = yield MEMORY.ingested(part=part, uid=uid)
    if not rows:
        return [], 0
    return [(low, high) for low, high in decode(rows[0][0], f"the spans of {uid}")], rows[0][1]


def store(
    at: Target, owner: Owner, batch: Batch, drafts: Sequence[MemoryRow], settings: Settings
) -> Plan[Remembered | None]:
    """Store what was made of a batch, and that it was.

    None if somebody else did meanwhile, or has redacted or removed events: look again.
    """
    row = yield from hold(at, None, {})
    if row.uid != batch.uid:
        raise NotFoundError(f"session {at.key.id!r} was deleted and made anew: start over")
    if (yield EVENTS.rewrites_after(part=row.part, uid=row.uid, version=batch.session_version)):
        return None
    place = {"part": row.part, "uid": row.uid, "spans": _text(batch.spans), "now": owner.now}
    if batch.version:
        noted = yield MEMORY.ingest_more(**place, version=batch.version)
    else:
        noted = yield MEMORY.ingest_first(**place)
    if not noted:
        return None
    if drafts:
        yield from hold_owner(owner)
    return (yield from remembered(owner, drafts, settings, len(batch.events)))


def copied(
    part: str, uid: str, new_uid: str, taken: Sequence[tuple[int, int, int]], now: int
) -> Plan[None]:
    """Note for a fork what was looked at in its origin.

    ``taken`` has the spans that it took over, each with the seq that its own begin behind.
    """
    spans, _ = yield from _ingested(part, uid)
    moved = [
        (max(low, first) - first + 1 + base, min(high, last) - first + 1 + base)
        for first, last, base in taken
        for low, high in spans
        if low <= last and high >= first
    ]
    if moved:
        text = _text(joined(moved))
        yield MEMORY.ingest_first(part=part, uid=new_uid, spans=text, now=now)


def _text(spans: Sequence[Span]) -> str:
    return encode_trusted([list(span) for span in spans])


def joined(spans: Iterable[Span]) -> list[Span]:
    """The same seqs in as few spans as possible, in order."""
    found: list[Span] = []
    for low, high in sorted(spans):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found


def without(wanted: Iterable[Span], spans: Sequence[Span]) -> list[Span]:
    """What of the wanted spans is in none of the others."""
    left = []
    for low, high in wanted:
        for start, end in joined(spans):
            if end >= low and start <= high:
                if start > low:
                    left.append((low, start - 1))
                low = end + 1  # noqa: PLW2901 - what is left of it
        if low <= high:
            left.append((low, high))
    return left


def drafts_of(
    entries: Any, session: str, identity: str, settings: Settings, owner: Owner
) -> list[MemoryRow]:
    """What an extractor, or a caller, gave as rows; `InvalidError` if it is no list of memories."""
    if entries is None:
        return []
    if isinstance(entries, str | dict) or not isinstance(entries, Iterable):
        message = f"memories are a list of texts, mappings or NewMemory, not {entries!r}"
        raise InvalidError(message, "entries")
    drafts = [draft(_of_session(entry, session), identity, settings, owner) for entry in entries]
    if identity == "source":
        _refuse_twice(drafts)
    return drafts


def _of_session(entry: MemoryInput, session: str) -> NewMemory:
    given = as_memory(entry)
    if given.session or not session:
        return given
    fields = {name: getattr(given, name) for name in NewMemory.__slots__}
    return NewMemory(**{**fields, "session": session})


def _refuse_twice(drafts: Sequence[MemoryRow]) -> None:
    seen: set[str] = set()
    for row in drafts:
        if row.digest in seen:
            message = (
                f"two memories are of event {row.event_id!r}: with identity='source' an event "
                "has one, identity='content' keeps both"
            )
            raise InvalidError(message, "entries")
        seen.add(row.digest)
