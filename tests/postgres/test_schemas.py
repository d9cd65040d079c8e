"""The tables may be in any schema, whatever its name, and several stores in one database."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

import perdure
from perdure import ALL, Config, InvalidError, SessionKey, SyncStore
from perdure.schema import migrate_store, missing_migrations
from tests.postgres.servers import asyncpg, fetch

KEY = SessionKey("app", "user", "chat")

NAMES = [
    "agents",
    "Agents",
    "of its own",
    'a "quoted" one',
    '"',
    "it's",
    "semi;colon -- and (more)",
    "a,b",
    "a=b&c?d#e%20f+g",
    "back\\slash",
    "dot.ted",
    "select",
    "日本語のスキーマ",
    "é" * 31 + "x",
    "x" * 63,
    "🗂 filing",
    " ",
    "line\nbreak",
    "perdure_migrations",
    "PG_upper",
]


def in_url(url: str, schema: str) -> str:
    return f"{url}?schema={quote(schema, safe='')}"


def schemas_with_tables(url: str) -> set[str]:
    return {
        row[0] for row in fetch(url, "SELECT schemaname FROM pg_tables WHERE tablename = 'events'")
    }


def used(store: SyncStore, text: str) -> list[Any]:
    """What the store has after one more event."""
    if store.sessions.find(KEY) is None:
        store.sessions.create(*KEY)
    store.events.append(KEY, text, expected_version=None)
    with store.turn() as turn:
        turn.state.set(KEY, {"text": text})
    return [event.content for event in store.events.read(KEY)]


@pytest.mark.parametrize("name", NAMES)
def test_the_tables_are_in_the_schema_of_that_name_and_nowhere_else(
    empty_database: str, name: str
) -> None:
    with perdure.open_sync(empty_database, schema=name) as store:
        assert used(store, "one") == ["one"]
    with perdure.open_sync(in_url(empty_database, name)) as store:
        assert used(store, "two") == ["one", "two"]
    with perdure.open_sync(empty_database, schema=name, prepared_statements=False) as store:
        assert used(store, "three") == ["one", "two", "three"]

    assert schemas_with_tables(empty_database) == {name}
    assert missing_migrations(Config(url=in_url(empty_database, name))) == []


@pytest.mark.parametrize("name", NAMES[:8])
def test_a_pool_of_the_application_finds_the_schema_and_keeps_its_own(
    empty_database: str, name: str
) -> None:
    async def work() -> list[Any]:
        async with asyncpg.create_pool(empty_database, min_size=1, max_size=2) as pool:
            before = await pool.fetchval("SHOW search_path")
            async with perdure.open(pool=pool, schema=name) as store:
                await store.sessions.create(*KEY)
                await store.events.append(KEY, "one")
                events = await store.events.read(KEY, recent=1)
            assert await pool.fetchval("SHOW search_path") == before
            return [event.content for event in events]

    assert asyncio.run(work()) == ["one"]
    assert schemas_with_tables(empty_database) == {name}


def test_the_environment_names_a_schema(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERDURE_SCHEMA", "of the environment")

    perdure.open_sync(empty_database).close()
    perdure.open_sync(empty_database, schema="of the argument").close()
    perdure.open_sync(f"{empty_database}?schema=of_the_url").close()

    assert schemas_with_tables(empty_database) == {
        "of the environment",
        "of the argument",
        "of_the_url",
    }


def test_what_the_url_says_more_is_still_heard(empty_database: str) -> None:
    url = f"{empty_database}?application_name=mine&schema=agents&sslmode=prefer"
    with perdure.open_sync(url) as store:
        assert used(store, "one") == ["one"]

    assert schemas_with_tables(empty_database) == {"agents"}


RESERVED = ["pg_x", "pg_catalog", "pg_temp", "x" * 64, "é" * 32, "$user", "nul\0"]


@pytest.mark.parametrize(
    ("name", "way"),
    [
        *((name, "option") for name in RESERVED),
        *((name, "url") for name in RESERVED),
    ],
)
def test_a_name_that_postgresql_would_take_for_another_is_refused(
    empty_database: str, name: str, way: str
) -> None:
    before = fetch(empty_database, "SELECT nspname FROM pg_namespace ORDER BY 1")
    config = Config(url=empty_database, schema=name)
    if way == "url":
        config = Config(url=in_url(empty_database, name), busy_timeout=0.5)

    with pytest.raises(InvalidError, match="schema"):
        perdure.open_sync(config)
    with pytest.raises(InvalidError, match="schema"):
        missing_migrations(config)

    assert fetch(empty_database, "SELECT nspname FROM pg_namespace ORDER BY 1") == before


def test_two_schemas_of_one_database_do_not_see_each_other(empty_database: str) -> None:
    with (
        perdure.open_sync(empty_database, schema="one") as one,
        perdure.open_sync(empty_database, schema="One") as other,
    ):
        assert used(one, "of one") == ["of one"]
        assert other.sessions.find(KEY) is None
        assert other.sessions.count(ALL, include_deleted=True) == 0
        assert used(other, "of the other") == ["of the other"]

        one.erase_user("app", "user")

        assert one.sessions.find(KEY) is None
        assert other.state.merged(KEY) == {"text": "of the other"}
        assert [event.content for event in other.events.read(KEY)] == ["of the other"]


def test_a_schema_does_not_take_the_tables_of_public_for_its_own(empty_database: str) -> None:
    perdure.open_sync(empty_database).close()
    other = Config(url=empty_database, schema="other")

    assert missing_migrations(other) != []

    applied = migrate_store(perdure.config.resolve(other))

    assert applied == missing_migrations(Config(url=empty_database, schema="third"))
    assert missing_migrations(other) == []
    assert schemas_with_tables(empty_database) == {"public", "other"}


def test_a_table_of_another_schema_is_no_migration_of_ours(empty_database: str) -> None:
    # Whatever else the application has on its own search path.
    fetch(empty_database, "CREATE TABLE perdure_migrations (theirs TEXT)")
    fetch(empty_database, "CREATE TABLE events (theirs TEXT)")

    with perdure.open_sync(empty_database, schema="ours") as store:
        assert used(store, "one") == ["one"]

    assert fetch(empty_database, "SELECT count(*) FROM public.events") == [(0,)]


def test_who_opens_waits_for_another_s_migration_longer_than_for_a_row(empty_database: str) -> None:
    async def migrating(began: asyncio.Event) -> None:
        """Another process, in the midst of making the tables, on a machine that is busy."""
        connection = await asyncpg.connect(empty_database)
        try:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(7306642715)")
                began.set()
                await asyncio.sleep(2)
        finally:
            await connection.close()

    async def test() -> None:
        began = asyncio.Event()
        other = asyncio.create_task(migrating(began))
        await began.wait()
        async with perdure.open(empty_database, busy_timeout=0.3) as store:
            assert await store.sessions.find(KEY) is None
            assert other.done()
        await other

    asyncio.run(test())
