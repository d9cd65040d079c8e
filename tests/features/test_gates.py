"""Gates where the store is of one colour, and what stands behind them of the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import perdure
from perdure import ALL, Approval, ApprovalPolicy, InvalidError, SyncStore

ARGS = {"to": "bob"}


def by_with(gate: Any) -> None:
    with gate:
        pytest.fail("it ran")


async def by_async_with(gate: Any) -> None:
    async with gate:
        pytest.fail("it ran")


@pytest.mark.parametrize("policy", [None, ApprovalPolicy(allow=["*"])])
def test_the_gate_of_an_async_store_is_not_entered_by_with(policy: ApprovalPolicy | None) -> None:
    async def work() -> None:
        async with perdure.open("memory:") as store:
            with pytest.raises(InvalidError, match="`async with`"):
                by_with(store.approvals.gate("send", ARGS, policy=policy))
            assert (await store.approvals.list(app=ALL)).items == []

    asyncio.run(work())


@pytest.mark.parametrize("policy", [None, ApprovalPolicy(allow=["*"])])
def test_the_gate_of_a_sync_store_is_not_entered_by_async_with(
    policy: ApprovalPolicy | None,
) -> None:
    with perdure.open_sync("memory:") as store:
        with pytest.raises(InvalidError, match="`with`"):
            asyncio.run(by_async_with(store.approvals.gate("send", ARGS, policy=policy)))
        assert store.approvals.list(app=ALL).items == []


def gated(store: SyncStore, ran: list[int]) -> Callable[[int], Any]:
    @store.approvals.required(about={"user": "ada", "thread_id": "t"})
    async def send(n: int) -> None:
        ran.append(n)

    return send


async def pending(store: SyncStore, count: int) -> list[Approval]:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found = store.approvals.list(app=ALL, status="pending").items
        if len(found) == count:
            return list(found)
        await asyncio.sleep(0.01)
    raise AssertionError("nobody asks")


def test_coroutine_functions_that_wait_behind_a_sync_store_hold_no_threads() -> None:
    ran: list[int] = []

    async def work(store: SyncStore) -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        send = gated(store, ran)
        running = [asyncio.create_task(send(n)) for n in range(5)]
        for one in await pending(store, 5):
            await asyncio.wait_for(asyncio.to_thread(store.approvals.approve, one.id, by="ada"), 20)
        await asyncio.wait_for(asyncio.gather(*running), 20)

    with perdure.open_sync("memory:") as store:
        asyncio.run(work(store))
    assert sorted(ran) == [0, 1, 2, 3, 4]


def test_a_coroutine_function_that_is_cancelled_waiting_uses_no_approval_up() -> None:
    ran: list[int] = []

    async def work(store: SyncStore) -> str:
        running = asyncio.create_task(gated(store, ran)(1))
        [asked] = await pending(store, 1)
        await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        store.approvals.approve(asked.id, by="ada")
        await asyncio.sleep(0.3)
        return store.approvals.get(asked.id).status

    with perdure.open_sync("memory:") as store:
        assert asyncio.run(work(store)) == "approved"
    assert ran == []


def test_no_tool_is_gated_in_a_turn() -> None:
    ran: list[int] = []
    with perdure.open_sync("memory:") as store, store.turn() as turn:

        async def send(n: int) -> None:
            ran.append(n)

        with pytest.raises(InvalidError, match="single writes"):
            asyncio.run(turn.approvals.required()(send)(1))
        with pytest.raises(InvalidError, match="single writes"):
            by_with(turn.approvals.gate("send", ARGS))
    assert ran == []
