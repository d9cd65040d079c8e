"""A store behind PgBouncer, which gives each transaction another connection of the server's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import perdure
from perdure import AppScope, NewEvent, NotFoundError, SessionKey, StaleSessionError, SyncStore
from tests.engines.patience import begun, outcome
from tests.postgres.servers import asyncpg, fetch, pgbouncer

KEY = SessionKey("app", "user", "chat")
SETTINGS = (
    "search_path", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout",
    "synchronous_commit", "application_name",
)  # fmt: skip


@pytest.fixture
def pooled(empty_database: str) -> Iterator[str]:
    with pgbouncer(empty_database) as url:
        yield url


def opened(url: str, **options: Any) -> SyncStore:
    return perdure.open_sync(url, prepared_statements=False, **options)


def settings_of(url: str) -> set[tuple[str, ...]]:
    """The settings of each of the server connections that the pooler has now."""

    async def ask() -> set[tuple[str, ...]]:
        connections = [await asyncpg.connect(url, statement_cache_size=0) for _ in range(20)]
        asked = ", ".join(f"current_setting('{name}')" for name in SETTINGS)
        found = set()
        try:
            # In transactions that are open at once, so that each has another connection.
            for connection in connections:
                await connection.execute("BEGIN")
                found.add(tuple(await connection.fetchrow(f"SELECT {asked}")))
        finally:
            for connection in connections:
                await connection.execute("ROLLBACK")
                await connection.close()
        return found

    return asyncio.run(ask())


def live(store: SyncStore) -> None:
    """What applications do in a day."""
    store.sessions.create(*KEY, title="a title", state={"x": 1, "app:y": 2, "user:z": [3]})
    for number in range(5):
        store.events.append(KEY, NewEvent(f"event {number}", state_delta={"x": number}))
    store.events.append(KEY, "two", NewEvent("at once", id="mine"))
    assert store.events.append(KEY, NewEvent("at once", id="mine"), on_duplicate="ignore").duplicate
    with pytest.raises(StaleSessionError):
        store.events.append(KEY, "late", expected_version=1)
    with store.turn() as turn:
        turn.events.append(KEY, "in a turn")
        turn.state.set(AppScope("app"), {"y": 5})
    assert [event.text for event in store.events.pop(KEY)] == ["in a turn"]
    branched = store.events.append(KEY, "aside", after=2)
    assert branched.event.prev == 2
    fork = store.sessions.fork(KEY, at=2, id="fork")
    assert [e.text for e in store.events.read(fork.key)] == ["event 0", "event 1"]
    assert store.state.merged(KEY) == {"x": 1, "app:y": 5, "user:z": [3]}
    assert len(list(store.sessions.iter("app", "user"))) == 2
    handle = store.session(*KEY)
    handle.state["seen"] = True
    handle.append("through a handle")
    with pytest.raises(NotFoundError):
        store.events.append(KEY._replace(id="none"), "x")
    assert "".join(store.export_user("app", "user"))
    store.sessions.delete(fork.key)
    store.sweep()
    store.erase_user("app", "user")
    assert store.sessions.count() == 0


@pytest.mark.parametrize("schema", ["public", "of its own"])
def test_an_ordinary_life_behind_a_pooler(pooled: str, schema: str) -> None:
    before = settings_of(pooled)
    with opened(pooled, schema=schema) as store:
        live(store)

    assert settings_of(pooled) == before
    assert len(before) == 1


def test_several_stores_of_several_schemas_share_the_poolers_connections(
    empty_database: str, pooled: str
) -> None:
    before = settings_of(pooled)
    schemas = ["public", "one", 'two "quoted"', "public"]

    def work(number: int, store: SyncStore) -> list[str]:
        key = SessionKey("app", f"user {number}", "chat")
        store.sessions.create(*key)
        for n in range(60):
            if n % 5:
                store.events.append(key, f"{number}:{n}")
            else:
                with store.turn() as turn:
                    turn.events.append(key, NewEvent(f"{number}:{n}", state_delta={"app:n": n}))
            assert store.events.count(key) == n + 1
        return [event.text for event in store.events.read(key)]

    with ExitStack() as stack:
        stores = [
            stack.enter_context(opened(pooled, schema=schema, durability=how))
            for schema, how in zip(schemas, ["full", "normal", "full", "full"], strict=True)
        ]
        done = [begun(work, number, store) for number, store in enumerate(stores)]
        found = [outcome(one, 60) for one in done]

    assert found == [[f"{number}:{n}" for n in range(60)] for number in range(4)]
    counts = {
        schema: fetch(empty_database, f'SELECT count(*)::integer FROM "{quoted}".events')[0][0]
        for schema in schemas
        for quoted in [schema.replace('"', '""')]
    }
    assert counts == {"public": 120, "one": 60, 'two "quoted"': 60}
    assert settings_of(pooled) == before


def test_many_tasks_behind_a_pooler_lose_nothing(pooled: str) -> None:
    async def work() -> None:
        async with perdure.open(pooled, prepared_statements=False) as store:
            await store.sessions.create(*KEY)
            done = await asyncio.gather(*[store.events.append(KEY, f"{n}") for n in range(500)])
            seqs = sorted(appended.event.seq for appended in done)
            assert seqs == list(range(1, 501))
            assert await store.events.count(KEY) == 500

    asyncio.run(work())


def test_a_role_that_turns_off_waiting_for_the_disk_is_overruled_in_each_transaction(
    empty_database: str, pooled: str
) -> None:
    name = empty_database.rpartition("/")[2]
    fetch(empty_database, f"ALTER DATABASE {name} SET synchronous_commit = off")
    seen = "CREATE TABLE seen AS SELECT current_setting('synchronous_commit') AS how LIMIT 0"
    fetch(empty_database, seen)

    for url, prepared in ((empty_database, True), (pooled, False)):
        with perdure.open_sync(url, prepared_statements=prepared) as store:
            key = store.sessions.create("app", "user").key
            fetch(empty_database, WATCH)
            store.events.append(key, "x")
            with store.turn() as turn:
                turn.events.append(key, "y")
            fetch(empty_database, "DROP TRIGGER watch ON events")

    assert fetch(empty_database, "SELECT how, count(*)::integer FROM seen GROUP BY how") == [
        ("on", 4)
    ]


WATCH = """
DO $$ BEGIN
    CREATE OR REPLACE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO seen SELECT current_setting(''synchronous_commit''); RETURN NEW; END';
    CREATE TRIGGER watch BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION watch();
END $$
"""
