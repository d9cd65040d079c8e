"""Events, configurations and summarisers as trpc-agent has them."""

from __future__ import annotations

from itertools import count
from typing import Any

from trpc_agent_sdk.events import Event
from trpc_agent_sdk.sessions import (
    SessionServiceConfig,
    SessionSummarizer,
    SummarizerSessionManager,
)
from trpc_agent_sdk.types import Content, EventActions, Part

_numbers = count(1)


def said(text: str = "", author: str = "user", **fields: Any) -> Event:
    """An event that says something, or only changes the state."""
    number = next(_numbers)
    delta = fields.pop("state_delta", None)
    if delta is not None:
        fields["actions"] = EventActions(state_delta=delta)
    if text:
        role = "user" if author == "user" else "model"
        fields["content"] = Content(role=role, parts=[Part.from_text(text=text)])
    fields = {"id": f"e{number}", "invocation_id": "run", "timestamp": 1_000.0 + number} | fields
    return Event(author=author, **fields)


def texts(events: Any) -> list[str]:
    """What the events say."""
    return [event.get_text() for event in events]


def config(**fields: Any) -> SessionServiceConfig:
    """A configuration without a time to live, unless one is given."""
    made = SessionServiceConfig(**fields)
    if "ttl" not in fields:
        made.clean_ttl_config()
    return made


class Summariser(SessionSummarizer):
    """Makes a summary of the texts, without a model."""

    def __init__(self, **options: Any) -> None:
        super().__init__(model=None, **options)

    async def _compress_session_to_summary(self, events: Any, session_id: str, *_: Any) -> str:
        return f"{session_id}: " + " | ".join(texts(events))


def manager(**options: Any) -> Any:
    """A manager of summaries without a model."""
    return SummarizerSessionManager(model=None, summarizer=Summariser(**options))
