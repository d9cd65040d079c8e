"""A file of its own for each test, and both ways to import into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.importers.importing import Load, in_async, in_sync


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture(params=[in_sync, in_async], ids=["sync", "async"])
def load(request: pytest.FixtureRequest) -> Load:
    chosen: Load = request.param
    return chosen
