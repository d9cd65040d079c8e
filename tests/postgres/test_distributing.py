"""Distributing a database, against stand-ins for Citus: see citus.py."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

import perdure
from perdure import BusyError, Config, PerdureError, SessionKey, UnsupportedError
from perdure.config import Resolved, resolve
from perdure.migrations.distribution import order
from perdure.schema import distribute_store, undistributed_tables
from perdure.tables import TABLES
from tests.postgres.citus import calls, stand_in
from tests.postgres.servers import asyncpg, fetch


@pytest.fixture
def citus(database: str) -> str:
    """A database with our tables, and what stands in for Citus."""
    perdure.open_sync(database).close()
    stand_in(database)
    return database


def at(url: str, busy_timeout: float | None = None) -> Resolved:
    return resolve(Config(url=url, busy_timeout=busy_timeout))


def slow_down(url: str, table: str) -> None:
    """Make the distribution of that table take a second."""
    fetch(
        url,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$",
    )
    fetch(
        url,
        "CREATE TRIGGER slow BEFORE INSERT ON calls FOR EACH ROW "
        f"WHEN (NEW.name = '{table}') EXECUTE FUNCTION slow()",
    )


def test_every_table_of_the_registry_is_distributed_beside_the_sessions(citus: str) -> None:
    done = list(distribute_store(at(citus)))

    assert done == order()
    assert sorted(done) == sorted(table.name for table in TABLES)
    assert [call[:3] for call in calls(citus)] == [
        ("sessions", "part", "none"),
        *((name, "part", "sessions") for name in done[1:]),
    ]


def test_what_foreign_keys_name_goes_first_in_any_schema_to_come(citus: str) -> None:
    names = order()
    keys = fetch(
        citus,
        "SELECT conrelid::REGCLASS::TEXT, confrelid::REGCLASS::TEXT FROM pg_constraint "
        "WHERE contype = 'f' AND conrelid <> confrelid",
    )

    assert keys
    for hanging, named in keys:
        assert names.index(named) < names.index(hanging)


def test_every_table_has_a_transaction_of_its_own_that_may_take_its_time(citus: str) -> None:
    list(distribute_store(at(citus)))

    made = calls(citus)
    assert len({call.xid for call in made}) == len(made)
    assert {call.patience for call in made} == {"0"}


def test_the_client_waits_as_long_as_the_server_works(
    citus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.engines.postgres_connection._COMMAND_SECONDS", 0.5)
    slow_down(citus, "sessions")

    assert list(distribute_store(at(citus, busy_timeout=1.5))) == order()


def test_the_ledger_of_migrations_stays_local(citus: str) -> None:
    list(distribute_store(at(citus)))

    assert "perdure_migrations" not in {call.name for call in calls(citus)}


def test_looking_changes_nothing_and_tells_what_is_local(citus: str) -> None:
    assert undistributed_tables(at(citus)) == order()
    assert calls(citus) == []

    list(distribute_store(at(citus)))

    assert undistributed_tables(at(citus)) == []


def test_a_second_run_does_nothing(citus: str) -> None:
    list(distribute_store(at(citus)))

    assert list(distribute_store(at(citus))) == []
    assert len(calls(citus)) == len(TABLES)


def test_after_a_failure_the_finished_tables_are_done_and_the_next_run_goes_on(citus: str) -> None:
    third = order()[2]
    fetch(citus, f"INSERT INTO pg_dist_partition VALUES ('{third}', 'n', NULL)")
    names = distribute_store(at(citus))

    done = [next(names), next(names)]
    with pytest.raises(PerdureError, match="already distributed"):
        next(names)
    fetch(citus, "DELETE FROM pg_dist_partition WHERE partmethod = 'n'")

    assert done == order()[:2]
    assert undistributed_tables(at(citus)) == order()[2:]
    assert list(distribute_store(at(citus))) == order()[2:]


def test_a_table_that_somebody_holds_is_waited_for_as_long_as_the_store_waits(citus: str) -> None:
    held, enough = threading.Event(), threading.Event()

    async def write() -> None:
        connection = await asyncpg.connect(citus)
        async with connection.transaction():
            await connection.execute("LOCK TABLE sessions IN ROW EXCLUSIVE MODE")
            held.set()
            await asyncio.to_thread(enough.wait, 30)
        await connection.close()

    writer = threading.Thread(target=lambda: asyncio.run(write()))
    writer.start()
    assert held.wait(30)
    try:
        with pytest.raises(BusyError):
            list(distribute_store(at(citus, busy_timeout=0.3)))
    finally:
        enough.set()
        writer.join()

    assert list(distribute_store(at(citus))) == order()


def test_writers_wait_for_a_table_that_is_on_its_way_and_lose_nothing(citus: str) -> None:
    slow_down(citus, "events")
    key = SessionKey("app", "user", "chat")
    with perdure.open_sync(citus) as store:
        store.sessions.create(*key)
        names = distribute_store(at(citus))
        done = [next(names)]
        run = threading.Thread(target=lambda: done.extend(names))
        run.start()
        while run.is_alive():
            store.events.append(key, "here")
        run.join()
        version = store.sessions.get(key).version
        numbers = [event.seq for event in store.events.read(key)]

    assert done == order()
    assert numbers == list(range(1, version))


def test_it_works_through_a_pooler_too(citus: str) -> None:
    config = Config(url=citus, prepared_statements=False)

    assert list(distribute_store(resolve(config))) == order()
    assert {call.patience for call in calls(citus)} == {"0"}


def test_two_runs_at_once_distribute_each_table_once(citus: str) -> None:
    done: list[str] = []

    def work() -> None:
        done.extend(distribute_store(at(citus)))

    runs = [threading.Thread(target=work) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()

    assert sorted(done) == sorted(order())
    assert [call.name for call in calls(citus)] == order()


def test_tables_of_the_same_name_in_another_schema_are_not_ours(citus: str) -> None:
    list(distribute_store(at(citus)))
    other = f"{citus}?schema=other"
    perdure.open_sync(other).close()
    stand_in(citus, "other")
    fetch(citus, "INSERT INTO other.pg_dist_partition SELECT * FROM public.pg_dist_partition")

    assert list(distribute_store(at(other))) == order()
    assert len(calls(citus)) == len(calls(citus, "other")) == len(TABLES)


def test_a_database_without_citus_is_refused_and_left_alone(database: str) -> None:
    perdure.open_sync(database).close()

    with pytest.raises(UnsupportedError, match=r"CREATE EXTENSION citus.*beyond-one-machine"):
        undistributed_tables(at(database))
    with pytest.raises(UnsupportedError, match=r"CREATE EXTENSION citus.*beyond-one-machine"):
        list(distribute_store(at(database)))


def test_a_schema_that_is_behind_is_to_be_migrated_first(empty_database: str) -> None:
    stand_in(empty_database)

    with pytest.raises(PerdureError, match="perdure migrate"):
        list(distribute_store(at(empty_database)))

    assert calls(empty_database) == []


def test_a_file_or_memory_is_refused_and_no_file_is_made(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path / 'store.db'}", "memory:"):
        with pytest.raises(UnsupportedError, match="PostgreSQL database with Citus"):
            undistributed_tables(at(url))
        with pytest.raises(UnsupportedError, match="beyond-one-machine"):
            list(distribute_store(at(url)))

    assert list(tmp_path.iterdir()) == []
