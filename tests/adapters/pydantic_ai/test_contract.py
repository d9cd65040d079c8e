"""What `ConversationStore` asks of a backend: the five primitives."""

from __future__ import annotations

import asyncio
import dataclasses
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("pydantic_ai.conversation_store", reason="needs pydantic-ai: see .ci/adapters")

from pydantic_ai.conversation_store import ConversationConflict
from pydantic_ai.messages import (
    ToolCallPart,
)
from pydantic_ai.tools import DeferredToolRequests
from pydantic_ai.usage import RunUsage

import perdure
from perdure.adapters.pydantic_ai import PerdureConversationStore
from tests.adapters.pydantic_ai.making import (
    asked,
    chain,
    counted,
    record,
    stored,
    talk,
)


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


@pytest.mark.parametrize("soft", [False, True])
def test_a_delete_is_for_good_unless_it_is_to_be_soft(url: str, soft: bool) -> None:
    async def run() -> None:
        async with perdure.open(url) as opened:
            store = PerdureConversationStore(opened, soft_delete=soft)
            first = record(head="e-a")
            await store.write_record(first, new_entries=chain("a"), expected_revision=None)
            await store.delete_record("c", expected_revision=first.revision)
            if soft:
                await opened.sessions.restore(store.session_key("c"))
                assert await store.read_record("c") is not None
            else:
                with pytest.raises(perdure.NotFoundError):
                    await opened.sessions.restore(store.session_key("c"))

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
