"""What an event says, part by part, whatever format it is kept in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from perdure.formats import (
    Image,
    Other,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    messages_in,
)
from perdure.records import JSON, Event, Opaque

__all__ = [
    "Image",
    "Other",
    "Part",
    "Raw",
    "Text",
    "Thinking",
    "ToolCall",
    "ToolResult",
    "arguments_of",
    "parts_of",
    "words_of",
]


class Raw(NamedTuple):
    """The content of an event in a format that is not known here."""

    value: JSON


def parts_of(event: Event) -> Sequence[Part | Raw]:
    """The parts of an event's content."""
    content = event.content
    if content is None:
        return ()
    if isinstance(content, Opaque):
        return (Other("opaque", f"<{len(content.data):,} bytes of {content.codec}>"),)
    messages = messages_in(content, event.format, event.author)
    if messages is None:
        return (Raw(content),)
    parts = [part for message in messages for part in message.parts]
    # A field the format does not know is no part to be shown, unless there is nothing else.
    shown = [part for part in parts if not isinstance(part, Other) or part.text]
    return shown if shown or not parts else (Raw(content),)


def words_of(result: ToolResult) -> str:
    """The text of a tool's answer."""
    return "\n".join(
        part.text for part in result.content if isinstance(part, Text | Other) and part.text
    )


def arguments_of(call: ToolCall) -> JSON:
    """The arguments as a value; the text itself if it is no JSON."""
    return value_in(call.arguments) if isinstance(call.arguments, str) else call.arguments


def value_in(text: str) -> JSON:
    """The object or list that a text spells; else the text."""
    if text.lstrip()[:1] not in {"{", "["}:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
