"""Which memories are asked for, and what a change by hand changes: checked before any plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from perdure.errors import InvalidError, TooLargeError
from perdure.features.cursors import pack
from perdure.features.describing import Text
from perdure.features.hooks import passed
from perdure.features.memory_rows import (
    MEMORY,
    MemoryRow,
    Owner,
    check_span,
    checked_content,
    flag,
    memory_of,
    topics_of,
)
from perdure.operation import Plan, Settings
from perdure.records import ALL, DELETE, JSON, AllType, Marker, Memory, NewMemory, Page
from perdure.values import check_text, decode, encode_trusted, to_micros

#: Rows that are looked at in one go where only some of them are wanted.
_BATCH = 500


class Wanted(NamedTuple):
    """Which memories of an owner; ``as_of`` None: whenever they hold."""

    as_of: int | None
    topics: frozenset[str]
    session: str | None
    agent: str | None

    @property
    def every(self) -> bool:
        """Whether nothing but the time is asked for."""
        return not self.topics and self.session is None and self.agent is None

    def takes(self, row: MemoryRow) -> bool:
        """Whether a row is one of them, whatever its time."""
        if self.session is not None and row.session_id != self.session:
            return False
        if self.agent is not None and row.agent != self.agent:
            return False
        return self.topics.issubset(decode(row.topics, f"memory {row.id!r}"))


def wanted(
    settings: Settings,
    owner: Owner,
    as_of: datetime | AllType | None,
    topics: Sequence[str],
    session: str | None,
    agent: str | None,
) -> Wanted:
    """The checked filter."""
    limit = settings.limits.text
    return Wanted(
        moment(as_of, owner.now),
        frozenset(topics_of(topics, settings)),
        None if session is None else check_text(session, "session", limit),
        None if agent is None else check_text(agent, "agent", limit),
    )


def moment(as_of: datetime | AllType | None, now: int) -> int | None:
    """The time at which memories are to hold: now if none is given, None for `ALL`."""
    if as_of is None:
        return now
    return None if as_of is ALL else to_micros(as_of, "as_of")


def page(
    owner: Owner, which: Wanted, after: tuple[int, str] | None, size: int
) -> Plan[Page[Memory]]:
    """One page, newest first, and the cursor of the next."""
    found: list[MemoryRow] = []
    batch = size + 1 if which.every else max(size + 1, _BATCH)
    while len(found) <= size:
        time, after_id = after or (None, None)
        rows = yield MEMORY.pick("page", "first" if after is None else "next")(
            part=owner.part, now=owner.now, as_of=which.as_of, after=time, after_id=after_id,
            limit=batch,
        )  # fmt: skip
        some = [MemoryRow._make(row) for row in rows]
        found += [row for row in some if which.takes(row)]
        if len(some) < batch:
            break
        after = some[-1].updated_at, some[-1].id
    shown = found[:size]
    more = pack("memory", shown[-1].updated_at, shown[-1].id) if len(found) > size else None
    return Page([memory_of(owner, row) for row in shown], more)


class Change(NamedTuple):
    """The columns that are given, and the metadata by key."""

    columns: dict[str, Any]
    metadata: dict[str, JSON]
    removed: list[str]
    limit: int


Moment = datetime | Marker | None


def change(
    settings: Settings,
    content: str | None,
    topics: Sequence[str] | None,
    metadata: Mapping[str, JSON | Marker] | None,
    author: str | None,
    timestamp: datetime | None,
    moments: Mapping[str, Moment],
    pinned: bool | None,
) -> Change:
    """The checked change; `InvalidError` for what cannot be stored."""
    columns: dict[str, Any] = {}
    content, topics, metadata, author = _passed(settings, content, topics, metadata, author)
    if content is not None:
        columns["text"] = checked_content(content, settings)
    if topics is not None:
        columns["topics"] = encode_trusted(topics_of(topics, settings))
    if author is not None:
        columns["author"] = check_text(author, "author", settings.limits.text)
    if timestamp is not None:
        columns["timestamp"] = to_micros(timestamp, "timestamp")
    if pinned is not None:
        columns["pinned"] = flag(pinned, "pinned")
    for name, at in moments.items():
        if at is not None:
            columns[name] = None if at is DELETE else to_micros(at, name)
    given = dict(metadata or {})
    kept = {key: value for key, value in given.items() if value is not DELETE}
    removed = [key for key, value in given.items() if value is DELETE]
    text = Text(settings.limits)
    return Change(columns, text.metadata(kept), removed, settings.limits.state)


def _passed(
    settings: Settings,
    content: str | None,
    topics: Sequence[str] | None,
    metadata: Mapping[str, JSON | Marker] | None,
    author: str | None,
) -> tuple[str | None, Sequence[str] | None, Mapping[str, JSON | Marker] | None, str | None]:
    """The texts of a change as they are to be stored: `on_write` sees what is given of them."""
    if metadata is not None and not isinstance(metadata, Mapping):
        raise InvalidError(f"metadata must be a JSON object, not {metadata!r}", "metadata")
    given = dict(metadata or {})
    removed = {key: value for key, value in given.items() if value is DELETE}
    kept: dict[str, Any] = {key: value for key, value in given.items() if value is not DELETE}
    new = NewMemory(content or "", topics or (), author=author or "", metadata=kept)
    new = passed(new, settings)
    return (
        content if content is None else new.content,
        topics if topics is None else new.topics,
        metadata if metadata is None else {**(new.metadata or {}), **removed},
        author if author is None else new.author,
    )


def applied(row: MemoryRow, changed: Change) -> MemoryRow:
    """The row with the change; `InvalidError` if it cannot be so."""
    metadata = decode(row.metadata, f"memory {row.id!r}") | changed.metadata
    for key in changed.removed:
        metadata.pop(key, None)
    text = encode_trusted(metadata)
    size = len(text.encode())
    if size > changed.limit:
        message = f"metadata grows to {size} bytes of JSON, the limit is {changed.limit}"
        raise TooLargeError(message, "state", "metadata")
    row = row._replace(metadata=text, **changed.columns)
    if not {"valid_from", "valid_until"}.isdisjoint(changed.columns):
        check_span(row.valid_from, row.valid_until)
    return row
