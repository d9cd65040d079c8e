"""Transcripts that are deleted and made anew while another object remembers the old one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("claude_agent_sdk", reason="needs claude-agent-sdk: see .ci/adapters")

import claude_agent_sdk as sdk

import perdure
from perdure.adapters.claude import PerdureSessionStore
from tests.adapters.claude.making import PROJECT, key, line


async def summaries(store: PerdureSessionStore) -> list[Any]:
    return [one["data"] for one in await store.list_session_summaries(PROJECT)]


async def is_folded_of_all(store: PerdureSessionStore) -> bool:
    entries: Any = await store.load(key())
    expected = sdk.fold_session_summary(None, key(), entries)["data"]
    return await summaries(store) == [expected]


@pytest.mark.parametrize("erased", [False, True])
def test_what_was_deleted_is_in_no_summary_of_what_came_after(url: str, erased: bool) -> None:
    async def run() -> None:
        async with perdure.open(url) as opened:
            first, second = PerdureSessionStore(opened), PerdureSessionStore(opened)
            await first.append(key(), [line("my secret")])
            if erased:
                await opened.erase_user("claude", PROJECT)
            else:
                await second.delete(key())
            await second.append(key(), [line("Hello.")])

            # At the same version, with what it remembers of the deleted one.
            await first.append(key(), [line(customTitle="Greetings")])
            assert await is_folded_of_all(second)
            await first.append(key(), [line(customTitle="Good day")])
            assert await is_folded_of_all(second)
            await second.append(key(), [line("More.")])

            assert await is_folded_of_all(first)
            [told] = await summaries(PerdureSessionStore(opened))
            assert told["first_prompt"] == "Hello."
            assert told["custom_title"] == "Good day"

    asyncio.run(run())


def test_a_fork_has_the_summary_of_its_own_entries(url: str) -> None:
    async def run() -> None:
        async with perdure.open(url) as opened:
            store = PerdureSessionStore(opened)
            await store.append(key(), [line("one")])
            at = store.session_key(key())
            await opened.sessions.fork(at, id="fork")
            await store.append(key("fork"), [line(customTitle="Fork")])
            told = {one["session_id"]: one for one in await store.list_session_summaries(PROJECT)}
            assert told["fork"]["data"]["custom_title"] == "Fork"
            assert told["fork"]["data"]["first_prompt"] == "one"
            assert "custom_title" not in told["s"]["data"]

    asyncio.run(run())


@pytest.mark.parametrize("soft", [False, True])
def test_a_delete_is_for_good_unless_it_is_to_be_soft(url: str, soft: bool) -> None:
    async def run() -> None:
        async with perdure.open(url) as opened:
            store = PerdureSessionStore(opened, soft_delete=soft)
            await store.append(key(), [line("Hello.")])
            await store.delete(key())
            at = store.session_key(key())
            if soft:
                await opened.sessions.restore(at)
                assert await store.load(key()) is not None
            else:
                with pytest.raises(perdure.NotFoundError):
                    await opened.sessions.restore(at)

    asyncio.run(run())
