"""The rows of approvals: what they say, and each step of their life as one conditional update."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from perdure import parts
from perdure.errors import ConflictError, NotFoundError, PerdureError
from perdure.features.fulltext import Doc, document, reindex_alone
from perdure.features.indexed_texts import APPROVALS as INDEXED
from perdure.features.indexed_texts import approval_text, block_of
from perdure.features.outbox import Notes
from perdure.operation import Plan, Statement
from perdure.records import Approval, ApprovalStep, Opaque, RememberedApproval, SessionKey
from perdure.sql import load
from perdure.values import (
    Limits,
    check_text,
    decode,
    digest,
    from_micros,
    maybe,
)

APPROVALS = load("perdure.features", "approvals.sql")

#: Who moves an approval when no person does.
BY_TIME = "system:expiry"
BY_RECOVERY = "system:recovery"
BY_MEMORY = "system:remembered"

_ID = re.compile(r"(apr|rem)_([0-9a-f]{32})(.+)", re.DOTALL)


class Place(NamedTuple):
    """Where an approval is, by its id alone, and the time of the call."""

    part: str
    id: str
    tenant: str
    now: int


class Row(NamedTuple):
    """A row, in the order of `columns` in approvals.sql."""

    part: str
    uid: str
    id: str
    tenant: str
    app: str
    user_id: str
    session_id: str
    kind: str
    tool_name: str
    args: str
    args_sha256: str
    status: str
    thread_id: str
    run_id: str
    tool_call_id: str
    request: str
    payload: str
    codec: str | None
    data: bytes | None
    question: str
    sender_context: str
    created_by: str
    agent: str
    created_at: int
    expires_at: int | None
    resolved_at: int | None
    resolved_by: str
    feedback: str
    edited_args: str | None
    rule: str
    consumed_at: int | None
    steps: int


def place_of(approval_id: str, tenant: str, limits: Limits, now: int, kind: str = "apr") -> Place:
    """Where an id says that it is; `NotFoundError` for what no store has made."""
    text = check_text(approval_id, "approval id", limits.text, blank=False)
    match = _ID.fullmatch(text)
    if match is None or match[1] != kind:
        raise not_found(text)
    return Place(match[2], text, tenant, now)


def not_found(approval_id: str) -> NotFoundError:
    """The error for an approval that is unknown, or whose session is not there."""
    return NotFoundError(f"no approval {approval_id!r} in this tenant: see approvals.list")


def approval_of(row: Row, now: int) -> Approval:
    """The record of a row, as it is now: what is past its time has expired."""
    what = f"approval {row.id}"
    status: Any = row.status
    if is_overdue(row, now):
        status = "expired"
    kind: Any = row.kind
    resume = None if row.codec is None or row.data is None else Opaque(row.codec, row.data)
    return Approval(
        id=row.id,
        tenant=row.tenant,
        app=row.app,
        user=row.user_id,
        session=SessionKey(row.app, row.user_id, row.session_id) if row.uid else None,
        kind=kind,
        tool_name=row.tool_name,
        args=decode(row.args, what),
        args_sha256=row.args_sha256,
        status=status,
        thread_id=row.thread_id,
        run_id=row.run_id,
        tool_call_id=row.tool_call_id,
        payload=decode(row.payload, what),
        resume=resume,
        question=row.question,
        sender_context=row.sender_context,
        created_by=row.created_by,
        agent=row.agent,
        created_at=from_micros(row.created_at),
        expires_at=maybe(from_micros, row.expires_at),
        resolved_at=maybe(from_micros, row.resolved_at),
        resolved_by=row.resolved_by,
        feedback=row.feedback,
        edited_args=maybe(lambda text: decode(text, what), row.edited_args),
        rule=row.rule,
        consumed_at=maybe(from_micros, row.consumed_at),
    )


def is_overdue(row: Row, now: int) -> bool:
    """Whether its time is over, and no sweep has noted it yet."""
    open_ = row.status in {"pending", "approved"}
    return open_ and row.expires_at is not None and row.expires_at <= now


def find(at: Place) -> Plan[Row | None]:
    """The row, or None."""
    rows = yield APPROVALS.find(**at._asdict())
    return Row._make(rows[0]) if rows else None


def get(at: Place) -> Plan[Row]:
    """The row; `NotFoundError`."""
    row = yield from find(at)
    if row is None:
        raise not_found(at.id)
    return row


def note(row: Row, was: str, by: str, now: int, rule: str = "") -> Plan[None]:
    """The audit row of the step that has just been made."""
    yield APPROVALS.note(
        part=row.part, uid=row.uid, id=row.id, number=row.steps, now=now, author=by,
        from_status=was, to_status=row.status, rule=rule,
    )  # fmt: skip


def tell(row: Row, kind: str, telling: Notes) -> Plan[None]:
    """The fact for webhooks: what it is about, and nothing of what was said."""
    yield from telling.tell(
        row.part, kind, app=row.app, user=row.user_id, session=row.session_id, approval=row.id,
        kind_of=row.kind, tool=row.tool_name, thread=row.thread_id, status=row.status,
    )  # fmt: skip


def document_of(values: Mapping[str, Any]) -> Doc:
    """What a search finds it by: of the columns of a row, or of a new one."""
    said, edited = values.get("feedback", ""), values.get("edited_args")
    text = approval_text(
        values["question"], values["tool_name"], said, values["args"], edited, values["payload"]
    )
    return document(values["id"], text)


class Answer(NamedTuple):
    """What is said to a pending approval, as it is stored."""

    status: str
    by: str
    feedback: str
    edited_args: str | None
    edited_sha256: str | None
    remember: int | None
    same_args: bool


def resolve(at: Place, answer: Answer, telling: Notes) -> Plan[Row]:
    """Answer what is pending: one of all who try; `ConflictError` for the others."""
    rows = yield APPROVALS.resolve(
        **at._asdict(),
        status=answer.status,
        author=answer.by,
        feedback=answer.feedback,
        edited_args=answer.edited_args,
        edited_digest=answer.edited_sha256,
        closed_at=None if answer.status == "approved" else at.now,
    )
    if not rows:
        raise (yield from _why_not(at))
    row = Row._make(rows[0])
    rule = "" if answer.remember is None else f"remembered for {answer.remember / 1e6:g} s"
    yield from note(row, "pending", answer.by, at.now, rule)
    if answer.remember is not None:
        yield from remember(row, answer, at.now)
    if answer.feedback or answer.edited_args is not None:
        where = parts.Place(row.part, parts.app_part(row.tenant, row.app))
        doc = document_of(row._asdict())
        yield from reindex_alone(where, INDEXED, doc, block=block_of(row.id), uid=row.uid)
    yield from tell(row, "approval.resolved", telling)
    return row


def pending(at: Place) -> Plan[Row]:
    """What is pending; `ConflictError` as `resolve` has it, `NotFoundError`."""
    row = yield from get(at)
    if row.status != "pending" or is_overdue(row, at.now):
        raise (yield from _why_not(at))
    return row


def _why_not(at: Place) -> Plan[PerdureError]:
    row = yield from get(at)
    if is_overdue(row, at.now) or row.status == "expired":
        until = maybe(from_micros, row.expires_at)
        when = f"at {until.isoformat()}" if until else "after a restart"
        return ConflictError(f"approval {row.id!r} has expired {when}: ask again")
    moment = maybe(from_micros, row.resolved_at)
    when = moment.isoformat() if moment else "just now"
    done = "approved" if row.status == "consumed" else row.status
    return ConflictError(f"approval {row.id!r} was {done} by {row.resolved_by!r} at {when}")


def consume(at: Place, sha256_hex: str, by: str) -> Plan[bool]:
    """Take the right to run these arguments, once; whether there was one."""
    rows = yield APPROVALS.consume(**at._asdict(), args_digest=sha256_hex)
    if not rows:
        return False
    yield from note(Row._make(rows[0]), "approved", by, at.now)
    return True


def expire(at: Place, telling: Notes) -> Plan[Row | None]:
    """Note that its time is over; None if that is not so, or was noted already."""
    rows = yield APPROVALS.expire_pending(**at._asdict(), author=BY_TIME)
    was = "pending"
    if not rows:
        rows = yield APPROVALS.expire_approved(**at._asdict())
        was = "approved"
    if not rows:
        return None
    row = Row._make(rows[0])
    yield from note(row, was, BY_TIME, at.now)
    yield from tell(row, "approval.resolved", telling)
    return row


def held(at: Place) -> Statement:
    """What takes the row while it is pending."""
    return APPROVALS.hold(part=at.part, id=at.id, tenant=at.tenant)


def lease_name(approval_id: str) -> Callable[[str], str]:
    """The name of the lease of each who waits: `waited_for` in approvals.sql knows it."""
    return lambda owner: f"{approval_id} {digest('wait', owner)}"


def give_up(at: Place, before: int, telling: Notes) -> Plan[Row | None]:
    """Expire what was asked before that time, if no living process waits for it."""
    # First the row alone: who begins to wait at this moment is seen after that, or comes too late.
    yield held(at)
    rows = yield APPROVALS.give_up(**at._asdict(), author=BY_RECOVERY, before=before)
    if not rows:
        return None
    row = Row._make(rows[0])
    yield from note(row, "pending", BY_RECOVERY, at.now)
    yield from tell(row, "approval.resolved", telling)
    return row


# -- what is remembered ----------------------------------------------------------------------


def _key(uid: str, thread_id: str, tool_name: str, sha256_hex: str | None) -> str:
    """What a remembered approval is found by; case of tools counts here."""
    return digest("remembered", uid, thread_id, tool_name, sha256_hex or "")


def remember(row: Row, answer: Answer, now: int) -> Plan[None]:
    """Have the approval count for later calls of the tool in its thread."""
    exact = (answer.edited_sha256 or row.args_sha256) if answer.same_args else None
    yield APPROVALS.remember(
        part=row.part,
        uid=row.uid,
        digest=_key(row.uid, row.thread_id, row.tool_name, exact),
        tenant=row.tenant,
        app=row.app,
        user_id=row.user_id,
        session_id=row.session_id,
        thread_id=row.thread_id,
        tool_name=row.tool_name,
        args_digest=exact,
        approval_id=row.id,
        created_by=answer.by,
        now=now,
        expires_at=now + (answer.remember or 0),
    )


def covering(values: Mapping[str, Any], since: int) -> Plan[str | None]:
    """The id of what is remembered and covers a new approval, or None."""
    call = values["uid"], values["thread_id"], values["tool_name"]
    rows = yield APPROVALS.covering(
        part=values["part"],
        uid=values["uid"],
        exact=_key(*call, values["args_digest"]),
        any=_key(*call, None),
        now=values["now"],
        since=since,
        agent=values["agent"],
    )
    return f"rem_{values['part']}{rows[0][0]}" if rows else None


def remembered_of(columns: Sequence[Any]) -> RememberedApproval:
    """The record of a row of `remembered` in approvals.sql."""
    (
        part, uid, key, app, user, session_id, thread_id, tool_name, exact, approval_id, by, at,
        until,
    ) = columns  # fmt: skip
    return RememberedApproval(
        id=f"rem_{part}{key}",
        app=app,
        user=user,
        session=SessionKey(app, user, session_id) if uid else None,
        thread_id=thread_id,
        tool_name=tool_name,
        args_sha256=exact,
        approval_id=approval_id,
        created_by=by,
        created_at=from_micros(at),
        expires_at=from_micros(until),
    )


def step_of(approval_id: str, columns: Sequence[Any]) -> ApprovalStep:
    """The record of a row of the audit."""
    number, at, by, was, now, rule = columns
    return ApprovalStep(approval_id, number, from_micros(at), by, was, now, rule)
