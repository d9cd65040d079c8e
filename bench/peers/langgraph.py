"""LangGraph's checkpoint savers, as shipped, and perdure's."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

from bench.peers import durability, load
from bench.peers.ours import settings_of, url_of
from bench.peers.postgres import durability_of, fresh_url, size_of
from bench.threads import CHANNEL, Step


class _Saver:
    """A saver, given what LangGraph's loop gives it."""

    failures: tuple[type[Exception], ...] = ()
    _saver: Any

    async def step(self, thread: str, step: Step) -> None:
        configurable = {"thread_id": thread, "checkpoint_ns": ""}
        if step.parent is not None:
            configurable["checkpoint_id"] = step.parent
        checkpoint = {
            **step.payload,
            "id": step.id,
            "channel_values": {CHANNEL: step.messages},
            "channel_versions": {CHANNEL: step.version},
        }
        new = {CHANNEL: step.version} if step.new else {}
        config = await self._saver.aput(
            {"configurable": configurable}, checkpoint, step.metadata, new
        )
        await self._saver.aput_writes(config, step.writes, "task")

    async def latest(self, thread: str) -> int:
        found = await self._saver.aget_tuple(_of(thread))
        return len(found.checkpoint["channel_values"][CHANNEL])

    async def list(self, thread: str) -> int:
        found = [one async for one in self._saver.alist(_of(thread))]
        return len([one.checkpoint["channel_values"][CHANNEL] for one in found])


def _of(thread: str) -> Any:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


class SqliteSaver(_Saver):
    """AsyncSqliteSaver, on aiosqlite."""

    failures: tuple[type[Exception], ...] = (sqlite3.OperationalError,)

    def __init__(self, folder: Path) -> None:
        self._module = load("langgraph.checkpoint.sqlite.aio", "langgraph-checkpoint-sqlite")
        self._path = folder / "langgraph.db"

    async def start(self) -> str:
        self._entered = self._module.AsyncSqliteSaver.from_conn_string(str(self._path))
        self._saver = await self._entered.__aenter__()
        await self._saver.setup()
        connection = self._saver.conn
        [[journal]] = await connection.execute_fetchall("PRAGMA journal_mode")
        [[synchronous]] = await connection.execute_fetchall("PRAGMA synchronous")
        return durability(journal, synchronous)

    async def size(self) -> int:
        await self._saver.conn.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
        return self._path.stat().st_size

    async def stop(self) -> None:
        await self._entered.__aexit__(None, None, None)


class PostgresSaver(_Saver):
    """AsyncPostgresSaver on a pool of psycopg's."""

    def __init__(self, _folder: Path) -> None:
        self._module = load("langgraph.checkpoint.postgres.aio", "langgraph-checkpoint-postgres")
        self._pools = load("psycopg_pool", "psycopg[pool]")
        self._rows = load("psycopg.rows", "psycopg")
        self._url = fresh_url()

    async def start(self) -> str:
        kwargs = {"autocommit": True, "prepare_threshold": 0, "row_factory": self._rows.dict_row}
        self._pool = self._pools.AsyncConnectionPool(
            self._url, min_size=2, max_size=16, kwargs=kwargs, open=False
        )
        await self._pool.open()
        self._saver = self._module.AsyncPostgresSaver(self._pool)
        await self._saver.setup()
        return await asyncio.to_thread(durability_of, self._url)

    async def size(self) -> int:
        return await asyncio.to_thread(size_of, self._url)

    async def stop(self) -> None:
        await self._pool.close()


class Adapter(_Saver):
    """PerdureSaver, awaited."""

    def __init__(self, url: str) -> None:
        self._module = load("perdure.adapters.langgraph", "perdure[langgraph]")
        self._url = url

    @classmethod
    def on_file(cls, folder: Path) -> Adapter:
        """On SQLite."""
        return cls(url_of(folder))

    @classmethod
    def on_postgres(cls, _folder: Path) -> Adapter:
        """On PostgreSQL."""
        return cls(fresh_url())

    async def start(self) -> str:
        self._saver = self._module.PerdureSaver.from_conn_string(self._url)
        await self._saver.asetup()
        return await asyncio.to_thread(settings_of, self._url)

    async def size(self) -> int:
        of = size_of if self._url.startswith("postgresql:") else _size_of
        return await asyncio.to_thread(of, self._url)

    async def stop(self) -> None:
        await self._saver.aclose()


def _size_of(url: str) -> int:
    return Path(url.removeprefix("sqlite:///")).stat().st_size
