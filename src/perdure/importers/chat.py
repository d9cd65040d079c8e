"""OpenAI chat messages in JSONL files, in the three shapes that they are kept in.

A line is one of:

- **a conversation**: an object with ``messages``; its id is ``conversation``,
  ``conversation_id``, ``session_id`` or ``id``. A ``system`` text becomes its first message,
  ``title`` and ``created_at`` the session's; all other fields become metadata;
- **a list of messages**;
- **a message** of the conversation that ``session_id``, ``session``, ``conversation_id`` or
  ``thread_id`` names: its fields beside that id, or a ``message`` with the line's other fields
  as metadata. Lines of one conversation may stand anywhere in the files of one call.

A message's ``timestamp``, ``created_at`` or ``ts`` becomes the time of its event (the text of
it is kept in ``extra``); a message without one takes the time before it in its conversation.

A conversation is read whole or not at all: one bad message and it is skipped with the reason.
A line that is not JSON, has a key twice or a NaN is skipped; the rest goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import NamedTuple

from perdure.errors import InvalidError
from perdure.formats import openai_chat, project
from perdure.importers.conversation import Conversation, Message, Read, Skipped
from perdure.importers.moments import moment
from perdure.records import JSON
from perdure.values import canonical, digest, encode, parse

ROLES = ("system", "developer", "user", "assistant", "tool", "function")

_CONVERSATION_IDS = ("conversation", "conversation_id", "session_id", "id")
_MESSAGE_IDS = ("session_id", "session", "conversation_id", "thread_id")
_TIMES = ("timestamp", "created_at", "ts")
_TITLE_LENGTH = 72
_NO_LIMIT = 2**62


class _Line(NamedTuple):
    """Where something stands."""

    source: str
    number: int
    size: int


def read_chat(
    files: Iterable[tuple[str, Iterable[bytes | str]]], *, zone: tzinfo | None = None
) -> Iterator[Read]:
    """The conversations of some files, and what could not be read, in the order it stands there.

    ``files`` are pairs of a name, for messages, and the lines. Conversations that are kept as
    one message a line come last, when all lines have been seen. ``zone`` is for times that
    name none; without it they are refused.
    """
    threads: dict[str, _Thread] = {}
    for source, lines in files:
        beginnings: Counter[str] = Counter()
        for number, text in enumerate(lines, 1):
            if text.strip():
                line = _Line(source, number, len(text))
                yield from _read_line(line, text, zone, beginnings, threads)
    for session, thread in threads.items():
        yield thread.conversation(session)


def _read_line(
    line: _Line,
    text: bytes | str,
    zone: tzinfo | None,
    beginnings: Counter[str],
    threads: dict[str, _Thread],
) -> Iterator[Read]:
    try:
        record = _value(text.strip())
        if isinstance(record, dict) and "messages" not in record:
            _collect(line, record, zone, threads)
            return
    except InvalidError as error:
        yield Skipped(line.source, line.number, str(error), size=line.size)
        return
    if isinstance(record, list):
        record = {"messages": record}
    name = ""
    try:
        name, known_by = _conversation_id(record, beginnings)
        yield _conversation(line, name, known_by, record, zone)
    except InvalidError as error:
        yield Skipped(line.source, line.number, str(error), name, line.size)


def _value(text: bytes | str) -> JSON:
    record = parse(text)
    if not isinstance(record, dict | list):
        raise InvalidError("neither a conversation nor a message: it is no object and no list")
    # Whatever JSON text can spell and no store can keep: 1e999, half a surrogate pair, depth.
    encode(record, "the line", _NO_LIMIT)
    return record


# -- one conversation a line ---------------------------------------------------------------------


def _conversation_id(record: Mapping[str, JSON], beginnings: Counter[str]) -> tuple[str, str]:
    """The id of a conversation and the field it stands in ("": made from how it begins).

    Made: a digest of the messages up to the first of the user, and the how-manieth it is in
    its file that begins so. A conversation that grows keeps it, and so does its copy elsewhere.
    """
    for name in _CONVERSATION_IDS:
        if record.get(name) not in (None, ""):
            return _name(record[name], name), name
    messages = record["messages"]
    if not isinstance(messages, list):
        return "", ""
    beginning = digest("chat", canonical([record.get("system"), *_beginning(messages)]))[:16]
    beginnings[beginning] += 1
    times = beginnings[beginning]
    return f"chat-{beginning}" + (f"-{times}" if times > 1 else ""), ""


def _beginning(messages: list[JSON]) -> list[JSON]:
    for index, message in enumerate(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            return messages[: index + 1]
    return messages[:1]


def _name(value: JSON, field_name: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidError(f"{field_name} must be a text or a whole number, not {value!r}")
    return str(value)


def _conversation(
    line: _Line, name: str, known_by: str, record: dict[str, JSON], zone: tzinfo | None
) -> Conversation:
    given = record["messages"]
    if not isinstance(given, list):
        raise InvalidError("messages is no list")
    rest = {key: value for key, value in record.items() if key not in {"messages", known_by}}
    created_at = rest.pop("created_at", None)
    created = None if created_at is None else moment(created_at, zone)
    system = rest.pop("system") if isinstance(rest.get("system"), str) else ""
    title = rest.pop("title") if isinstance(rest.get("title"), str) else ""
    reading = Reading(zone, created)
    if system and (not given or given[0] != _system(system)):
        reading.add(_system(system), 0)
    for position, message in enumerate(given, 1):
        reading.add(message, position)
    return reading.conversation(line, name, title, created, rest)


def _system(text: str) -> dict[str, JSON]:
    return {"role": "system", "content": text}


# -- one message a line --------------------------------------------------------------------------


@dataclass(slots=True)
class _Thread:
    """The messages of one conversation, gathered from lines."""

    line: _Line
    reading: Reading
    size: int = 0
    fault: Skipped | None = None

    def conversation(self, session: str) -> Read:
        line = self.line._replace(size=self.size)
        if self.fault is not None:
            fault = self.fault
            return Skipped(fault.source, fault.line, fault.reason, session, self.size)
        return self.reading.conversation(line, session, "", None, {})


def _collect(
    line: _Line, record: dict[str, JSON], zone: tzinfo | None, threads: dict[str, _Thread]
) -> None:
    known_by = next((name for name in _MESSAGE_IDS if record.get(name) not in (None, "")), "")
    if not known_by:
        ids = ", ".join(_MESSAGE_IDS)
        raise InvalidError(f"no messages, and none of {ids} says whose message it is")
    session = _name(record.pop(known_by), known_by)
    thread = threads.setdefault(session, _Thread(line, Reading(zone, None)))
    thread.size += line.size
    try:
        thread.reading.add_line(record)
    except InvalidError as error:
        if thread.fault is None:
            thread.fault = Skipped(line.source, line.number, str(error))


# -- messages ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Reading:
    """The messages of a conversation so far, and the time of the last."""

    zone: tzinfo | None
    now: datetime | None
    messages: list[Message] = field(default_factory=list)

    def add(self, message: JSON, position: int) -> None:
        """The same as `take`; the error says which message it is."""
        try:
            self.take(message, position)
        except InvalidError as error:
            raise InvalidError(f"message {position}: {error}") from error

    def add_line(self, record: dict[str, JSON]) -> None:
        """Take the message of a line, with the fields around it as its metadata."""
        position = len(self.messages) + 1
        if not isinstance(record.get("message"), dict):
            self.take(record, position)
            return
        message = record.pop("message")
        times, rest = _without_time(record)
        self.take(message, position, times, rest or None)

    def take(
        self,
        message: JSON,
        position: int,
        times: dict[str, JSON] | None = None,
        metadata: dict[str, JSON] | None = None,
    ) -> None:
        """Read one more message; `InvalidError` if it is none, and nothing has changed then."""
        if not isinstance(message, dict):
            raise InvalidError(f"no object but {str(message)[:40]!r}")
        own_times, content = ({}, message) if times else _without_time(message)
        times = times or own_times
        if fault := _fault(content):
            raise InvalidError(fault)
        for value in times.values():
            self.now = moment(value, self.zone)
        self.messages.append(
            Message(
                position=position,
                content=content,
                format=openai_chat.NAME,
                author=_author(content),
                timestamp=self.now,
                timed=bool(times),
                metadata=metadata,
                extra=times or None,
            )
        )

    def conversation(
        self,
        line: _Line,
        name: str,
        title: str,
        created_at: datetime | None,
        metadata: dict[str, JSON],
    ) -> Conversation:
        """The conversation of what was read; `InvalidError` if that is nothing."""
        if not self.messages:
            raise InvalidError("it has no messages")
        return Conversation(
            id=name,
            source=line.source,
            line=line.number,
            size=line.size,
            title=" ".join(title.split()) or title_of(self.messages),
            created_at=created_at or self.messages[0].timestamp,
            metadata=metadata,
            messages=tuple(self.messages),
        )


def _without_time(message: dict[str, JSON]) -> tuple[dict[str, JSON], dict[str, JSON]]:
    """The field that says when it was, if there is one, and all the others."""
    for name in _TIMES:
        if message.get(name) is not None:
            rest = {key: value for key, value in message.items() if key != name}
            return {name: message[name]}, rest
    return {}, message


def _fault(message: Mapping[str, JSON]) -> str:
    """Why this is no chat message; "" if it is one."""
    role = message.get("role")
    if role not in ROLES:
        return f"the role is {role!r}, not one of {', '.join(ROLES)}"
    if not isinstance(message.get("tool_calls") or [], list):
        return "tool_calls is no list"
    if not openai_chat.recognises(message):
        return "content is neither a text nor a list of parts, and nothing stands in its place"
    return ""


def _author(message: Mapping[str, JSON]) -> str:
    name = message.get("name")
    if message.get("role") in {"tool", "function"} or not isinstance(name, str):
        return ""
    return name


def title_of(messages: Iterable[Message]) -> str:
    """How the user begins, on one line."""
    for message in messages:
        if message.content.get("role") == "user":
            words = " ".join(project(message.content, openai_chat.NAME).text.split())
            if words:
                return words if len(words) <= _TITLE_LENGTH else _cut(words)
    return ""


def _cut(words: str) -> str:
    head, _, _ = words[:_TITLE_LENGTH].rpartition(" ")
    return (head or words[: _TITLE_LENGTH - 1]) + "…"
