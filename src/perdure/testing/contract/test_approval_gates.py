"""Waiting for an answer, and the gates before a tool: it runs when it may, and else never."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    ALL,
    Approval,
    ApprovalPendingError,
    ApprovalPolicy,
    ClosedError,
    DeniedError,
    InvalidError,
    PerdureError,
    SessionKey,
    Store,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Database, OpenStore

ARGS = {"to": "bob"}
ADA: dict[str, Any] = {"user": "ada", "thread_id": "t"}
HOUR = timedelta(hours=1)


class Tool:
    """A tool that remembers with what it was run."""

    def __init__(self) -> None:
        self.ran: list[Any] = []

    async def send(self, to: str, *, n: int = 1, **more: Any) -> str:
        """Send it."""
        self.ran.append({"to": to, "n": n, **more})
        return f"sent to {to}"


@pytest.fixture
def tool() -> Tool:
    return Tool()


async def pending(store: Store, **given: Any) -> Approval:
    """The one that is pending, once it is there."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if found := (await store.approvals.list(app=ALL, status="pending", **given)).items:
            return found[0]
        await asyncio.sleep(0.005)
    raise AssertionError("nobody asks")


async def ask(store: Store, **given: Any) -> Approval:
    return await store.approvals.request("send", ARGS, **{**ADA, **given})


# -- gates -----------------------------------------------------------------------------------------


async def through(store: Store, tool: Tool, args: Any = None, **given: Any) -> Any:
    """Run the tool behind a gate; what came of it."""
    given = {"timeout": 20, **ADA, **given}
    async with store.approvals.gate("send", ARGS if args is None else args, **given) as gate:
        return await tool.send(**gate.args)


async def test_a_tool_runs_after_a_yes(store: Store, tool: Tool) -> None:
    running = asyncio.create_task(through(store, tool))
    asked = await pending(store)
    assert tool.ran == []
    await store.approvals.approve(asked.id, by="ada")

    assert await running == "sent to bob"
    assert tool.ran == [{"to": "bob", "n": 1}]
    assert (await store.approvals.get(asked.id)).status == "consumed"


async def test_inside_it_is_told_what_has_approved_it(store: Store) -> None:
    made = await ask(store, tool_call_id="c")
    await store.approvals.approve(made.id, by="ada")
    gate = store.approvals.gate("send", ARGS, tool_call_id="c", **ADA)

    async with gate as inside:
        assert inside.approval is not None
        assert (inside.approval.id, inside.approval.status) == (made.id, "consumed")
        assert inside.args == ARGS
    with pytest.raises(ClosedError):
        inside.args  # noqa: B018 - it raises


async def test_a_tool_does_not_run_after_a_no(store: Store, tool: Tool) -> None:
    running = asyncio.create_task(through(store, tool))
    asked = await pending(store)
    await store.approvals.reject(asked.id, by="ada", feedback="ask bob first")

    with pytest.raises(DeniedError, match="rejected by 'ada': ask bob first") as refused:
        await running
    assert refused.value.feedback == "ask bob first"
    assert tool.ran == []


async def test_it_runs_with_what_was_edited(store: Store, tool: Tool) -> None:
    running = asyncio.create_task(through(store, tool))
    asked = await pending(store)
    await store.approvals.approve(asked.id, by="ada", edited_args={"to": "eve", "n": 2})

    assert await running == "sent to eve"
    assert tool.ran == [{"to": "eve", "n": 2}]


async def test_it_does_not_run_when_nobody_answers_in_time(store: Store, tool: Tool) -> None:
    with pytest.raises(ApprovalPendingError) as waiting:
        await through(store, tool, timeout=0.05)

    assert (await store.approvals.get(waiting.value.approval_id)).status == "pending"
    assert tool.ran == []


@pytest.mark.parametrize("end", ["expire", "cancel", "purge"])
async def test_it_does_not_run_when_there_is_nothing_to_answer_any_more(
    store: Store, key: SessionKey, tool: Tool, clock: FixedClock, end: str
) -> None:
    given = {"session": key, "user": "", "thread_id": ""}
    running = asyncio.create_task(through(store, tool, **given))
    asked = await pending(store)
    if end == "expire":
        clock.advance(HOUR)
    elif end == "cancel":
        await store.approvals.cancel(asked.id, by="ada")
    else:
        await store.sessions.purge(key)

    with pytest.raises(PerdureError):
        await running
    assert tool.ran == []


async def test_it_does_not_run_when_the_store_is_closed(lone: Database, tool: Tool) -> None:
    store = lone.open()
    running = asyncio.create_task(through(store, tool))
    await pending(store)
    await asyncio.sleep(0.05)
    await store.close()

    with pytest.raises(ClosedError):
        await running
    with pytest.raises(ClosedError):
        await through(store, tool)
    with pytest.raises(ClosedError):
        await through(store, tool, policy=ApprovalPolicy(allow=["*"]))
    assert tool.ran == []


async def test_without_waiting_it_is_interrupted_and_taken_up_again(
    store: Store, tool: Tool
) -> None:
    given = {"tool_call_id": "c1", "wait": False}
    with pytest.raises(ApprovalPendingError) as first:
        await through(store, tool, **given)
    with pytest.raises(ApprovalPendingError) as second:
        await through(store, tool, **given)
    assert second.value.approval_id == first.value.approval_id
    await store.approvals.approve(first.value.approval_id, by="ada")

    assert await through(store, tool, **given) == "sent to bob"
    with pytest.raises(DeniedError, match="used already"):
        await through(store, tool, **given)
    assert tool.ran == [{"to": "bob", "n": 1}]


async def test_what_expires_between_the_yes_and_the_run_does_not_run(
    store: Store, tool: Tool, clock: FixedClock
) -> None:
    made = await ask(store, tool_call_id="c1", ttl=HOUR)
    await store.approvals.approve(made.id, by="ada")
    clock.advance(HOUR)

    with pytest.raises(DeniedError, match="expired"):
        await through(store, tool, tool_call_id="c1")
    assert tool.ran == []


async def test_what_is_changed_after_the_asking_does_not_run(store: Store, tool: Tool) -> None:
    args: dict[str, Any] = {"to": "bob", "more": []}
    running = asyncio.create_task(through(store, tool, args=args))
    asked = await pending(store)
    args["more"].append("eve")
    args["to"] = "eve"
    await store.approvals.approve(asked.id, by="ada")

    await running
    assert tool.ran == [{"to": "bob", "n": 1, "more": []}]


async def test_one_approval_lets_one_gate_pass(store: Store, tool: Tool) -> None:
    made = await ask(store, tool_call_id="c1")
    await store.approvals.approve(made.id, by="ada")

    done = await asyncio.gather(
        *(through(store, tool, tool_call_id="c1") for _ in range(6)), return_exceptions=True
    )

    assert sum(one == "sent to bob" for one in done) == 1
    assert sum(isinstance(one, DeniedError) for one in done) == 5
    assert len(tool.ran) == 1


# -- policy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allow", "deny", "answer"),
    [
        ([], [], "ask"),
        (["send"], [], "allow"),
        (["SEND"], [], "allow"),
        (["se*"], [], "allow"),
        (["*"], [], "allow"),
        (["sen"], [], "ask"),
        (["sendx*"], [], "ask"),
        (["*"], ["send"], "deny"),
        (["send"], ["S*"], "deny"),
        (["send"], ["*"], "deny"),
        (["send"], ["other*"], "allow"),
    ],
)
async def test_a_policy_allows_denies_or_asks_and_deny_wins(
    open_store: OpenStore, tool: Tool, allow: list[str], deny: list[str], answer: str
) -> None:
    store = await open_store(approval_policy=ApprovalPolicy(allow=allow, deny=deny))
    outcome = {"ask": ApprovalPendingError, "deny": DeniedError}
    if answer == "allow":
        assert await through(store, tool, wait=False) == "sent to bob"
        return

    with pytest.raises(outcome[answer]):
        await through(store, tool, wait=False)
    assert tool.ran == []
    assert len((await store.approvals.list(app=ALL)).items) == (answer == "ask")


async def test_the_policy_of_a_gate_takes_the_place_of_the_stores(
    open_store: OpenStore, tool: Tool
) -> None:
    store = await open_store(approval_policy=ApprovalPolicy(allow=["*"]))
    strict = ApprovalPolicy(deny=["send"])

    with pytest.raises(DeniedError, match="policy"):
        await through(store, tool, policy=strict)
    with pytest.raises(InvalidError):
        await through(store, tool, policy="allow")


async def test_the_policy_says_how_long_it_lives_and_what_is_remembered(
    store: Store, tool: Tool, clock: FixedClock
) -> None:
    clock.step = timedelta(0)
    policy = ApprovalPolicy(ttl=2 * HOUR, remember=HOUR)
    running = asyncio.create_task(through(store, tool, policy=policy))
    asked = await pending(store)
    assert asked.expires_at == asked.created_at + 2 * HOUR
    await store.approvals.approve(asked.id, by="ada", remember=10 * HOUR)
    await running

    assert await through(store, tool, policy=policy, wait=False) == "sent to bob"
    with pytest.raises(ApprovalPendingError):
        await through(store, tool, policy=ApprovalPolicy(remember=None), wait=False)
    clock.advance(HOUR)
    with pytest.raises(ApprovalPendingError):
        await through(store, tool, policy=policy, wait=False)
    assert len(tool.ran) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"allow": "send"},
        {"allow": [""]},
        {"deny": ["a*b"]},
        {"deny": ["**"]},
        {"deny": [7]},
        {"ttl": timedelta(0)},
        {"remember": 7},
    ],
)
async def test_a_policy_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidError):
        ApprovalPolicy(**wrong)


# -- functions -------------------------------------------------------------------------------------


async def test_a_function_is_gated_by_its_name_and_the_arguments_of_the_call(
    store: Store, tool: Tool
) -> None:
    gated = store.approvals.required(about=ADA, timeout=20)(tool.send)
    running = asyncio.create_task(gated("bob", extra=(1, 2)))
    asked = await pending(store)
    assert (asked.tool_name, asked.user, asked.thread_id) == ("send", "ada", "t")
    assert asked.args == {"to": "bob", "n": 1, "extra": [1, 2]}
    await store.approvals.approve(asked.id, by="ada", edited_args={"to": "eve"})

    assert await running == "sent to eve"
    assert tool.ran == [{"to": "eve", "n": 1}]
    assert (gated.__name__, gated.__doc__) == ("send", "Send it.")


async def test_an_edit_that_is_no_object_uses_nothing_up(store: Store, tool: Tool) -> None:
    running = asyncio.create_task(store.approvals.required(about=ADA, timeout=20)(tool.send)("bob"))
    asked = await pending(store)
    await store.approvals.approve(asked.id, by="ada", edited_args=[1])

    with pytest.raises(InvalidError, match="send takes arguments by name, not"):
        await running
    assert (await store.approvals.get(asked.id)).status == "approved"
    assert tool.ran == []


async def test_a_call_that_does_not_fit_what_was_approved_does_not_run(store: Store) -> None:
    ran = []

    async def send(to: str) -> None:
        ran.append(to)

    gated = store.approvals.required(about=ADA, timeout=20)(send)
    running = asyncio.create_task(gated("bob"))
    asked = await pending(store)
    await store.approvals.approve(asked.id, by="ada", edited_args={"nope": 1})

    with pytest.raises(InvalidError, match="send cannot be called with what was approved"):
        await running
    assert (await store.approvals.get(asked.id)).status == "approved"
    assert ran == []


async def test_what_is_said_about_a_call_may_depend_on_it(store: Store) -> None:
    ran = []

    async def delete(context: Any, path: str) -> None:
        ran.append((context, path))

    context = object()
    gated = store.approvals.required(
        "files.delete",
        about=lambda path, **_: {**ADA, "tool_call_id": path, "question": f"Delete {path}?"},
        ignore=["context"],
        wait=False,
    )(delete)
    with pytest.raises(ApprovalPendingError) as waiting:
        await gated(context, "a.txt")
    asked = await store.approvals.approve(waiting.value.approval_id, by="ada")
    await gated(context, path="a.txt")

    assert (asked.tool_name, asked.question) == ("files.delete", "Delete a.txt?")
    assert asked.args == {"path": "a.txt"}
    assert ran == [(context, "a.txt")]


async def test_arguments_that_are_no_json_are_refused_before_anything(
    store: Store, tool: Tool
) -> None:
    gated = store.approvals.required(about=ADA)(tool.send)

    with pytest.raises(InvalidError, match="to"):
        await gated(b"bob")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        await gated()  # type: ignore[call-arg]
    assert (await store.approvals.list(app=ALL)).items == []
    assert tool.ran == []


async def test_a_function_that_cannot_be_gated_is_refused_when_it_is_decorated(
    store: Store,
) -> None:
    async def positional(x: int, /) -> None: ...

    async def many(*xs: int) -> None: ...

    async def named(x: int) -> None: ...

    for function in (positional, many):
        with pytest.raises(InvalidError, match="no name"):
            store.approvals.required()(function)
    with pytest.raises(InvalidError, match="no parameter"):
        store.approvals.required(ignore=["y"])(named)
    with pytest.raises(InvalidError, match="about"):
        await store.approvals.required(about={"ttl": HOUR})(named)(1)
