"""Claude Agent SDK sessions that outlive the machine they ran on.

    python examples/claude_sessions.py sessions.db "Where is my parcel?"  # runs a turn
    python examples/claude_sessions.py sessions.db                        # later: what was said

A stand-in plays Claude Code, so that this runs without it and without a key: leave out
``transport=`` for the real one. Needs perdure[claude].
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from claude_agent_sdk import (
    ClaudeAgentOptions,
    Transport,
    get_session_messages_from_store,
    list_sessions_from_store,
    project_key_for_directory,
    query,
)

from perdure.adapters.claude import PerdureSessionStore


class StandIn(Transport):
    """Answers one question, and mirrors its transcript as Claude Code does."""

    def __init__(self) -> None:
        self.session = str(uuid.uuid4())
        self.out: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    async def connect(self) -> None:
        """Nothing to start."""

    def is_ready(self) -> bool:
        """Always."""
        return True

    async def end_input(self) -> None:
        """No more questions."""
        await self.out.put(None)

    async def close(self) -> None:
        """End the stream."""
        await self.out.put(None)

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        """What Claude Code would print."""
        while (message := await self.out.get()) is not None:
            yield message

    async def write(self, data: str) -> None:
        """Take what the SDK sends: its greeting, then the question."""
        asked = json.loads(data)
        if asked["type"] == "control_request":
            done = {"subtype": "success", "request_id": asked["request_id"], "response": {}}
            await self.out.put({"type": "control_response", "response": done})
        elif asked["type"] == "user":
            await self.answer(asked["message"])

    async def answer(self, question: dict[str, Any]) -> None:
        """Say something, and mirror both."""
        said = {"role": "assistant", "content": [{"type": "text", "text": "In London."}]}
        first, second = str(uuid.uuid4()), str(uuid.uuid4())
        now = datetime.now(UTC).isoformat()
        common = {"sessionId": self.session, "isSidechain": False, "timestamp": now}
        lines = [
            {"type": "user", "uuid": first, "parentUuid": None, "message": question, **common},
            {"type": "assistant", "uuid": second, "parentUuid": first, "message": said, **common},
        ]
        folder = Path.home() / ".claude" / "projects" / project_key_for_directory()
        file = str(folder / f"{self.session}.jsonl")
        await self.out.put({"type": "transcript_mirror", "filePath": file, "entries": lines})
        numbers = {"duration_ms": 1, "duration_api_ms": 1, "num_turns": 1, "is_error": False}
        done = {"type": "result", "subtype": "success", "session_id": self.session, **numbers}
        await self.out.put({**done, "result": "In London."})


async def main(path: str, question: str | None = None) -> None:
    """Ask, or show what was asked before."""
    async with PerdureSessionStore(f"sqlite:///{path}") as store:
        if question is not None:
            options = ClaudeAgentOptions(session_store=store)
            async for message in query(prompt=question, options=options, transport=StandIn()):
                print(type(message).__name__, getattr(message, "result", ""))
            return
        for session in await list_sessions_from_store(store):
            print(session.summary)
            for told in await get_session_messages_from_store(store, session.session_id):
                print(f"  {told.type}: {told.message['content']}")


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
