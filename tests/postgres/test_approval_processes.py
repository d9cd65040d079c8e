"""Approvals of one database, answered and used by several processes at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.effort import effort
from tests.engines import approving

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")

STRICT = os.environ.get("PERDURE_STRICT_TIMING") == "1"
ROUNDS = effort(8, 40)
KILLS = effort(40, 200)
#: Seconds.
SOON = 0.1


def test_of_two_processes_that_answer_exactly_one_does(database: str) -> None:
    approving.every_approval_has_one_answer(database)


def test_of_two_processes_that_would_run_it_exactly_one_may(database: str) -> None:
    approving.every_approval_is_used_once(database)


def test_an_approval_is_answered_or_expires_and_never_both(database: str) -> None:
    approving.an_approval_is_answered_or_expires_and_never_both(database)


def test_a_process_that_is_killed_runs_a_tool_at_most_once_and_the_record_says_which(
    database: str, tmp_path: Path
) -> None:
    approving.who_is_killed_runs_a_tool_at_most_once(database, tmp_path)


def test_killed_at_any_moment_a_tool_runs_at_most_once(database: str, tmp_path: Path) -> None:
    approving.killed_at_random_it_runs_at_most_once(database, tmp_path, ROUNDS)


def test_who_is_killed_in_a_turn_has_said_kept_and_asked_or_nothing(database: str) -> None:
    approving.who_is_killed_in_a_turn_has_said_kept_and_asked_or_nothing(database, KILLS)


def test_what_was_approved_while_nobody_waited_is_found_after_a_restart(database: str) -> None:
    approving.what_was_approved_while_nobody_waited_is_found(database)


def test_a_tool_that_waits_does_not_run_when_the_store_is_closed(database: str) -> None:
    approving.a_tool_that_waits_does_not_run_when_the_store_is_closed(database)


def test_nobody_expires_what_a_living_process_waits_for(database: str) -> None:
    approving.nobody_expires_what_a_living_process_waits_for(database)


def test_an_answer_is_heard_soon_in_another_process(database: str) -> None:
    found = approving.delays(database)

    # The machine of a check has other things to do, too.
    assert found[len(found) * 9 // 10] < (SOON if STRICT else 2), found
