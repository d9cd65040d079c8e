"""Following a session as others write to it, from any process."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from perdure.errors import NotFoundError
from perdure.features.drafts import EventRow, event_of
from perdure.features.line import EVENTS
from perdure.features.lookup import Target, get
from perdure.operation import Emit, Operation, Plan, Sleep, Stream, run
from perdure.records import Event, Rewritten

_PAGE = 500
_SHORTEST = 0.01
_LONGEST = 0.2


class Place(NamedTuple):
    """How far a reader has come: the incarnation, the last seq and version it was given."""

    uid: str
    seq: int
    version: int


class News(NamedTuple):
    """What there is beyond a place, in the order it happened, and the place after it."""

    items: list[Event | Rewritten]
    place: Place
    more: bool


def begin(at: Target, after_seq: int | None) -> Plan[Place]:
    """The place to start from: behind ``after_seq``, or behind what is there now."""
    row = yield from get(at)
    seq = row.last_seq if after_seq is None else after_seq
    return Place(row.uid, seq, row.version)


def look(at: Target, place: Place) -> Plan[News]:
    """What happened since: new events of all lines, and changes of history, by version."""
    row = yield from get(at)
    if row.uid != place.uid:
        raise NotFoundError(f"session {at.key.id!r} was deleted and made anew: start over")
    found = yield EVENTS.tail(part=row.part, uid=row.uid, after=place.seq, limit=_PAGE)
    events = [event_of(EventRow._make(columns)) for columns in found]
    full = len(events) == _PAGE
    upto = events[-1].version if full else row.version
    changed = yield EVENTS.rewrites_after(part=row.part, uid=row.uid, version=place.version)
    items: list[Event | Rewritten] = [
        *events,
        *(Rewritten(seq, version) for version, seq in changed if version <= upto),
    ]
    # Of one version the change of history comes before the events that follow from it.
    items.sort(key=lambda item: (item.version, isinstance(item, Event), _seq(item)))
    seq = events[-1].seq if events else place.seq
    return News(items, Place(row.uid, seq, max(upto, place.version)), full)


def _seq(item: Event | Rewritten) -> int:
    return item.seq if isinstance(item, Event) else item.from_seq


def follow(
    about: tuple[str, str], start: Operation[Place], look_on: Callable[[Place], Operation[News]]
) -> Stream[Event | Rewritten]:
    """Look, hand on what is new, wait: at most a fifth of a second, less while things happen."""
    place = yield from run(start)
    pause = _SHORTEST
    while True:
        news = yield from run(look_on(place))
        for item in news.items:
            yield Emit(item)
        place = news.place
        pause = _SHORTEST if news.items else min(pause * 2, _LONGEST)
        if not news.more:
            yield Sleep(pause, about)
