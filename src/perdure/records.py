"""What features return: frozen records, without I/O.

Times are aware `datetime` in UTC. JSON values are plain Python: dict, list, str, int, float,
bool and None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
    TypeVar,
)

JSON: TypeAlias = Any
"""A JSON value: dict, list, str, int, float, bool or None, nested at most 200 deep."""

T = TypeVar("T")


class Marker(Enum):
    """The two words that stand where a value stands and are not one."""

    DELETE = "DELETE"
    ALL = "ALL"

    def __repr__(self) -> str:
        return f"perdure.{self.name}"


DELETE: Final = Marker.DELETE
"""In a state delta or metadata: remove this key, durably."""

ALL: Final = Marker.ALL
"""Where a list asks for an app or a user: every one of them, on purpose."""

AllType: TypeAlias = Literal[Marker.ALL]


@dataclass(frozen=True, slots=True)
class Opaque:
    """Bytes that are kept as they are and never parsed or searched.

    ``codec`` names how to read them (``msgpack``, ``pickle5-signed``, …); perdure only keeps
    the name. An `Opaque` may stand where a whole value is stored: the content of an event, the
    value of a state key.
    """

    codec: str
    data: bytes


class SessionKey(NamedTuple):
    """Whose session, and which: unique inside the store's tenant."""

    app: str
    user: str
    id: str


class UserScope(NamedTuple):
    """The state that all sessions of a user share."""

    app: str
    user: str


class AppScope(NamedTuple):
    """The state that all users of an app share."""

    app: str


Scope: TypeAlias = SessionKey | UserScope | AppScope

ArtifactScope: TypeAlias = SessionKey | UserScope


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a fork comes from: the session, and the last event it took over."""

    key: SessionKey
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A conversation as it was when it was read.

    ``uid`` is this incarnation: a deleted and recreated id has another. ``version`` grows by
    one with each change. ``event_count`` counts the active line, ``head_seq`` is its last
    event (0: none) and ``last_seq`` the highest seq ever given. ``state`` (app, user and
    session scope merged) is there only where it was asked for.
    """

    key: SessionKey
    uid: str
    title: str
    author: str
    agent_type: str
    tags: tuple[str, ...]
    metadata: dict[str, JSON]
    parent: SessionKey | None
    origin: Origin | None
    created_at: datetime
    updated_at: datetime
    last_event_at: datetime | None
    expires_at: datetime | None
    deleted_at: datetime | None
    version: int
    event_count: int
    head_seq: int
    last_seq: int
    preview: str
    state: dict[str, JSON] | None = None

    @property
    def id(self) -> str:
        """The session's id, the last part of its key."""
        return self.key.id


@dataclass(frozen=True, slots=True)
class EventError:
    """What went wrong, as the agent reported it."""

    message: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event as the caller gives it; all that is not given gets its default.

    ``content`` is any JSON value or an `Opaque`; ``id`` (default: a new UUIDv7) makes a retry
    safe; ``format`` names the shape of the content (default: recognised); ``timestamp``
    (default: the store's clock) is the caller's and may lie in the past or the future.
    A ``partial`` event is handed back and neither stored nor applied. ``extra`` keeps fields
    of a framework that have no place of their own.
    """

    content: JSON = None
    id: str | None = field(default=None, kw_only=True)
    author: str = field(default="", kw_only=True)
    run_id: str = field(default="", kw_only=True)
    branch: str = field(default="", kw_only=True)
    filter_key: str = field(default="", kw_only=True)
    format: str | None = field(default=None, kw_only=True)
    error: EventError | str | None = field(default=None, kw_only=True)
    usage: JSON = field(default=None, kw_only=True)
    metadata: Mapping[str, JSON] | None = field(default=None, kw_only=True)
    state_delta: Mapping[str, JSON] | None = field(default=None, kw_only=True)
    timestamp: datetime | None = field(default=None, kw_only=True)
    partial: bool = field(default=False, kw_only=True)
    extra: Mapping[str, JSON] | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class NewSession:
    """What is about to be said of a session, as `on_write` sees it: made, or updated.

    What is None was not given. ``metadata`` may have `DELETE` for a value; ``state`` has its
    prefixes, and is there only when a session is made. The key cannot be changed.
    """

    key: SessionKey
    title: str | None = None
    author: str | None = None
    agent_type: str | None = None
    tags: Sequence[str] | None = None
    metadata: Mapping[str, JSON] | None = None
    state: Mapping[str, JSON] | None = None


@dataclass(frozen=True, slots=True)
class NewAnnotation:
    """A note that is about to be stored, as `on_write` sees it; only its value can be changed."""

    key: SessionKey
    name: str
    value: JSON
    event_id: str | None
    by: str


@dataclass(frozen=True, slots=True)
class NewState:
    """State that is about to be stored, as `on_write` sees it.

    ``values`` are by name, without a prefix; one may be `DELETE`. The scope cannot be changed.
    """

    scope: Scope
    values: Mapping[str, JSON]


@dataclass(frozen=True, slots=True)
class NewArtifact:
    """A version of an artifact that is about to be stored, as `on_write` sees it.

    Its scope and its name are told, and cannot be changed.
    """

    scope: ArtifactScope
    name: str
    data: bytes
    mime_type: str
    metadata: Mapping[str, JSON]


WriteRecord: TypeAlias = NewSession | NewEvent | NewAnnotation | NewState | NewArtifact
"""What `on_write` is given, and gives back."""

EventInput: TypeAlias = NewEvent | Mapping[str, JSON] | str


class Stored(Protocol):
    """What a record was stored as."""

    def value_of(self, name: str) -> Any:
        """The value of the record's field of that name."""


class _FromStored:
    """A record whose fields are read out of what was stored when they are first looked at.

    Most of what is read is looked at in part; decoding all of it takes longer than reading it.
    """

    __slots__ = ("_stored",)

    _stored: Stored

    if not TYPE_CHECKING:  # else every name would be taken for a field

        def __getattr__(self, name: str) -> Any:
            if name == "_stored" or name not in self.__dataclass_fields__:
                message = f"{type(self).__name__!r} object has no attribute {name!r}"
                raise AttributeError(message, name=name, obj=self)
            value = self._stored.value_of(name)
            object.__setattr__(self, name, value)
            return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(_FromStored):
    """A stored event.

    ``seq`` is its place in the session, ``prev`` the seq before it in its line (0: none, -1:
    it was pruned),
    ``version`` the session's version after the append. ``kind``, ``role``, ``text``, ``calls``
    and ``results`` are the projection of ``content``: what every reader needs, whatever the
    format; ``content`` is as it was given, a JSON value or an `Opaque`. ``created_at`` is the
    store's clock, ``timestamp`` the caller's. What is damaged in the store is a `CorruptError`
    when it is looked at.
    """

    id: str
    seq: int
    prev: int
    version: int
    author: str
    run_id: str
    branch: str
    filter_key: str
    content: JSON
    error: EventError | None
    usage: JSON
    metadata: dict[str, JSON] | None
    state_delta: dict[str, JSON] | None
    timestamp: datetime
    created_at: datetime
    extra: dict[str, JSON] | None
    kind: str
    role: str
    text: str
    calls: tuple[str, ...]
    results: tuple[str, ...]
    format: str
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Appended:
    """What an append did.

    ``version`` is the session's version now: pass it as the next ``expected_version``.
    ``duplicate`` is True if the events were stored by an earlier call with the same ids.
    """

    events: tuple[Event, ...]
    version: int
    duplicate: bool = False

    @property
    def event(self) -> Event:
        """The last event of the call."""
        return self.events[-1]

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; ``next_cursor`` is None on the last one."""

    items: Sequence[T]
    next_cursor: str | None = None

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Branch:
    """A line of a session: the active one, or one that was left and is kept."""

    name: str
    head_seq: int
    created_at: datetime
    current: bool = False


@dataclass(frozen=True, slots=True)
class Annotation:
    """A note on a session, or on one of its events, that does not touch it."""

    name: str
    value: JSON
    by: str
    event_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StateEntry:
    """A key of a scope, without its prefix; ``version`` grows with each change of this key."""

    name: str
    value: JSON
    version: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class StateChange:
    """One change of a key of the session scope; ``value`` is `DELETE` for a removal.

    ``seq`` is the event that brought it, or that stood last when it was set without one.
    """

    seq: int
    version: int
    value: JSON


Namespace: TypeAlias = str | tuple[str, ...]
"""Where a key is: a text, or a tuple of texts, which has namespaces below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """A value under a key of a namespace.

    ``value`` is JSON, bytes or an `Opaque`. ``version`` is another one after each change and
    never comes back, also when the key was deleted or has expired in between. ``created_at``
    stays when the value is overwritten. It is there as long as now is before ``expires_at``.
    """

    namespace: Namespace
    key: str
    value: JSON
    version: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A version of an artifact, without its bytes.

    ``version`` is 0, 1, 2 … for each name of a scope. ``seq`` is the event that stood last in
    the session when it was saved (0: none, or the scope is a user's). ``sha256`` is the digest
    of the bytes in hex, ``size`` their number.
    """

    scope: ArtifactScope
    name: str
    version: int
    seq: int
    mime_type: str
    metadata: dict[str, JSON]
    sha256: str
    size: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LoadedArtifact:
    """A version of an artifact with its bytes."""

    artifact: Artifact
    data: bytes


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What `tail` gives when history was changed: read again from this seq."""

    from_seq: int
    version: int


@dataclass(frozen=True, slots=True)
class Messages:
    """A conversation in one format; ``loss`` names what had no counterpart there.

    ``system`` is the system text where the format keeps it beside the messages (anthropic).
    """

    items: list[dict[str, JSON]]
    loss: list[str]
    system: str = ""

    def __iter__(self) -> Iterator[dict[str, JSON]]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


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
class Hold:
    """Who lets nothing of a session, or of a whole person, be removed, and why."""

    of: SessionKey | UserScope
    by: str
    reason: str
    held_at: datetime


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that was committed, as `subscribe` tells of it.

    ``session`` is an id (None: it is about no session), ``version`` that of the session after
    it, where it is known. What ``value`` is depends on the kind.
    """

    kind: str
    app: str
    user: str
    session: str | None = None
    version: int | None = None
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The tokens of a group of events; what it is not grouped by is None.

    ``model`` is ``""`` where none is named. ``input_tokens`` has those that came from a cache,
    which are ``cached_tokens``.
    """

    app: str | None = None
    user: str | None = None
    session: str | None = None
    author: str | None = None
    run_id: str | None = None
    model: str | None = None
    day: str | None = None
    month: str | None = None
    events: int
    input_tokens: int
    output_tokens: int
    total_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class Size:
    """What a group of rows takes; what it is not grouped by is None.

    ``app`` is None, too, where no session names it, and ``user`` for what the whole app shares.
    """

    app: str | None
    user: str | None
    table: str | None
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Growth:
    """What was made on a day (UTC) and is still there."""

    day: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class DiskUse:
    """How much is stored: ``sizes`` by group, ``growth`` by day.

    ``stored`` is what the database takes on its disk, with indexes and free pages.
    """

    sizes: list[Size]
    growth: list[Growth]
    stored: int

    @property
    def bytes(self) -> int:
        """The bytes of all groups."""
        return sum(size.bytes for size in self.sizes)


@dataclass(frozen=True, slots=True)
class ErasureReceipt:
    """What an erasure removed: rows by table. ``erased_at`` is the store's clock.

    ``remains`` says where bytes of what was removed may be found for a while, beyond backups; no
    call of the store reaches them. The receipt is ``final`` if there is no such place.
    """

    tenant: str
    app: str
    user: str
    erased_at: datetime
    removed: dict[str, int]
    remains: tuple[str, ...] = ()

    @property
    def final(self) -> bool:
        """Whether nothing remains on the disk of the store."""
        return not self.remains


@dataclass(frozen=True, slots=True)
class Tally:
    """How many, and how many bytes their texts, JSON and data have; not those of the indexes."""

    count: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep removed, or would remove, by kind.

    Sessions are ``expired``, ``deleted`` or ``idle``; ``events`` are old events of others; the
    rest are tables. ``held``: sessions passed over because of a hold. ``finished``: False if the
    sweep was stopped before it was through.
    """

    kinds: Mapping[str, Tally]
    held: int = 0
    finished: bool = True

    @property
    def expired(self) -> int:
        """How many sessions had lived as long as their ttl."""
        return self._count("expired")

    @property
    def deleted(self) -> int:
        """How many sessions had been deleted long enough ago."""
        return self._count("deleted")

    @property
    def idle(self) -> int:
        """How many sessions had not been written to for the days of the retention."""
        return self._count("idle")

    @property
    def bytes(self) -> int:
        """The bytes of all kinds together."""
        return sum(tally.bytes for tally in self.kinds.values())

    def _count(self, kind: str) -> int:
        return self.kinds[kind].count if kind in self.kinds else 0


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
class SearchHit:
    """Something that a search has found.

    ``kind`` says what it is, ``key`` its id: of an event, a session (for its title), a memory
    and so on. ``seq`` is there for events, ``session`` for what belongs to one. ``snippet`` is a
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
