"""The machine of `tests/model` against PostgreSQL: whatever is done, it is as in plain Python."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import HealthCheck, settings

import perdure
from perdure import SyncStore
from tests.effort import effort
from tests.model.test_model import InMemory
from tests.postgres.servers import drop_database, fresh_database, server

# Making a failure small takes longer than finding it.
pytestmark = pytest.mark.timeout(900)

_number = count()


class Database:
    """One for all examples, each of which is a tenant of its own."""

    url = ""


@pytest.fixture(scope="module", autouse=True)
def _database() -> Iterator[None]:
    Database.url = fresh_database(server())
    yield
    drop_database(Database.url)


class OnPostgres(InMemory):
    """What people do to sessions, on PostgreSQL."""

    def opened(self) -> SyncStore:
        return perdure.open_sync(
            Database.url,
            tenant=f"example {next(_number)}",
            clock=self.clock,
            event_limit=self.event_limit,
            pool_min=1,
            pool_max=2,
        )


class LimitedOnPostgres(OnPostgres):
    """The same where every append prunes to the last four events."""

    event_limit = 4


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=40,
        deadline=None,
        derandomize="CI" in os.environ,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


TestOnPostgres = OnPostgres.TestCase
TestOnPostgres.settings = _settings(effort(10, 400))
TestWithEventLimit = LimitedOnPostgres.TestCase
TestWithEventLimit.settings = _settings(effort(4, 120))
