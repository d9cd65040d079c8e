"""Deferred tool calls of pydantic-ai in the inbox of approvals: asked, answered, resumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Container, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, NamedTuple, TypeAlias

from pydantic_ai.conversation import Conversation, ConversationTypeAdapter
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.run import AgentRunResult
from pydantic_ai.tools import (
    DeferredToolRequests,
    DeferredToolResults,
    ToolApproved,
    ToolDenied,
)

from perdure.adapters.colours import both
from perdure.adapters.consuming import Used, consumed
from perdure.adapters.pydantic_ai.store import PerdureConversationStore
from perdure.errors import ApprovalPendingError, ConflictError, NotFoundError
from perdure.opening import open as open_store
from perdure.records import JSON, Approval, Opaque, SessionKey
from perdure.runners import finished
from perdure.store import Store, SyncStore
from perdure.values import Limits, args_text

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
    """The answers to a call, one as a rule, and the arguments that the model gave it."""

    call_id: str
    approvals: Sequence[Approval]
    args: JSON

    def args_of(self, answer: Approval) -> JSON:
        """What would run: of the call's own the store may have kept a veiled copy."""
        return self.args if answer.edited_args is None else answer.edited_args


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
        found = await _of_thread(opened, session)
        known = [one for one in found if one.session is None]
        for question in asked:
            # What was asked before the conversation was a session of the store stays so.
            if not any(_asks(one, question) for one in known):
                await _requested(opened, session, question)
        # Two who ask at once, one before the first save and one behind it, have asked twice.
        found = await _of_thread(opened, session)
        of_calls = [[one for one in found if _asks(one, question)] for question in asked]
        return [(await _settled(opened, some))[0] for some in of_calls]


async def _of_thread(store: Store, session: SessionKey) -> list[Approval]:
    """All that was asked in a conversation, oldest first."""
    found = store.approvals.iter(app=session.app, user=session.user, thread=session.id)
    return [one async for one in found][::-1]


async def _requested(store: Store, session: SessionKey, question: dict[str, Any]) -> Approval:
    try:
        return await store.approvals.request(session=session, **question)
    except NotFoundError:
        return await store.approvals.request(**{**question, **_by_thread(session)})


async def _settled(store: Store, found: Sequence[Approval]) -> list[Approval]:
    """Those that count of a call: one, unless somebody has answered it twice.

    What is asked a second time and waits still is taken back: the one with the session, if none
    is answered. All who come upon both choose the same.
    """
    while True:
        left = [one for one in found if one.status != "cancelled"]
        live = sorted(left or found[:1], key=lambda one: (one.session is not None, one.id))
        kept = [one for one in live if one.status != "pending"] or live[:1]
        spare = [one for one in live if one not in kept]
        if not spare:
            return kept
        for one in spare:
            with suppress(ConflictError):
                await store.approvals.cancel(one.id, feedback=f"The same as {kept[0].id}.")
        again = [await store.approvals.find(one.id) for one in live]
        found = [one for one in again if one is not None]


def ask_sync(
    store: Opened,
    paused: Paused,
    *,
    app: str = _APP,
    user: str = "",
    agent: str = "",
    ttl: timedelta | None = _HALF_AN_HOUR,
) -> list[Approval]:
    """The same as `ask`, for ``run_sync``; it may be called where a loop runs."""
    return finished(ask(store, paused, app=app, user=user, agent=agent, ttl=ttl))


def _asks(approval: Approval, question: Mapping[str, Any]) -> bool:
    """Whether the approval is of that call: its id, its kind, its tool and its arguments."""
    names = "tool_call_id", "kind", "tool_name"
    same = all(getattr(approval, name) == question[name] for name in names)
    return same and approval.args_sha256 == _digest(question["args"])


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
    names = _names(conversation)
    asked = [
        {**_question(call, requests, names), **common}
        for call in (*requests.approvals, *requests.calls)
    ]
    if asked and conversation.revision is None:
        whole = ConversationTypeAdapter.dump_json(conversation)
        asked[0]["resume"] = Opaque(_CODEC, whole)
    return SessionKey(app, user, conversation.conversation_id), asked


def _names(conversation: Conversation) -> dict[str, str]:
    """What each call is asked for as: some models give the ids of an earlier run again.

    The second call of an id has that number beside it, and so on, whoever asks.
    """
    parts = (part for message in conversation.messages for part in message.parts)
    times = Counter(part.tool_call_id for part in parts if isinstance(part, ToolCallPart))
    return {call_id: f"{call_id} {count}" for call_id, count in times.items() if count > 1}


def _question(
    call: ToolCallPart, requests: DeferredToolRequests, names: Mapping[str, str]
) -> dict[str, Any]:
    metadata: JSON = requests.metadata.get(call.tool_call_id)
    question = metadata.get("question") if isinstance(metadata, dict) else None
    return {
        "kind": "tool" if requests.kind(call.tool_call_id) == "approval" else "external",
        "tool_name": call.tool_name,
        "args": call.args_as_dict(),
        "tool_call_id": names.get(call.tool_call_id, call.tool_call_id),
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
    used: Used = "raise",
) -> DeferredToolResults:
    """The answers as pydantic-ai takes them: ``agent.run(…, deferred_tool_results=…)``.

    ``conversation`` is what waits, or its id; of an id it is what a `PerdureConversationStore` has
    of it in this store, or what was kept when it was asked. All calls of it have to be answered:
    `ApprovalPendingError` names those that are not. Only what is approved, has not expired and was
    not used before is approved here, and this uses it: of several who resume one gets the results,
    the others `ApprovalUsedError`. With ``used="deny"`` what was used before is a denial, for a run
    whose process is dead. All else is a denial, with the feedback as its message. Edited arguments
    take the place of the model's; edited into what is no JSON object, it is a denial.
    `ConflictError` if nothing waits, if a call of the conversation was asked about with another
    tool or other arguments, or not at all, or if the conversation of an id is kept elsewhere.
    """
    async with _opened(store) as opened:
        if isinstance(conversation, str):
            conversation = await _kept(opened, conversation, app, user)
        waiting = await _waiting(opened, conversation, app, user)
        calls = [(one, each.args_of(one)) for each in waiting for one in each.approvals]
        may = await consumed(opened, calls, used=used)
    return _results(waiting, may)


def resume_sync(
    store: Opened,
    conversation: Conversation | str,
    *,
    app: str = _APP,
    user: str = "",
    used: Used = "raise",
) -> DeferredToolResults:
    """The same as `resume`, for ``run_sync``; it may be called where a loop runs."""
    return finished(resume(store, conversation, app=app, user=user, used=used))


async def _kept(store: Store, conversation_id: str, app: str, user: str) -> Conversation:
    """The conversation of an id, with the calls that are to be compared with what was approved."""
    conversations = PerdureConversationStore(store, app=app, user=user)
    saved = await conversations.load(conversation_id)
    if saved is not None and saved.deferred_tool_requests is not None:
        return saved
    kept = await paused_conversation(store, conversation_id, app=app, user=user)
    if kept is None:
        raise ConflictError(
            f"no tool call of {conversation_id!r} waits for an answer in what is kept here of it: "
            "if the conversation is kept elsewhere resume with the conversation itself"
        )
    return kept


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


async def _waiting(store: Store, conversation: Conversation, app: str, user: str) -> list[_Waiting]:
    """The calls as they stand in the conversation, in their order: a yes is to all of a call."""
    requests = conversation.deferred_tool_requests or DeferredToolRequests()
    calls, names = [*requests.approvals, *requests.calls], _names(conversation)
    asked = [_question(call, requests, names) for call in calls]
    if not asked:
        raise ConflictError(f"no tool call of {conversation.conversation_id!r} waits for an answer")
    found = await _of_thread(store, SessionKey(app, user, conversation.conversation_id))
    of_calls = [[one for one in found if _asks(one, question)] for question in asked]
    missing = [one["tool_call_id"] for one, some in zip(asked, of_calls, strict=True) if not some]
    if missing:
        raise ConflictError(
            f"nobody was asked about {sorted(missing)} with these arguments: call ask first"
        )
    settled = [await _settled(store, some) for some in of_calls]
    pending = [one for some in settled for one in some if one.status == "pending"]
    if pending:
        named = ", ".join(f"{one.id} ({one.tool_name})" for one in pending)
        raise ApprovalPendingError(f"nobody has answered yet: {named}", pending[0].id)
    return [
        _Waiting(call.tool_call_id, some, one["args"])
        for call, one, some in zip(calls, asked, settled, strict=True)
    ]


def _results(waiting: Sequence[_Waiting], used: Container[str]) -> DeferredToolResults:
    results = DeferredToolResults()
    for each in waiting:
        may = all(one.id in used for one in each.approvals)
        # Of two answers to one call the no counts.
        one = min(each.approvals, key=lambda one: one.id in used)
        if one.resolved_by:
            results.answered_by[each.call_id] = one.resolved_by
        if one.kind == "tool":
            results.approvals[each.call_id] = _answer(one) if may else ToolDenied(_why(one))
        elif may:
            given = one.feedback if one.edited_args is None else one.edited_args
            results.calls[each.call_id] = given
        else:
            results.calls[each.call_id] = ToolFailed(_why(one))
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


__all__ = ["ask", "ask_sync", "paused_conversation", "resume", "resume_sync"]
