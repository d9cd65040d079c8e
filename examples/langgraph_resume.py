"""A LangGraph agent that waits for a person, and goes on in another process.

    python examples/langgraph_resume.py threads.db        # runs until it has to ask
    python examples/langgraph_resume.py threads.db yes    # later, anywhere: goes on

The model is a stub, so that this runs without a key. Needs langgraph and perdure[langgraph].
"""

from __future__ import annotations

import sys
from typing import Any, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from perdure.adapters.langgraph import PerdureSaver

THREAD: Any = {"configurable": {"thread_id": "order-7"}}


class State(TypedDict, total=False):
    """What the graph keeps."""

    request: str
    plan: str
    outcome: str


def model(state: State) -> State:
    """Stand in for a model that makes a plan of a request."""
    return {"plan": f"Send the refund of {state['request']}?"}


def approve(state: State) -> State:
    """Wait for a person, be it for days."""
    answer = interrupt(state["plan"])
    return {"outcome": "the refund was sent" if answer == "yes" else "nothing was sent"}


def main(path: str, answer: str | None = None) -> None:
    """Begin, or go on with the answer."""
    builder = StateGraph(State)
    builder.add_node("model", model)
    builder.add_node("approve", approve)
    builder.add_edge(START, "model")
    builder.add_edge("model", "approve")
    with PerdureSaver.from_conn_string(path) as saver:
        graph = builder.compile(checkpointer=saver)
        if answer is None:
            found = graph.invoke({"request": "40 EUR"}, THREAD)
            print("waiting:", found["__interrupt__"][0].value)
        elif graph.get_state(THREAD).next:
            found = graph.invoke(Command(resume=answer), THREAD)
            print("done:", found["outcome"])
        else:
            print("nothing waits for an answer")


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    main(*sys.argv[1:])
