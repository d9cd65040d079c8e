"""Sample data: a session, and a short conversation with a call of a tool in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from perdure.records import JSON, NewEvent, Session, SessionKey
from perdure.testing.clocks import START

SAMPLE_KEY = SessionKey("support", "ada", "chat-1")


def sample_session(key: SessionKey = SAMPLE_KEY, **changes: Any) -> Session:
    """A session of 2026-01-01 without events; ``changes`` are fields to have otherwise."""
    session = Session(
        key=key,
        uid=f"uid-{key.id}",
        title="Where is my parcel?",
        author="ada",
        agent_type="support",
        tags=("parcel",),
        metadata={"channel": "web"},
        parent=None,
        origin=None,
        created_at=START,
        updated_at=START,
        last_event_at=None,
        expires_at=None,
        deleted_at=None,
        version=1,
        event_count=0,
        head_seq=0,
        last_seq=0,
        preview="",
    )
    return replace(session, **changes)


def sample_events() -> list[NewEvent]:
    """Four events in the format of OpenAI's chat: question, tool call, its result, answer."""
    arguments = '{"number": "P-7"}'
    call: dict[str, JSON] = {"id": "call-1", "type": "function"}
    call["function"] = {"name": "find_parcel", "arguments": arguments}
    return [
        NewEvent({"role": "user", "content": "Where is my parcel?"}, id="e1", run_id="run-1"),
        NewEvent(
            {"role": "assistant", "content": None, "tool_calls": [call]}, id="e2", run_id="run-1"
        ),
        NewEvent(
            {"role": "tool", "tool_call_id": "call-1", "content": "in London"},
            id="e3",
            run_id="run-1",
            state_delta={"parcel": "P-7", "user:city": "London"},
        ),
        NewEvent(
            {"role": "assistant", "content": "It is in London."},
            id="e4",
            run_id="run-1",
            usage={"input_tokens": 42, "output_tokens": 6},
        ),
    ]
