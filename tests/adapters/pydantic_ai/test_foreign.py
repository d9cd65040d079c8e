"""Events of other frameworks that are several messages to pydantic-ai, or none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("pydantic_ai.conversation_store", reason="needs pydantic-ai: see .ci/adapters")

from perdure import NewEvent
from perdure.adapters.pydantic_ai import PerdureConversationStore
from tests.adapters.pydantic_ai.making import asked, stored, texts

CALL = {"id": "1", "name": "look", "args": {}}
#: What an agent of ADK says at once: four parts, three messages.
TURN: dict[str, Any] = {
    "role": "model",
    "parts": [
        {"text": "I look."},
        {"function_call": CALL},
        {"function_response": {"id": "1", "name": "look", "response": {"saw": "a bird"}}},
        {"text": "I saw a bird."},
    ],
}
NOTE = NewEvent(None, author="agent", state_delta={"noted": True})


async def three_turns(store: PerdureConversationStore, *, notes: int = 0) -> list[Any]:
    """A session of ADK; its entries."""
    key = store.session_key("c")
    await store.store.sessions.create(*key)
    for number in range(3):
        said = NewEvent(TURN, format="adk", author="agent", id=f"e{number}")
        await store.store.events.append(key, said, *[NOTE] * notes)
    return await store.load_entries("c") or []


def test_a_window_has_as_many_messages_as_were_asked_for(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            whole = await three_turns(store)
            assert [one.id for one in whole[:4]] == ["e0#0", "e0#1", "e0", "e1#0"]
            for limit in range(1, 11):
                assert await store.load_entries("c", limit=limit) == whole[-limit:]

    asyncio.run(run())


def test_events_that_say_nothing_take_no_place_in_a_window(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            whole = await three_turns(store, notes=5)
            assert len(whole) == 9
            for limit in range(1, 11):
                assert await store.load_entries("c", limit=limit) == whole[-limit:]

    asyncio.run(run())


def test_every_entry_that_was_given_can_be_read(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            whole = await three_turns(store, notes=1)
            for number, one in enumerate(whole, 1):
                assert await store.read_entry(one.id) == one
                assert await store.read_history(one.id) == whole[:number]
            for unknown in ("e0#2", "e9#0", "#0", "e0#"):
                with pytest.raises(LookupError):
                    await store.read_entry(unknown)

    asyncio.run(run())


@pytest.mark.parametrize("at", [1, 2, 3, 5])
def test_a_conversation_branches_off_behind_any_message(url: str, at: int) -> None:
    async def run() -> None:
        async with stored(url) as store:
            whole = await three_turns(store)
            loaded = await store.load("c")
            assert loaded is not None

            branched = await store.branch("c", at=at, expected_revision=loaded.revision)
            branched.messages.append(asked("And then?"))
            await store.save(branched)

            there = await store.load_entries("c") or []
            assert [one.message for one in there[:-1]] == [one.message for one in whole[:at]]
            assert texts([there[-1].message]) == ["And then?"]
            back = await store.branch(
                "c", from_entry=whole[-1].id, expected_revision=branched.revision
            )
            assert back.messages == loaded.messages
            again = await store.branch("c", at=at, expected_revision=back.revision)
            assert again.messages == loaded.messages[:at]

    asyncio.run(run())


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_fork_begins_behind_any_message_and_outlives_the_session(url: str, at: int) -> None:
    async def run() -> None:
        async with stored(url) as store:
            whole = await three_turns(store)

            fork = await store.fork("c", at=at, new_conversation_id="fork")
            await store.delete("c")

            assert fork.messages == [one.message for one in whole[:at]]
            loaded = await store.load("fork")
            assert loaded is not None
            assert loaded.messages == fork.messages
            assert await store.read_entry(whole[at - 1].id) == whole[at - 1]

    asyncio.run(run())
