"""Checkpoints out of others: a lineage once more, a branch, the tree of what follows what."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.errors import AlreadyExistsError, NotFoundError
from perdure.features.checkpoint_bodies import CHECKPOINTS, Body, Memory, chain_number
from perdure.features.checkpoint_drafts import run_digest
from perdure.features.checkpoint_lists import Where
from perdure.features.checkpoint_puts import Draft, Given, put
from perdure.features.checkpoint_reads import (
    LAST_ID,
    LAST_NUMBER,
    CheckpointRow,
    Wanted,
    read,
    read_one,
)
from perdure.features.lineages import Comer, Linked, link, take
from perdure.operation import Cache, Plan
from perdure.records import JSON, CheckpointKey, CheckpointNode
from perdure.values import digest, encode_trusted, from_micros

_PAGE = 1_000


def copy(source: str, of: str, comer: Comer, linked: Linked | None, seed: str) -> Plan[int]:
    """All of a lineage under another name: how many checkpoints.

    `NotFoundError` if there is none, `AlreadyExistsError` if the other has some.
    """
    if linked is not None:
        linked = yield from linked.resolved()
    # By part, as all do who take two.
    there: dict[str, bool] = {}
    for part in sorted({source, comer.part}):
        if part == comer.part:
            yield CHECKPOINTS.found_lineage(
                part=part, tenant=comer.tenant, lineage=comer.lineage, now=comer.now
            )
        there[part] = yield from take(part)
    if not there[source]:
        raise NotFoundError(f"no lineage {of!r}: nothing was put there, or it was deleted")
    if (yield CHECKPOINTS.any(part=comer.part)):
        raise AlreadyExistsError(
            f"lineage {comer.lineage!r} has checkpoints: delete it, or take another name"
        )
    for name in _ALL:
        yield CHECKPOINTS.pick("remove", name)(part=comer.part)
    yield CHECKPOINTS.copy_namespaces(
        part=source, target=comer.part, epoch=chain_number(seed, "epoch") // 2, now=comer.now
    )
    for query in (CHECKPOINTS.copy_checkpoints, CHECKPOINTS.copy_values, CHECKPOINTS.copy_writes):
        yield query(part=source, target=comer.part)
    if linked is not None:
        yield from link(comer, linked, comer.now)
    counted = yield CHECKPOINTS.pick("counted", "checkpoints")(part=comer.part)
    count: int = counted[0][0]
    return count


#: Where a lineage without checkpoints may still have something.
_ALL = ("checkpoint_values", "checkpoint_writes")


def branch(draft: Draft, metadata: dict[str, JSON] | None, memory: Memory) -> Plan[CheckpointKey]:
    """Put once more what the parent holds; `NotFoundError`."""
    # Held, so that what is to be shared is not pruned before it is.
    yield CHECKPOINTS.place(part=draft.part, ns=draft.ns, step=0, now=draft.now)
    wanted = Wanted("by_id", {"part": draft.part, "ns": draft.ns, "id": draft.parent}, ())
    found = yield from read_one(wanted, memory.cache)
    if not found.rows:
        raise NotFoundError(
            f"no checkpoint {draft.parent!r} in {draft.namespace!r} of {draft.lineage!r}"
        )
    made = _as(draft, found.bodies[0], metadata)
    there = yield CHECKPOINTS.bodies(part=draft.part, ns=draft.ns, id=draft.id, base_id=draft.id)
    # The same branch once more is a retry.
    if there and there[0][1] != made.digest:
        raise AlreadyExistsError(f"there is a checkpoint {draft.id!r}: give the branch another id")
    return (yield from put(made, memory))


def _as(draft: Draft, body: Body, metadata: dict[str, JSON] | None) -> Draft:
    """The draft with what a body holds."""
    if metadata is None:
        metadata = {**body.metadata, "source": "fork"}
    text = encode_trusted(metadata)
    return draft._replace(
        metadata=text,
        codec=body.codec,
        payload=body.payload,
        channels={name: Given(entry.version, 0, None) for name, entry in body.channels.items()},
        digest=digest("branch", draft.parent or "", text)[: len(draft.digest)],
        run=run_digest(draft.tenant, metadata.get("run_id")),
    )


def tree(part: str, ns: str | None, cache: Cache) -> Plan[list[CheckpointNode]]:
    """All checkpoints of a lineage, or of one namespace, each with its children."""
    rows = yield from _all(part, cache)
    by_key = {row.key: row for row, _ in rows}
    children: dict[CheckpointKey, list[CheckpointKey]] = {}
    for row, _ in rows:
        parent = row.parent_key
        if parent in by_key and parent is not None:
            children.setdefault(parent, []).append(row.key)
    return [
        CheckpointNode(
            key=row.key,
            number=row.number,
            parent=row.parent_key,
            children=tuple(children.get(row.key, ())),
            metadata=body.metadata,
            created_at=from_micros(row.created_at),
        )
        for row, body in rows
        if ns is None or row.ns == ns
    ]


def _all(part: str, cache: Cache) -> Plan[Sequence[tuple[CheckpointRow, Body]]]:
    """Rows and bodies by namespace, in the order of their puts."""
    found: list[tuple[CheckpointRow, Body]] = []
    start = Where("", "", LAST_NUMBER, LAST_ID)
    while True:
        some = yield from read(Wanted("lineage_put", {"part": part, **start.values}), _PAGE, cache)
        found += zip(some.rows, some.bodies, strict=True)
        if len(some.rows) < _PAGE:
            return sorted(found, key=lambda one: (one[0].namespace.encode(), one[0].number))
        last = some.rows[-1]
        start = Where(last.lineage, last.namespace, last.number, last.id)


__all__ = ["branch", "copy", "tree"]
