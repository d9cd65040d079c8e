"""Whether an engine keeps the contract."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from perdure.errors import InvalidError

_FOLDER = Path(__file__).parent / "contract"
_VARIABLE = "PERDURE_CONTRACT_URL"


@dataclass(slots=True)
class EngineReport:
    """How many contract tests an engine passed, and what it failed by the test's name."""

    passed: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest for each phase of each test."""
        if report.failed:
            self.failed[report.nodeid] = report.longreprtext
        elif report.when == "call" and report.passed:
            self.passed += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Called by pytest for each module."""
        if report.failed:
            self.failed[report.nodeid] = report.longreprtext


class EngineContractError(AssertionError):
    """The engine fails tests of the contract; ``report`` has them."""

    def __init__(self, message: str, report: EngineReport) -> None:
        super().__init__(message)
        self.report = report


def check_engine(url: str, *, only: str = "") -> EngineReport:
    """Run the contract of every feature on an engine, async and sync; raises on a failure.

    Each test needs a store of its own: ``{folder}`` in the URL stands for a new empty folder,
    ``{name}`` for a new name. A URL with neither must open with nothing in it, as ``memory:``
    does; its stores share one engine then. ``only`` picks tests, as pytest's ``-k`` does.
    Raises `EngineContractError`, with the report.
    """
    report = EngineReport()
    arguments = [str(_FOLDER), "-q", "--no-header", f"--rootdir={_FOLDER}", f"-c{os.devnull}"]
    arguments += ["--import-mode=importlib", "-pno:cacheprovider", "-k", only]
    with _variable(url):
        code = pytest.main(arguments, plugins=[report])
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise InvalidError(f"no contract test fits {only!r}", "only")
    if report.failed or code != pytest.ExitCode.OK:
        names = ", ".join(sorted(report.failed)[:5])
        message = f"{url} fails {len(report.failed)} tests of the contract, first {names}"
        raise EngineContractError(message, report)
    return report


@contextmanager
def _variable(url: str) -> Iterator[None]:
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = url
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before
