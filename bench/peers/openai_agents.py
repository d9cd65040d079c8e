"""The OpenAI Agents SDK's own sessions, as shipped: they have neither versions nor state."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.peers import durability, load
from bench.peers.postgres import durability_of, fresh_url
from bench.workload import id_of, message_of


class OpenAISQLite:
    """One SQLiteSession object a session, all on one file."""

    failures: tuple[type[Exception], ...] = (sqlite3.OperationalError,)

    def __init__(self, folder: Path) -> None:
        self._session = load("agents.memory.sqlite_session", "openai-agents").SQLiteSession
        self._path = folder / "openai.db"
        self._sessions: list[Any] = []

    async def start(self, sessions: int) -> str:
        self._sessions = [self._session(id_of(number), self._path) for number in range(sessions)]
        await self._sessions[0].get_items()
        return await asyncio.to_thread(self._durability)

    def _durability(self) -> str:
        connection = self._sessions[0]._get_connection()
        [journal] = connection.execute("PRAGMA journal_mode").fetchone()
        [synchronous] = connection.execute("PRAGMA synchronous").fetchone()
        return durability(journal, synchronous)

    async def append(self, session: int, number: int) -> object:
        await self._sessions[session].add_items([message_of(number)])
        return None

    async def renew(self, session: int) -> None:
        self._sessions[session].close()
        self._sessions[session] = self._session(str(uuid4()), self._path)

    async def read(self, session: int, recent: int | None) -> int:
        return len(await self._sessions[session].get_items(recent))

    async def stop(self) -> None:
        for session in self._sessions:
            session.close()


class OpenAIAlchemy:
    """One SQLAlchemySession object a session, all on one engine: that of a file."""

    def __init__(self, url: str, **options: Any) -> None:
        module = load("agents.extensions.memory.sqlalchemy_session", "openai-agents")
        engines = load("sqlalchemy.ext.asyncio", "sqlalchemy[asyncio]")
        self.failures: tuple[type[Exception], ...] = (
            load("sqlalchemy.exc", "sqlalchemy").OperationalError,
        )
        self._session = module.SQLAlchemySession
        self._engine = engines.create_async_engine(url, **options)
        self._sessions: list[Any] = []

    @classmethod
    def on_file(cls, folder: Path) -> OpenAIAlchemy:
        """A file in the folder."""
        return cls(f"sqlite+aiosqlite:///{folder / 'openai.db'}")

    async def start(self, sessions: int) -> str:
        self._sessions = [self._new(id_of(number)) for number in range(sessions)]
        await self._sessions[0].get_items()
        return await self._durability()

    async def _durability(self) -> str:
        async with self._engine.connect() as connection:
            journal = (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar()
            synchronous = (await connection.exec_driver_sql("PRAGMA synchronous")).scalar()
        return durability(journal, synchronous)

    def _new(self, name: str) -> Any:
        return self._session(name, engine=self._engine, create_tables=True)

    async def append(self, session: int, number: int) -> object:
        await self._sessions[session].add_items([message_of(number)])
        return None

    async def renew(self, session: int) -> None:
        self._sessions[session] = self._new(str(uuid4()))

    async def read(self, session: int, recent: int | None) -> int:
        return len(await self._sessions[session].get_items(recent))

    async def stop(self) -> None:
        await self._engine.dispose()


class OpenAIAlchemyPostgres(OpenAIAlchemy):
    """The same in a database of PostgreSQL, through asyncpg."""

    def __init__(self, _folder: Path) -> None:
        self._url = fresh_url()
        url = self._url.replace("postgresql://", "postgresql+asyncpg://")
        super().__init__(url, pool_size=16, max_overflow=0)

    async def _durability(self) -> str:
        return await asyncio.to_thread(durability_of, self._url)
