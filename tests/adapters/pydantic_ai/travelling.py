"""A durable agent that books a journey, and writes down what it really does."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel

from perdure.adapters.pydantic_ai import PerdureDurability

#: What happens, in order; the two hotels side by side.
PLAN = ["model 0", "flight", "model 1", "hotel a", "hotel b", "model 2"]


def agent_of(
    store: Any, log: Path, *, die_after: str = "", fail_at: str = "", **options: Any
) -> tuple[Agent[None, str], PerdureDurability]:
    """The agent; ``die_after`` names what is done and logged when the process kills itself."""

    def done(what: str) -> None:
        with log.open("a") as file:
            file.write(f"{what}\n")
        if what == die_after:
            os.kill(os.getpid(), signal.SIGKILL)
        if what == fail_at:
            raise RuntimeError(what)

    def model(messages: Any, _: Any) -> ModelResponse:
        turn = sum(isinstance(one, ModelResponse) for one in messages)
        done(f"model {turn}")
        if turn == 0:
            return ModelResponse(parts=[ToolCallPart("flight", {"to": "Rome"}, "f1")])
        if turn == 1:
            calls = [ToolCallPart("hotel", {"name": name}, f"h-{name}") for name in "ab"]
            return ModelResponse(parts=calls)
        return ModelResponse(parts=[TextPart("booked")])

    durability = PerdureDurability(store, **options)
    agent = Agent(FunctionModel(model), name="travel", capabilities=[durability])

    @agent.tool_plain
    async def flight(to: str) -> str:
        done("flight")
        return f"to {to}"

    @agent.tool_plain
    async def hotel(name: str) -> dict[str, Any]:
        if die_after.startswith("hotel") and die_after != f"hotel {name}":
            # Under way, and not stored, when the process dies at the other one.
            await asyncio.sleep(600)
        done(f"hotel {name}")
        return {"hotel": name, "price": 12.5}

    return agent, durability
