"""Several processes on one transcript, some of them killed: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from contextlib import ExitStack
from typing import Any

import pytest

pytest.importorskip("claude_agent_sdk", reason="needs claude-agent-sdk: see .ci/adapters")

from claude_agent_sdk import fold_session_summary

import perdure
from perdure.adapters.claude import PerdureSessionStore
from tests.adapters.claude.making import PROJECT, key
from tests.engines.processes import python

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
    told: dict[str, int] = {}
    with ExitStack() as stack:
        writers = [
            stack.enter_context(python(_WRITER, shared_url, f"w{number}", str(BATCHES)))
            for number in range(8)
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write(b"\n")
            writer.stdin.flush()
        for number, writer in enumerate(writers):
            told[f"w{number}"] = _followed(writer, kill_at=4 if number % 2 else None)

    assert [told[f"w{number}"] for number in (0, 2, 4, 6)] == [BATCHES] * 4
    asyncio.run(_check(shared_url, told))


def _followed(writer: Any, kill_at: int | None) -> int:
    """How many batches the writer has acknowledged."""
    count = 0
    for _ in writer.stdout:
        count += 1
        if count == kill_at:
            writer.kill()
    return count


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
