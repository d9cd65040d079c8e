"""A sweep holds up nobody: what it does in one transaction takes little time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import perdure
from perdure import NewEvent, RetentionConfig, SessionKey
from perdure.operation import Operation
from perdure.runners import SyncRunner
from perdure.workers import Sweeper

LATER = datetime.now(UTC) + timedelta(days=100)


class Timed(SyncRunner):
    """Notes how long each transaction that writes kept the processor busy.

    A sync caller does it in its own thread. What others do on the machine does not count then.
    """

    def __init__(self, engine: Any) -> None:
        super().__init__(engine)
        self.seconds: list[float] = []

    def operate(self, op: Operation[Any]) -> Any:
        begun = time.thread_time()
        try:
            return super().operate(op)
        finally:
            if not op.reads:
                self.seconds.append(time.thread_time() - begun)


def test_no_transaction_of_a_sweep_takes_longer_than_the_promise(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/agent.db"
    with perdure.open_sync(url, durability="normal") as store:
        for number in range(60):
            key = store.sessions.create("app", f"user {number}", "chat").key
            store.events.append(key, *[NewEvent("x" * 1000) for _ in range(50)])
        large = store.sessions.create("app", "large", "chat").key
        for _ in range(20):
            store.events.append(large, *[NewEvent("x" * 500) for _ in range(500)])
        wide = store.sessions.create("app", "wide", "chat").key
        store.events.append(wide, *[NewEvent("x" * 1_000_000) for _ in range(10)])
        old = store.sessions.create("app", "old", "chat").key
        for _ in range(10):
            store.events.append(old, *[NewEvent("x" * 500) for _ in range(500)])

    with perdure.open_sync(url, clock=lambda: LATER) as store:
        store.events.append(SessionKey("app", "old", "chat"), "new")
        timed = Timed(store._engine)
        sweeper = Sweeper(store, RetentionConfig(events=timedelta(days=10)))
        swept = timed.flow(sweeper._sweep(dry_run=False, keep=_always))

    assert (swept.idle, swept.kinds["events"].count) == (62, 5000)
    assert len(timed.seconds) > 60
    assert max(timed.seconds) < 0.05


def _always() -> Any:
    yield from ()
    return True
