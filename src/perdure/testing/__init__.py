"""What the tests of an application, or of an engine, need.

Fixtures for pytest, by one line in a ``conftest.py``::

    pytest_plugins = ["perdure.testing"]

- ``perdure_memory`` and ``perdure_memory_sync``: an empty `MemoryStore` or `SyncMemoryStore`;
- ``perdure_store`` and ``perdure_store_sync``: an empty store, the test runs once on each
  engine; ``perdure_url``: the URL it is opened with;
- ``perdure_clock`` and ``perdure_ids``: the `FixedClock` and the `CountedIds` of all of these;
- ``perdure_session`` and ``perdure_events``: `sample_session` and `sample_events`.

The async stores open at their first call, in whatever event loop that is, and are closed by
the fixture.

`open_failing` gives a store that fails on demand, also after it has written, as a lost
acknowledgement does. `check_engine` runs the contract of every feature on an engine of your own.

PYTEST_DONT_REWRITE: nothing is asserted here, and so the plugin may be imported before pytest
loads it.
"""

from __future__ import annotations

from perdure.testing.fixtures import (  # isort: skip - it says what is missing without pytest
    perdure_clock,
    perdure_events,
    perdure_ids,
    perdure_memory,
    perdure_memory_sync,
    perdure_session,
    perdure_store,
    perdure_store_sync,
    perdure_url,
)
from perdure.testing.checking import EngineContractError, EngineReport, check_engine
from perdure.testing.clocks import CountedIds, FixedClock
from perdure.testing.failing import (
    Failing,
    FailingEngine,
    SyncFailing,
    open_failing,
    open_failing_sync,
)
from perdure.testing.memory import MemoryStore, SyncMemoryStore
from perdure.testing.samples import sample_events, sample_session

__all__ = [
    "CountedIds",
    "EngineContractError",
    "EngineReport",
    "Failing",
    "FailingEngine",
    "FixedClock",
    "MemoryStore",
    "SyncFailing",
    "SyncMemoryStore",
    "check_engine",
    "open_failing",
    "open_failing_sync",
    "perdure_clock",
    "perdure_events",
    "perdure_ids",
    "perdure_memory",
    "perdure_memory_sync",
    "perdure_session",
    "perdure_store",
    "perdure_store_sync",
    "perdure_url",
    "sample_events",
    "sample_session",
]
