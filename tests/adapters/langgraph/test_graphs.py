"""Graphs of LangGraph that keep their state in perdure."""

from __future__ import annotations

import asyncio
from typing import Any, TypedDict

import pytest

pytest.importorskip("langgraph.graph", reason="needs langgraph: see .ci/adapters")

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.store.base import BaseStore  # noqa: TC002 - LangGraph reads annotations
from langgraph.types import Command, interrupt

import perdure
from perdure.adapters.langgraph import PerdureSaver, PerdureStore
from tests.adapters.langgraph.making import config
from tests.engines.processes import ROOT, in_a_process, ran

pytestmark = pytest.mark.filterwarnings("default")


class State(TypedDict, total=False):
    question: str
    answer: str
    steps: int


def ask(state: State) -> State:
    return {"answer": interrupt(state["question"]), "steps": state.get("steps", 0) + 1}


def graph(saver: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node("count", lambda state: {"steps": state.get("steps", 0) + 1})
    builder.add_node("ask", ask)
    builder.add_edge(START, "count")
    builder.add_edge("count", "ask")
    builder.add_edge("ask", END)
    return builder.compile(checkpointer=saver)


def begin(url: str) -> Any:
    with PerdureSaver.from_conn_string(url) as saver:
        found = graph(saver).invoke({"question": "Ship it?"}, config("t"))
        return [one.value for one in found["__interrupt__"]]


def resume(url: str) -> Any:
    async def awaited() -> Any:
        async with PerdureSaver.from_conn_string(url) as saver:
            return await graph(saver).ainvoke(Command(resume="yes"), config("t"))

    return asyncio.run(awaited())


def test_a_graph_that_waits_goes_on_in_another_process(shared_url: str) -> None:
    assert in_a_process(begin, shared_url) == ["Ship it?"]

    done = in_a_process(resume, shared_url)

    assert done == {"question": "Ship it?", "answer": "yes", "steps": 2}


def test_invoke_works_where_a_loop_runs(url: str) -> None:
    async def inside() -> Any:
        with PerdureSaver.from_conn_string(url) as saver:
            one = graph(saver)
            one.invoke({"question": "?"}, config("t"))
            return one.invoke(Command(resume="yes"), config("t"))

    assert asyncio.run(inside())["answer"] == "yes"


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_the_history_of_a_graph_is_that_of_the_saver_in_memory(url: str, durability: Any) -> None:
    with PerdureSaver.from_conn_string(url) as saver:
        told = []
        for one in (graph(saver), graph(InMemorySaver())):
            for turn in range(3):
                one.invoke({"question": f"{turn}"}, config("t"), durability=durability)
                one.invoke(Command(resume=f"answer {turn}"), config("t"), durability=durability)
            one.update_state(config("t"), {"answer": "corrected"})
            states = list(one.get_state_history(config("t")))
            told.append([(s.values, s.next, s.metadata["step"], len(s.tasks)) for s in states])

    assert told[0] == told[1]


def test_a_graph_forks_from_an_older_step_and_a_deleted_thread_begins_anew(url: str) -> None:
    with PerdureSaver.from_conn_string(url) as saver:
        one = graph(saver)
        one.invoke({"question": "?"}, config("t"))
        waiting = one.get_state(config("t"))
        one.invoke(Command(resume="first"), waiting.config)
        one.update_state(waiting.config, {"question": "asked otherwise?"})
        assert one.get_state(config("t")).next == ("ask",)
        assert one.invoke(Command(resume="second"), config("t"))["answer"] == "second"

        saver.delete_thread("t")
        one.invoke({"question": "again?"}, config("t"))

        assert one.get_state(config("t")).values == {"question": "again?", "steps": 1}
        assert len(list(one.get_state_history(config("t")))) == 3


def test_the_example_waits_and_resumes(tmp_path: Any) -> None:
    script = (ROOT / "examples" / "langgraph_resume.py").read_text(encoding="utf-8")
    path = str(tmp_path / "threads.db")

    assert ran(script, path) == ["waiting: Send the refund of 40 EUR?"]
    assert ran(script, path, "yes") == ["done: the refund was sent"]
    assert ran(script, path, "yes") == ["nothing waits for an answer"]


def test_the_example_asks_in_the_inbox_and_remembers(tmp_path: Any) -> None:
    script = (ROOT / "examples" / "langgraph_approvals.py").read_text(encoding="utf-8")
    path = str(tmp_path / "shop.db")

    assert ran(script, path) == ["waiting: Refund 40 EUR?"]
    assert ran(script, path, "approve") == ["done: refunded 40 EUR", "remembered: ['40 EUR']"]
    assert ran(script, path, "approve") == ["nothing waits for an answer"]


# -- long-term memory beside checkpoints ---------------------------------------------------------


def remember(state: State, *, store: BaseStore) -> State:
    seen = store.get(("answers",), "all")
    every = [*(seen.value["all"] if seen else []), state["question"]]
    store.put(("answers",), "all", {"all": every})
    return {"steps": len(every)}


async def aremember(state: State, *, store: BaseStore) -> State:
    await store.aput(("answers",), state["question"], {"said": state["question"]})
    # What does not await works here as well.
    return {"steps": len(store.search(("answers",), limit=100))}


def with_memory(store: Any, node: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node("remember", node)
    builder.add_edge(START, "remember")
    return builder.compile(checkpointer=PerdureSaver(store), store=PerdureStore(store))


def test_one_store_holds_threads_and_what_they_share(url: str) -> None:
    with perdure.open_sync(url) as store:
        one = with_memory(store, remember)
        for number in range(3):
            found = one.invoke({"question": f"{number}"}, config(f"t{number}"))

        assert found["steps"] == 3
        assert store.kv.get(("answers",), "all").value == {"all": ["0", "1", "2"]}
        assert len(store.checkpoints.lineages().items) == 3


def test_many_threads_at_once_share_one_memory(url: str) -> None:
    async def inside() -> Any:
        async with perdure.open(url) as store:
            one = with_memory(store, aremember)
            asked = [one.ainvoke({"question": f"{n}"}, config(f"t{n}")) for n in range(12)]
            await asyncio.gather(*asked)
            return [one.key async for one in store.kv.iter(("answers",))]

    assert sorted(asyncio.run(inside()), key=int) == [f"{number}" for number in range(12)]
