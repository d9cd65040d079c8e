"""Durable runs: what is done is not done again, whatever becomes of the process."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydantic_ai.durable_exec", reason="needs pydantic-ai: see .ci/adapters")

from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelRetry, UserError
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel

import perdure
from perdure.adapters.pydantic_ai import PerdureDurability
from tests.adapters.pydantic_ai.travelling import PLAN, agent_of
from tests.engines.processes import python, ran

_RUN = """
import asyncio, sys
from datetime import timedelta
from pathlib import Path
from tests.adapters.pydantic_ai.travelling import agent_of

url, log, run_id, die_after = sys.argv[1:]

async def main():
    agent, durability = agent_of(url, Path(log), die_after=die_after)
    with durability.run(run_id, lease=timedelta(seconds=1)):
        result = await agent.run("Book.")
    print(result.output, len(result.all_messages()), result.usage.requests)
    await durability.close()

asyncio.run(main())
"""


def logged(log: Path) -> list[str]:
    return log.read_text().splitlines()


@pytest.mark.timeout(300)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 is of POSIX")
def test_a_run_that_is_killed_after_each_of_its_steps_goes_on(
    shared_url: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    for what in PLAN:
        with python(_RUN, shared_url, str(log), "run-1", what) as process:
            assert process.wait(60) == -signal.SIGKILL
    [told] = ran(_RUN, shared_url, str(log), "run-1", "")

    assert told == "booked 6 3"
    # What was under way when the process died is done again, and nothing else.
    assert Counter(logged(log)) == Counter(PLAN * 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 is of POSIX")
def test_what_was_stored_before_the_kill_is_done_once(shared_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with python(_RUN, shared_url, str(log), "run-1", "model 2") as process:
        assert process.wait(60) == -signal.SIGKILL
    ran(_RUN, shared_url, str(log), "run-1", "")

    assert Counter(logged(log)) == Counter([*PLAN, "model 2"])


def journey(store: Any, log: Path, *, run_id: str = "run-1", **options: Any) -> Any:
    """The result of the journey."""

    async def run() -> Any:
        agent, durability = agent_of(store, log, **options)
        with durability.run(run_id):
            return await agent.run("Book.")

    return asyncio.run(run())


def test_a_run_goes_on_behind_what_failed(url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with perdure.open_sync(url) as store:
        with pytest.raises(RuntimeError, match="model 2"):
            journey(store, log, fail_at="model 2")
        result = journey(store, log)

        assert result.output == "booked"
        assert Counter(logged(log)) == Counter([*PLAN, "model 2"])


def test_a_run_that_is_over_does_nothing_more(url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with perdure.open_sync(url) as store:
        first, second = journey(store, log), journey(store, log)

    assert sorted(logged(log)) == sorted(PLAN)
    assert second.output == first.output
    assert second.run_id == first.run_id
    assert second.conversation.conversation_id == first.conversation.conversation_id
    assert second.usage == first.usage

    def said(result: Any) -> Any:
        return [part for one in result.all_messages() for part in one.parts if part.part_kind]

    assert [one.part_kind for one in said(second)] == [one.part_kind for one in said(first)]


def test_two_runs_have_nothing_in_common(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with perdure.open_sync("memory:") as store:
        journey(store, log, run_id="run-1")
        journey(store, log, run_id="run-2")

    assert Counter(logged(log)) == Counter(PLAN * 2)


def test_outside_of_a_run_the_agent_is_as_it_was(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def run() -> None:
        agent, durability = agent_of("memory:", log)
        for _ in range(2):
            assert (await agent.run("Book.")).output == "booked"
        assert not durability.in_durable_context
        await durability.close()

    asyncio.run(run())
    assert Counter(logged(log)) == Counter(PLAN * 2)


def test_two_runs_of_the_agent_in_one_block_are_told_apart(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def run(store: Any) -> list[Any]:
        agent, durability = agent_of(store, log)
        with durability.run("day"):
            return [await agent.run("Book."), await agent.run("Book again.")]

    with perdure.open_sync("memory:") as store:
        first = asyncio.run(run(store))
        again = asyncio.run(run(store))

    assert Counter(logged(log)) == Counter(PLAN * 2)
    assert [one.run_id for one in again] == [one.run_id for one in first] == ["day:0", "day:1"]


def test_agents_side_by_side_find_their_own_steps_whoever_is_faster() -> None:
    asked: list[str] = []

    async def model(messages: Any, _: Any) -> ModelResponse:
        name = messages[0].parts[0].content
        asked.append(name)
        # The other way round than they were begun, and the second time not at all.
        await asyncio.sleep(0.05 * (3 - int(name)))
        return ModelResponse(parts=[TextPart(f"answer {name}")])

    async def run(store: Any) -> list[str]:
        durability = PerdureDurability(store)
        agent = Agent(FunctionModel(model), name="many", capabilities=[durability])
        with durability.run("all"):
            results = await asyncio.gather(*(agent.run(str(number)) for number in range(3)))
        return [one.output for one in results]

    with perdure.open_sync("memory:") as store:
        expected = [f"answer {number}" for number in range(3)]
        assert asyncio.run(run(store)) == expected
        assert asyncio.run(run(store)) == expected
    assert len(asked) == 3


def test_an_agent_inside_of_a_tool_goes_on_too_and_shifts_nothing() -> None:
    asked: list[str] = []
    failing = True

    def inner_model(messages: Any, _: Any) -> ModelResponse:
        turn = sum(isinstance(one, ModelResponse) for one in messages)
        asked.append(f"inner {turn}")
        if turn == 0:
            return ModelResponse(parts=[ToolCallPart("look", {}, "l1")])
        return ModelResponse(parts=[TextPart("seen")])

    def outer_model(messages: Any, _: Any) -> ModelResponse:
        turn = sum(isinstance(one, ModelResponse) for one in messages)
        asked.append(f"outer {turn}")
        if turn == 0:
            return ModelResponse(parts=[ToolCallPart("delegate", {}, "d1")])
        return ModelResponse(parts=[TextPart("done")])

    async def run(store: Any) -> list[str]:
        inner = Agent(
            FunctionModel(inner_model), name="inner", capabilities=[PerdureDurability(store)]
        )
        durability = PerdureDurability(store)
        outer = Agent(FunctionModel(outer_model), name="outer", capabilities=[durability])

        @inner.tool_plain
        async def look() -> str:
            asked.append("look")
            return "a bird"

        @outer.tool_plain
        async def delegate() -> str:
            said = str((await inner.run("Look.")).output)
            if failing:
                raise RuntimeError("after the inner agent")
            return said

        with durability.run("run"):
            results = [await outer.run("One."), await outer.run("Two.")]
        return [one.run_id for one in results]

    with perdure.open_sync("memory:") as store:
        with pytest.raises(RuntimeError):
            asyncio.run(run(store))
        failing = False
        first = asyncio.run(run(store))
        told = list(asked)
        assert asyncio.run(run(store)) == first == ["run:0", "run:1"]
    once = ["outer 0", "inner 0", "look", "inner 1", "outer 1"]
    assert asked == told == [*once, *once]


def test_a_retry_that_a_tool_asks_for_is_part_of_the_journal() -> None:
    calls: list[int] = []

    def model(messages: Any, _: Any) -> ModelResponse:
        last = messages[-1].parts[-1]
        if isinstance(last, ToolReturnPart) and last.outcome == "success":
            return ModelResponse(parts=[TextPart(str(last.content))])
        turn = sum(isinstance(one, ModelResponse) for one in messages)
        return ModelResponse(parts=[ToolCallPart("guess", {"number": turn}, f"g{turn}")])

    async def run(store: Any) -> Any:
        durability = PerdureDurability(store)
        agent = Agent(FunctionModel(model), name="guess", capabilities=[durability])

        @agent.tool_plain(retries=3)
        async def guess(number: int) -> str:
            calls.append(number)
            if number < 2:
                raise ModelRetry("higher")
            return "right"

        with durability.run("run"):
            return (await agent.run("Guess.")).output

    with perdure.open_sync("memory:") as store:
        assert [asyncio.run(run(store)) for _ in range(2)] == ["right"] * 2
    assert calls == [0, 1, 2]


def test_what_is_not_quite_json_comes_back_as_the_first_time() -> None:
    def model(*_: Any) -> ModelResponse:
        return ModelResponse(parts=[TextPart("cut \ud83d, NUL \0")])

    async def run(store: Any) -> Any:
        durability = PerdureDurability(store)
        agent = Agent(FunctionModel(model), name="odd", capabilities=[durability])
        with durability.run("run"):
            return (await agent.run("Say.")).output

    with perdure.open_sync("memory:") as store:
        assert [asyncio.run(run(store)) for _ in range(2)] == ["cut \ud83d, NUL \0"] * 2


def test_a_tool_may_stay_out_of_the_journal() -> None:
    looked: list[int] = []

    async def run(store: Any) -> None:
        durability = PerdureDurability(store)
        agent = Agent(TestModel(), name="clock", capabilities=[durability])

        @agent.tool_plain(metadata={"perdure": False})
        async def look() -> str:
            looked.append(1)
            return "noon"

        with durability.run("run"):
            await agent.run("When?")

    with perdure.open_sync("memory:") as store:
        asyncio.run(run(store))
        asyncio.run(run(store))
        assert [one.name.partition(":")[0] for one in store.steps.list("run")] == [
            "clock__model.request"
        ] * 2
    assert len(looked) == 2


def test_events_are_handled_once() -> None:
    seen: list[str] = []

    async def handle(_: Any, events: Any) -> None:
        seen.extend([type(event).__name__ async for event in events])

    async def run(store: Any) -> None:
        durability = PerdureDurability(store, event_stream_handler=handle)
        agent = Agent(TestModel(), name="streams", capabilities=[durability])

        @agent.tool_plain
        async def look() -> str:
            return "noon"

        with durability.run("run"):
            await agent.run("When?")

    with perdure.open_sync("memory:") as store:
        asyncio.run(run(store))
        first = list(seen)
        asyncio.run(run(store))
    assert "FunctionToolResultEvent" in first
    assert seen == first


def test_steps_belong_to_their_owner_and_are_erased_with_it(url: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with perdure.open(url) as store:
            session = await store.sessions.create("shop", "ada", "journey")
            agent, durability = agent_of(store, tmp_path / "log")
            with durability.run("run-1", owner=session.key):
                await agent.run("Book.")
            page = await store.steps.list("run-1", owner=session.key)
            assert len(page.items) == len(PLAN)
            await store.erase_user("shop", "ada")
            with (
                pytest.raises(perdure.NotFoundError),
                durability.run("run-1", owner=session.key),
            ):
                await agent.run("Book.")

    asyncio.run(run())


def test_a_run_that_lost_its_lease_stores_nothing_more(tmp_path: Path) -> None:
    async def run() -> None:
        async with perdure.open("memory:") as store:
            session = await store.sessions.create("shop", "ada", "journey")
            late = await store.sessions.lease(session.key, "first")
            await store.sessions.lease(session.key, "second", on_busy="take")
            agent, durability = agent_of(store, tmp_path / "log")
            with (
                pytest.raises(perdure.StaleSessionError),
                durability.run("run-1", owner=session.key, fence=late.fence),
            ):
                await agent.run("Book.")
            page = await store.steps.list("run-1", owner=session.key)
            assert len(page.items) == 0

    asyncio.run(run())


def test_an_agent_needs_a_name() -> None:
    with pytest.raises(UserError, match="Perdure"):
        Agent(TestModel(), capabilities=[PerdureDurability("memory:")])


def test_steps_have_names_that_hold_them_apart(tmp_path: Path) -> None:
    with perdure.open_sync("memory:") as store:
        journey(store, tmp_path / "log", run_id="r", name="x" * 600)
        names: Sequence[str] = [one.name for one in store.steps.list("r")]

    assert len(set(names)) == len(PLAN)
    assert all(len(name.encode()) <= 512 for name in names)
