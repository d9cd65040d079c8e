"""A graph that waits for a person: what it asks becomes approvals, and their answers let it go on.

Each interrupt is an approval in ``store.approvals``; one of LangChain's middleware that asks a
person about tools (``action_requests``) is an approval for each of the tools.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

from perdure.adapters.colours import both
from perdure.adapters.consuming import Used, consumed_sync
from perdure.adapters.langgraph.encoding import is_json, where
from perdure.adapters.langgraph.owning import Owning, url_of
from perdure.errors import ApprovalPendingError, InvalidError, MissingExtraError
from perdure.opening import open_sync
from perdure.records import JSON, Approval, Opaque, SessionKey
from perdure.store import Store, SyncStore

try:
    from langgraph.types import Command
except ModuleNotFoundError as error:
    # The extra brings what a checkpointer needs, and no graphs.
    raise MissingExtraError(f"{__name__} needs {error.name}: pip install langgraph") from error

#: What is kept with an approval: which interrupt of which thread it answers.
CODEC = "langgraph/interrupt"
_HALF_AN_HOUR = timedelta(minutes=30)
_NO = {
    "expired": "Nobody has approved this in time.",
    "cancelled": "The request for approval was taken back.",
    "consumed": "The approval of this has been used already.",
    "approved": "The approval is not for this any more.",
}
_NOT_ALLOWED = {
    "approve": "The arguments were not edited, and this tool takes none but edited ones.",
    "edit": "The arguments were edited, and this tool takes none but its own.",
}

Source = str | Store | SyncStore | Owning
"""A store, its URL, or a saver over it"""
Answer = Callable[[Approval, bool], Any]
"""What a node gets from its interrupt: asked with the approval, and whether it says yes."""


def ask(
    source: Source,
    waiting: Any,
    config: Mapping[str, Any] | None = None,
    *,
    app: str = "",
    user: str = "",
    session: SessionKey | None = None,
    run_id: str = "",
    sender_context: str = "",
    created_by: str | None = None,
    agent: str = "",
    ttl: timedelta | None = _HALF_AN_HOUR,
) -> list[Approval]:
    """An approval for each thing that a graph waits for, in one transaction; none if it does not.

    ``waiting`` is what ``graph.get_state(config)`` gives, or what ``invoke`` has given, with its
    ``config``. Asking again gives the same approvals, whatever has become of them: by the ids
    of the interrupts. ``source``: a store, its URL, or a saver. The options are those of
    ``store.approvals.request``.
    """
    given = _Given(app, user, session, run_id, sender_context, created_by, agent, ttl)
    asked = _asked(waiting, config)
    with _opened(source) as store:
        return _requested(store, asked, given)


async def aask(
    source: Source, waiting: Any, config: Mapping[str, Any] | None = None, **options: Any
) -> list[Approval]:
    """The same, awaited."""
    return await asyncio.to_thread(ask, source, waiting, config, **options)


def resume(
    source: Source,
    waiting: Any,
    config: Mapping[str, Any] | None = None,
    *,
    app: str = "",
    user: str = "",
    session: SessionKey | None = None,
    by: str = "",
    used: Used = "raise",
    answer: Answer | None = None,
) -> Command:
    """The ``Command`` to go on with, once everything that the graph waits for is answered.

    `ApprovalPendingError` names those that are not answered yet, and uses nothing up. Then what
    was approved is consumed, each once: only what ``consume`` says True for is a yes. What was
    rejected or cancelled, or came too late, is a no. A node gets True, or the edited arguments,
    from its interrupt, or False; with ``answer`` what that returns. The middleware gets its
    decisions, with the feedback of the person. Of several who resume one gets the command, the
    others `ApprovalUsedError`; with ``used="deny"`` what was used before is a no, for a graph
    whose process is dead. ``app``, ``user`` and ``session`` are those of `ask`, ``by`` who goes
    on. `InvalidError` if the graph waits for nothing.
    """
    asked = _asked(waiting, config)
    if not asked:
        raise InvalidError("the graph waits for nobody: there is nothing to resume", "waiting")
    given = _Given(app, user, session, "", "", None, "", _HALF_AN_HOUR)
    with _opened(source) as store:
        found = _requested(store, asked, given)
        _refuse_pending(found)
        calls = [(one, _args(each, one)) for each, one in zip(asked, found, strict=True)]
        may = consumed_sync(store, calls, by=by, used=used)
    said = [one.id in may for one in found]
    return Command(resume=_answers(list(zip(asked, found, said, strict=True)), answer))


async def aresume(
    source: Source, waiting: Any, config: Mapping[str, Any] | None = None, **options: Any
) -> Command:
    """The same, awaited."""
    return await asyncio.to_thread(resume, source, waiting, config, **options)


# -- what is asked ---------------------------------------------------------------------------------


class _Given(NamedTuple):
    """Whose the approvals are, and how long there is to answer."""

    app: str
    user: str
    session: SessionKey | None
    run_id: str
    sender_context: str
    created_by: str | None
    agent: str
    ttl: timedelta | None

    @property
    def options(self) -> dict[str, Any]:
        """As `request` takes them."""
        options = self._asdict()
        if self.session is not None:
            # The session says whose it is.
            del options["app"], options["user"]
        return options


class _Asked(NamedTuple):
    """One thing that waits: a tool, or the interrupt itself."""

    thread: str
    interrupt: str
    #: Which of the tools of the interrupt; None: it asks about none.
    place: int | None
    tool: str
    args: JSON
    question: str
    payload: JSON
    #: What a person may decide, if that was said.
    allowed: Sequence[str] | None = None


def _asked(waiting: Any, config: Mapping[str, Any] | None) -> list[_Asked]:
    """All that waits, each interrupt once."""
    thread = where(config or getattr(waiting, "config", None) or {}).lineage
    found: dict[str, list[_Asked]] = {}
    for interrupt in _interrupts(waiting):
        found.setdefault(interrupt.id, _parts(thread, interrupt.id, interrupt.value))
    return [one for some in found.values() for one in some]


def _interrupts(waiting: Any) -> Sequence[Any]:
    if isinstance(waiting, Mapping):
        return tuple(waiting.get("__interrupt__", ()))
    if isinstance(waiting, list | tuple) and not hasattr(waiting, "interrupts"):
        return tuple(waiting)
    return tuple(getattr(waiting, "interrupts", ()))


def _parts(thread: str, id: str, value: Any) -> list[_Asked]:
    actions = value.get("action_requests") if isinstance(value, Mapping) else None
    if not _are_actions(actions):
        payload = value if is_json(value) else None
        question = value if isinstance(value, str) else "" if payload is not None else str(value)
        return [_Asked(thread, id, None, "", None, question, payload)]
    configs = {one.get("action_name"): one for one in value.get("review_configs") or ()}
    return [_action(thread, id, place, one, configs) for place, one in enumerate(actions or ())]


def _are_actions(actions: Any) -> bool:
    return (
        isinstance(actions, list | tuple)
        and len(actions) > 0
        and all(isinstance(one, Mapping) and one.get("name") for one in actions)
    )


def _action(
    thread: str, id: str, place: int, one: Mapping[str, Any], configs: Mapping[Any, Any]
) -> _Asked:
    # Older ones call them arguments.
    args = one.get("args", one.get("arguments"))
    allowed = configs.get(one["name"], {}).get("allowed_decisions")
    return _Asked(
        thread, id, place, one["name"], args, one.get("description") or "",
        {"allowed_decisions": allowed} if allowed else None, allowed,
    )  # fmt: skip


def _requested(store: SyncStore, asked: Sequence[_Asked], given: _Given) -> list[Approval]:
    if not asked:
        return []
    with store.turn() as turn:
        made = [turn.approvals.request(**_request(one), **given.options) for one in asked]
    return [one.value for one in made]


def _request(one: _Asked) -> dict[str, Any]:
    call = one.interrupt if one.place is None else f"{one.interrupt}/{one.place}"
    kept = {"thread_id": one.thread, "interrupt": one.interrupt, "place": one.place}
    return {
        "tool_name": one.tool,
        "args": one.args,
        "kind": "interrupt" if one.place is None else "tool",
        "thread_id": one.thread,
        "tool_call_id": call,
        "question": one.question,
        "payload": one.payload,
        "resume": Opaque(CODEC, json.dumps(kept).encode()),
    }


# -- what was answered -----------------------------------------------------------------------------


def _refuse_pending(found: Sequence[Approval]) -> None:
    pending = [one for one in found if one.status == "pending"]
    if pending:
        names = ", ".join(f"{one.id} ({one.tool_name or one.kind})" for one in pending)
        raise ApprovalPendingError(f"nobody has answered yet: {names}", pending[0].id)


def _args(asked: _Asked, one: Approval) -> JSON:
    """What will run: of the call's own arguments the store may have kept a veiled copy."""
    return asked.args if one.edited_args is None else one.edited_args


def _answers(
    given: Sequence[tuple[_Asked, Approval, bool]], answer: Answer | None
) -> dict[str, Any]:
    """What each interrupt gets."""
    answers: dict[str, Any] = {}
    for asked, approval, yes in given:
        if asked.place is None:
            answers[asked.interrupt] = (answer or _usual)(approval, yes)
        else:
            decisions = answers.setdefault(asked.interrupt, {"decisions": []})["decisions"]
            decisions.append(_decision(asked, approval, yes=yes))
    return answers


def _usual(approval: Approval, yes: bool) -> Any:
    """Nothing that a no could be taken for a yes by."""
    if not yes:
        return False
    return True if approval.edited_args is None else approval.edited_args


def _decision(asked: _Asked, approval: Approval, *, yes: bool) -> dict[str, Any]:
    """What LangChain's middleware is told of a tool."""
    decision = "approve" if approval.edited_args is None else "edit"
    if yes and asked.allowed is not None and decision not in asked.allowed:
        return {"type": "reject", "message": _NOT_ALLOWED[decision]}
    if yes and decision == "edit":
        action = {"name": asked.tool, "args": approval.edited_args}
        return {"type": "edit", "edited_action": action}
    if yes:
        return {"type": "approve"}
    message = approval.feedback or _NO.get(approval.status, "")
    return {"type": "reject", **({"message": message} if message else {})}


def _opened(source: Source) -> AbstractContextManager[SyncStore]:
    if isinstance(source, str):
        return open_sync(url_of(source))
    return _lent(both(source.store if isinstance(source, Owning) else source)[0])


@contextmanager
def _lent(store: SyncStore) -> Iterator[SyncStore]:
    yield store


__all__ = ["CODEC", "aask", "aresume", "ask", "resume"]
