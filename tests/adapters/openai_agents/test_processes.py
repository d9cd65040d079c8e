"""Several processes on one session, some of them killed: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import os
from collections import Counter

import pytest

pytest.importorskip("agents.memory", reason="needs openai-agents: see .ci/adapters")

import perdure
from perdure.adapters.openai_agents import PerdureSession
from tests.adapters.openai_agents.making import texts, user
from tests.adapters.writers import eight

pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 is of POSIX"),
]
ADDS = 30
_OPEN = """
import asyncio, sys
from perdure.adapters.openai_agents import PerdureSession

url, name, times = sys.argv[1:]
session = PerdureSession("chat", url, app="shop", user="ada")

def begin():
    print("ready", flush=True)
    sys.stdin.readline()
"""
_WRITER = f"""{_OPEN}
async def main():
    begin()
    for number in range(int(times)):
        pair = [{{"role": role, "content": f"{{name}} {{number}} {{role}}"}}
                for role in ("user", "assistant")]
        await session.add_items(pair)
        print(number, flush=True)

asyncio.run(main())
session.close()
"""
_POPPER = f"""{_OPEN}
async def main():
    begin()
    while (item := await session.pop_item()) is not None:
        print(item["content"], flush=True)

asyncio.run(main())
session.close()
"""


def test_of_eight_processes_on_a_new_session_four_are_killed_and_nothing_is_lost_or_doubled(
    shared_url: str,
) -> None:
    with perdure.open_sync(shared_url) as store:
        store.migrate()
    with perdure.open_sync(shared_url) as store:
        store.migrate()
    told = {name: len(lines) for name, lines in eight(_WRITER, shared_url, ADDS).items()}

    assert [told[f"w{number}"] for number in (0, 2, 4, 6)] == [ADDS] * 4
    with PerdureSession("chat", shared_url, app="shop", user="ada") as session:
        found = texts(asyncio.run(session.get_items()))
    assert max(Counter(found).values()) == 1
    for name, acknowledged in told.items():
        own = [text for text in found if text.startswith(f"{name} ")]
        # A killed one may have stored one call more than it could tell of; never half of one.
        assert len(own) in (2 * acknowledged, 2 * acknowledged + 2)
        assert own == [f"{name} {n // 2} {('user', 'assistant')[n % 2]}" for n in range(len(own))]
    # The two of a call stand together.
    assert all(text.endswith(" user") for text in found[::2])


def test_of_eight_processes_that_take_items_off_each_gets_others(shared_url: str) -> None:
    with PerdureSession("chat", shared_url, app="shop", user="ada") as session:
        asyncio.run(session.add_items([user(f"{number}") for number in range(120)]))
    popped = eight(_POPPER, shared_url, 0, kill_after=3).values()

    told = [text for one in popped for text in one]
    assert len(set(told)) == len(told)
    # What a killed one had taken off and could not tell of is one item at most, each.
    assert 116 <= len(told) <= 120
    with PerdureSession("chat", shared_url, app="shop", user="ada") as session:
        assert asyncio.run(session.get_items()) == []
