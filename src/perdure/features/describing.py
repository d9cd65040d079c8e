"""What a session says of itself: checked texts, tags, metadata, and changing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from perdure.errors import InvalidError, TooLargeError
from perdure.features.lookup import SESSIONS, SessionRow
from perdure.operation import Plan
from perdure.parts import check_key
from perdure.records import DELETE, JSON, Marker, SessionKey
from perdure.values import Limits, canonical, check_text, decode, digest, encode, encode_trusted

MAX_TTL = timedelta(days=365_000)


class Text:
    """Checks the describing fields of a session against the store's limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def line(self, value: str, what: str) -> str:
        """A title, an author, a type of agent."""
        return check_text(value, what, self._limits.title)

    def tags(self, tags: Sequence[str]) -> list[str]:
        """Tags, each once, in the order given."""
        if isinstance(tags, str) or not isinstance(tags, Sequence):
            raise InvalidError(f"tags is a list of texts, not {tags!r}", "tags")
        limit = self._limits.text
        return list(dict.fromkeys(check_text(tag, "tag", limit, blank=False) for tag in tags))

    def metadata(self, metadata: Mapping[str, JSON]) -> dict[str, JSON]:
        """A JSON object; comes back as a copy."""
        if not isinstance(metadata, Mapping):
            raise InvalidError(f"metadata must be a JSON object, not {metadata!r}", "metadata")
        for key in metadata:
            check_text(key, "a key of metadata", self._limits.text)
        text = encode(dict(metadata), "metadata", self._limits.state, "state")
        copy: dict[str, JSON] = decode(text, "metadata")
        return copy


def terms(tags: Sequence[str], metadata: Mapping[str, JSON]) -> list[str]:
    """What lists find a session by: a digest for each tag and each metadata pair."""
    found = [digest("tag", tag) for tag in tags]
    return [*found, *(digest("pair", key, canonical(value)) for key, value in metadata.items())]


def key_text(key: SessionKey | None, limit: int) -> str | None:
    """The stored form of another session's key."""
    if key is None:
        return None
    checked = check_key(key, limit)
    for part in checked:
        check_text(part, "parent", limit)
    return encode_trusted(list(checked))


def micros(ttl: object, thing: str) -> int:
    """The time to live of a thing in microseconds; it must be above zero."""
    if not isinstance(ttl, timedelta):
        raise InvalidError(f"ttl must be a timedelta, not {ttl!r}", "ttl")
    if ttl <= timedelta(0):
        raise InvalidError(f"ttl must be above zero, not {ttl}: delete the {thing} instead", "ttl")
    if ttl > MAX_TTL:
        raise InvalidError(
            f"ttl is {ttl.days} days, at most {MAX_TTL.days}: None is for ever", "ttl"
        )
    return ttl // timedelta(microseconds=1)


def span(value: object, what: str) -> int:
    """The microseconds of a timedelta above 0; `InvalidError`."""
    if not isinstance(value, timedelta) or not timedelta(0) < value <= MAX_TTL:
        most = f"of at most {MAX_TTL.days} days"
        raise InvalidError(f"{what} must be a timedelta above 0, {most}, not {value!r}", what)
    return value // timedelta(microseconds=1)


class Change(NamedTuple):
    """What an update changes: the columns, and the metadata by key."""

    columns: dict[str, Any]
    tags: list[str] | None
    metadata: dict[str, JSON]
    removed: list[str]
    limit: int


def change(
    limits: Limits,
    title: str | None,
    author: str | None,
    agent_type: str | None,
    tags: Sequence[str] | None,
    metadata: Mapping[str, JSON | Marker] | None,
    ttl: timedelta | Marker | None,
) -> Change:
    """The checked change; `InvalidError` for what cannot be stored."""
    text = Text(limits)
    lines = {"title": title, "author": author, "agent_type": agent_type}
    columns: dict[str, Any] = {
        name: text.line(value, name) for name, value in lines.items() if value is not None
    }
    if ttl is not None:
        columns["ttl"] = None if ttl is DELETE else micros(ttl, "session")
    given = dict(metadata or {})
    kept = {key: value for key, value in given.items() if value is not DELETE}
    removed = [key for key, value in given.items() if value is DELETE]
    checked_tags = None if tags is None else text.tags(tags)
    return Change(columns, checked_tags, text.metadata(kept), removed, limits.state)


def apply(row: SessionRow, changed: Change, now: int) -> Plan[SessionRow]:
    """The claimed session with the change written."""
    what = f"session {row.uid}"
    tags = decode(row.tags, what) if changed.tags is None else changed.tags
    metadata = decode(row.metadata, what) | changed.metadata
    for key in changed.removed:
        metadata.pop(key, None)
    text = encode_trusted(metadata)
    size = len(text.encode())
    if size > changed.limit:
        message = f"metadata grows to {size} bytes of JSON, the limit is {changed.limit}"
        raise TooLargeError(message, "state", "metadata")
    row = row._replace(tags=encode_trusted(tags), metadata=text, **changed.columns)
    row = row._replace(expires_at=None if row.ttl is None else now + row.ttl)
    yield SESSIONS.describe(
        part=row.part,
        uid=row.uid,
        title=row.title,
        author=row.author,
        agent_type=row.agent_type,
        tags=row.tags,
        metadata=row.metadata,
        ttl=row.ttl,
        expires_at=row.expires_at,
    )
    if changed.tags is not None or changed.metadata or changed.removed:
        yield SESSIONS.clear_terms(part=row.part, uid=row.uid)
        found = terms(tags, metadata)
        if found:
            yield SESSIONS.add_term.many([(row.part, row.uid, term) for term in found])
    return row
