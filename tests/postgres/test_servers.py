"""The servers, nodes, poolers and proxies that other tests rely on do what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.postgres.proxy import FaultProxy, When, is_sync
from tests.postgres.servers import (
    asyncpg,
    drop_database,
    fetch,
    fresh_database,
    pair,
    pgbouncer,
    server,
    wait_until,
)

LOST = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)


@pytest.fixture
def database() -> Iterator[str]:
    url = fresh_database(server())
    yield url
    drop_database(url)


@pytest.fixture
def proxy(database: str) -> Iterator[FaultProxy]:
    with FaultProxy.to(database) as made:
        yield made


def test_a_fresh_database_is_empty_and_of_one_test(database: str) -> None:
    other = fresh_database(server())
    fetch(database, "CREATE TABLE mine (id integer)")

    assert fetch(other, "SELECT to_regclass('mine')") == [(None,)]
    drop_database(other)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        fetch(other, "SELECT 1")


def test_a_database_is_copied_from_a_template(database: str) -> None:
    fetch(database, "CREATE TABLE mine AS SELECT 42 AS answer")

    copy = fresh_database(server(), template=database.rpartition("/")[2])

    assert fetch(copy, "SELECT answer FROM mine") == [(42,)]
    drop_database(copy)


def test_a_database_sorts_as_people_do_when_it_is_asked_to() -> None:
    ask = "SELECT string_agg(t, '' ORDER BY t{}) FROM unnest(ARRAY['a', 'B', 'A', 'b']) AS t"
    english = fresh_database(server(), locale="en_US")

    assert fetch(english, ask.format("")) == [("aAbB",)]
    assert fetch(english, ask.format(' COLLATE "C"')) == [("ABab",)]
    drop_database(english)


def test_the_helpers_may_be_called_where_an_event_loop_runs() -> None:
    async def use() -> list[Any]:
        url = fresh_database(server())
        try:
            return fetch(url, "SELECT 1")
        finally:
            drop_database(url)

    assert asyncio.run(use()) == [(1,)]


def test_a_commit_is_on_the_standby_which_takes_over_at_the_same_address() -> None:
    with pair() as nodes:
        fetch(nodes.url(), "CREATE TABLE kept AS SELECT 42 AS answer")
        nodes.primary.kill()
        nodes.promote()

        assert fetch(nodes.url(), "SELECT answer FROM kept") == [(42,)]
        fetch(nodes.url(), "INSERT INTO kept VALUES (43)")
        assert fetch(nodes.standby.url(), "SELECT max(answer) FROM kept") == [(43,)]


def test_without_its_standby_a_synchronous_commit_waits_and_an_asynchronous_does_not() -> None:
    with pair(synchronous=False) as nodes:
        fetch(nodes.url(), "CREATE TABLE kept AS SELECT 42 AS answer")
        asked = "SELECT to_regclass('kept') IS NOT NULL"
        wait_until(lambda: fetch(nodes.standby.url(), asked) == [(True,)], "it is replayed")
        nodes.standby.kill()

        fetch(nodes.url(), "INSERT INTO kept VALUES (43)")


def test_a_pooler_gives_the_connection_to_others_between_transactions(database: str) -> None:
    async def use(url: str) -> set[int]:
        connections = [await asyncpg.connect(url, statement_cache_size=0) for _ in range(5)]
        pids = {await one.fetchval("SELECT pg_backend_pid()") for one in connections}
        for one in connections:
            await one.close()
        return pids

    with pgbouncer(database) as url:
        pids = asyncio.run(use(url))

    assert len(pids) == 1


def insert_in_transaction(url: str) -> None:
    async def insert() -> None:
        connection = await asyncpg.connect(url)
        try:
            async with connection.transaction():
                await connection.execute("INSERT INTO kept VALUES ($1)", 42)
        finally:
            connection.terminate()

    asyncio.run(insert())


def insert_alone(url: str) -> None:
    fetch(url, "INSERT INTO kept VALUES ($1)", 42)


@pytest.mark.parametrize(("when", "stored"), [("before", 0), ("after", 1)])
@pytest.mark.parametrize(
    ("insert", "order"), [(insert_in_transaction, {}), (insert_alone, {"matches": is_sync})]
)
def test_a_connection_is_cut_right_before_or_right_after_the_commit(
    database: str, proxy: FaultProxy, when: When, stored: int, insert: Any, order: dict[str, Any]
) -> None:
    fetch(database, "CREATE TABLE kept (answer integer)")
    proxy.cut_at(when, **order)

    with pytest.raises(LOST):
        insert(proxy.url(database))

    assert proxy.cuts == {when: 1}
    count = "SELECT count(*)::integer FROM kept"
    assert fetch(database, count) == [(stored,)]
    insert(proxy.url(database))
    assert fetch(database, count) == [(stored + 1,)]


def test_some_messages_may_pass_before_the_cut(database: str, proxy: FaultProxy) -> None:
    fetch(database, "CREATE TABLE kept (answer integer)")
    proxy.cut_at("after", skip=1, times=2)

    insert_in_transaction(proxy.url(database))
    for _ in range(2):
        with pytest.raises(LOST):
            insert_in_transaction(proxy.url(database))
    insert_in_transaction(proxy.url(database))

    assert proxy.cuts == {"after": 2}
    assert fetch(database, "SELECT count(*)::integer FROM kept") == [(4,)]


def test_all_connections_can_be_cut_and_new_ones_refused(database: str, proxy: FaultProxy) -> None:
    async def use() -> None:
        connection = await asyncpg.connect(proxy.url(database))
        assert await connection.fetchval("SELECT 1") == 1
        proxy.refuse()
        assert await connection.fetchval("SELECT 2") == 2
        assert proxy.cut_all() == 1
        with pytest.raises(LOST):
            await connection.fetchval("SELECT 3")
        with pytest.raises(ConnectionRefusedError):
            await asyncpg.connect(proxy.url(database))
        proxy.refuse(refusing=False)
        again = await asyncpg.connect(proxy.url(database))
        await again.close()

    asyncio.run(use())
    assert proxy.cuts == {"all": 1}


def test_a_proxy_before_nothing_cuts_whoever_comes() -> None:
    with FaultProxy("127.0.0.1", 1) as proxy, pytest.raises(LOST):
        fetch(f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres", "SELECT 1")
