"""The SDK's own kit for session stores: every contract, on every engine, none skipped."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

pytest.importorskip("claude_agent_sdk", reason="needs claude-agent-sdk: see .ci/adapters")

from claude_agent_sdk import SessionStore
from claude_agent_sdk.testing import run_session_store_conformance, session_store_conformance

import perdure
from perdure.adapters.claude import PerdureSessionStore

OPTIONAL = ("list_sessions", "list_session_summaries", "delete", "list_subkeys")


async def conform(url: str, *, sync: bool) -> int:
    """How many stores the kit has asked for: one a contract, and one to look at."""
    stores: list[Any] = []
    opened = perdure.open_sync(url) if sync else await perdure.open(url)

    def make() -> PerdureSessionStore:
        # The kit wants an empty store each time: owners of its own make it one.
        number = len(stores)
        own = PerdureSessionStore(opened, owner=lambda project: (f"claude-{number}", project))
        stores.append(own)
        return own

    await run_session_store_conformance(make)
    closed = opened.close()
    if inspect.isawaitable(closed):
        await closed
    return len(stores)


@pytest.mark.parametrize("sync", [False, True], ids=["awaited", "called"])
def test_every_contract_holds(url: str, sync: bool) -> None:
    # Number 14 stands between the others; a later kit has more, one with fewer is no proof.
    assert asyncio.run(conform(url, sync=sync)) >= 15


def test_no_contract_is_skipped() -> None:
    store = PerdureSessionStore("memory:")

    assert [
        name
        for name in OPTIONAL
        if not session_store_conformance._has_optional(store, name, frozenset())
    ] == []
    assert all(
        getattr(PerdureSessionStore, name) is not getattr(SessionStore, name) for name in OPTIONAL
    )
