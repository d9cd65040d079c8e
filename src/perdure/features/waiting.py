"""Waiting for what somebody decides in any process, and saying meanwhile that one waits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from perdure.errors import InvalidError, PerdureError
from perdure.features.leases import LEASES, Lease, drop, renew
from perdure.operation import Bumps, Flow, Operation, Plan, Settings, Sleep, Statement, run

#: How long who waits is believed to live after its last sign, and how often it gives one.
_LEASE = 10_000_000
_SIGN_SECONDS = 3.0
_SHORTEST = 0.01
#: On PostgreSQL a hint comes first, mostly; this is what holds without it.
_LONGEST = 0.08


class Pending(Protocol):
    """A record that is pending until somebody, or its time, ends it."""

    @property
    def status(self) -> str:
        """``pending``, or how it has ended."""


R = TypeVar("R", bound=Pending)


@dataclass(frozen=True, slots=True)
class Awaited(Generic[R]):
    """What is waited for.

    ``look`` gives the record as it is now, ``held`` takes its row while it is pending, and
    ``lease`` names the lease of each who waits, beside those of others.
    """

    part: str
    id: str
    look: Callable[[], Flow[R]]
    held: Statement
    lease: Callable[[str], str]


def seconds_of(timeout: float | None) -> float:
    """The seconds that somebody is ready to wait; None is without end."""
    if timeout is None:
        return math.inf
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not number or not 0 <= timeout < math.inf:
        raise InvalidError(f"timeout is seconds, 0 or more, or None, not {timeout!r}", "timeout")
    return float(timeout)


def ended(what: Awaited[R], seconds: float, settings: Settings) -> Flow[R]:
    """The record when it is not pending any more, or the time is over."""
    end = time.monotonic() + seconds
    found = yield from what.look()
    if found.status != "pending" or seconds == 0:
        return found
    owner = settings.ids()
    lease: Lease | None = None
    sign_at, pause = 0.0, _SHORTEST
    try:
        while found.status == "pending" and (left := end - time.monotonic()) > 0:
            if time.monotonic() >= sign_at:
                sign_at = time.monotonic() + _SIGN_SECONDS
                lease = yield from _sign(what, lease, owner, settings)
            yield Sleep(min(pause, left), (what.part, what.id))
            pause = min(pause * 2, _LONGEST)
            found = yield from what.look()
    except Exception:
        yield from _leave(lease)
        raise
    yield from _leave(lease)
    return found


def _sign(
    what: Awaited[R], lease: Lease | None, owner: str, settings: Settings
) -> Flow[Lease | None]:
    """A sign of life, of each who waits by itself: the others may leave, or die."""
    now = settings.clock()
    if lease is not None and (yield from run(renew(lease, now=now, ttl=_LEASE))):
        return lease
    name = what.lease(owner)

    def work(_: Bumps) -> Plan[Lease | None]:
        # The row first: who ends what nobody waits for comes before this, or sees the lease.
        if not (yield what.held):
            return None
        rows = yield LEASES.take(
            part=what.part, name=name, owner=owner, now=now, until=now + _LEASE
        )
        return Lease(what.part, name, owner, rows[0][0])

    return (yield from run(Operation("leases.wait", (), {}, work)))


def _leave(lease: Lease | None) -> Flow[None]:
    # What cannot be dropped, as in a store that was closed, ends by itself.
    with suppress(PerdureError):
        if lease is not None:
            yield from run(drop(lease))
