"""The schema of a SQLite file: what was applied is known, and nothing is applied by halves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Any

import apsw
import pytest

import perdure
from perdure import Config, CorruptError, PerdureError, SchemaTooNewError, SessionKey
from perdure.migrations import Migration, migrations
from perdure.schema import missing_migrations
from perdure.values import to_micros
from tests.engines.patience import begun, in_time, outcome

KEY = SessionKey("app", "user", "chat")
NAMES = [migration.name for migration in migrations()]
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def ask(path: Path, text: str, *values: Any) -> list[tuple[Any, ...]]:
    """The rows of one statement, from outside."""
    connection = apsw.Connection(str(path))
    try:
        return connection.execute(text, values).fetchall()
    finally:
        connection.close()


def schema(path: Path) -> list[tuple[Any, ...]]:
    text = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
    return ask(path, text)


def made(path: Path) -> Path:
    """A store with one event."""
    with perdure.open_sync(url_of(path)) as store:
        store.sessions.create(*KEY)
        store.events.append(KEY, "kept")
    return path


def ways_in(path: Path) -> list[Callable[[], Any]]:
    """Everything that looks at the schema."""

    async def enter() -> None:
        async with perdure.open(url_of(path)):
            pass

    async def call() -> None:
        store = perdure.open(url_of(path))
        try:
            await store.sessions.count()
        finally:
            await store.close()

    return [
        lambda: perdure.open_sync(url_of(path)),
        lambda: asyncio.run(enter()),
        lambda: asyncio.run(call()),
        lambda: asyncio.run(perdure.open(url_of(path)).migrate()),
        lambda: missing_migrations(Config(url=url_of(path))),
    ]


# -- the ledger ------------------------------------------------------------------------------


def test_the_ledger_tells_what_was_applied_when_and_from_which_text(path: Path) -> None:
    perdure.open_sync(url_of(path), clock=lambda: NOON).close()

    rows = ask(path, "SELECT number, name, checksum, applied_at FROM perdure_migrations")

    texts = {
        file.name.removesuffix(".sql"): file.read_bytes()
        for file in files("perdure.migrations").iterdir()
        if file.name[0].isdigit()
    }
    assert [(f"{number:04}_{name}", checksum) for number, name, checksum, _ in rows] == [
        (name, blake2b(text, digest_size=16).hexdigest()) for name, text in sorted(texts.items())
    ]
    assert {applied_at for *_, applied_at in rows} == {to_micros(NOON, "noon")}
    assert [number for number, *_ in rows] == list(range(1, len(rows) + 1))


def test_opening_again_applies_nothing_again(path: Path) -> None:
    made(path)
    before = schema(path), ask(path, "SELECT * FROM perdure_migrations")

    with perdure.open_sync(url_of(path), clock=lambda: NOON) as store:
        assert store.migrate() == []
        assert [event.content for event in store.events.read(KEY)] == ["kept"]

    assert (schema(path), ask(path, "SELECT * FROM perdure_migrations")) == before


def test_a_store_whose_schema_came_from_another_text_is_refused_and_left_alone(path: Path) -> None:
    ask(made(path), "UPDATE perdure_migrations SET checksum = 'another'")

    for way_in in ways_in(path):
        with pytest.raises(CorruptError, match="migration 1"):
            in_time(way_in)

    assert ask(path, "SELECT content FROM events") == [('"kept"',)]


def test_a_store_of_a_newer_perdure_is_refused_and_left_alone(path: Path) -> None:
    ask(made(path), "INSERT INTO perdure_migrations VALUES (9999, 'of_the_future', 'x', 1)")
    before = path.read_bytes()

    for way_in in ways_in(path):
        with pytest.raises(SchemaTooNewError, match="of_the_future"):
            in_time(way_in)

    assert path.read_bytes() == before


def test_what_is_missing_is_applied_and_no_more(path: Path) -> None:
    # A store from before the last migration of SQLite's, as far as the ledger knows.
    *_, last = (one for one in migrations() if one.statements("sqlite"))
    made(path)
    ask(path, "DELETE FROM perdure_migrations WHERE number = ?", last.number)

    assert missing_migrations(Config(url=url_of(path))) == [last.name]
    with pytest.raises(PerdureError, match=r"already exists|duplicate column|no such index"):
        perdure.open_sync(url_of(path))

    # It failed in the middle, and nothing of it stayed.
    assert missing_migrations(Config(url=url_of(path))) == [last.name]
    assert ask(path, "SELECT content FROM events") == [('"kept"',)]


# -- on purpose ------------------------------------------------------------------------------


def test_without_auto_migrate_a_new_file_is_refused_until_it_is_migrated(path: Path) -> None:
    with pytest.raises(PerdureError, match="perdure migrate"):
        perdure.open_sync(url_of(path), auto_migrate=False)
    assert ask(path, "SELECT name FROM sqlite_master") == []

    applied = asyncio.run(perdure.open(url_of(path), auto_migrate=False).migrate())

    assert applied == NAMES
    with perdure.open_sync(url_of(path), auto_migrate=False) as store:
        assert store.sessions.count() == 0


def test_asking_what_is_missing_applies_nothing(path: Path) -> None:
    assert missing_migrations(Config(url=url_of(path))) == NAMES
    assert missing_migrations(Config(url=url_of(path))) == NAMES

    assert not path.exists() or ask(path, "SELECT name FROM sqlite_master") == []
    assert missing_migrations(Config(url=url_of(made(path)))) == []


def test_the_printed_statements_make_the_same_schema(path: Path, tmp_path: Path) -> None:
    made(path)
    by_hand = tmp_path / "by hand.db"

    for migration in migrations():
        for statement in migration.statements("sqlite"):
            ask(by_hand, statement)

    ours = [row for row in schema(path) if row[1] != "perdure_migrations"]
    assert schema(by_hand) == ours


@pytest.mark.parametrize("migration", migrations(), ids=lambda migration: migration.name)
def test_a_migration_has_the_same_statements_in_every_dialect(migration: Migration) -> None:
    sqlite, postgres = migration.steps("sqlite"), migration.steps("postgres")

    assert len(sqlite) == len(postgres) > 0
    for one, other in zip(sqlite, postgres, strict=True):
        # Or one of another dialect alone.
        assert one == "SELECT 1" or one.split("(")[0] == other.split("(")[0]
        assert "{" not in one + other
        assert "--" not in one + other


def test_a_statement_of_one_dialect_is_no_statement_of_another() -> None:
    text = "-- Why.\n-- only: postgres\nANALYZE a;\nDROP INDEX b;\n"
    migration = Migration(1, "one", text, "")

    assert migration.statements("postgres") == ["ANALYZE a", "DROP INDEX b"]
    assert migration.statements("sqlite") == ["DROP INDEX b"]
    assert len(migration.steps("sqlite")) == 2


# -- by halves -------------------------------------------------------------------------------


def test_a_migration_that_fails_in_the_middle_leaves_nothing_behind(path: Path) -> None:
    # Somebody else's file, which has a table by a name of ours.
    ask(path, "CREATE TABLE refs (theirs TEXT)")
    ask(path, "INSERT INTO refs VALUES ('their row')")

    for way_in in ways_in(path)[:4]:
        with pytest.raises(PerdureError, match="refs"):
            in_time(way_in)

    assert [name for _, name, _ in schema(path)] == ["refs"]
    assert ask(path, "SELECT * FROM refs") == [("their row",)]


def test_a_file_of_somebody_else_is_kept_beside_our_tables(path: Path) -> None:
    ask(path, "CREATE TABLE theirs AS SELECT 'their row' AS text")

    made(path)

    assert ask(path, "SELECT * FROM theirs") == [("their row",)]
    assert ask(path, "SELECT content FROM events") == [('"kept"',)]


# -- many at once ----------------------------------------------------------------------------


def test_twenty_threads_may_open_a_new_file_at_once(path: Path) -> None:
    for attempt in range(3):
        url = url_of(path.with_name(f"{attempt}.db"))
        barrier = threading.Barrier(20)

        def work(number: int, url: str = url, barrier: threading.Barrier = barrier) -> int:
            barrier.wait(20)
            with perdure.open_sync(url) as store:
                key = store.sessions.create("app", "user", f"chat {number}").key
                return store.events.append(key, "here").event.seq

        threads = [begun(work, number) for number in range(20)]

        assert [outcome(thread, 60) for thread in threads] == [1] * 20
        with perdure.open_sync(url) as store:
            assert store.sessions.count("app", "user") == 20


def test_twenty_threads_may_make_the_first_call_of_one_store_at_once(path: Path) -> None:
    store = perdure.open(url_of(path))
    barrier = threading.Barrier(20)

    def work(number: int) -> int:
        barrier.wait(20)

        async def call() -> int:
            key = (await store.sessions.create("app", "user", f"chat {number}")).key
            return (await store.events.append(key, "here")).event.seq

        return asyncio.run(call())

    threads = [begun(work, number) for number in range(20)]

    assert [outcome(thread, 60) for thread in threads] == [1] * 20
    assert asyncio.run(store.sessions.count("app", "user")) == 20
    asyncio.run(store.close())
