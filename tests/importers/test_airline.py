"""Fifty real conversations come back as they went in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import perdure
from perdure import SessionKey
from perdure.importers import load_sync, read_chat

FILE = Path(__file__).parents[3] / "shared" / "data" / "airline-conversations.jsonl"

pytestmark = pytest.mark.skipif(
    not FILE.exists(), reason=f"no {FILE.name} beside the project: it is not ours to ship"
)


def test_every_message_comes_back_equal_and_in_order(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with FILE.open("rb") as lines, perdure.open_sync(url) as store:
        first = load_sync(store, read_chat([(FILE.name, lines)]), app="airline")
        lines.seek(0)
        second = load_sync(store, read_chat([(FILE.name, lines)]), app="airline")

    assert (first.sessions_new, first.events_new, first.complete) == (50, 1_384, True)
    assert (second.sessions_known, second.events_known) == (50, 1_384)
    assert (second.sessions_new, second.events_new, second.complete) == (0, 0, True)
    with perdure.open_sync(url) as store:
        assert store.sessions.count("airline") == 50
        for line in FILE.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            key = SessionKey("airline", "", one["conversation"])
            system = {"role": "system", "content": one["system"]}
            assert store.events.messages(key).items == [system, *one["messages"]]
            session = store.sessions.get(key)
            assert session.metadata == {"task_id": one["task_id"], "reward": one["reward"]}
