"""What a durable run does side by side finds its own steps again, in whatever order it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydantic_ai.durable_exec", reason="needs pydantic-ai: see .ci/adapters")

from pydantic_ai import Agent, CustomEvent, RunContext
from pydantic_ai.capabilities import AbstractCapability, LocalWorkspace, durable_operation
from pydantic_ai.messages import FunctionToolResultEvent, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import DeltaToolCall, FunctionModel

import perdure
from perdure.adapters.pydantic_ai import PerdureDurability


def turns(messages: Any) -> int:
    return sum(isinstance(one, ModelResponse) for one in messages)


def both(messages: Any, _: Any) -> ModelResponse:
    """Call both tools at once, then stop."""
    if turns(messages):
        return ModelResponse(parts=[TextPart("done")])
    return ModelResponse(parts=[ToolCallPart("slow", {}, "s1"), ToolCallPart("fast", {}, "f1")])


async def streamed(messages: Any, _: Any) -> Any:
    """The same, as a stream."""
    if turns(messages):
        yield "done"
    else:
        slow = DeltaToolCall("slow", "{}", tool_call_id="s1")
        yield {0: slow, 1: DeltaToolCall("fast", "{}", tool_call_id="f1")}


def two_tools(agent: Agent[None, str]) -> None:
    """Tools of which the one that is called first is done last."""

    @agent.tool_plain
    async def slow() -> str:
        await asyncio.sleep(0.1)
        return "slow"

    @agent.tool_plain
    async def fast() -> str:
        return "fast"


class Failing:
    """Names that are noted; the first time one is not, and all ends."""

    def __init__(self, at: str) -> None:
        self.at: str | None = at
        self.noted: list[str] = []

    def note(self, name: str) -> None:
        if name == self.at:
            self.at = None
            raise RuntimeError("the process is gone")
        self.noted.append(name)


def twice(run: Callable[[perdure.SyncStore], Any], url: str = "memory:") -> Any:
    """What the run gives the second time, after it has failed."""
    with perdure.open_sync(url) as store:
        with pytest.raises(RuntimeError, match="gone"):
            asyncio.run(run(store))
        return asyncio.run(run(store))


def test_results_that_come_in_another_order_are_handled_once_each(url: str) -> None:
    failing = Failing("s1")

    async def handle(_: Any, events: Any) -> None:
        async for event in events:
            if isinstance(event, FunctionToolResultEvent):
                failing.note(event.tool_call_id)

    async def run(store: Any) -> None:
        durability = PerdureDurability(store, event_stream_handler=handle)
        model = FunctionModel(both, stream_function=streamed)
        agent = Agent(model, name="two", capabilities=[durability])
        two_tools(agent)
        with durability.run("run"):
            await agent.run("Go.")

    twice(run, url)

    # The second time both come at once, and the slow one first.
    assert failing.noted == ["f1", "s1"]


@dataclass(kw_only=True)
class Halfway(CustomEvent):
    """A tool is halfway."""


def test_what_a_tool_has_told_shifts_nothing_when_it_is_not_run_again() -> None:
    failing = Failing("s1")

    async def handle(_: Any, events: Any) -> None:
        async for event in events:
            if isinstance(event, Halfway):
                failing.note("halfway")
            if isinstance(event, FunctionToolResultEvent):
                failing.note(event.tool_call_id)

    async def model(messages: Any, _: Any) -> Any:
        if turns(messages):
            yield "done"
        else:
            yield {0: DeltaToolCall("slow", "{}", tool_call_id="s1")}

    async def run(store: Any) -> None:
        durability = PerdureDurability(store, event_stream_handler=handle)
        agent = Agent(FunctionModel(stream_function=model), name="one", capabilities=[durability])

        @agent.tool
        async def slow(ctx: RunContext[None]) -> str:
            await ctx.emit(Halfway())
            return "slow"

        with durability.run("run"):
            await agent.run("Go.")

    twice(run)

    assert failing.noted == ["halfway", "s1"]


def test_runs_side_by_side_have_their_events_handled_whoever_is_faster() -> None:
    failing = Failing("run:0")
    first = True

    async def handle(ctx: Any, events: Any) -> None:
        async for event in events:
            if isinstance(event, FunctionToolResultEvent):
                failing.note(ctx.run_id)

    async def model(messages: Any, _: Any) -> Any:
        if turns(messages):
            yield "done"
        else:
            yield {0: DeltaToolCall("look", "{}", tool_call_id="l1")}

    async def run(store: Any) -> None:
        durability = PerdureDurability(store, event_stream_handler=handle)
        agent = Agent(FunctionModel(stream_function=model), name="many", capabilities=[durability])

        @agent.tool
        async def look(ctx: RunContext[None]) -> str:
            if ctx.run_id == "run:0" and first:
                await asyncio.sleep(0.2)
            return "a bird"

        with durability.run("run"):
            await asyncio.gather(*(agent.run(f"{number}") for number in range(2)))

    with perdure.open_sync("memory:") as store:
        with pytest.raises(RuntimeError, match="gone"):
            asyncio.run(run(store))
        first = False
        asyncio.run(run(store))

    assert failing.noted == ["run:1", "run:0"]


def test_what_a_capability_does_beside_calls_is_that_of_its_call() -> None:
    failing = Failing("s1")

    class Audit(AbstractCapability[None]):
        id = "audit"

        @durable_operation(name="note")
        async def note(self, ctx: RunContext[None], call_id: str) -> str:  # noqa: ARG002
            failing.note(call_id)
            return f"noted {call_id}"

        async def after_tool_execute(self, ctx: Any, *, call: Any, **_: Any) -> Any:
            return await self.note(ctx, call.tool_call_id)

    async def run(store: Any) -> list[Any]:
        durability = PerdureDurability(store)
        agent = Agent(FunctionModel(both), name="two", capabilities=[durability, Audit()])
        two_tools(agent)
        with durability.run("run"):
            result = await agent.run("Go.")
        return [part.content for part in result.all_messages()[2].parts]

    assert twice(run) == ["noted s1", "noted f1"]
    assert failing.noted == ["f1", "s1"]


def test_files_that_are_read_side_by_side_are_not_mistaken(tmp_path: Path) -> None:
    for name in ("slow", "fast"):
        (tmp_path / name).write_text(f"what is in {name}")
    failing = Failing("second")
    waits = True

    async def run(store: Any) -> list[Any]:
        durability = PerdureDurability(store)
        agent = Agent(
            FunctionModel(both), name="reads", capabilities=[durability, LocalWorkspace(tmp_path)]
        )

        @agent.tool(metadata={"perdure": False})
        async def slow(ctx: RunContext[None]) -> str:
            if waits:
                await asyncio.sleep(0.1)
            return str(await ctx.workspace.read_bytes("slow"), "utf-8")

        @agent.tool(metadata={"perdure": False})
        async def fast(ctx: RunContext[None]) -> str:
            return str(await ctx.workspace.read_bytes("fast"), "utf-8")

        with durability.run("run"):
            result = await agent.run("Go.")
        failing.note("second")
        return [part.content for part in result.all_messages()[2].parts]

    with perdure.open_sync("memory:") as store:
        with pytest.raises(RuntimeError, match="gone"):
            asyncio.run(run(store))
        waits = False
        assert asyncio.run(run(store)) == ["what is in slow", "what is in fast"]
