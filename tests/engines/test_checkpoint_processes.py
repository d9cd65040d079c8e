"""Checkpoints of one file, put by several processes at once, and how the file grows."""

from __future__ import annotations

import os
from pathlib import Path

import apsw
import pytest

import perdure
from tests.engines import checkpoint_writers

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


def test_no_put_of_several_processes_is_lost_and_each_holds_its_own(url: str) -> None:
    checkpoint_writers.no_put_is_lost_and_each_holds_its_own(url)


def test_what_stays_loads_while_others_prune_and_delete(url: str) -> None:
    checkpoint_writers.what_stays_loads_while_others_prune_and_delete(url)


def test_what_a_process_remembers_of_what_another_removed_is_not_built_on(url: str) -> None:
    checkpoint_writers.what_a_process_remembers_of_what_another_removed_is_not_built_on(url)


def test_nothing_is_left_of_who_is_erased_while_others_put(url: str) -> None:
    checkpoint_writers.nothing_is_left_of_who_is_erased_while_others_put(url)


def test_with_a_fence_two_processes_make_one_line(url: str) -> None:
    checkpoint_writers.with_a_fence_there_is_one_line(url)


def test_a_killed_put_full_is_there_whole_or_not_at_all(url: str) -> None:
    checkpoint_writers.a_killed_put_full_is_there_whole_or_not_at_all(url)


@pytest.mark.parametrize("channels", [True, False])
def test_150_turns_take_less_than_a_megabyte(url: str, channels: bool) -> None:
    with perdure.open_sync(url, durability="normal") as store:
        before = store.du().stored
        checkpoint_writers.grow(store, channels=channels)
        grown = store.du().stored - before

    assert grown < 1_000_000
    [(size,)] = apsw.Connection(url.removeprefix("sqlite:///")).execute(
        "SELECT SUM(pgsize) FROM dbstat WHERE name LIKE '%checkpoint%'"
    )
    assert size < 1_000_000
