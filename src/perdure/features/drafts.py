"""From what a caller gives to a row of the table, and from the row to the record."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from itertools import repeat
from typing import Any, NamedTuple

from msgspec import DecodeError
from msgspec.json import Decoder

from perdure.errors import CorruptError, InvalidError, TooLargeError
from perdure.features import hooks
from perdure.features.scopes import Scoped, split
from perdure.formats import Projection, project, role_of, words_of
from perdure.operation import Row, Rows, Settings
from perdure.records import (
    JSON,
    Content,
    Event,
    EventError,
    EventInput,
    Marker,
    NewEvent,
    Opaque,
)
from perdure.records.conversations import keep_stored
from perdure.values import (
    Limits,
    check_text,
    decode,
    decode_delta,
    encode,
    encode_bytes,
    encode_trusted,
    from_micros,
    maybe,
    payload,
    to_micros,
)

PREVIEW_CHARACTERS = 200
#: Formats of messages whose words need not be stored a second time, as their text.
_BRIEF = frozenset({"openai.chat", "openai.responses"})
#: Of a longer content the text is stored as well: search reads no more than its beginning.
_WITHIN = 16_384
_decode = Decoder().decode
_SEVERAL = {"calls", "results"}


class EventRow(NamedTuple):
    """A row of the table, in the order of `columns` in events.sql."""

    seq: int
    prev: int
    version: int
    id: str
    timestamp: int
    created_at: int
    author: str
    run_id: str
    branch: str
    filter_key: str
    kind: str
    role: str
    calls: str | None
    results: str | None
    format: str
    state_delta: str | None
    error: str | None
    usage: str | None
    metadata: str | None
    extra: str | None
    content: str | None
    codec: str | None
    data: bytes | None
    text: str

    def value_of(self, name: str) -> Any:
        """The field of the event that the row stands for; `CorruptError` if it is damaged."""
        if name == "partial":
            return False
        try:
            if name == "content":
                return _content_of(self)
            if name == "text":
                return _text_of(self.text, self.content if self.format in _BRIEF else None)
            value = getattr(self, name)
            decoder = _decoders.get(name)
            if decoder is None:
                return value
            if value is None:
                return () if name in _SEVERAL else None
            return decoder(value)
        except (CorruptError, DecodeError, ValueError, TypeError) as error:
            message = f"event {self.id!r} (seq {self.seq}) is damaged: {error}"
            raise CorruptError(message) from error


#: `EventRow._make` without its look at the length, which the statement has settled.
row_of: Callable[[Iterable[Any]], EventRow] = partial(tuple.__new__, EventRow)


class Draft(NamedTuple):
    """A checked event that waits for its place: seq, prev and version are still 0."""

    row: EventRow
    digest: str
    delta: Scoped
    named: bool
    """Whether the caller chose the id: only then can it be stored already."""
    partial: bool
    text: str
    """What is stored of the row's text: nothing, where it stands in the content."""

    @property
    def columns(self) -> tuple[Any, ...]:
        """What is stored beside seq, prev and version, in the order of `insert`."""
        return (self.row[3], self.digest, *self.row[4:-1], self.text)


def draft(given: EventInput, settings: Settings, now: int) -> Draft:
    """The checked form of an event; `InvalidError` or `TooLargeError` for what cannot be one."""
    event = hooks.event_of(as_event(given), settings)
    limits = settings.limits
    content = payload(event.content, "content", limits.event)
    delta = split(event.state_delta, limits)
    error = _error(event.error)
    extras = _extras(event, limits)
    names = _names(event, limits)
    if event.content is None and not (error or delta.text or any(extras)):
        message = "an event needs content, an error, usage, metadata, extra or a state_delta"
        raise InvalidError(message, "event")
    seen = _projection(event, error, delta)
    timestamp = None if event.timestamp is None else to_micros(event.timestamp, "timestamp")
    author, run_id, branch, filter_key = names
    # By place, not by name: that takes a quarter of the time, for each event that is stored.
    row = row_of((
        0, 0, 0,  # seq, prev, version
        settings.ids() if event.id is None else _event_id(event.id, limits),
        now if timestamp is None else timestamp,
        now,
        author or seen.role,
        run_id,
        branch,
        filter_key,
        seen.kind,
        seen.role,
        encode_trusted(seen.calls) if seen.calls else None,
        encode_trusted(seen.results) if seen.results else None,
        seen.format,
        delta.text,
        error,
        *extras,
        None if event.content is None else content[0],
        content[1],
        content[2],
        seen.text,
    ))  # fmt: skip
    given_fields = (*names, event.format, *content, error, *extras, delta.text, timestamp)
    named = event.id is not None
    kept = "" if _is_within(event.content, content[0], seen) else seen.text
    return Draft(row, _fingerprint(given_fields), delta, named, event.partial, kept)


def as_event(given: EventInput) -> NewEvent:
    """A text or a message as the event whose content it is."""
    if isinstance(given, NewEvent):
        return given
    if isinstance(given, str | Mapping):
        return NewEvent(given if isinstance(given, str) else dict(given))
    message = f"an event is a NewEvent, a message (mapping) or a text, not {given!r}"
    raise InvalidError(message, "event")


def _names(event: NewEvent, limits: Limits) -> tuple[str, str, str, str]:
    return (
        check_text(event.author, "author", limits.text),
        check_text(event.run_id, "run_id", limits.text),
        check_text(event.branch, "branch", limits.text),
        check_text(event.filter_key, "filter_key", limits.text),
    )


def _event_id(event_id: object, limits: Limits) -> str:
    return check_text(event_id, "event id", limits.text, blank=False)


def _error(error: EventError | str | None) -> str | None:
    if error is None:
        return None
    if isinstance(error, str):
        error = EventError(error)
    if not isinstance(error, EventError):
        raise InvalidError(f"error must be text or an EventError, not {error!r}", "error")
    return encode([error.message, error.code], "error", 2**20)


def _extras(event: NewEvent, limits: Limits) -> tuple[str | None, str | None, str | None]:
    usage = maybe(lambda value: encode(value, "usage", limits.event), event.usage)
    return usage, _object(event.metadata, "metadata", limits), _object(event.extra, "extra", limits)


def _object(value: Mapping[str, JSON] | None, path: str, limits: Limits) -> str | None:
    if not value:
        return None
    if not isinstance(value, Mapping):
        raise InvalidError(f"{path} must be a JSON object, not {value!r}", path)
    return encode(dict(value), path, limits.event)


def _projection(event: NewEvent, error: str | None, delta: Scoped) -> Projection:
    fmt = event.format
    if fmt is not None:
        check_text(fmt, "format", 64, blank=False)
    if event.content is None:
        kind = "error" if error else "state" if delta.text else "other"
        text = EventError(*decode(error, "error")).message if error else ""
        return Projection(kind, "", text.replace("\0", ""), (), (), fmt or "other")
    if isinstance(event.content, Opaque):
        return Projection("other", "", "", (), (), fmt or "other")
    seen = project(event.content, fmt)
    if not seen.role and seen.kind == "message":
        # A bare text says nothing of who speaks: the author does, else it is the user.
        return replace(seen, role=role_of(event.author) or "user")
    return seen


def _is_within(content: JSON | Opaque, stored: str | None, seen: Projection) -> bool:
    """Whether `_text_of` finds the text in the content."""
    short = stored is not None and len(stored) <= _WITHIN
    return short and seen.format in _BRIEF and words_of(content) is not None


def _text_of(text: str, content: str | None) -> str:
    """The text of an event, from beside its content or from within it."""
    if text or content is None or len(content) > _WITHIN:
        return text
    return words_of(_decode(content)) or ""


def shown_text(text: str, content: str | None) -> str:
    """The same for what shows or indexes many events: nothing, where the content is damaged.

    ``content`` is that of a chat message of no more than 16,384 characters, else None: `in_content`
    of the SQL. Who reads the event itself is told of the damage.
    """
    try:
        return _text_of(text, content)
    except (DecodeError, ValueError):
        return ""


def _fingerprint(given: tuple[object, ...]) -> str:
    """A digest of everything the caller gave; as a JSON array no field runs into the next."""
    return blake2b(encode_bytes(given), digest_size=16).hexdigest()


def check_batch(drafts: Sequence[Draft], limits: Limits) -> None:
    """Refuse a call with too many events, or with one id twice."""
    if len(drafts) > limits.records:
        message = f"{len(drafts)} events in one call, the limit is {limits.records}"
        raise TooLargeError(message, "records", "events")
    if len(drafts) < 2:  # noqa: PLR2004 - one is never twice
        return
    ids = [draft.row.id for draft in drafts if not draft.partial]
    if len(set(ids)) != len(ids):
        twice = next(event_id for event_id in ids if ids.count(event_id) > 1)
        raise InvalidError(f"the event id {twice!r} stands twice in one call", "events")


def preview_of(rows: Sequence[EventRow]) -> str | None:
    """The beginning of the last message's text; None if there is no message."""
    for row in reversed(rows):
        if row.kind == "message" and row.text:
            return row.text[:PREVIEW_CHARACTERS]
    return None


_new = object.__new__
Event._row_of = staticmethod(row_of)


def event_of(row: EventRow) -> Event:
    """The record of a row, which it reads when it is looked at."""
    event: Event = _new(Event)
    keep_stored(event, row)
    return event


def events_of(rows: Rows) -> list[Event]:
    """The records of rows of all `columns`, whatever stands behind these, in their order.

    No line of Python is run for each: there may be many, and they may all be looked at by few.
    """
    events: list[Event] = list(map(_new, repeat(Event, len(rows))))
    deque(map(keep_stored, events, rows), maxlen=0)
    return events


#: `Content._make`, by the same way as `row_of`.
_said: Callable[[Iterable[Any]], Content] = partial(tuple.__new__, Content)


def contents_of(rows: Rows) -> list[Content]:
    """The records of rows of `said`, whatever stands behind these, in their order."""
    try:
        # Nearly all are JSON: to ask of each what it is would take a fifth more.
        return [_said((row[0], row[1], row[2], row[3], _decode(row[4]))) for row in rows]
    except (DecodeError, ValueError, TypeError):
        return list(map(_content, rows))


def _content(row: Row) -> Content:
    seq, event_id, author, fmt, content, codec, data = row[:7]
    try:
        value = _opaque(codec, data) if content is None else _decode(content)
    except (DecodeError, ValueError, TypeError) as error:
        raise CorruptError(f"event {event_id!r} (seq {seq}) is damaged: {error}") from error
    return Content(seq, event_id, author, fmt, value)


def _error_of(text: str) -> EventError:
    return EventError(*_decode(text))


def _ids_of(text: str) -> tuple[str, ...]:
    return tuple(_decode(text))


def _delta_of(text: str) -> dict[str, JSON | Opaque | Marker]:
    return decode_delta(text, "its state_delta")


_decoders: dict[str, Callable[[Any], Any]] = {
    "timestamp": from_micros,
    "created_at": from_micros,
    "error": _error_of,
    "usage": _decode,
    "metadata": _decode,
    "state_delta": _delta_of,
    "extra": _decode,
    "calls": _ids_of,
    "results": _ids_of,
}


def _content_of(row: EventRow) -> JSON | Opaque:
    return _decode(row.content) if row.content is not None else _opaque(row.codec, row.data)


def _opaque(codec: str | None, data: bytes | None) -> Opaque | None:
    return None if codec is None else Opaque(codec, data or b"")
