"""What LangGraph gives, as checkpoints of perdure, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    CheckpointTuple,
    get_serializable_checkpoint_metadata,
)

from perdure import records
from perdure.adapters.langgraph.decoding import recalled, typed, unpacked
from perdure.errors import InvalidError
from perdure.operation import Cache
from perdure.records import JSON, NewWrite, Opaque
from perdure.values import encode

Config = Mapping[str, Any]

#: Where metadata counts what a channel has taken since its value was last stored whole.
COUNTERS = "counters_since_delta_snapshot"
#: Of encrypted metadata these stay readable: they say nothing of what the graph works on.
CLEAR = ("source", "step", "run_id", COUNTERS)
#: How errors speak of what they are about.
_CHECKPOINT = "checkpoint {0.id!r} of thread {0.lineage!r}"
_CHANNEL = "channel {0!r} of checkpoint {1.id!r} of thread {1.lineage!r}"
_WRITE = "a write of task {0.task!r}"
#: A value of metadata that is larger cannot be asked for by the store.
_LARGEST = 2**16


class Where(NamedTuple):
    """What a config points to."""

    lineage: str
    namespace: str
    id: str | None


def where(config: Config) -> Where:
    """Thread, namespace and checkpoint of a config; `InvalidError` without a thread."""
    configurable = config.get("configurable") or {}
    thread = configurable.get("thread_id")
    if thread is None:
        message = 'the config names no thread: {"configurable": {"thread_id": …}}'
        raise InvalidError(message, "thread_id")
    return Where(
        str(thread), configurable.get("checkpoint_ns") or "", configurable.get("checkpoint_id")
    )


def config_of(lineage: str, namespace: str, id: str | None) -> dict[str, Any]:
    """The config of a checkpoint."""
    return {
        "configurable": {
            "thread_id": lineage,
            "checkpoint_ns": namespace,
            "checkpoint_id": id,
        }
    }


def packed(serde: Any, value: Any) -> Opaque:
    """A value as the serializer writes it."""
    kind, data = serde.dumps_typed(value)
    return Opaque(kind, bytes(data))


def put_arguments(
    serde: Any,
    config: Config,
    checkpoint: Mapping[str, Any],
    metadata: Mapping[str, Any],
    new_versions: Mapping[str, Any],
    clear: Sequence[str] | None,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of `checkpoints.put`.

    ``clear`` are the keys of the metadata that stay readable; None: all that are JSON.
    """
    at = where(config)
    body = {key: value for key, value in checkpoint.items() if key != "channel_values"}
    values = checkpoint.get("channel_values") or {}
    whole = get_serializable_checkpoint_metadata(config, metadata)
    versions = checkpoint.get("channel_versions") or {}
    deltas = _deltas(whole.get(COUNTERS), versions)
    new = {channel: packed(serde, values[channel]) for channel in new_versions if channel in values}
    return (at.lineage, packed(serde, [body, dict(whole)])), {
        "id": checkpoint["id"],
        "namespace": at.namespace,
        "parent": at.id,
        "metadata": readable(whole, clear),
        "versions": {
            channel: version if isinstance(version, str | int) else repr(version)
            for channel, version in versions.items()
        },
        "deltas": deltas,
        "values": new,
        # The others stand with it, and what deltas are made of.
        "needs_parent": at.id is not None and (len(new) < len(values) or len(deltas) > 0),
    }


def _deltas(counters: Any, versions: Mapping[str, Any]) -> Sequence[str]:
    """The channels that are kept as what is written to them: the store is not to prune that."""
    return [channel for channel in counters if channel in versions] if counters else ()


def readable(metadata: Mapping[str, Any], clear: Sequence[str] | None) -> dict[str, JSON]:
    """The part of the metadata that the store can filter by."""
    wanted = metadata if clear is None else [key for key in clear if key in metadata]
    some = {key: metadata[key] for key in wanted}
    # Nearly always all of it is.
    if is_json(some):
        return some
    return {key: metadata[key] for key in wanted if is_json(metadata[key])}


def is_json(value: Any) -> bool:
    """Whether the value is JSON, and not too large to be asked for."""
    try:
        encode(value, "metadata", _LARGEST)
    except InvalidError:
        return False
    return True


def writes_of(serde: Any, writes: Sequence[tuple[str, Any]]) -> list[NewWrite]:
    """The writes of a task, special ones under their own indexes."""
    return [
        NewWrite(channel, packed(serde, value), WRITES_IDX_MAP.get(channel, place))
        for place, (channel, value) in enumerate(writes)
    ]


def tuple_of(serde: Any, found: records.CheckpointTuple) -> CheckpointTuple:
    """What LangGraph gets, but that the values of the channels are still packed."""
    key, parent = found.key, found.checkpoint.parent
    body, metadata = unpacked(serde, found.checkpoint.payload, _CHECKPOINT, key)
    body["channel_values"] = {
        channel: typed(value, _CHANNEL, channel, key)
        for channel, value in found.checkpoint.values.items()
    }
    return CheckpointTuple(
        config=config_of(*key),
        checkpoint=body,
        metadata=metadata,
        parent_config=None if parent is None else config_of(*parent),
        pending_writes=[pending(serde, write) for write in found.writes],
    )


def fill(serde: Any, memory: Cache, one: CheckpointTuple) -> CheckpointTuple:
    """The same with the values of the channels."""
    configurable = one.config["configurable"]
    lineage, namespace = configurable["thread_id"], configurable["checkpoint_ns"]
    values = one.checkpoint["channel_values"]
    for channel, value in values.items():
        values[channel] = recalled(serde, memory, (lineage, namespace, channel), value)
    return one


def pending(serde: Any, write: records.CheckpointWrite) -> tuple[str, str, Any]:
    """A write as LangGraph has it."""
    return write.task, write.channel, unpacked(serde, write.value, _WRITE, write)


__all__ = ["Where", "config_of", "fill", "put_arguments", "tuple_of", "where", "writes_of"]
