"""Several processes on one transcript, some of them killed: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections import Counter
from typing import Any

import pytest

pytest.importorskip("claude_agent_sdk", reason="needs claude-agent-sdk: see .ci/adapters")

from claude_agent_sdk import fold_session_summary

import perdure
from perdure.adapters.claude import PerdureSessionStore
from tests.adapters.claude.making import PROJECT, key
from tests.adapters.writers import eight
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


# -- more than one transaction ---------------------------------------------------------------

MANY = 10_001


def many() -> list[Any]:
    """A batch of two transactions, the same in each process."""
    return [
        {"type": "user", "uuid": str(uuid.UUID(int=n)), "message": {"content": f"line {n}"}}
        for n in range(1, MANY + 1)
    ]


def break_off(how: str) -> Any:
    """A hook that stops the writer in the second transaction."""

    def on_write(record: Any) -> Any:
        if isinstance(record, perdure.NewEvent) and record.id == str(uuid.UUID(int=MANY)):
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise InterruptedError
        return record

    return on_write


_BREAK_OFF = """
import asyncio, sys
import perdure
from perdure.adapters.claude import PerdureSessionStore
from tests.adapters.claude.making import key
from tests.adapters.claude.test_processes import break_off, many

async def main(url, how, subpath):
    async with perdure.open(url, on_write=break_off(how)) as store:
        await PerdureSessionStore(store).append(key(subpath=subpath or None), many())

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("how", "subpath"), [("killed", ""), ("refused", "subagents/agent-1")], ids=["main", "beside"]
)
def test_a_batch_of_several_transactions_that_breaks_off_is_whole_after_a_retry(
    shared_url: str, how: str, subpath: str
) -> None:
    with python(_BREAK_OFF, shared_url, how, subpath) as broken:
        assert broken.wait(60) != 0

    async def again() -> None:
        place = key(subpath=subpath or None)
        async with PerdureSessionStore(shared_url) as store:
            first = await store.load(place)
            assert first == many()[:10_000]
            for _ in range(2):
                await store.append(place, many())
                assert await store.load(place) == many()

    asyncio.run(again())
