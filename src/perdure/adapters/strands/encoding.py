"""Messages and records of strands-agents as JSON that a store takes, and back."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

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


class Seen(NamedTuple):
    """A message that an agent sees, and where it stands: its event, or those it was made from."""

    message: SessionMessage
    events: Sequence[Event]
    #: Which one it is of the messages that were made from these events; None: it is the event.
    place: int | None = None


def messages_of(events: Sequence[Event], agent_id: str) -> list[Seen]:
    """What the agent sees of a session.

    Its own messages, and those that other frameworks have written, as strands spells them. What
    other agents of strands said in the session is theirs.
    """
    seen: list[Seen] = []
    foreign: list[Event] = []
    for event in events:
        number = number_of(event, agent_id)
        if number is not None and event.format == NAME:
            _add_foreign(seen, foreign)
            seen.append(Seen(_own(event, number), [event]))
        elif number is not None or AGENT not in (event.extra or {}):
            foreign.append(event)
    _add_foreign(seen, foreign)
    return seen


def _own(event: Event, number: int) -> SessionMessage:
    created, updated = (event.extra or {}).get(_TOLD) or [_time(event)] * 2
    return SessionMessage(
        message=found(event.content), message_id=number, created_at=created, updated_at=updated
    )


def _add_foreign(seen: list[Seen], events: list[Event]) -> None:
    said = [one for one in events if not isinstance(one.content, Opaque | None)]
    written, _ = convert([_item(event) for event in said], NAME)
    for place, message in enumerate(written):
        number = seen[-1].message.message_id + 1 if seen else 0
        told = _time(said[-1])
        one = SessionMessage(found(message), number, created_at=told, updated_at=told)
        seen.append(Seen(one, said, place))
    events.clear()


def _item(event: Event) -> tuple[str, Any, str]:
    return event.format, event.content, event.author


def makers(seen: Seen) -> list[str]:
    """The ids of the events that a message was made from: neighbours of one role are one."""
    if seen.place is None:
        return [event.id for event in seen.events]
    made: list[list[str]] = []
    last: str | None = None
    for event in seen.events:
        own = event.format == NAME
        for message in convert([_item(event)], NAME)[0]:
            if own or message["role"] != last:
                made.append([])
            made[-1].append(event.id)
            last = None if own else str(message["role"])
    return list(dict.fromkeys(made[seen.place]))


def _time(event: Event) -> str:
    return event.timestamp.isoformat()


# -- messages that their agent has changed ---------------------------------------------------


class Change(NamedTuple):
    """What an agent has made of a message of its own memory: cut it short, marked it.

    ``whole`` is the text of what it was made from: if the message says something else by now, it
    was redacted, and what was made from it must not bring it back.
    """

    number: int
    message: Any
    whole: str


class Changed(SessionMessage):  # type: ignore[misc, unused-ignore]
    """A message as its agent has changed it; ``whole`` is what it says in the store."""

    whole: Any


def text_of(message: Any) -> str:
    """All of a message as one text, to compare it by."""
    return json.dumps(encode_bytes_values(message), sort_keys=True, default=str)


def digest_of(text: str) -> str:
    """What stands for such a text in the session's state."""
    return hashlib.sha256(text.encode()).hexdigest()


def as_now(message: SessionMessage, changed: Mapping[str, Any]) -> SessionMessage:
    """The message as its agent has changed it since, if it has, and the message is still that."""
    told = changed.get(str(message.message_id))
    whole = message.to_message()
    if told is None or told["of"] != digest_of(text_of(whole)):
        return message
    times = message.created_at, message.updated_at
    newer = Changed(told["message"], message.message_id, None, *times)
    newer.whole = whole
    return newer
