"""Reads of one saver, many at a time, on PostgreSQL: each has a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("langgraph.checkpoint.base", reason="needs langgraph: see .ci/adapters")
asyncpg = pytest.importorskip("asyncpg", reason="needs perdure[postgres]")

from perdure.adapters.langgraph import PerdureSaver
from perdure.testing.postgres import empty_schema
from tests.adapters.langgraph.making import config, put

pytestmark = pytest.mark.filterwarnings("default")
MANY = 6
_WAITING = """
SELECT COUNT(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()
"""


@pytest.fixture
def address() -> Iterator[str]:
    with empty_schema("postgres") as url:
        yield url


def _plain(url: str) -> tuple[str, str]:
    """The address as the driver takes it, and the schema."""
    plain, _, options = url.partition("?")
    schema = dict(one.split("=", 1) for one in options.split("&"))["schema"]
    return plain, schema


async def _held(url: str, reads: Any) -> int:
    """How many reads wait each on a connection, while nobody can read the table."""
    plain, schema = _plain(url)
    holder, watcher = await asyncpg.connect(plain), await asyncpg.connect(plain)
    try:
        async with holder.transaction():
            await holder.execute(f'LOCK TABLE "{schema}".checkpoints IN ACCESS EXCLUSIVE MODE')
            waiting = asyncio.ensure_future(reads())
            most = 0
            for _ in range(500):
                most = max(most, await watcher.fetchval(_WAITING))
                if most >= MANY:
                    break
                await asyncio.sleep(0.02)
        found = await waiting
    finally:
        await holder.close()
        await watcher.close()
    assert len(found) == MANY
    assert all(one is not None for one in found)
    return most


@pytest.mark.parametrize("colour", ["awaited", "called"])
def test_parallel_gets_have_each_a_connection(address: str, colour: str) -> None:
    with PerdureSaver.from_conn_string(address) as saver:
        for number in range(MANY):
            put(saver, f"t{number}", {"n": number})

        async def awaited() -> Any:
            return await asyncio.gather(
                *[_later(saver.aget_tuple, number) for number in range(MANY)]
            )

        async def called() -> Any:
            with ThreadPoolExecutor(MANY) as pool:
                loop = asyncio.get_running_loop()
                gets = [
                    loop.run_in_executor(pool, saver.get_tuple, config(f"t{number}"))
                    for number in range(MANY)
                ]
                return await asyncio.gather(*gets)

        assert asyncio.run(_held(address, awaited if colour == "awaited" else called)) == MANY


async def _later(get: Any, number: int) -> Any:
    # Not all in one round of the loop: those share one trip to the server, which is quicker.
    await asyncio.sleep(number / 100)
    return await get(config(f"t{number}"))
