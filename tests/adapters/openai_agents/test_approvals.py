"""Calls that wait for a person: asked for in one process, answered in another, run in a third."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

pytest.importorskip("agents.memory", reason="needs openai-agents: see .ci/adapters")

from agents import Agent, Runner, RunState, ShellTool, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from openai.types.responses.response_output_item import McpApprovalRequest

import perdure
from perdure import (
    ApprovalPendingError,
    ApprovalUsedError,
    InvalidError,
    NotFoundError,
    Principal,
)
from perdure.adapters.openai_agents import PerdureSession, ask, ask_sync, resume, resume_sync
from perdure.testing.clocks import FixedClock
from tests.adapters.openai_agents.making import texts
from tests.engines.processes import ROOT, in_a_process, meet, side_by_side

pytestmark = pytest.mark.filterwarnings("default")

BOB = function_call("send", {"to": "bob"}, call_id="c1")
EVE = function_call("send", {"to": "eve", "n": 2}, call_id="c2")


class Desk:
    """An agent with a tool that needs a yes, and what that tool has done."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int]] = []

        @function_tool(needs_approval=True)
        def send(to: str, n: int = 1) -> str:
            """Send it."""
            self.sent.append((to, n))
            return f"sent to {to}"

        self.tool = send

    def agent(self, *steps: Any, **options: Any) -> Any:
        script = [[assistant_message(step)] if isinstance(step, str) else step for step in steps]
        return Agent(
            **{
                "name": "desk",
                "model": ScriptedModel(steps=script),
                "tools": [self.tool],
                **options,
            }
        )

    async def paused(self, session: PerdureSession, *calls: Any) -> Any:
        """A run that waits with these calls."""
        return await Runner.run(self.agent(list(calls)), "Go.", session=session)

    async def finished(self, session: PerdureSession, state: Any) -> Any:
        return await Runner.run(self.agent("done"), state, session=session)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def outputs(items: list[Any]) -> dict[str, str]:
    """What the model was told of each call."""
    return {
        item["call_id"]: item["output"]
        for item in items
        if item.get("type") == "function_call_output"
    }


async def test_what_waits_is_asked_for_with_all_that_a_person_wants_to_know(
    session: PerdureSession, desk: Desk
) -> None:
    result = await desk.paused(session, BOB, EVE)

    asked = await ask(session, result, question="Send them?", sender_context="mail")

    assert [(one.tool_name, one.args, one.tool_call_id) for one in asked] == [
        ("send", {"to": "bob"}, "c1"),
        ("send", {"to": "eve", "n": 2}, "c2"),
    ]
    for one in asked:
        assert (one.status, one.kind, one.agent, one.question) == (
            "pending", "tool", "desk", "Send them?",
        )  # fmt: skip
        assert (one.session, one.thread_id, one.created_by) == (session.key, "order-7", "ada")
        assert one.run_id == asked[0].run_id
        assert one.resume is not None
        assert json.loads(one.resume.data)["$schemaVersion"]
    assert desk.sent == []


async def test_asking_again_gives_the_same_approvals(session: PerdureSession, desk: Desk) -> None:
    result = await desk.paused(session, BOB, EVE)
    asked = await ask(session, result)
    await session.store.approvals.approve(asked[0].id, by="ada")

    again = await ask(session, result.to_state())

    assert [one.id for one in again] == [one.id for one in asked]
    assert [one.status for one in again] == ["approved", "pending"]


async def test_a_run_that_does_not_wait_asks_for_nothing(
    session: PerdureSession, desk: Desk
) -> None:
    result = await Runner.run(desk.agent("hello"), "Hi.", session=session)

    assert await ask(session, result) == []


async def test_answers_are_carried_out_and_the_model_is_told(
    session: PerdureSession, desk: Desk
) -> None:
    bob, eve = await ask(session, await desk.paused(session, BOB, EVE))
    await session.store.approvals.approve(bob.id, by="ada")
    await session.store.approvals.reject(eve.id, by="ada", feedback="Not to Eve.")

    state = await resume(session, desk.agent("done"), eve.id)
    result = await desk.finished(session, state)

    assert result.final_output == "done"
    assert desk.sent == [("bob", 1)]
    assert outputs(await session.get_items()) == {"c1": "sent to bob", "c2": "Not to Eve."}
    found = [(await session.store.approvals.get(one.id)).status for one in (bob, eve)]
    assert found == ["consumed", "rejected"]


async def test_while_one_waits_nothing_goes_on_and_nothing_is_used_up(
    session: PerdureSession, desk: Desk
) -> None:
    bob, eve = await ask(session, await desk.paused(session, BOB, EVE))
    await session.store.approvals.approve(bob.id, by="ada")

    with pytest.raises(ApprovalPendingError, match=eve.id) as refused:
        await resume(session, desk.agent("done"), bob)

    assert refused.value.approval_id == eve.id
    assert (await session.store.approvals.get(bob.id)).status == "approved"


async def test_an_answer_is_used_once(session: PerdureSession, desk: Desk) -> None:
    [bob] = await ask(session, await desk.paused(session, BOB))
    await session.store.approvals.approve(bob.id, by="ada")

    resuming = [resume(session, desk.agent("x"), bob) for _ in range(5)]
    states = await asyncio.gather(*resuming, return_exceptions=True)
    [state] = [one for one in states if not isinstance(one, ApprovalUsedError)]
    await desk.finished(session, state)
    assert desk.sent == [("bob", 1)]

    denied = await resume(session, desk.agent("x"), bob, used="deny")
    await desk.finished(session, denied)
    assert desk.sent == [("bob", 1)]
    told = [item["output"] for item in await session.get_items() if "output" in item]
    assert sum("used already" in text for text in told) == 1


@pytest.mark.parametrize("becomes", ["expired", "expired after a yes", "cancelled"])
async def test_no_answer_in_time_is_a_no(url: str, desk: Desk, becomes: str) -> None:
    clock = FixedClock()
    async with perdure.open(url, clock=clock) as store:
        session = PerdureSession("chat", store, app="shop", user="ada")
        [bob] = await ask(session, await desk.paused(session, BOB), ttl=timedelta(minutes=5))
        if becomes == "cancelled":
            await store.approvals.cancel(bob.id)
        elif becomes == "expired after a yes":
            await store.approvals.approve(bob.id, by="ada")
        clock.advance(timedelta(minutes=6))

        state = await resume(session, desk.agent("done"), bob)
        await desk.finished(session, state)

        assert desk.sent == []
        [told] = outputs(await session.get_items()).values()
        assert ("taken back" if becomes == "cancelled" else "in time") in told


async def test_arguments_that_a_person_edited_are_those_that_run(
    session: PerdureSession, desk: Desk
) -> None:
    bob, eve = await ask(session, await desk.paused(session, BOB, EVE))
    await session.store.approvals.approve(bob.id, by="ada", edited_args={"to": "carol", "n": 3})
    await session.store.approvals.approve(eve.id, by="ada")

    state = await resume(session, desk.agent("done"), bob)
    await desk.finished(session, state)

    assert sorted(desk.sent) == [("carol", 3), ("eve", 2)]
    assert (await session.store.approvals.get(bob.id)).status == "consumed"


async def test_who_asked_may_not_answer_and_the_stores_rule_holds(
    session: PerdureSession, desk: Desk
) -> None:
    [bob] = await ask(session, await desk.paused(session, BOB))

    for who in ("eve", Principal("desk", ["approver"])):
        with pytest.raises(perdure.DeniedError):
            await session.store.approvals.approve(bob.id, by=who)


async def test_a_run_may_wait_again_after_it_was_resumed(
    session: PerdureSession, desk: Desk
) -> None:
    [bob] = await ask(session, await desk.paused(session, BOB))
    await session.store.approvals.approve(bob.id, by="ada")
    again = desk.agent([EVE])
    result = await Runner.run(again, await resume(session, again, bob), session=session)

    [eve] = await ask(session, result)
    assert eve.run_id != bob.run_id
    await session.store.approvals.approve(eve.id, by="ada")
    await desk.finished(session, await resume(session, desk.agent("done"), eve))

    assert desk.sent == [("bob", 1), ("eve", 2)]


@pytest.mark.parametrize("to", ["bob", "carol"])
async def test_a_model_may_give_its_calls_the_same_ids_again(
    session: PerdureSession, desk: Desk, to: str
) -> None:
    """Some number them anew with each run."""
    [first] = await ask(session, await desk.paused(session, BOB))
    await session.store.approvals.approve(first.id, by="ada")
    await desk.finished(session, await resume(session, desk.agent("done"), first))
    calls = [function_call("send", {"to": to}, call_id="c1"), EVE]
    result = await Runner.run(desk.agent(calls), "And once more.", session=session)

    asked = await ask(session, result)

    assert [one.status for one in asked] == ["pending", "pending"]
    assert first.id not in {one.id for one in asked}
    for seen in (result, await RunState.from_json(desk.agent(), result.to_state().to_json())):
        assert [one.id for one in await ask(session, seen)] == [one.id for one in asked]
    await session.store.approvals.approve(asked[0].id, by="ada", edited_args={"to": "dan", "n": 3})
    await session.store.approvals.reject(asked[1].id, by="ada")
    await desk.finished(session, await resume(session, desk.agent("done"), asked[1]))
    assert desk.sent == [("bob", 1), ("dan", 3)]


async def test_an_agent_that_is_a_tool_of_another_may_wait(
    session: PerdureSession, desk: Desk
) -> None:
    def outer(*steps: Any, inner: Any) -> Any:
        tool = inner.as_tool("desk", "Sends things.")
        script = [[assistant_message(step)] if isinstance(step, str) else step for step in steps]
        return Agent(name="outer", model=ScriptedModel(steps=script), tools=[tool])

    call = function_call("desk", {"input": "Send it to Bob."}, call_id="o1")
    first = outer([call], inner=desk.agent([BOB]))
    [bob] = await ask(session, await Runner.run(first, "Go.", session=session))
    assert (bob.tool_name, bob.args, bob.agent) == ("send", {"to": "bob"}, "desk")
    await session.store.approvals.approve(bob.id, by="ada")

    again = outer("all done", inner=desk.agent("sent"))
    state = await resume(session, again, bob)
    result = await Runner.run(again, state, session=session)

    assert result.final_output == "all done"
    assert desk.sent == [("bob", 1)]


async def test_the_context_of_the_run_goes_along(session: PerdureSession) -> None:
    seen = []

    @function_tool(needs_approval=True)
    def look(ctx: Any) -> str:
        """Look."""
        return str(ctx)

    desk = Desk()
    result = await Runner.run(desk.agent([BOB]), "Go.", session=session, context={"tenant": "acme"})
    [bob] = await ask(session, result)
    await session.store.approvals.approve(bob.id, by="ada")

    state = await resume(session, desk.agent("done"), bob)
    seen.append(state._context.context)
    options: Any = {"context_override": {"tenant": "other"}, "used": "deny"}
    other = await resume(session, desk.agent("done"), bob, **options)
    seen.append(other._context.context)

    assert seen == [{"tenant": "acme"}, {"tenant": "other"}]
    assert look.name == "look"


async def test_a_run_without_a_session_waits_by_its_owner(url: str, desk: Desk) -> None:
    async with perdure.open(url) as store:
        result = await Runner.run(desk.agent([BOB]), "Go.")
        [bob] = await ask(store, result, app="shop", user="ada", thread_id="t1")
        assert (bob.session, bob.thread_id, bob.user) == (None, "t1", "ada")
        await store.approvals.approve(bob.id, by="ada")

        state = await resume(store, desk.agent("done"), bob.id)
        await Runner.run(desk.agent("done"), state)

    assert desk.sent == [("bob", 1)]


async def test_the_answer_of_another_conversation_is_not_taken(url: str, desk: Desk) -> None:
    """Of one user, with a call, a run and a thread of the same names."""
    async with perdure.open(url) as store:
        session = PerdureSession("s1", store, app="shop", user="ada")
        result = await desk.paused(session, BOB)
        given: dict[str, Any] = {"thread_id": "s1", "run_id": "r"}
        [theirs] = await ask(session, result, **given)
        await store.approvals.approve(theirs.id, by="ada")
        [ours] = await ask(store, result, app="shop", user="ada", **given)
        assert (ours.status, ours.session) == ("pending", None)

        with pytest.raises(ApprovalPendingError, match=ours.id):
            await resume(store, desk.agent("done"), ours)

        await store.approvals.reject(ours.id, by="ada")
        await Runner.run(desk.agent("done"), await resume(store, desk.agent("done"), ours))
        assert (await store.approvals.get(theirs.id)).status == "approved"
    assert desk.sent == []


async def test_a_store_may_have_small_limits(desk: Desk) -> None:
    async with perdure.open("memory:", limits=perdure.Limits(records=200)) as store:
        session = PerdureSession("s1", store, user="ada")
        [bob] = await ask(session, await desk.paused(session, BOB))
        await store.approvals.approve(bob.id, by="ada")
        await desk.finished(session, await resume(session, desk.agent("done"), bob))
    assert desk.sent == [("bob", 1)]


async def test_a_server_that_does_not_answer_holds_up_no_loop(desk: Desk) -> None:
    pytest.importorskip("asyncpg", reason="needs asyncpg: see .ci/adapters")
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql://ada@127.0.0.1:{server.getsockname()[1]}/db?connect_timeout=3"
        asking = asyncio.create_task(resume(url, desk.agent(), "apr_unknown"))
        started = monotonic()
        for _ in range(10):
            await asyncio.sleep(0.01)
        took = monotonic() - started
        waiting = not asking.done()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    assert waiting
    assert took < 1


async def test_an_approval_of_something_else_is_refused(
    session: PerdureSession, desk: Desk
) -> None:
    other = await session.store.approvals.request("send", {"to": "bob"}, app="shop", user="ada")

    with pytest.raises(InvalidError, match="not asked for by this adapter"):
        await resume(session, desk.agent(), other)
    with pytest.raises(NotFoundError):
        await resume(session, desk.agent(), "apr_unknown")


async def test_who_may_not_be_consumed_for_other_arguments(
    session: PerdureSession, desk: Desk
) -> None:
    """The digest that was approved is compared with what will run, not with what was asked."""
    [bob] = await ask(session, await desk.paused(session, BOB))
    await session.store.approvals.approve(bob.id, by="ada")
    assert not await session.store.approvals.consume(bob.id, {"to": "mallory"})

    state = await resume(session, desk.agent("done"), bob)
    await desk.finished(session, state)

    assert desk.sent == [("bob", 1)]


def test_both_may_be_called_without_await_also_where_a_loop_runs(tmp_path: Path) -> None:
    desk = Desk()
    place = tmp_path / "chats.db"

    def go() -> None:
        with PerdureSession("chat", place, app="shop", user="ada") as session:
            result = asyncio.run(desk.paused(session, BOB))
            [bob] = ask_sync(session, result)
        with perdure.open_sync(f"sqlite:///{place}") as store:
            store.approvals.approve(bob.id, by="ada")
            state = resume_sync(store, desk.agent("done"), bob)
        with PerdureSession("chat", place, app="shop", user="ada") as session:
            Runner.run_sync(desk.agent("done"), state, session=session)

    go()
    assert desk.sent == [("bob", 1)]

    async def inside() -> None:
        async with PerdureSession("other", place, app="shop", user="ada") as session:
            result = await desk.paused(session, BOB)
            [bob] = ask_sync(session, result)
            assert bob.status == "pending"
            with pytest.raises(ApprovalPendingError):
                resume_sync(place, desk.agent("done"), bob)

    asyncio.run(inside())


# -- other calls than those of functions -----------------------------------------------------


@pytest.mark.parametrize("edited", [False, True])
async def test_a_shell_command_may_wait_and_runs_as_it_is_or_not_at_all(
    session: PerdureSession, edited: bool
) -> None:
    ran = []

    async def executor(request: Any) -> str:
        ran.append(request.data.action.commands)
        return "ok"

    call = {
        "type": "shell_call",
        "id": "sh_1",
        "call_id": "s1",
        "status": "completed",
        "action": {"commands": ["ls"], "timeout_ms": 1000, "max_output_length": 100},
    }

    def helper(*steps: Any) -> Any:
        tool = ShellTool(executor=executor, needs_approval=True)
        script = [[assistant_message(step)] if isinstance(step, str) else step for step in steps]
        return Agent(name="sheller", model=ScriptedModel(steps=script), tools=[tool])

    [asked] = await ask(session, await Runner.run(helper([call]), "Go.", session=session))
    assert asked.tool_call_id == "s1"
    assert "ls" in json.dumps(asked.args)
    other = {"call": {"action": {"commands": ["rm"]}}} if edited else None
    await session.store.approvals.approve(asked.id, by="ada", edited_args=other)

    again = helper("done")
    result = await Runner.run(again, await resume(session, again, asked), session=session)

    assert result.final_output == "done"
    # The SDK cannot run another command than the one the model has given.
    assert ran == ([] if edited else [["ls"]])


def test_a_request_of_a_hosted_server_has_its_arguments() -> None:
    from agents.items import ToolApprovalItem  # noqa: PLC0415

    from perdure.adapters.openai_agents.approvals import _asked  # noqa: PLC0415

    raw = McpApprovalRequest(
        id="mcpr_1",
        name="delete",
        arguments='{"path": "/"}',
        server_label="files",
        type="mcp_approval_request",
    )
    asked = _asked(ToolApprovalItem(agent=Agent(name="a"), raw_item=raw))

    assert (asked.tool, asked.args, asked.call_id) == ("delete", {"path": "/"}, "mcpr_1")


# -- three processes -------------------------------------------------------------------------


def example(path: Path) -> str:
    script = ROOT / "examples" / "openai_agents_approval.py"
    ended = subprocess.run(
        [sys.executable, str(script), str(path)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


_CLI = "from perdure.cli import main; main()"


def answer(path: Path, *words: str) -> None:
    url = f"sqlite:///{path}"
    command = [sys.executable, "-c", _CLI, "approvals", *words, "--by", "ada", "--url", url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("yes", [True, False])
def test_the_example_asks_in_one_process_and_goes_on_in_another(tmp_path: Path, yes: bool) -> None:
    path = tmp_path / "chats.db"
    begun = example(path)
    assert begun.startswith("waiting: refund {'order': 7, 'euros': 40} (apr_")
    assert "nobody has answered yet: refund" in example(path)
    asked = begun.rpartition("(")[2].strip().removesuffix(")")

    answer(path, *(("approve", asked) if yes else ("reject", asked, "--feedback", "Too much.")))

    assert example(path).splitlines() == [
        *(["refunding 40 EUR of order 7"] if yes else []),
        "done: I have seen to it.",
    ]
    again = example(path)
    assert "refunding" not in again

    with PerdureSession("order-7", path, app="shop", user="ada") as session:
        items = asyncio.run(session.get_items())
    assert texts(items)[0] == "My mug is broken."


def pause(url: str) -> str:
    async def main() -> str:
        async with PerdureSession("s", url) as session:
            asked = await ask(session, await Desk().paused(session, BOB, EVE))
            for one in asked:
                await session.store.approvals.approve(one.id, by=Principal("b", ["approver"]))
            return asked[0].id

    return asyncio.run(main())


def race(url: str, asked: str) -> Any:
    async def main() -> Any:
        desk, state = Desk(), None
        async with PerdureSession("s", url) as session:
            meet()
            with suppress(ApprovalUsedError):
                state = await resume(session, desk.agent("done"), asked)
            meet()
            if state is not None:
                await desk.finished(session, state)
        return desk.sent

    return asyncio.run(main())


def test_of_two_processes_that_resume_one_goes_on_and_the_other_is_told_so(
    shared_url: str,
) -> None:
    asked = in_a_process(pause, shared_url)

    sent = side_by_side(race, [(shared_url, asked)] * 2)

    assert sorted(map(len, sent)) == [0, 2]
