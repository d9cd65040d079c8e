"""Checkpoints of one database: by several processes, in how many trips, and how it grows."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import perdure
from perdure.engines import postgres_hints
from perdure.features.checkpoint_bodies import CHECKPOINTS
from tests.docs.test_round_trips import Counted
from tests.engines import checkpoint_writers
from tests.postgres.asking import Asked

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


def test_no_put_of_several_processes_is_lost_and_each_holds_its_own(database: str) -> None:
    checkpoint_writers.no_put_is_lost_and_each_holds_its_own(database)


def test_what_stays_loads_while_others_prune_and_delete(database: str) -> None:
    checkpoint_writers.what_stays_loads_while_others_prune_and_delete(database)


def test_what_a_process_remembers_of_what_another_removed_is_not_built_on(database: str) -> None:
    checkpoint_writers.what_a_process_remembers_of_what_another_removed_is_not_built_on(database)


def test_nothing_is_left_of_who_is_erased_while_others_put(database: str) -> None:
    checkpoint_writers.nothing_is_left_of_who_is_erased_while_others_put(database)


def test_with_a_fence_two_processes_make_one_line(database: str) -> None:
    checkpoint_writers.with_a_fence_there_is_one_line(database)


def test_a_killed_put_full_is_there_whole_or_not_at_all(database: str) -> None:
    checkpoint_writers.a_killed_put_full_is_there_whole_or_not_at_all(database)


@pytest.mark.parametrize("channels", [True, False])
def test_150_turns_take_less_than_a_megabyte(database: str, channels: bool) -> None:
    with perdure.open_sync(database) as store:
        before = store.du().stored
        checkpoint_writers.grow(store, channels=channels)
        grown = store.du().stored - before

    assert grown < 1_000_000


async def _trips(address: str) -> dict[str, float]:
    counted = Counted(address)
    async with counted.listening() as url, perdure.open(url, pool_min=1, pool_max=1) as store:
        checkpoints = store.checkpoints
        last = await checkpoints.put("graph", values={"m": ["x"]})
        count = 0

        async def put() -> None:
            nonlocal last, count
            count += 1
            last = await checkpoints.put(
                "graph", count, parent=last, versions={"m": count, "empty": count},
                values={"m": ["x"] * count}, owner=("support", "ada"),
            )  # fmt: skip

        async def full() -> None:
            nonlocal last, count
            count += 1
            last = await checkpoints.put_full(
                "graph", count, parent=last, versions={"m": count}, values={"m": ["x"] * count},
                task="t", writes=[("m", 1), ("n", 2)],
            )  # fmt: skip

        async def begin() -> None:
            nonlocal count
            count += 1
            await checkpoints.put(f"new {count}", values={"m": 1})

        async def listed() -> None:
            assert len(await checkpoints.list("graph", limit=1_000)) > 600

        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "put": put,
            "put_full": full,
            "put of a new lineage": begin,
            "put_writes": lambda: checkpoints.put_writes("graph", last.id, "u", [("m", 1)]),
            "latest": lambda: checkpoints.latest("graph"),
        }
        found = {name: await counted.cost(call) for name, call in calls.items()}
        for _ in range(640):
            await put()
        found["list of 640"] = await counted.cost(listed)
        return found


def test_what_a_graph_does_at_each_step_is_one_trip(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_hints, "_GATHER_SECONDS", 3600.0)
    perdure.open_sync(database).close()

    trips = asyncio.run(_trips(database))

    assert set(trips.values()) == {1}


def test_the_latest_is_not_planned_anew_for_each_call(database: str) -> None:
    with perdure.open_sync(database) as store:
        for number in range(600):
            key = store.checkpoints.put("graph", number, values={"m": ["x"] * (number % 50)})
            store.checkpoints.put_writes("graph", key.id, "task", [("m", number), ("n", None)])
    asked = Asked(database, "public")
    asked.run("ANALYZE")
    [(part,)] = asked.rows("SELECT part FROM checkpoints LIMIT 1")
    query = CHECKPOINTS.pick("one", "one_put", "written")
    values = {"part": part, "ns": "", "below": 2**63 - 1, "known": 0}

    for _ in range(20):
        rows = asked.rows(query.texts["postgres"], *[values[name] for name in query.params])
    [(kept,)] = asked.rows(
        "SELECT generic_plans FROM pg_prepared_statements WHERE statement = $1",
        query.texts["postgres"],
    )
    asked.close()

    assert [row[0] for row in rows].count(2) == 2
    # The server tries five that know the values; then the one for all is no worse.
    assert kept == 15
