"""The plan of a put, and its form in one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from perdure.errors import NotFoundError
from perdure.features.checkpoint_bodies import (
    CHECKPOINTS,
    Channels,
    Entry,
    Known,
    Memory,
    Ref,
    Value,
    Version,
    chain_number,
    encode_body,
)
from perdure.features.checkpoint_prunes import collect
from perdure.features.checkpoint_reads import known_of
from perdure.features.deltas import LONGEST, change, checksum, whole
from perdure.features.lineages import (
    Linked,
    arrive,
    link,
    refuse_if_fenced,
    refuse_if_not_latest,
    take,
)
from perdure.operation import Bumps, Fused, Plan, Rows, Settings, Statement, Work
from perdure.records import CheckpointKey
from perdure.values import Payload


class Given(NamedTuple):
    """A channel as it was given: without a value it is as it was at that version, or empty.

    A ``delta`` is not empty then, but made of what was written to it.
    """

    version: Version
    named: int
    value: Value | None
    delta: bool = False


class WriteRow(NamedTuple):
    """What a task has written, as columns."""

    idx: int
    channel: str
    payload: Payload


class Written(NamedTuple):
    """The writes of one task."""

    task: str
    path: str
    rows: Sequence[WriteRow]
    replacing: bool


class Draft(NamedTuple):
    """A checked put: everything is encoded, and every number is drawn."""

    part: str
    ns: str
    namespace: str
    tenant: str
    lineage: str
    id: str
    parent_ns: str | None
    parent: str | None
    digest: str
    run: str | None
    metadata: str
    codec: str | None
    payload: bytes
    channels: Mapping[str, Given]
    seed: str
    now: int
    writes: Written
    fence: bool | int
    linked: Linked | None
    #: Some values stand with the parent alone.
    needs_parent: bool = False

    @property
    def key(self) -> CheckpointKey:
        """Which checkpoint it is."""
        return CheckpointKey(self.lineage, self.namespace, self.id)

    @property
    def epoch(self) -> int:
        """The first epoch of the namespace, if this makes it: never one that was before."""
        return _first_epoch(self.seed)

    @property
    def follows_here(self) -> bool:
        """Whether its parent is said, and is in its own namespace."""
        return self.parent is not None and self.parent_ns is None


class Late(NamedTuple):
    """Checked writes for a checkpoint, which may not be there yet."""

    part: str
    ns: str
    namespace: str
    tenant: str
    lineage: str
    id: str
    seed: str
    now: int
    writes: Written
    fence: bool | int
    linked: Linked | None

    @property
    def epoch(self) -> int:
        """The first epoch of the namespace, if these make it: never one that was before."""
        return _first_epoch(self.seed)


def _first_epoch(seed: str) -> int:
    return chain_number(seed, "epoch") // 2


class Row(NamedTuple):
    """A row of the table of values, as it is to be."""

    chain: int
    depth: int
    named: int | None
    head: int
    tail: int
    form: int
    checksum: int
    codec: str | None
    data: bytes

    @property
    def ref(self) -> Ref:
        """Where it is."""
        return Ref(self.chain, self.depth, self.checksum)


class _Layout(NamedTuple):
    """A put as rows: those of new values, then the body."""

    rows: Sequence[Row]
    channels: Channels
    body: Row
    #: What the body holds.
    value: Value


def work(draft: Draft, settings: Settings) -> Work[CheckpointKey]:
    """The work of a put; one statement can do the usual ones."""
    memory = Memory(settings.cache, draft.part)

    def plain(_: Bumps) -> Plan[CheckpointKey]:
        return put(draft, memory)

    basis = _basis(draft, memory)
    if not _fits(draft, basis):
        return plain
    once: list[_Layout] = []

    def one() -> Statement:
        entries = _entries(draft, basis, {})
        if not once:
            once.append(_lay_out(draft, memory, entries, basis))
        return _at_once(draft, entries, once[0], basis)

    def done(rows: Rows) -> CheckpointKey:
        _, epoch = rows[0]
        _learn(draft, memory, once[0], epoch)
        return draft.key

    return Fused(plain, one, done, plain, (draft.part, draft.ns))


def _basis(draft: Draft, memory: Memory) -> Known | None:
    """What the process knows that values can be changes of: the parent, or the latest."""
    parent = memory.known(draft.ns, draft.parent or "") if draft.follows_here else None
    return parent or memory.latest(draft.ns)


def _is_parent(draft: Draft, known: Known | None) -> bool:
    return known is not None and draft.follows_here and known.id == draft.parent


def _fits(draft: Draft, basis: Known | None) -> bool:
    """Whether nothing has to be looked up first."""
    if draft.fence or (draft.linked is not None and (draft.linked.session or basis is None)):
        return False
    # Which versions a parent has that nobody here knows has to be seen.
    return not draft.follows_here or not draft.channels or _is_parent(draft, basis)


# -- channels --------------------------------------------------------------------------------


def _entries(
    draft: Draft, basis: Known | None, first: Mapping[str, Ref]
) -> dict[str, Entry | Given]:
    """Each channel: where its value is, or what is to be stored.

    The first value of a version stays, along a line; where it is not known to which line a
    checkpoint belongs, in its whole namespace.
    """
    before = basis.channels if basis is not None and _is_parent(draft, basis) else {}
    found: dict[str, Entry | Given] = {}
    for name, given in draft.channels.items():
        entry = before.get(name)
        if entry is not None and _same(entry.version, given.version):
            found[name] = entry
        elif name in first:
            found[name] = Entry(given.version, first[name])
        elif given.value is None:
            found[name] = Entry(given.version, None, given.delta)
        else:
            found[name] = given
    return found


def _same(one: Version, other: Version) -> bool:
    return type(one) is type(other) and one == other


def _unsure(draft: Draft, entries: Mapping[str, Entry | Given]) -> list[tuple[str, int]]:
    """The channels that may have a first value elsewhere, each with what it is found by."""
    has_line = draft.follows_here
    found = []
    for name, entry in entries.items():
        given = draft.channels[name]
        if isinstance(entry, Given):
            if not has_line:
                found.append((name, given.named))
        elif entry.ref is None and given.value is None:
            found.append((name, given.named))
    return found


# -- rows ------------------------------------------------------------------------------------


def _lay_out(
    draft: Draft, memory: Memory, entries: Mapping[str, Entry | Given], basis: Known | None
) -> _Layout:
    before = basis.channels if basis else {}
    rows = []
    channels: dict[str, Entry] = {}
    for name, entry in entries.items():
        if isinstance(entry, Entry):
            channels[name] = entry
            continue
        assert entry.value is not None  # noqa: S101 - what has none is an Entry
        base = before[name].ref if name in before else None
        row = _row(draft, memory, f"={name}", entry.value, base, entry.named)
        rows.append(row)
        channels[name] = Entry(entry.version, row.ref)
    body = Value(None, encode_body(draft.metadata, channels, draft.codec, draft.payload))
    row = _row(draft, memory, "", body, basis.body if basis else None, None)
    return _Layout(rows, channels, row, body)


def _row(
    draft: Draft, memory: Memory, name: str, value: Value, base: Ref | None, of: int | None
) -> Row:
    """The row of a value: a change of its base if the process has that, else whole."""
    sum_ = checksum(value.data)
    if base is not None and base.depth < LONGEST:
        before = memory.value(base)
        packed = None if before is None else change(before.data, value.data)
        if packed is not None and memory.free(base.chain, base.depth + 1, draft.seed + name):
            row = Row(base.chain, base.depth + 1, of, *packed[:3], sum_, value.codec, packed.data)
            memory.keep(row.ref, value)
            return row
    row = _whole(draft, name, value, of)
    memory.keep(row.ref, value)
    return row


def _whole(draft: Draft, name: str, value: Value, of: int | None) -> Row:
    chain = chain_number(draft.seed, draft.part, draft.digest, name)
    packed = whole(value.data)
    sum_ = checksum(value.data)
    return Row(chain, 0, of, *packed[:3], sum_, value.codec, packed.data)


def _learn(draft: Draft, memory: Memory, layout: _Layout, epoch: int) -> None:
    memory.learn(draft.ns, Known(draft.id, layout.body.ref, layout.channels, epoch))


# -- one statement ---------------------------------------------------------------------------


def _at_once(
    draft: Draft, entries: Mapping[str, Entry | Given], layout: _Layout, basis: Known | None
) -> Statement:
    columns = map(list, zip(*layout.rows, layout.body, strict=True))
    values: dict[str, Any] = dict(zip(_OF_VALUES, columns, strict=True))
    values.update(zip(_OF_PUT, _put_of(draft), strict=True))
    values.update(zip(Ref._fields, layout.body.ref, strict=True))
    values |= at_once(draft.writes)
    values["absent"] = [named for _, named in _unsure(draft, entries)]
    values["owner"] = draft.linked.owner_part if draft.linked else None
    if basis is None:
        values["epoch"] = draft.epoch
        query = CHECKPOINTS.put_new
    else:
        query = CHECKPOINTS.put_known
        values |= {"epoch": basis.epoch, "base_id": basis.id}
        values.update(zip(_OF_BASE, basis.body, strict=True))
    return query.among(values)


_OF_ROW = ("part", "ns", "id", "parent_ns", "parent", "digest", "run", "now")
_OF_PUT = (*_OF_ROW, "tenant", "lineage", "namespace")
_OF_VALUES = tuple(f"v_{name}" for name in Row._fields)
_OF_BASE = tuple(f"base_{name}" for name in Ref._fields)
_row_of, _put_of = attrgetter(*_OF_ROW), attrgetter(*_OF_PUT)


def at_once(written: Written) -> dict[str, Any]:
    """The parameters of writes in one statement: columns as lists."""
    rows = written.rows
    texts, codecs, data = zip(*(row.payload for row in rows), strict=True) if rows else ((), (), ())
    return {
        "task": written.task,
        "path": written.path,
        "idx": [row.idx for row in rows],
        "channel": [row.channel for row in rows],
        "value": list(texts),
        "codec": list(codecs),
        "data": list(data),
        "replacing": int(written.replacing),
    }


# -- the plan --------------------------------------------------------------------------------


def put(draft: Draft, memory: Memory) -> Plan[CheckpointKey]:
    """Store a checkpoint, or find that it is stored."""
    if draft.linked is not None:
        draft = draft._replace(linked=(yield from draft.linked.resolved()))
    if draft.fence:
        yield from refuse_if_fenced(draft)
    number, epoch = yield from arrive(draft, step=1)
    if draft.linked is not None:
        yield from link(draft, draft.linked, draft.now)
    basis = _basis(draft, memory)
    bodies = yield CHECKPOINTS.bodies(
        part=draft.part, ns=draft.ns, id=draft.id, base_id=basis.id if basis else draft.id
    )
    stored = {found: (digest, Ref(*ref)) for found, digest, *ref in bodies}
    if draft.id in stored and stored[draft.id][0] == draft.digest:
        # A retry of what was acknowledged to nobody: nothing moves.
        yield from write(draft.part, draft.ns, draft.id, draft.writes)
        return draft.key
    if draft.fence is True:
        yield from refuse_if_not_latest(draft)
    if basis is not None and stored.get(basis.id, ("", None))[1] != basis.body:
        basis = None
    if draft.channels and draft.follows_here and not _is_parent(draft, basis):
        basis = (yield from _parent(draft, memory)) or basis
    layout = yield from _insert(draft, memory, basis, number)
    if draft.id in stored:
        epoch += 1
        yield CHECKPOINTS.renew(part=draft.part, ns=draft.ns)
    yield CHECKPOINTS.add(**_columns_of_row(draft), number=number, **layout.body.ref._asdict())
    yield from write(draft.part, draft.ns, draft.id, draft.writes)
    if draft.id in stored and layout.body.depth == 0:
        # Now and then what replacements have left behind goes.
        yield from take(draft.part)
        yield from collect(draft.part, memory.cache)
        epoch += 1
    _learn(draft, memory, layout, epoch)
    return draft.key


def _parent(draft: Draft, memory: Memory) -> Plan[Known | None]:
    found = yield from known_of(draft.part, draft.ns, draft.parent or "", memory)
    if found is None and draft.needs_parent:
        raise NotFoundError(f"checkpoint {draft.parent!r} is gone, with the values it had")
    return found


def _columns_of_row(draft: Draft) -> dict[str, Any]:
    return dict(zip(_OF_ROW, _row_of(draft), strict=True))


def _insert(draft: Draft, memory: Memory, basis: Known | None, number: int) -> Plan[_Layout]:
    entries = _entries(draft, basis, {})
    first = {}
    for name, found_by in _unsure(draft, entries):
        rows = yield CHECKPOINTS.first_named(part=draft.part, named=found_by)
        if rows:
            first[name] = Ref(*rows[0])
    if first:
        entries = _entries(draft, basis, first)
    layout = _lay_out(draft, memory, entries, basis)
    channels = dict(layout.channels)
    moved = False
    for row, (name, given) in zip(layout.rows, _new(entries), strict=True):
        added = yield CHECKPOINTS.add_value(part=draft.part, number=number, **row._asdict())
        if not added:
            # Another process has taken the place: this one has a chain of its own.
            other = _whole(draft, f"={name}", _value(given), row.named)
            yield CHECKPOINTS.add_value(part=draft.part, number=number, **other._asdict())
            memory.keep(other.ref, _value(given))
            channels[name] = Entry(given.version, other.ref)
            moved = True
    body, value = layout.body, layout.value
    if moved:
        value = Value(None, encode_body(draft.metadata, channels, draft.codec, draft.payload))
        body = _whole(draft, "", value, None)
    added = yield CHECKPOINTS.add_value(part=draft.part, number=number, **body._asdict())
    if not added:
        body = _whole(draft, "", value, None)
        yield CHECKPOINTS.add_value(part=draft.part, number=number, **body._asdict())
    memory.keep(body.ref, value)
    return _Layout(layout.rows, channels, body, value)


def _new(entries: Mapping[str, Entry | Given]) -> list[tuple[str, Given]]:
    return [(name, entry) for name, entry in entries.items() if isinstance(entry, Given)]


def _value(given: Given) -> Value:
    assert given.value is not None  # noqa: S101 - only what has one is stored
    return given.value


def write(part: str, ns: str, id: str, written: Written) -> Plan[None]:
    """Store the writes of a task."""
    if written.rows:
        yield CHECKPOINTS.write.many(
            [
                (
                    part, ns, id, written.task, row.idx, written.path, row.channel,
                    *row.payload, int(written.replacing),
                )
                for row in written.rows
            ]
        )  # fmt: skip


def write_work(late: Late) -> Work[CheckpointKey]:
    """The work of writes alone; one statement can do them in a namespace that is there."""
    key = CheckpointKey(late.lineage, late.namespace, late.id)

    def plain(_: Bumps) -> Plan[CheckpointKey]:
        linked = late.linked
        if linked is not None:
            linked = yield from linked.resolved()
        if late.fence:
            yield from refuse_if_fenced(late)
        yield from arrive(late, step=0)
        if linked is not None:
            yield from link(late, linked, late.now)
        yield from write(late.part, late.ns, late.id, late.writes)
        return key

    if late.fence or (late.linked is not None and late.linked.session):
        return plain

    def once() -> Statement:
        values = {**late._asdict(), **at_once(late.writes)}
        values["owner"] = late.linked.owner_part if late.linked else None
        query = CHECKPOINTS.put_writes
        return query.among(values)

    return Fused(plain, once, lambda _: key, plain, (late.part, late.ns))
