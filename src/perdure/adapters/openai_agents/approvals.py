"""A run that waits for a person: kept with what is asked, and gone on with when it is answered."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from agents import RunState

from perdure.adapters.colours import both
from perdure.adapters.consuming import Used, consumed
from perdure.adapters.openai_agents.opened import Opened, url_of
from perdure.errors import ApprovalPendingError, ConflictError, InvalidError
from perdure.opening import open as open_store
from perdure.records import JSON, Approval, Opaque, SessionKey
from perdure.runners import finished
from perdure.store import Store, SyncStore

T = TypeVar("T")

#: What is kept of a paused run: its `RunState`, as `to_json` gives it.
CODEC = "openai-agents/run-state"
_HALF_AN_HOUR = timedelta(minutes=30)
_CALL = "function_call"
_NO = {
    "expired": "Nobody has approved this in time.",
    "cancelled": "The request for approval was taken back.",
    "consumed": "The approval of this call has been used already.",
    "approved": "The approval is not for this call any more.",
}

Where = str | Path | Store | SyncStore | Opened
"""A store, the URL or path of one, or a session or sessions of one."""


async def ask(
    where: Where,
    paused: Any,
    *,
    app: str = "",
    user: str = "",
    session: SessionKey | None = None,
    thread_id: str = "",
    run_id: str = "",
    question: str = "",
    sender_context: str = "",
    created_by: str | None = None,
    ttl: timedelta | None = _HALF_AN_HOUR,
    context_serializer: Callable[[Any], Mapping[str, Any]] | None = None,
    strict_context: bool = False,
) -> list[Approval]:
    """An approval in ``store.approvals`` for each call that a run waits with, in one transaction.

    ``paused`` is the run's result or its `RunState`, which is kept with them, so that `resume`
    can go on in another process. ``where`` may be the run's `PerdureSession`: then app, user
    and session are its. Asking again for the same run gives the same approvals. The approvals
    of a run have one ``run_id``, made of its calls unless given. The two options for the
    context are those of ``RunState.to_json``; the rest are those of ``store.approvals.request``.
    No approval at all if the run does not wait.
    """
    state = paused if isinstance(paused, RunState) else paused.to_state()
    told = state.to_json(context_serializer=context_serializer, strict_context=strict_context)
    waiting = [_asked(item) for item in state.get_interruptions()]
    resume = Opaque(CODEC, json.dumps(told).encode())
    key = session or getattr(where, "key", None)
    own: dict[str, Any] = {"app": app, "user": user} if key is None else {"session": key}
    run = run_id or _run_of(waiting, told)
    given = {
        **own, "thread_id": thread_id, "run_id": run, "resume": resume, "question": question,
        "sender_context": sender_context, "created_by": created_by, "ttl": ttl,
    }  # fmt: skip
    if not waiting:
        return []

    async def asking(store: Store) -> list[Approval]:
        with suppress(ConflictError):
            made = await _requested(store, waiting, given, set())
            if all(one.run_id == run for one in made):
                return made
        # Some models number their calls anew in each run: those ids are another one's.
        whose = {"app": key.app, "user": key.user} if key else {"app": app, "user": user}
        others = store.approvals.iter(**whose, session=key, thread=thread_id or None)
        taken = {one.tool_call_id async for one in others if one.run_id != run}
        return await _requested(store, waiting, given, taken)

    return await _with(where, asking)


async def _requested(
    store: Store, waiting: Sequence[Asked], given: Mapping[str, Any], taken: Container[str]
) -> list[Approval]:
    """The approval of each call; the ids that are taken get that of the run beside them."""
    run = given["run_id"]
    async with store.turn() as turn:
        made = [
            turn.approvals.request(
                one.tool, one.args, agent=one.agent, **given,
                tool_call_id=f"{one.call_id} {run}" if one.call_id in taken else one.call_id,
            )
            for one in waiting
        ]  # fmt: skip
    return [one.value for one in made]


def ask_sync(where: Where, paused: Any, **options: Any) -> list[Approval]:
    """The same as `ask`, for who does not await; it may be called where a loop runs."""
    return finished(ask(where, paused, **options))


async def resume(
    where: Where,
    agent: Any,
    approval: Approval | str,
    *,
    by: str = "",
    used: Used = "raise",
    context_override: Any = None,
    context_deserializer: Callable[[Mapping[str, Any]], Any] | None = None,
    strict_context: bool = False,
) -> Any:
    """The `RunState` to go on with: ``Runner.run(agent, state, session=…)``.

    ``approval`` is any of those that `ask` made for the run. `ApprovalPendingError` names those
    that are not answered yet, and uses nothing up. Then what was approved is consumed, with the
    arguments that will run, the edited ones if a person edited them; a call is approved in the
    state only if that was True, so once. All else is a rejection, with the ``feedback`` as what
    the model is told. Of several who resume one gets the state, the others `ApprovalUsedError`;
    with ``used="deny"`` what was used before is a rejection, for a run whose process is dead.
    ``agent`` is the one that the run began with; the options for the context are those of
    ``RunState.from_json``.
    """

    async def resuming(store: Store) -> Any:
        one = await store.approvals.get(approval if isinstance(approval, str) else approval.id)
        told = _state_of(one)
        answers = await _answers(store, one)
        for call_id, answer in answers.items():
            if answer.status == "approved" and answer.edited_args is not None:
                told = _edited(told, call_id, json.dumps(answer.edited_args))
        state = await RunState.from_json(
            agent, told, context_override=context_override,
            context_deserializer=context_deserializer, strict_context=strict_context,
        )  # fmt: skip
        asked = [(item, answers.get(_call_id(item))) for item in state.get_interruptions()]
        calls = [(said, _args(item)) for item, said in asked if said is not None]
        may = await consumed(store, calls, by=by, used=used)
        for item, said in asked:
            _apply(state, item, said, may)
        return state

    return await _with(where, resuming)


def resume_sync(where: Where, agent: Any, approval: Approval | str, **options: Any) -> Any:
    """The same as `resume`, for who does not await; it may be called where a loop runs."""
    return finished(resume(where, agent, approval, **options))


# -- what is asked -----------------------------------------------------------------------------


class Asked(NamedTuple):
    """A call that waits."""

    tool: str
    args: JSON
    call_id: str
    agent: str


def _asked(item: Any) -> Asked:
    tool = item.qualified_name or item.name or _field(item, "type") or ""
    return Asked(tool, _args(item), _call_id(item), getattr(item.agent, "name", ""))


def _field(item: Any, name: str) -> Any:
    raw = item.raw_item
    return raw.get(name) if isinstance(raw, Mapping) else getattr(raw, name, None)


def _call_id(item: Any) -> str:
    found = _field(item, "call_id") or _field(item, "id")
    if not isinstance(found, str) or not found:
        raise InvalidError(f"the call of {item.name!r} has no id to be answered by", "call_id")
    return found


def _args(item: Any) -> JSON:
    """The arguments as JSON: what is no object becomes one; of other calls all there is."""
    text = item.arguments
    if text is None:
        raw = item.raw_item
        return {"call": raw if isinstance(raw, Mapping) else raw.model_dump(exclude_unset=True)}
    try:
        args = json.loads(text or "{}")
    except ValueError:
        return {"input": text}
    return args if isinstance(args, dict) else {"input": args}


def _run_of(waiting: Sequence[Asked], told: Mapping[str, Any]) -> str:
    """One id for the calls of a pause, the same whenever it is asked for them."""
    responses = [one.get("response_id") for one in told.get("model_responses") or ()]
    known = [[one.call_id for one in waiting], told.get("original_input"), responses]
    return f"pause-{sha256(json.dumps(known).encode()).hexdigest()[:32]}"


# -- what was answered ---------------------------------------------------------------------------


def _state_of(approval: Approval) -> JSON:
    kept = approval.resume
    if kept is None or kept.codec != CODEC:
        raise InvalidError(
            f"approval {approval.id!r} was not asked for by this adapter", "approval"
        )
    return json.loads(kept.data)


async def _answers(store: Store, one: Approval) -> dict[str, Approval]:
    """All approvals of the run by the call they are of; `ApprovalPendingError` if one waits."""
    of_run = store.approvals.iter(
        app=one.app, user=one.user, run_id=one.run_id, session=one.session
    )
    place = (one.session, one.thread_id)
    found = {
        each.tool_call_id.removesuffix(f" {one.run_id}"): each
        async for each in of_run
        if (each.session, each.thread_id) == place
    }
    waiting = [each for each in found.values() if each.status == "pending"]
    if waiting:
        names = ", ".join(f"{each.tool_name} ({each.id})" for each in waiting)
        raise ApprovalPendingError(f"nobody has answered yet: {names}", waiting[0].id)
    return found


def _apply(state: Any, item: Any, answer: Approval | None, may: Container[str]) -> None:
    """Approve a call in the state if it is one of those that may run; else reject it."""
    if answer is None:
        state.reject(item, rejection_message="Nobody was asked to approve this.")
    elif answer.status == "rejected":
        state.reject(item, rejection_message=answer.feedback or None)
    elif answer.id in may:
        state.approve(item)
    else:
        state.reject(item, rejection_message=_NO.get(answer.status))


def _edited(told: JSON, call_id: str, arguments: str) -> JSON:
    """The state with other arguments of a function call, wherever it stands.

    The SDK binds a call's id to its arguments when it first sees them; it does so anew.
    """
    if isinstance(told, list):
        return [_edited(value, call_id, arguments) for value in told]
    if not isinstance(told, dict):
        return told
    changed = {key: _edited(value, call_id, arguments) for key, value in told.items()}
    if changed.get("call_id") == call_id and changed.get("type") == _CALL:
        changed["arguments"] = arguments
    bound = changed.get("tool_invocations")
    if isinstance(bound, dict) and not bound.get(call_id, {}).get("executed", True):
        changed["tool_invocations"] = {key: bound[key] for key in bound if key != call_id}
    return changed


# -- the store -----------------------------------------------------------------------------------


async def _with(where: Where, work: Callable[[Store], Awaitable[T]]) -> T:
    """What the work gives with the store, which is closed if it was opened for it."""
    if isinstance(where, Opened):
        return await work(where.store)
    if isinstance(where, Store | SyncStore):
        return await work(both(where)[1])
    # Opened in the colour that is awaited: a server that does not answer holds up no loop.
    async with open_store(url_of(where)) as store:
        return await work(store)


__all__ = ["CODEC", "ask", "ask_sync", "resume", "resume_sync"]
