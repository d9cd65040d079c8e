"""Documents on SQLite, written by several processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.engines import document_writers

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


def test_whatever_processes_do_at_once_a_document_is_found_by_what_it_says(tmp_path: Path) -> None:
    document_writers.check_index_and_rows_agree(f"sqlite:///{tmp_path}/documents.db")
