"""Questions to people in one file, used by several processes at once."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

import perdure
from perdure import UserScope
from tests.cli.command import wait_for
from tests.effort import effort
from tests.engines import asking_people
from tests.engines.patience import begun, outcome


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


def test_of_two_processes_that_answer_exactly_one_wins_each_time(url: str) -> None:
    asking_people.each_has_one_winner(url, count=200, answerers=2)


def test_six_processes_that_ask_the_same_ask_once(url: str) -> None:
    asking_people.one_question_is_one_row(url, count=effort(8, 20), processes=6)


def test_five_pairs_of_processes_that_ask_and_answer_do_not_mix(url: str) -> None:
    asking_people.pairs_do_not_mix(url, pairs=5, rounds=effort(2, 5))


def test_an_answer_of_another_process_is_seen_within_250_ms(url: str) -> None:
    asking_people.an_answer_is_seen_within(url, 0.25, count=effort(7, 12))


def test_a_killed_process_waits_no_longer_than_its_lease(url: str) -> None:
    asking_people.the_lease_of_a_killed_waiter_ends(url)


def test_an_answer_is_given_though_the_file_is_locked_when_it_is_seen(
    url: str, tmp_path: Path
) -> None:
    with perdure.open_sync(url, busy_timeout=0.2) as store:
        asked = store.clarifications.ask(UserScope("shop", "ada"), "Which?")
        waiting = begun(lambda: store.clarifications.wait(asked.id, timeout=20))
        # Under its lease: from there on it looks, and looks again.
        wait_for(lambda: store.clarifications.recover_pending().waited_for)
        other = apsw.Connection(str(tmp_path / "store.db"))
        other.execute("UPDATE clarifications SET status = 'answered', answer = 'x'")
        other.execute("BEGIN IMMEDIATE")

        found = outcome(waiting)

        other.execute("ROLLBACK")
        other.close()
    assert (found.status, found.answer) == ("answered", "x")
