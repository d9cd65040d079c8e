"""A gate that is entered in the manner of the other colour is not entered at all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import perdure
from perdure import ALL, ApprovalPolicy, InvalidError

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
