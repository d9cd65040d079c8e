"""Several processes on one session, some of them killed: nothing lost, nothing doubled."""

from __future__ import annotations

import os
from collections import Counter

import pytest

pytest.importorskip("strands", reason="needs strands-agents: see .ci/adapters")

from perdure.adapters.strands import PerdureSessionManager, PerdureSessionRepository, PerdureStorage
from tests.adapters.strands.making import agent, texts
from tests.adapters.writers import eight

pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 is of POSIX"),
]
MESSAGES = 25
_WRITER = """
import sys
from perdure.adapters.strands import PerdureSessionManager
from tests.adapters.strands.making import agent

url, name, messages = sys.argv[1:]
manager = PerdureSessionManager("s", url)
made = agent(manager)
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(messages)):
    manager.append_message({"role": "user", "content": [{"text": f"{name} {number}"}]}, made)
    print(manager._latest_agent_message["a"].message_id, flush=True)
"""
_STORER = """
import asyncio, sys
from perdure.adapters.strands import PerdureStorage

async def main(url, name, messages):
    async with PerdureStorage(url) as storage:
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(int(messages)):
            await storage.write(f"s/{name}/{number:03}", f"{name} {number}".encode())
            print(number, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


def followed(script: str, url: str) -> dict[str, list[int]]:
    """The numbers that each of eight processes was told of."""
    told = eight(script, url, MESSAGES)
    assert [len(told[f"w{number}"]) for number in (0, 2, 4, 6)] == [MESSAGES] * 4
    return {name: [int(line) for line in lines] for name, lines in told.items()}


def test_of_eight_processes_on_one_session_four_are_killed_and_nothing_is_lost_or_doubled(
    shared_url: str,
) -> None:
    repository = PerdureSessionRepository(shared_url)
    agent(PerdureSessionManager("s", repository.store))

    told = followed(_WRITER, shared_url)

    found = repository.list_messages("s", "a")
    assert max(Counter(one.message_id for one in found).values()) == 1
    said = {one.message_id: texts([one.message])[0] for one in found}
    for name, numbers in told.items():
        own = [text for text in said.values() if text.startswith(f"{name} ")]
        # A killed one may have stored one more than it could tell.
        assert len(numbers) <= len(own) <= len(numbers) + 1
        assert own == [f"{name} {place}" for place in range(len(own))]
        assert [said[number] for number in numbers] == own[: len(numbers)]
    repository.close()


async def _stored(url: str) -> list[str]:
    async with PerdureStorage(url) as storage:
        keys = await storage.list("s/")
        for key in keys:
            _, name, number = key.split("/")
            assert await storage.read(key) == f"{name} {int(number)}".encode()
        return keys


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_of_eight_processes_on_one_storage_four_are_killed_and_nothing_is_lost(
    shared_url: str,
) -> None:
    async with PerdureStorage(shared_url) as storage:
        await storage.list("")

    told = followed(_STORER, shared_url)

    keys = await _stored(shared_url)
    for name, numbers in told.items():
        own = [key for key in keys if key.startswith(f"s/{name}/")]
        assert len(numbers) <= len(own) <= len(numbers) + 1
