"""Runs whose thread is pruned while they go on."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

import pytest

pytest.importorskip("langgraph.graph", reason="needs langgraph: see .ci/adapters")

from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, StateGraph

from perdure import NotFoundError
from perdure.adapters.langgraph import PerdureSaver
from tests.adapters.langgraph.keeping import COLOURS
from tests.adapters.langgraph.making import config

pytestmark = pytest.mark.filterwarnings("default")


class State(TypedDict, total=False):
    name: str
    text: str
    log: Annotated[list[str], operator.add]


class Deltas(TypedDict, total=False):
    name: str
    text: str
    log: Annotated[list[str], DeltaChannel(lambda old, new: [*old, *[x for n in new for x in n]])]


@pytest.fixture
def saver(url: str) -> Iterator[PerdureSaver]:
    with PerdureSaver.from_conn_string(url) as one:
        yield one


def graph(saver: PerdureSaver, schema: Any, way: str = "pruned") -> Any:
    """A graph whose run named ``first`` loses the step that it goes on from."""

    def overtaken(state: Any) -> Any:
        if state["name"] == "first" and way == "pruned":
            made.invoke({"name": "second", "text": "b"}, config("t"))
            saver.prune(["t"])
        elif state["name"] == "first":
            saver.delete_thread("t")
        return {"log": ["overtaken"]}

    builder = StateGraph(schema)
    builder.add_node("begin", lambda state: {"text": state["text"] + "!", "log": ["begin"]})
    builder.add_node("overtaken", overtaken)
    builder.add_node("end", lambda _: {"log": ["end"]})
    builder.add_edge(START, "begin")
    builder.add_edge("begin", "overtaken")
    builder.add_edge("overtaken", "end")
    made: Any = builder.compile(checkpointer=saver)
    return made


def run(made: Any, colour: str, given: Any) -> Any:
    if colour == "called":
        return made.invoke(given, config("t"), durability="sync")
    return asyncio.run(made.ainvoke(given, config("t"), durability="sync"))


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("way", ["pruned", "deleted"])
def test_what_has_not_changed_since_a_step_that_is_gone_is_not_lost(
    saver: PerdureSaver, way: str, colour: str
) -> None:
    made = graph(saver, State, way)

    done = run(made, colour, {"name": "first", "text": "a"})

    assert done["text"] == "a!"
    assert made.get_state(config("t")).values == done


def test_a_run_whose_deltas_are_gone_ends_and_says_so(saver: PerdureSaver) -> None:
    with pytest.raises(NotFoundError, match="is gone"):
        run(graph(saver, Deltas, "deleted"), "called", {"name": "first", "text": "a"})

    assert saver.get_tuple(config("t")) is None


def test_what_deltas_are_made_of_stays_for_a_run_that_is_overtaken(saver: PerdureSaver) -> None:
    made = graph(saver, Deltas)

    done = run(made, "called", {"name": "first", "text": "a"})

    assert done == {"name": "first", "text": "a!", "log": ["begin", "overtaken", "end"]}
    assert made.get_state(config("t")).values == done


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_runs_one_after_the_other_have_their_deltas(saver: PerdureSaver, durability: str) -> None:
    made = graph(saver, Deltas)
    for turn in range(1, 4):
        made.invoke({"name": "other", "text": "a"}, config("t"), durability=durability)
        assert len(made.get_state(config("t")).values["log"]) == 3 * turn
        saver.prune(["t"])
    made.update_state(config("t"), {"log": ["by hand"]})
    assert made.get_state(config("t")).values["log"][-2:] == ["end", "by hand"]
