"""What a message is, in each format that agents keep their messages in.

`project` gives what every reader needs of a content, `convert` moves messages from one format to
another, `register` adds a format. All of it is pure: values in, values out.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

from perdure.errors import InvalidError

from . import (
    adk,
    anthropic,
    claude_code,
    langchain,
    openai_chat,
    openai_responses,
    plain,
    pydantic,
    strands,
)
from .format import Format
from .message import (
    JSON,
    Image,
    Losses,
    Message,
    Other,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    messages_of,
    role_of,
)
from .projection import Projection, other, projection_of
from .window import cut_point, fitting_start, window_start

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = [
    "JSON",
    "Format",
    "Image",
    "Losses",
    "Message",
    "Other",
    "Part",
    "Projection",
    "Text",
    "Thinking",
    "ToolCall",
    "ToolResult",
    "convert",
    "cut_point",
    "fitting_start",
    "messages_in",
    "messages_of",
    "project",
    "projection_of",
    "register",
    "role_of",
    "system_text",
    "window_start",
    "words_of",
]

Item: TypeAlias = tuple[str, object, str]
"""An event as far as conversion goes: format, content, author."""

_SAID = frozenset({"role", "content"})
_SPOKEN = frozenset({"user", "assistant", "system", "developer"})

#: Formats in which a role and a text are a message, and nothing else.
_BRIEF = frozenset({None, openai_chat.NAME, openai_responses.NAME})

# In the order in which they are asked whether they recognise a content.
_formats: dict[str, Format] = {
    known.NAME: known.FORMAT
    for known in (
        plain,
        openai_responses,
        anthropic,
        openai_chat,
        adk,
        claude_code,
        langchain,
        pydantic,
        strands,
    )
}


def register(format: Format) -> None:
    """Adds a format, or replaces the one of its name; it is asked after those already there."""
    _formats[format.name] = format


def project(content: object, format: str | None = None) -> Projection:
    """The projection of a content in the named format; None recognises the format by shape.

    A content no format recognises is of format and kind "other". A name that is not registered
    is kept, and the content projected like "other". Never raises for a JSON value.
    """
    if format in _BRIEF and (words := words_of(content)) is not None:
        # Most events by far are this, and this takes a tenth of the time of reading it.
        role: str = content["role"]  # type: ignore[index]
        return Projection("message", role, words, (), (), format or openai_chat.NAME)
    known = _recognised(content) if format is None else _formats.get(format)
    return known.project(content) if known else other(content, format or "other")


def words_of(content: object) -> str | None:
    """The text of a chat message that is a role and words alone; None for every other content.

    It is the text of its projection.
    """
    if type(content) is dict and content.keys() == _SAID:
        role, text = content["role"], content["content"]
        if type(text) is str and type(role) is str and role in _SPOKEN and "\0" not in text:
            return text
    return None


def messages_in(content: object, format: str, author: str) -> Iterable[Message] | None:
    """The messages of a content in the named format; None if that is not registered."""
    known = _formats.get(format)
    return None if known is None else known.read(content, author)


def _recognised(content: object) -> Format | None:
    return next((known for known in _formats.values() if known.recognises(content)), None)


def convert(
    items: Sequence[Item], target: str, *, numbers: Iterable[int] | None = None
) -> tuple[list[dict[str, JSON]], list[str]]:
    """The messages in the target format, and a sentence for everything that could not move.

    An item in the target format already comes back unchanged; only neighbours that had to be
    converted are merged and ordered by the target's rules. Items of unknown formats move as
    their text. One item may give several messages, or none. ``numbers`` are the numbers, one an
    item, by which sentences name the events; by default 1, 2, 3 …

    With the target "anthropic" system text is not among the messages: pass `system_text` of the
    same items as ``system`` beside them. Thinking stays behind: only its provider can read it.
    An unknown target is an `InvalidError`.
    """
    writer = _formats.get(target)
    if writer is None:
        names = ", ".join(sorted(_formats))
        raise InvalidError(f"unknown format {target!r}; known are {names}")
    numbered = zip(items, numbers if numbers is not None else range(1, len(items) + 1), strict=True)
    written: list[dict[str, JSON]] = []
    losses: list[str] = []
    for native, run in groupby(numbered, lambda pair: _is_native(pair[0], target)):
        if native:
            written.extend(content for (_, content, _), _ in run if isinstance(content, dict))
        else:
            messages, lost = writer.write([one for item, n in run for one in _read(item, n)])
            written.extend(messages)
            losses.extend(lost)
    return written, losses


def system_text(items: Iterable[Item]) -> str:
    """The system and developer text of a conversation, a blank line between two of its items.

    This is what `convert` leaves out of Anthropic's messages and what belongs in the ``system``
    field of that API's request: at the front, wherever in the conversation it stood. System
    messages that are in Anthropic's format already stay among the messages, and are not in it.
    """
    foreign = [item for item in items if not _is_native(item, anthropic.NAME)]
    return anthropic.system_text([one for item in foreign for one in _read(item, 0)])


def _is_native(item: Item, target: str) -> bool:
    # A message is a dict; plain content is not, and becomes one.
    return item[0] == target != plain.NAME and isinstance(item[1], dict)


def _read(item: Item, number: int) -> Iterator[Message]:
    name, content, author = item
    known = _formats.get(name)
    if known:
        messages = known.read(content, author)
    else:
        text = other(content, name).text
        messages = [Message(role_of(author), (Other(f"a value of format {name!r}", text),))]
    for message in messages:
        yield replace(message, role=message.role or "user", event=number)
