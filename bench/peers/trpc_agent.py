"""trpc-agent-py's session service, as shipped, and ours under the same calls."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from bench.peers import durability, load
from bench.peers.ours import settings_of
from bench.peers.postgres import durability_of, fresh_url
from bench.workload import APP, delta_of, id_of, text_of, user_of

_PACKAGE = "trpc-agent-py"


class TrpcPeer:
    """A session service; each session object is kept and appended to, as its runner does."""

    failures: tuple[type[Exception], ...] = ()

    def __init__(self, service: Any) -> None:
        self._service = service
        self._events = load("trpc_agent_sdk.events", _PACKAGE)
        self._types = load("trpc_agent_sdk.types", _PACKAGE)
        self._sessions: list[Any] = []

    async def start(self, sessions: int) -> str:
        for number in range(sessions):
            session = await self._service.create_session(
                app_name=APP, user_id=user_of(number), session_id=id_of(number)
            )
            self._sessions.append(session)
        return await self._durability()

    async def _durability(self) -> str:
        return "in memory"

    async def append(self, session: int, number: int) -> object:
        part = self._types.Part.from_text(text=text_of(number))
        event = self._events.Event(
            author="user",
            invocation_id="run",
            content=self._types.Content(role="user", parts=[part]),
            actions=self._types.EventActions(state_delta=delta_of(number)),
        )
        return await self._service.append_event(self._sessions[session], event)

    async def renew(self, session: int) -> None:
        self._sessions[session] = await self._service.create_session(
            app_name=APP, user_id=user_of(session)
        )

    async def read(self, session: int, recent: int | None) -> int:
        found = await self._service.get_session(
            app_name=APP, user_id=user_of(session), session_id=id_of(session)
        )
        return len(found.events if recent is None else found.events[-recent:])

    async def stop(self) -> None:
        await self._service.close()


class TrpcSql(TrpcPeer):
    """SqlSessionService on SQLite, called in the loop as it is by default."""

    def __init__(self, folder: Path) -> None:
        module = load("trpc_agent_sdk.sessions", _PACKAGE)
        self.failures = (load("sqlalchemy.exc", "sqlalchemy").OperationalError,)
        super().__init__(module.SqlSessionService(db_url=f"sqlite:///{folder / 'trpc.db'}"))

    async def _durability(self) -> str:
        text = load("sqlalchemy", "sqlalchemy").text
        async with self._service._sql_storage.create_db_session() as session:
            journal = session.execute(text("PRAGMA journal_mode")).scalar()
            synchronous = session.execute(text("PRAGMA synchronous")).scalar()
        return durability(journal, synchronous)


class TrpcPostgres(TrpcPeer):
    """The same on PostgreSQL, awaited: through SQLAlchemy and asyncpg.

    With ``expire_on_commit`` off: as shipped, its `get_session` fails there with MissingGreenlet.
    """

    def __init__(self, _folder: Path) -> None:
        self._url = fresh_url()
        module = load("trpc_agent_sdk.sessions", _PACKAGE)
        self.failures = (load("sqlalchemy.exc", "sqlalchemy").OperationalError,)
        url = self._url.replace("postgresql://", "postgresql+asyncpg://")
        super().__init__(
            module.SqlSessionService(
                db_url=url, is_async=True, pool_size=16, max_overflow=0, expire_on_commit=False
            )
        )

    async def _durability(self) -> str:
        return await asyncio.to_thread(durability_of, self._url)


class PerdureTrpc(TrpcPeer):
    """PerdureSessionService."""

    def __init__(self, url: str) -> None:
        load("trpc_agent_sdk.sessions", _PACKAGE)
        self._url = url
        super().__init__(load("perdure.adapters.trpc", _PACKAGE).PerdureSessionService(url))

    async def _durability(self) -> str:
        return await asyncio.to_thread(settings_of, self._url)
