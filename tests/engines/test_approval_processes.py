"""Approvals of one file, answered and used by several processes at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import apsw
import pytest

import perdure
from perdure import DeniedError, Principal
from tests.effort import effort
from tests.engines import approving

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")

STRICT = os.environ.get("PERDURE_STRICT_TIMING") == "1"
ROUNDS = effort(8, 40)
KILLS = effort(40, 200)
#: Seconds.
SOON = 0.25


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


def test_of_two_processes_that_answer_exactly_one_does(url: str) -> None:
    approving.every_approval_has_one_answer(url)


def test_of_two_processes_that_would_run_it_exactly_one_may(url: str) -> None:
    approving.every_approval_is_used_once(url)


def test_an_approval_is_answered_or_expires_and_never_both(url: str) -> None:
    approving.an_approval_is_answered_or_expires_and_never_both(url)


def test_a_process_that_is_killed_runs_a_tool_at_most_once_and_the_record_says_which(
    url: str, tmp_path: Path
) -> None:
    approving.who_is_killed_runs_a_tool_at_most_once(url, tmp_path)


def test_killed_at_any_moment_a_tool_runs_at_most_once(url: str, tmp_path: Path) -> None:
    approving.killed_at_random_it_runs_at_most_once(url, tmp_path, ROUNDS)


def test_who_is_killed_in_a_turn_has_said_kept_and_asked_or_nothing(url: str) -> None:
    approving.who_is_killed_in_a_turn_has_said_kept_and_asked_or_nothing(url, KILLS)


def test_what_was_approved_while_nobody_waited_is_found_after_a_restart(url: str) -> None:
    approving.what_was_approved_while_nobody_waited_is_found(url)


def test_a_tool_that_waits_does_not_run_when_the_store_is_closed(url: str) -> None:
    approving.a_tool_that_waits_does_not_run_when_the_store_is_closed(url)


def test_nobody_expires_what_a_living_process_waits_for(url: str) -> None:
    approving.nobody_expires_what_a_living_process_waits_for(url)


def test_an_answer_is_heard_soon_in_another_process(url: str) -> None:
    found = approving.delays(url)

    # The machine of a check has other things to do, too.
    assert found[len(found) * 9 // 10] < (SOON if STRICT else 2), found


@pytest.mark.parametrize("status", ["", "APPROVED", "approved ", "unheard-of"])
def test_a_status_that_nobody_knows_is_no(url: str, tmp_path: Path, status: str) -> None:
    about: dict[str, Any] = {"thread_id": "t", "tool_call_id": "c"}
    with perdure.open_sync(url) as store:
        made = store.approvals.request("send", {}, **about)
        store.approvals.approve(made.id, by=Principal("boss", ["approver"]))
    connection = apsw.Connection(str(tmp_path / "store.db"))
    connection.execute("UPDATE approvals SET status = ?", (status,))
    connection.close()

    with perdure.open_sync(url) as store:
        with pytest.raises(DeniedError, match="did not run"):
            store.approvals.required("send", about=about)(lambda: pytest.fail("it ran"))()
        assert store.approvals.consume(made.id, {}) is False
