"""The work of the checkpoint rows: conversations of a graph, three checkpoints a turn.

A turn brings a message of the user, one of the agent, and an end; messages have 300 bytes of JSON,
and each checkpoint has all of its conversation so far. Two writes of a task follow each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

MESSAGE_BYTES = 300
A_TURN = 3
CHANNEL = "messages"

_PROSE = "The parcel left the depot this morning, and it should reach you before six today; "


def message_of(number: int) -> dict[str, str]:
    """The message of that number; its JSON has 300 bytes."""
    role = "assistant" if number % 2 else "user"
    frame = len(f'{{"role":"{role}","content":""}}')
    return {"role": role, "content": (f"{number}: " + _PROSE * 5)[: MESSAGE_BYTES - frame]}


@dataclass(frozen=True, slots=True)
class Step:
    """One checkpoint of a conversation: what it is called, and all messages so far."""

    number: int
    messages: Sequence[dict[str, str]]
    #: The version of the messages, and whether this step has brought it.
    version: str
    new: bool

    @property
    def id(self) -> str:
        """Ids sort in the order of the steps."""
        return f"{self.number:032d}"

    @property
    def parent(self) -> str | None:
        """The id of the step before."""
        return f"{self.number - 1:032d}" if self.number else None

    @property
    def payload(self) -> dict[str, Any]:
        """What a graph keeps beside its channels."""
        return {"v": 4, "ts": "2026-01-01T00:00:00+00:00", "versions_seen": {"agent": {}}}

    @property
    def metadata(self) -> dict[str, Any]:
        """What a graph notes of a step."""
        return {"source": "loop", "step": self.number, "parents": {}}

    @property
    def writes(self) -> Sequence[tuple[str, Any]]:
        """What a task writes for it."""
        return [(CHANNEL, self.messages[-1]), ("branch:to:agent", None)]


class Walk:
    """A conversation, step by step."""

    def __init__(self) -> None:
        self._messages: list[dict[str, str]] = []
        self._number = 0

    def next(self) -> Step:
        """The next step; two of three bring a message."""
        new = self._number % A_TURN != A_TURN - 1
        if new:
            self._messages.append(message_of(len(self._messages)))
        version = f"{len(self._messages):032d}.0"
        step = Step(self._number, list(self._messages), version, new)
        self._number += 1
        return step


class CheckpointPeer(Protocol):
    """A store of checkpoints that is awaited."""

    failures: tuple[type[Exception], ...]

    async def start(self) -> str:
        """Open; how durable it is, in words."""

    async def step(self, thread: str, step: Step) -> None:
        """Store a checkpoint, and then its writes."""

    async def latest(self, thread: str) -> int:
        """Read the last checkpoint whole; how many messages it has."""

    async def list(self, thread: str) -> int:
        """Read every checkpoint whole; how many there are."""

    async def size(self) -> int:
        """The bytes on the disk."""

    async def stop(self) -> None:
        """Close."""
