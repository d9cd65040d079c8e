"""What is remembered of conversations: summaries, contexts, memories, and what is found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from perdure.records.approvals import NewApproval, NewResolution
from perdure.records.basics import JSON, SessionKey
from perdure.records.checkpoints import NewCheckpoint, NewTaskWrites
from perdure.records.clarifications import NewAnswer, NewClarification
from perdure.records.conversations import (
    Event,
    Messages,
    NewAnnotation,
    NewArtifact,
    NewEvent,
    NewSession,
    NewState,
)
from perdure.records.kept import KeyValue, Namespace, NewKeyValue
from perdure.records.runs import NewRunStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a session, or the part of it that a filter selects, was about.

    ``filter_key`` is ``""`` for the whole session. ``covers_seq`` is the boundary: the last
    event that is told of (0: it does not say). ``version`` grows with each new text.
    """

    key: SessionKey
    filter_key: str
    text: str
    topics: tuple[str, ...]
    covers_seq: int
    version: int
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryTrigger:
    """When it is time for a new summary, by what the last one does not cover.

    More than ``events`` of them, more than ``tokens`` in their texts, the last one longer than
    ``idle`` ago. Of several that are given any one is enough, or with ``match="all"`` none may
    be missing.
    """

    events: int | None = None
    tokens: int | None = None
    idle: timedelta | None = None
    match: Literal["any", "all"] = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryJob:
    """A summary that is to be made.

    ``state`` is ``queued`` until it is made, ``running`` while a worker is at its session,
    ``failed`` when no more tries are made: ``due_at`` is None then. ``error`` is what the last
    of the ``attempts`` failed with.
    """

    key: SessionKey
    filter_key: str
    state: Literal["queued", "running", "failed"]
    enqueued_at: datetime
    due_at: datetime | None
    attempts: int
    error: str | None


@dataclass(frozen=True, slots=True)
class SummaryRun:
    """What became of the jobs of one pass."""

    done: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Context:
    """What a model should see: the summary, and the events that it does not cover.

    ``messages`` are both in one format, the summary first, as a message of the system.
    """

    summary: Summary | None
    events: list[Event]
    messages: Messages


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A conversation as `Store.history` shows it: OpenAI chat messages, and the summary's text.

    ``head_seq`` is its last event: what ``up_to_seq`` means when others append meanwhile.
    """

    key: str
    messages: list[dict[str, JSON]]
    summary: str
    created: datetime
    updated: datetime
    head_seq: int


@dataclass(frozen=True, slots=True)
class Message:
    """A message of `Store.recovery`; ``fields`` are those of a chat message besides these two."""

    role: str
    content: JSON = ""
    fields: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationContext:
    """A conversation as `Store.recovery` gives and takes it.

    ``messages`` are the last ones, as many as the view's window; ``after_seq`` is the event
    before them, and what lies up to there stays when this is saved (0: nothing does).
    """

    session_id: str
    user_id: str
    agent_type: str = ""
    messages: Sequence[Message] = ()
    metadata: Mapping[str, JSON] = field(default_factory=dict)
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int = 0
    after_seq: int = 0


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A line of a list of sessions; ``last_message`` are its first 200 characters."""

    session_id: str
    agent_type: str
    last_message: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NewMemory:
    """A memory as the caller, or an extractor, gives it; all that is not given gets its default.

    ``session`` and ``event_id`` say where it comes from. ``timestamp`` (default: the store's
    clock) is when it was said, ``valid_from`` and ``valid_until`` (the second not included) when
    it holds; None: always. After ``expires_at`` it is gone.
    """

    content: str
    topics: Sequence[str] = ()
    agent: str = field(default="", kw_only=True)
    author: str = field(default="", kw_only=True)
    session: str = field(default="", kw_only=True)
    event_id: str = field(default="", kw_only=True)
    metadata: Mapping[str, JSON] | None = field(default=None, kw_only=True)
    timestamp: datetime | None = field(default=None, kw_only=True)
    valid_from: datetime | None = field(default=None, kw_only=True)
    valid_until: datetime | None = field(default=None, kw_only=True)
    pinned: bool = field(default=False, kw_only=True)
    expires_at: datetime | None = field(default=None, kw_only=True)


MemoryInput: TypeAlias = NewMemory | Mapping[str, JSON] | str

WriteRecord: TypeAlias = (
    NewSession
    | NewEvent
    | NewAnnotation
    | NewState
    | NewArtifact
    | NewMemory
    | NewKeyValue
    | NewRunStep
    | NewClarification
    | NewAnswer
    | NewApproval
    | NewResolution
    | NewCheckpoint
    | NewTaskWrites
)
"""What `on_write` is given, and gives back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Something that is remembered of a user, or (``user`` is "") by all users of an app.

    ``session`` is the id of the session it comes from. ``version`` grows by one with each
    change. It holds from ``valid_from`` until before ``valid_until``, None: without end.
    ``superseded_by`` is the id of the memory that took its place.
    """

    id: str
    app: str
    user: str
    agent: str
    session: str
    content: str
    author: str
    topics: tuple[str, ...]
    metadata: dict[str, JSON]
    event_id: str
    timestamp: datetime
    valid_from: datetime | None
    valid_until: datetime | None
    superseded_by: str | None
    pinned: bool
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime
    version: int

    @property
    def source(self) -> tuple[str, str] | None:
        """The session and the event that it was made of, if it was."""
        return (self.session, self.event_id) if self.event_id else None


@dataclass(frozen=True, slots=True)
class Remembered:
    """What became of several memories: new ones, and those that were there already.

    ``refused`` counts those that were not stored because they had been deleted before;
    ``events`` the events that were looked at.
    """

    added: tuple[Memory, ...] = ()
    known: tuple[Memory, ...] = ()
    refused: int = 0
    events: int = 0

    def __iter__(self) -> Iterator[Memory]:
        return iter(self.added)

    def __len__(self) -> int:
        return len(self.added)


@dataclass(frozen=True, slots=True)
class MemoryHit:
    """A memory that a search has found, with its score.

    ``words`` has what each word of the query adds to the score, by the word as it is indexed;
    ``meaning`` what the nearness in meaning adds, None without an embedder.
    """

    memory: Memory
    score: float
    words: dict[str, float]
    meaning: float | None = None


@dataclass(frozen=True, slots=True)
class KeyValueHit:
    """A key-value that a search has found, with its score.

    ``snippet`` is a piece of the text that it was indexed with, ``marks`` the ranges of it that
    the query's words take (from, up to).
    """

    item: KeyValue
    score: float
    snippet: str
    marks: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class SearchHit:
    """Something that a search has found.

    ``kind`` says what it is, ``key`` its id: of an event, a session (for its title), a memory, an
    approval, a clarification, a task; the filter of a summary, the key of a key-value, which has
    its ``namespace`` too. ``seq`` is
    there for events, ``session`` for what belongs to one. ``snippet`` is a
    piece of the text as it is stored, ``marks`` the ranges of it that the query's words take
    (from, up to). ``at``: when it was said or changed. ``score`` says how well it answers,
    compared with the others of the same search; ``parts`` what the score is made of: ``words``,
    ``near`` (its neighbours in the conversation) and, with an embedder, ``meaning``.
    """

    kind: str
    key: str
    app: str
    user: str
    session: SessionKey | None
    seq: int | None
    at: datetime
    snippet: str
    marks: tuple[tuple[int, int], ...]
    score: float
    parts: Mapping[str, float]
    namespace: Namespace | None = None
