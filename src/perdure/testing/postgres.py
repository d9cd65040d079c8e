"""A real PostgreSQL for the contract: one server a test process, an empty schema a test."""

from __future__ import annotations

import asyncio
import atexit
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from perdure.embedded_postgres import EmbeddedPostgres
from perdure.engines import Engine, EngineOptions, Setup, at_url, engine_for, register_engine
from perdure.errors import MissingExtraError, UnsupportedError
from perdure.migrations import LEDGER, migrations
from perdure.tables import TABLES
from perdure.testing.databases import drop_engine, kept_engine

T = TypeVar("T")

#: The address of a server to use instead of one of our own; its user may make schemas.
VARIABLE = "PERDURE_TEST_PG"
_PARTITIONS = 4
#: How many tests delete their rows until tables are made anew: scans pass what was deleted.
_ANEW_AFTER = 40

#: What stands before ``postgresql:`` in the URL, for each way the contract is run there.
FORMS = {"postgres": "", "postgres-plain": "plain+", "postgres-partitioned": "partitioned+"}


def _plain(options: EngineOptions, setup: Setup) -> Engine:
    """The engine as it is where one statement cannot do the work of several: on Citus."""
    from perdure.engines.postgres import PostgresEngine  # noqa: PLC0415 - needs an extra

    return PostgresEngine(at_url(options, options.url.removeprefix("plain+")), setup, fused=False)


def _partitioned(options: EngineOptions, setup: Setup) -> Engine:
    return engine_for(at_url(options, options.url.removeprefix("partitioned+")), setup)


register_engine("plain+postgresql", _plain)
register_engine("partitioned+postgresql", _partitioned)


@cache
def server() -> str:
    """The address of this process's server; skips the test where there can be none."""
    if given := os.environ.get(VARIABLE):
        return given
    pytest.importorskip("asyncpg", reason="needs asyncpg: pip install 'perdure[postgres]'")
    try:
        return EmbeddedPostgres(durable=False, settings={"max_connections": "200"}).start().url()
    except (MissingExtraError, UnsupportedError) as error:
        pytest.skip(str(error))


@contextmanager
def empty_schema(form: str, *, with_tables: bool = True) -> Iterator[str]:
    """The URL of a schema with nothing in it, in one of the `FORMS`; emptied for the next."""
    schemas = _schemas(form)
    name = schemas.take() if with_tables else new_name()
    url = f"{FORMS[form]}{schemas.address}{'&' if '?' in schemas.address else '?'}schema={name}"
    try:
        yield url
    finally:
        _let_finish(kept_engine(url))
        if not (with_tables and schemas.give_back(name)):
            drop_engine(url)
            schemas.drop(name)


def _let_finish(engine: Any) -> None:
    """Wait for what a test has left running: in its own engine, closing it would have."""

    async def finished() -> None:
        while engine._running:
            await asyncio.wait(engine._running)

    if engine is not None and engine._loop is not None:
        asyncio.run_coroutine_threadsafe(finished(), engine._loop).result(60)


def new_name() -> str:
    """A name that no schema has."""
    return f"contract_{uuid4().hex}"


@cache
def _schemas(form: str) -> _Schemas:
    return _Schemas(server(), partitioned=form == "postgres-partitioned")


class _Schemas:
    """Schemas with our tables, used again and again: making one takes longer than a test."""

    def __init__(self, address: str, *, partitioned: bool) -> None:
        self.address = address
        self._partitioned = partitioned
        self._free: list[str] = []
        #: Of each schema: which tables have had rows, once for each test.
        self._filled: dict[str, Counter[str]] = {}
        self._loop = asyncio.new_event_loop()
        self._connection: Any = None

    def take(self) -> str:
        """The name of an empty schema; it is this test's until it is given back."""
        if self._free:
            return self._free.pop()
        name = new_name()
        self._run(lambda connection: self._make(connection, name))
        return name

    def give_back(self, name: str) -> bool:
        """Empty it; False if a test has changed more than rows: then it is for nobody."""
        filled = self._filled.setdefault(name, Counter())
        emptied = self._run(lambda connection: _emptied(connection, name, filled))
        if emptied:
            self._free.append(name)
        return emptied

    def drop(self, name: str) -> None:
        """Remove a schema, if it is there."""
        self._run(lambda connection: connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE"))

    def _run(self, work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        return self._loop.run_until_complete(self._with_connection(work))

    async def _with_connection(self, work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        import asyncpg  # noqa: PLC0415 - an extra

        if self._connection is None or self._connection.is_closed():
            if self._connection is None:
                atexit.register(self._close)
            # One question is asked after each test: it is not to be planned each time.
            settings = {"plan_cache_mode": "force_generic_plan"}
            self._connection = await asyncpg.connect(self.address, server_settings=settings)
        return await work(self._connection)

    def _close(self) -> None:
        self._connection.terminate()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _make(self, connection: Any, name: str) -> None:
        await connection.execute(f"CREATE SCHEMA {name}; SET search_path = {name}")
        await connection.execute(LEDGER.create.texts["postgres"])
        for migration in migrations():
            for statement in migration.statements("postgres"):
                for text in _partitioned_text(statement) if self._partitioned else [statement]:
                    await connection.execute(text)
            row = (migration.number, migration.name, migration.checksum, 0)
            await connection.execute(LEDGER.note.texts["postgres"], *row)


def _partitioned_text(statement: str) -> list[str]:
    """The statement with the table in partitions by hash, as a sharded database has it."""
    if not statement.startswith("CREATE TABLE"):
        return [statement]
    table = statement.split()[2]
    parts = [
        f"CREATE TABLE {table}_{number} PARTITION OF {table} "
        f"FOR VALUES WITH (MODULUS {_PARTITIONS}, REMAINDER {number})"
        for number in range(_PARTITIONS)
    ]
    return [f"{statement.rstrip(';')} PARTITION BY HASH (part)", *parts]


def _emptying(name: str, table: str, filled: Counter[str]) -> str:
    # Seldom TRUNCATE: that makes new files for the table and each partition and index.
    if filled[table] % _ANEW_AFTER:
        return f"DELETE FROM {name}.{table}"  # noqa: S608 - the registry's
    return f"TRUNCATE {name}.{table} CASCADE"


async def _emptied(connection: Any, name: str, filled: Counter[str]) -> bool:
    full = " UNION ALL ".join(
        f"SELECT {number} WHERE EXISTS (SELECT FROM {name}.{table.name})"  # noqa: S608
        for number, table in enumerate(TABLES)
    )
    known = [(migration.number, migration.name, migration.checksum) for migration in migrations()]
    try:
        found = [TABLES[number].name for (number,) in await connection.fetch(full)]
        if found:
            filled.update(found)
            await connection.execute("; ".join(_emptying(name, table, filled) for table in found))
        ledger = f"SELECT number, name, checksum FROM {name}.perdure_migrations"  # noqa: S608
        if sorted(map(tuple, await connection.fetch(ledger))) == known:
            return True
    except Exception:  # noqa: BLE001 - whatever it was, the schema is not what it should be
        await connection.execute("ROLLBACK")
    return False
