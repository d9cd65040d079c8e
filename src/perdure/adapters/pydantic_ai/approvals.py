"""Deferred tool calls of pydantic-ai in the inbox of approvals: asked, answered, resumed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from pydantic_ai.conversation import Conversation, ConversationTypeAdapter
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.run import AgentRunResult
from pydantic_ai.tools import (
    DeferredToolRequests,
    DeferredToolResults,
    ToolApproved,
    ToolDenied,
)

from perdure.adapters.colours import both
from perdure.errors import ApprovalPendingError, ConflictError, NotFoundError
from perdure.opening import open as open_store
from perdure.opening import open_sync
from perdure.records import JSON, Approval, Opaque, SessionKey
from perdure.store import Store, SyncStore
from perdure.values import Limits, args_text

if TYPE_CHECKING:
    from pydantic_ai.messages import ToolCallPart

_APP = "pydantic-ai"
_CODEC = "pydantic-ai.conversation"
_HALF_AN_HOUR = timedelta(minutes=30)
_NO_ANSWER = {
    "expired": "Nobody has answered in time.",
    "cancelled": "The question was taken back.",
    "rejected": "The tool call was denied.",
}
_USED = "The approval was used before, or has expired: the tool was not run."
_NO_ARGUMENTS = "The edited arguments are no JSON object: the tool was not run."

Paused: TypeAlias = AgentRunResult[Any] | Conversation
Opened: TypeAlias = Store | SyncStore | str


class _Waiting(NamedTuple):
    """An approval of what waits, and the arguments that its tool would run with."""

    approval: Approval
    args: JSON


# -- asking --------------------------------------------------------------------------------------


async def ask(
    store: Opened,
    paused: Paused,
    *,
    app: str = _APP,
    user: str = "",
    agent: str = "",
    ttl: timedelta | None = _HALF_AN_HOUR,
) -> list[Approval]:
    """An approval for each tool call that a run has deferred, in their order.

    ``paused`` is the run's result, or its conversation. A call that needs a yes is of the kind
    ``tool``, one that is done elsewhere ``external``: its result is the ``edited_args`` of the
    answer, or else the ``feedback``. Asked again, after a crash say, it gives the same approvals,
    whatever has become of them. A conversation that no conversation store has is kept with the
    first of them, for `paused_conversation`. ``agent`` is who asks, and may not answer. ``ttl``:
    how long there is to answer and to resume; None: for ever.
    """
    session, asked = _questions(paused, app, user, agent, ttl)
    async with _opened(store) as opened:
        found = opened.approvals.iter(app=app, user=user, thread=session.id)
        before = _without_session([one async for one in found])
        return [await _asked(opened, session, question, before) for question in asked]


async def _asked(
    store: Store, session: SessionKey, question: dict[str, Any], before: Mapping[str, Approval]
) -> Approval:
    if (known := before.get(question["tool_call_id"])) and _asks(known, question):
        return known
    try:
        return await store.approvals.request(session=session, **question)
    except NotFoundError:
        return await store.approvals.request(**{**question, **_by_thread(session)})


def ask_sync(
    store: Opened,
    paused: Paused,
    *,
    app: str = _APP,
    user: str = "",
    agent: str = "",
    ttl: timedelta | None = _HALF_AN_HOUR,
) -> list[Approval]:
    """The same as `ask`, for ``run_sync``."""
    session, asked = _questions(paused, app, user, agent, ttl)
    with _opened_sync(store) as opened:
        found = opened.approvals.iter(app=app, user=user, thread=session.id)
        before = _without_session(list(found))
        return [_asked_sync(opened, session, question, before) for question in asked]


def _asked_sync(
    store: SyncStore, session: SessionKey, question: dict[str, Any], before: Mapping[str, Approval]
) -> Approval:
    if (known := before.get(question["tool_call_id"])) and _asks(known, question):
        return known
    try:
        return store.approvals.request(session=session, **question)
    except NotFoundError:
        return store.approvals.request(**{**question, **_by_thread(session)})


def _without_session(found: Sequence[Approval]) -> dict[str, Approval]:
    """What was asked before the conversation was a session of the store, by its call."""
    return {one.tool_call_id: one for one in found if one.session is None}


def _asks(approval: Approval, question: Mapping[str, Any]) -> bool:
    """Whether the approval is of that call: its tool, its kind and its arguments."""
    asked = question["kind"], question["tool_name"], _digest(question["args"])
    return (approval.kind, approval.tool_name, approval.args_sha256) == asked


def _digest(args: JSON) -> str:
    return args_text(args, "args", Limits())[1]


def _by_thread(session: SessionKey) -> dict[str, Any]:
    """Where it belongs, if the conversation is no session of the store."""
    return {"app": session.app, "user": session.user, "thread_id": session.id}


def _questions(
    paused: Paused, app: str, user: str, agent: str, ttl: timedelta | None
) -> tuple[SessionKey, list[dict[str, Any]]]:
    conversation = paused if isinstance(paused, Conversation) else paused.conversation
    requests = conversation.deferred_tool_requests or DeferredToolRequests()
    run_id = next((one.run_id for one in reversed(conversation.messages) if one.run_id), "")
    common = {"run_id": run_id, "agent": agent, "ttl": ttl}
    asked = [
        {**_question(call, requests), **common} for call in (*requests.approvals, *requests.calls)
    ]
    if asked and conversation.revision is None:
        whole = ConversationTypeAdapter.dump_json(conversation)
        asked[0]["resume"] = Opaque(_CODEC, whole)
    return SessionKey(app, user, conversation.conversation_id), asked


def _question(call: ToolCallPart, requests: DeferredToolRequests) -> dict[str, Any]:
    metadata: JSON = requests.metadata.get(call.tool_call_id)
    question = metadata.get("question") if isinstance(metadata, dict) else None
    return {
        "kind": "tool" if requests.kind(call.tool_call_id) == "approval" else "external",
        "tool_name": call.tool_name,
        "args": call.args_as_dict(),
        "tool_call_id": call.tool_call_id,
        "payload": metadata,
        "question": question if isinstance(question, str) else "",
    }


# -- going on ------------------------------------------------------------------------------------


async def resume(
    store: Opened,
    conversation: Conversation | str,
    *,
    app: str = _APP,
    user: str = "",
) -> DeferredToolResults:
    """The answers as pydantic-ai takes them: ``agent.run(…, deferred_tool_results=…)``.

    ``conversation`` is what waits, or its id; of an id it is the run that asked last. All calls of
    it have to be answered: `ApprovalPendingError` names those that are not. Only what is approved,
    has not expired and was not used before is approved here, and this uses it: another call does
    not approve it again. All else is a denial, with the feedback as its message. Edited arguments
    take the place of the model's; edited into what is no JSON object, it is a denial.
    `ConflictError` if nothing waits, or if a call of the conversation was asked about with another
    tool or other arguments, or not at all.
    """
    async with _opened(store) as opened:
        found = opened.approvals.iter(app=app, user=user, thread=_id_of(conversation))
        waiting = _waiting([one async for one in found], conversation)
        used = [
            one.status == "approved" and await opened.approvals.consume(one.id, args)
            for one, args in waiting
        ]
    return _results(waiting, used)


def resume_sync(
    store: Opened,
    conversation: Conversation | str,
    *,
    app: str = _APP,
    user: str = "",
) -> DeferredToolResults:
    """The same as `resume`, for ``run_sync``."""
    with _opened_sync(store) as opened:
        found = opened.approvals.iter(app=app, user=user, thread=_id_of(conversation))
        waiting = _waiting(list(found), conversation)
        used = [
            one.status == "approved" and opened.approvals.consume(one.id, args)
            for one, args in waiting
        ]
    return _results(waiting, used)


async def paused_conversation(
    store: Opened, conversation_id: str, *, app: str = _APP, user: str = ""
) -> Conversation | None:
    """The conversation that was kept with what it asked for last; None if none was.

    One that a conversation store has is not kept here: load it there.
    """
    async with _opened(store) as opened:
        async for one in opened.approvals.iter(app=app, user=user, thread=conversation_id):
            if one.resume is not None and one.resume.codec == _CODEC:
                return ConversationTypeAdapter.validate_json(one.resume.data)
    return None


def _id_of(conversation: Conversation | str) -> str:
    return conversation if isinstance(conversation, str) else conversation.conversation_id


def _waiting(found: Sequence[Approval], conversation: Conversation | str) -> list[_Waiting]:
    """The approvals of what waits, in the order in which they were asked for."""
    of_calls = [one for one in reversed(found) if one.tool_call_id]
    if isinstance(conversation, Conversation):
        waiting = _of_conversation(of_calls, conversation)
    else:
        last = [one for one in of_calls if one.run_id == of_calls[-1].run_id]
        waiting = [_Waiting(one, one.approved_args) for one in last]
    if not waiting:
        raise ConflictError(f"no tool call of {_id_of(conversation)!r} waits for an answer")
    pending = [one for one, _ in waiting if one.status == "pending"]
    if pending:
        named = ", ".join(f"{one.id} ({one.tool_name})" for one in pending)
        raise ApprovalPendingError(f"nobody has answered yet: {named}", pending[0].id)
    return waiting


def _of_conversation(found: Sequence[Approval], conversation: Conversation) -> list[_Waiting]:
    """The approvals of the calls as they stand in the conversation: a yes is to all of a call."""
    requests = conversation.deferred_tool_requests or DeferredToolRequests()
    calls = (*requests.approvals, *requests.calls)
    asked = {call.tool_call_id: _question(call, requests) for call in calls}
    waiting = [
        _Waiting(one, question["args"] if one.edited_args is None else one.edited_args)
        for one in found
        if (question := asked.get(one.tool_call_id)) and _asks(one, question)
    ]
    missing = asked.keys() - {one.tool_call_id for one, _ in waiting}
    if missing:
        raise ConflictError(
            f"nobody was asked about {sorted(missing)} with these arguments: call ask first"
        )
    return waiting


def _results(waiting: Sequence[_Waiting], used: Sequence[bool]) -> DeferredToolResults:
    results = DeferredToolResults()
    for (one, _), may in zip(waiting, used, strict=True):
        if one.resolved_by:
            results.answered_by[one.tool_call_id] = one.resolved_by
        if one.kind == "tool":
            results.approvals[one.tool_call_id] = _answer(one) if may else ToolDenied(_why(one))
        elif may:
            given = one.feedback if one.edited_args is None else one.edited_args
            results.calls[one.tool_call_id] = given
        else:
            results.calls[one.tool_call_id] = ToolFailed(_why(one))
    return results


def _answer(approval: Approval) -> ToolApproved | ToolDenied:
    edited = approval.edited_args
    if edited is None or isinstance(edited, dict):
        return ToolApproved(override_args=edited)
    # Without arguments of ours pydantic-ai would run the tool with those of the model.
    return ToolDenied(_NO_ARGUMENTS)


def _why(approval: Approval) -> str:
    if approval.status == "rejected" and approval.feedback:
        return approval.feedback
    return _NO_ANSWER.get(approval.status, _USED)


# -- the store -----------------------------------------------------------------------------------


@asynccontextmanager
async def _opened(store: Opened) -> AsyncIterator[Store]:
    if isinstance(store, str):
        async with open_store(store) as opened:
            yield opened
    else:
        yield both(store)[1]


@contextmanager
def _opened_sync(store: Opened) -> Iterator[SyncStore]:
    if isinstance(store, str):
        with open_sync(store) as opened:
            yield opened
    else:
        yield both(store)[0]


__all__ = ["ask", "ask_sync", "paused_conversation", "resume", "resume_sync"]
