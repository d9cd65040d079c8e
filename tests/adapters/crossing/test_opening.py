"""Twenty processes open a store that nobody has opened before, through every adapter."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

for needed in (
    "agents",
    "claude_agent_sdk",
    "google.adk",
    "langgraph.graph",
    "pydantic_ai.conversation_store",
    "strands",
):
    pytest.importorskip(needed, reason=f"needs {needed}: see .ci/adapters")

from langgraph.checkpoint.base import empty_checkpoint
from pydantic_ai.conversation import Conversation
from pydantic_ai.messages import ModelRequest
from strands.types.session import Session, SessionType

import perdure
from perdure.adapters.adk import PerdureSessionService
from perdure.adapters.claude import PerdureSessionStore
from perdure.adapters.langgraph import PerdureSaver, PerdureStore
from perdure.adapters.openai_agents import PerdureSession
from perdure.adapters.pydantic_ai import PerdureConversationStore
from perdure.adapters.strands import PerdureSessionRepository
from tests.engines.processes import meet, side_by_side

pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes that are forked"),
]
PROCESSES = 20


def saver(url: str, name: str) -> bool:
    config: Any = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
    with PerdureSaver.from_conn_string(url) as one:
        one.setup()
        one.put(config, empty_checkpoint(), {}, {})
        return one.get_tuple(config) is not None


def items(url: str, name: str) -> bool:
    with PerdureStore.from_conn_string(url) as one:
        one.put(("ns",), name, {"v": 1})
        return one.get(("ns",), name) is not None


async def adk(url: str, name: str) -> bool:
    async with PerdureSessionService(url) as one:
        await one.create_session(app_name="a", user_id="u", session_id=name)
        return await one.get_session(app_name="a", user_id="u", session_id=name) is not None


async def openai(url: str, name: str) -> bool:
    async with PerdureSession(name, url) as one:
        await one.add_items([{"role": "user", "content": "Hi."}])
        return len(await one.get_items()) == 1


async def pydantic(url: str, name: str) -> bool:
    async with PerdureConversationStore(url) as one:
        asked = ModelRequest.user_text_prompt("Hi.")
        await one.save(Conversation(messages=[asked], conversation_id=name))
        return await one.load(name) is not None


async def claude(url: str, name: str) -> bool:
    key: Any = {"project_key": "p", "session_id": name}
    async with PerdureSessionStore(url) as one:
        await one.append(key, [{"type": "user", "uuid": name}])
        return await one.load(key) is not None


def strands(url: str, name: str) -> bool:
    one = PerdureSessionRepository(url)
    one.create_session(Session(name, SessionType.AGENT))
    there = one.read_session(name) is not None
    one.close()
    return there


ADAPTERS: list[Callable[[str, str], bool] | Callable[[str, str], Coroutine[Any, Any, bool]]] = [
    saver, items, adk, openai, pydantic, claude, strands,
]  # fmt: skip


def write(url: str, number: int, adapter: int | None) -> bool:
    """Open the store and write something through one of the adapters."""
    chosen = ADAPTERS[number % len(ADAPTERS) if adapter is None else adapter]
    meet()
    done = chosen(url, f"n{number}")
    return done if isinstance(done, bool) else asyncio.run(done)


def test_twenty_processes_may_open_a_new_store_at_once_through_every_adapter(
    shared_url: str,
) -> None:
    done = side_by_side(write, [(shared_url, n, None) for n in range(PROCESSES)])

    assert done == [True] * PROCESSES
    with perdure.open_sync(shared_url) as store:
        assert store.migrate() == []
