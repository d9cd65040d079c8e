"""Waiting for an answer in any process, and finding after a restart what nobody waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from perdure.errors import InvalidError, PerdureError
from perdure.features import approval_rows as rows
from perdure.features.approval_rows import APPROVALS, Place, Row, approval_of, is_overdue
from perdure.features.leases import Lease, drop, renew
from perdure.features.outbox import notes
from perdure.operation import Bumps, Flow, Operation, Plan, Settings, Sleep, T, run
from perdure.records import Approval, RecoveredApprovals

#: How long a waiter is believed to live after its last sign, and how often it gives one.
_LEASE = 15_000_000
_SIGN_SECONDS = 5.0
_SHORTEST = 0.01
#: On PostgreSQL a hint comes first, mostly; this is what holds without it.
_LONGEST = 0.08
_PAGE = 200
_LONG = 10**9


def seconds_of(timeout: float | None) -> float:
    """The timeout of a wait in seconds; None is as long as it takes."""
    if timeout is None:
        return _LONG
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not number or not 0 <= timeout <= _LONG:
        raise InvalidError(f"timeout is seconds, 0 or more, or None, not {timeout!r}", "timeout")
    return float(timeout)


def waited(approval_id: str, seconds: float, settings: Settings) -> Flow[Approval]:
    """The approval when it is not pending any more, or the time is over."""
    end = time.monotonic() + seconds
    approval = yield from looked(approval_id, settings)
    if approval.status != "pending" or seconds == 0:
        return approval
    owner, part = settings.ids(), _place(approval_id, settings).part
    lease: Lease | None = None
    sign_at = 0.0
    pause = _SHORTEST
    try:
        while approval.status == "pending" and (left := end - time.monotonic()) > 0:
            if time.monotonic() >= sign_at:
                sign_at = time.monotonic() + _SIGN_SECONDS
                lease = yield from _sign(lease, approval_id, owner, settings)
            yield Sleep(min(pause, left), (part, approval_id))
            pause = min(pause * 2, _LONGEST)
            approval = yield from looked(approval_id, settings)
    except PerdureError:
        if lease is not None:
            with suppress(PerdureError):
                yield from run(drop(lease))
        raise
    if lease is not None:
        # Nobody depends on it: the answer is here.
        with suppress(PerdureError):
            yield from run(drop(lease))
    return approval


def _place(approval_id: str, settings: Settings) -> Place:
    return rows.place_of(approval_id, settings.tenant, settings.limits, settings.clock())


def _sign(
    lease: Lease | None, approval_id: str, owner: str, settings: Settings
) -> Flow[Lease | None]:
    """A sign of life, of each who waits by itself: the others may leave, or die."""
    now = settings.clock()
    if lease is not None and (yield from run(renew(lease, now=now, ttl=_LEASE))):
        return lease
    at = _place(approval_id, settings)

    def work(_: Bumps) -> Plan[Lease | None]:
        return (yield from rows.wait_for(at, owner, at.now + _LEASE))

    return (yield from run(Operation("approvals.wait", (), {}, work, of_session=False)))


def looked(approval_id: str, settings: Settings) -> Flow[Approval]:
    """The approval as it is now; that its time is over is noted if nobody has."""
    at = _place(approval_id, settings)
    row = yield from run(_reading("get", lambda: rows.get(at)))
    if not is_overdue(row, at.now):
        return approval_of(row, at.now)
    yield from run(expiring(at, settings))
    return approval_of((yield from run(_reading("get", lambda: rows.get(at)))), at.now)


def expiring(at: Place, settings: Settings) -> Operation[Approval | None]:
    """Note that the time of an approval is over."""
    telling = notes(settings)

    def work(_: Bumps) -> Plan[Approval | None]:
        row = yield from rows.expire(at, telling)
        return None if row is None else approval_of(row, at.now)

    return Operation("approvals.expire", (at.id,), {}, work, of_session=False)


def recovered(settings: Settings, max_age: int | None, app: str | None) -> Flow[RecoveredApprovals]:
    """What is pending with nobody alive who waits for it, too old or not."""
    now = settings.clock()
    before = None if max_age is None else now - max_age
    pending: list[Approval] = []
    expired: list[Approval] = []
    after = (-(2**62), "")
    while page := (yield from run(_unattended(settings, app, now, after))):
        for row in page:
            if before is None or row.created_at > before:
                pending.append(approval_of(row, now))
                continue
            given_up = yield from run(_giving_up(row, before, settings))
            if given_up is not None:
                expired.append(given_up)
        after = (page[-1].created_at, page[-1].id)
    return RecoveredApprovals(tuple(pending), tuple(expired))


def _unattended(
    settings: Settings, app: str | None, now: int, after: tuple[int, str]
) -> Operation[list[Row]]:
    def plan() -> Plan[list[Row]]:
        found = yield APPROVALS.pick("unattended", "anywhere")(
            tenant=settings.tenant, app=app, now=now, after_at=after[0], after_id=after[1],
            limit=_PAGE,
        )  # fmt: skip
        return [Row._make(columns) for columns in found]

    return _reading("recover_pending", plan)


def _giving_up(row: Row, before: int, settings: Settings) -> Operation[Approval | None]:
    at = Place(row.part, row.id, row.tenant, settings.clock())
    telling = notes(settings)

    def work(_: Bumps) -> Plan[Approval | None]:
        given_up = yield from rows.give_up(at, before, telling)
        return None if given_up is None else approval_of(given_up, at.now)

    return Operation("approvals.expire", (row.id,), {}, work, of_session=False)


def _reading(name: str, plan: Callable[[], Plan[T]]) -> Operation[T]:
    return Operation(f"approvals.{name}", (), {}, lambda _: plan(), reads=True)
