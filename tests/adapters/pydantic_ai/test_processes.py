"""Several processes on one conversation, some of them killed: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import os
from collections import Counter

import pytest

pytest.importorskip("pydantic_ai.conversation_store", reason="needs pydantic-ai: see .ci/adapters")

import perdure
from tests.adapters.pydantic_ai.making import stored, texts
from tests.adapters.writers import eight

pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 is of POSIX"),
]
SAVES = 12
_WRITER = """
import asyncio, random, sys
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict
from tests.adapters.pydantic_ai.making import answered, asked, stored

url, name, saves = sys.argv[1:]

async def save(store, number):
    while True:
        conversation = await store.load("c", limit=2) or Conversation(conversation_id="c")
        conversation.messages += [asked(f"{name} {number} q"), answered(f"{name} {number} a")]
        try:
            await store.save(conversation)
            return
        except ConversationConflict:
            await asyncio.sleep(random.uniform(0, 0.05))

async def main():
    async with stored(url) as store:
        await store.load("c")
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(int(saves)):
            await save(store, number)
            print(number, flush=True)

asyncio.run(main())
"""


def test_of_eight_processes_on_one_conversation_four_are_killed_and_nothing_is_lost_or_doubled(
    shared_url: str,
) -> None:
    perdure.open_sync(shared_url).close()
    told = {name: len(lines) for name, lines in eight(_WRITER, shared_url, SAVES).items()}

    assert [told[f"w{number}"] for number in (0, 2, 4, 6)] == [SAVES] * 4
    asyncio.run(_check(shared_url, told))


async def _check(url: str, told: dict[str, int]) -> None:
    async with stored(url) as store:
        conversation = await store.load("c")
        assert conversation is not None
        said = texts(conversation.messages)
        assert max(Counter(said).values()) == 1
        # Question and answer of a save stand together.
        assert [one[:-1] for one in said[::2]] == [one[:-1] for one in said[1::2]]
        for name, acknowledged in told.items():
            own = [one for one in said[::2] if one.startswith(f"{name} ")]
            # A killed one may have stored one more than it could tell.
            assert acknowledged <= len(own) <= acknowledged + 1
            assert own == [f"{name} {number} q" for number in range(len(own))]
        record = await store.read_record("c")
        assert record is not None
        assert record.branches == []
