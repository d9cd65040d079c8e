"""Several processes on one transcript, some of them killed: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import Any

import pytest

pytest.importorskip("claude_agent_sdk", reason="needs claude-agent-sdk: see .ci/adapters")

from claude_agent_sdk import fold_session_summary

import perdure
from perdure.adapters.claude import PerdureSessionStore
from tests.adapters.claude.making import PROJECT, key
from tests.adapters.writers import eight

pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 is of POSIX"),
]
BATCHES = 20
_WRITER = """
import asyncio, sys
from perdure.adapters.claude import PerdureSessionStore
from tests.adapters.claude.making import key

url, name, batches = sys.argv[1:]

def made(number):
    return [
        {"type": "user", "uuid": f"{name} {number} {place}", "customTitle": f"{name} {number}"}
        for place in range(3)
    ]

async def main():
    async with PerdureSessionStore(url) as store:
        await store.load(key())
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(int(batches)):
            batch = made(number)
            await store.append(key(), batch)
            await store.append(key(), batch)  # the SDK's retry
            await store.append(key(subpath="subagents/agent-1"), batch)
            print(number, flush=True)

asyncio.run(main())
"""


def test_of_eight_processes_on_one_transcript_four_are_killed_and_nothing_is_lost_or_doubled(
    shared_url: str,
) -> None:
    perdure.open_sync(shared_url).close()
    told = {name: len(lines) for name, lines in eight(_WRITER, shared_url, BATCHES).items()}

    assert [told[f"w{number}"] for number in (0, 2, 4, 6)] == [BATCHES] * 4
    asyncio.run(_check(shared_url, told))


async def _check(url: str, told: dict[str, int]) -> None:
    async with PerdureSessionStore(url) as store:
        for place in (key(), key(subpath="subagents/agent-1")):
            entries: Any = await store.load(place)
            assert max(Counter(one["uuid"] for one in entries).values()) == 1
            for name, acknowledged in told.items():
                own = [one["uuid"] for one in entries if one["uuid"].startswith(f"{name} ")]
                # Whole batches, in order; a killed one may have stored one it could not tell of.
                batches = len(own) // 3
                assert acknowledged <= batches <= acknowledged + 1
                assert own == [f"{name} {n} {place}" for n in range(batches) for place in range(3)]
        entries = await store.load(key())
        [summary] = await store.list_session_summaries(PROJECT)
        assert summary["data"] == fold_session_summary(None, key(), entries)["data"]
