"""One run at a time on a lineage of checkpoints, and a fence that refuses who comes too late."""

from __future__ import annotations

from datetime import timedelta

import pytest

from perdure.errors import BusyError, ConflictError, InvalidError, StaleSessionError
from perdure.store import Store
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, OpenStore


async def test_one_run_at_a_time_has_the_lease_of_a_lineage(store: Store) -> None:
    async with store.checkpoints.lease("l", "run-1") as lease:
        with pytest.raises(BusyError, match="run 'run-1' has the lease of lineage 'l' until 20"):
            await store.checkpoints.lease("l", "run-2")
        other = await store.checkpoints.lease("other", "run-2")
        holder = await store.checkpoints.find_lease("l")

        assert holder is not None
        assert (lease.run_id, other.run_id, holder.run_id) == ("run-1", "run-2", "run-1")

    assert await store.checkpoints.find_lease("l") is None


async def test_what_comes_after_the_lease_was_taken_over_is_refused(store: Store) -> None:
    late = await store.checkpoints.lease("l", "run-1")
    await store.checkpoints.put("l", "in time", id="a", fence=late.fence)
    lease = await store.checkpoints.lease("l", "run-2", on_busy="take")

    for attempt in (
        store.checkpoints.put("l", "too late", id="b", fence=late.fence),
        store.checkpoints.put_writes("l", "a", "task", [("channel", 1)], fence=late.fence),
        store.checkpoints.put_full(
            "l", "too late", id="b", task="task", writes=[("channel", 1)], fence=late.fence
        ),
    ):
        with pytest.raises(StaleSessionError, match="another run has taken its lease"):
            await attempt
    await store.checkpoints.put("l", "by the second", id="c", parent="a", fence=lease.fence)
    await store.checkpoints.put("l", "by one without a lease", id="d")

    put = [one.key.id for one in (await store.checkpoints.list("l")).items]
    assert put == ["d", "c", "a"]
    assert (await store.checkpoints.get_tuple("l", "a")).writes == ()


async def test_the_fence_of_a_lease_asks_for_no_parent(store: Store) -> None:
    async with store.checkpoints.lease("l", "run-1") as lease:
        await store.checkpoints.put("l", 1, id="a")
        await store.checkpoints.put("l", 2, id="b", fence=lease.fence)

        with pytest.raises(ConflictError, match="the latest"):
            await store.checkpoints.put("l", 3, id="c", fence=True)


async def test_a_fence_of_a_lineage_never_goes_back(store: Store, clock: FixedClock) -> None:
    first = await store.checkpoints.lease("l", "run-1")
    await first.release()
    await store.checkpoints.put("l", 1)
    await store.checkpoints.delete_lineage("l")
    clock.advance(-timedelta(days=1))
    second = await store.checkpoints.lease("l", "run-1")

    assert second.fence > first.fence
    with pytest.raises(StaleSessionError):
        await store.checkpoints.put("l", 2, fence=first.fence)


async def test_a_lineage_without_a_lease_refuses_any_fence(store: Store) -> None:
    await store.checkpoints.put("l", 1)

    for lineage in ("l", "unheard of"):
        with pytest.raises(StaleSessionError):
            await store.checkpoints.put(lineage, 2, fence=17)
    with pytest.raises(InvalidError, match="fence is True, False or that of a lease, not -1"):
        await store.checkpoints.put("l", 2, fence=-1)


async def test_deleting_a_lineage_ends_its_lease_and_leaves_nothing_of_the_run(
    store: Store, dump: Dump
) -> None:
    lease = await store.checkpoints.lease("l", "run of ada")
    await store.checkpoints.put("l", 1, owner=("support", "ada"), fence=lease.fence)

    await store.checkpoints.delete_lineage("l")

    assert await store.checkpoints.find_lease("l") is None
    assert await lease.release() is False
    assert (await dump())["leases"] == []
    with pytest.raises(StaleSessionError):
        await store.checkpoints.put("l", 2, fence=lease.fence - 1)


async def test_two_tenants_have_leases_of_their_own(store: Store, open_store: OpenStore) -> None:
    acme = await open_store(tenant="acme")

    await store.checkpoints.lease("l", "run-1")
    lease = await acme.checkpoints.lease("l", "run-2")

    assert lease.run_id == "run-2"
