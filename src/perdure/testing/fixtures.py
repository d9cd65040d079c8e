"""The pytest fixtures of `perdure.testing`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

try:
    import pytest
except ImportError as error:
    from perdure.errors import MissingExtraError

    message = "perdure.testing needs pytest: pip install pytest, or perdure[test]"
    raise MissingExtraError(message) from error

from perdure.config import Config
from perdure.records import NewEvent, Session
from perdure.store import Store, SyncStore
from perdure.testing.clocks import CountedIds, FixedClock
from perdure.testing.memory import MemoryStore, SyncMemoryStore
from perdure.testing.samples import sample_events, sample_session

ENGINES = ("memory", "sqlite", "jsonl")
_URLS = {
    "memory": "memory:",
    "sqlite": "sqlite:///{folder}/perdure.db",
    "jsonl": "jsonl:///{folder}/perdure",
}


@pytest.fixture
def perdure_clock() -> FixedClock:
    """The clock of the stores below: stands at 2026-01-01T00:00Z until the test moves it."""
    return FixedClock()


@pytest.fixture
def perdure_ids() -> CountedIds:
    """The ids of the stores below: ``id-000001``, ``id-000002`` and so on."""
    return CountedIds()


@pytest.fixture
def perdure_memory(perdure_clock: FixedClock, perdure_ids: CountedIds) -> Iterator[MemoryStore]:
    """An empty async store in memory, with `clear` and `put_directly`."""
    store = MemoryStore(clock=perdure_clock, ids=perdure_ids)
    yield store
    asyncio.run(store.close())


@pytest.fixture
def perdure_memory_sync(
    perdure_clock: FixedClock, perdure_ids: CountedIds
) -> Iterator[SyncMemoryStore]:
    """An empty sync store in memory, with `clear` and `put_directly`."""
    with SyncMemoryStore(clock=perdure_clock, ids=perdure_ids) as store:
        yield store


@pytest.fixture(params=ENGINES)
def perdure_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A URL with nothing stored: once for each engine."""
    return _URLS[request.param].format(folder=tmp_path)


@pytest.fixture
def perdure_store(
    perdure_url: str, perdure_clock: FixedClock, perdure_ids: CountedIds
) -> Iterator[Store]:
    """An empty async store: once on each engine."""
    store = Store(Config(url=perdure_url, clock=perdure_clock, ids=perdure_ids))
    yield store
    asyncio.run(store.close())


@pytest.fixture
def perdure_store_sync(
    perdure_url: str, perdure_clock: FixedClock, perdure_ids: CountedIds
) -> Iterator[SyncStore]:
    """An empty sync store: once on each engine."""
    with SyncStore(Config(url=perdure_url, clock=perdure_clock, ids=perdure_ids)) as store:
        yield store


@pytest.fixture
def perdure_session() -> Session:
    """The session of `sample_session`, for `put_directly`."""
    return sample_session()


@pytest.fixture
def perdure_events() -> list[NewEvent]:
    """The conversation of `sample_events`, to be appended or put directly."""
    return sample_events()
