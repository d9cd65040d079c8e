"""Where the store that comes with pydantic-ai is wrong or in the way: shown there, right here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydantic_ai.conversation_store", reason="needs pydantic-ai: see .ci/adapters")

from pydantic_ai.conversation_store import ConversationConflict, InMemoryConversationStore

from perdure.adapters.pydantic_ai import PerdureConversationStore
from tests.adapters.pydantic_ai.making import chain, counted, record, talk, texts


def theirs() -> Any:
    return InMemoryConversationStore()


def ours() -> Any:
    return PerdureConversationStore("memory:")


async def found_again(make: Callable[[], Any]) -> bool:
    """Whether another store object, as another process has it, finds what was saved."""
    await make().save(talk(1))
    return await make().load("c") is not None


def test_theirs_is_gone_with_the_process() -> None:
    assert not asyncio.run(found_again(theirs))


def test_ours_is_there_for_every_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/agent.db"

    assert asyncio.run(found_again(lambda: PerdureConversationStore(url)))


async def behind_nothing(store: Any) -> Any:
    """What is read of entries that were stored behind one that is not there."""
    await store.write_record(
        record(head="e-a"), new_entries=chain("a", parent="gone"), expected_revision=None
    )
    return await store.read_history("e-a")


def test_theirs_stores_a_history_that_cannot_be_read() -> None:
    with pytest.raises(KeyError):
        asyncio.run(behind_nothing(theirs()))


def test_ours_refuses_a_history_that_could_not_be_read() -> None:
    with pytest.raises(ConversationConflict):
        asyncio.run(behind_nothing(ours()))


async def overwritten(store: Any) -> list[str]:
    """What a conversation says after another one has stored an entry of the same id."""
    [mine], [other] = chain("a"), chain("b")
    await store.write_record(record(head="e-a"), new_entries=[mine], expected_revision=None)
    same = type(other)(id="e-a", parent_id=None, message=other.message)
    await store.write_record(
        record("other", head="e-a"), new_entries=[same], expected_revision=None
    )
    found = await store.load("c")
    return texts(found.messages)


def test_an_id_that_is_used_twice_changes_their_other_conversation() -> None:
    assert asyncio.run(overwritten(theirs())) == ["b"]


def test_an_id_that_is_used_twice_changes_no_other_conversation_here() -> None:
    assert asyncio.run(overwritten(ours())) == ["a"]


def test_their_way_through_a_history_is_a_call_for_each_entry() -> None:
    class Counting(InMemoryConversationStore):
        calls = 0

        async def read_entry(self, entry_id: str) -> Any:
            self.calls += 1
            return await super().read_entry(entry_id)

    async def run() -> int:
        store = Counting()
        await store.save(talk(50))
        await store.load("c")
        return store.calls

    assert asyncio.run(run()) == 100


def test_our_way_through_a_history_is_one_call() -> None:
    async def run() -> list[str]:
        store = ours()
        calls = counted(store)
        await store.save(talk(50))
        calls.clear()
        await store.load("c")
        return calls

    assert asyncio.run(run()) == ["sessions.find", "events.read"]


@pytest.mark.xfail(
    strict=True,
    reason="records are listed by the store's clock at their last save, which no caller's clock "
    "can put out of order; each comes with the updated_at it was given",
)
def test_records_are_listed_by_the_time_they_were_given() -> None:
    async def run() -> list[str]:
        store = ours()
        for number, year in enumerate((2030, 2020)):
            moment = datetime(year, 1, 1, tzinfo=UTC)
            await store.write_record(
                record(f"c{number}", updated_at=moment), expected_revision=None
            )
        return [one.conversation_id for one in await store.read_records()]

    assert asyncio.run(run()) == ["c0", "c1"]
