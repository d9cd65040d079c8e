"""Opening a directory of many sessions reads none of them."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import NamedTuple

import pytest

import perdure
from perdure import NewEvent, SessionKey
from tests.effort import effort
from tests.engines.processes import in_a_process

SESSIONS, MEGABYTES = effort(1_000, 10_000), effort(20, 400)

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(1200)]


class Measured(NamedTuple):
    """Seconds of work at opening, the events of one session, and the memory of both in MB."""

    seconds: float
    events: int
    megabytes: float


def fill(url: str, sessions: int, megabytes: int) -> None:
    """So many sessions of four events each, so large that it comes to so many bytes."""
    text = "lorem ipsum " * (megabytes * 1_000_000 // sessions // 4 // 12)
    with perdure.open_sync(url, durability="normal") as store:
        for start in range(0, sessions, 50):
            with store.turn() as turn:
                for number in range(start, start + 50):
                    turn.sessions.create("app", f"user {number % 97}", f"chat {number}")
            with store.turn() as turn:
                for number in range(start, start + 50):
                    key = SessionKey("app", f"user {number % 97}", f"chat {number}")
                    for event in range(4):
                        turn.events.append(key, NewEvent(text, id=f"{event}"))


def measure(url: str) -> Measured:
    # Of work, and not of waiting for a machine that others use as well.
    begun = time.process_time()
    with perdure.open_sync(url) as store:
        seconds = time.process_time() - begun
        events = len(store.events.read(SessionKey("app", "user 7", "chat 7")))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Measured(seconds, events, peak)


def test_opening_a_large_directory_takes_no_time_and_no_memory(tmp_path: Path) -> None:
    small, large = f"jsonl:///{tmp_path}/small", f"jsonl:///{tmp_path}/large"
    in_a_process(fill, small, 50, 1)
    in_a_process(fill, large, SESSIONS, MEGABYTES, seconds=900)
    files = list((tmp_path / "large" / "sessions").rglob("*.jsonl"))
    assert len(files) == SESSIONS
    assert sum(file.stat().st_size for file in files) > MEGABYTES * 900_000

    base = min(in_a_process(measure, small) for _ in range(3))
    found = min(in_a_process(measure, large) for _ in range(3))

    assert found.events == base.events == 4
    # Each file is looked at, none is read: some 20 µs a file.
    assert found.seconds < base.seconds + SESSIONS * 100e-6, f"{found}, of a small one {base}"
    assert found.megabytes < 60
