"""Lines of Claude Code's transcripts as events, and events as lines."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from perdure.adapters.packing import packed, unpacked
from perdure.errors import InvalidError
from perdure.formats import convert
from perdure.records import JSON, Event, NewEvent, SessionKey
from perdure.values import Limits

Key = Mapping[str, str]
Entry = dict[str, Any]

FORMAT = "claude-code"
#: The state key of a session that holds what the SDK has folded of it.
SUMMARY = "claude_summary"
_LONGEST_ID = Limits().text
#: Under which lines that were not written by Claude Code get their uuids.
_SPACE = uuid.UUID("5f0c2a3e-7c52-4d2c-9f0b-6f3a8b1d9e44")


def main_id(session_id: str) -> str:
    """The id of a session's main transcript; one that is a UUID stays as it is."""
    return session_id.replace("%", "%25").replace("/", "%2F")


def session_of(id: str) -> str:
    """The session id of a main transcript."""
    return id.replace("%2F", "/").replace("%25", "%")


def key_of(key: Key, owner: tuple[str, str]) -> SessionKey:
    """Where a transcript is kept: no two keys in the same place.

    A main transcript's id has no slash, so the first one parts session and subpath.
    """
    subpath = key.get("subpath")
    if subpath == "":
        raise InvalidError("subpath is empty: leave it out for the main transcript", "subpath")
    main = main_id(key["session_id"])
    return SessionKey(*owner, main if subpath is None else f"{main}/{subpath}")


def is_main(key: Key) -> bool:
    """Whether the key names a main transcript."""
    return key.get("subpath") is None


def id_of(entry: Mapping[str, Any]) -> str | None:
    """What makes storing an entry twice the same as once; None: nothing does."""
    given = entry.get("uuid")
    if not isinstance(given, str) or not given.strip() or "\0" in given:
        return None
    try:
        return given if len(given.encode()) <= _LONGEST_ID else None
    except UnicodeEncodeError:
        return None


def once(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, of each uuid the first one."""
    seen: set[str] = set()
    kept = []
    for entry in entries:
        named = id_of(entry)
        if named is not None and named in seen:
            continue
        if named is not None:
            seen.add(named)
        kept.append(entry)
    return kept


def event_of(entry: Entry, *, pack: bool) -> NewEvent:
    """The event of an entry; ``pack`` once the store has refused one of the batch."""
    kind = entry.get("type")
    return NewEvent(
        packed(entry) if pack else entry,
        id=id_of(entry),
        author=kind if kind in {"user", "assistant", "system"} else FORMAT,
        format=FORMAT,
        timestamp=_moment(entry.get("timestamp")),
    )


def _moment(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def entries_of(events: Sequence[Event], session_id: str) -> list[Entry]:
    """The lines of a transcript; what another framework has written becomes lines of Claude Code.

    Such a line follows the one before it, and has the same uuid each time it is read.
    """
    entries: list[Entry] = []
    last: str | None = None
    for event in events:
        if event.format == FORMAT and (own := _own(event.content)) is not None:
            entries.append(own)
        else:
            entries.extend(_converted(event, session_id, last))
        last = (id_of(entries[-1]) if entries else None) or last
    return entries


def _own(content: JSON) -> Entry | None:
    value = unpacked(content)
    return value if isinstance(value, dict) else None


def _converted(event: Event, session_id: str, parent: str | None) -> Iterator[Entry]:
    said, _ = convert([(event.format, event.content, event.author)], FORMAT)
    moment = event.timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for number, line in enumerate(said):
        own = str(uuid.uuid5(_SPACE, f"{event.id}/{number}"))
        yield {
            "parentUuid": parent,
            "isSidechain": False,
            "userType": "external",
            "sessionId": session_id,
            **line,
            "uuid": own,
            "timestamp": moment,
        }
        parent = own
