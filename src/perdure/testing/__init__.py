"""What tests need: a clock that stands, stores in memory, faults on demand, the contract."""

from __future__ import annotations

from perdure.testing.clocks import CountedIds, FixedClock

__all__ = ["CountedIds", "FixedClock"]
