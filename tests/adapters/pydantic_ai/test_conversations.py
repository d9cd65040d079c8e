"""What pydantic-ai builds on a backend: saves, windows, branches, forks, scopes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("pydantic_ai.conversation_store", reason="needs pydantic-ai: see .ci/adapters")

from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation, ConversationTypeAdapter
from pydantic_ai.conversation_store import ConversationConflict, InMemoryConversationStore
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import (
    BinaryImage,
    ImageUrl,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.test import TestModel
from pydantic_ai.usage import RunUsage

import perdure
from perdure.adapters.pydantic_ai import PerdureConversationStore
from tests.adapters.pydantic_ai.making import (
    answered,
    asked,
    stored,
    talk,
    texts,
)


def test_a_conversation_comes_back_equal(url: str) -> None:
    messages = [
        ModelRequest(
            parts=[
                SystemPromptPart("Be kind."),
                UserPromptPart(
                    ["Look", ImageUrl("https://a.example/b.png"),
                     BinaryImage(b"\x89PNG\0", media_type="image/png")]
                ),
            ],
            instructions="Short.",
        ),
        ModelResponse(
            parts=[
                ThinkingPart("hm", signature="s", provider_name="anthropic"),
                TextPart("NUL \0 and 🐈"),
                ToolCallPart("find", {"n": 2**60, "x": [1.5, None, True]}, "call-1"),
                ToolCallPart("find", '{"n": 1}', "call-2"),
            ],
            model_name="stub",
        ),
        ModelRequest(
            parts=[
                ToolReturnPart("find", {"found": []}, "call-1"),
                ToolReturnPart("find", "no", "call-2", outcome="failed"),
            ]
        ),
    ]  # fmt: skip
    conversation = Conversation(
        messages=messages, conversation_id="c", usage=RunUsage(requests=1, input_tokens=3)
    )

    async def run() -> None:
        async with stored(url) as store:
            entries = await store.save(conversation, scope="ada")
            loaded = await store.load("c")
            assert loaded == conversation
            assert await store.load_entries("c") == entries
            assert [one.message for one in entries] == messages

    asyncio.run(run())


def test_half_a_surrogate_pair_is_kept() -> None:
    async def run() -> None:
        async with stored() as store:
            conversation = Conversation(messages=[asked("cut \ud83d"), asked("next")])
            await store.save(conversation)
            loaded = await store.load(conversation.conversation_id)
            assert loaded is not None
            assert texts(loaded.messages) == ["cut \ud83d", "next"]

    asyncio.run(run())


def test_a_save_adds_only_what_is_new(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            await store.save(talk(2))
            conversation = await store.load("c")
            assert conversation is not None
            conversation.messages += [asked("and?"), answered("that")]
            assert texts(await store.save(conversation)) == ["and?", "that"]
            assert await store.save(conversation) == []
            session = await store.store.sessions.get(store.session_key("c"))
            assert session.event_count == 6

    asyncio.run(run())


def test_a_window_is_loaded_and_saved_behind_the_whole(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            await store.save(talk(5))
            window = await store.load("c", limit=3)
            assert window is not None
            assert texts(window.messages) == ["answer 3", "question 4", "answer 4"]
            # Serialized, it knows only how many there were.
            window = ConversationTypeAdapter.validate_json(
                ConversationTypeAdapter.dump_json(window)
            )
            window.messages.append(asked("on"))
            await store.save(window)
            whole = await store.load("c")
            assert whole is not None
            assert len(whole.messages) == 11
            with pytest.raises(UserError):
                await store.load("c", limit=-1)

    asyncio.run(run())


def test_a_history_that_was_rewritten_branches_off(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            conversation = talk(3)
            old = await store.save(conversation)
            conversation.messages[3:] = [answered("other"), asked("on")]
            new = await store.save(conversation)
            assert texts(new) == ["other", "on"]
            loaded = await store.load_entries("c")
            assert loaded is not None
            assert [one.id for one in loaded] == [one.id for one in [*old[:3], *new]]
            found = await store.read_record("c")
            assert found is not None
            assert found.branches == [old[-1].id]
            back = await store.branch("c", from_entry=old[-1].id, expected_revision=found.revision)
            assert texts(back.messages) == texts(old)

    asyncio.run(run())


def test_a_branch_goes_on_from_an_earlier_message_and_back_again(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            conversation = talk(3)
            trunk = await store.save(conversation)
            branched = await store.branch("c", at=2, expected_revision=conversation.revision)
            branched.messages.append(asked("instead"))
            await store.save(branched)
            assert texts((await store.load("c") or branched).messages)[-1] == "instead"
            with pytest.raises(ConversationConflict):
                await store.branch("c", at=1, expected_revision=conversation.revision)
            back = await store.branch(
                "c", from_entry=trunk[-1].id, expected_revision=branched.revision
            )
            assert texts(back.messages) == texts(trunk)
            found = await store.read_record("c")
            assert found is not None
            assert len(found.branches) == 1
            with pytest.raises(UserError):
                await store.branch("c", at=99, expected_revision=back.revision)

    asyncio.run(run())


def test_a_fork_shares_the_past_and_nothing_else(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            trunk = await store.save(talk(3), scope="ada")
            fork = await store.fork("c", at=4, new_conversation_id="f")
            whole = await store.fork("c", scope="bea")
            fork.messages.append(asked("elsewhere"))
            await store.save(fork)
            entries = await store.load_entries("f")
            assert entries is not None
            assert [one.id for one in entries[:4]] == [one.id for one in trunk[:4]]
            found = await store.read_record("f")
            assert found is not None
            assert (found.forked_from, found.forked_at) == ("c", trunk[3].id)
            assert found.scope == "ada"
            assert (found.usage, whole.usage) == (RunUsage(), RunUsage())
            assert len((await store.load("c") or fork).messages) == 6
            with pytest.raises(ConversationConflict):
                await store.fork("c", new_conversation_id="f")
            await store.delete("c")
            assert len((await store.load("f") or whole).messages) == 5
            assert len((await store.load(whole.conversation_id, scope="bea") or fork).messages) == 6

    asyncio.run(run())


def test_a_fork_may_begin_in_a_line_that_was_left(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            conversation = talk(2)
            trunk = await store.save(conversation)
            branched = await store.branch("c", at=1, expected_revision=conversation.revision)
            branched.messages.append(asked("instead"))
            await store.save(branched)
            fork = await store.fork("c", from_entry=trunk[2].id)
            assert texts(fork.messages) == texts(trunk[:3])

    asyncio.run(run())


def test_a_scope_is_a_wall(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            conversation = talk(1)
            await store.save(conversation, scope="ada")
            assert await store.load("c", scope="bea") is None
            assert await store.load_entries("c", scope="bea") is None
            assert await store.list_conversations(scope="bea") == []
            with pytest.raises(ConversationConflict):
                await store.save(conversation, scope="bea")
            for change in (
                store.branch("c", at=0, expected_revision=conversation.revision, scope="bea"),
                store.fork("c", source_scope="bea"),
            ):
                with pytest.raises(UserError):
                    await change
            await store.delete("c", scope="bea")
            assert await store.load("c", scope="ada") is not None
            await store.delete("c", scope="ada")
            assert await store.load("c") is None

    asyncio.run(run())


def test_what_was_deleted_cannot_be_saved_over_what_came_after(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            old = talk(1)
            await store.save(old)
            await store.delete("c")
            with pytest.raises(ConversationConflict):
                await store.save(old)
            await store.save(talk(2))
            with pytest.raises(ConversationConflict):
                await store.save(old)

    asyncio.run(run())


def test_of_two_who_save_at_once_one_wins(url: str) -> None:
    async def run() -> None:
        opened = await perdure.open(url)
        stores = [PerdureConversationStore(opened) for _ in range(8)]
        await stores[0].save(talk(1))
        loaded = [await store.load("c") for store in stores]
        for number, one in enumerate(loaded):
            assert one is not None
            one.messages.append(asked(str(number)))
        saved = await asyncio.gather(
            *(store.save(one) for store, one in zip(stores, loaded, strict=True) if one),
            return_exceptions=True,
        )
        conflicts = [one for one in saved if isinstance(one, ConversationConflict)]
        assert len(conflicts) == 7
        final = await stores[0].load("c")
        assert final is not None
        assert len(final.messages) == 3
        await opened.close()

    asyncio.run(run())


def test_an_agent_goes_on_where_another_process_stopped(url: str) -> None:
    agent = Agent(TestModel(custom_output_text="yes"))

    async def turn(store: PerdureConversationStore, prompt: str) -> None:
        conversation = await store.load("c") or Conversation(conversation_id="c")
        await store.save(await agent.run(prompt, conversation=conversation))

    async def run() -> None:
        opened = await perdure.open(url)
        for prompt in ("one", "two", "three"):
            await turn(PerdureConversationStore(opened), prompt)
        loaded = await PerdureConversationStore(opened).load("c")
        assert loaded is not None
        assert texts(loaded.messages) == ["one", "yes", "two", "yes", "three", "yes"]
        assert loaded.usage.requests == 3
        told = await opened.usage(by=("model",))
        assert [(one.model, one.events) for one in told] == [("test", 3)]
        await opened.close()

    asyncio.run(run())


@pytest.mark.parametrize("turns", [1, 3])
def test_ours_does_what_the_store_in_memory_does(turns: int) -> None:
    async def lived(store: Any) -> Any:
        conversation = talk(turns)
        await store.save(conversation, scope="ada")
        branched = await store.branch("c", at=1, expected_revision=conversation.revision)
        branched.messages.append(asked("instead"))
        await store.save(branched)
        fork = await store.fork("c", at=1, new_conversation_id="f")
        fork.messages.append(asked("elsewhere"))
        await store.save(fork, scope="ada")
        told = []
        for one in await store.list_conversations(scope="ada"):
            history = await store.load_entries(one.conversation_id)
            left = [len(await store.read_history(tip)) for tip in one.branches]
            told.append((one.conversation_id, texts(history), left, one.usage, one.forked_from))
        await store.delete("c")
        return told, await store.load("c"), len((await store.load("f")).messages)

    async def run() -> None:
        async with stored() as store:
            assert await lived(store) == await lived(InMemoryConversationStore())

    asyncio.run(run())
