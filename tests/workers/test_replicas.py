"""Several processes with a sweeper each: one does the work, none is in another's way."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import perdure
from perdure import RetentionConfig
from perdure.workers import Sweeper
from tests.engines.processes import meet, side_by_side

SESSIONS = 150
LATER = datetime.now(UTC) + timedelta(days=100)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


def fill(url: str) -> None:
    """Sessions that are idle, and one that is not."""
    with perdure.open_sync(url) as store, store.turn() as turn:
        for number in range(SESSIONS):
            key = ("app", f"user {number}", "chat")
            turn.sessions.create(*key)
            turn.events.append(perdure.SessionKey(*key), "hi")
    with perdure.open_sync(url, clock=lambda: LATER) as store:
        store.sessions.create("app", "live", "chat")


def sweep(url: str) -> int | None:
    """One run in a process; how many sessions went, None where another was at it."""
    with perdure.open_sync(url, clock=lambda: LATER) as store:
        sweeper = Sweeper(store, RetentionConfig())
        store.sessions.count()
        meet()
        swept = sweeper.run_once()
        return None if swept is None else swept.idle


def check(url: str) -> None:
    """Each session was swept by one of three processes, and by no other."""
    fill(url)

    told = side_by_side(sweep, [(url,)] * 3)

    # Who comes after the first has ended finds nothing.
    assert sorted(count or 0 for count in told) == [0, 0, SESSIONS]
    with perdure.open_sync(url) as store:
        assert [session.key.user for session in store.sessions.iter()] == ["live"]


def test_of_several_processes_on_a_file_one_sweeps(tmp_path: Path) -> None:
    check(f"sqlite:///{tmp_path}/agent.db")
