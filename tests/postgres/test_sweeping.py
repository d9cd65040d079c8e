"""Sweeping and holding from several processes on one server."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta

import pytest

import perdure
from perdure.testing.clocks import FixedClock
from tests.engines.patience import in_time
from tests.postgres.servers import asyncpg
from tests.workers import test_holding_at_once
from tests.workers.test_replicas import check


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_of_several_processes_on_a_server_one_sweeps(database: str) -> None:
    check(database)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_holding_and_deleting_at_once_on_a_server(database: str) -> None:
    test_holding_at_once.check(database)


def test_workers_work_through_a_pool_of_the_applications_and_end_with_the_store(
    database: str,
) -> None:
    clock = FixedClock(datetime.now(UTC), step=timedelta(seconds=1))

    async def work() -> tuple[int, list[bool]]:
        async with asyncpg.create_pool(database, min_size=1, max_size=3) as pool:
            store = await perdure.open(pool=pool, clock=clock)
            await store.sessions.create("app", "user", ttl=timedelta(microseconds=1))
            workers = await store.start_workers()
            [sweeper] = workers
            while not sweeper.runs:  # noqa: ASYNC110 - a thread does it
                await asyncio.sleep(0.005)
            left = await pool.fetchval("SELECT count(*)::integer FROM sessions")
            await store.close()
            assert pool.get_size() - pool.get_idle_size() == 0
            return left, [worker.is_running for worker in workers]

    assert in_time(lambda: asyncio.run(work())) == (0, [False])
