"""`perdure usage`: sums of tokens."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

import perdure as library
from tests.cli.command import Perdure, on_terminal

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def spent(filled: str) -> str:
    with library.open_sync(filled) as store:
        for user, session, tokens in (("ada", "late-parcel", 7), ("bob", "late-again", 1000)):
            usage = {"input_tokens": tokens, "output_tokens": 1, "model": "m"}
            event = library.NewEvent("x", usage=usage, timestamp=MONDAY)
            store.events.append(library.SessionKey("shop", user, session), event)
    return filled


def test_a_pipe_gets_groups_and_sums(spent: str, perdure: Perdure) -> None:
    del spent
    assert perdure("usage").rows == [
        ["ada", "m", "2026-03-02", "1", "7", "1", "8", "0"],
        ["bob", "m", "2026-03-02", "1", "1000", "1", "1001", "0"],
    ]
    assert perdure("usage", "--by", "", "--app", "shop").rows == [["2", "1007", "2", "1009", "0"]]


def test_it_can_be_narrowed(spent: str, perdure: Perdure) -> None:
    del spent
    assert perdure("usage", "--app", "shop", "--user", "bob", "--by", "user").rows[0][:2] == [
        "bob",
        "1",
    ]
    assert perdure("usage", "--since", "2026-03-03").out == ""
    assert perdure("usage", "--until", "2026-03-03", "--by", "model").rows[0][0] == "m"
    assert perdure("usage", "--by", "nothing").code == 5


def test_json_has_the_groups_and_every_sum(spent: str, perdure: Perdure) -> None:
    del spent
    assert json.loads(perdure("usage", "--by", "user,month", "--json").out)[0] == {
        "user": "ada",
        "month": "2026-03",
        "events": 1,
        "input_tokens": 7,
        "output_tokens": 1,
        "total_tokens": 8,
        "cached_tokens": 0,
    }


def test_deleted_sessions_count_if_asked_for(spent: str, perdure: Perdure) -> None:
    del spent
    perdure("sessions", "rm", "late-p", "--yes")

    assert [row[0] for row in perdure("usage", "--by", "user").rows] == ["bob"]
    assert len(perdure("usage", "--by", "user", "--deleted").rows) == 2


def test_a_terminal_gets_a_table(spent: str) -> None:
    shown = on_terminal(spent, "usage", more={"NO_COLOR": "1"}).out.splitlines()

    assert shown[0].split() == [
        "USER", "MODEL", "DAY", "EVENTS", "INPUT", "OUTPUT", "TOTAL", "CACHED",
    ]  # fmt: skip
    assert "1,000" in shown[2]
