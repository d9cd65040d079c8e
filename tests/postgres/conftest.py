"""Databases for tests, each of one test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres.servers import drop_database, fresh_database, server


@pytest.fixture
def database() -> Iterator[str]:
    """The address of an empty database on the fast server."""
    url = fresh_database(server())
    yield url
    drop_database(url)
