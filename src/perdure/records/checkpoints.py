"""Checkpoints: the steps of a graph, and what its tasks have written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from perdure.records.basics import JSON
from perdure.records.conversations import _FromStored


class CheckpointKey(NamedTuple):
    """Which checkpoint: unique inside the store's tenant."""

    lineage: str
    namespace: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint(_FromStored):
    """A step of a lineage.

    ``number`` is the place of its put among those of its lineage and namespace: 1, 2, 3 …, with
    holes. ``versions`` has the version of every channel that was named, ``values`` the values of
    those that were asked for and are not empty. ``parent`` is what it was said to follow; it need
    not be there. What is damaged in the store is a `CorruptError`, that of a value when it is
    looked at: no value is decoded before.
    """

    key: CheckpointKey
    number: int
    payload: JSON
    metadata: dict[str, JSON]
    parent: CheckpointKey | None
    versions: dict[str, str | int]
    values: dict[str, JSON]
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
    value: JSON
    index: int | None = None


@dataclass(frozen=True, slots=True)
class NewCheckpoint:
    """A checkpoint that is about to be stored, as `on_write` sees it.

    Its key is told, and cannot be changed; nor can the channels that have values here.
    """

    key: CheckpointKey
    payload: JSON
    metadata: Mapping[str, JSON]
    values: Mapping[str, JSON]


@dataclass(frozen=True, slots=True)
class NewTaskWrites:
    """What a task is about to write, as `on_write` sees it.

    Lineage and task are told, and cannot be changed.
    """

    lineage: str
    task: str
    writes: Sequence[NewWrite]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointWrite:
    """What a task has written to a channel, for its checkpoint."""

    task: str
    index: int
    channel: str
    value: JSON
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

    ``parent`` need not be there; ``children`` are those that follow it, in the order of their
    puts.
    """

    key: CheckpointKey
    number: int
    parent: CheckpointKey | None
    children: tuple[CheckpointKey, ...]
    metadata: dict[str, JSON]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """A lineage of checkpoints: how much it holds, and when it was last written to.

    ``namespaces`` and ``checkpoints`` are numbers; ``bytes`` is what values and bodies take as
    they are stored.
    """

    lineage: str
    namespaces: int
    checkpoints: int
    bytes: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedCheckpoints:
    """What a prune has removed, or would remove.

    Numbers of checkpoints, of values that only they needed, and of their writes; ``bytes`` is what
    values and writes took as they were stored. ``keys`` are those of the checkpoints.
    """

    checkpoints: int
    values: int
    writes: int
    bytes: int
    keys: Sequence[CheckpointKey] = ()
