"""Agents with a model that says what it is told, for tests that run the real runner."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from google.adk.agents import LlmAgent
from google.adk.apps import App
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.runners import Runner
from google.adk.tools.function_tool import FunctionTool
from google.adk.tools.tool_context import ToolContext  # noqa: TC002 - ADK reads annotations
from google.genai import types
from pydantic import Field

from tests.adapters.adk.making import APP

#: What the tools of this process were called with.
CALLED: list[dict[str, Any]] = []


class Stub(BaseLlm):
    """Answers with the next of its answers: a text, or the call of a tool as (name, arguments)."""

    model: str = "stub"
    answers: list[Any] = Field(default_factory=list)
    seen: list[Any] = Field(default_factory=list)

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        """The answer, after what was said so far."""
        del stream
        self.seen.append([one.model_copy(deep=True) for one in llm_request.contents])
        answer = self.answers.pop(0) if self.answers else "Done."
        if isinstance(answer, str):
            parts = [types.Part(text=answer)]
        else:
            calls = answer if isinstance(answer, list) else [answer]
            parts = [
                types.Part(function_call=types.FunctionCall(name=name, args=args))
                for name, args in calls
            ]
        yield LlmResponse(content=types.Content(role="model", parts=parts))


def send_mail(to: str, text: str = "Hello.") -> dict[str, Any]:
    """Send a mail."""
    CALLED.append({"to": to, "text": text})
    return {"result": f"sent to {to}"}


def book_leave(days: int, tool_context: ToolContext) -> dict[str, Any]:
    """Book days of leave, as many as a person grants."""
    granted = tool_context.tool_confirmation
    if granted is None:
        tool_context.request_confirmation(hint=f"{days} days?", payload={"granted": 0})
        return {"status": "waits"}
    CALLED.append({"days": days, "confirmed": granted.confirmed, "payload": granted.payload})
    return {"granted": granted.payload if granted.confirmed else None, "said": granted.hint}


def remember(what: str, tool_context: ToolContext) -> dict[str, Any]:
    """Note something in every scope of the state."""
    tool_context.state["own"] = what
    tool_context.state["user:last"] = what
    tool_context.state["temp:only"] = what
    return {"result": "noted"}


def runner_of(
    service: Any,
    *answers: Any,
    tools: Sequence[Callable[..., Any] | FunctionTool] = (),
    **more: Any,
) -> tuple[Runner, Stub]:
    """A runner of one agent with these tools, and its model."""
    model = Stub(answers=list(answers), seen=[])
    agent = LlmAgent(name="clerk", model=model, tools=list(tools))
    return Runner(app=App(name=APP, root_agent=agent), session_service=service, **more), model


CONFIRMED = FunctionTool(send_mail, require_confirmation=True)
