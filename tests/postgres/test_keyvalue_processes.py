"""Key-values of one database, used by several processes or tasks at once."""

from __future__ import annotations

import asyncio
import os

import pytest

import perdure
from tests.engines import claiming
from tests.postgres.servers import asyncpg

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


def test_of_all_processes_that_claim_a_key_exactly_one_wins(database: str) -> None:
    claiming.every_claim_has_one_winner(database)


def test_processes_that_count_with_expected_versions_lose_no_step(database: str) -> None:
    claiming.no_step_of_a_counter_is_lost(database)


def test_several_sweepers_remove_what_expires_once_and_nothing_else(database: str) -> None:
    claiming.what_expires_is_swept_once_and_nothing_else(database)


@pytest.mark.parametrize("namespace", ["values", ("users", "ada"), ("users", "ada", "facts")])
def test_who_waits_for_a_key_holds_up_nobody_who_wants_another(
    database: str, namespace: str | tuple[str, ...]
) -> None:
    asyncio.run(_two_keys(database, namespace))


async def _two_keys(database: str, namespace: str | tuple[str, ...]) -> None:
    async with perdure.open(database) as store:
        await store.kv.set(namespace, "held", 0)
        blocker = await asyncpg.connect(database)
        async with blocker.transaction():
            await blocker.execute("SELECT 1 FROM keyvalues WHERE key = 'held' FOR UPDATE")
            waiting = asyncio.create_task(store.kv.set(namespace, "held", 1))
            await asyncio.sleep(0.05)
            await asyncio.wait_for(store.kv.set(namespace, "free", 1), 5)
            assert not waiting.done()
        await blocker.close()
        await waiting
        assert (await store.kv.get(namespace, "held")).value == 1
