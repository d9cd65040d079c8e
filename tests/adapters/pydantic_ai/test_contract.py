"""What `ConversationStore` asks of a backend: the five primitives, and what stands on them."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from decimal import Decimal
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
from pydantic_ai.tools import DeferredToolRequests
from pydantic_ai.usage import RunUsage

import perdure
from perdure.adapters.pydantic_ai import PerdureConversationStore
from tests.adapters.pydantic_ai.making import (
    answered,
    asked,
    chain,
    counted,
    record,
    stored,
    talk,
    texts,
)

# -- the primitives ------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was_written(url: str) -> None:
    call = ToolCallPart("pay", {"amount": 12}, "call-1")
    full = record(
        head="e-b",
        usage=RunUsage(requests=2, input_tokens=7, tool_calls=1, cost=Decimal("0.0125")),
        deferred_tool_requests=DeferredToolRequests(
            approvals=[call], metadata={"call-1": {"why": "large"}}
        ),
        scope="ada",
        forked_from="other",
        forked_at="e-a",
        branches=["e-x", "e-y"],
    )

    async def run() -> None:
        async with stored(url) as store:
            await store.write_record(full, new_entries=chain("a", "b"), expected_revision=None)
            assert await store.read_record("c") == full
            assert await store.read_record("nobody") is None

    asyncio.run(run())


def test_entries_come_back_in_order_each_behind_its_parent(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            entries = chain("a", "b", "c", "d")
            await store.write_record(
                record(head="e-d"), new_entries=entries, expected_revision=None
            )
            assert await store.read_history("e-d") == entries
            assert await store.read_history("e-b") == entries[:2]
            assert await store.read_history("e-d", limit=2) == entries[2:]
            assert await store.read_history("e-d", limit=9) == entries
            assert await store.read_history("e-d", limit=0) == []
            assert await store.read_history(None) == []
            assert [await store.read_entry(one.id) for one in entries] == entries

    asyncio.run(run())


def test_a_missing_entry_is_a_lookup_error(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            await store.write_record(record(), expected_revision=None)
            for read in (store.read_entry, store.read_history):
                with pytest.raises(LookupError):
                    await read("nothing")

    asyncio.run(run())


def test_a_record_is_replaced_only_at_the_expected_revision(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            first, second, third = (record(head=None, scope=str(n)) for n in range(3))
            await store.write_record(first, expected_revision=None)
            await store.write_record(second, expected_revision=first.revision)
            for wrong in (None, first.revision, "another"):
                with pytest.raises(ConversationConflict) as caught:
                    await store.write_record(third, expected_revision=wrong)
                assert caught.value.conversation_id == "c"
            assert await store.read_record("c") == second

    asyncio.run(run())


def test_a_conflict_leaves_neither_entries_nor_record(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            await store.write_record(record(), expected_revision=None)
            for expected in (None, "another"):
                with pytest.raises(ConversationConflict):
                    await store.write_record(
                        record(head="e-a"), new_entries=chain("a"), expected_revision=expected
                    )
            with pytest.raises(LookupError):
                await store.read_entry("e-a")

    asyncio.run(run())


def test_a_head_that_nobody_has_is_a_conflict(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            with pytest.raises(ConversationConflict):
                await store.write_record(record(head="gone"), expected_revision=None)
            with pytest.raises(ConversationConflict):
                await store.write_record(
                    record(head="e-a"), new_entries=chain("a", parent="gone"),
                    expected_revision=None,
                )  # fmt: skip
            assert await store.read_record("c") is None
            first = record()
            await store.write_record(first, expected_revision=None)
            with pytest.raises(ConversationConflict):
                await store.write_record(record(head="gone"), expected_revision=first.revision)
            assert await store.read_record("c") == first

    asyncio.run(run())


def test_an_update_of_what_is_not_there_is_a_conflict(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            with pytest.raises(ConversationConflict):
                await store.write_record(record(), expected_revision="one")
            with pytest.raises(ConversationConflict):
                await store.delete_record("c", expected_revision="one")

    asyncio.run(run())


def test_a_delete_is_only_of_the_expected_revision(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            first = record(head="e-a")
            await store.write_record(first, new_entries=chain("a"), expected_revision=None)
            with pytest.raises(ConversationConflict):
                await store.delete_record("c", expected_revision="another")
            await store.delete_record("c", expected_revision=first.revision)
            assert await store.read_record("c") is None
            for read in (store.read_entry, store.read_history):
                with pytest.raises(LookupError):
                    await read("e-a")
            with pytest.raises(ConversationConflict):
                await store.delete_record("c", expected_revision=first.revision)

    asyncio.run(run())


def test_records_are_listed_newest_first_by_scope_and_up_to_a_limit(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            written: list[Any] = []
            for number in range(6):
                scope = None if number == 5 else f"user-{number % 2}"
                one = record(f"c{number}", scope=scope)
                await store.write_record(one, expected_revision=None)
                written.insert(0, one)
                await asyncio.sleep(0.002)
            assert await store.read_records() == written
            assert await store.read_records(limit=2) == written[:2]
            assert await store.read_records(limit=0) == []
            assert await store.read_records(scope="user-0") == [
                one for one in written if one.scope == "user-0"
            ]
            assert await store.read_records(scope="user-1", limit=1) == [written[2]]
            assert await store.read_records(scope="nobody") == []
            again = dataclasses.replace(written[-1], revision="again", scope="user-1")
            await store.write_record(again, expected_revision=written[-1].revision)
            assert (await store.read_records(limit=1)) == [again]
            assert [one.conversation_id for one in await store.read_records(scope="user-0")] == [
                "c4", "c2",
            ]  # fmt: skip

    asyncio.run(run())


def test_a_head_moves_to_any_entry_and_new_entries_follow_any_other(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            first = record(head="e-c")
            trunk = chain("a", "b", "c")
            await store.write_record(first, new_entries=trunk, expected_revision=None)
            back = record(head="e-a", branches=["e-c"])
            await store.write_record(back, expected_revision=first.revision)
            assert await store.read_history("e-a") == trunk[:1]
            side = chain("x", "y", parent="e-a")
            grown = record(head="e-y", branches=["e-c"])
            await store.write_record(grown, new_entries=side, expected_revision=back.revision)
            assert await store.read_history("e-y") == [trunk[0], *side]
            assert await store.read_history("e-c") == trunk
            # Behind the end of a line that was left, and behind nothing.
            more = chain("d", parent="e-c")
            returned = record(head="e-d")
            await store.write_record(returned, new_entries=more, expected_revision=grown.revision)
            assert await store.read_history("e-d") == [*trunk, *more]
            anew = chain("first")
            begun = record(head="e-first")
            await store.write_record(begun, new_entries=anew, expected_revision=returned.revision)
            assert await store.read_history("e-first") == anew
            none = record(head=None)
            await store.write_record(none, expected_revision=begun.revision)
            assert await store.read_record("c") == none
            assert await store.read_history("e-y", limit=1) == side[1:]

    asyncio.run(run())


def test_new_entries_may_be_a_tree_and_the_head_one_of_its_inner_ones(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            trunk, side = chain("a", "b", "c"), chain("x", "y", parent="e-b")
            entries = [*trunk, *side]
            await store.write_record(
                record(head="e-b"), new_entries=entries, expected_revision=None
            )
            assert await store.read_history("e-b") == trunk[:2]
            assert await store.read_history("e-c") == trunk
            assert await store.read_history("e-y") == [*trunk[:2], *side]
            found = await store.read_record("c")
            assert found is not None
            assert found.head_id == "e-b"

    asyncio.run(run())


def test_a_record_may_begin_at_an_entry_of_another_conversation(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            trunk = chain("a", "b", "c")
            first = record(head="e-c")
            await store.write_record(first, new_entries=trunk, expected_revision=None)
            # Neither names where it comes from, so that the entry alone tells.
            await store.write_record(record("fork", head="e-b"), expected_revision=None)
            side = chain("x", parent="e-b")
            await store.write_record(
                record("other", head="e-x"), new_entries=side, expected_revision=None
            )
            await store.delete_record("c", expected_revision=first.revision)
            assert await store.read_history("e-b") == trunk[:2]
            assert await store.read_history("e-x") == [*trunk[:2], *side]
            with pytest.raises(LookupError):
                await store.read_entry("e-c")

    asyncio.run(run())


def test_a_history_is_one_call_of_the_store() -> None:
    async def run() -> None:
        async with stored() as store:
            calls = counted(store)
            await store.save(talk(50))
            calls.clear()
            found = await store.read_record("c")
            assert found is not None
            await store.read_history(found.head_id)
            await store.read_history(found.head_id, limit=5)
            assert calls == ["sessions.find", "events.read", "events.read"]

    asyncio.run(run())


def test_a_save_reads_once_and_writes_once() -> None:
    async def run() -> None:
        async with stored() as store:
            calls = counted(store)
            conversation = talk(1)
            await store.save(conversation)
            conversation.messages.append(asked("more"))
            await store.save(conversation)
            assert calls == ["sessions.find", "store.turn"] * 2

    asyncio.run(run())


# -- what stands on them -------------------------------------------------------------------------


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


# -- what is ours --------------------------------------------------------------------------------


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
