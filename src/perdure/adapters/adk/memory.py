"""`PerdureMemoryService`: ADK's long-term memory in a perdure store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from google.adk.memory.base_memory_service import BaseMemoryService, SearchMemoryResponse
from google.adk.memory.memory_entry import MemoryEntry
from google.genai import types

from perdure.adapters.adk.encoding import fits, moment, plain_state
from perdure.adapters.service import Service
from perdure.errors import InvalidError
from perdure.records import Memory, NewMemory
from perdure.store import Store, SyncStore
from perdure.values import digest

if TYPE_CHECKING:
    from google.adk.events.event import Event
    from google.adk.sessions.session import Session

_KEY = "adk"
#: Where events come from that belong to no session, and memories that name an id of their own.
_NO_SESSION = "adk:no-session"
_GIVEN = "adk:given"
_BATCH = 1_000
#: Larger contents are remembered by their words alone.
_LARGEST = 2**20


class PerdureMemoryService(Service, BaseMemoryService):
    """An ADK memory service over ``store.memory``.

    Each event that says something is one memory, known by its session and its id: it is stored
    once however often its session is added, and the same words said twice are two memories. What
    was deleted stays so. ``store`` is as for `PerdureSessionService`; at most ``limit`` memories
    answer a search.
    """

    def __init__(self, store: Store | SyncStore | str, *, limit: int = 10) -> None:
        super().__init__(store)
        self._limit = limit

    async def add_session_to_memory(self, session: Session) -> None:
        """Remember each event of the session that says something and is not remembered yet."""
        entries = _of_events(session.events, session.id, None)
        await self._ingest(session.app_name, session.user_id, entries, "source")

    async def add_events_to_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        events: Sequence[Event],
        session_id: str | None = None,
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        """The same for some events; the metadata comes back with each of them."""
        entries = _of_events(events, session_id or _NO_SESSION, custom_metadata)
        await self._ingest(app_name, user_id, entries, "source")

    async def add_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        memories: Sequence[MemoryEntry],
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Remember these; one with an id once by its id, others once by what they say."""
        told = [_of_entry(one, custom_metadata) for one in memories]
        for identity, session in (("source", _GIVEN), ("content", "")):
            entries = [one for one in told if one is not None and one.session == session]
            await self._ingest(app_name, user_id, entries, identity)

    async def _ingest(
        self, app_name: str, user_id: str, entries: Iterable[NewMemory], identity: Any
    ) -> None:
        # By source a call may name an event once; of an event that is given twice the first counts.
        each = {(one.session, one.event_id) if one.event_id else id(one): one for one in entries}
        unique = list(each.values())
        for start in range(0, len(unique), _BATCH):
            batch = unique[start : start + _BATCH]
            await self.store.memory.ingest(app_name, user_id, batch, identity=identity)

    async def search_memory(
        self, *, app_name: str, user_id: str, query: str
    ) -> SearchMemoryResponse:
        """The user's memories that answer the query best, the best one first."""
        hits = await self.store.memory.search(app_name, user_id, query, limit=self._limit)
        return SearchMemoryResponse(memories=[_entry(hit.memory) for hit in hits])

    async def delete_memory(
        self, *, app_name: str, user_id: str, memory_id: str | None = None
    ) -> None:
        """Forget the memory of that id for good; it is not brought back with its session."""
        if memory_id and memory_id.strip():
            await self.store.memory.delete(app_name, user_id, memory_id)


def _of_events(
    events: Iterable[Event], session: str, metadata: Mapping[str, object] | None
) -> list[NewMemory]:
    session = _name(session)
    entries = []
    for event in events:
        text = _text(event.content)
        if text and event.content is not None:
            entries.append(
                NewMemory(
                    text,
                    author=event.author if fits(event.author) else "",
                    session=session,
                    event_id=_name(event.id),
                    metadata=_metadata(event.content, text, metadata),
                    timestamp=moment(event.timestamp),
                )
            )
    return entries


def _name(given: str) -> str:
    """An id that the store can hold: what is longer by its digest."""
    return given if fits(given) else f"adk:{digest(given)}"


def _of_entry(entry: MemoryEntry, shared: Mapping[str, object] | None) -> NewMemory | None:
    text = _text(entry.content)
    if not text:
        return None
    author = entry.author or ""
    return NewMemory(
        text,
        author=author if fits(author) else "",
        session=_GIVEN if entry.id else "",
        event_id=_name(entry.id) if entry.id else "",
        metadata=_metadata(entry.content, text, {**entry.custom_metadata, **(shared or {})}),
        timestamp=_read(entry.timestamp),
    )


def _read(timestamp: str | None) -> datetime | None:
    if not timestamp:
        return None
    try:
        found = datetime.fromisoformat(timestamp)
    except ValueError as error:
        message = f"timestamp {timestamp!r} is no time of ISO 8601"
        raise InvalidError(message, "timestamp") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _text(content: types.Content | None) -> str:
    parts = [] if content is None else content.parts or []
    text = " ".join(part.text for part in parts if part.text).replace("\0", "")
    return text.encode("utf-8", "backslashreplace").decode() if text.strip() else ""


def _metadata(
    content: types.Content, text: str, custom: Mapping[str, object] | None
) -> dict[str, Any]:
    """What the text does not say of the content, and what the caller wants kept."""
    told = content.model_dump(mode="json", exclude_none=True)
    if told.get("parts") == [{"text": text}]:
        told.pop("parts")
    elif len(content.model_dump_json(exclude_none=True)) > _LARGEST:
        told["parts"] = [{"text": part.text} for part in content.parts or [] if part.text]
    kept: dict[str, Any] = {"content": told} if told else {}
    if custom:
        kept["custom"] = plain_state(custom)
    return {_KEY: kept} if kept else {}


def _entry(memory: Memory) -> MemoryEntry:
    kept = memory.metadata.get(_KEY) or {}
    content = {"parts": [{"text": memory.content}], **kept.get("content", {})}
    return MemoryEntry(
        id=memory.id,
        content=types.Content.model_validate(content),
        author=memory.author or None,
        timestamp=memory.timestamp.isoformat(),
        custom_metadata=kept.get("custom", {}),
    )


__all__ = ["PerdureMemoryService"]
