"""A conversation beside what the store has of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from typing import Any

from perdure.errors import ConflictError, InvalidError, NotFoundError
from perdure.importers.conversation import Conversation, Message
from perdure.records import Event, SessionKey
from perdure.values import canonical, encode_trusted

Call = Callable[[Any], Any]
"""A call on the store, whose result is sent back."""

_SAID = frozenset({"message", "tool_call", "tool_result"})
#: No session ever has this version: an append that expects it stores nothing new.
NEVER = 2**62


class Comparison:
    """A conversation beside the events of the session of its id.

    ``others`` are the ids of events that came from it and are not in it any more, ``last`` is a
    position up to which everything was stored once.
    """

    def __init__(
        self,
        one: Conversation,
        events: Sequence[Event],
        others: Collection[str] = (),
        last: int = 0,
    ) -> None:
        stored = {event.id: event for event in events}
        found = [(message, stored.get(one.event_id(message))) for message in one.messages]
        places = [place for place, (_, event) in enumerate(found) if event is not None]
        was = sum(message.position <= last for message in one.messages)
        end = max(places[-1] + 1 if places else 0, was)
        self.conversation = one
        self.known = [(m, event) for m, event in found if event is not None]
        self.removed = end - len(self.known)
        self.new = [message for message, _ in found[end:]]
        self.differing = [m for m, event in self.known if not equal(m, event)]
        ours = {event.id for _, event in self.known}.union(others)
        last = max((event.seq for event in events if event.id in ours), default=0)
        #: Whether somebody has talked on here since.
        self.continued = any(
            event.seq > last and event.kind in _SAID and event.id not in ours for event in events
        )


def equal(message: Message, event: Event) -> bool:
    """Whether the event is that message still."""
    if message.timed and message.timestamp != event.timestamp:
        return False
    given, stored = message.content, event.content
    if given != stored:
        return False
    # Not by == alone: to Python, true is 1.
    return encode_trusted(given) == encode_trusted(stored) or canonical(given) == canonical(stored)


def as_given(key: SessionKey, one: Conversation, message: Message) -> Generator[Call, Any, bool]:
    """Whether the event was stored from this very message, and redacted since.

    The store knows by its digest; with a version that no session has it stores nothing.
    """
    event = one.event(message)
    try:
        yield lambda store: store.events.append(key, event, expected_version=NEVER)
    except (ConflictError, InvalidError, NotFoundError):
        return False
    return True
