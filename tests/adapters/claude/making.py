"""Keys and transcript lines as the SDK hands them on."""

from __future__ import annotations

import uuid
from itertools import count
from typing import Any

PROJECT = "-home-ada-shop"
_numbers = count(1)


def key(session: str = "s", subpath: str | None = None, project: str = PROJECT) -> Any:
    """The key of a transcript."""
    named = {"project_key": project, "session_id": session}
    return named if subpath is None else {**named, "subpath": subpath}


def line(text: Any = "Hi", type: str = "user", **fields: Any) -> dict[str, Any]:
    """A line with a message and a uuid of its own."""
    number = next(_numbers)
    return {
        "type": type,
        "uuid": str(uuid.uuid4()),
        "parentUuid": None,
        "sessionId": "s",
        "timestamp": f"2026-02-03T04:{number // 60 % 60:02}:{number % 60:02}.000Z",
        "message": {"role": type, "content": text},
        **fields,
    }
