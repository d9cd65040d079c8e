"""What perdure adds: other frameworks in the same session, people, times to live."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

pytest.importorskip("pydantic_ai.conversation_store", reason="needs pydantic-ai: see .ci/adapters")

from pydantic_ai.conversation_store import ConversationConflict
from pydantic_ai.messages import (
    ModelRequest,
    ToolReturnPart,
)

import perdure
from perdure.adapters.pydantic_ai import PerdureConversationStore
from tests.adapters.pydantic_ai.making import (
    answered,
    asked,
    stored,
    talk,
    texts,
)


def test_a_session_of_another_framework_is_continued(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            key = store.session_key("c")
            await store.store.sessions.create(*key)
            call = {"id": "k", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            await store.store.events.append(
                key,
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "k", "content": "7"},
            )
            conversation = await store.load("c")
            assert conversation is not None
            assert [type(one.parts[0]).__name__ for one in conversation.messages] == [
                "UserPromptPart", "ToolCallPart", "ToolReturnPart",
            ]  # fmt: skip
            assert conversation.messages[2].parts[0].tool_name == "f"
            again = await store.load("c")
            assert again == conversation
            conversation.messages.append(answered("seven"))
            await store.save(conversation)
            chat = await store.store.events.messages(key)
            assert [one["role"] for one in chat] == ["user", "assistant", "tool", "assistant"]

    asyncio.run(run())


def test_what_another_framework_adds_is_noticed_and_loaded(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            conversation = talk(1)
            await store.save(conversation, scope="ada")
            await store.store.events.append(store.session_key("c"), "From elsewhere.")
            conversation.messages.append(asked("mine"))
            with pytest.raises(ConversationConflict):
                await store.save(conversation)
            loaded = await store.load("c", scope="ada")
            assert loaded is not None
            assert texts(loaded.messages)[-1] == "From elsewhere."
            loaded.messages.append(asked("mine"))
            await store.save(loaded)
            assert texts((await store.load("c") or loaded).messages)[-2:] == [
                "From elsewhere.", "mine",
            ]  # fmt: skip

    asyncio.run(run())


def test_a_note_or_a_title_disturbs_no_save(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            conversation = talk(1)
            await store.save(conversation)
            await store.store.sessions.update(store.session_key("c"), title="Parcels")
            conversation.messages.append(asked("more"))
            await store.save(conversation)
            await store.delete("c")
            assert await store.load("c") is None

    asyncio.run(run())


def test_users_do_not_see_each_other_and_are_erased_alone(url: str) -> None:
    async def run() -> None:
        opened = await perdure.open(url)
        ada = PerdureConversationStore(opened, app="chat", user="ada")
        bea = PerdureConversationStore(opened, app="chat", user="bea")
        [entry, _] = await ada.save(talk(1))
        assert await bea.load("c") is None
        assert await bea.list_conversations() == []
        with pytest.raises(LookupError):
            await bea.read_entry(entry.id)
        await bea.save(talk(2))
        await opened.erase_user("chat", "ada")
        assert await ada.load("c") is None
        assert await bea.load("c") is not None
        await opened.close()

    asyncio.run(run())


def test_with_a_ttl_a_conversation_expires() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    async def run() -> None:
        nonlocal now
        opened = await perdure.open("memory:", clock=lambda: now)
        store = PerdureConversationStore(opened, ttl=timedelta(days=1))
        await store.save(talk(1))
        now += timedelta(days=2)
        assert await store.load("c") is None
        assert await store.list_conversations() == []
        await opened.close()

    asyncio.run(run())


def test_a_sync_store_serves_as_well(url: str) -> None:
    with perdure.open_sync(url) as opened:
        store = PerdureConversationStore(opened)
        asyncio.run(store.save(talk(2)))
        key = store.session_key("c")
        assert [event.kind for event in opened.events.read(key)] == ["message"] * 4
        assert [event.role for event in opened.events.read(key)] == ["user", "assistant"] * 2
        asyncio.run(store.close())
        assert opened.sessions.find(key) is not None


def test_a_transcript_of_claude_code_is_continued() -> None:
    call = {"type": "tool_use", "id": "k", "name": "f", "input": {"n": 1}}
    lines: list[dict[str, Any]] = [
        {"type": "user", "message": {"role": "user", "content": "Hi"}, "uuid": "u1"},
        {"type": "custom-title", "customTitle": "Greetings", "sessionId": "c"},
        {"type": "assistant", "message": {"role": "assistant", "content": [call]}, "uuid": "u2"},
    ]

    async def run() -> None:
        async with stored() as store:
            key = store.session_key("c")
            await store.store.sessions.create(*key)
            events = [perdure.NewEvent(one, format="claude-code") for one in lines]
            await store.store.events.append(key, *events)
            conversation = await store.load("c")
            assert conversation is not None
            assert texts(conversation.messages[:1]) == ["Hi"]
            assert conversation.messages[1].parts[0].args == {"n": 1}
            conversation.messages.append(ModelRequest(parts=[ToolReturnPart("f", "one", "k")]))
            await store.save(conversation)
            assert len((await store.load("c") or conversation).messages) == 3

    asyncio.run(run())
