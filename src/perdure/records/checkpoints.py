"""Checkpoints: the steps of a graph, and what its tasks have written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from perdure.records.basics import JSON, Opaque, SessionKey


class CheckpointKey(NamedTuple):
    """Which checkpoint: unique inside the store's tenant."""

    lineage: str
    namespace: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A step of a lineage.

    ``number`` is the place of its put among those of its lineage and namespace: 1, 2, 3 …, with
    holes. ``versions`` has the version of every channel that was named, ``values`` the values of
    those that were asked for and are not empty. ``parent`` is what it was said to follow; it need
    not be there.
    """

    key: CheckpointKey
    number: int
    payload: JSON | Opaque
    metadata: dict[str, JSON]
    parent: CheckpointKey | None
    versions: dict[str, str | int]
    values: dict[str, JSON | Opaque]
    created_at: datetime

    @property
    def id(self) -> str:
        """Its own id, without lineage and namespace."""
        return self.key.id


@dataclass(frozen=True, slots=True)
class NewWrite:
    """What a task is to have written to a channel.

    ``index`` is its place among the writes of the task; None: its place in the list that is
    given. One below 0 is special: a later write takes its place.
    """

    channel: str
    value: JSON | Opaque
    index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointWrite:
    """What a task has written to a channel, for its checkpoint."""

    task: str
    index: int
    channel: str
    value: JSON | Opaque
    task_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointTuple:
    """A checkpoint with what tasks have written for it, by (task_path, task, index)."""

    checkpoint: Checkpoint
    writes: Sequence[CheckpointWrite]

    @property
    def key(self) -> CheckpointKey:
        """The key of the checkpoint."""
        return self.checkpoint.key

    @property
    def metadata(self) -> dict[str, JSON]:
        """The metadata of the checkpoint."""
        return self.checkpoint.metadata

    @property
    def parent(self) -> CheckpointKey | None:
        """What the checkpoint was said to follow."""
        return self.checkpoint.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointNode:
    """A checkpoint in the tree of its lineage, without payload and values.

    ``children`` follow it, in the order of their puts. ``missing`` is a parent that is not there.
    """

    key: CheckpointKey
    number: int
    parent: CheckpointKey | None
    metadata: dict[str, JSON]
    created_at: datetime
    children: Sequence[CheckpointNode] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """A lineage of checkpoints: how much it holds, and when it was last written to.

    ``bytes`` is what its rows hold, as stored. ``owners`` are the people and sessions that it
    was linked to.
    """

    lineage: str
    namespaces: Sequence[str]
    checkpoints: int
    bytes: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedCheckpoints:
    """What a prune has removed, or would remove: checkpoints, rows of values and writes, bytes."""

    checkpoints: int
    values: int
    writes: int
    bytes: int
    keys: Sequence[CheckpointKey] = ()


Writes = Sequence[NewWrite | tuple[str, JSON | Opaque]]
"""What tasks write: `NewWrite`, or pairs of channel and value."""


Owner = tuple[str, str]
"""App and user."""


Versions = Mapping[str, str | int]
"""Channels with their versions."""

__all__ = [
    "Checkpoint",
    "CheckpointKey",
    "CheckpointNode",
    "CheckpointTuple",
    "CheckpointWrite",
    "Lineage",
    "NewWrite",
    "Owner",
    "PrunedCheckpoints",
    "SessionKey",
    "Versions",
    "Writes",
]
