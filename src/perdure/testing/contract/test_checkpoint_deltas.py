"""Channels that are kept as what is written to them: no prune takes what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from perdure import InvalidError, KeepCheckpoints, NotFoundError, RetentionConfig, Store
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, OpenStore

HOUR = timedelta(hours=1)


async def put_line(store: Store, count: int, seeds: Mapping[str, int]) -> None:
    """So many checkpoints, each behind the one before; each channel has a value at one of them."""
    for number in range(count):
        name = f"{number:03}"
        versions = {channel: number for channel, seed in seeds.items() if seed <= number}
        versions |= {"plain": number, "empty": number}
        await store.checkpoints.put(
            "graph",
            id=name,
            parent=f"{number - 1:03}" if number else None,
            versions=versions,
            values={
                "plain": ["text"] * number,
                **{channel: number for channel, seed in seeds.items() if seed == number},
            },
            deltas=[channel for channel in versions if seeds.get(channel, number) < number],
            metadata={"run_id": f"run-{number}"},
        )
        await store.checkpoints.put_writes("graph", name, "t", [(one, number) for one in versions])


async def left(store: Store) -> list[str]:
    return [one.key.id async for one in store.checkpoints.iter("graph")]


async def test_a_prune_keeps_the_writes_back_to_the_value(store: Store, dump: Dump) -> None:
    await put_line(store, 12, {"near": 8, "far": 5})
    before = await store.checkpoints.get_tuple("graph", "006")
    old = await dump()
    dry = await store.checkpoints.prune("graph", keep_last=2, dry_run=True)
    assert await dump() == old

    done = await store.checkpoints.prune("graph", keep_last=2)

    assert done == dry
    assert await left(store) == [f"{number:03}" for number in range(11, 4, -1)]
    assert await store.checkpoints.get_tuple("graph", "006") == before
    last = await store.checkpoints.get_tuple("graph", "005")
    assert last.checkpoint.values == {"plain": ["text"] * 5, "far": 5}
    assert last.checkpoint.parent is None
    assert (await store.checkpoints.prune("graph", keep_last=2)).checkpoints == 0


async def test_what_has_its_value_needs_nobody(store: Store) -> None:
    await put_line(store, 6, {"m": 5})

    await store.checkpoints.prune("graph", keep_last=1)

    assert await left(store) == ["005"]


async def test_without_a_value_all_parents_stay_and_forks_go(store: Store) -> None:
    await put_line(store, 4, {"m": -1})
    await store.checkpoints.put("graph", id="fork", parent="001", versions={"m": 9}, deltas=["m"])
    await store.checkpoints.put("graph", id="last", parent="002", versions={"m": 8}, deltas=["m"])

    await store.checkpoints.prune("graph", keep_last=1)

    assert await left(store) == ["last", "002", "001", "000"]


async def test_a_branch_of_a_delta_is_one(store: Store) -> None:
    await put_line(store, 6, {"m": 2})
    await store.checkpoints.branch("graph", "004", new_id="again")

    await store.checkpoints.prune("graph", keep_last=1)

    assert await left(store) == ["again", "004", "003", "002"]


async def test_a_sweep_keeps_them_too(open_store: OpenStore, clock: FixedClock) -> None:
    rule = KeepCheckpoints(keep_last=1, older_than=HOUR)
    store = await open_store(retention=RetentionConfig(retention_days=None, checkpoints=rule))
    await put_line(store, 8, {"m": 4})
    clock.advance(2 * HOUR)

    dry = await store.sweep(dry_run=True)
    swept = await store.sweep()

    assert swept.kinds == dry.kinds
    assert swept.kinds["checkpoints"].count == 4
    assert await left(store) == ["007", "006", "005", "004"]
    assert "checkpoints" not in (await store.sweep()).kinds


async def test_what_is_told_to_go_for_its_run_goes(store: Store) -> None:
    await put_line(store, 5, {"m": 1})

    assert await store.checkpoints.delete_for_runs(["run-2", "run-3"]) == 2

    assert await left(store) == ["004", "001", "000"]


@pytest.mark.parametrize("wrong", ["m", ["m", "unknown"]])
async def test_deltas_are_channels_with_a_version(store: Store, wrong: list[str]) -> None:
    with pytest.raises(InvalidError, match="deltas"):
        await store.checkpoints.put("graph", versions={"m": 1}, deltas=wrong)


async def test_a_put_that_leaves_out_values_may_need_its_parent(store: Store) -> None:
    await put_line(store, 3, {"m": 0})
    given: Any = {
        "parent": "002",
        "versions": {"plain": 2, "new": 1},
        "values": {"new": 1},
        "needs_parent": True,
    }
    await store.checkpoints.put("graph", id="there", **given)
    assert (await store.checkpoints.get("graph")).values == {"plain": ["text"] * 2, "new": 1}
    await store.checkpoints.delete_for_runs(["run-2"])
    old = await left(store)

    for name in ("late", "later"):
        with pytest.raises(NotFoundError, match="'002' is gone"):
            await store.checkpoints.put("graph", id=name, **given)

    assert await left(store) == old
