"""What a paused run goes on with: its approvals, used by one of all who resume it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from perdure.errors import ApprovalUsedError, InvalidError
from perdure.records import JSON, Approval
from perdure.store import Store, SyncStore

Used: TypeAlias = Literal["raise", "deny"]
"""What an approval that was used before is for who resumes: an error, or a no"""
Calls: TypeAlias = Sequence[tuple[Approval, JSON]]
"""Answers, each with the arguments that would run"""


async def consumed(store: Store, calls: Calls, *, by: str = "", used: Used) -> set[str]:
    """The ids of those that may run now; `ApprovalUsedError` if somebody else has used one."""
    may = set()
    for one, args in _in_order(calls, used):
        if await store.approvals.consume(one.id, args, by=by):
            may.add(one.id)
        else:
            _refuse_used(await store.approvals.get(one.id), used)
    return may


def consumed_sync(store: SyncStore, calls: Calls, *, by: str = "", used: Used) -> set[str]:
    """The same, for who does not await."""
    may = set()
    for one, args in _in_order(calls, used):
        if store.approvals.consume(one.id, args, by=by):
            may.add(one.id)
        else:
            _refuse_used(store.approvals.get(one.id), used)
    return may


def _in_order(calls: Calls, used: Used) -> Iterable[tuple[Approval, JSON]]:
    """What is approved, in the order in which all use it: who is second has used nothing up."""
    if used not in {"raise", "deny"}:
        raise InvalidError(f"used is 'raise' or 'deny', not {used!r}", "used")
    for one, _ in calls:
        _refuse_used(one, used)
    approved = [(one, args) for one, args in calls if one.status == "approved"]
    return sorted(approved, key=lambda call: call[0].id)


def _refuse_used(one: Approval, used: Used) -> None:
    if one.status != "consumed" or used == "deny":
        return
    when = one.consumed_at.isoformat() if one.consumed_at else "before"
    raise ApprovalUsedError(
        f"approval {one.id!r} of {one.tool_name or one.kind} was used, {when}: who did that goes "
        "on with the run. If that process is dead, resume with used='deny' to take it as a no",
        one.id,
    )


__all__ = ["Calls", "Used", "consumed", "consumed_sync"]
