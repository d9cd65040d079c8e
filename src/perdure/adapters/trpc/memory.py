"""`PerdureMemoryService`: long-term memory of trpc-agent-py in a perdure store."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from trpc_agent_sdk.abc import MemoryServiceABC, MemoryServiceConfig
from trpc_agent_sdk.sessions import Session
from trpc_agent_sdk.types import MemoryEntry, SearchMemoryResponse

from perdure.adapters.opened import opened
from perdure.adapters.trpc.encoding import KEY, moment, tame, whole
from perdure.records import Memory, NewMemory
from perdure.store import Store, SyncStore

if TYPE_CHECKING:
    from trpc_agent_sdk.events import Event

_BATCH = 1_000
#: What "all" may be: the most that one search gives.
_ALL = 10_000


class PerdureMemoryService(MemoryServiceABC):
    """A trpc-agent memory service over ``store.memory``.

    Each event that says something is one memory, known by its session and its id: it is stored
    once however often its session is, and the same words said twice are two memories. ``store`` is
    as for `PerdureSessionService`, the configuration trpc-agent's: with its ttl memories expire.
    """

    def __init__(
        self,
        store: Store | SyncStore | str,
        *,
        memory_service_config: MemoryServiceConfig | None = None,
        enabled: bool = False,
    ) -> None:
        super().__init__(memory_service_config=memory_service_config, enabled=enabled)
        self._opened = opened(store)
        self.store = self._opened.store
        ttl = self._memory_service_config.ttl
        self._ttl = timedelta(seconds=ttl.ttl_seconds) if ttl.need_ttl_expire() else None

    async def store_session(self, session: Session, agent_context: Any = None) -> None:  # noqa: ARG002
        """Remember each event of the session that says something; `TypeError` for no session."""
        if not isinstance(session, Session):
            raise TypeError(f"Content must be a Session, got {type(session)}")
        app, user = _owner(session.save_key)
        until = None if self._ttl is None else datetime.now(UTC) + self._ttl
        told = {event.id: event for event in session.events if _text(event)}
        entries = [_entry(event, session.id, until) for event in told.values()]
        for start in range(0, len(entries), _BATCH):
            batch = entries[start : start + _BATCH]
            await self.store.memory.ingest(app, user, batch, identity="source")

    async def search_memory(
        self,
        key: str,
        query: str,
        limit: int = 10,
        agent_context: Any = None,  # noqa: ARG002 - trpc-agent's
    ) -> SearchMemoryResponse:
        """What answers the query best, best first; a limit of 0 is none.

        ``key`` is the ``save_key`` of a session, "app/user".
        """
        app, user = _owner(key)
        most = limit if limit > 0 else _ALL
        hits = await self.store.memory.search(app, user, query, limit=most)
        return SearchMemoryResponse(memories=[_found(hit.memory) for hit in hits])

    async def close(self) -> None:
        """Close the store, if it is the service's own."""
        if self._opened.own:
            await asyncio.to_thread(self._opened.sync.close)


def _owner(key: str) -> tuple[str, str]:
    app, _, user = key.partition("/")
    return app, user


def _text(event: Event) -> str:
    parts = (event.content.parts or []) if event.content else []
    return whole(" ".join(part.text for part in parts if part.text)).replace("\0", "").strip()


def _entry(event: Event, session: str, until: datetime | None) -> NewMemory:
    content = event.content.model_dump(mode="json", exclude_none=True)
    return NewMemory(
        _text(event),
        author=event.author,
        session=session,
        event_id=event.id,
        metadata={KEY: tame(content)},
        timestamp=moment(event.timestamp),
        expires_at=until,
    )


def _found(memory: Memory) -> MemoryEntry:
    content = memory.metadata.get(KEY) or {"role": "user", "parts": [{"text": memory.content}]}
    return MemoryEntry(
        content=content, author=memory.author or None, timestamp=memory.timestamp.isoformat()
    )
