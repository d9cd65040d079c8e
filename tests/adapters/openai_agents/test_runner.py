"""Runs of agents whose model is a script: what they keep, and what they are given back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("agents.memory", reason="needs openai-agents: see .ci/adapters")

from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrail,
    InputGuardrailTripwireTriggered,
    ModelRetrySettings,
    ModelSettings,
    RunConfig,
    RunContextWrapper,
    Runner,
    function_tool,
    handoff,
)
from agents.memory import SQLiteSession
from agents.run_internal.session_persistence import rewind_session_items
from agents.testing import ModelStep, assistant_message, function_call

from perdure.adapters.openai_agents import PerdureSession
from tests.adapters.openai_agents.making import agent, said, texts, user

pytestmark = pytest.mark.filterwarnings("default")
WAYS = ["run", "run_sync", "run_streamed"]


def going(way: str, helper: Any, text: Any, session: Any, **options: Any) -> Any:
    """The result of a run, in each of the ways there are, in a loop of its own."""
    if way == "run_sync":
        return Runner.run_sync(helper, text, session=session, **options)
    if way == "run":
        return asyncio.run(Runner.run(helper, text, session=session, **options))

    async def streamed() -> Any:
        result = Runner.run_streamed(helper, text, session=session, **options)
        async for _ in result.stream_events():
            pass
        return result

    return asyncio.run(streamed())


def stored(session: Any) -> list[Any]:
    return asyncio.run(session.get_items())


def asked(helper: Any, call: int = -1) -> list[Any]:
    """What the model was given at a call."""
    return list(helper.model.calls[call].input)


@function_tool
def track(order: int) -> str:
    """Where an order is."""
    return f"Order {order} is in London."


@pytest.mark.parametrize("way", WAYS)
def test_a_run_remembers_those_before_it(session: PerdureSession, way: str) -> None:
    helper = agent("San Francisco.", "California.")

    assert going(way, helper, "Where is the bridge?", session).final_output == "San Francisco."
    assert going(way, helper, "In which state?", session).final_output == "California."

    assert texts(asked(helper))[::2] == ["Where is the bridge?", "In which state?"]
    assert [item["role"] for item in stored(session)] == ["user", "assistant"] * 2


@pytest.mark.parametrize("way", WAYS)
def test_a_run_without_the_session_remembers_nothing(session: PerdureSession, way: str) -> None:
    helper = agent("one", "two")
    going(way, helper, "first", session)
    going(way, helper, "second", None)

    assert texts(asked(helper)) == ["second"]
    assert len(stored(session)) == 2


@pytest.mark.parametrize("way", WAYS)
def test_sessions_do_not_mix(sessions: Any, way: str) -> None:
    helper = agent("one", "two")
    going(way, helper, "in one", sessions.session("one"))
    going(way, helper, "in other", sessions.session("other"))

    assert texts(asked(helper)) == ["in other"]


@pytest.mark.parametrize("way", WAYS)
def test_a_call_of_a_tool_and_its_result_are_kept_in_their_order(
    session: PerdureSession, way: str
) -> None:
    call = function_call("track", {"order": 7}, call_id="c1")
    helper = agent([call], "It is in London.", tools=[track])

    going(way, helper, "Where is it?", session)

    items = stored(session)
    assert [item.get("type", item.get("role")) for item in items] == [
        "user",
        "function_call",
        "function_call_output",
        "message",
    ]
    assert items[2]["output"] == "Order 7 is in London."
    assert items[1]["call_id"] == items[2]["call_id"] == "c1"


@pytest.mark.parametrize("way", WAYS)
def test_what_a_run_keeps_is_what_their_own_session_keeps(
    session: PerdureSession, way: str
) -> None:
    kept = []
    for one in (session, SQLiteSession("theirs")):
        call = function_call("track", {"order": 7}, call_id="c1")
        helper = agent([call], "It is in London.", "Tomorrow.", tools=[track])
        going(way, helper, "Where is it?", one)
        going(way, helper, [user("When?"), user("Really?")], one)
        kept.append(stored(one))

    assert kept[0] == kept[1]


@pytest.mark.parametrize("way", WAYS)
def test_a_handoff_is_kept_and_the_other_agent_knows_what_was_said(
    session: PerdureSession, way: str
) -> None:
    other = agent("I am the other.", name="other")
    passing = handoff(other)
    first = agent([function_call(passing.tool_name, {}, call_id="h1")], handoffs=[passing])

    result = going(way, first, "Help.", session)

    assert (result.final_output, result.last_agent.name) == ("I am the other.", "other")
    assert texts(asked(other))[0] == "Help."
    assert [item.get("type", item.get("role")) for item in stored(session)] == [
        "user",
        "function_call",
        "function_call_output",
        "message",
    ]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("limit", "given"), [(None, 5), (0, 1), (2, 3), (100, 5)])
def test_the_limit_of_a_run_counts_before_that_of_the_session(
    session: PerdureSession, way: str, limit: int | None, given: int
) -> None:
    helper = agent("1", "2", "3")
    going(way, helper, "a", session)
    going(way, helper, "b", session)

    going(way, helper, "c", session, run_config=RunConfig(session_settings={"limit": limit}))

    assert len(asked(helper)) == given
    assert len(stored(session)) == 6


@pytest.mark.parametrize("way", WAYS)
def test_history_may_be_prepared_for_a_run_and_does_not_grow_by_it(
    session: PerdureSession, way: str
) -> None:
    helper = agent("1", "2")
    going(way, helper, "a", session)

    def twice(history: Any, new: Any) -> Any:
        return [*history, *history, *new]

    going(way, helper, [user("b")], session, run_config=RunConfig(session_input_callback=twice))

    assert texts(asked(helper))[::2] == ["a", "a", "b"]
    assert [item["role"] for item in stored(session)] == ["user", "assistant"] * 2


@pytest.mark.parametrize("way", WAYS)
def test_a_guardrail_that_stops_a_run_leaves_what_was_asked_as_theirs_does(
    session: PerdureSession, way: str
) -> None:
    async def stop(*_: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)

    kept = []
    for one in (session, SQLiteSession("theirs")):
        helper = agent("never", input_guardrails=[InputGuardrail(stop, run_in_parallel=False)])
        with pytest.raises(InputGuardrailTripwireTriggered):
            going(way, helper, "Tell me a secret.", one)
        kept.append(stored(one))

    assert kept[0] == kept[1]


@pytest.mark.parametrize("way", WAYS)
def test_a_model_that_is_asked_again_doubles_nothing(session: PerdureSession, way: str) -> None:
    settings = ModelSettings(
        retry=ModelRetrySettings(max_retries=2, policy=lambda _: True, backoff={"initial_delay": 0})
    )
    helper = agent(
        ModelStep.raise_error(RuntimeError("busy")),
        ModelStep.raise_error(RuntimeError("busy")),
        [assistant_message("At last.")],
        model_settings=settings,
    )

    assert going(way, helper, "Hello?", session).final_output == "At last."

    assert len(stored(session)) == 2


@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_fails_leaves_the_session_usable(session: PerdureSession, way: str) -> None:
    helper = agent(ModelStep.raise_error(RuntimeError("no model")), "Better now.")
    with pytest.raises(RuntimeError, match="no model"):
        going(way, helper, "first", session)

    going(way, helper, "second", session)

    assert texts(stored(session))[:2] == ["first", "second"]


class Failing(PerdureSession):
    """A disk that is full."""

    async def add_items(self, items: list[Any], *, wrapper: Any = None) -> None:  # noqa: ARG002
        """Fail."""
        raise OSError("no space left")


@pytest.mark.parametrize("way", WAYS)
def test_a_write_that_fails_fails_the_run(sessions: Any, way: str) -> None:
    session = Failing("chat", sessions.store)

    with pytest.raises(OSError, match="no space"):
        going(way, agent("x"), "hello", session)


async def test_many_runs_on_one_session_at_once_lose_no_item(session: PerdureSession) -> None:
    await asyncio.gather(
        *[
            Runner.run(agent(f"answer {n}", name=f"a{n}"), f"question {n}", session=session)
            for n in range(10)
        ]
    )

    items = await session.get_items()
    said_of_users = sorted(item["content"] for item in items if item["role"] == "user")
    assert said_of_users == sorted(f"question {n}" for n in range(10))
    assert len(items) == 20


# -- retries that take items back ------------------------------------------------------------


async def test_a_rewind_takes_back_what_the_run_had_added(session: PerdureSession) -> None:
    await session.add_items([user("keep"), said("kept")])
    mine = [user("again"), said("half an ans", "m2")]
    await session.add_items(mine)

    await rewind_session_items(session, mine)

    assert await session.get_items() == [user("keep"), said("kept")]


async def test_a_rewind_leaves_a_tail_that_is_not_its_own(session: PerdureSession) -> None:
    mine = [user("again"), said("half an ans", "m2")]
    await session.add_items([*mine, user("from another")])

    await rewind_session_items(session, mine)

    assert await session.get_items() == [*mine, user("from another")]


# -- the run's context -----------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_the_context_of_a_run_may_say_more_of_its_events(sessions: Any, way: str) -> None:
    def about(wrapper: RunContextWrapper[Any]) -> dict[str, Any]:
        return {"run_id": wrapper.context["run"], "metadata": {"trace": wrapper.context["trace"]}}

    session = PerdureSession("chat", sessions.store, about=about)
    context = {"run": "run-1", "trace": "t-9"}

    going(way, agent("Hello."), "Hi.", session, context=context)

    events = asyncio.run(session.store.events.read(session.key, run_id="run-1"))
    assert [event.role for event in events] == ["user", "assistant"]
    assert events[0].metadata == {"trace": "t-9"}


async def test_two_agents_with_one_session_continue_each_other(session: PerdureSession) -> None:
    one, other = agent("I am one.", name="one"), agent("I am the other.", name="other")
    await Runner.run(one, "Who are you?", session=session)
    await Runner.run(other, "And you?", session=session)

    assert len(asked(other)) == 3
    assert isinstance(other, Agent)
