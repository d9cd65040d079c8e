"""``perdure approvals``: what waits for a person, from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import perdure as library
from perdure import Opaque
from tests.cli.command import _MAIN, Perdure, environment, on_terminal, wait_for


def ask(url: str, tool: str = "send", **given: str) -> str:
    with library.open_sync(url) as store:
        args = {"to": "bob", "text": "a\tb\x1b[2J"}
        named: dict[str, Any] = {"app": "shop", "user": "ada", "thread_id": "t", **given}
        return store.approvals.request(tool, args, **named).id


@pytest.fixture
def waiting(url: str, perdure: Perdure) -> Perdure:
    """A store in which two wait, and one was refused."""
    ask(url)
    ask(url, "delete", user="bob", thread_id="u")
    no = ask(url, "buy")
    with library.open_sync(url) as store:
        store.approvals.reject(no, by="ada", feedback="too dear")
    return perdure


def id_of(perdure: Perdure, tool: str) -> str:
    [found] = [
        row[0] for row in perdure("approvals", "ls", "--status", "all").rows if row[2] == tool
    ]
    return found


def test_a_list_has_what_is_pending_the_newest_first(waiting: Perdure) -> None:
    rows = waiting("approvals", "ls").rows

    assert [row[2] for row in rows] == ["delete", "send"]
    assert rows[1][1] == "pending"
    assert rows[1][4:6] == ["shop", "ada"]
    assert rows[1][7] > rows[1][6]
    assert [row[2] for row in waiting("approvals", "ls", "--status", "rejected").rows] == ["buy"]
    assert len(waiting("approvals", "ls", "--status", "all").rows) == 3
    assert len(waiting("approvals", "ls", "--status", "all", "--limit", "2").rows) == 2
    assert [row[2] for row in waiting("approvals", "ls", "--thread", "u").rows] == ["delete"]
    assert [row[2] for row in waiting("approvals", "ls", "--user", "ada").rows] == ["send"]
    assert waiting("approvals", "ls", "--app", "lab").rows == []
    assert "\x1b" not in waiting("approvals", "ls").out


def test_a_list_on_a_terminal_is_a_table(url: str, waiting: Perdure) -> None:
    del waiting
    shown = on_terminal(url, "approvals", "ls", columns=120).out

    assert "TOOL" in shown
    assert "delete" in shown
    assert "\x1b[2J" not in shown


def test_one_is_shown_with_every_step(waiting: Perdure) -> None:
    shown = waiting("approvals", "show", id_of(waiting, "buy")[-8:]).out

    assert "status         rejected" in shown
    assert "feedback       too dear" in shown
    assert shown.count("\nstep ") == 2
    assert "rejected by ada" in shown
    document = json.loads(waiting("approvals", "show", id_of(waiting, "buy"), "--json").out)
    assert document["args"]["to"] == "bob"
    assert [step["to"] for step in document["steps"]] == ["pending", "rejected"]


def test_on_a_terminal_its_times_are_of_your_zone(waiting: Perdure, url: str) -> None:
    one = id_of(waiting, "buy")
    more = {"PERDURE_TIMEZONE": "Asia/Tokyo"}
    created = json.loads(waiting("approvals", "show", one, "--json").out)["created_at"]
    there = datetime.fromisoformat(created).astimezone(ZoneInfo("Asia/Tokyo"))
    shown = on_terminal(url, "approvals", "show", one, more=more).out

    assert f"created_at     {there:%Y-%m-%d %H:%M:%S}\n" in shown
    assert f"step           {there:%Y-%m-%d %H:%M:%S} pending" in shown
    assert f"created_at     {created}\n" in waiting("approvals", "show", one).out


def test_who_may_says_yes_and_it_is_said_who(waiting: Perdure, url: str) -> None:
    approval_id = id_of(waiting, "send")

    assert waiting("approvals", "approve", approval_id, "--by", "eve").code == 6
    tried = waiting("approvals", "approve", approval_id, "--by", "ada", "--dry-run")
    assert "would be approved: send" in tried.err
    assert waiting("approvals", "ls", "--user", "ada").rows[0][1] == "pending"
    done = waiting(
        "approvals", "approve", approval_id[-9:], "--by", "eve", "--role", "approver",
        "--feedback", "fine", "--args", '{"to": "eve"}', "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert json.loads(done.out)["resolved_by"] == "eve"
    late = waiting("approvals", "reject", approval_id, "--by", "ada")
    assert (late.code, "approved by 'eve'" in late.err) == (4, True)
    with library.open_sync(url) as store:
        found = store.approvals.get(approval_id)
        assert (found.feedback, found.edited_args) == ("fine", {"to": "eve"})
        assert store.approvals.consume(approval_id, {"to": "eve"})


def test_a_dry_run_is_refused_as_the_answer_would_be(waiting: Perdure) -> None:
    some, closed = id_of(waiting, "send"), id_of(waiting, "buy")
    dry = ("--dry-run", "--by")

    assert waiting("approvals", "approve", some, *dry, "eve").code == 6
    assert waiting("approvals", "reject", some, *dry, "system:me").code == 5
    late = waiting("approvals", "approve", closed, *dry, "ada")
    assert (late.code, "was rejected by 'ada'" in late.err) == (4, True)
    edited = waiting("approvals", "approve", some, *dry, "ada", "--args", '{"to": "eve"}')
    assert 'would be approved: send {"to": "eve"}' in edited.err
    assert len(waiting("approvals", "ls").rows) == 2


def test_a_no_is_told(waiting: Perdure) -> None:
    done = waiting("approvals", "reject", id_of(waiting, "send"), "--by", "ada", "--feedback", "no")

    assert (done.code, "rejected: send" in done.err) == (0, True)
    assert [row[2] for row in waiting("approvals", "ls").rows] == ["delete"]


def test_what_cannot_be_answered_is_refused(waiting: Perdure) -> None:
    some = id_of(waiting, "send")

    assert waiting("approvals", "approve", some).code == 2
    assert waiting("approvals", "approve", "nothing", "--by", "ada").code == 3
    assert waiting("approvals", "approve", "apr_", "--by", "ada").code == 2
    assert waiting("approvals", "approve", some, "--by", "ada", "--args", "{x}").code == 5
    # It would approve the arguments as they are.
    assert waiting("approvals", "approve", some, "--by", "ada", "--args", "null").code == 5
    assert waiting("approvals", "approve", some, "--by", "ada", "--app", "nothing:x").code == 5
    assert waiting("approvals", "ls").rows[1][1] == "pending"


@pytest.mark.parametrize("opener", ["open", "open_sync"])
def test_the_rule_of_the_application_is_asked_where_its_store_is_named(
    waiting: Perdure, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opener: str
) -> None:
    (tmp_path / f"rules_{opener}.py").write_text(
        f"import perdure\n"
        f"def store():\n"
        f"    return perdure.{opener}({url!r}, can_resolve=lambda who, _: who.id == 'carol')\n"
    )
    monkeypatch.chdir(tmp_path)
    app = f"rules_{opener}:store"
    some = id_of(waiting, "send")

    for only in ([], ["--dry-run"]):
        refused = waiting("approvals", "approve", some, "--by", "ada", "--app", app, *only)
        assert refused.code == 6
    tried = waiting("approvals", "reject", some, "--by", "carol", "--app", app, "--dry-run")
    assert (tried.code, "would be rejected" in tried.err) == (0, True)
    assert waiting("approvals", "approve", some, "--by", "carol").code == 6
    assert waiting("approvals", "approve", some, "--by", "carol", "--app", app).code == 0


def test_watching_shows_what_is_pending_and_what_becomes_of_it(waiting: Perdure, url: str) -> None:
    some = id_of(waiting, "send")
    process = subprocess.Popen(
        [sys.executable, "-c", _MAIN, "approvals", "watch", "-n", "4", "--app", "shop"],
        env=environment(url), stdout=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    lines: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()))
    first = [process.stdout.readline() for _ in range(2)]
    reader.start()
    with library.open_sync(url) as store:
        store.approvals.approve(some, by="ada")
        wait_for(lambda: process.poll() is not None or lines)
        more = store.approvals.request("later", app="shop").id
    assert process.wait(30) == 0
    reader.join(30)
    process.stdout.close()

    assert [line.split("\t")[2] for line in first] == ["send", "delete"]
    assert [line.split("\t")[:2] for line in lines] == [[some, "approved"], [more, "pending"]]


def test_on_80_columns_a_list_says_which_tool_with_what_for_whom(
    url: str, perdure: Perdure
) -> None:
    with library.open_sync(url) as store:
        args = {"to": "bob"}
        some = store.approvals.request("send_email", args, app="shop", user="ada").id

    shown = on_terminal(url, "approvals", "ls", more={"NO_COLOR": "1"}).out
    done = on_terminal(url, "approvals", "approve", some[-12:], "--by", "ada").out

    for words in (some[-12:], "send_email", '{"to": "bob"}', "shop/ada", "in 29m"):
        assert words in shown
    assert some not in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert done.startswith(f"{some[-12:]} approved: send_email")
    assert perdure("approvals", "ls", "--status", "all").rows[0][0] == some


@pytest.mark.parametrize("pager", ["cat", "less"])
def test_watching_on_a_terminal_has_fixed_columns_and_no_pager(
    waiting: Perdure, url: str, pager: str
) -> None:
    del waiting
    more = {"NO_COLOR": "1", "PAGER": pager}
    shown = on_terminal(url, "approvals", "watch", "-n", "2", more=more).out.splitlines()

    assert len(shown) == 3
    assert shown[0].split() == ["TIME", "APPROVAL", "STATUS", "TOOL", "FOR", "ARGUMENTS"]
    for name, words in (("STATUS", "pending"), ("FOR", "shop/")):
        assert [line.index(words) for line in shown[1:]] == [shown[0].index(name)] * 2


def test_watching_misses_nothing_and_says_nothing_twice(waiting: Perdure, url: str) -> None:
    some = id_of(waiting, "send")
    process = subprocess.Popen(
        [sys.executable, "-c", _MAIN, "approvals", "watch", "-n", "9"],
        env=environment(url), stdout=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(2)]
    with library.open_sync(url) as store:
        # All of it between two looks, or nearly.
        fast = store.approvals.request("fast", app="shop", user="ada").id
        store.approvals.approve(fast, by="ada")
        assert store.approvals.consume(fast)
        store.approvals.approve(some, by="ada")
        lines += [process.stdout.readline() for _ in range(4)]
        assert store.approvals.consume(some, store.approvals.get(some).approved_args)
        slow = store.approvals.request("slow", app="shop", ttl=timedelta(seconds=1)).id
    lines += process.stdout.readlines()
    process.stdout.close()
    assert process.wait(30) == 0

    told = [line.split("\t")[:2] for line in lines]
    assert len(lines) == 9
    assert [status for one, status in told if one == fast] == ["pending", "approved", "consumed"]
    assert [status for one, status in told if one == some] == ["pending", "approved", "consumed"]
    assert [status for one, status in told if one == slow] == ["pending", "expired"]


def test_a_pause_without_arguments_is_told_by_its_question(url: str, perdure: Perdure) -> None:
    with library.open_sync(url) as store:
        asked = store.approvals.request(
            "", kind="interrupt", question="Refund it?", user="ada", resume=Opaque("x", b"1234")
        )
    table = on_terminal(url, "approvals", "ls", more={"NO_COLOR": "1"}).out
    [row] = perdure("approvals", "ls").rows
    shown = perdure("approvals", "show", asked.id).out
    approved = perdure("approvals", "approve", asked.id, "--by", "ada").err

    assert "interrupt" in table
    assert "Refund it?" in table
    assert (row[3], row[-1]) == ("{}", "Refund it?")
    assert "<4 bytes of x>" in shown
    assert approved.strip().endswith("approved: interrupt Refund it?")
