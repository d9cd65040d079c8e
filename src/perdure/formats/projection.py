"""What every reader needs of an event, whatever format its content is in."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from .message import (
    Image,
    Message,
    Other,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    json_text,
    lines,
    strings,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Projection:
    """What a content is to window, prune, preview, search, command line and exports.

    ``kind`` is message, tool_call, tool_result, thinking, summary, state, error or other; ``role``
    is user, assistant, system, developer, tool or ""; ``calls`` are the ids of the tool calls the
    content opens, ``results`` those it answers; ``format`` is the name of its format.
    """

    kind: str
    role: str
    text: str
    calls: tuple[str, ...]
    results: tuple[str, ...]
    format: str


def projection_of(messages: Sequence[Message], format: str) -> Projection:
    """The projection of the messages that one content was read into.

    Text is what can be read, line by line; a tool call reads ``name(arguments)``. Thinking counts
    only where there is nothing else. A call answered in the same content is neither opened nor
    answered as far as ``kind`` goes.
    """
    parts = [part for message in messages for part in message.parts]
    calls = tuple(chain.from_iterable(map(_calls, parts)))
    results = tuple(chain.from_iterable(map(_results, parts)))
    text = lines([readable(part) for part in parts])
    kind = _kind(parts, set(calls), set(results))
    if kind == "thinking":
        text = lines([part.text for part in parts if isinstance(part, Thinking)])
    roles = [message.role for message in messages if message.role != "tool"]
    return Projection(kind, roles[0] if roles else "tool", clean(text), calls, results, format)


def other(content: object, format: str) -> Projection:
    """The projection of a content of unknown shape: kind other, and every text in it."""
    return Projection("other", "", clean(lines(strings(content))), (), (), format)


def clean(text: str) -> str:
    """The text without NUL, which databases refuse in text; nothing else is removed."""
    return text.replace("\0", "") if "\0" in text else text


def readable(part: Part) -> str:
    """What a person can read of a part; "" for images and thinking."""
    match part:
        case Text() | Other():
            return part.text
        case ToolCall():
            return f"{part.name}({json_text(part.arguments)})"
        case ToolResult():
            return lines([readable(inner) for inner in part.content])
        case _:
            return ""


def _kind(parts: Sequence[Part], calls: set[str], results: set[str]) -> str:
    kinds = set(map(type, parts))
    if ToolResult in kinds or results - calls:
        return "tool_result"
    if ToolCall in kinds or calls - results:
        return "tool_call"
    said = kinds & {Text, Image} or any(isinstance(part, Other) and part.text for part in parts)
    return "thinking" if Thinking in kinds and not said else "message"


def _calls(part: Part) -> tuple[str, ...]:
    if isinstance(part, ToolCall):
        return (part.id,) if part.id else ()
    return part.calls if isinstance(part, Other) else ()


def _results(part: Part) -> tuple[str, ...]:
    if isinstance(part, ToolResult):
        return (part.call_id,) if part.call_id else ()
    return part.results if isinstance(part, Other) else ()
