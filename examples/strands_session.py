"""A strands agent that tracks a parcel, and goes on in another process.

    python examples/strands_session.py agents.db                # a question, a tool, an answer
    python examples/strands_session.py agents.db "Thank you."   # later, anywhere: goes on

The model is a stub, so that this runs without a key. Needs perdure[strands].
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from strands import Agent, tool
from strands.models import Model

from perdure.adapters.strands import PerdureSessionManager


@tool
def track(order: int) -> str:
    """Tell where the parcel of an order is."""
    print("asked: track")
    return f"order {order} is in London"


class Stub(Model):
    """Stand in for a model that calls a tool first."""

    def get_config(self) -> Any:
        """Nothing to configure."""
        return {}

    def update_config(self, **config: Any) -> None:
        """Nothing to configure."""

    async def structured_output(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        """Not needed here."""
        yield {}

    async def stream(self, messages: Any, *_: Any, **__: Any) -> AsyncIterator[Any]:
        """Call the tool, or say something."""
        yield {"messageStart": {"role": "assistant"}}
        if len(messages) == 1:
            use = {"name": "track", "toolUseId": "call-1"}
            yield {"contentBlockStart": {"start": {"toolUse": use}}}
            yield {"contentBlockDelta": {"delta": {"toolUse": {"input": json.dumps({"order": 7})}}}}
        else:
            thanked = f"You are welcome. ({len(messages) - 1} messages before)"
            answered = "toolResult" in messages[-1]["content"][0]
            said = "It is in London." if answered else thanked
            yield {"contentBlockStart": {"start": {}}}
            yield {"contentBlockDelta": {"delta": {"text": said}}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "tool_use" if len(messages) == 1 else "end_turn"}}


def main(path: str, question: str = "Where is my parcel?") -> None:
    """Ask, with all that was said before."""
    manager = PerdureSessionManager("order-7", f"sqlite:///{path}", app="shop", user="ada")
    agent = Agent(
        model=Stub(), tools=[track], session_manager=manager, agent_id="desk", callback_handler=None
    )
    print(str(agent(question)).strip())
    manager.close()


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    main(*sys.argv[1:])
