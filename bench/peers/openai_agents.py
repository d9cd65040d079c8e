"""The OpenAI Agents SDK's SQLiteSession, as shipped: it has neither versions nor state."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.peers import durability, load
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
