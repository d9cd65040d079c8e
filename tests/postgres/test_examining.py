"""``perdure doctor`` and ``compact`` on a server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import perdure as library
from perdure.cli import main
from tests.postgres.servers import fetch

if TYPE_CHECKING:
    import pytest


def asked(
    url: str, capsys: pytest.CaptureFixture[str], *command: str
) -> tuple[int, dict[str, object]]:
    capsys.readouterr()
    code = main([*command, "--url", url, "--json"])
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return code, document


def told(document: dict[str, object]) -> str:
    return json.dumps(document["faults"])


def test_a_server_tells_how_it_is_set_and_what_that_risks(
    empty_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with library.open_sync(empty_database) as store:
        store.sessions.create("shop", "ada")

    code, document = asked(empty_database, capsys, "doctor")

    facts = document["facts"]
    assert isinstance(facts, dict)
    assert {"server_version", "synchronous_commit", "fsync", "full_page_writes"} <= facts.keys()
    # The server of the tests is a fast one.
    assert facts["fsync"] == "off"
    assert "fsync is off" in told(document)
    assert code == 8


def test_a_schema_that_is_not_there_is_told_and_not_made(
    empty_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, before = asked(empty_database, capsys, "doctor")
    _, again = asked(empty_database, capsys, "doctor")

    assert "the schema lacks" in told(before)
    assert told(again) == told(before)


def test_events_whose_session_was_removed_by_hand_are_told(
    database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several pages of it, the last of them empty.
    monkeypatch.setattr("perdure.engines.postgres_upkeep._PAGE", 2)
    with library.open_sync(database) as store:
        for user in ("ada", "eve", "joe", "kim"):
            session = store.session("shop", user)
            session.append("hello")
            session.append("again")
    _, before = asked(database, capsys, "doctor")
    fetch(database, "DELETE FROM sessions WHERE user_id IN ('ada', 'kim')")

    _, quick = asked(database, capsys, "doctor", "--quick")
    _, after = asked(database, capsys, "doctor")

    assert told(quick) == told(before)
    assert "is gone" not in told(before)
    assert told(after).count("is gone: restore a backup, or remove these events") == 2


def test_a_server_that_does_not_answer_is_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = asked("postgresql://nobody@127.0.0.1:1/none", capsys, "doctor")

    assert code == 8
    assert document["healthy"] is False


def test_compacting_says_that_it_is_the_servers_business(
    empty_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, done = asked(empty_database, capsys, "compact")
    _, foreseen = asked(empty_database, capsys, "compact", "--dry-run")

    assert (code, done["before"], done["after"]) == (0, None, None)
    assert "VACUUM" in json.dumps(done["remains"])
    assert foreseen == {"before": None, "reclaimable": None}
