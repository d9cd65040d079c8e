"""Lines of Claude Code's transcripts: messages of Anthropic's API in an envelope, and notes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from . import anthropic
from .format import Format
from .message import JSON, Message, Other, lines, text_in, unread
from .projection import Projection, other, projection_of

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "claude-code"

_SPEAKERS = frozenset({"user", "assistant"})
_MARKS = frozenset({"uuid", "parentUuid", "sessionId"})
#: Where lines that are no messages have what a person can read.
_WORDS = ("summary", "customTitle", "aiTitle", "lastPrompt", "content")


def recognises(content: object) -> bool:
    """True for a message of a user or the assistant inside a line with Claude Code's marks."""
    return isinstance(content, dict) and _is_said(content) and not _MARKS.isdisjoint(content)


def _is_said(content: dict[str, JSON]) -> bool:
    said = isinstance(content.get("message"), dict)
    return said and text_in(content.get("type")) in _SPEAKERS


def project(content: object) -> Projection:
    """The projection of the message in the line; titles, tags and the like are of kind other."""
    if not isinstance(content, dict):
        return other(content, NAME)
    if not _is_said(content):
        kind = "summary" if content.get("type") == "summary" else "other"
        return Projection(kind, "", other([_words(content)], NAME).text, (), (), NAME)
    projected = projection_of(read(content), NAME)
    summed_up = content.get("isCompactSummary") is True
    return replace(projected, kind="summary") if summed_up else projected


def read(content: object, author: str = "") -> list[Message]:
    """The messages in the line; a line that is none is an `Other` without words.

    What Claude Code notes beside a message, such as where it was said, is for Claude Code alone.
    """
    if not isinstance(content, dict):
        return unread(content, author, NAME)
    kind = text_in(content.get("type"))
    if not _is_said(content):
        return [Message("user", (Other(f"a transcript line of type {kind!r}"),))]
    return anthropic.read({"role": kind} | content["message"], author)


def _words(content: dict[str, JSON]) -> str:
    return lines(text_in(content.get(field)) for field in _WORDS)


def write(messages: Sequence[Message]) -> tuple[list[dict[str, JSON]], list[str]]:
    """A line for each message, and the losses, which are those of Anthropic's API.

    A line has ``type`` and ``message``; uuids, times and the session are its writer's to add.
    """
    written: list[dict[str, JSON]] = []
    losses: list[str] = []
    for message in messages:
        said, lost = anthropic.write([message])
        losses.extend(
            f"{loss.removesuffix(anthropic.NAME)}{NAME}" if loss.endswith(anthropic.NAME) else loss
            for loss in lost
        )
        written.extend({"type": one["role"], "message": _spoken(one)} for one in said)
    return written, losses


def _spoken(message: dict[str, JSON]) -> dict[str, JSON]:
    if message["role"] != "assistant":
        return message
    # What Claude Code writes where no model has answered.
    return {"type": "message", "model": "<synthetic>", **message}


FORMAT = Format(name=NAME, recognises=recognises, project=project, read=read, write=write)
