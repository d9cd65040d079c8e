"""Run leases: one run at a time on a session, and fences that refuse who comes too late."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure.errors import (
    AlreadyExistsError,
    BusyError,
    InvalidError,
    NotFoundError,
    StaleSessionError,
)
from perdure.records import AppScope, LeaseHolder, NewEvent, SessionKey, UserScope
from perdure.store import Store
from perdure.testing.clocks import FixedClock
from perdure.testing.contract.test_upkeep import part_of
from perdure.testing.databases import Dump, NewKey, OpenStore

BRIEF = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


async def until(look: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, "it did not come to that"
        await asyncio.sleep(0.01)


# -- taking and giving back ------------------------------------------------------------------


async def test_one_run_at_a_time_has_the_lease_of_a_session(store: Store, key: SessionKey) -> None:
    async with store.sessions.lease(key, "run-1") as lease:
        with pytest.raises(BusyError, match="run 'run-1' has the lease of session 'chat' until 20"):
            await store.sessions.lease(key, "run-2")

        assert (lease.run_id, lease.lost) == ("run-1", False)

    async with store.sessions.lease(key, "run-2") as second:
        assert second.run_id == "run-2"


async def test_who_is_refused_is_told_when_to_come_again(
    store: Store, key: SessionKey, clock: FixedClock
) -> None:
    clock.step = timedelta(0)
    await_me = await store.sessions.lease(key, "run-1", ttl=MINUTE)
    clock.advance(timedelta(seconds=20))

    with pytest.raises(BusyError) as refused:
        await store.sessions.lease(key, "run-2")

    assert refused.value.retry_after == 40
    assert await_me.until == clock.now + timedelta(seconds=40)


async def test_a_lease_may_be_awaited_and_released_by_hand(store: Store, key: SessionKey) -> None:
    lease = await store.sessions.lease(key, "run-1")

    assert await lease.release() is True
    assert await lease.release() is False
    assert lease.lost is False
    assert await store.sessions.find_lease(key) is None


async def test_a_block_that_fails_gives_its_lease_back(store: Store, key: SessionKey) -> None:
    with pytest.raises(ZeroDivisionError):
        async with store.sessions.lease(key, "run-1"):
            _ = 1 // 0

    assert await store.sessions.find_lease(key) is None


async def test_find_lease_tells_who_has_it_and_until_when(
    store: Store, key: SessionKey, clock: FixedClock
) -> None:
    clock.step = timedelta(0)
    lease = await store.sessions.lease(key, "run-1", ttl=MINUTE)

    assert await store.sessions.find_lease(key) == LeaseHolder("run-1", clock.now + MINUTE)
    clock.advance(MINUTE)
    assert await store.sessions.find_lease(key) is None
    assert lease.lost is True


async def test_a_run_that_has_the_lease_is_busy_like_any_other(
    store: Store, key: SessionKey
) -> None:
    async with store.sessions.lease(key, "run-1"):
        with pytest.raises(BusyError):
            await store.sessions.lease(key, "run-1")


async def test_sessions_have_leases_of_their_own(store: Store, new_key: NewKey) -> None:
    one, two = await new_key("one"), await new_key("two")

    async with store.sessions.lease(one, "run"), store.sessions.lease(two, "run"):
        assert await store.sessions.find_lease(one) is not None
        assert await store.sessions.find_lease(two) is not None


async def test_closing_the_store_gives_its_leases_back(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    other = await open_store()
    async with other:
        lease = await other.sessions.lease(key, "run-1")

    assert await store.sessions.find_lease(key) is None
    assert await lease.release() is False


async def test_a_session_that_is_not_there_has_no_lease(store: Store) -> None:
    nobody = SessionKey("support", "ada", "nobody")

    with pytest.raises(NotFoundError):
        await store.sessions.lease(nobody, "run-1")
    with pytest.raises(NotFoundError):
        await store.sessions.find_lease(nobody)


BAD: dict[str, dict[str, Any]] = {
    "run_id": {"run_id": ""},
    "ttl": {"ttl": timedelta(0)},
    "on_busy": {"on_busy": "steal"},
    "timeout": {"timeout": -1},
    "timeout is": {"timeout": float("inf")},
}


async def test_what_cannot_be_is_refused(store: Store, key: SessionKey) -> None:
    for name, bad in BAD.items():
        with pytest.raises(InvalidError, match=name):
            await store.sessions.lease(key, **{"run_id": "run-1", **bad})
    for fence in (-1, "1", 1.5):
        with pytest.raises(InvalidError, match="fence"):
            await store.events.append(key, "x", fence=fence)  # type: ignore[arg-type]

    for ttl in (timedelta.max, timedelta(days=365_001)):
        with pytest.raises(InvalidError, match="ttl"):
            await store.sessions.lease(key, "run-1", ttl=ttl)

    assert await store.sessions.find_lease(key) is None


# -- waiting and taking over -----------------------------------------------------------------


async def test_who_waits_has_the_lease_when_it_is_given_back(store: Store, key: SessionKey) -> None:
    first = await store.sessions.lease(key, "run-1")
    waiting = asyncio.ensure_future(store.sessions.lease(key, "run-2", on_busy="wait", timeout=30))
    await asyncio.sleep(0.1)
    assert not waiting.done()

    await first.release()

    assert (await waiting).fence > first.fence


async def test_who_waits_has_the_lease_when_its_time_is_over(
    store: Store, key: SessionKey, clock: FixedClock
) -> None:
    dead = await store.sessions.lease(key, "run-1", ttl=MINUTE)
    waiting = asyncio.ensure_future(store.sessions.lease(key, "run-2", on_busy="wait", timeout=30))
    await asyncio.sleep(0.05)

    clock.advance(MINUTE)

    assert (await waiting).fence > dead.fence


async def test_waiting_has_an_end(store: Store, key: SessionKey) -> None:
    async with store.sessions.lease(key, "run-1"):
        begun = time.monotonic()
        with pytest.raises(BusyError, match="run-1"):
            await store.sessions.lease(key, "run-2", on_busy="wait", timeout=0.1)

    assert 0.1 <= time.monotonic() - begun < 10


async def test_of_many_who_wait_one_at_a_time_has_the_lease(store: Store, key: SessionKey) -> None:
    inside: list[str] = []
    most = 0

    async def work(name: str) -> int:
        nonlocal most
        async with store.sessions.lease(key, name, on_busy="wait", timeout=60) as lease:
            inside.append(name)
            most = max(most, len(inside))
            await asyncio.sleep(0.005)
            await store.events.append(key, name, fence=lease.fence)
            inside.remove(name)
            return lease.fence

    fences = await asyncio.gather(*(work(f"run-{n}") for n in range(6)))

    assert most == 1
    assert len(set(fences)) == 6
    assert await store.events.count(key) == 6


async def test_taking_over_ends_the_right_of_the_other_at_once(
    store: Store, key: SessionKey
) -> None:
    late = await store.sessions.lease(key, "run-1")

    async with store.sessions.lease(key, "run-2", on_busy="take") as lease:
        assert lease.fence > late.fence
        found = await store.sessions.find_lease(key)
        assert found is not None
        assert found.run_id == "run-2"
        with pytest.raises(StaleSessionError, match="another run has taken its lease"):
            await store.events.append(key, "late", fence=late.fence)
        await store.events.append(key, "in time", fence=lease.fence)
        assert await late.release() is False
        assert await store.sessions.find_lease(key) == found

    assert [event.content for event in await store.events.read(key)] == ["in time"]


# -- renewing --------------------------------------------------------------------------------


async def test_a_lease_is_renewed_while_the_event_loop_is_kept_busy(
    open_store: OpenStore, key: SessionKey
) -> None:
    store = await open_store(clock=None)
    async with store.sessions.lease(key, "run-1", ttl=BRIEF) as lease:
        first = lease.until

        time.sleep(1.2 * BRIEF.total_seconds())  # noqa: ASYNC251 - a handler that blocks the loop

        assert lease.lost is False
        assert lease.until > first
        with pytest.raises(BusyError):
            await store.sessions.lease(key, "run-2")


async def test_a_lease_that_was_taken_over_is_told_that_it_is_lost(
    open_store: OpenStore, key: SessionKey
) -> None:
    store = await open_store(clock=None)
    lease = await store.sessions.lease(key, "run-1", ttl=BRIEF / 3)

    async with store.sessions.lease(key, "run-2", on_busy="take"):
        await until(lambda: lease.lost)


async def test_a_lease_that_nobody_keeps_ends_by_itself(
    open_store: OpenStore, key: SessionKey
) -> None:
    store = await open_store(clock=None)
    lease: Any = await store.sessions.lease(key, "run-1", ttl=BRIEF / 3)
    del lease

    async with store.sessions.lease(key, "run-2", on_busy="wait", timeout=30) as second:
        assert second.run_id == "run-2"


# -- fences ----------------------------------------------------------------------------------


async def test_a_fence_never_goes_back(
    store: Store, key: SessionKey, clock: FixedClock, dump: Dump
) -> None:
    fences = []
    for _ in range(3):
        lease = await store.sessions.lease(key, "released")
        fences.append(lease.fence)
        await lease.release()
    assert (await dump())["leases"] == []
    fences.append((await store.sessions.lease(key, "run out", ttl=MINUTE)).fence)
    clock.advance(timedelta(days=2))
    await store.sweep()
    # As after a restart of a machine whose clock was wrong.
    clock.advance(-timedelta(days=400))
    fences.append((await store.sessions.lease(key, "early", on_busy="take")).fence)
    fences.append((await store.sessions.lease(key, "taken", on_busy="take")).fence)

    assert fences == sorted(set(fences))


async def test_a_released_fence_is_good_until_the_next_run_begins(
    store: Store, key: SessionKey
) -> None:
    async with store.sessions.lease(key, "run-1") as first:
        pass

    await store.events.append(key, "still good", fence=first.fence)
    async with store.sessions.lease(key, "run-2"):
        with pytest.raises(StaleSessionError):
            await store.events.append(key, "late", fence=first.fence)


async def test_who_gives_no_fence_is_never_refused(store: Store, key: SessionKey) -> None:
    async with store.sessions.lease(key, "run-1"):
        await store.events.append(key, "as ever")
        await store.state.set(key, {"a": 1})

    assert await store.events.count(key) == 1


LEFT = "line-2"
Write = Callable[[Store, SessionKey, int], Awaitable[Any]]

WRITES: dict[str, Write] = {
    "append": lambda s, k, f: s.events.append(k, "x", fence=f),
    "append several": lambda s, k, f: s.events.append(k, "x", "y", fence=f),
    "append a line": lambda s, k, f: s.events.append(k, "x", after=1, fence=f),
    "append state": lambda s, k, f: s.events.append(
        k, NewEvent("x", state_delta={"a": 2, "user:b": 1}), fence=f
    ),
    "rewind": lambda s, k, f: s.events.rewind(k, 1, fence=f),
    "pop": lambda s, k, f: s.events.pop(k, fence=f),
    "replace_suffix": lambda s, k, f: s.events.replace_suffix(k, 1, ["z"], fence=f),
    "clear": lambda s, k, f: s.events.clear(k, fence=f),
    "delete": lambda s, k, f: s.events.delete(k, ["e1"], fence=f),
    "redact": lambda s, k, f: s.events.redact(k, "e1", fence=f),
    "prune": lambda s, k, f: s.events.prune(k, keep_last=1, fence=f),
    "switch": lambda s, k, f: s.events.switch(k, LEFT, fence=f),
    "drop_branch": lambda s, k, f: s.events.drop_branch(k, LEFT, fence=f),
    "state.set": lambda s, k, f: s.state.set(k, {"a": 2}, fence=f),
    "state.delete": lambda s, k, f: s.state.delete(k, "a", fence=f),
    "update": lambda s, k, f: s.sessions.update(k, title="late", fence=f),
    "step": lambda s, k, f: s.step("run", "late", lambda: 1, owner=k, fence=f),
}


@pytest.mark.parametrize("name", WRITES)
async def test_a_write_with_the_fence_of_an_earlier_run_is_refused_and_changes_nothing(
    store: Store, new_key: NewKey, dump: Dump, name: str
) -> None:
    key = await new_key("fenced", state={"a": 1})
    await store.events.append(key, NewEvent("one", id="e1"), "two")
    await store.events.rewind(key, 1)
    await store.events.append(key, "three")
    [left] = [line.name for line in await store.events.branches(key) if not line.current]
    late = await store.sessions.lease(key, "run-1")
    lease = await store.sessions.lease(key, "run-2", on_busy="take")
    version = (await store.sessions.get(key)).version
    before = await dump()

    with pytest.raises(StaleSessionError, match="another run") as refused:
        await WRITES[name](store, key, late.fence)

    assert refused.value.current_version == version
    assert await dump() == before
    await WRITES[name](store, key, lease.fence)
    assert left == LEFT
    assert await dump() != before


async def test_a_turn_with_one_late_write_stores_none_of_its_writes(
    store: Store, key: SessionKey
) -> None:
    late = await store.sessions.lease(key, "run-1")
    async with store.sessions.lease(key, "run-2", on_busy="take"):
        turn = store.turn()
        turn.kv.set("notes", "a", 1)
        turn.events.append(key, "late", fence=late.fence)
        with pytest.raises(StaleSessionError):
            await turn.__aexit__(None, None, None)

    assert await store.kv.find("notes", "a") is None
    assert await store.events.count(key) == 0


async def test_a_retry_of_what_was_stored_in_time_succeeds_behind_a_later_fence(
    store: Store, key: SessionKey
) -> None:
    late = await store.sessions.lease(key, "run-1")
    said = NewEvent("in time", id="e1")
    await store.events.append(key, said, fence=late.fence)

    async with store.sessions.lease(key, "run-2", on_busy="take"):
        again = await store.events.append(key, said, fence=late.fence)

    assert again.duplicate is True


async def test_a_handle_writes_with_the_fence_it_was_made_with(
    store: Store, key: SessionKey
) -> None:
    late = await store.sessions.lease(key, "run-1")
    handle = await store.session(*key, fence=late.fence)
    await handle.append("in time")
    async with store.sessions.lease(key, "run-2", on_busy="take"):
        with pytest.raises(StaleSessionError, match="another run"):
            await handle.append("late")

    assert [event.content for event in handle.events] == ["in time"]


async def test_a_fence_is_of_a_session_alone(store: Store) -> None:
    for scope in (AppScope("support"), UserScope("support", "ada")):
        with pytest.raises(InvalidError, match="fence"):
            await store.state.set(scope, {"a": 1}, fence=1)


# -- the life of its session -----------------------------------------------------------------


async def test_a_fork_and_a_session_made_anew_are_leased_by_nobody(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, "hello")
    lease = await store.sessions.lease(key, "run-1")

    fork = await store.sessions.fork(key)
    await store.sessions.delete(key)
    await store.sessions.create(*key)

    assert await store.sessions.find_lease(fork.key) is None
    assert await store.sessions.find_lease(key) is None
    for other in (fork.key, key):
        with pytest.raises(StaleSessionError):
            await store.events.append(other, "late", fence=lease.fence)


async def test_a_session_that_is_restored_has_the_fence_it_had(
    store: Store, key: SessionKey
) -> None:
    lease = await store.sessions.lease(key, "run-1")
    await store.sessions.delete(key)
    with pytest.raises(NotFoundError):
        await store.events.append(key, "gone", fence=lease.fence)

    await store.sessions.restore(key)

    await store.events.append(key, "back", fence=lease.fence)
    with pytest.raises(BusyError):
        await store.sessions.lease(key, "run-2")
    with pytest.raises(AlreadyExistsError):
        await store.sessions.create(*key)


async def test_an_erasure_takes_leases_along(store: Store, key: SessionKey, dump: Dump) -> None:
    lease = await store.sessions.lease(key, "a run with a name")
    part = part_of(await dump(), "ada")

    await store.erase_user("support", "ada")

    after = await dump()
    assert [row for row in after["leases"] if row[0] == part] == []
    assert "a run with a name" not in repr(after)
    assert await lease.release() is False


async def test_other_tenants_have_other_leases(store: Store, open_store: OpenStore) -> None:
    other = await open_store(tenant="acme")
    mine = (await store.sessions.create("support", "ada", "chat")).key
    await other.sessions.create(*mine)

    async with store.sessions.lease(mine, "run"), other.sessions.lease(mine, "run"):
        assert await other.sessions.find_lease(mine) is not None
