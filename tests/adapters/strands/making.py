"""Agents with a stub model, and records as strands makes them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from strands import Agent
from strands.agent.conversation_manager import NullConversationManager
from strands.models import Model
from strands.types.session import Session, SessionAgent, SessionMessage, SessionType


class Said(Model):  # type: ignore[misc, unused-ignore]
    """A model that gives its answers in order: texts, blocks, or a redaction."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    def get_config(self) -> Any:
        return {}

    def update_config(self, **config: Any) -> None: ...

    async def structured_output(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        yield {}

    async def stream(self, messages: Any, *_: Any, **__: Any) -> AsyncIterator[Any]:
        self.asked.append(json.loads(json.dumps(messages, default=str)))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        for event in _events(answer):
            yield event


def _events(answer: Any) -> Iterator[Any]:
    yield {"messageStart": {"role": "assistant"}}
    reason = "end_turn"
    if isinstance(answer, tuple):
        redacted, answer = answer
        yield {"redactContent": {"redactUserContentMessage": redacted}}
        reason = "guardrail_intervened"
    blocks: list[Any] = [{"text": answer}] if isinstance(answer, str) else answer
    for block in blocks:
        if "text" in block:
            yield {"contentBlockStart": {"start": {}}}
            yield {"contentBlockDelta": {"delta": {"text": block["text"]}}}
        else:
            reason, use = "tool_use", block["toolUse"]
            start = {"name": use["name"], "toolUseId": use["toolUseId"]}
            yield {"contentBlockStart": {"start": {"toolUse": start}}}
            given = json.dumps(use["input"])
            yield {"contentBlockDelta": {"delta": {"toolUse": {"input": given}}}}
        yield {"contentBlockStop": {}}
    yield {"messageStop": {"stopReason": reason}}


def call(name: str, **given: Any) -> Any:
    """An answer that calls a tool."""
    return [{"toolUse": {"toolUseId": f"call-{name}", "name": name, "input": given}}]


def agent(manager: Any, *answers: Any, **options: Any) -> Agent:
    """An agent that gives these answers."""
    options = {"agent_id": "a", "callback_handler": None} | options
    return Agent(model=Said(*answers), session_manager=manager, **options)


def texts(messages: Any) -> list[str]:
    """What is said in the messages."""
    return [block["text"] for one in messages for block in one["content"] if "text" in block]


def session(id: str = "s") -> Session:
    """A new record of a session."""
    return Session(session_id=id, session_type=SessionType.AGENT)


def record(id: str = "a", **state: Any) -> SessionAgent:
    """A new record of an agent."""
    kept = NullConversationManager().get_state()
    return SessionAgent(agent_id=id, state=state, conversation_manager_state=kept)


def message(number: int = 0, text: str = "", **fields: Any) -> SessionMessage:
    """A new record of a message."""
    said = {"role": "user", "content": [{"text": text or f"message {number}"}], **fields}
    return SessionMessage.from_message(said, number)  # type: ignore[arg-type, unused-ignore]
