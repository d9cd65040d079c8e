"""Run leases: one run at a time on a session, and a fence that refuses those who come too late.

A lease is a row of `leases`, renewed while its owner lives. It keeps others from beginning. What
keeps a process that was stopped, and goes on after its lease was taken, from writing is the fence:
a number in the row that every write takes, raised by every taking.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

from perdure.errors import BusyError, InvalidError, PerdureError
from perdure.features.describing import span
from perdure.features.held import HeldLease, given_back
from perdure.features.holds import Holding
from perdure.features.leases import LEASES, Lease
from perdure.features.lookup import get, hold, target
from perdure.features.waiting import seconds_of
from perdure.operation import (
    Bumps,
    Feature,
    Flow,
    M,
    Operation,
    Plan,
    Row,
    Runner,
    Settings,
    Sleep,
    Tend,
    Work,
    flow,
    reading,
    run,
    taking,
)
from perdure.records import LeaseHolder, SessionKey
from perdure.sql import load
from perdure.values import check_text, decode, encode_trusted, from_micros

RUNS = load("perdure.features", "runs.sql")

TTL = timedelta(seconds=30)
_SHORTEST = 0.01
_LONGEST = 0.2
_SECOND = 1_000_000


class Leasable(NamedTuple):
    """Something that one run at a time works on: a session, a lineage.

    ``held`` takes its row and gives what is its own among those of its part, ``seen`` the same
    without taking it; ``raised`` gives the fence for a lease of that token: above all before, and
    what the writes of the thing are compared with.
    """

    part: str
    what: str
    held: Callable[[int, Bumps], Plan[str]]
    seen: Callable[[int], Plan[str]]
    raised: Callable[[str, int], Plan[int]]


class _Wanted(NamedTuple):
    """A checked call."""

    run_id: str
    ttl: int
    on_busy: str
    timeout: float


class _Taken(NamedTuple):
    lease: Lease
    fence: int
    now: int


class RunLease(Feature[M]):
    """What one run has while it works on a session: made by `store.sessions.lease`.

    A context manager, for `with` or `async with`: the end of the block gives it back. Until then a
    thread of the store renews it, also while your code keeps the event loop busy; closing the
    store gives it back, and when the process dies it ends by itself after its ``ttl``. So does one
    that nobody keeps a reference to.

    ``fence`` is a number above that of every earlier lease of the session. Give it to your writes:
    once another run has taken the lease they are `StaleSessionError`, and nothing is stored.
    """

    name = "lease"

    def __init__(
        self, runner: Runner, settings: Settings, held: HeldLease, run_id: str, fence: int
    ) -> None:
        super().__init__(runner, settings)
        self._held = held
        self.run_id = run_id
        self.fence = fence

    def __repr__(self) -> str:
        return f"<{type(self).__name__} run_id={self.run_id!r} fence={self.fence} lost={self.lost}>"

    @property
    def lost(self) -> bool:
        """Whether it was taken over, or could not be renewed in time: end the run then."""
        return self._held.lost

    @property
    def until(self) -> datetime:
        """Until when nobody else has it, unless it is taken over; moves with each renewal."""
        return from_micros(self._held.until)

    @flow
    def release(self) -> Flow[bool]:
        """Give it back, so that the next run may begin at once; whether it was still this one's.

        Writes with its fence are good until the next run takes the lease.
        """
        return (yield from given_back(self._held))

    def __enter__(self) -> RunLease[M]:
        return self

    def __exit__(self, *why: object) -> None:
        # What cannot be given back now ends by itself: no reason to hide what the block raised.
        with suppress(PerdureError):
            self._runner.flow(given_back(self._held))

    async def __aenter__(self) -> RunLease[M]:
        return self

    async def __aexit__(self, *why: object) -> None:
        with suppress(PerdureError):
            await self._runner.flow(given_back(self._held))


class Leasing(Holding[M]):
    """The part of `store.sessions` that lets one run at a time work on a session."""

    @taking
    def lease(
        self,
        key: SessionKey,
        run_id: str,
        *,
        ttl: timedelta = TTL,
        on_busy: str = "raise",
        timeout: float | None = None,
    ) -> Flow[RunLease[M]]:
        """The right of one run to work on a session, until it is given back or its process dies.

        Renewed by a thread of the store while it is held; ``ttl`` is how long it outlives its
        process. While another run has it: ``on_busy="raise"`` is a `BusyError` that names that run
        and says until when; ``"wait"`` waits until it is free, at most ``timeout`` seconds (None:
        without end), then `BusyError`; ``"take"`` takes it over at once, and the writes of the run
        that had it, if they give their fence, are refused from then on. A run that has the lease is
        busy like any other: to go on with a run whose process has died is to take it over.
        Who waits is not served in any order. `NotFoundError` if there is no such session.
        """
        wanted = wanted_lease(run_id, ttl, on_busy, timeout, self._settings)
        thing = _session(self._settings, key)
        return (yield from lease_of(self, thing, wanted))

    @reading
    def find_lease(self, key: SessionKey) -> Work[LeaseHolder | None]:
        """Which run has the lease of a session, and until when; None if it is free."""
        thing, now = _session(self._settings, key), self._settings.clock()
        return lambda _: holder_of(thing, now)


def wanted_lease(
    run_id: str, ttl: timedelta, on_busy: str, timeout: float | None, settings: Settings
) -> _Wanted:
    """The checked options of a lease."""
    check_text(run_id, "run_id", settings.limits.text, blank=False)
    if on_busy not in {"raise", "wait", "take"}:
        raise InvalidError(f"on_busy is 'raise', 'wait' or 'take', not {on_busy!r}", "on_busy")
    return _Wanted(run_id, span(ttl, "ttl"), on_busy, seconds_of(timeout))


def _session(settings: Settings, key: SessionKey) -> Leasable:
    at = target(settings.tenant, key, settings.limits.text, 0)

    def held(now: int, bumps: Bumps) -> Plan[str]:
        return (yield from hold(at._replace(now=now), None, bumps)).uid

    def seen(now: int) -> Plan[str]:
        return (yield from get(at._replace(now=now))).uid

    def raised(uid: str, token: int) -> Plan[int]:
        [(fence,)] = yield RUNS.raise_fence(part=at.part, uid=uid, token=token)
        return int(fence)

    return Leasable(at.part, f"session {at.key.id!r}", held, seen, raised)


def lease_of(feature: Feature[M], thing: Leasable, wanted: _Wanted) -> Flow[RunLease[M]]:
    """The lease of a thing, as soon as ``on_busy`` says."""
    settings = feature._settings
    begun = time.monotonic()
    pause = _SHORTEST
    while isinstance(got := (yield from run(_try(thing, wanted, settings))), LeaseHolder):
        has: LeaseHolder | None = got
        # Only looks while it is held: a write each time would be in the way of its holder.
        while has is not None:
            left = _left(thing, has, wanted, begun, settings)
            yield Sleep(min(pause, left), (thing.part, ""))
            pause = min(pause * 2, _LONGEST)
            has = yield from run(_look(thing, settings.clock()))
    held = HeldLease(got.lease, settings, now=got.now, ttl=wanted.ttl)
    yield Tend(held)
    return RunLease(feature._runner, settings, held, wanted.run_id, got.fence)


def _left(
    thing: Leasable, has: LeaseHolder, wanted: _Wanted, begun: float, settings: Settings
) -> float:
    """The seconds that it may still wait; `BusyError` if there are none."""
    if wanted.on_busy == "wait":
        left = begun + wanted.timeout - time.monotonic()
        if left > 0:
            return left
    remaining = has.until - from_micros(settings.clock())
    raise BusyError(
        f"run {has.run_id!r} has the lease of {thing.what} until {has.until.isoformat()}: wait for "
        "it with on_busy='wait', or take it over with on_busy='take'",
        max(remaining.total_seconds(), 0.0),
    )


def _try(thing: Leasable, wanted: _Wanted, settings: Settings) -> Operation[_Taken | LeaseHolder]:
    """The lease, or who has it."""
    now = settings.clock()
    # Two processes of one run are two owners: only one of them may go on.
    owner = encode_trusted([wanted.run_id, settings.ids()])
    query = RUNS.seize if wanted.on_busy == "take" else LEASES.take

    def work(bumps: Bumps) -> Plan[_Taken | LeaseHolder]:
        ident = yield from thing.held(now, bumps)
        name = _name(ident)
        rows = yield query(part=thing.part, name=name, owner=owner, now=now, until=now + wanted.ttl)
        if not rows:
            # There, and as it was: a row that could not be changed is held all the same.
            [row] = yield LEASES.find(part=thing.part, name=name)
            return _has(thing, row)
        lease = Lease(thing.part, name, owner, rows[0][0])
        return _Taken(lease, (yield from thing.raised(ident, lease.token)), now)

    return Operation("leases.run", (), {}, work)


def _look(thing: Leasable, now: int) -> Operation[LeaseHolder | None]:
    return Operation("leases.find", (), {}, lambda _: holder_of(thing, now), reads=True)


def holder_of(thing: Leasable, now: int) -> Plan[LeaseHolder | None]:
    """Which run has the lease of a thing; None if it is free."""
    ident = yield from thing.seen(now)
    rows = yield LEASES.find(part=thing.part, name=_name(ident))
    if not rows or rows[0][2] <= now:
        return None
    return _has(thing, rows[0])


def _has(thing: Leasable, row: Row) -> LeaseHolder:
    owner, _, until = row
    run_id, _ = decode(owner, f"the lease of {thing.what}")
    return LeaseHolder(run_id, from_micros(until))


def _name(ident: str) -> str:
    return f"run:{ident}"
