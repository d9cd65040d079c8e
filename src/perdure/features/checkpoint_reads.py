"""Checkpoints as they are read: pages of rows, the chains their bytes are in, records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from perdure.features.checkpoint_bodies import (
    CHECKPOINTS,
    Body,
    Known,
    Link,
    Memory,
    Ref,
    Value,
    chains_text,
    decode_body,
    rolled,
    unfold,
)
from perdure.features.checkpoint_trees import Seen, copied
from perdure.features.deltas import Packed
from perdure.operation import Cache, Plan, Rows, Settings, Statement
from perdure.records import Checkpoint, CheckpointKey, CheckpointTuple, CheckpointWrite
from perdure.records.conversations import keep_stored
from perdure.values import from_micros, from_payload

#: Above every number of a put, and every id: they have 512 bytes at most.
LAST_NUMBER = 2**63 - 1
LAST_ID = "\U0010ffff" * 129
_CHECKPOINT, _LINK = 0, 1


class CheckpointRow(NamedTuple):
    """A checkpoint as a page has it."""

    part: str
    ns: str
    id: str
    namespace: str
    lineage: str
    parent: str | None
    parent_ns: str | None
    number: int
    body: Ref
    created_at: int
    epoch: int

    @property
    def what(self) -> str:
        """How errors speak of it."""
        return f"checkpoint {self.id!r} of {self.lineage!r}"

    @property
    def key(self) -> CheckpointKey:
        """Which it is."""
        return CheckpointKey(self.lineage, self.namespace, self.id)

    @property
    def parent_key(self) -> CheckpointKey | None:
        """Which it follows."""
        if self.parent is None:
            return None
        namespace = self.namespace if self.parent_ns is None else self.parent_ns
        return CheckpointKey(self.lineage, namespace, self.parent)


class Wanted(NamedTuple):
    """What a read asks for: which statement with which values, and how much of each."""

    found: str
    values: Mapping[str, Any]
    #: None: the values of all channels.
    channels: Collection[str] | None = None
    writes: bool = False


class Read(NamedTuple):
    """Checkpoints with their bodies, and what tasks have written for them."""

    rows: Sequence[CheckpointRow]
    bodies: Sequence[Body]
    writes: Mapping[tuple[str, str, str], Sequence[CheckpointWrite]]


def read(wanted: Wanted, limit: int, cache: Cache) -> Plan[Read]:
    """A page of checkpoints: one statement, if nothing is missing."""
    query = CHECKPOINTS.pick("page", wanted.found, "written" if wanted.writes else "plain")
    values = {**wanted.values, "limit": limit}
    found = yield query.among(values)
    rows, links, writes = _sorted_out(found)
    bodies: dict[tuple[str, Ref], Body] = {}
    for part, some in _by_part(rows).items():
        memory = Memory(cache, part)
        refs = {row.body for row in some}
        values_ = memory.values(refs)
        values_ |= _kept(unfold(links.get(part, ()), refs - values_.keys()), memory)
        for ref, value in values_.items():
            bodies[part, ref] = decode_body(value.data, f"a checkpoint of {some[0].lineage!r}")
    return Read(rows, [bodies[row.part, row.body] for row in rows], writes)


def _kept(values: Mapping[Ref, Value], memory: Memory) -> Mapping[Ref, Value]:
    for ref, value in values.items():
        memory.keep(ref, value)
    return values


def read_one(
    wanted: Wanted, cache: Cache, known: Ref | None = None, looks: Cache | None = None
) -> Plan[Read]:
    """The same of one checkpoint, or of none.

    The chain of its body is not sent if that is ``known``, which is remembered. With ``looks`` the
    body is that of others, too: nothing of it may be changed.
    """
    query = CHECKPOINTS.pick("one", wanted.found, "written" if wanted.writes else "plain")
    values = {**wanted.values, "known": known.chain if known else 0}
    found = yield Statement(query, tuple([values[param] for param in query.params]))
    rows, links, writes = _sorted_out(found)
    if not rows:
        return Read((), (), writes)
    [row] = rows
    key = (row.part, row.body)
    body: Body | None = None if looks is None else looks.get(key)
    if body is None:
        memory = Memory(cache, row.part)
        data = yield from _bytes_of(row, links.get(row.part, ()), memory)
        body = decode_body(data, row.what)
        if looks is not None:
            looks.put(key, body, Seen.WEIGHT * len(data))
    return Read(rows, [body], writes)


def _bytes_of(row: CheckpointRow, links: Sequence[Link], memory: Memory) -> Plan[bytes]:
    """The bytes of a body, remembered from now on."""
    value = memory.value(row.body)
    if value is None:
        # Without links what was known was another one: the chain is needed after all.
        links = links or (yield from links_of(row.part, [row.body.chain]))
        value = _kept(unfold(links, [row.body]), memory)[row.body]
    return value.data


def _sorted_out(
    found: Rows,
) -> tuple[
    list[CheckpointRow],
    dict[str, list[Link]],
    dict[tuple[str, str, str], list[CheckpointWrite]],
]:
    rows = []
    links: dict[str, list[Link]] = {}
    writes: dict[tuple[str, str, str], list[tuple[Any, ...]]] = {}
    for kind, part, *values in found:
        if kind == _CHECKPOINT:
            rows.append(_row(part, values))
        elif kind == _LINK:
            codec = values[0]
            chain, depth, head, tail, form, checksum, data = values[7:]
            links.setdefault(part, []).append(
                Link(chain, depth, Packed(head, tail, form, data), checksum, codec)
            )
        else:
            ns, of, task, path, *rest = values
            writes.setdefault((part, ns, of), []).append((path, task, rest[3], rest))
    sorted_writes = {key: _writes(some) for key, some in writes.items()}
    return rows, links, sorted_writes


def _row(part: str, values: Sequence[Any]) -> CheckpointRow:
    ns, name, namespace, lineage, parent, parent_ns, _ = values[:7]
    number, chain, depth, checksum, created_at, epoch, _ = values[7:]
    return CheckpointRow(
        part, ns, name, namespace, lineage, parent, parent_ns, number, Ref(chain, depth, checksum),
        created_at, epoch,
    )  # fmt: skip


def _writes(found: Sequence[tuple[Any, ...]]) -> list[CheckpointWrite]:
    """By path, task and index: bytewise, as everywhere."""
    ordered = sorted(found, key=lambda one: (one[0].encode(), one[1].encode(), one[2]))
    return [_write(path, task, rest) for path, task, _, rest in ordered]


def _write(path: str, task: str, values: Sequence[Any]) -> CheckpointWrite:
    channel, codec, text, idx, *_, data = values
    value = from_payload(text, codec, data, f"the write of {task!r} to {channel!r}")
    return CheckpointWrite(task=task, index=idx, channel=channel, value=value, task_path=path)


def _by_part(rows: Iterable[CheckpointRow]) -> dict[str, list[CheckpointRow]]:
    by_part: dict[str, list[CheckpointRow]] = {}
    for row in rows:
        by_part.setdefault(row.part, []).append(row)
    return by_part


def links_of(part: str, chains: Sequence[int]) -> Plan[list[Link]]:
    """The rows of these chains of a lineage, in one statement."""
    if not chains:
        return []
    found = yield CHECKPOINTS.chains(part=part, chains=chains_text(chains))
    return [
        Link(chain, depth, Packed(head, tail, form, data), checksum, codec)
        for chain, depth, head, tail, form, checksum, codec, data in found
    ]


# -- records ---------------------------------------------------------------------------------


def _refs(body: Body, channels: Collection[str] | None) -> dict[str, Ref]:
    """Where the values of the channels are that are asked for."""
    return {
        name: entry.ref
        for name, entry in body.channels.items()
        if entry.ref is not None and (channels is None or name in channels)
    }


def _loaded(found: Read, wanted: Wanted, cache: Cache) -> Plan[list[dict[str, Value]]]:
    """The values of each checkpoint: one statement for each lineage."""
    refs = [_refs(body, wanted.channels) for body in found.bodies]
    needed: dict[str, set[Ref]] = {}
    for row, some in zip(found.rows, refs, strict=True):
        needed.setdefault(row.part, set()).update(some.values())
    values = {}
    for part, some_refs in needed.items():
        values[part] = rolled((yield from values_at(part, some_refs, Memory(cache, part))))
    return [
        {name: values[row.part][ref] for name, ref in some.items()}
        for row, some in zip(found.rows, refs, strict=True)
    ]


def _remembered(
    row: CheckpointRow, body: Body, channels: Collection[str] | None, settings: Settings
) -> Plan[dict[str, Value]]:
    """The values of one checkpoint, remembered with what is decoded of them."""
    refs = _refs(body, channels)
    memory = Memory(settings.cache, row.part)
    values = yield from values_at(row.part, set(refs.values()), memory, keep=True)
    return {name: _seen(settings.looks, row.part, ref, values[ref]) for name, ref in refs.items()}


def values_at(
    part: str, wanted: set[Ref], memory: Memory, *, keep: bool = False
) -> Plan[Mapping[Ref, Value]]:
    """The values at these places of a lineage, in one statement if some are not remembered."""
    known = memory.values(wanted)
    missing = wanted - known.keys()
    if not missing:
        return known
    links = yield from links_of(part, [ref.chain for ref in missing])
    fresh = unfold(links, missing)
    return {**known, **(_kept(fresh, memory) if keep else fresh)}


def _seen(looks: Cache, part: str, ref: Ref, value: Value) -> Value:
    """The value, with what was decoded of it where it was looked at before."""
    key = (part, ref)
    seen = looks.get(key)
    if seen is None:
        seen = Seen()
        looks.put(key, seen, Seen.WEIGHT * len(value.data))
    return Value(value.codec, value.data, seen)


class Stored(NamedTuple):
    """What a record of a checkpoint reads its fields out of."""

    row: CheckpointRow
    body: Body
    loaded: Mapping[str, Value]

    def value_of(self, name: str) -> Any:
        """The field of that name; `CorruptError` if it is damaged."""
        reader = _READERS.get(name)
        return getattr(self.row, name) if reader is None else reader(self)

    def payload(self) -> Any:
        """The caller's own part."""
        return Value(self.body.codec, self.body.payload).record(self.row.what)

    def values(self) -> dict[str, Any]:
        """The values of the channels that were read."""
        return {
            channel: value.record(f"channel {channel!r} of {self.row.what}")
            for channel, value in self.loaded.items()
        }

    def versions(self) -> dict[str, Any]:
        """The version of each channel."""
        return {channel: entry.version for channel, entry in self.body.channels.items()}


_READERS: Mapping[str, Callable[[Stored], Any]] = {
    "parent": lambda stored: stored.row.parent_key,
    "created_at": lambda stored: from_micros(stored.row.created_at),
    "metadata": lambda stored: copied(stored.body.metadata),
    "payload": Stored.payload,
    "values": Stored.values,
    "versions": Stored.versions,
}

Checkpoint._row_of = staticmethod(Stored._make)


def _tuple(
    found: Read, row: CheckpointRow, body: Body, loaded: dict[str, Value]
) -> CheckpointTuple:
    """What the caller gets."""
    checkpoint: Checkpoint = object.__new__(Checkpoint)
    keep_stored(checkpoint, Stored(row, body, loaded))
    writes = found.writes.get((row.part, row.ns, row.id), ())
    return CheckpointTuple(checkpoint=checkpoint, writes=writes)


def tuples(found: Read, wanted: Wanted, cache: Cache) -> Plan[list[CheckpointTuple]]:
    """The records of what was read."""
    loaded = yield from _loaded(found, wanted, cache)
    each = zip(found.rows, found.bodies, loaded, strict=True)
    return [_tuple(found, row, body, values) for row, body, values in each]


def recent(memory: Memory, wanted: Wanted, ns: str, *, latest: bool) -> Known | None:
    """What this process remembers of the checkpoint that is asked for."""
    return memory.latest(ns) if latest else memory.known(ns, wanted.values.get("id", ""))


def one(
    wanted: Wanted, ns: str, part: str, settings: Settings, *, latest: bool
) -> Plan[CheckpointTuple | None]:
    """The checkpoint that is asked for, remembered for the next put; None if there is none."""
    memory = Memory(settings.cache, part)
    expected = recent(memory, wanted, ns, latest=latest)
    known = expected.body if expected and memory.value(expected.body) else None
    found = yield from read_one(wanted, settings.cache, known, settings.looks)
    if not found.rows:
        return None
    [row], [body] = found.rows, found.bodies
    if expected is None or (row.id, row.body, row.epoch) != _same(expected):
        memory.learn(ns, Known(row.id, row.body, body.channels, row.epoch), latest=latest)
    loaded = yield from _remembered(row, body, wanted.channels, settings)
    return _tuple(found, row, body, loaded)


def _same(known: Known) -> tuple[str, Ref, int]:
    """What tells whether it is still as it was."""
    return known.id, known.body, known.epoch


def known_of(part: str, ns: str, id: str, memory: Memory) -> Plan[Known | None]:
    """What is stored of a checkpoint, for a put that follows it."""
    wanted = Wanted("by_id", {"part": part, "ns": ns, "id": id}, ())
    found = yield from read_one(wanted, memory.cache)
    if not found.rows:
        return None
    [row], [body] = found.rows, found.bodies
    known = Known(row.id, row.body, body.channels, row.epoch)
    memory.learn(ns, known, latest=False)
    return known
