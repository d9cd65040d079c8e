"""The database of one contract test, opened by as many stores as the test likes."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import apsw

from perdure.config import Config
from perdure.engines import Engine, EngineOptions, Job, Setup, at_url, engine_for, register_engine
from perdure.engines.delivery import BlockedCaller
from perdure.errors import ClosedError, PerdureError
from perdure.migrations import migrations, nothing_to_set_up
from perdure.operation import Operation, Plan, Query, Row, Settle, Statement
from perdure.records import SessionKey
from perdure.runners import settled
from perdure.store import Store, SyncStore
from perdure.tables import TABLES
from perdure.testing.colours import awaited

SCHEME = "perdure-contract-shared"

_engines: dict[str, Engine] = {}
_numbers = count(1)
#: How many tests have the same files: a directory of lines keeps what the tests before have
#: removed, and one that erases somebody writes all of it anew.
_ANEW_AFTER = 20
#: Options that an engine is made with: who gives one gets an engine of his own.
_OWN_ENGINE = {
    "url", "durability", "busy_timeout", "schema", "pool_min", "pool_max", "prepared_statements",
    "unhurried", "pool",
}  # fmt: skip


class OpenStore(Protocol):
    """Opens another store on the database of the test, with other options."""

    async def __call__(self, **options: Any) -> Store:
        """The opened store; the test's end closes it."""


class Reopen(Protocol):
    """Closes the test's store and opens its database again."""

    async def __call__(self) -> Store:
        """The new store; what lives in an engine alone, as memory does, is still there."""


class Dump(Protocol):
    """Reads every table, as it is stored."""

    async def __call__(self) -> dict[str, list[Row]]:
        """The rows by the name of their table."""


class NewKey(Protocol):
    """Makes another session."""

    async def __call__(self, id: str | None = None, **fields: Any) -> SessionKey:
        """The key of a session of the same user."""


class _Shared:
    """An engine that several stores use; closing it leaves it open for the others.

    Each of them looks at the schema when it opens, as an engine of its own would.
    """

    def __init__(self, engine: Engine, setup: Setup) -> None:
        self._engine = engine
        self._setup = setup
        self._ready = False
        self._closed = False
        self.dialect = engine.dialect

    def open(self) -> None:
        self._refuse_if_closed()
        if not self._ready:
            todo = self._engine.run(self._setup)
            if todo is not None:
                self._engine.run(todo)
            self._ready = True

    def submit(self, jobs: Sequence[Job]) -> None:
        self.open()
        self._engine.submit(jobs)

    def run(self, op: Operation[Any]) -> Any:
        self.open()
        return self._engine.run(op)

    def settle(self, thorough: bool | None) -> list[str]:
        return settled(self._engine, Settle(thorough))

    def __getattr__(self, name: str) -> Any:
        # What only some engines have.
        return getattr(self._engine, name)

    def close(self) -> None:
        self._closed = True

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ClosedError("the store is closed")


def _shared(options: EngineOptions, setup: Setup) -> Engine:
    name, _, url = options.url.removeprefix(f"{SCHEME}:").partition(":")
    if name not in _engines:
        engine: Any = engine_for(at_url(options, url), nothing_to_set_up())
        if url == "memory:":
            engine.open()
            with engine._connection.backup("main", _tables(), "main") as copying:
                copying.step()
        _engines[name] = engine
    return _Shared(_engines[name], setup)


def lay_tables(url: str, folder: Path) -> None:
    """Have our tables and no row in the folder of that URL; to make them takes longer."""
    shutil.copytree(_empty_folder(url), folder, dirs_exist_ok=True)


@cache
def _empty_folder(url: str) -> Path:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    SyncStore(Config(url=url.replace("{folder}", str(folder)))).close()
    return folder


@cache
def _tables() -> apsw.Connection:
    return apsw.Connection(str(_empty_folder("sqlite:///{folder}/empty.db") / "empty.db"))


@contextmanager
def empty_place(url: str) -> Iterator[str]:
    """The URL of ``memory:`` or of files with no row, whose engine is kept.

    ``url`` is one of them, with ``{folder}`` in it; the rows of the test go when it ends.
    """
    if url not in _kept:
        _kept[url] = _Kept(url)
    kept = _kept[url]
    try:
        yield kept.place
    finally:
        kept.tests += 1
        engine = kept_engine(kept.place)
        if engine is None or kept.tests == _ANEW_AFTER or not _emptied(engine):
            kept.drop()
            del _kept[url]


class _Kept:
    """What tests one after another have, until one of them spoils it, or it is worn."""

    def __init__(self, url: str) -> None:
        self._folder = Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        self.tests = 0
        self.place = url.replace("{folder}", str(self._folder))
        if url != "memory:":
            lay_tables(url, self._folder)

    def drop(self) -> None:
        """Close it, and remove its files: first these, for nobody needs them on the disk."""
        shutil.rmtree(self._folder, ignore_errors=True)
        drop_engine(self.place)


_kept: dict[str, _Kept] = {}


def _emptied(engine: Engine) -> bool:
    waiter = BlockedCaller()
    try:
        # After whatever a test has left waiting there.
        engine.submit([(Operation("contract.empty", (), {}, lambda _: _no_row()), waiter)])
        return bool(waiter.wait())
    except PerdureError:
        return False


def _no_row() -> Plan[bool]:
    """Empty the tables; False if a test has changed more than rows."""
    full = " UNION ALL ".join(
        f"SELECT {number} WHERE EXISTS (SELECT 1 FROM {table.name})"  # noqa: S608
        for number, table in enumerate(TABLES)
    )
    for (number,) in list((yield _statement(full))):
        yield _statement(f"DELETE FROM {TABLES[number].name}")  # noqa: S608 - the registry's
    known = [(migration.number, migration.name, migration.checksum) for migration in migrations()]
    ledger = yield _statement("SELECT number, name, checksum FROM perdure_migrations")
    return sorted(map(tuple, ledger)) == known


def _statement(text: str) -> Statement:
    return Statement(Query("contract", {"sqlite": text, "postgres": text}, ()), ())


def kept_engine(url: str) -> Engine | None:
    """The engine that tests one after another have on that URL, if there is one."""
    return _engines.get(_kept_name(url))


def drop_engine(url: str) -> None:
    """Close it; the next test that wants one gets a new one."""
    if engine := _engines.pop(_kept_name(url), None):
        engine.close()


def _kept_name(url: str) -> str:
    return url.replace(":", "_")


class Database:
    """One database: a URL, whether its stores are sync, and the stores opened on it.

    An engine whose data lives in the store object alone is shared by all of them. ``kept``: an
    engine is shared by the tests that follow, too, since to open it takes longer than a test.
    """

    def __init__(
        self,
        url: str,
        *,
        sync: bool,
        shared: bool,
        defaults: dict[str, Any],
        kept: bool = False,
    ) -> None:
        self.url = url
        self.sync = sync
        self.shared = shared
        self._defaults = defaults
        self._kept = kept
        self._name = _kept_name(url) if kept else f"{next(_numbers)}"
        self._opened: list[Store | SyncStore] = []

    def open(self, **options: Any) -> Store:
        """A store on it, to be awaited whatever its colour; opened by its first call."""
        shares = self.shared or (self._kept and _OWN_ENGINE.isdisjoint(options))
        url = f"{SCHEME}:{self._name}:{self.url}" if shares else self.url
        config = Config(**{"url": url, **self._defaults, **options})
        store: Store | SyncStore = SyncStore(config) if self.sync else Store(config)
        self._opened.append(store)
        return awaited(store) if isinstance(store, SyncStore) else store

    async def reopen(self) -> Store:
        """A new store on the same data, after all others were closed."""
        await asyncio.to_thread(self.close_stores)
        return self.open()

    def close_stores(self) -> None:
        """Close every store opened so far. Blocks."""
        while self._opened:
            self._opened.pop()._engine.close()

    def close(self) -> None:
        """Close every store, and the engine that they shared. Blocks."""
        self.close_stores()
        if not self._kept and (engine := _engines.pop(self._name, None)):
            engine.close()

    async def dump(self) -> dict[str, list[Row]]:
        """Every row of every table that has rows of people."""
        work = Operation("contract.dump", (), {}, lambda _: _every_row(), reads=True)
        rows: dict[str, list[Row]] = await asyncio.to_thread(self._opened[0]._engine.run, work)
        return rows


def _every_row() -> Plan[dict[str, list[Row]]]:
    found = {}
    for table in TABLES:
        if table.passing:
            continue
        text = f"SELECT {', '.join(table.columns)} FROM {table.name}"  # noqa: S608 - the registry's
        found[table.name] = list((yield _statement(text)))
    return found


register_engine(SCHEME, _shared)
