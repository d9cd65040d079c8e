"""A lease in this process's hands: kept up by a thread of the store until it ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from perdure.errors import ClosedError
from perdure.features.leases import LEASES, Lease
from perdure.operation import Bumps, Flow, Operation, Plan, Settings, Tended, run

_SECOND = 1_000_000


class HeldLease:
    """Renewed each third of its time; lost when that fails for as long as it had."""

    let_go: Callable[[Tended], None]

    def __init__(self, lease: Lease, settings: Settings, *, now: int, ttl: int) -> None:
        self.lease = lease
        self._settings = settings
        self._ttl = ttl
        self._every = ttl / _SECOND / 3
        #: Microseconds: nobody else has it before, unless it is taken over.
        self.until = now + ttl
        self._lost = False
        self._ended = False
        self._leaving = False
        self.due = time.monotonic() + self._every

    @property
    def lost(self) -> bool:
        """Whether somebody else may have it by now."""
        return self._lost or (not self._ended and self._settings.clock() >= self.until)

    def beat(self) -> Operation[Any] | None:
        """Renew it, or give it back; None once it has ended."""
        if self._leaving:
            return self.end()
        if self._ended or self.lost:
            self._lost = not self._ended
            return None
        # Sooner than after one that went well: the next try, if nothing comes of this one.
        self.due = time.monotonic() + self._every / 3
        return _renew(self.lease, self._settings.clock(), self._ttl)

    def told(self, value: Any, error: BaseException | None) -> None:
        """What became of a renewal: until when it is ours, or None."""
        if self._ended:
            return
        if error is None and value is not None:
            self.until = max(self.until, value)
            self.due = time.monotonic() + self._every
        elif error is None or isinstance(error, ClosedError):
            self._lost = True

    def end(self) -> Operation[bool] | None:
        """What gives it back; None if that was said before."""
        if self._ended:
            return None
        self._ended = True
        return give_back(self.lease)

    def drop(self) -> None:
        """Give it back without waiting for that, wherever this is called."""
        if not self._ended:
            self._leaving = True
            self.let_go(self)


def _renew(lease: Lease, now: int, ttl: int) -> Operation[int | None]:
    def work(_: Bumps) -> Plan[int | None]:
        rows = yield LEASES.renew(**lease._asdict(), now=now, until=now + ttl)
        return now + ttl if rows else None

    return Operation("leases.renew", (), {}, work)


def give_back(lease: Lease) -> Operation[bool]:
    """Let the next one have it at once; whether it was still ours."""

    def work(_: Bumps) -> Plan[bool]:
        return bool((yield LEASES.drop(**lease._asdict())))

    return Operation("leases.drop", (), {}, work)


def given_back(held: HeldLease) -> Flow[bool]:
    """Give it back now; whether it was still ours. What fails ends by itself."""
    op = held.end()
    return False if op is None else (yield from run(op))
