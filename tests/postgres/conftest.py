"""Databases for tests, each of one test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import perdure
from tests.postgres.servers import drop_database, fresh_database, server


@pytest.fixture(scope="session")
def _template() -> Iterator[str]:
    url = fresh_database(server())
    perdure.open_sync(url).close()
    yield url.rpartition("/")[2]
    drop_database(url)


@pytest.fixture
def database(_template: str) -> Iterator[str]:
    """The address of a database on the fast server that has our tables, and no row.

    A copy: to make the tables takes longer than most tests.
    """
    url = fresh_database(server(), template=_template)
    yield url
    drop_database(url)


@pytest.fixture
def empty_database() -> Iterator[str]:
    """The same with nothing in it, where our tables are to be made."""
    url = fresh_database(server())
    yield url
    drop_database(url)
