"""Questions to people in one database, used by several processes at once."""

from __future__ import annotations

import os

import pytest

from tests.effort import effort
from tests.engines import asking_people

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


def test_of_two_processes_that_answer_exactly_one_wins_each_time(database: str) -> None:
    asking_people.each_has_one_winner(database, count=200, answerers=2)


def test_six_processes_that_ask_the_same_ask_once(database: str) -> None:
    asking_people.one_question_is_one_row(database, count=effort(8, 20), processes=6)


def test_five_pairs_of_processes_that_ask_and_answer_do_not_mix(database: str) -> None:
    asking_people.pairs_do_not_mix(database, pairs=5, rounds=effort(2, 5))


def test_an_answer_of_another_process_is_seen_within_100_ms(database: str) -> None:
    asking_people.an_answer_is_seen_within(database, 0.1, count=effort(7, 12))


def test_a_killed_process_waits_no_longer_than_its_lease(database: str) -> None:
    asking_people.the_lease_of_a_killed_waiter_ends(database)
