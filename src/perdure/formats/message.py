"""The neutral message every format is read into and written from.

A conversation moves from one format to another as `Message` values: what the reading format
means, none of how it spells it. What has no place here becomes an `Other`, so that the format
that writes can say what was lost.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

JSON: TypeAlias = Any
"""A JSON value: dict, list, str, int, float, bool or None."""

T = TypeVar("T")

_STRUCTURE = frozenset({"role", "type"})


@dataclass(frozen=True, slots=True)
class Text:
    """Words to be read as they are."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: either ``media_type`` and base64 ``data``, or a ``url``; ``detail`` is a hint."""

    media_type: str = ""
    data: str = ""
    url: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool the model asks for; ``arguments`` is the JSON value, or a str holding its text."""

    id: str
    name: str
    arguments: JSON = ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered to the call ``call_id``; ``name``, if known, is the tool's."""

    call_id: str
    name: str = ""
    content: tuple[Part, ...] = ()
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Thinking:
    """A model's reasoning; ``signature`` is proof or cipher only ``provider`` can read."""

    text: str
    signature: str = ""
    provider: str = ""


@dataclass(frozen=True, slots=True)
class Other:
    """Something this model does not know: ``what`` names it for people, ``text`` is its words.

    ``calls`` and ``results`` are the ids of tool calls it opens and answers; its text is then no
    one's speech, and goes with it when the conversation moves.
    """

    what: str
    text: str = ""
    calls: tuple[str, ...] = ()
    results: tuple[str, ...] = ()


Part: TypeAlias = Text | Image | ToolCall | ToolResult | Thinking | Other


@dataclass(frozen=True, slots=True)
class Message:
    """One speaker's parts in order; ``event`` is the number its losses are reported under.

    Role is user, assistant, system, developer, tool, or "" when unknown. Tool calls and thinking
    stand in assistant messages only, results in tool messages only (`messages_of` sees to it).
    """

    role: str
    parts: tuple[Part, ...] = ()
    event: int = 0


class Losses:
    """Collects, for one target format, the sentences about what it cannot hold."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.lines: list[str] = []

    def add(self, event: int, sentence: str) -> None:
        """Notes a sentence about an event."""
        self.lines.append(f"event {event}: {sentence}")

    def drop(self, event: int, what: str) -> None:
        """Notes that something of an event is gone."""
        self.add(event, f"{what} has no counterpart in {self.target}")

    def keep(
        self, event: int, parts: Sequence[Part], kinds: tuple[type, ...], place: str = ""
    ) -> list[Part]:
        """The parts of these kinds; others become their text, or go, and are noted either way.

        ``place`` says where an image stood, as in "an image in a tool result".
        """
        kept: list[Part] = []
        for part in parts:
            if isinstance(part, kinds):
                kept.append(part)
            elif isinstance(part, Other) and part.text and not (part.calls or part.results):
                kept.append(Text(part.text))
                self.add(event, f"{part.what} is only text in {self.target}")
            else:
                self.drop(event, _named(part, place))
        return kept


def _named(part: Part, place: str) -> str:
    match part:
        case Other():
            return part.what
        case ToolCall():
            return f"tool call {part.id!r}"
        case ToolResult():
            return f"the result of tool call {part.call_id!r}"
        case Image():
            return f"an image{place}"
        case Thinking():
            return "thinking"
        case Text():
            return "text"


def role_of(author: str) -> str:
    """The role an event's author speaks in, for content that names none.

    user, system, developer and tool speak as such, every other name is an agent's and gives
    "assistant"; "" gives "".
    """
    return author if author in ("", "user", "system", "developer", "tool") else "assistant"


def messages_of(role: str, parts: Sequence[Part]) -> list[Message]:
    """These parts, in order, as messages of the roles they belong to: at least one message.

    Calls and thinking are the assistant's, results the tool's, everything else is ``role``'s.
    """
    messages: list[Message] = []
    run: list[Part] = []
    speaker = _speaker(parts[0], role) if parts else role
    for part in parts:
        if (now := _speaker(part, role)) != speaker:
            messages.append(Message(speaker, tuple(run)))
            speaker, run = now, []
        run.append(part)
    return [*messages, Message(speaker, tuple(run))]


def _speaker(part: Part, role: str) -> str:
    if isinstance(part, ToolResult):
        return "tool"
    return "assistant" if isinstance(part, ToolCall | Thinking) else role


def results_first(messages: Sequence[T], role: Callable[[T], str]) -> list[T]:
    """The same messages, the tools' before all that others say after the calls.

    Providers want the results of calls next to the message that holds these.
    """
    ordered: list[T] = []
    waiting: list[T] = []
    for message in messages:
        if role(message) == "assistant":
            ordered += waiting
            waiting = []
        (ordered if role(message) in ("assistant", "tool") else waiting).append(message)
    return ordered + waiting


def unread(content: object, author: str, format: str) -> list[Message]:
    """One message holding only the words of a value whose shape is not that of its format."""
    what = f"a value of format {format!r}"
    return [Message(role_of(author), (Other(what, lines(strings(content))),))]


def parts_of(body: JSON, read: Callable[[dict[str, JSON]], list[Part]]) -> list[Part]:
    """The parts of a message's body: none, a text, or a list whose objects ``read`` reads."""
    if body is None or body == "":
        return []
    if isinstance(body, str):
        return [Text(body)]
    if not isinstance(body, list):
        return [Other("content that is neither text nor parts", lines(strings(body)))]
    parts: list[Part] = []
    for part in body:
        if isinstance(part, dict):
            parts.extend(read(part))
        else:
            parts.append(Other("a part that is no object", lines(strings(part))))
    return parts


def fields_left(value: dict[str, JSON], known: frozenset[str]) -> list[Part]:
    """An `Other` for each field that is not known and says something."""
    if value.keys() <= known:
        return []
    return [
        Other(f"field {key!r}")
        for key, field in value.items()
        if key not in known and field is not None and field not in ("", [], {})
    ]


def text_in(value: object) -> str:
    """The value if it is text, else ""."""
    return value if isinstance(value, str) else ""


def strings(value: object, skip: Collection[object] = _STRUCTURE) -> Iterator[str]:
    """Every text in a JSON value in order, less the fields to skip (roles and type tags)."""
    stack = [value]
    while stack:  # A stack, not recursion: the depth is the caller's.
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            stack.extend([field for key, field in item.items() if key not in skip][::-1])
        elif isinstance(item, list | tuple):
            stack.extend(item[::-1])


def lines(texts: Iterable[str]) -> str:
    """The texts that say something, one below the other."""
    return "\n".join([text for text in texts if text])


def json_text(value: JSON) -> str:
    """Compact JSON text of a value; a str is taken to be JSON text already."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return lines(strings(value))


def json_object(value: JSON) -> dict[str, JSON] | None:
    """The object that a value is or that its text holds, {} for "", None for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value or "{}", parse_float=_finite, parse_constant=_finite)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def _finite(number: str) -> float:
    # json.loads reads 1e400 as infinity, which no JSON can say again.
    value = float(number)
    if value - value != 0:
        raise ValueError(f"{number} is no JSON number")
    return value
