"""An agent whose stub model asks for calls that wait for somebody."""

from __future__ import annotations

from typing import Any

from pydantic_ai import Agent
from pydantic_ai.exceptions import CallDeferred
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.tools import DeferredToolRequests


def agent_of(**calls: Any) -> tuple[Agent[None, Any], list[str]]:
    """An agent that makes these calls, then says what they gave; and what it has paid.

    The name of a call is its id: one that begins with ``e`` is done elsewhere, any other pays the
    amount once somebody has said yes.
    """
    paid: list[str] = []

    def model(messages: Any, _: Any) -> ModelResponse:
        returned = [part for part in messages[-1].parts if isinstance(part, ToolReturnPart)]
        if returned:
            said = "; ".join(part.model_response_str(wrap_if_error=False) for part in returned)
            return ModelResponse(parts=[TextPart(said)])
        return ModelResponse(
            parts=[
                ToolCallPart("find", {"what": given}, name)
                if name.startswith("e")
                else ToolCallPart("pay", {"amount": given}, name)
                for name, given in calls.items()
            ]
        )

    agent: Agent[None, Any] = Agent(
        FunctionModel(model), name="payer", output_type=[str, DeferredToolRequests]
    )

    @agent.tool_plain(requires_approval=True)
    def pay(amount: int) -> str:
        paid.append(str(amount))
        return f"paid {amount}"

    @agent.tool_plain
    def find(what: str) -> str:
        raise CallDeferred(metadata={"what": what})

    return agent, paid
