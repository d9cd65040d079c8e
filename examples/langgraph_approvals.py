"""A LangGraph agent with a memory, whose refunds wait in the inbox of approvals.

    python examples/langgraph_approvals.py shop.db          # remembers, asks, and ends
    perdure --url sqlite:///shop.db approvals ls            # what waits, from another terminal
    python examples/langgraph_approvals.py shop.db approve  # or reject: answers and goes on

Threads, memories and approvals are in one file. The model is a stub, so that this runs without a
key. Needs langgraph and perdure[langgraph], and perdure[cli] for the command.
"""

from __future__ import annotations

import sys
from typing import Any, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore  # noqa: TC002 - LangGraph reads annotations
from langgraph.types import interrupt

import perdure
from perdure.adapters.langgraph import PerdureSaver, PerdureStore
from perdure.adapters.langgraph.approvals import ask, resume

THREAD: Any = {"configurable": {"thread_id": "order-7"}}
ADA = ("customers", "ada")


class State(TypedDict, total=False):
    """What the graph keeps of a conversation."""

    request: str
    outcome: str


def remember(state: State, *, store: BaseStore) -> State:
    """Keep what the customer has asked for, beyond this conversation."""
    seen = store.get(ADA, "requests")
    store.put(ADA, "requests", {"all": [*(seen.value["all"] if seen else []), state["request"]]})
    return {}


def refund(state: State) -> State:
    """Stand in for a model that calls a tool, which a person has to allow."""
    yes = interrupt(f"Refund {state['request']}?")
    return {"outcome": f"refunded {state['request']}" if yes else "nothing was refunded"}


def main(path: str, answer: str | None = None) -> None:
    """Begin, or answer what waits and go on."""
    builder = StateGraph(State)
    builder.add_node("remember", remember)
    builder.add_node("refund", refund)
    builder.add_edge(START, "remember")
    builder.add_edge("remember", "refund")
    with perdure.open_sync(f"sqlite:///{path}") as store:
        memory = PerdureStore(store)
        graph = builder.compile(checkpointer=PerdureSaver(store), store=memory)
        if answer is None:
            paused = graph.invoke({"request": "40 EUR"}, THREAD)
            for one in ask(store, paused, THREAD, user="ada", ttl=None):
                print("waiting:", one.question)
            return
        for one in store.approvals.list(status="pending", user="ada"):
            store.approvals.resolve(one.id, answer, by="ada")
        if not graph.get_state(THREAD).next:
            print("nothing waits for an answer")
            return
        done = graph.invoke(resume(store, graph.get_state(THREAD), user="ada"), THREAD)
        found = memory.get(ADA, "requests")
        print("done:", done["outcome"])
        print("remembered:", found.value["all"] if found else [])


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    main(*sys.argv[1:])
