"""Plain text: a content that is nothing but a str, its author the speaker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .format import Format
from .message import (
    JSON,
    Losses,
    Message,
    Part,
    Text,
    ToolCall,
    ToolResult,
    lines,
    messages_of,
    role_of,
    text_in,
    unread,
)
from .projection import Projection, clean, other, readable

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "plain"
_ROLES = frozenset({"user", "assistant", "system", "developer", "tool"})


def recognises(content: object) -> bool:
    """True for a str."""
    return isinstance(content, str)


def project(content: object) -> Projection:
    """A message whose role is "": only the event's author can tell it (see `role_of`)."""
    if isinstance(content, str):
        return Projection("message", "", clean(content), (), (), NAME)
    return other(content, NAME)


def read(content: object, author: str = "") -> list[Message]:
    """One message in the author's role; a dict of role and content, as written here, too."""
    if isinstance(content, str):
        return messages_of(role_of(author), [Text(content)])
    if isinstance(content, dict) and isinstance(content.get("content"), str):
        role = text_in(content.get("role"))
        return messages_of(role if role in _ROLES else role_of(author), [Text(content["content"])])
    return unread(content, author, NAME)


def write(messages: Sequence[Message]) -> tuple[list[dict[str, JSON]], list[str]]:
    """``{"role", "content"}`` dicts whose content is always a str, and the losses.

    Tool calls and results are kept as readable text in the roles assistant and tool; images and
    thinking go.
    """
    losses = Losses(NAME)
    written: list[dict[str, JSON]] = []
    for message in messages:
        text = lines([_text(part, message.event, losses) for part in message.parts])
        # Nobody said nothing, but a tool may answer with nothing.
        if text or not message.parts or message.role == "tool":
            written.append({"role": message.role, "content": text})
    return written, losses.lines


def _text(part: Part, event: int, losses: Losses) -> str:
    if isinstance(part, ToolCall):
        losses.add(event, f"tool call {part.id!r} is only text in {NAME}")
    elif isinstance(part, ToolResult):
        losses.add(event, f"the result of tool call {part.call_id!r} is only text in {NAME}")
        losses.keep(event, part.content, (Text,), " in a tool result")
        if part.is_error:
            losses.drop(event, "the error mark of a tool result")
    elif not isinstance(part, Text):
        losses.keep(event, [part], (Text,))
    return readable(part)


FORMAT = Format(name=NAME, recognises=recognises, project=project, read=read, write=write)
