"""Items as the SDK makes them, and agents whose model is a script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def user(text: str) -> Any:
    return {"role": "user", "content": text}


def said(text: str, id: str = "msg_1") -> Any:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {
        "id": id,
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


def called(call_id: str, name: str = "track", arguments: str = '{"order": 7}') -> Any:
    return {
        "type": "function_call",
        "id": f"fc_{call_id}",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }


def output(call_id: str, text: str = "London") -> Any:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def texts(items: Sequence[Any]) -> list[Any]:
    """What each item says, for a look at their order."""
    return [item.get("content", item.get("output", item.get("name"))) for item in items]


def agent(*steps: Any, **options: Any) -> Any:
    """An agent that says what the steps are, one a call of the model."""
    from agents import Agent  # noqa: PLC0415 - it may be missing
    from agents.testing import ScriptedModel, assistant_message  # noqa: PLC0415

    script = [[assistant_message(step)] if isinstance(step, str) else step for step in steps]
    return Agent(**{"name": "helper", "model": ScriptedModel(steps=script), **options})
