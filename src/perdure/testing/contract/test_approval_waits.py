"""Waiting for an answer, and finding after a restart what nobody waits for."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    Approval,
    ConflictError,
    InvalidError,
    Store,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump

ARGS = {"to": "bob"}
ADA: dict[str, Any] = {"user": "ada", "thread_id": "t"}
HOUR = timedelta(hours=1)


async def ask(store: Store, **given: Any) -> Approval:
    return await store.approvals.request("send", ARGS, **{**ADA, **given})


# -- waiting ---------------------------------------------------------------------------------------


async def test_who_waits_gets_the_answer_that_comes(store: Store) -> None:
    made = await ask(store)
    waiting = asyncio.create_task(store.approvals.wait(made.id, 20))
    await asyncio.sleep(0.05)
    done = await store.approvals.reject(made.id, by="ada", feedback="no")

    assert await waiting == done


async def test_what_has_an_answer_is_not_waited_for(store: Store) -> None:
    made = await ask(store)
    done = await store.approvals.approve(made.id, by="ada")

    assert await store.approvals.wait(made.id) == done
    assert await store.approvals.wait(made.id, 0) == done


async def test_when_the_time_is_over_it_is_given_as_it_is(store: Store) -> None:
    made = await ask(store)
    began = time.monotonic()

    assert await store.approvals.wait(made.id, 0) == made
    assert await store.approvals.wait(made.id, 0.15) == made
    assert 0.14 < time.monotonic() - began < 5


async def test_several_may_wait_for_one(store: Store) -> None:
    made = await ask(store)
    waiting = [asyncio.create_task(store.approvals.wait(made.id, 20)) for _ in range(3)]
    await asyncio.sleep(0.05)
    done = await store.approvals.approve(made.id, by="ada")

    assert [await one for one in waiting] == [done] * 3


async def test_who_waits_is_told_that_it_has_expired(store: Store, clock: FixedClock) -> None:
    made = await ask(store, ttl=HOUR)
    waiting = asyncio.create_task(store.approvals.wait(made.id, 20))
    await asyncio.sleep(0.05)
    clock.advance(HOUR)

    found = await waiting

    assert (found.status, found.resolved_by) == ("expired", "system:expiry")
    assert [step.to_status for step in await store.approvals.audit(made.id)] == [
        "pending", "expired",
    ]  # fmt: skip


async def test_waiting_leaves_no_lease_behind(store: Store, dump: Dump) -> None:
    made = await ask(store)
    await store.approvals.wait(made.id, 0.05)

    assert made.id not in repr((await dump())["leases"])


@pytest.mark.parametrize("wrong", [-1, "1", True, float("nan")])
async def test_a_timeout_is_seconds(store: Store, wrong: Any) -> None:
    made = await ask(store)

    with pytest.raises(InvalidError, match="timeout"):
        await store.approvals.wait(made.id, wrong)


# -- after a restart -------------------------------------------------------------------------------


async def test_after_a_restart_what_nobody_waits_for_is_found(
    store: Store, clock: FixedClock
) -> None:
    old = await ask(store)
    clock.advance(timedelta(minutes=11))
    new, done = await ask(store), await ask(store)
    await store.approvals.approve(done.id, by="ada")

    listed = await store.approvals.recover_pending()
    found = await store.approvals.recover_pending(max_age=timedelta(minutes=10))

    assert [one.id for one in listed.pending] == [old.id, new.id]
    assert [one.id for one in found.pending] == [new.id]
    [expired] = found.expired
    assert (expired.id, expired.status, expired.resolved_by) == (
        old.id, "expired", "system:recovery",
    )  # fmt: skip
    assert (await store.approvals.get(old.id)).status == "expired"
    assert (await store.approvals.recover_pending()).pending == found.pending
    with pytest.raises(ConflictError, match="expired"):
        await store.approvals.approve(old.id, by="ada")


async def test_what_somebody_waits_for_is_left_alone(store: Store, clock: FixedClock) -> None:
    waited, left = await ask(store, ttl=None), await ask(store, ttl=None)
    clock.advance(HOUR)
    waiting = asyncio.create_task(store.approvals.wait(waited.id, 20))
    await asyncio.sleep(0.1)

    found = await store.approvals.recover_pending(max_age=timedelta(minutes=1))

    assert (list(found.pending), [one.id for one in found.expired]) == ([], [left.id])
    await store.approvals.approve(waited.id, by="ada")
    assert (await waiting).status == "approved"


async def test_of_several_who_wait_each_keeps_it_from_being_given_up(
    store: Store, clock: FixedClock
) -> None:
    made = await ask(store, ttl=None)
    # The first of them has begun before the other, and leaves before it.
    leaving = asyncio.create_task(store.approvals.wait(made.id, 0.3))
    await asyncio.sleep(0.1)
    waiting = asyncio.create_task(store.approvals.wait(made.id, 20))
    assert (await leaving).status == "pending"
    clock.advance(timedelta(seconds=8))

    found = await store.approvals.recover_pending(max_age=timedelta(seconds=1))

    assert (found.pending, found.expired) == ((), ())
    await store.approvals.approve(made.id, by="ada")
    assert (await waiting).status == "approved"


async def test_who_has_died_waiting_is_waited_for_no_more(store: Store, clock: FixedClock) -> None:
    made = await ask(store, ttl=None)
    waiting = asyncio.create_task(store.approvals.wait(made.id, 20))
    await asyncio.sleep(0.1)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    # In a thread it goes on: that one is told.
    clock.advance(timedelta(seconds=16))

    assert [one.id for one in (await store.approvals.recover_pending()).pending] == [made.id]
    await store.approvals.cancel(made.id)


async def test_recovering_can_be_for_one_app(store: Store) -> None:
    ours, theirs = await ask(store, app="shop"), await ask(store, app="lab")

    assert [one.id for one in (await store.approvals.recover_pending(app="shop")).pending] == [
        ours.id
    ]
    assert len((await store.approvals.recover_pending()).pending) == 2
    assert theirs.status == "pending"
    with pytest.raises(InvalidError):
        await store.approvals.recover_pending(max_age=timedelta(0))
