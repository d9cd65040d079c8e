"""The end of a conversation: taken off, or replaced, while others may write to it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from perdure.adapters.openai_agents.items import FORMAT, items_of, written
from perdure.errors import ConflictError, NotFoundError, StaleSessionError
from perdure.records import JSON, Event, NewEvent, SessionKey
from perdure.store import Store

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The last items, as the SDK's compaction asks for them.

    ``complete``: they are all there are. ``replace_suffix`` puts others in the place of those
    from one on, if nobody has written since; whether it did.
    """

    items: list[JSON]
    complete: bool
    replace_suffix: Callable[[int, list[JSON]], Coroutine[Any, Any, bool]]


Prune = Callable[[JSON], bool]
"""Whether an item from before the end may go."""


async def popped(store: Store, key: SessionKey) -> JSON:
    """The newest item, taken off in the transaction that finds it; None if there is none."""
    try:
        return await _popped(store, key)
    except NotFoundError:
        return None


async def _popped(store: Store, key: SessionKey) -> JSON:
    try:
        taken = await store.events.pop(key, format=FORMAT)
    except ConflictError:
        return await _popped_of_others(store, key)
    if not taken:
        return None
    items = items_of(taken[0])
    # Of an event that is nothing to the SDK only its place is gone.
    return items[0] if items else await _popped(store, key)


async def _popped_of_others(store: Store, key: SessionKey) -> JSON:
    """The same where another framework spoke last: one event of it may be several items."""
    window = 1
    while True:
        session = await store.sessions.find(key)
        if session is None:
            return None
        events = await store.events.read(key, recent=window)
        place = next((n for n in reversed(range(len(events))) if items_of(events[n])), None)
        if place is None and len(events) == window:
            window *= 2
            continue
        if place is None:
            return None
        *rest, item = items_of(events[place])
        at = Place(_before(events[place]), rest)
        # What an event has done to the state stays with what stays of it.
        change = Change(store, key, at, session.version, 0, keep_state=bool(rest))
        try:
            await written(rest, {}, change.made)
        except StaleSessionError:
            continue
        return item


class Place(NamedTuple):
    """Where an end begins: behind an event, and behind items of the next one that stay."""

    after_seq: int
    kept: Sequence[JSON]


def _before(event: Event) -> int:
    """The seq before an event: 0 too, if what stood there was pruned."""
    return max(event.prev, 0)


# -- compaction ------------------------------------------------------------------------------


async def snapshot(store: Store, key: SessionKey, limit: int, prune: Prune | None) -> Snapshot:
    """The last ``limit`` items, and a way to replace some."""
    try:
        events = await store.events.read(key, recent=limit + 1)
    except NotFoundError:
        events = []
    found = [(event, item) for event in events for item in items_of(event)]
    seen = found[max(0, len(found) - limit) :]
    # Of one that is cut in two the first part is not seen either.
    complete = len(events) <= limit and len(seen) == len(found)

    async def replace_suffix(start: int, output: list[JSON]) -> bool:
        expected = seen[start:]
        if not expected:
            return False
        first = expected[0][0]
        own = [item for event, item in found if event is first]
        kept = own[: len(own) - sum(event is first for event, _ in expected)]
        tail = [event for event in events if event.seq >= first.seq]
        end = End(Place(_before(first), kept), [event.id for event in tail], first.seq)
        return await _ended(store, key, end, output, prune)

    return Snapshot([item for _, item in seen], complete, replace_suffix)


class End(NamedTuple):
    """The events that are to be replaced, as they were seen."""

    at: Place
    ids: list[str]
    first_seq: int


async def _ended(
    store: Store, key: SessionKey, end: End, output: list[JSON], prune: Prune | None
) -> bool:
    """Whether that end was there still, and is replaced, with what may go before it."""
    while True:
        session = await store.sessions.find(key)
        if session is None:
            return False
        events = await store.events.read(key, recent=len(end.ids))
        if [event.id for event in events] != end.ids:
            return False
        kept_seq = await _first_kept(store, key, end.first_seq, prune)
        change = Change(store, key, end.at, session.version, kept_seq, keep_state=True)
        try:
            await written([*end.at.kept, *output], {}, change.made)
        except StaleSessionError:
            # A title, say, or another's write: the next look at the end tells.
            continue
        return True


class Change(NamedTuple):
    """Another end at a place of a session as it was at that version; its beginning may go."""

    store: Store
    key: SessionKey
    at: Place
    version: int
    kept_seq: int
    keep_state: bool

    async def made(self, new: list[NewEvent]) -> None:
        """Make it, in one transaction; `StaleSessionError` if the session has changed."""
        key, version = self.key, self.version
        async with self.store.turn() as turn:
            turn.events.replace_suffix(
                key, self.at.after_seq, new, keep_state=self.keep_state, expected_version=version
            )
            if self.kept_seq > 1:
                turn.events.prune(key, before_seq=self.kept_seq, beyond_summary=True)


async def _first_kept(store: Store, key: SessionKey, end: int, prune: Prune | None) -> int:
    """The first seq that stays: before it, from the beginning on, is only what may go."""
    if prune is None:
        return 1
    kept = 1
    cursor = None
    while True:
        page = await store.events.list(key, before_seq=end, cursor=cursor, limit=_PAGE)
        for event in page.items:
            items = items_of(event)
            if not items or not all(prune(item) for item in items):
                return kept
            kept = event.seq + 1
        cursor = page.next_cursor
        if cursor is None:
            return kept


__all__ = ["Snapshot", "popped", "snapshot"]
