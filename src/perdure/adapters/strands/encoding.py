"""Messages and records of strands-agents as JSON that a store takes, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from strands.types.session import SessionMessage, decode_bytes_values, encode_bytes_values

from perdure.errors import InvalidError
from perdure.formats import convert
from perdure.formats.strands import NAME
from perdure.records import Event, NewEvent, Opaque

T = TypeVar("T")

#: Where an event says whose it is, in its ``extra``.
AGENT = "strands_agent"
_TOLD = "strands_times"
_NUMBER = "__number__"


def stored(put: Callable[[Any], T], value: Any) -> T:
    """What ``put`` makes of the value as JSON.

    Strands writes with Python's ``json``, which takes NaN, tuples and keys that are numbers; what
    the store refuses is tamed and given once more. So is what only looks tame.
    """
    encoded = encode_bytes_values(value)
    if _looks_tame(encoded):
        return put(_tame(encoded))
    try:
        return put(encoded)
    except InvalidError:
        tame = _tame(encoded)
        if tame == encoded:
            raise
    return put(tame)


def _tame(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {_NUMBER: repr(value)}
    if isinstance(value, dict):
        tame = {_key(key): _tame(inner) for key, inner in value.items()}
        # Somebody else's: what stands in a list is no number of ours.
        return {_NUMBER: [tame[_NUMBER]]} if tame.keys() == {_NUMBER} else tame
    if isinstance(value, list | tuple):
        return [_tame(inner) for inner in value]
    return value


def _looks_tame(value: Any) -> bool:
    if isinstance(value, dict):
        return value.keys() == {_NUMBER} or any(map(_looks_tame, value.values()))
    return isinstance(value, list | tuple) and any(map(_looks_tame, value))


def _key(key: Any) -> Any:
    # As `json.dumps` spells them: true, null, 1, 1.5.
    return json.dumps(key) if isinstance(key, int | float | None) else key


def found(value: Any) -> Any:
    """What was stored, its bytes and numbers as they were."""
    return decode_bytes_values(_wild(value))


def _wild(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_NUMBER}:
            told = value[_NUMBER]
            return {_NUMBER: _wild(told[0])} if isinstance(told, list) else float(told)
        return {key: _wild(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_wild(inner) for inner in value]
    return value


# -- messages as events ----------------------------------------------------------------------


def event_id(agent_id: str, number: int) -> str:
    """The id of the event that is a message of an agent."""
    return f"{agent_id}/{number}"


def number_of(event: Event, agent_id: str) -> int | None:
    """The message's number, if it is one of the agent's."""
    if (event.extra or {}).get(AGENT) != agent_id:
        return None
    number = event.id.rpartition("/")[2]
    return int(number) if number.isdecimal() else None


def event_of(agent_id: str, message: SessionMessage, content: Any) -> NewEvent:
    """The message as an event; its times come back as they were given."""
    happened = _moment(message.created_at)
    told = [message.created_at, message.updated_at]
    return NewEvent(
        content,
        id=event_id(agent_id, message.message_id),
        author=agent_id if message.message.get("role") == "assistant" else "",
        format=NAME,
        timestamp=happened,
        extra={AGENT: agent_id, _TOLD: told},
    )


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def messages_of(events: Sequence[Event], agent_id: str) -> list[tuple[SessionMessage, str]]:
    """What the agent sees of a session, each message with the id of its event.

    Its own messages, and those that other frameworks have written, as strands spells them. What
    other agents of strands said in the session is theirs.
    """
    seen: list[tuple[SessionMessage, str]] = []
    foreign: list[Event] = []
    for event in events:
        number = number_of(event, agent_id)
        if number is not None and event.format == NAME:
            _add_foreign(seen, foreign)
            seen.append((_own(event, number), event.id))
        elif number is not None or AGENT not in (event.extra or {}):
            foreign.append(event)
    _add_foreign(seen, foreign)
    return seen


def _own(event: Event, number: int) -> SessionMessage:
    created, updated = (event.extra or {}).get(_TOLD) or [_text(event)] * 2
    return SessionMessage(
        message=found(event.content), message_id=number, created_at=created, updated_at=updated
    )


def _add_foreign(seen: list[tuple[SessionMessage, str]], events: list[Event]) -> None:
    said = [one for one in events if not isinstance(one.content, Opaque | None)]
    items = [(one.format, one.content, one.author) for one in said]
    written, _ = convert(items, NAME)
    for message in written:
        number = seen[-1][0].message_id + 1 if seen else 0
        told = _text(said[-1])
        one = SessionMessage(found(message), number, created_at=told, updated_at=told)
        seen.append((one, said[-1].id))
    events.clear()


def _text(event: Event) -> str:
    return event.timestamp.isoformat()


def as_now(message: SessionMessage, changed: dict[str, Any]) -> SessionMessage:
    """The message as its agent has changed it since, if it has."""
    newer = changed.get(str(message.message_id))
    return message if newer is None else replace(message, message=newer)
