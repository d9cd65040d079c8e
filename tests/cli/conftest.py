"""A store in a file, and the command in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.cli import main
from tests.cli.command import Perdure, Result, environment, fill


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def filled(url: str) -> str:
    fill(url)
    return url


@pytest.fixture
def perdure(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Perdure:
    """Runs the command here, on the store of `url`; its output is that of a pipe."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "PERDURE_DEBUG", "PAGER", "PERDURE_TENANT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment(url).items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str) -> Result:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def shop(filled: str, perdure: Perdure) -> Perdure:
    """The same, on a store with something in it."""
    del filled
    return perdure
