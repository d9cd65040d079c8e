"""Documents on PostgreSQL, written by several processes."""

from __future__ import annotations

import os

import pytest

from tests.engines import document_writers

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


def test_whatever_processes_do_at_once_a_document_is_found_by_what_it_says(database: str) -> None:
    document_writers.check_index_and_rows_agree(database)
