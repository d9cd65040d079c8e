"""Tool confirmations of ADK in the inbox of approvals: asked for, answered anywhere, resumed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from google.adk.flows.llm_flows.functions import REQUEST_CONFIRMATION_FUNCTION_CALL_NAME
from google.adk.sessions.session import Session
from google.genai import types

from perdure.adapters.adk.encoding import FORMAT, events_of, plain_state
from perdure.adapters.consuming import Used, consumed
from perdure.adapters.service import async_store
from perdure.errors import ApprovalPendingError, ConflictError, NotFoundError
from perdure.records import JSON, Approval, Opaque, SessionKey
from perdure.store import Store, SyncStore
from perdure.values import decode, encode_bytes

if TYPE_CHECKING:
    from google.adk.events.event import Event

_CODEC = "adk.confirmation"
_HALF_AN_HOUR = timedelta(minutes=30)
_NAME = REQUEST_CONFIRMATION_FUNCTION_CALL_NAME


async def ask(
    store: Store | SyncStore | str,
    paused: Session | Iterable[Event],
    *,
    app: str,
    user: str,
    session: str,
    ttl: timedelta | None = _HALF_AN_HOUR,
) -> list[Approval]:
    """An approval for each tool call that waits for a confirmation, in their order.

    ``paused`` are the events of a run, or the session that has them. Asked again, after a crash
    say, it gives the same approvals, whatever has become of them. ``ttl``: how long there is to
    answer and to resume; None: for ever. The agent that wants to call the tool may not answer.
    """
    events = _events_of(paused)
    key = SessionKey(app, user, session)
    async with _opened(store) as opened:
        return [await _asked(opened, key, event, call, ttl) for event, call in _waiting(events)]


def _waiting(events: Iterable[Event]) -> Iterator[tuple[Event, types.FunctionCall]]:
    """The confirmations that nobody has answered yet, of what ADK still goes by."""
    events = _live(events)
    answered = {one.id for event in events for one in event.get_function_responses()}
    for event in events:
        if not event.partial:
            for call in event.get_function_calls():
                if call.name == _NAME and call.id and call.id not in answered:
                    yield event, call


def _live(events: Iterable[Event]) -> list[Event]:
    """Those that no rewind has taken back, as ADK reads a session: the last rewind first."""
    left = list(events)
    live: list[Event] = []
    while left:
        event = left.pop()
        back_to = event.actions.rewind_before_invocation_id
        if not back_to:
            live.append(event)
            continue
        ids = [one.invocation_id for one in left]
        if back_to in ids:
            del left[ids.index(back_to) :]
    return live[::-1]


async def _asked(
    store: Store,
    key: SessionKey,
    event: Event,
    call: types.FunctionCall,
    ttl: timedelta | None,
) -> Approval:
    told = plain_state(call.args or {})
    tool = told.get("originalFunctionCall") or {}
    wanted = told.get("toolConfirmation") or {}
    options: dict[str, Any] = {
        "run_id": event.invocation_id,
        "tool_call_id": call.id,
        "question": wanted.get("hint") or "",
        "agent": event.author,
        "payload": wanted.get("payload"),
        "resume": Opaque(_CODEC, encode_bytes({"id": call.id, "wanted": wanted})),
        "ttl": ttl,
    }
    request = store.approvals.request
    name, args = tool.get("name") or "", tool.get("args") or {}
    try:
        return await request(name, args, session=key, **options)
    except NotFoundError:
        # The session is kept by another service.
        return await request(name, args, app=key.app, user=key.user, thread_id=key.id, **options)


async def resume(
    store: Store | SyncStore | str,
    paused: Session | Iterable[Event] | None = None,
    *,
    app: str,
    user: str,
    session: str,
    used: Used = "raise",
) -> types.Content:
    """The answers as the message with which ADK goes on: ``run_async(new_message=…)``.

    ADK takes the answers of one invocation at a time. They are those of the oldest one whose
    confirmations are all answered; call it again for the next. `ApprovalPendingError` names what is
    pending if there is none. Only what is approved, has not expired and was not used before is
    confirmed, and this uses it: of several who resume one gets the message, the others
    `ApprovalUsedError`. With ``used="deny"`` what was used before is a no, for a run whose process
    is dead. All else is a no, with the feedback as its hint. Edited arguments are the payload of a
    confirmation that asked for one; ADK calls a tool with its own arguments only, so without a
    payload edited arguments are a no. `ConflictError` if nothing waits.

    ``paused``, the session or its events, says what waits. It is needed where the session is kept
    by another service: the store does not see there which answers ADK has got.
    """
    key = SessionKey(app, user, session)
    async with _opened(store) as opened:
        approvals = [one async for one in _approvals(opened, key)]
        events = await _stored(opened, key) if paused is None else _events_of(paused)
        if events is None:
            # Kept by another service: what was used once counts as handed over.
            args = {one.tool_call_id: one.args for one in approvals if one.status != "consumed"}
        else:
            # ADK's own: approvals may have kept a veiled copy (`on_write`).
            args = {call.id: _own_args(call) for _, call in _waiting(events)}
        # Oldest first, as they were asked for.
        waiting = [one for one in reversed(approvals) if one.tool_call_id in args]
        answered = _of_one_run(waiting, key)
        answers = [_answer(one, args[one.tool_call_id]) for one in answered]
        usable = [(one.approval, one.args) for one in answers if one.usable]
        may = await consumed(opened, usable, used=used)
    return types.Content(role="user", parts=[_response(one, may) for one in answers])


def _events_of(paused: Session | Iterable[Event]) -> list[Event]:
    return paused.events if isinstance(paused, Session) else list(paused)


def _own_args(call: types.FunctionCall) -> JSON:
    told = plain_state(call.args or {})
    return (told.get("originalFunctionCall") or {}).get("args") or {}


def _of_one_run(waiting: Sequence[Approval], key: SessionKey) -> list[Approval]:
    """Those of the first run that is answered whole."""
    if not waiting:
        raise ConflictError(f"no tool call of session {key.id!r} waits for a confirmation")
    pending = [one for one in waiting if one.status == "pending"]
    open_ = {one.run_id for one in pending}
    first = next((one.run_id for one in waiting if one.run_id not in open_), None)
    if first is None:
        named = ", ".join(f"{one.id} ({one.tool_name})" for one in pending)
        raise ApprovalPendingError(f"nobody has answered yet: {named}", pending[0].id)
    return [one for one in waiting if one.run_id == first]


async def _stored(store: Store, key: SessionKey) -> list[Event] | None:
    """The events of the session; None if none of them is ADK's."""
    try:
        found = [one async for one in store.events.iter(key)]
    except NotFoundError:
        return None
    return events_of(found, None) if any(one.format == FORMAT for one in found) else None


async def _approvals(store: Store, key: SessionKey) -> AsyncIterator[Approval]:
    """Those of the session; if it is kept by another service they name it as their thread alone."""
    async for one in store.approvals.iter(app=key.app, user=key.user, thread=key.id):
        if one.session in {None, key} and one.resume is not None and one.resume.codec == _CODEC:
            yield one


class _Answer(NamedTuple):
    """An approval, the arguments that would run, and whether ADK could run them."""

    approval: Approval
    wanted: Mapping[str, Any]
    args: JSON
    usable: bool


def _answer(approval: Approval, own: JSON) -> _Answer:
    told = decode(approval.resume.data if approval.resume else b"{}", f"approval {approval.id!r}")
    wanted = told.get("wanted") or {}
    edited = approval.edited_args is not None
    usable = not edited or wanted.get("payload") is not None
    return _Answer(approval, wanted, approval.edited_args if edited else own, usable)


def _response(answer: _Answer, may: Container[str]) -> types.Part:
    approval = answer.approval
    response: dict[str, Any] = {"confirmed": approval.id in may}
    if response["confirmed"]:
        edited = approval.edited_args
        payload = answer.wanted.get("payload") if edited is None else edited
        if payload is not None:
            response["payload"] = payload
    if approval.feedback:
        response["hint"] = approval.feedback
    call = types.FunctionResponse(id=approval.tool_call_id, name=_NAME, response=response)
    return types.Part(function_response=call)


@asynccontextmanager
async def _opened(store: Store | SyncStore | str) -> AsyncIterator[Store]:
    opened = async_store(store)
    try:
        yield opened
    finally:
        if isinstance(store, str):
            await opened.close()


__all__ = ["ask", "resume"]
