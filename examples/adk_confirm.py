"""An agent of ADK that may send mail only after a person has said yes, in another process.

    python examples/adk_confirm.py agent.db ask                  # runs until it has to ask
    perdure --url sqlite:///agent.db approvals approve ID --by ada    # anywhere, later
    python examples/adk_confirm.py agent.db resume               # goes on

The model is a stub, so that this runs without a key. Needs perdure[adk], and perdure[cli] for
the command.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from typing import Any

from google.adk.agents import LlmAgent
from google.adk.apps import App
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.runners import Runner
from google.adk.tools.function_tool import FunctionTool
from google.genai import types

from perdure import ApprovalPendingError, ConflictError
from perdure.adapters.adk import PerdureSessionService, ask, resume

APP, USER, SESSION = "mailer", "ada", "refund-7"


class Model(BaseLlm):
    """Stand in for a model that calls the tool first, and then tells what came of it."""

    model: str = "stub"

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        """Yield the one answer there is to what was said last."""
        del stream
        [*_, last] = llm_request.contents[-1].parts or [types.Part()]
        if last.function_response is None:
            call = types.FunctionCall(name="send_mail", args={"to": "bob"})
            answer = types.Part(function_call=call)
        else:
            answer = types.Part(text=f"It said: {last.function_response.response}")
        yield LlmResponse(content=types.Content(role="model", parts=[answer]))


def send_mail(to: str) -> dict[str, Any]:
    """Send the mail about the refund."""
    return {"result": f"sent to {to}"}


async def turn(service: PerdureSessionService, message: types.Content) -> list[Any]:
    """The events of one turn."""
    tool = FunctionTool(send_mail, require_confirmation=True)
    agent = LlmAgent(name="clerk", model=Model(), tools=[tool])
    runner = Runner(app=App(name=APP, root_agent=agent), session_service=service)
    run = runner.run_async(user_id=USER, session_id=SESSION, new_message=message)
    return [event async for event in run]


async def main(path: str, step: str) -> None:
    """Run until a person is asked, or go on with the answer."""
    async with PerdureSessionService(f"sqlite:///{path}") as service:
        if step == "ask":
            whose = {"app_name": APP, "user_id": USER, "session_id": SESSION}
            if not await service.get_session(**whose):
                await service.create_session(**whose)
            events = await turn(service, types.UserContent("Refund Bob, and tell him."))
            for one in await ask(service.store, events, app=APP, user=USER, session=SESSION):
                print("waiting:", one.tool_name, one.args, one.id)
        else:
            try:
                message = await resume(service.store, app=APP, user=USER, session=SESSION)
            except (ApprovalPendingError, ConflictError) as error:
                print(error)
                return
            events = await turn(service, message)
            print("done:", events[-1].content.parts[0].text)


if __name__ == "__main__":
    if not sys.argv[2:]:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
