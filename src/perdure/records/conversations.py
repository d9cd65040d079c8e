"""Sessions, their events and state, and what is to become one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeAlias

from perdure.records.basics import JSON, ArtifactScope, Scope, SessionKey


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

    _stored: Sequence[Any]
    #: Makes of what was stored what tells its fields; set by who knows the table.
    _row_of: ClassVar[Callable[[Sequence[Any]], Stored]]

    if not TYPE_CHECKING:  # else every name would be taken for a field

        def __getattr__(self, name: str) -> Any:
            if name == "_stored" or name not in self.__dataclass_fields__:
                message = f"{type(self).__name__!r} object has no attribute {name!r}"
                raise AttributeError(message, name=name, obj=self)
            value = self._row_of(self._stored).value_of(name)
            object.__setattr__(self, name, value)
            return value


#: A frozen dataclass sets its fields twice as slowly as its slots do, and a read makes many.
keep_stored: Callable[[_FromStored, Sequence[Any]], None] = vars(_FromStored)["_stored"].__set__


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


class Content(NamedTuple):
    """What an event holds of a message, and no more: the content as it was given."""

    seq: int
    id: str
    author: str
    format: str
    content: JSON


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
