"""PostgreSQL: one durable server for all contestants, each in a database of its own."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from bench.contest import MissingError
from bench.peers import load
from bench.peers.adk import AdkPeer
from bench.peers.ours import AwaitedPerdure, event_of, key_of
from perdure.embedded_postgres import EmbeddedPostgres
from perdure.errors import MissingExtraError, UnsupportedError
from perdure.features.events import Events

_APPEND: Any = Events.append
_READ: Any = Events.read
_DURABILITY = """
SELECT 'fsync ' || current_setting('fsync') || ', commit '
    || current_setting('synchronous_commit')
"""
_SIZE = """
SELECT COALESCE(SUM(pg_total_relation_size(c.oid)), 0) FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""
#: What one event of the others is, as a bare row: the least that a driver can do.
_BARE = "INSERT INTO bare (id, at, content) VALUES ($1, $2, $3)"


#: The planner knows nothing of a new table before the first autovacuum: within seconds here.
_SETTINGS = {"max_connections": "300", "autovacuum_naptime": "2s"}


@cache
def _server() -> str:
    if given := os.environ.get("PERDURE_BENCH_PG"):
        return given
    try:
        server = EmbeddedPostgres(durable=True, settings=_SETTINGS)
        return server.start().url()
    except (MissingExtraError, UnsupportedError) as error:
        raise MissingError(str(error)) from error


def fresh_url() -> str:
    """The URL of a new database on the server of this run (``PERDURE_BENCH_PG``, else its own)."""
    asyncpg = load("asyncpg", "asyncpg")
    name = f"bench_{uuid4().hex}"

    async def make() -> None:
        connection = await asyncpg.connect(_server())
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()

    asyncio.run(make())
    return urlsplit(_server())._replace(path=f"/{name}").geturl()


def durability_of(url: str) -> str:
    """How durable a commit is there, in words."""

    async def ask() -> str:
        connection = await load("asyncpg", "asyncpg").connect(url)
        try:
            return str(await connection.fetchval(_DURABILITY))
        finally:
            await connection.close()

    return asyncio.run(ask())


def size_of(url: str) -> int:
    """The bytes of all tables of that database, with their indexes."""

    async def ask() -> int:
        connection = await load("asyncpg", "asyncpg").connect(url)
        try:
            return int(await connection.fetchval(_SIZE))
        finally:
            await connection.close()

    return asyncio.run(ask())


class AdkPostgres(AdkPeer):
    """DatabaseSessionService on PostgreSQL through SQLAlchemy and asyncpg."""

    def __init__(self, _folder: Path) -> None:
        self._url = fresh_url()
        load("sqlalchemy.ext.asyncio", "sqlalchemy[asyncio]")
        module = load("google.adk.sessions.database_session_service", "google-adk")
        self.failures = (load("sqlalchemy.exc", "sqlalchemy").OperationalError,)
        url = self._url.replace("postgresql://", "postgresql+asyncpg://")
        super().__init__(module.DatabaseSessionService(url, pool_size=16, max_overflow=0))

    async def _durability(self) -> str:
        return await asyncio.to_thread(durability_of, self._url)

    async def stop(self) -> None:
        await self._service.close()


class RawPostgres:
    """The bare driver on one connection: perdure's own statements, prepared once."""

    failures: tuple[type[Exception], ...] = ()

    def __init__(self, batch: int) -> None:
        self._url = fresh_url()
        self._batch = batch
        self._appended = 0
        self._keys = [key_of(number) for number in range(batch)]

    async def start(self, events: int = 0) -> str:
        """Make the sessions, the first with that many events."""
        peer = AwaitedPerdure(self._url)
        settings = await peer.start(self._batch)
        for number in range(0, events, 100):
            some = [event_of(n) for n in range(number, min(events, number + 100))]
            await peer.store.events.append(self._keys[0], *some)
        self._events = peer.store.events
        await peer.stop()
        self._connection = await load("asyncpg", "asyncpg").connect(self._url)
        await self._connection.execute(
            "CREATE TABLE bare (id TEXT PRIMARY KEY, at BIGINT, content TEXT)"
        )
        return settings

    def _args(self, session: int) -> Sequence[Any]:
        self._appended += 1
        event_id = f"{self._appended:036d}"
        args = list(self._statements[session].args)
        args[self._id] = event_id
        return args

    def prepare(self) -> None:
        """Make the statements once; only their event ids change."""
        fused = [_APPEND.of(self._events, key, event_of(0)).work for key in self._keys]
        self._statements = [work.one() for work in fused]
        query = self._statements[0].query
        self._text = query.texts["postgres"]
        self._id = query.params.index("event_id")

    async def commit(self, _number: int) -> None:
        """One trip with as many appends as there are sessions."""
        rows = [self._args(session) for session in range(self._batch)]
        found = await self._connection.fetchmany(self._text, rows)
        if any(row[0] is None for row in found):
            raise AssertionError("an append did not apply")

    async def insert(self, _number: int) -> None:
        """One row, and nothing else."""
        self._appended += 1
        text = event_of(0).content
        await self._connection.fetch(_BARE, f"{self._appended:036d}", time.time_ns(), str(text))

    def selecting(self, recent: int) -> None:
        """Take the one statement of a read from its operation."""
        statement = _READ.of(self._events, self._keys[0], recent=recent).work.one()
        self._read = (statement.query.texts["postgres"], statement.args)

    async def select(self) -> int:
        """The rows of the read; they are not looked at."""
        return len(await self._connection.fetch(self._read[0], *self._read[1]))

    async def stop(self) -> None:
        """Close."""
        await self._connection.close()
