"""A clock and ids that a test knows beforehand."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class FixedClock:
    """A clock that stands still, or moves by ``step`` after each reading.

    Pass it as ``clock=`` to `perdure.open`. Safe from any thread.
    """

    def __init__(self, now: datetime = START, *, step: timedelta = timedelta(0)) -> None:
        self._lock = threading.Lock()
        self._now = now
        self.step = step

    def __call__(self) -> datetime:
        """The time, then a step further."""
        with self._lock:
            now = self._now
            self._now = now + self.step
        return now

    @property
    def now(self) -> datetime:
        """What the next reading will give; looking does not move it."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move on, or back with a negative time."""
        with self._lock:
            self._now += by

    def set(self, now: datetime) -> None:
        """Stand at that moment."""
        with self._lock:
            self._now = now


class CountedIds:
    """Ids ``id-000001``, ``id-000002`` …: pass it as ``ids=`` to `perdure.open`."""

    def __init__(self, prefix: str = "id-") -> None:
        self._lock = threading.Lock()
        self._prefix = prefix
        self._count = 0

    def __call__(self) -> str:
        """The next id."""
        with self._lock:
            self._count += 1
            return f"{self._prefix}{self._count:06d}"
