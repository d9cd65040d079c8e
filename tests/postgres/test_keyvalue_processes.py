"""Key-values of one database, used by several processes at once."""

from __future__ import annotations

import os

import pytest

from tests.engines import claiming

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


def test_of_all_processes_that_claim_a_key_exactly_one_wins(database: str) -> None:
    claiming.every_claim_has_one_winner(database)


def test_processes_that_count_with_expected_versions_lose_no_step(database: str) -> None:
    claiming.no_step_of_a_counter_is_lost(database)


def test_several_sweepers_remove_what_expires_once_and_nothing_else(database: str) -> None:
    claiming.what_expires_is_swept_once_and_nothing_else(database)
