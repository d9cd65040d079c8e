"""Several processes on one session, some of them killed: nothing lost, nothing doubled."""

from __future__ import annotations

import os
from collections import Counter

import pytest

pytest.importorskip("strands", reason="needs strands-agents: see .ci/adapters")

from perdure.adapters.strands import PerdureSessionManager, PerdureSessionRepository, PerdureStorage
from perdure.adapters.strands.encoding import Change, text_of
from tests.adapters.strands.making import agent, message, record, session, texts
from tests.adapters.writers import eight
from tests.engines.processes import meet, side_by_side

pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 is of POSIX"),
]
MESSAGES = 25
_WRITER = """
import sys
from perdure.adapters.strands import PerdureSessionManager
from perdure.adapters.strands.encoding import Change, text_of
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


NUMBERS = 20


def short(number: int) -> Change:
    """What an agent makes of a message of its memory."""
    whole = text_of(message(number, f"whole {number}").message)
    return Change(number, message(number, f"short {number}").message, whole)


def shorten(url: str, mine: int) -> None:
    """Shorten every other message, and redact those that were shortened before."""
    repository = PerdureSessionRepository(url)
    meet()
    for number in range(mine, 2 * NUMBERS, 2):
        repository.keep_changed("s", "a", [short(number)])
    for number in range(2 * NUMBERS + mine, 4 * NUMBERS, 2):
        gone = message(number)
        gone.redact_message = {"role": "user", "content": [{"text": f"gone {number}"}]}
        repository.update_message("s", "a", gone)
    repository.close()


def test_two_processes_that_shorten_a_conversation_lose_nothing_of_each_other(
    shared_url: str,
) -> None:
    repository = PerdureSessionRepository(shared_url)
    repository.create_session(session())
    repository.create_agent("s", record())
    for number in range(4 * NUMBERS):
        repository.create_message("s", "a", message(number, f"whole {number}"))
    for number in range(2 * NUMBERS, 4 * NUMBERS):
        repository.keep_changed("s", "a", [short(number)])

    side_by_side(shorten, [(shared_url, 0), (shared_url, 1)])

    said = texts([one.to_message() for one in repository.list_messages("s", "a")])
    assert said == [
        *(f"short {number}" for number in range(2 * NUMBERS)),
        *(f"gone {number}" for number in range(2 * NUMBERS, 4 * NUMBERS)),
    ]
    repository.keep_changed("s", "a", [], first=30)
    assert sorted(map(int, repository.changed("s", "a"))) == list(range(30, 2 * NUMBERS))
    repository.close()


def redact(url: str, redacts: bool) -> None:
    """Redact each message, or shorten each from memory, as it was before."""
    repository = PerdureSessionRepository(url)
    meet()
    for number in range(NUMBERS):
        if redacts:
            gone = message(number)
            gone.redact_message = message(number, f"gone {number}").message
            repository.update_message("s", "a", gone)
        else:
            repository.keep_changed("s", "a", [short(number)])
    repository.close()


def test_of_what_one_process_redacts_another_that_shortens_it_brings_nothing_back(
    shared_url: str,
) -> None:
    repository = PerdureSessionRepository(shared_url)
    repository.create_session(session())
    repository.create_agent("s", record())
    for number in range(NUMBERS):
        repository.create_message("s", "a", message(number, f"whole {number}"))

    side_by_side(redact, [(shared_url, True), (shared_url, False)])

    said = texts([one.to_message() for one in repository.list_messages("s", "a")])
    assert said == [f"gone {number}" for number in range(NUMBERS)]
    assert repository.changed("s", "a") == {}
    repository.close()
