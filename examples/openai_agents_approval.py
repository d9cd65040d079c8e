"""An agent of the OpenAI Agents SDK that waits for a person, and goes on in another process.

    python examples/openai_agents_approval.py chats.db       # runs until it has to ask
    perdure approvals approve ID --by ada --url sqlite:///chats.db   # anybody, anywhere
    python examples/openai_agents_approval.py chats.db       # goes on

The model is a script, so that this runs without a key. Needs perdure[openai-agents], and
perdure[cli] for the command.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from agents import Agent, Runner, function_tool, set_tracing_disabled
from agents.testing import ScriptedModel, assistant_message, function_call

from perdure import ApprovalPendingError, ApprovalUsedError
from perdure.adapters.openai_agents import PerdureSession, ask, resume


@function_tool(needs_approval=True)
def refund(order: int, euros: int) -> str:
    """Give money back."""
    print(f"refunding {euros} EUR of order {order}")
    return f"{euros} EUR were refunded."


def agent(*script: Any) -> Agent[Any]:
    """The agent, with what its model will say."""
    return Agent(name="shop", model=ScriptedModel(steps=script), tools=[refund])


async def begin(session: PerdureSession) -> None:
    """Run until the agent has to ask."""
    call = function_call("refund", {"order": 7, "euros": 40}, call_id="call-1")
    result = await Runner.run(agent([call]), "My mug is broken.", session=session)
    for approval in await ask(session, result):
        print(f"waiting: {approval.tool_name} {approval.args} ({approval.id})")


async def go_on(session: PerdureSession, approval_id: str) -> None:
    """Run to the end, if somebody has answered."""
    helper = agent([assistant_message("I have seen to it.")])
    try:
        state = await resume(session, helper, approval_id)
    except (ApprovalPendingError, ApprovalUsedError) as error:
        print(error)
        return
    result = await Runner.run(helper, state, session=session)
    print("done:", result.final_output)


async def main(path: str) -> None:
    """Begin, or go on with what was answered."""
    set_tracing_disabled(disabled=True)
    async with PerdureSession("order-7", path, app="shop", user="ada") as session:
        asked = await session.info() and await session.store.approvals.list(session=session.key)
        if asked and asked.items:
            await go_on(session, asked.items[0].id)
        else:
            await begin(session)


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
