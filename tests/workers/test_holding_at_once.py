"""Holding and deleting at the same moment, from two processes: one comes first, and counts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import perdure
from perdure import DeniedError, NotFoundError, SessionKey, UserScope
from tests.engines.processes import meet, side_by_side

KEYS = [SessionKey("app", f"user {number}", "chat") for number in range(60)]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


def work(url: str, role: str) -> list[bool]:
    """Of each session whether this process did what it is there for."""
    done = []
    with perdure.open_sync(url, pool_max=2) as store:
        store.sessions.count()
        meet()
        for number, key in enumerate(KEYS):
            try:
                if role == "delete":
                    store.sessions.delete(key)
                elif number % 2:
                    store.sessions.hold(key, by="legal", reason="case 12")
                else:
                    store.sessions.hold(UserScope(*key[:2]), by="legal", reason="case 12")
                done.append(True)
            except (DeniedError, NotFoundError):
                done.append(False)
    return done


def check(url: str) -> None:
    """What was held before it was deleted is there; what was deleted before is gone."""
    with perdure.open_sync(url) as store, store.turn() as turn:
        for key in KEYS:
            turn.sessions.create(*key)

    held, deleted = side_by_side(work, [(url, "hold"), (url, "delete")])

    with perdure.open_sync(url) as store:
        there = [store.sessions.find(key) is not None for key in KEYS]
    assert there == [not gone for gone in deleted]
    for number, key in enumerate(KEYS):
        # A person may be held also after the session is gone; a session may not.
        if number % 2:
            assert held[number] is there[number], key
        else:
            assert held[number], key


def test_on_a_file(tmp_path: Path) -> None:
    check(f"sqlite:///{tmp_path}/agent.db")
