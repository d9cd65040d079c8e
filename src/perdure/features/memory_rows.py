"""From what a caller gives to a row of memories, and from the row to the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias

from perdure.errors import CorruptError, InvalidError, TooLargeError
from perdure.features.describing import Text
from perdure.features.hooks import passed
from perdure.features.postings import Doc, document
from perdure.operation import Settings
from perdure.parts import place
from perdure.records import JSON, Memory, MemoryInput, NewMemory
from perdure.sql import load
from perdure.values import (
    check_text,
    decode,
    digest,
    encode_trusted,
    from_micros,
    maybe,
    to_micros,
)

MEMORY = load("perdure.features", "memory.sql")

Identity: TypeAlias = Literal["content", "source"]
_GIVEN = {field.name for field in fields(NewMemory)}


class Owner(NamedTuple):
    """Whose memories: a user's, or an app's by the user of no name; and the time of the call.

    ``block`` is where a call that writes puts what it adds to the full-text index.
    """

    part: str
    app_part: str
    tenant: str
    app: str
    user: str
    now: int
    block: str = ""


class MemoryRow(NamedTuple):
    """A row of the table, in the order of `columns` in memory.sql."""

    part: str
    id: str
    digest: str
    same_by: str
    version: int
    text: str
    topics: str
    metadata: str
    agent: str
    author: str
    session_id: str
    event_id: str
    timestamp: int
    valid_from: int | None
    valid_until: int | None
    superseded_by: str | None
    pinned: int
    expires_at: int | None
    created_at: int
    updated_at: int


#: What a change may change, in the order in which the log keeps it.
LOGGED = (
    "text", "topics", "metadata", "author", "timestamp", "valid_from", "valid_until",
    "superseded_by", "pinned", "expires_at", "updated_at",
)  # fmt: skip


def owner_of(settings: Settings, app: str, user: str) -> Owner:
    """The owner; `InvalidError` for names that cannot be one."""
    where = place(settings.tenant, app, user, settings.limits.text)
    return Owner(*where, settings.tenant, app, user, settings.clock())


def writer_of(settings: Settings, app: str, user: str) -> Owner:
    """The same for a call that writes."""
    return owner_of(settings, app, user)._replace(block=settings.ids())


def memory_id(settings: Settings, owner: Owner) -> str:
    """A new id, that says by itself whose the memory is."""
    return f"mem_{owner.part[:8]}{settings.ids()}"


def as_memory(given: MemoryInput) -> NewMemory:
    """A text, or a mapping of the fields, as the memory that it stands for."""
    if isinstance(given, NewMemory):
        return given
    if isinstance(given, str):
        return NewMemory(given)
    if not isinstance(given, Mapping):
        message = f"a memory is a NewMemory, a mapping of its fields or a text, not {given!r}"
        raise InvalidError(message, "memory")
    unknown = sorted(str(name) for name in given if name not in _GIVEN)
    if unknown or "content" not in given:
        message = f"a memory has a content, and no field {unknown}: see perdure.NewMemory"
        raise InvalidError(message, "memory")
    return NewMemory(**given)


def draft(given: NewMemory, identity: str, settings: Settings, owner: Owner) -> MemoryRow:
    """The checked row of a new memory; `InvalidError` or `TooLargeError` for what cannot be one."""
    given = passed(given, settings)
    text = Text(settings.limits)
    names = _names(given, settings)
    valid_from, valid_until = span(given.valid_from, given.valid_until)
    row = MemoryRow(
        part=owner.part,
        id=memory_id(settings, owner),
        digest="",
        same_by=identity,
        version=1,
        text=checked_content(given.content, settings),
        topics=encode_trusted(topics_of(given.topics, settings)),
        metadata=encode_trusted(text.metadata(given.metadata or {})),
        **names,
        timestamp=owner.now if given.timestamp is None else to_micros(given.timestamp, "timestamp"),
        valid_from=valid_from,
        valid_until=valid_until,
        superseded_by=None,
        pinned=flag(given.pinned, "pinned"),
        expires_at=maybe(lambda at: to_micros(at, "expires_at"), given.expires_at),
        created_at=owner.now,
        updated_at=owner.now,
    )
    return row._replace(digest=digest_of(row))


def _names(given: NewMemory, settings: Settings) -> dict[str, str]:
    limit = settings.limits.text
    return {
        "agent": check_text(given.agent, "agent", limit),
        "author": check_text(given.author, "author", limit),
        "session_id": check_text(given.session, "session", limit),
        "event_id": check_text(given.event_id, "event_id", limit),
    }


def checked_content(value: object, settings: Settings) -> str:
    """The text of a memory: of any length that an event may have, and not blank."""
    limit = settings.limits.event
    if isinstance(value, str) and len(value.encode("utf-8", "surrogatepass")) > limit:
        message = f"content is longer than {limit} bytes, the limit 'event'"
        raise TooLargeError(message, "event", "content")
    return check_text(value, "content", limit, blank=False)


def topics_of(topics: Sequence[str], settings: Settings) -> list[str]:
    """Topics, each once, in the order given."""
    if isinstance(topics, str) or not isinstance(topics, Sequence):
        raise InvalidError(f"topics is a list of texts, not {topics!r}", "topics")
    limit = settings.limits.text
    return list(dict.fromkeys(check_text(one, "topic", limit, blank=False) for one in topics))


def span(start: datetime | None, end: datetime | None) -> tuple[int | None, int | None]:
    """When a memory holds, in microseconds; the end must come after the start."""
    low = maybe(lambda at: to_micros(at, "valid_from"), start)
    high = maybe(lambda at: to_micros(at, "valid_until"), end)
    check_span(low, high)
    return low, high


def check_span(low: int | None, high: int | None) -> None:
    """`InvalidError` for a time that ends before it has begun."""
    if low is not None and high is not None and high <= low:
        message = (
            f"valid_until ({from_micros(high).isoformat()}) must be later than valid_from "
            f"({from_micros(low).isoformat()})"
        )
        raise InvalidError(message, "valid_until")


def flag(value: object, name: str) -> int:
    """A flag as it is stored."""
    if not isinstance(value, bool):
        raise InvalidError(f"{name} is True or False, not {value!r}", name)
    return int(value)


def identity_of(identity: object) -> Identity:
    """By what two memories are the same; `InvalidError`."""
    if identity not in {"content", "source"}:
        raise InvalidError(f"identity is 'content' or 'source', not {identity!r}", "identity")
    return identity


def digest_of(row: MemoryRow) -> str:
    """What two memories of one owner that are the same have in common.

    By content: the text, who said it to whom, and when it holds; not the topics, and nothing
    that may become known later. By source: the session and the event. Each field goes in with
    its length, and the owner is the part that the row is in.
    """
    if row.same_by == "content":
        times = encode_trusted([row.valid_from, row.valid_until])
        return digest("content", row.agent, row.author, row.text, times)
    if not row.session_id or not row.event_id:
        message = "identity='source' needs the session and the event_id that the memory is of"
        raise InvalidError(message, "event_id")
    return digest("source", row.session_id, row.event_id)


def memory_of(owner: Owner, row: MemoryRow) -> Memory:
    """The record of a row; `CorruptError` naming the memory if it is damaged."""
    what = f"memory {row.id!r}"
    topics, metadata = decode(row.topics, what), decode(row.metadata, what)
    if not isinstance(topics, list) or not isinstance(metadata, dict):
        raise CorruptError(f"the topics or the metadata of {what} are damaged")
    return Memory(
        id=row.id,
        app=owner.app,
        user=owner.user,
        agent=row.agent,
        session=row.session_id,
        content=row.text,
        author=row.author,
        topics=tuple(topics),
        metadata=metadata,
        event_id=row.event_id,
        timestamp=from_micros(row.timestamp),
        valid_from=maybe(from_micros, row.valid_from),
        valid_until=maybe(from_micros, row.valid_until),
        superseded_by=row.superseded_by,
        pinned=bool(row.pinned),
        expires_at=maybe(from_micros, row.expires_at),
        created_at=from_micros(row.created_at),
        updated_at=from_micros(row.updated_at),
        version=row.version,
    )


def document_of(row: MemoryRow) -> Doc:
    """What a search finds the memory by: its text and its topics."""
    topics = decode(row.topics, f"memory {row.id!r}")
    return document(row.id, "\n".join([row.text, *topics]))


def was_of(row: MemoryRow) -> str:
    """What the log keeps of a row."""
    return encode_trusted([getattr(row, name) for name in LOGGED])


def row_as_it_was(row: MemoryRow, version: int, was: str) -> MemoryRow:
    """The row of a memory as an entry of its log has it."""
    values: JSON = decode(was, f"the log of memory {row.id!r}")
    if not isinstance(values, list) or len(values) != len(LOGGED):
        raise CorruptError(f"entry {version} of the log of memory {row.id!r} is damaged")
    columns: dict[str, Any] = dict(zip(LOGGED, values, strict=True))
    return row._replace(version=version, **columns)
