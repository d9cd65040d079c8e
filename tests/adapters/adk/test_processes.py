"""Several processes on one session, some of them killed: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import os
from collections import Counter

import pytest

pytest.importorskip("google.adk.sessions", reason="needs google-adk: see .ci/adapters")

from perdure.adapters.adk import PerdureSessionService
from tests.adapters.adk.making import AT, got, texts
from tests.adapters.writers import eight

pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 is of POSIX"),
]
APPENDS = 15
_WRITER = """
import asyncio, sys
from google.adk.errors._stale_session_error import StaleSessionError
from perdure.adapters.adk import PerdureSessionService
from tests.adapters.adk.making import event, got

url, name, appends = sys.argv[1:]

async def main():
    async with PerdureSessionService(url) as service:
        session = await got(service, num_recent_events=0)
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(int(appends)):
            while True:
                delta = {name: number, f"user:{name}": number, "last": name}
                said = event(f"{name} {number}", delta=delta, id=f"{name}-{number}")
                try:
                    await service.append_event(session, said)
                    break
                except StaleSessionError:
                    session = await got(service, num_recent_events=0)
            print(number, flush=True)

asyncio.run(main())
"""


def test_of_eight_processes_on_one_session_four_are_killed_and_nothing_is_lost_or_doubled(
    shared_url: str,
) -> None:
    asyncio.run(_begun(shared_url))
    told = {name: len(lines) for name, lines in eight(_WRITER, shared_url, APPENDS).items()}

    assert [told[f"w{number}"] for number in (0, 2, 4, 6)] == [APPENDS] * 4
    asyncio.run(_check(shared_url, told))


async def _begun(url: str) -> None:
    async with PerdureSessionService(url) as service:
        await service.create_session(**AT)


async def _check(url: str, told: dict[str, int]) -> None:
    async with PerdureSessionService(url) as service:
        found = await got(service)
        said = texts(found)
        assert max(Counter(said).values()) == 1
        for name, acknowledged in told.items():
            own = [one for one in said if one.startswith(f"{name} ")]
            # A killed one may have stored one more than it could tell.
            assert acknowledged <= len(own) <= acknowledged + 1
            assert own == [f"{name} {number}" for number in range(len(own))]
            assert found.state[name] == found.state[f"user:{name}"] == len(own) - 1
        assert found.state["last"] == said[-1].split()[0]
        assert found._storage_update_marker == str(1 + len(said))
