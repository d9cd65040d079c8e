"""A file of its own for each test, and both ways to import into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perdure.importers import ImportReport, read_picoclaw
from tests.importers.claw import KEY, OWNER, Claw, Import, contents_of
from tests.importers.importing import Load, in_async, in_sync


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture(params=[in_sync, in_async], ids=["sync", "async"])
def load(request: pytest.FixtureRequest) -> Load:
    chosen: Load = request.param
    return chosen


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


@pytest.fixture
def claw(folder: Path) -> Claw:
    return Claw(folder, KEY.id)


@pytest.fixture
def bring(url: str, load: Load, folder: Path) -> Import:
    """Import the directory, and see that it is as it was."""

    def importing(**options: Any) -> ImportReport:
        before = contents_of(folder)
        report = load(url, read_picoclaw(folder), **OWNER, **options)
        assert contents_of(folder) == before
        return report

    return importing
