"""What every importer reads its files into, before anything is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from perdure.records import JSON, NewEvent
from perdure.values import digest

_LONGEST_NAME = 480


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message; ``position`` is its place in the conversation, 1 for the first.

    Position 0 is a system text that stood beside the messages. ``timed`` says whether the
    message had a time of its own; one that has none takes the time before it.
    """

    position: int
    content: dict[str, JSON]
    format: str
    author: str = ""
    timestamp: datetime | None = None
    timed: bool = False
    metadata: dict[str, JSON] | None = None
    extra: dict[str, JSON] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A conversation whose every message could be read.

    ``source`` and ``line`` say where it begins, ``size`` how many bytes of the source it is.

    ``summary`` is told of it, ``hidden`` so many of its first messages are not shown any more.
    With ``noted``, the name of an object in its metadata, the session keeps there what an import
    took, and the file may begin later at the next import: whoever wrote it removes old messages.
    """

    id: str
    source: str
    line: int
    size: int
    title: str = ""
    created_at: datetime | None = None
    metadata: dict[str, JSON] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()
    summary: str = ""
    hidden: int = 0
    noted: str = ""
    updated_at: datetime | None = None

    @property
    def short_id(self) -> str:
        """The id itself, or a digest of one that leaves no room for a position."""
        return self.id if len(self.id.encode()) <= _LONGEST_NAME else digest(self.id)

    def event_id(self, message: Message) -> str:
        """The id of a message's event: the same on every machine, whatever was imported before."""
        return f"{self.short_id}#{message.position}"

    def event(self, message: Message) -> NewEvent:
        """The event that a message becomes."""
        return NewEvent(
            message.content,
            id=self.event_id(message),
            author=message.author,
            format=message.format,
            metadata=message.metadata,
            extra=message.extra,
            timestamp=message.timestamp,
        )


@dataclass(frozen=True, slots=True)
class Skipped:
    """A line, or a conversation beginning there, that was not imported, and why."""

    source: str
    line: int
    reason: str
    conversation: str = ""
    size: int = 0

    def __str__(self) -> str:
        name = f"conversation {self.conversation!r}: " if self.conversation else ""
        return f"{self.source}:{self.line}: {name}{self.reason}"


@dataclass(frozen=True, slots=True)
class Remark:
    """What somebody should know of a file that was read all the same."""

    source: str
    text: str
    conversation: str = ""
    size: int = 0

    def __str__(self) -> str:
        name = f"conversation {self.conversation!r}: " if self.conversation else ""
        return f"{self.source}: {name}{self.text}"


Read: TypeAlias = Conversation | Skipped
"""What reading a file gives, one after another."""
