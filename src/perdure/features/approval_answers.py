"""Who may answer an approval, and what an answer says."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any

from perdure.errors import DeniedError, InvalidError
from perdure.features.approval_rows import Answer
from perdure.features.describing import span
from perdure.features.hooks import passed
from perdure.operation import Call, Flow, Settings
from perdure.records import Approval, NewResolution, Principal
from perdure.values import args_text, check_text

APPROVER = "approver"
_STATUS_AFTER = {"approve": "approved", "reject": "rejected"}
_OURS = "system:"


def author(by: str, limit: int) -> str:
    """A name for the audit; not one of those that the store uses itself."""
    text = check_text(by, "by", limit)
    if text.startswith(_OURS):
        raise InvalidError(f"by is {by!r}: what begins with {_OURS!r} is the store's own", "by")
    return text


def principal(by: str | Principal, limit: int) -> Principal:
    """Who answers: a name alone has no roles."""
    who = Principal(by) if isinstance(by, str) else by
    if not isinstance(who, Principal) or isinstance(who.roles, str):
        raise InvalidError(f"by is a name or a Principal(id, roles), not {by!r}", "by")
    if not isinstance(who.roles, Collection):
        raise InvalidError(f"roles is a list of names, not {who.roles!r}", "by")
    check_text(who.id, "by", limit, blank=False)
    author(who.id, limit)
    return who


def refuse_unless_allowed(
    who: Principal, approval: Approval, can_resolve: Callable[..., Any] | None
) -> Flow[None]:
    """`DeniedError` unless the rule says True: whatever else it says is no."""
    if approval.agent and who.id == approval.agent:
        raise DeniedError(f"{who.id!r} has asked for {approval.id!r}, and cannot answer it")
    if can_resolve is None:
        allowed: object = _by_default(who, approval)
    else:
        allowed = yield Call(can_resolve, (who, approval))
    if allowed is not True:
        raise DeniedError(
            f"{who.id!r} may not answer {approval.id!r}: "
            + ("can_resolve says no" if can_resolve else "it is for its creator or an approver")
        )


def _by_default(who: Principal, approval: Approval) -> bool:
    return (approval.created_by != "" and who.id == approval.created_by) or APPROVER in who.roles


def answer_of(
    given: NewResolution,
    by: str,
    remember: timedelta | None,
    same_args: bool,
    settings: Settings,
) -> Answer:
    """The answer as it is stored; `InvalidError`."""
    decision = given.decision
    status = _STATUS_AFTER.get(decision) if isinstance(decision, str) else None
    if status is None:
        raise InvalidError(f"decision is 'approve' or 'reject', not {decision!r}", "decision")
    if status == "rejected" and (given.edited_args is not None or remember is not None):
        raise InvalidError("what is rejected is neither edited nor remembered", "decision")
    counts = None if remember is None else span(remember, "remember")
    # What is nearly False would count for any arguments.
    if not isinstance(same_args, bool):
        raise InvalidError(f"same_args is True or False, not {same_args!r}", "same_args")
    written = passed(given, settings)
    if (written.approval_id, written.decision) != (given.approval_id, decision):
        raise InvalidError("on_write changed the id or the decision of an answer", "on_write")
    said = check_text(written.feedback, "feedback", settings.limits.title)
    edited = sha256_hex = None
    if written.edited_args is not None:
        edited, sha256_hex = args_text(written.edited_args, "edited_args", settings.limits)
    return Answer(status, by, said, edited, sha256_hex, counts, same_args)
