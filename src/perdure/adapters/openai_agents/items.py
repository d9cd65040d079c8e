"""Items of the SDK as events of perdure, and events of whatever format as items."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from perdure.errors import CorruptError, InvalidError, TooLargeError
from perdure.formats import convert
from perdure.records import JSON, Content, Event, NewEvent, Opaque
from perdure.values import encode

T = TypeVar("T")

FORMAT = "openai.responses"
#: JSON that is kept as bytes: ciphers, and what Python writes as JSON and nobody else.
CODEC = "openai-agents/json"
_CHAT = "openai.chat"
_SAID = frozenset({"role", "content"})
_SPOKEN = frozenset({"user", "assistant", "system", "developer"})
_ANY_SIZE = 2**62

Told = Mapping[str, Any]
"""Fields of events that the application gives: ``run_id``, ``metadata`` …"""


def events_of(items: Iterable[JSON], told: Told) -> list[NewEvent]:
    """An event for each item, as it is."""
    return [
        # The cipher of `EncryptedSession` is nothing to search.
        _kept(item, told) if _is_envelope(item) else NewEvent(item, format=FORMAT, **told)
        for item in items
    ]


async def written(
    items: Sequence[JSON], told: Told, write: Callable[[list[NewEvent]], Awaitable[T]]
) -> T:
    """What comes of writing the events of items, also of those that perdure refuses as JSON.

    The SDK's own sessions store NaN, lone surrogates, numbers as keys, and nesting without end:
    they are kept as the text that Python makes of them. What not even Python writes is refused.
    """
    try:
        return await write(events_of(items, told))
    except TooLargeError:
        raise
    except InvalidError as refused:
        return await write([_any(item, told, refused) for item in items])


def _any(item: JSON, told: Told, refused: InvalidError) -> NewEvent:
    try:
        encode(item, "item", _ANY_SIZE)
    except TooLargeError:
        raise
    except InvalidError:
        try:
            return _kept(item, told)
        except (TypeError, ValueError, RecursionError):
            raise refused from None
    [event] = events_of([item], told)
    return event


def _is_envelope(item: JSON) -> bool:
    return isinstance(item, dict) and item.get("__enc__") == 1 and "payload" in item


def _kept(item: JSON, told: Told) -> NewEvent:
    return NewEvent(Opaque(CODEC, json.dumps(item).encode()), format=FORMAT, **told)


def items_of(event: Event | Content) -> list[JSON]:
    """The items of an event: its own item, or what another framework's message is in them.

    `CorruptError` if the event is damaged.
    """
    content = event.content
    if event.format == FORMAT and content is not None:
        return _own(event, content)
    if content is None:
        return []
    if event.format == _CHAT and _is_brief(content):
        return [content]
    return list(convert([(event.format, content, event.author)], FORMAT)[0])


def _own(event: Event | Content, content: JSON) -> list[JSON]:
    if not isinstance(content, Opaque):
        return [content]
    if content.codec != CODEC:
        return []
    try:
        return [json.loads(content.data)]
    except ValueError as error:
        raise CorruptError(f"event {event.id!r} (seq {event.seq}) is damaged: {error}") from error


def _is_brief(content: JSON) -> bool:
    """Whether a chat message is an input item as it is."""
    return (
        isinstance(content, dict)
        and content.keys() == _SAID
        and isinstance(content["content"], str)
        and content["role"] in _SPOKEN
    )


def all_items(events: Iterable[Event | Content]) -> list[JSON]:
    """The items of events, in their order."""
    return [item for event in events for item in items_of(event)]


def items_in(said: Sequence[Content]) -> list[JSON]:
    """The same of contents, of which nearly all are items as they are."""
    items = [content for _, _, _, name, content in said if name == FORMAT and type(content) is dict]
    return items if len(items) == len(said) else all_items(said)


def is_user_message(event: Event) -> bool:
    """Whether a turn of the conversation begins here."""
    return event.role == "user" and event.kind == "message"


__all__ = [
    "CODEC",
    "FORMAT",
    "Told",
    "all_items",
    "events_of",
    "is_user_message",
    "items_in",
    "items_of",
    "written",
]
