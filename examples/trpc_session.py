"""A trpc-agent agent that remembers, and goes on in another process.

    python examples/trpc_session.py agents.db "My name is Ada."
    python examples/trpc_session.py agents.db "What is my name?"   # later, anywhere: goes on

The model is a stub, so that this runs without a key. Needs perdure[trpc].
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

from trpc_agent_sdk.agents import LlmAgent
from trpc_agent_sdk.models import LLMModel, LlmResponse
from trpc_agent_sdk.runners import Runner
from trpc_agent_sdk.types import Content, Part

from perdure.adapters.trpc import PerdureSessionService


class Stub(LLMModel):
    """Stand in for a model: says how much it has heard."""

    @classmethod
    def supported_models(cls) -> list[str]:
        """Its one name."""
        return ["stub"]

    def validate_request(self, request: Any) -> None:
        """Take any request."""

    async def _generate_async_impl(self, request: Any, *_: Any, **__: Any) -> AsyncIterator[Any]:
        heard = [part.text for one in request.contents for part in one.parts or [] if part.text]
        text = f"I have heard {len(heard)} things; the first was: {heard[0]}"
        yield LlmResponse(content=Content(role="model", parts=[Part.from_text(text=text)]))


async def main(path: str, question: str) -> None:
    """Ask, with all that was said before."""
    service = PerdureSessionService(f"sqlite:///{path}")
    agent = LlmAgent(name="desk", model=Stub(model_name="stub"), instruction="Be kind.")
    runner = Runner(app_name="shop", agent=agent, session_service=service)
    asked = Content(role="user", parts=[Part.from_text(text=question)])
    async for event in runner.run_async(user_id="ada", session_id="s", new_message=asked):
        if event.is_final_response() and event.get_text():
            print(event.get_text())
    await runner.close()
    await service.close()


if __name__ == "__main__":
    if not sys.argv[2:]:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
