"""Checkpoints as LangGraph makes them, for tests that need no graph."""

from __future__ import annotations

import os
from itertools import count
from typing import Any

_numbers = count(1)


def config(thread: str, id: str | None = None, ns: str = "") -> Any:
    """The config of a thread or of one of its checkpoints."""
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": id}}


def made(values: dict[str, Any] | None = None, id: str | None = None, **versions: Any) -> Any:
    """A checkpoint; without versions each value has a new one."""
    number = next(_numbers)
    values = values or {}
    return {
        "v": 4,
        "id": id or f"{number:08}",
        "ts": "2026-01-01T00:00:00+00:00",
        "channel_values": values,
        # Two processes never make the same version, as with `get_next_version`.
        "channel_versions": versions or dict.fromkeys(values, f"{number:032}.{os.getpid():016}"),
        "versions_seen": {"node": {"a": 1}},
        "updated_channels": None,
    }


def put(
    saver: Any,
    thread: str,
    values: dict[str, Any] | None = None,
    parent: Any = None,
    metadata: dict[str, Any] | None = None,
    ns: str = "",
    id: str | None = None,
) -> Any:
    """The config of a new checkpoint behind ``parent``."""
    at = config(thread, parent and parent["configurable"]["checkpoint_id"], ns)
    checkpoint = made(values, id)
    told = {"source": "loop", "step": 1, "parents": {}, **(metadata or {})}
    return saver.put(at, checkpoint, told, checkpoint["channel_versions"])


def ids(found: Any) -> list[str]:
    """The ids of what a list gives."""
    return [one.checkpoint["id"] for one in found]
