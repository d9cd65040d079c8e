"""``perdure sessions ls``."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

import perdure as library
from perdure import SessionKey
from tests.cli.command import Perdure


def ids(perdure: Perdure, *arguments: str) -> list[str]:
    result = perdure("sessions", "ls", *arguments)
    assert result.code == 0, result.err
    return [row[0] for row in result.rows]


def test_a_pipe_gets_tab_separated_values_without_a_heading(filled: str, perdure: Perdure) -> None:
    result = perdure("sessions", "ls", "--tag", "vip")

    [row] = result.rows
    assert row[:4] == ["late-parcel", "shop", "ada", "5"]
    assert datetime.fromisoformat(row[4]).tzinfo is not None
    assert row[5:] == ["Late parcel", "vip", ""]
    assert result.err == ""


def test_the_session_with_the_latest_event_comes_first(filled: str, perdure: Perdure) -> None:
    with library.open_sync(filled) as store:
        later = datetime.now(UTC) + timedelta(hours=1)
        store.events.append(
            SessionKey("shop", "ada", "late-parcel"), library.NewEvent("Hi", timestamp=later)
        )

    assert ids(perdure)[0] == "late-parcel"
    assert ids(perdure, "--order", "id") == ["empty", "late-again", "late-parcel"]
    assert ids(perdure, "--order", "-title") == ["late-parcel", "late-again", "empty"]


def test_the_list_can_be_narrowed_down(filled: str, perdure: Perdure) -> None:
    assert ids(perdure, "--app", "lab") == ["empty"]
    assert ids(perdure, "--app", "shop", "--user", "bob") == ["late-again"]
    assert sorted(ids(perdure, "--user", "ada")) == ["empty", "late-parcel"]
    assert ids(perdure, "--text", "depot") == ["late-parcel"]
    assert ids(perdure, "--tag", "nobody") == []
    assert len(ids(perdure, "--since", "2h")) == 3
    assert ids(perdure, "--since", "2099-01-01") == []


def test_a_limit_says_that_there_are_more(filled: str, perdure: Perdure) -> None:
    result = perdure("ls", "--limit", "2")

    assert len(result.rows) == 2
    assert result.err == "the first 2; --limit 0 gives all\n"
    assert len(perdure("ls", "--limit", "0").rows) == 3
    assert perdure("ls", "--limit", "3").err == ""
    assert perdure("ls", "--limit", "2", "-q").err == ""


def test_deleted_sessions_are_a_list_of_their_own(filled: str, perdure: Perdure) -> None:
    assert perdure("sessions", "rm", "late-p", "--yes").code == 0

    assert ids(perdure, "--deleted") == ["late-parcel"]
    assert "late-parcel" not in ids(perdure)


def test_json_is_one_document_and_jsonl_one_a_line(filled: str, perdure: Perdure) -> None:
    documents = json.loads(perdure("ls", "--json", "--order", "id").out)
    lines = perdure("ls", "--jsonl", "--order", "id").out.splitlines()

    assert [document["id"] for document in documents] == ["empty", "late-again", "late-parcel"]
    assert documents[2]["tags"] == ["vip"]
    assert documents[0]["last_event_at"] is None
    assert [json.loads(line) for line in lines] == documents


def test_the_options_of_every_command_may_stand_anywhere(filled: str, perdure: Perdure) -> None:
    expected = perdure("ls", "--json").out

    assert perdure("--json", "ls").out == expected
    assert perdure("sessions", "--json", "ls").out == expected
    assert perdure("--url", "sqlite:///nowhere.db", "ls", "--url", filled, "--json").out == expected


def test_a_tenant_sees_only_its_own(filled: str, perdure: Perdure) -> None:
    assert perdure("--tenant", "other", "ls").rows == []


@pytest.mark.parametrize("order", ["", "size", "--title"])
def test_an_order_that_is_none_is_a_usage_error(
    filled: str, perdure: Perdure, order: str
) -> None:
    assert perdure("ls", "--order", order).code == 2


def test_a_time_that_is_none_is_an_error_of_the_data(filled: str, perdure: Perdure) -> None:
    result = perdure("ls", "--since", "soonish")

    assert result.code == 5
    assert "'soonish' is no time" in result.err
