"""Several processes on one session, some of them killed: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import Any

import pytest

pytest.importorskip("trpc_agent_sdk.sessions", reason="needs trpc-agent-py: see .ci/adapters")

from perdure.adapters.trpc import PerdureSessionService
from tests.adapters.trpc.making import texts
from tests.adapters.writers import eight

pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 is of POSIX"),
]
EVENTS = 20
KEY: dict[str, Any] = {"app_name": "shop", "user_id": "ada", "session_id": "s"}
_WRITER = """
import asyncio, sys
from perdure.adapters.trpc import PerdureSessionService
from tests.adapters.trpc.making import config, said

async def main(url, name, events):
    # Two of them shift the window with each append.
    kept = config(max_events=10 if name in ("w2", "w3") else 0, store_historical_events=True)
    service = PerdureSessionService(url, session_config=kept)
    session = await service.get_session(app_name="shop", user_id="ada", session_id="s")
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(events)):
        text = f"{name} {number}"
        delta = {name: number, f"user:{name}": number}
        await service.append_event(session, said(text, id=text, state_delta=delta))
        print(number, flush=True)
    await service.close()

asyncio.run(main(*sys.argv[1:]))
"""


def test_of_eight_processes_on_one_session_four_are_killed_and_nothing_is_lost_or_doubled(
    shared_url: str,
) -> None:
    asyncio.run(_made(shared_url))
    told = {name: len(lines) for name, lines in eight(_WRITER, shared_url, EVENTS).items()}

    assert [told[f"w{number}"] for number in (0, 2, 4, 6)] == [EVENTS] * 4
    asyncio.run(_check(shared_url, told))


async def _made(url: str) -> None:
    service = PerdureSessionService(url)
    await service.create_session(**KEY)
    await service.close()


async def _check(url: str, told: dict[str, int]) -> None:
    service = PerdureSessionService(url)
    session: Any = await service.get_session(**KEY)
    said = texts([*session.historical_events, *session.events])
    assert max(Counter(said).values()) == 1
    for name, acknowledged in told.items():
        own = sorted(int(text.split()[1]) for text in said if text.startswith(f"{name} "))
        # A killed one may have stored one more than it could tell.
        assert acknowledged <= len(own) <= acknowledged + 1
        assert own == list(range(len(own)))
        assert session.state[name] == session.state[f"user:{name}"] == len(own) - 1
    await service.close()
