"""Google ADK's session services, as shipped."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from bench.peers import durability, load
from bench.workload import APP, delta_of, id_of, text_of, user_of

_PACKAGE = "google-adk"


class AdkPeer:
    """A session service; each session object is kept and appended to, as its runner does."""

    failures: tuple[type[Exception], ...] = ()

    def __init__(self, service: Any) -> None:
        self._service = service
        self._events = load("google.adk.events", _PACKAGE)
        self._types = load("google.genai.types", _PACKAGE)
        self._config = load("google.adk.sessions.base_session_service", _PACKAGE).GetSessionConfig
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
        part = self._types.Part(text=text_of(number))
        event = self._events.Event(
            author="user",
            invocation_id="run",
            content=self._types.Content(role="user", parts=[part]),
            actions=self._events.EventActions(state_delta=delta_of(number)),
        )
        return await self._service.append_event(self._sessions[session], event)

    async def renew(self, session: int) -> None:
        self._sessions[session] = await self._service.create_session(
            app_name=APP, user_id=user_of(session)
        )

    async def read(self, session: int, recent: int | None) -> int:
        config = None if recent is None else self._config(num_recent_events=recent)
        found = await self._service.get_session(
            app_name=APP, user_id=user_of(session), session_id=id_of(session), config=config
        )
        return len(found.events)

    async def list(self) -> int:
        return len((await self._service.list_sessions(app_name=APP)).sessions)

    async def stop(self) -> None:
        return


class AdkDatabase(AdkPeer):
    """DatabaseSessionService on SQLite through SQLAlchemy and aiosqlite."""

    def __init__(self, folder: Path) -> None:
        load("aiosqlite", "aiosqlite")
        load("sqlalchemy.ext.asyncio", "sqlalchemy[asyncio]")
        module = load("google.adk.sessions.database_session_service", _PACKAGE)
        self.failures = (load("sqlalchemy.exc", "sqlalchemy").OperationalError,)
        url = f"sqlite+aiosqlite:///{folder / 'adk.db'}"
        super().__init__(module.DatabaseSessionService(url))

    async def _durability(self) -> str:
        text = load("sqlalchemy", "sqlalchemy").text
        async with self._service.db_engine.connect() as connection:
            journal = (await connection.execute(text("PRAGMA journal_mode"))).scalar()
            synchronous = (await connection.execute(text("PRAGMA synchronous"))).scalar()
        return durability(journal, synchronous)

    async def stop(self) -> None:
        await self._service.close()


class AdkSqlite(AdkPeer):
    """SqliteSessionService, on aiosqlite alone."""

    failures: tuple[type[Exception], ...] = (sqlite3.OperationalError,)

    def __init__(self, folder: Path) -> None:
        load("aiosqlite", "aiosqlite")
        module = load("google.adk.sessions.sqlite_session_service", _PACKAGE)
        super().__init__(module.SqliteSessionService(str(folder / "adk.db")))

    async def _durability(self) -> str:
        async with self._service._get_db_connection() as connection:
            [[journal]] = await connection.execute_fetchall("PRAGMA journal_mode")
            [[synchronous]] = await connection.execute_fetchall("PRAGMA synchronous")
        return durability(journal, synchronous)

    async def stop(self) -> None:
        await self._service.close()


class AdkMemory(AdkPeer):
    """InMemorySessionService."""

    def __init__(self, _folder: Path) -> None:
        module = load("google.adk.sessions.in_memory_session_service", _PACKAGE)
        super().__init__(module.InMemorySessionService())
