"""Asking for an approval: what is checked, when it is the same as one before, what covers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from perdure.errors import ConflictError, InvalidError
from perdure.features import approval_rows as rows
from perdure.features.approval_answers import author
from perdure.features.approval_rows import APPROVALS, BY_MEMORY, Row, approval_of
from perdure.features.describing import span
from perdure.features.fulltext import index
from perdure.features.hooks import passed
from perdure.features.indexed_texts import APPROVALS as INDEXED
from perdure.features.indexed_texts import block_of
from perdure.features.lookup import Target, hold, target
from perdure.features.outbox import Notes, notes
from perdure.operation import Bumps, Noted, Plan, Settings, Work
from perdure.parts import Place as Owner
from perdure.parts import place
from perdure.records import JSON, Approval, NewApproval, Opaque, SessionKey
from perdure.values import args_text, canonical, check_text, decode, digest, encode, payload

_KINDS = ("tool", "interrupt", "external")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """All that `request` takes beside the tool and its arguments."""

    kind: str = "tool"
    app: str = ""
    user: str = ""
    session: SessionKey | None = None
    thread_id: str = ""
    run_id: str = ""
    tool_call_id: str = ""
    question: str = ""
    sender_context: str = ""
    created_by: str | None = None
    agent: str = ""
    payload: JSON = None
    resume: Opaque | None = None
    ttl: timedelta | None = None
    remembered: timedelta | None = None


class Asked:
    """What is asked for, as the caller gives it."""

    __slots__ = ("args", "options", "tool_name")

    def __init__(self, tool_name: str, args: JSON, **options: Any) -> None:
        self.tool_name = tool_name
        self.args: JSON = {} if args is None else args
        self.options = _Options(**options)


def request(asked: Asked, settings: Settings) -> Work[Approval]:
    """The work that stores it, or finds the one of the same call."""
    now = settings.clock()
    at = _session(asked.options, settings, now)
    values = _values(asked, settings, at, now)
    values["id"] = f"apr_{values['part']}{settings.ids().replace('-', '')}"
    doc = rows.document_of(values)
    since = _since(asked.options.remembered, now)
    telling = notes(settings)
    call = (values["thread_id"], values.pop("call"))

    def work(bumps: Bumps) -> Plan[Approval]:
        filled = dict(values)
        if at is not None:
            # Held: what hangs on it must not come while it goes.
            filled["uid"] = (yield from hold(at, None, bumps)).uid
        filled["call_key"] = digest("call", filled["uid"], *call) if call[1] else None
        stored = yield from _of_call(filled)
        if stored is not None:
            return approval_of(stored, now)
        added = yield from _add(filled, since, telling)
        where = Owner(added.part, filled["app_part"])
        yield from index(where, INDEXED, [doc], block=block_of(added.id), uid=added.uid)
        return approval_of(added, now)

    return Noted(work, values["id"])


def _of_call(values: Mapping[str, Any]) -> Plan[Row | None]:
    """The one of the same call; `ConflictError` if that asked for something else."""
    if values["call_key"] is None:
        return None
    found = yield APPROVALS.of_call(part=values["part"], call_key=values["call_key"])
    if not found:
        return None
    row = Row._make(found[0])
    if row.request != values["request"]:
        raise ConflictError(
            f"tool call {values['tool_call_id']!r} has asked for {row.tool_name!r} with other "
            f"arguments ({row.id}): another call needs another tool_call_id"
        )
    return row


def _add(values: dict[str, Any], since: int | None, telling: Notes) -> Plan[Row]:
    now = values["now"]
    # Without a thread it would count for everybody who names none. And of a pause that is no call
    # the arguments do not say what it is about.
    asks = since is None or not values["thread_id"] or values["kind"] != "tool"
    rule = None if asks else (yield from rows.covering(values, since or 0))
    values |= {
        "status": "pending" if rule is None else "approved",
        "resolved_at": None if rule is None else now,
        "resolved_by": "" if rule is None else BY_MEMORY,
        "rule": rule or "",
        "steps": 1 if rule is None else 2,
    }
    yield APPROVALS.add(**values)
    [found] = yield APPROVALS.find(
        part=values["part"], id=values["id"], tenant=values["tenant"], now=now
    )
    row = Row._make(found)
    asker = row.agent or row.created_by
    yield from rows.note(row._replace(steps=1, status="pending"), "", asker, now)
    if rule is None:
        yield from rows.tell(row, "approval.requested", telling)
    else:
        yield from rows.note(row, "pending", BY_MEMORY, now, rule)
        yield from rows.tell(row, "approval.resolved", telling)
    return row


def _session(options: _Options, settings: Settings, now: int) -> Target | None:
    if options.session is None:
        return None
    at = target(settings.tenant, options.session, settings.limits.text, now)
    for name, of_key in (("app", at.key.app), ("user", at.key.user)):
        if getattr(options, name) not in {"", of_key}:
            given = getattr(options, name)
            raise InvalidError(f"{name} is {given!r}, and that of the session {of_key!r}", name)
    return at


def _values(asked: Asked, settings: Settings, at: Target | None, now: int) -> dict[str, Any]:
    """The columns, as far as they are known before the session is."""
    options, limits = asked.options, settings.limits
    app, user = (options.app, options.user) if at is None else (at.key.app, at.key.user)
    where = place(settings.tenant, app, user, limits.text)
    texts = _texts(asked, settings, user)
    new = passed(
        NewApproval(
            asked.tool_name, asked.args, payload=options.payload, question=options.question,
            sender_context=options.sender_context,
        ),
        settings,
    )  # fmt: skip
    if new.tool_name != asked.tool_name:
        raise InvalidError("on_write changed the name of a tool", "on_write")
    # Of what was given, and not of what on_write lets be kept: that is what will be run.
    _, sha256_hex = args_text(asked.args, "args", limits)
    wanted = encode(options.payload, "payload", limits.event)
    _, codec, data = _resume(options.resume, limits.event)
    session_id = "" if at is None else at.key.id
    return {
        **texts, "part": where.part, "app_part": where.app_part, "uid": "",
        "tenant": settings.tenant, "app": app, "user_id": user, "session_id": session_id,
        "thread_id": texts["thread_id"] or session_id,
        "args": encode(new.args, "args", limits.event), "args_digest": sha256_hex,
        "payload": encode(new.payload, "payload", limits.event), "codec": codec, "data": data,
        "question": check_text(new.question, "question", limits.title),
        "sender_context": check_text(new.sender_context, "sender_context", limits.title),
        "request": digest(
            "approval", texts["kind"], texts["tool_name"], sha256_hex,
            canonical(decode(wanted, "payload")),
        ),
        "call": texts["tool_call_id"], "now": now, "expires_at": _until(options.ttl, now),
    }  # fmt: skip


def _texts(asked: Asked, settings: Settings, user: str) -> dict[str, str]:
    options, most = asked.options, settings.limits.text
    if options.kind not in _KINDS:
        raise InvalidError(f"kind is one of {list(_KINDS)}, not {options.kind!r}", "kind")
    names = ("thread_id", "run_id", "tool_call_id")
    found = {name: check_text(getattr(options, name), name, most) for name in names}
    created_by = user if options.created_by is None else options.created_by
    check_text(asked.tool_name, "tool_name", most, blank=options.kind != "tool")
    return {
        **found,
        "kind": options.kind,
        "tool_name": asked.tool_name,
        "created_by": author(check_text(created_by, "created_by", most), most),
        "agent": author(check_text(options.agent, "agent", most), most),
    }


def _resume(value: object, most: int) -> tuple[str | None, str | None, bytes | None]:
    if value is None:
        return None, None, None
    if not isinstance(value, Opaque):
        raise InvalidError(f"resume is an Opaque, not {value!r}", "resume")
    return payload(value, "resume", most)


def _until(ttl: timedelta | None, now: int) -> int | None:
    return None if ttl is None else now + span(ttl, "ttl")


def _since(remembered: timedelta | None, now: int) -> int | None:
    return None if remembered is None else now - span(remembered, "remembered")
