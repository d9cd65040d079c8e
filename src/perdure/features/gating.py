"""Gates: a tool's function runs only behind an approval that was consumed for its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from types import TracebackType
from typing import Any, Generic, NamedTuple, TypeVar, cast

from perdure.errors import ApprovalPendingError, ClosedError, DeniedError, InvalidError
from perdure.features import approval_rows as rows
from perdure.features.approval_requests import Asked, request
from perdure.features.approval_waiting import looked, waited
from perdure.features.waiting import seconds_of
from perdure.operation import Async, Feature, Flow, M, Operation, Plan, Settings, Sync, run
from perdure.policy import ApprovalPolicy
from perdure.records import JSON, Approval, Opaque, SessionKey
from perdure.values import args_text, decode, encode

F = TypeVar("F", bound=Callable[..., Any])
About = Mapping[str, Any] | Callable[..., Mapping[str, Any]]

_ABOUT = frozenset(
    {
        "app", "user", "session", "thread_id", "run_id", "tool_call_id", "question",
        "sender_context", "created_by", "agent", "payload", "resume",
    }
)  # fmt: skip
_ASK_ALWAYS = ApprovalPolicy()
_BOUND = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)


class Passed(NamedTuple):
    """What a gate lets through: the arguments to run with, and what has approved them."""

    args: JSON
    approval: Approval | None


class Gate(Generic[M]):
    """A block that is only entered with a consumed approval, or by leave of the policy.

    Inside, ``args`` is what to run with: the edited arguments, if a person edited them. And
    ``approval`` is the consumed approval, None where the policy allows the tool.
    """

    def __init__(self, runner: Any, steps: Callable[[], Flow[Passed]]) -> None:
        self._runner = runner
        self._steps = steps
        self._passed: Passed | None = None

    @property
    def args(self) -> JSON:
        """The arguments to run with; `ClosedError` outside of the block."""
        return self._inside().args

    @property
    def approval(self) -> Approval | None:
        """The consumed approval, None where the policy allows the tool."""
        return self._inside().approval

    def _inside(self) -> Passed:
        if self._passed is None:
            raise ClosedError("this gate was not passed: nothing may run")
        return self._passed

    def __enter__(self: Gate[Sync]) -> Gate[Sync]:
        if inspect.iscoroutinefunction(self._runner.flow):
            # Else the block would be entered with nothing asked.
            raise InvalidError("the gate of an async store is entered by `async with`", "gate")
        self._passed = self._runner.flow(self._steps())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._passed = None

    async def __aenter__(self: Gate[Async]) -> Gate[Async]:
        if not inspect.iscoroutinefunction(self._runner.flow):
            # Else the loop would stand still, and what was approved be used up for nothing.
            raise InvalidError("the gate of a sync store is entered by `with`", "gate")
        self._passed = await self._runner.flow(self._steps())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._passed = None


class Gating(Feature[M]):
    """The part of `store.approvals` that stands before a tool."""

    def gate(
        self,
        tool_name: str,
        args: JSON = None,
        *,
        app: str = "",
        user: str = "",
        session: SessionKey | None = None,
        thread_id: str = "",
        run_id: str = "",
        tool_call_id: str = "",
        question: str = "",
        sender_context: str = "",
        created_by: str | None = None,
        agent: str = "",
        payload: JSON = None,
        resume: Opaque | None = None,
        policy: ApprovalPolicy | None = None,
        wait: bool = True,
        timeout: float | None = None,
    ) -> Gate[M]:
        """A block for ``with``, or ``async with``, that is entered only if the tool may run.

        The policy (default: the store's, and without one everything is asked for) denies, allows
        or asks; then it is requested, waited for, and consumed with the arguments that are
        ``gate.args`` inside. `DeniedError` if the policy or a person says no, or it has expired;
        `ApprovalPendingError` if nobody has answered after ``timeout`` seconds, or at once with
        ``wait=False``. With the same ``tool_call_id`` a later gate takes up the same approval.
        What follows about the call is that of `request`.
        """
        about = {
            "app": app, "user": user, "session": session, "thread_id": thread_id,
            "run_id": run_id, "tool_call_id": tool_call_id, "question": question,
            "sender_context": sender_context, "created_by": created_by, "agent": agent,
            "payload": payload, "resume": resume,
        }  # fmt: skip
        how = self._how(policy, wait, timeout)
        return Gate(self._runner, lambda: _pass(tool_name, args, about, how, self._settings))

    def required(
        self,
        tool_name: str = "",
        *,
        about: About | None = None,
        ignore: Sequence[str] = (),
        policy: ApprovalPolicy | None = None,
        wait: bool = True,
        timeout: float | None = None,
    ) -> Callable[[F], F]:
        """A decorator: the function runs only behind a `gate`, with what was approved.

        ``tool_name`` (default: the function's name). Its arguments, by name and with defaults,
        are those of the approval, so they are JSON, and it gets them as JSON gives them back;
        what ``ignore`` names (``self``, a context) is passed on and is no part of it. ``about``:
        what `request` takes beside them (``session``, ``thread_id``, ``tool_call_id`` …), or a
        function that gets the arguments of the call and returns that. An async store gates
        coroutine functions; a sync one both.
        """
        how = self._how(policy, wait, timeout)

        def decorate(function: F) -> F:
            plan = _Tool(function, tool_name or function.__name__, tuple(ignore), about or {})
            return cast("F", _gated(plan, self._runner, how, self._settings))

        return decorate

    def _how(self, policy: ApprovalPolicy | None, wait: bool, timeout: float | None) -> _How:
        if policy is not None and not isinstance(policy, ApprovalPolicy):
            raise InvalidError(f"policy must be an ApprovalPolicy, not {policy!r}", "policy")
        chosen = policy or self._settings.approval_policy or _ASK_ALWAYS
        return _How(chosen, seconds_of(timeout) if wait else None)


class _How(NamedTuple):
    policy: ApprovalPolicy
    #: None: do not wait at all.
    seconds: float | None


def _any(_: JSON) -> None:
    """Of a block nobody knows what it can be run with."""


def _pass(
    tool_name: str,
    args: JSON,
    about: Mapping[str, Any],
    how: _How,
    settings: Settings,
    check: Callable[[JSON], None] = _any,
) -> Flow[Passed]:
    """The arguments that may be run now; raises in every other case.

    ``check`` raises for those that cannot be run with: an approval is not used up for them.
    """
    verdict = how.policy.verdict(tool_name)
    if verdict.answer == "deny":
        raise DeniedError(f"the policy denies {tool_name!r} by {verdict.pattern!r}")
    if verdict.answer == "allow":
        # Of a closed store nothing runs, whatever the policy says.
        yield from run(Operation("approvals.allowed", (), {}, lambda _: _nothing(), reads=True))
        return Passed({} if args is None else args, None)
    given = decode(encode({} if args is None else args, "args", settings.limits.event), "args")
    asked = Asked(tool_name, given, **about, ttl=how.policy.ttl, remembered=how.policy.remember)
    approval = yield from _answered(asked, how, settings)
    # What on_write has hidden in the stored arguments is not hidden from the tool.
    final = given if approval.edited_args is None else approval.edited_args
    check(final)
    at = rows.place_of(approval.id, settings.tenant, settings.limits, settings.clock())
    _, sha256_hex = args_text(final, "args", settings.limits)
    consuming: Operation[bool] = Operation(
        "approvals.consume", (at.id,), {},
        lambda _: rows.consume(at, sha256_hex, approval.agent), of_session=False,
    )  # fmt: skip
    if not (yield from run(consuming)):
        raise _refusal((yield from looked(approval.id, settings)))
    return Passed(final, (yield from looked(approval.id, settings)))


def _answered(asked: Asked, how: _How, settings: Settings) -> Flow[Approval]:
    """The approval, approved; raises in every other case."""
    work = request(asked, settings)
    asking = Operation("approvals.request", (asked.tool_name,), {}, work, of_session=False)
    approval = yield from run(asking)
    if approval.status == "pending" and how.seconds is not None:
        approval = yield from waited(approval.id, how.seconds, settings)
    if approval.status == "pending":
        message = f"{asked.tool_name!r} waits for approval {approval.id!r}, and did not run"
        raise ApprovalPendingError(message, approval.id)
    # Approved and nothing else: what is not known by name is no.
    if approval.status != "approved":
        raise _refusal(approval)
    return approval


def _refusal(approval: Approval) -> DeniedError:
    by = f" by {approval.resolved_by!r}" if approval.resolved_by else ""
    said = f": {approval.feedback}" if approval.feedback else ""
    known = {
        "rejected": f"was rejected{by}{said}",
        "cancelled": f"was cancelled{by}{said}",
        "expired": "has expired",
        "consumed": "was used already, and counts once",
        "approved": "is not for these arguments",
    }
    why = known.get(approval.status, f"is {approval.status}")
    error = DeniedError(f"{approval.tool_name!r} did not run: approval {approval.id!r} {why}")
    error.feedback = approval.feedback
    return error


def _nothing() -> Plan[None]:
    yield from ()


# -- functions -------------------------------------------------------------------------------


class _Tool:
    """A function, and how its call becomes the arguments of an approval and back."""

    def __init__(
        self, function: Callable[..., Any], name: str, ignore: tuple[str, ...], about: About
    ) -> None:
        self.function = function
        self.name = name
        self._ignore = ignore
        self._about = about
        self._signature = inspect.signature(function)
        parameters = self._signature.parameters
        for parameter in parameters.values():
            if parameter.kind in _BOUND:
                message = f"{name}: parameter {parameter.name!r} has no name in a call: give it one"
                raise InvalidError(message, "function")
        if unknown := set(ignore) - set(parameters):
            raise InvalidError(f"{name} has no parameter {sorted(unknown)}", "ignore")
        self._rest = next(
            (one.name for one in parameters.values() if one.kind is one.VAR_KEYWORD), None
        )

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        """What is approved, and what is passed on beside it."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        values = dict(bound.arguments)
        values |= values.pop(self._rest, {}) if self._rest else {}
        kept = {name: values.pop(name) for name in self._ignore if name in values}
        return values, kept

    def about(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What the request says beside the arguments."""
        found = self._about(**values) if callable(self._about) else self._about
        if not isinstance(found, Mapping):
            raise InvalidError(f"about is a mapping with {sorted(_ABOUT)}, not {found!r}", "about")
        if unknown := sorted(set(found) - _ABOUT):
            raise InvalidError(
                f"about has {unknown}, and may have {sorted(_ABOUT)}; how long a gate's approvals "
                "last says ApprovalPolicy(ttl=)",
                "about",
            )
        return dict(found)

    def check(self, args: Any, kept: Mapping[str, Any]) -> None:
        """`InvalidError` for arguments that it cannot be called with: a person may edit them."""
        if not isinstance(args, dict):
            raise InvalidError(f"{self.name} takes arguments by name, not {args!r}", "edited_args")
        try:
            self._signature.bind(**{**args, **kept})
        except TypeError as error:
            message = f"{self.name} cannot be called with what was approved: {error}; ask again"
            raise InvalidError(message, "edited_args") from error

    def call(self, args: Any, kept: Mapping[str, Any]) -> Any:
        """Run it with what was approved."""
        return self.function(**{**args, **kept})


def _gated(tool: _Tool, runner: Any, how: _How, settings: Settings) -> Callable[..., Any]:
    def steps(values: dict[str, Any], kept: dict[str, Any]) -> Flow[Passed]:
        about = tool.about({**values, **kept})
        return _pass(tool.name, values, about, how, settings, lambda args: tool.check(args, kept))

    awaits = inspect.iscoroutinefunction(runner.flow)
    if not inspect.iscoroutinefunction(tool.function):
        if awaits:
            message = f"{tool.name} is no coroutine function: an async store cannot wait in it"
            raise InvalidError(message, "function")

        @wraps(tool.function)
        def gated(*args: Any, **kwargs: Any) -> Any:
            values, kept = tool.bind(args, kwargs)
            return tool.call(runner.flow(steps(values, kept)).args, kept)

        return gated

    @wraps(tool.function)
    async def gated_async(*args: Any, **kwargs: Any) -> Any:
        values, kept = tool.bind(args, kwargs)
        made = steps(values, kept)
        passed = await (runner.flow(made) if awaits else runner.flow_beside(made))
        return await tool.call(passed.args, kept)

    return gated_async
