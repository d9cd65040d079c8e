"""The fixtures of the contract; each test runs on every engine, async and sync."""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any
from uuid import uuid4
from zlib import crc32

import pytest

from perdure.records import SessionKey
from perdure.store import Store
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import (
    Database,
    Dump,
    NewKey,
    OpenStore,
    Reopen,
    empty_place,
    lay_tables,
)
from perdure.testing.postgres import FORMS, empty_schema

OWN_URLS = {
    "memory": "memory:",
    "sqlite": "sqlite:///{folder}/agent.db",
    "jsonl": "jsonl:///{folder}/agent",
    **{form: f"{form}:{{schema}}" for form in FORMS},
}
#: Each of them is one of the others, but for what lies below it.
OTHER_FORMS = {"jsonl", *(form for form in FORMS if form != "postgres")}


def _urls() -> dict[str, str]:
    given = os.environ.get("PERDURE_CONTRACT_URL")
    return {given.partition(":")[0]: given} if given else OWN_URLS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database" in metafunc.fixturenames:
        test = f"{metafunc.module.__name__}.{metafunc.function.__name__}"
        cases = {
            f"{name}-{'sync' if sync else 'async'}": (url, sync)
            for name, url in _urls().items()
            for sync in _colours(name, test)
        }
        metafunc.parametrize("database", list(cases.values()), ids=list(cases), indirect=True)


def _colours(name: str, test: str) -> Sequence[bool]:
    """Whether a test is run async, sync or both on this engine.

    The other forms of PostgreSQL differ from the first below the colours, and so does JSONL from
    SQLite. So each test meets them in one, as many in the one as in the other; in both with
    PERDURE_LONG.
    """
    if name not in OTHER_FORMS or "PERDURE_LONG" in os.environ:
        return (False, True)
    return (bool(crc32(f"{name} {test}".encode()) & 1),)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in wanted}))
    return True


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's shell says about perdure is not part of the contract."""
    for name in [name for name in os.environ if name.startswith("PERDURE_")]:
        if name not in {"PERDURE_CONTRACT_URL", "PERDURE_TEST_PG"}:
            monkeypatch.delenv(name)


@pytest.fixture
def clock() -> FixedClock:
    """The store's clock: from 2026-01-01T00:00Z on, a millisecond later at each reading."""
    return FixedClock(step=timedelta(milliseconds=1))


@pytest.fixture
def database(request: pytest.FixtureRequest, clock: FixedClock) -> Iterator[Database]:
    url, sync = request.param
    # Power cuts are the business of other tests, and syncing is what takes the time in these.
    defaults = {"clock": clock, "durability": "normal", "pool_min": 1}
    # Those who open it by themselves find nothing at all.
    alone = not {"lone", "engine_url"}.isdisjoint(request.fixturenames)
    own = "reopen" in request.fixturenames or request.node.get_closest_marker("own_engine")
    kept = url in OWN_URLS.values() and not alone and not own
    with _fresh(url, request, with_tables=not alone, kept=kept) as fresh:
        shared = url == fresh
        made = Database(fresh, sync=sync, shared=shared, defaults=defaults, kept=kept)
        yield made
        made.close()


@contextmanager
def _fresh(
    url: str, request: pytest.FixtureRequest, *, with_tables: bool, kept: bool
) -> Iterator[str]:
    if url.endswith(":{schema}"):
        with empty_schema(url.partition(":")[0], with_tables=with_tables) as address:
            yield address
    elif kept:
        with empty_place(url) as place:
            yield place
    elif url == "memory:":
        yield url
    else:
        folder: Path = request.getfixturevalue("tmp_path")
        if with_tables and url in OWN_URLS.values():
            lay_tables(url, folder)
        yield url.replace("{folder}", str(folder)).replace("{name}", uuid4().hex)


@pytest.fixture
def lone(database: Database) -> Iterator[Database]:
    """The URL of the test with an engine for each store, as anybody opens it."""
    alone = Database(database.url, sync=database.sync, shared=False, defaults={})
    yield alone
    alone.close()


@pytest.fixture
def engine_url(database: Database) -> str:
    """The URL of the test's database; opened by itself, that of memory is another one."""
    return database.url


@pytest.fixture
def store(database: Database) -> Store:
    """An empty store, whose methods are awaited in either colour."""
    return database.open()


@pytest.fixture
def new_key(store: Store) -> NewKey:
    """Makes one more session of the user whose session `key` is."""

    async def make(id: str | None = None, **fields: Any) -> SessionKey:
        return (await store.sessions.create("support", "ada", id, **fields)).key

    return make


@pytest.fixture
def key(new_key: NewKey) -> SessionKey:
    """The key of a session that was just made: without events, at version 1."""
    return _before_tests().run(new_key("chat"))


@cache
def _before_tests() -> asyncio.Runner:
    """An event loop for what is done before a test: it has one of its own, made anew."""
    runner = asyncio.Runner()
    atexit.register(runner.close)
    return runner


@pytest.fixture
def open_store(database: Database, store: Store) -> OpenStore:
    """Opens one more store on the test's database: ``await open_store(tenant="acme")``."""
    del store

    async def make(**options: Any) -> Store:
        return database.open(**options)

    return make


@pytest.fixture
def reopen(database: Database, store: Store) -> Reopen:
    """Closes the test's stores and opens the database again: ``store = await reopen()``."""
    del store

    async def again() -> Store:
        return await database.reopen()

    return again


@pytest.fixture
def dump(database: Database, store: Store) -> Dump:
    """Reads every table as it is stored: ``(await dump())["events"]``."""
    del store
    return database.dump
