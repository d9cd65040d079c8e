"""Key-values of one file, used by several processes at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines import claiming


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


def test_of_all_processes_that_claim_a_key_exactly_one_wins(url: str) -> None:
    claiming.every_claim_has_one_winner(url)


def test_processes_that_count_with_expected_versions_lose_no_step(url: str) -> None:
    claiming.no_step_of_a_counter_is_lost(url)


def test_several_sweepers_remove_what_expires_once_and_nothing_else(url: str) -> None:
    claiming.what_expires_is_swept_once_and_nothing_else(url)
