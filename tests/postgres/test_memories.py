"""Several processes and the memories of one user, on one PostgreSQL database."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.engines import memory_writers

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


def test_what_many_processes_add_is_one_memory_with_the_topics_of_all(database: str) -> None:
    memory_writers.check_one_memory_with_all_topics(database)


def test_whatever_processes_do_at_once_a_search_finds_what_is_there(database: str) -> None:
    memory_writers.check_index_and_rows_agree(database)


def test_an_erasure_among_writers_takes_all_of_a_user_or_nothing(database: str) -> None:
    memory_writers.check_an_erasure_takes_all_or_nothing(database)


def test_of_many_processes_one_makes_memories_of_an_event(database: str, tmp_path: Path) -> None:
    memory_writers.check_each_event_is_remembered_once(database, tmp_path)


def test_a_process_that_is_killed_while_it_extracts_loses_and_doubles_nothing(
    database: str,
) -> None:
    memory_writers.check_a_killed_extractor_loses_and_doubles_nothing(database)
