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


def test_a_pipe_gets_tab_separated_values_without_a_heading(shop: Perdure) -> None:
    result = shop("sessions", "ls", "--tag", "vip")

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


def test_the_list_can_be_narrowed_down(shop: Perdure) -> None:
    assert ids(shop, "--app", "lab") == ["empty"]
    assert ids(shop, "--app", "shop", "--user", "bob") == ["late-again"]
    assert sorted(ids(shop, "--user", "ada")) == ["empty", "late-parcel"]
    assert ids(shop, "--text", "depot") == ["late-parcel"]
    assert ids(shop, "--tag", "nobody") == []
    assert len(ids(shop, "--since", "2h")) == 3
    assert ids(shop, "--since", "2099-01-01") == []


def test_a_limit_says_that_there_are_more(shop: Perdure) -> None:
    result = shop("ls", "--limit", "2")

    assert len(result.rows) == 2
    assert result.err == "the first 2; --limit 0 gives all\n"
    assert len(shop("ls", "--limit", "0").rows) == 3
    assert shop("ls", "--limit", "3").err == ""
    assert shop("ls", "--limit", "2", "-q").err == ""


def test_deleted_sessions_are_a_list_of_their_own(shop: Perdure) -> None:
    assert shop("sessions", "rm", "late-p", "--yes").code == 0

    assert ids(shop, "--deleted") == ["late-parcel"]
    assert "late-parcel" not in ids(shop)


def test_json_is_one_document_and_jsonl_one_a_line(shop: Perdure) -> None:
    documents = json.loads(shop("ls", "--json", "--order", "id").out)
    lines = shop("ls", "--jsonl", "--order", "id").out.splitlines()

    assert [document["id"] for document in documents] == ["empty", "late-again", "late-parcel"]
    assert documents[2]["tags"] == ["vip"]
    assert documents[0]["last_event_at"] is None
    assert [json.loads(line) for line in lines] == documents


def test_the_options_of_every_command_may_stand_anywhere(filled: str, perdure: Perdure) -> None:
    expected = perdure("ls", "--json").out

    assert perdure("--json", "ls").out == expected
    assert perdure("sessions", "--json", "ls").out == expected
    assert perdure("--url", "sqlite:///nowhere.db", "ls", "--url", filled, "--json").out == expected


def test_a_tenant_sees_only_its_own(shop: Perdure) -> None:
    assert shop("--tenant", "other", "ls").rows == []


@pytest.mark.parametrize("order", ["", "size", "--title"])
def test_an_order_that_is_none_is_a_usage_error(shop: Perdure, order: str) -> None:
    assert shop("ls", "--order", order).code == 2


def test_a_time_that_is_none_is_an_error_of_the_data(shop: Perdure) -> None:
    result = shop("ls", "--since", "soonish")

    assert result.code == 5
    assert "'soonish' is no time" in result.err
