"""Removing checkpoints on purpose: which go, what of their values has to stay, who follows whom."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from perdure.features.checkpoint_bodies import (
    CHECKPOINTS,
    Memory,
    Ref,
    decode_body,
)
from perdure.features.checkpoint_reads import values_at
from perdure.features.lineages import refuse_if_kept, take
from perdure.operation import Cache, Plan
from perdure.records import CheckpointKey, PrunedCheckpoints

#: So many bodies are looked at together.
_TOGETHER = 500

Name = tuple[str, str]
"""Key of the namespace, and id."""


class Outlined(NamedTuple):
    """A checkpoint without its body."""

    ns: str
    namespace: str
    id: str
    number: int
    parent_ns: str | None
    parent: str | None
    body: Ref
    created_at: int
    run: str | None

    @property
    def name(self) -> Name:
        """What tells it from others of its lineage."""
        return self.ns, self.id


class Cut(NamedTuple):
    """Which checkpoints go: all but the last ones, all that are older; of both, those that are.

    ``kept`` stay, whatever else; with ``only`` nothing goes that is not in it.
    """

    keep_last: int
    before: int | None = None
    ns: str | None = None
    kept: Collection[Name] = ()
    only: Collection[Name] | None = None

    def spares(self, name: Name) -> bool:
        """Whether that one stays, however old it is."""
        return name in self.kept or (self.only is not None and name not in self.only)


def outline(part: str) -> Plan[list[Outlined]]:
    """All checkpoints of a lineage, by namespace and number."""
    return [
        Outlined._make([*row[:6], Ref(*row[6:9]), *row[9:]])
        for row in (yield CHECKPOINTS.outline(part=part))
    ]


def chosen(rows: Sequence[Outlined], cut: Cut) -> list[Outlined]:
    """Those that go: a plain function of what is there."""
    left: dict[str, int] = {}
    doomed = []
    for row in sorted(rows, key=lambda row: -row.number):
        if cut.ns is not None and row.ns != cut.ns:
            continue
        left[row.ns] = left.get(row.ns, 0) + 1
        old = cut.before is None or row.created_at < cut.before
        if left[row.ns] > cut.keep_last and old and not cut.spares(row.name):
            doomed.append(row)
    return doomed


def named(rows: Sequence[Outlined], names: Collection[Name]) -> list[Outlined]:
    """Those with these names."""
    return [row for row in rows if row.name in names]


def heirs(
    rows: Sequence[Outlined], doomed: Collection[Name], keys: Mapping[str, str]
) -> dict[Name, Outlined | None]:
    """For each that stays and loses its parent: the next one before it that stays, or None.

    ``keys`` has the key of each namespace.
    """
    by_name = {row.name: row for row in rows}
    found: dict[Name, Outlined | None] = {}
    for row in rows:
        if row.name in doomed:
            continue
        parent = _parent(row, by_name, keys)
        if parent is None or parent.name not in doomed:
            continue
        seen: set[Name] = set()
        while parent is not None and parent.name in doomed and parent.name not in seen:
            seen.add(parent.name)
            parent = _parent(parent, by_name, keys)
        stays = parent is not None and parent.name not in doomed and parent.name != row.name
        found[row.name] = parent if stays else None
    return found


def _parent(
    row: Outlined, by_name: Mapping[Name, Outlined], keys: Mapping[str, str]
) -> Outlined | None:
    if row.parent is None:
        return None
    ns = row.ns if row.parent_ns is None else keys.get(row.parent_ns, "-")
    return by_name.get((ns, row.parent))


def prune(
    part: str,
    lineage: str,
    choose: Callable[[Sequence[Outlined]], Sequence[Outlined]],
    cache: Cache,
    *,
    dry_run: bool,
    locked: bool = True,
    keeps_deltas: bool = True,
) -> Plan[PrunedCheckpoints]:
    """Remove what is chosen with all that only it needed; `DeniedError` if it is held.

    ``locked=False`` is for a dry run that reads from one snapshot. ``keeps_deltas``: what deltas
    of others are made of stays, though it was chosen.
    """
    nothing = PrunedCheckpoints(checkpoints=0, values=0, writes=0, bytes=0)
    # Where there is no lineage there is nothing to hold, and who begins one is not to be met.
    if locked and not (yield from take(part, renew=not dry_run)):
        return nothing
    rows = yield from outline(part)
    doomed = choose(rows)
    if doomed and keeps_deltas:
        spared = yield from _spared(part, rows, {row.name for row in doomed}, cache)
        doomed = [row for row in doomed if row.name not in spared]
    if not doomed:
        return nothing
    yield from refuse_if_kept(part, f"prune lineage {lineage!r}")
    names = {row.name for row in doomed}
    unneeded, size = yield from _unneeded(part, [r for r in rows if r.name not in names], cache)
    writes = 0
    for row in doomed:
        [(count, weight)] = yield CHECKPOINTS.size_of_writes(part=part, ns=row.ns, id=row.id)
        writes, size = writes + count, size + weight
    if not dry_run:
        yield from _relink(part, rows, names)
        of = [(part, *row.name) for row in doomed]
        yield CHECKPOINTS.drop_writes.many(of)
        yield CHECKPOINTS.drop_checkpoint.many(of)
        yield from _drop_values(part, unneeded)
    keys = [CheckpointKey(lineage, row.namespace, row.id) for row in doomed]
    return PrunedCheckpoints(
        checkpoints=len(doomed),
        values=sum(count for _, count in unneeded.values()),
        writes=writes,
        bytes=size,
        keys=keys,
    )


class _Held(NamedTuple):
    """Which channels of a checkpoint have a value, and which are deltas without one."""

    values: set[str]
    deltas: set[str]


def _spared(
    part: str, rows: Sequence[Outlined], doomed: Collection[Name], cache: Cache
) -> Plan[set[Name]]:
    """The doomed ones that deltas of others are made of: their parents, back to a value."""
    kept = [row for row in rows if row.name not in doomed]
    held = yield from _held(part, kept, cache)
    spared: set[Name] = set()
    if not any(one.deltas for one in held.values()):
        return spared
    held |= yield from _held(part, [row for row in rows if row.name in doomed], cache)
    by_name = {row.name: row for row in rows}
    keys = {row.namespace: row.ns for row in rows}
    seen: dict[Name, set[str]] = {}
    for row in kept:
        wanted = held[row.name].deltas
        parent = _parent(row, by_name, keys)
        # Where others have come by for the same channels the way back is known.
        while parent is not None and (wanted := wanted - seen.setdefault(parent.name, set())):
            seen[parent.name] |= wanted
            if parent.name in doomed:
                spared.add(parent.name)
            wanted = wanted - held[parent.name].values
            parent = _parent(parent, by_name, keys)
    return spared


def _held(part: str, rows: Sequence[Outlined], cache: Cache) -> Plan[dict[Name, _Held]]:
    found: dict[Name, _Held] = {}
    memory = Memory(cache, part)
    for some in _together(rows):
        values = yield from values_at(part, {row.body for row in some}, memory)
        for row in some:
            channels = decode_body(values[row.body].data, "a checkpoint").channels
            found[row.name] = _Held(
                {name for name, entry in channels.items() if entry.ref},
                {name for name, entry in channels.items() if entry.delta},
            )
    return found


def _relink(part: str, rows: Sequence[Outlined], doomed: Collection[Name]) -> Plan[None]:
    keys = {row.namespace: row.ns for row in rows}
    changes = []
    for (ns, of), heir in heirs(rows, doomed, keys).items():
        other = heir is not None and heir.ns != ns
        namespace = heir.namespace if heir is not None and other else None
        changes.append((namespace, heir.id if heir else None, part, ns, of))
    if changes:
        yield CHECKPOINTS.relink.many(changes)


Unneeded = dict[int, tuple[int, int]]
"""For each chain: the depth up to which it stays (-1: none), and how many rows go."""


def _unneeded(part: str, kept: Sequence[Outlined], cache: Cache) -> Plan[tuple[Unneeded, int]]:
    """What nothing that stays needs: a change needs all that it is a change of."""
    deepest = yield from _needed(part, kept, cache)
    found: dict[int, list[int]] = {}
    size = 0
    for chain, depth, weight in (yield CHECKPOINTS.sizes_of_values(part=part)):
        if depth > deepest.get(chain, -1):
            found.setdefault(chain, []).append(depth)
            size += weight
    return {chain: (deepest.get(chain, -1), len(some)) for chain, some in found.items()}, size


def _needed(part: str, kept: Sequence[Outlined], cache: Cache) -> Plan[dict[int, int]]:
    """How deep each chain is needed."""
    deepest: dict[int, int] = {}
    memory = Memory(cache, part)
    for some in _together(kept):
        needed = {row.body for row in some}
        for value in (yield from values_at(part, needed, memory)).values():
            body = decode_body(value.data, "a checkpoint")
            needed.update(entry.ref for entry in body.channels.values() if entry.ref)
        for ref in needed:
            deepest[ref.chain] = max(deepest.get(ref.chain, -1), ref.depth)
    return deepest


def _together(rows: Sequence[Outlined]) -> Iterable[Sequence[Outlined]]:
    # Those of one chain beside each other, so that it is read once.
    ordered = sorted(rows, key=lambda row: row.body)
    for start in range(0, len(ordered), _TOGETHER):
        yield ordered[start : start + _TOGETHER]


def _drop_values(part: str, unneeded: Unneeded) -> Plan[None]:
    if unneeded:
        yield CHECKPOINTS.drop_values.many(
            [(part, chain, depth) for chain, (depth, _) in unneeded.items()]
        )


def collect(part: str, cache: Cache) -> Plan[None]:
    """Remove the values that no checkpoint of a lineage needs any more; it is taken."""
    unneeded, _ = yield from _unneeded(part, (yield from outline(part)), cache)
    yield from _drop_values(part, unneeded)


__all__ = ["Cut", "Outlined", "chosen", "collect", "heirs", "named", "outline", "prune"]
