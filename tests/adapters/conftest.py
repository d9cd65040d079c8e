"""Stores for the tests of every adapter: one of each engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.testing.postgres import empty_schema

ENGINES = ("memory", "sqlite", "jsonl", "postgres")
_URLS = {
    "memory": "memory:",
    "sqlite": "sqlite:///{folder}/store.db",
    "jsonl": "jsonl:///{folder}/store",
}


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty store, on each engine."""
    yield from _empty(request.param, tmp_path)


@pytest.fixture(params=["sqlite", "postgres"])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty store that several processes write to."""
    yield from _empty(request.param, tmp_path)


def _empty(engine: str, folder: Path) -> Iterator[str]:
    if engine in _URLS:
        yield _URLS[engine].format(folder=folder)
        return
    with empty_schema("postgres") as address:
        yield address
