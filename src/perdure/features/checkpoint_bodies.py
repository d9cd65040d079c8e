"""Where the bytes of checkpoints are: bodies, references to values, and what a process knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from perdure.errors import CorruptError
from perdure.features.checkpoint_trees import Roll, Tree, appended
from perdure.features.deltas import Packed, Sums, apply
from perdure.operation import Cache
from perdure.records import JSON, Opaque
from perdure.sql import load
from perdure.values import decode, digest, encode_trusted

CHECKPOINTS = load("perdure.features", "checkpoints.sql")

Version = str | int

#: Chains have numbers of 19 digits, the same on every engine.
_FEWEST = 10**18
_CHAINS = 8 * 10**18
_NAMES = 2**63
_HEX = 16
#: What a body says in the place of a reference.
_DELTA = (True,)


class Ref(NamedTuple):
    """Where a value is, and what tells it from another one that was to be there."""

    chain: int
    depth: int
    checksum: int


class Entry(NamedTuple):
    """A channel of a checkpoint: its version, and where its value is.

    None: it is empty; or, of a ``delta``, made of what was written to it since the last value.
    """

    version: Version
    ref: Ref | None
    delta: bool = False


Channels = Mapping[str, Entry]


class Known(NamedTuple):
    """A checkpoint as a process remembers it."""

    id: str
    body: Ref
    channels: Channels
    epoch: int


class Body(NamedTuple):
    """What is stored of a checkpoint beside its row."""

    metadata: dict[str, JSON]
    channels: dict[str, Entry]
    codec: str | None
    payload: bytes


class Value(NamedTuple):
    """Bytes, and what they are: JSON, or those of an `Opaque` of that codec."""

    codec: str | None
    data: bytes
    #: What is decoded of them already, if anything may be.
    tree: Tree | None = None

    def record(self, what: str) -> Any:
        """What the caller gets."""
        if self.codec is not None:
            return Opaque(self.codec, self.data)
        return decode(self.data, what) if self.tree is None else self.tree.look(self.data, what)


def namespace_key(namespace: str) -> str:
    """What stands for a namespace in keys."""
    return digest("namespace", namespace) if namespace else ""


def chain_number(*texts: str) -> int:
    """The number of a new chain, drawn from texts that no other put has."""
    return _FEWEST + int(digest("chain", *texts)[:_HEX], 16) % _CHAINS


def named(ns: str, channel: str, version: Version) -> int:
    """What a channel at a version is found by."""
    kind = "text" if isinstance(version, str) else "int"
    return int(digest("value", ns, channel, kind, str(version))[:_HEX], 16) % _NAMES


# -- bodies ----------------------------------------------------------------------------------


def encode_body(metadata: str, channels: Channels, codec: str | None, payload: bytes) -> bytes:
    """The bytes of a body: a line of JSON, then the payload."""
    refs = {
        name: [entry.version, *(entry.ref or (_DELTA if entry.delta else ()))]
        for name, entry in channels.items()
    }
    head = f'{{"metadata":{metadata},"codec":{encode_trusted(codec)},"channels":'
    return b"".join([head.encode(), encode_trusted(refs).encode(), b"}\n", payload])


def decode_body(data: bytes, what: str) -> Body:
    """The body of such bytes; `CorruptError`."""
    line, _, payload = data.partition(b"\n")
    head = decode(line, what)
    try:
        channels = {name: _entry(*entry) for name, entry in head["channels"].items()}
        return Body(head["metadata"], channels, head["codec"], payload)
    except (KeyError, TypeError, IndexError) as error:
        raise CorruptError(f"the body of {what} is damaged: {error!r}") from error


def _entry(version: Version, *told: Any) -> Entry:
    if len(told) == len(_DELTA):
        return Entry(version, None, delta=True)
    return Entry(version, Ref(*told) if told else None)


# -- what a process remembers ----------------------------------------------------------------


class Memory:
    """What of one lineage the process remembers: each of it is confirmed before it counts."""

    def __init__(self, cache: Cache, part: str) -> None:
        self.cache = cache
        self._part = part

    def known(self, ns: str, id: str) -> Known | None:
        """What is remembered of a checkpoint."""
        found: Known | None = self.cache.get(("checkpoint", self._part, ns, id))
        return found

    def latest(self, ns: str) -> Known | None:
        """The same of the one that was put, or read as the latest by any order, last."""
        found: str | None = self.cache.get(("latest", self._part, ns))
        return None if found is None else self.known(ns, found)

    def learn(self, ns: str, known: Known, *, latest: bool = True) -> None:
        """Remember a checkpoint."""
        size = 120 * len(known.channels)
        self.cache.put(("checkpoint", self._part, ns, known.id), known, size)
        if latest:
            self.cache.put(("latest", self._part, ns), known.id, 0)

    def value(self, ref: Ref) -> Value | None:
        """The bytes that are there."""
        found: Value | None = self.cache.get(("value", self._part, *ref))
        return found

    def values(self, refs: Iterable[Ref]) -> dict[Ref, Value]:
        """Of these places, those whose bytes are remembered."""
        values = ((ref, self.value(ref)) for ref in refs)
        return {ref: value for ref, value in values if value is not None}

    def keep(self, ref: Ref, value: Value) -> None:
        """Remember bytes."""
        self.cache.put(("value", self._part, *ref), value, len(value.data))

    def free(self, chain: int, depth: int, token: str) -> bool:
        """Whether nobody here has taken that place of a chain; it is taken from now on."""
        taken: str = self.cache.claim(("place", self._part, chain, depth), token)
        return taken == token


# -- chains ----------------------------------------------------------------------------------


class Link(NamedTuple):
    """A row of the table of values, but for its part."""

    chain: int
    depth: int
    packed: Packed
    checksum: int
    codec: str | None


def unfold(links: Iterable[Link], wanted: Iterable[Ref]) -> dict[Ref, Value]:
    """The values at these places, out of the links of their chains."""
    chains: dict[int, dict[int, Link]] = {}
    for link in links:
        chains.setdefault(link.chain, {})[link.depth] = link
    found: dict[Ref, Value] = {}
    by_chain: dict[int, set[Ref]] = {}
    for ref in wanted:
        by_chain.setdefault(ref.chain, set()).add(ref)
    for chain, refs in by_chain.items():
        found.update(_unfold(chains.get(chain, {}), chain, refs))
    return found


def _unfold(links: Mapping[int, Link], chain: int, refs: set[Ref]) -> dict[Ref, Value]:
    found = {}
    data = bytearray()
    sums = Sums()
    what = f"the value of a checkpoint, chain {chain}"
    asked = {ref.depth: ref for ref in refs}
    for depth in range(max(asked) + 1):
        link = links.get(depth)
        if link is None:
            raise CorruptError(f"{what}: the link at depth {depth} is missing")
        apply(link.packed, data, what)
        sums.follow(link.packed)
        ref = asked.get(depth)
        if ref is not None:
            if sums.of(data) != link.checksum:
                raise CorruptError(f"{what}: the bytes at depth {depth} are not what was put")
            if ref.checksum != link.checksum:
                raise CorruptError(f"{what}: depth {depth} holds other bytes than were put")
            found[ref] = Value(link.codec, bytes(data))
    return found


def rolled(values: Mapping[Ref, Value]) -> dict[Ref, Value]:
    """The same values, but lists that have grown, each out of the one before, are decoded once."""
    found = dict(values)
    before = None
    roll: Roll | None = None
    for ref in sorted(values):
        piece = _put_behind(values, before, ref)
        if before is None or piece is None:
            roll = None
        else:
            roll = roll or Roll(values[before].data)
            found[ref] = Value(None, values[ref].data, roll.grow(piece))
        before = ref
    return found


def _put_behind(values: Mapping[Ref, Value], before: Ref | None, ref: Ref) -> bytes | None:
    """What was put behind the items of the list before; None if it is another change."""
    if before is None or before.chain != ref.chain:
        return None
    base, value = values[before], values[ref]
    is_json = base.codec is None and value.codec is None
    return appended(base.data, value.data) if is_json else None


def chains_text(chains: Sequence[int]) -> str:
    """The numbers as one text, for a statement."""
    return ",".join(map(str, sorted(set(chains))))
