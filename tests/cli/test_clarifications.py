"""``perdure clarifications``: listed, shown and answered."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from io import StringIO
from zoneinfo import ZoneInfo

import pytest

import perdure as library
from perdure import SessionKey, UserScope
from tests.cli.command import Perdure, on_terminal

KEY = SessionKey("shop", "ada", "late-parcel")


@pytest.fixture
def asked(url: str) -> dict[str, str]:
    """The ids of some questions, by what they ask."""
    with library.open_sync(url) as store:
        store.sessions.create(*KEY)
        which = store.clarifications.ask(
            KEY,
            "Which\tparcel?\x1b[31m",
            context="There are two.",
            options=["GX5", "GX6"],
            sender_context="slack",
            ttl=timedelta(days=900),
        )
        where = store.clarifications.ask(UserScope("lab", "bob"), "Where to?")
        done = store.clarifications.ask(KEY, "Really?")
        store.clarifications.answer(done.id, "", by="eve")
    return {"which": which.id, "where": where.id, "done": done.id}


@pytest.fixture
def questions(perdure: Perdure, asked: dict[str, str]) -> Perdure:
    del asked
    return lambda *arguments: perdure("clarifications", *arguments)


def test_a_list_in_a_pipe_has_those_that_are_pending(
    questions: Perdure, asked: dict[str, str]
) -> None:
    rows = questions("ls").rows

    assert [row[:5] for row in rows] == [
        [asked["where"], "lab", "bob", "", "pending"],
        [asked["which"], "shop", "ada", "late-parcel", "pending"],
    ]
    assert [bool(row[6]) for row in rows] == [False, True]
    assert "\x1b" not in str(rows)


def test_a_list_is_narrowed_down(questions: Perdure, asked: dict[str, str]) -> None:
    def ids(*options: str) -> list[str]:
        return [row[0] for row in questions("ls", *options).rows]

    assert ids("--app", "shop") == ids("--user", "ada") == [asked["which"]]
    assert ids("--session", "late-parcel") == [asked["which"]]
    assert ids("--status", "answered") == [asked["done"]]
    assert ids("--status", "all") == ids("--status", "any")
    assert ids("--status", "any") == [asked["done"], asked["where"], asked["which"]]
    assert "--limit 0 gives all" in questions("ls", "--limit", "1").err
    assert ids("--app", "nobody") == []


def test_a_question_is_shown_by_the_end_of_its_id(
    questions: Perdure, asked: dict[str, str]
) -> None:
    shown = questions("show", asked["which"][-12:]).out

    for words in ("There are two.", "GX5", "GX6", "slack", "late-parcel", "pending"):
        assert words in shown
    assert "\x1b" not in shown
    document = json.loads(questions("show", asked["done"], "--json").out)
    assert (document["status"], document["answer"]) == ("answered", "")
    assert (document["answered_by"], document["session"]) == ("eve", "late-parcel")
    assert "by eve" in questions("show", asked["done"]).out


def test_a_question_is_answered_once(questions: Perdure, asked: dict[str, str], url: str) -> None:
    told = questions("answer", asked["which"], "GX5", "--by", "eve")
    again = questions("answer", asked["which"], "GX6", "--by", "bob")

    assert told.code == 0
    assert "is answered" in told.err
    assert again.code == library.ConflictError.exit_code
    with library.open_sync(url) as store:
        found = store.clarifications.get(asked["which"])
    assert (found.answer, found.answered_by) == ("GX5", "eve")


def test_an_answer_may_come_from_standard_input(
    questions: Perdure, asked: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO("To\nEly.\n"))

    answered = json.loads(questions("answer", asked["where"][-8:], "-", "--json").out)

    assert (answered["answer"], answered["status"]) == ("To\nEly.", "answered")


@pytest.mark.parametrize("id", ["clr_nothing", "x", ""])
def test_what_is_not_there_is_said_so(questions: Perdure, id: str) -> None:
    for arguments in (["show", id], ["answer", id, "x"]):
        found = questions(*arguments)
        assert found.code in {library.NotFoundError.exit_code, library.InvalidError.exit_code}
        assert found.out == ""


def test_on_a_terminal_a_table_is_shown(url: str, asked: dict[str, str]) -> None:
    shown = on_terminal(url, "clarifications", "ls", columns=120).out

    assert "QUESTION" in shown
    assert "Where to?" in shown
    assert asked["where"][-12:] in shown


def test_times_are_of_your_zone_on_a_terminal_and_utc_in_a_pipe(
    url: str, questions: Perdure, asked: dict[str, str]
) -> None:
    more = {"PERDURE_TIMEZONE": "Asia/Tokyo"}
    created = json.loads(questions("show", asked["which"], "--json").out)["created_at"]
    there = datetime.fromisoformat(created).astimezone(ZoneInfo("Asia/Tokyo"))

    assert f"asked:         {created}" in questions("show", asked["which"]).out
    shown = on_terminal(url, "clarifications", "show", asked["which"], more=more).out
    assert f"asked:         {there:%Y-%m-%d %H:%M}" in shown
