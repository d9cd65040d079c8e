"""Schedulers of several processes on one server: each slot once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.engines.scheduling import (
    a_killed_scheduler_leaves_an_abandoned_run_that_is_not_run_again,
    a_scheduler_that_was_stopped_learns_that_its_run_was_abandoned,
    every_slot_of_a_task_runs_once,
    tasks_that_are_due_at_once_run_once_each,
)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


def test_of_six_schedulers_one_runs_each_of_three_hundred_slots(database: str) -> None:
    every_slot_of_a_task_runs_once(database)


def test_three_hundred_tasks_that_are_due_at_once_run_once_each(database: str) -> None:
    tasks_that_are_due_at_once_run_once_each(database)


def test_the_run_of_a_killed_scheduler_is_reported_and_not_run_again(
    database: str, tmp_path: Path
) -> None:
    a_killed_scheduler_leaves_an_abandoned_run_that_is_not_run_again(database, tmp_path)


def test_a_scheduler_that_was_stopped_learns_that_its_run_was_abandoned(database: str) -> None:
    a_scheduler_that_was_stopped_learns_that_its_run_was_abandoned(database)
