"""What the message-level views share: the last messages of a line, and messages as events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.errors import InvalidError
from perdure.features.drafts import EventRow
from perdure.features.line import NO_SEQ
from perdure.features.lookup import SessionRow
from perdure.features.pruning import with_calls
from perdure.features.reading import Filter, newest, oldest
from perdure.operation import Plan
from perdure.records import JSON, NewEvent


def as_event(message: Mapping[str, JSON], event_id: str | None = None) -> NewEvent:
    """The event of an OpenAI chat message, every field of it kept."""
    if not isinstance(message, Mapping):
        raise InvalidError(f"a message is a mapping with a role, not {message!r}", "message")
    role = message.get("role")
    if not isinstance(role, str) or not role:
        raise InvalidError(f"a message needs a role, such as 'user', not {role!r}", "role")
    return NewEvent(dict(message), id=event_id, format="openai.chat")


def said(row: EventRow) -> bool:
    """Whether the event is a message: a change of state, or an error alone, is none."""
    return row.content is not None


def last_said(row: SessionRow, wanted: Filter, limit: int) -> Plan[list[EventRow]]:
    """The last messages, that many or as there are, oldest first."""
    size = limit
    while True:
        rows = yield from newest(row, wanted, size)
        found = [one for one in rows if said(one)][:limit]
        if len(found) == limit or len(rows) < size:
            return found[::-1]
        size *= 2


def first_of_last(row: SessionRow, wanted: Filter, limit: int) -> Plan[int | None]:
    """The seq from which on there are that many messages; None if there are fewer.

    Lower, where a tool result among them answers a call before them.
    """
    if limit <= 0:
        high = row.head if wanted.high == NO_SEQ else min(wanted.high, row.head)
        return (yield from with_calls(row, high + 1))
    found = yield from last_said(row, wanted, limit)
    return (yield from with_calls(row, found[0].seq)) if len(found) == limit else None


def spoken(row: SessionRow, low: int) -> Plan[list[EventRow]]:
    """The messages from that seq on, oldest first."""
    rows = yield from oldest(row, Filter(low=low), NO_SEQ)
    return [one for one in rows if said(one)]


def owner(user: Any) -> str:
    """A user as text; numbers are written as their digits."""
    if isinstance(user, int) and not isinstance(user, bool):
        return str(user)
    if not isinstance(user, str):
        raise InvalidError(f"a user is a text or a number, not {user!r}", "user")
    return user
