"""A pydantic-ai agent that is killed in the middle of its work, and goes on.

    python examples/pydantic_ai_durable.py agent.db order-7 crash  # dies after the payment
    python examples/pydantic_ai_durable.py agent.db order-7        # goes on; does not pay again
    python examples/pydantic_ai_durable.py agent.db                # what was said

The model is a stub, so that this runs without a key. Needs perdure[pydantic-ai].
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel

import perdure
from perdure.adapters.pydantic_ai import PerdureConversationStore, PerdureDurability


def model(messages: list[Any], _: Any) -> ModelResponse:
    """Stand in for a model that pays, sends, and reports."""
    turn = sum(isinstance(one, ModelResponse) for one in messages)
    print(f"the model is asked for the {turn + 1}. time")
    if turn == 0:
        return ModelResponse(parts=[ToolCallPart("pay", {"amount": 40}, "call-pay")])
    if turn == 1:
        return ModelResponse(parts=[ToolCallPart("send", {}, "call-send")])
    return ModelResponse(parts=[TextPart("Paid and sent.")])


def made(store: perdure.Store, crash: bool) -> tuple[Agent[None, str], PerdureDurability]:
    """The agent, and what makes its runs durable."""
    durability = PerdureDurability(store)
    agent = Agent(FunctionModel(model), name="shop", capabilities=[durability])

    @agent.tool_plain
    async def pay(amount: int) -> str:
        print(f"paid {amount} EUR")
        return "receipt 17"

    @agent.tool_plain
    async def send() -> str:
        if crash:
            print("killed")
            sys.stdout.flush()
            os._exit(1)
        print("sent")
        return "on its way"

    return agent, durability


async def main(path: str, order: str = "", crash: str = "") -> None:
    """Work on an order, or show what was said."""
    async with perdure.open(f"sqlite:///{path}") as store:
        conversations = PerdureConversationStore(store)
        if not order:
            for one in await conversations.list_conversations():
                loaded = await conversations.load(one.conversation_id)
                print(one.conversation_id, len(loaded.messages) if loaded else 0, "messages")
            return
        run_id = f"{order}/1"
        if await store.steps.find(run_id, "save"):
            print("was done before")
            return
        agent, durability = made(store, bool(crash))
        conversation = await conversations.load(order) or Conversation(conversation_id=order)
        with durability.run(run_id):
            result = await agent.run("Pay and send it.", conversation=conversation)

        async def save() -> int:
            return len(await conversations.save(result))

        # A step as well: it says that the run is over.
        await store.step(run_id, "save", save)
        print(result.output)


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
