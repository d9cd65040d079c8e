"""Waiting for an answer in any process, and finding after a restart what nobody waits for."""

from __future__ import annotations

from collections.abc import Callable

from perdure.features import approval_rows as rows
from perdure.features.approval_rows import APPROVALS, Place, Row, approval_of, is_overdue
from perdure.features.outbox import notes
from perdure.features.waiting import Awaited, ended
from perdure.operation import Bumps, Flow, Operation, Plan, Settings, T, run
from perdure.records import Approval, RecoveredApprovals

_PAGE = 200


def waited(approval_id: str, seconds: float, settings: Settings) -> Flow[Approval]:
    """The approval when it is not pending any more, or the time is over."""
    at = _place(approval_id, settings)
    what = Awaited(
        at.part, at.id, lambda: looked(at.id, settings), rows.held(at), rows.lease_name(at.id)
    )
    return (yield from ended(what, seconds, settings))


def _place(approval_id: str, settings: Settings) -> Place:
    return rows.place_of(approval_id, settings.tenant, settings.limits, settings.clock())


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
