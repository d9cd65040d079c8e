"""What goes through whole lineages of checkpoints: removing, copying, looking over them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

from perdure.errors import InvalidError, NotFoundError
from perdure.features import checkpoint_drafts as drafts
from perdure.features.checkpoint_bodies import CHECKPOINTS, Memory, namespace_key
from perdure.features.checkpoint_copies import branch, copy, tree
from perdure.features.checkpoint_drafts import Place
from perdure.features.checkpoint_prunes import Cut, Name, chosen, named, prune
from perdure.features.cursors import check_limit, pack, unpack
from perdure.features.lineages import leasable, refuse_if_kept, remove, take
from perdure.features.runs import TTL, RunLease, holder_of, lease_of, wanted_lease
from perdure.operation import Bumps, Feature, Flow, M, Plan, Work, operation, reading, taking
from perdure.parts import lineage_part
from perdure.records import (
    ALL,
    JSON,
    AllType,
    CheckpointKey,
    CheckpointNode,
    LeaseHolder,
    Lineage,
    Page,
    PrunedCheckpoints,
    SessionKey,
)
from perdure.values import check_text, from_micros


class _Comer(NamedTuple):
    """A lineage that is to be."""

    part: str
    ns: str
    namespace: str
    tenant: str
    lineage: str
    now: int


class LineageKeeping(Feature[M]):
    """The part of `store.checkpoints` that is about whole lineages."""

    name = "checkpoints"
    _of_sessions = False

    # -- leases ------------------------------------------------------------------------------

    @taking
    def lease(
        self,
        lineage: str,
        run_id: str,
        *,
        ttl: timedelta = TTL,
        on_busy: str = "raise",
        timeout: float | None = None,
    ) -> Flow[RunLease[M]]:
        """The right of one run to work on a lineage: all as with `store.sessions.lease`.

        The lineage need not have a checkpoint yet. Deleting it ends the lease. Give its ``fence``
        to your puts.
        """
        wanted = wanted_lease(run_id, ttl, on_busy, timeout, self._settings)
        return (yield from lease_of(self, leasable(self._settings, lineage), wanted))

    @reading
    def find_lease(self, lineage: str) -> Work[LeaseHolder | None]:
        """Which run has the lease of a lineage, and until when; None if it is free."""
        thing, now = leasable(self._settings, lineage), self._settings.clock()
        return lambda _: holder_of(thing, now)

    # -- removing ----------------------------------------------------------------------------

    @operation
    def delete_lineage(self, lineage: str) -> Work[bool]:
        """Remove everything of a lineage, in all its namespaces; whether there was something.

        The id is free at once: a later put begins anew, unless it comes with ``fence=True``.
        `DeniedError` while the person or session whose it is is held.
        """
        part = self._part(lineage)
        now = self._settings.clock()

        def work(_: Bumps) -> Plan[bool]:
            if not (yield from take(part)):
                return False
            yield from refuse_if_kept(part, f"delete lineage {lineage!r}")
            yield from remove(part, now)
            return True

        return work

    @operation
    def delete_for_runs(self, run_ids: Collection[str]) -> Work[int]:
        """Remove the checkpoints whose metadata has one of these as ``run_id``; how many.

        In every lineage of the tenant, in one transaction. What followed one of them follows
        then what that followed; values that others need stay. `DeniedError` for what is held.
        """
        settings = self._settings
        if isinstance(run_ids, str):
            message = f"run_ids is a list of ids, not the text {run_ids!r}"
            raise InvalidError(message, "run_ids")
        checked = [check_text(one, "run_id", settings.limits.title) for one in run_ids]
        runs = sorted(filter(None, {drafts.run_digest(settings.tenant, one) for one in checked}))

        def work(_: Bumps) -> Plan[int]:
            by_lineage: dict[tuple[str, str], set[Name]] = {}
            for of_run in runs:
                for part, lineage, ns, name in (yield CHECKPOINTS.of_run(run=of_run)):
                    by_lineage.setdefault((part, lineage), set()).add((ns, name))
            removed = 0
            for (part, lineage), names in sorted(by_lineage.items()):
                these = partial(named, names=names)
                done = yield from prune(
                    part, lineage, these, settings.cache, dry_run=False, keeps_deltas=False
                )
                removed += done.checkpoints
            return removed

        return work

    @operation
    def prune(
        self,
        lineage: str,
        *,
        keep_last: int | None = None,
        older_than: timedelta | None = None,
        namespace: str | AllType = ALL,
        keep: Collection[CheckpointKey] = (),
        only: Collection[CheckpointKey] | None = None,
        dry_run: bool = False,
    ) -> Work[PrunedCheckpoints]:
        """Remove checkpoints on purpose, with the writes and values that only they needed.

        ``keep_last``: all but the last so many puts of each namespace. ``older_than``: those
        put longer ago, but not the last ``keep_last`` (without it: 1) of a namespace. What stays
        loads as before, and what its deltas are made of stays as well; where its parent is
        removed it follows the next one before that.
        ``keep`` are to stay in any case; ``only``: of these, and no others, for who has looked at
        them and does not want to meet those put since. ``dry_run=True`` only counts.
        `DeniedError` for what is held; an unknown lineage has nothing to remove.
        """
        part = self._part(lineage)
        cut = self._cut(keep_last, older_than, namespace, keep)
        if only is not None:
            cut = cut._replace(only=_names(only))
        cache = self._settings.cache
        return lambda _: prune(
            part, lineage, lambda rows: chosen(rows, cut), cache, dry_run=dry_run
        )

    def _cut(
        self,
        keep_last: int | None,
        older_than: timedelta | None,
        namespace: str | AllType,
        keep: Collection[CheckpointKey],
    ) -> Cut:
        settings = self._settings
        ns = None
        if namespace is not ALL:
            ns = namespace_key(drafts.check_namespace(settings, namespace))
        return Cut(*kept_of(keep_last, older_than, settings.clock()), ns, _names(keep))

    # -- making others out of them -------------------------------------------------------------

    @operation
    def copy_lineage(
        self,
        source: str,
        target: str,
        *,
        owner: tuple[str, str] | None = None,
        session: SessionKey | None = None,
    ) -> Work[int]:
        """Everything of a lineage under another name, with the same ids; how many checkpoints.

        `NotFoundError` if there is no such lineage, `AlreadyExistsError` if the other has
        checkpoints. Whose the copy is has to be said again: ``owner``, ``session``.
        """
        settings = self._settings
        at = Place(settings, target, "")
        of = self._part(source)
        now = settings.clock()
        comer = _Comer(at.part, at.ns, at.namespace, settings.tenant, at.lineage, now)
        linked = drafts.linked(settings, owner, session, now)
        seed = settings.ids()
        return lambda _: copy(of, source, comer, linked, seed)

    @operation
    def branch(
        self,
        lineage: str,
        id: str,
        *,
        new_id: str | None = None,
        namespace: str = "",
        metadata: Mapping[str, JSON] | None = None,
    ) -> Work[CheckpointKey]:
        """Go on from an older checkpoint: one that follows it and holds the same is put now.

        It is the latest then; nothing is removed, and nothing is stored twice. Its metadata is
        that of the older one with ``source`` ``"fork"``, or what is given. `NotFoundError`;
        `AlreadyExistsError` if another checkpoint has ``new_id``.
        """
        at = Place(self._settings, lineage, namespace)
        draft = drafts.draft(
            at, None, new_id, parent=drafts.check_id(self._settings, id), metadata=metadata,
            versions=None, values=None, owner=None, session=None, fence=False,
        )  # fmt: skip
        given = None if metadata is None else dict(metadata)
        memory = Memory(self._settings.cache, at.part)
        return lambda _: branch(draft, given, memory)

    # -- looking over them -------------------------------------------------------------------

    @reading
    def tree(
        self, lineage: str, *, namespace: str | AllType = ALL
    ) -> Work[Sequence[CheckpointNode]]:
        """Every checkpoint of a lineage with its parent and children, without payloads.

        By namespace, in the order of their puts. A parent may be missing, in another namespace,
        or, after a replacement, a child of its own.
        """
        part = self._part(lineage)
        ns = None
        if namespace is not ALL:
            ns = namespace_key(drafts.check_namespace(self._settings, namespace))
        return lambda _: tree(part, ns, self._settings.cache)

    @reading
    def lineages(self, *, cursor: str | None = None, limit: int = 100) -> Work[Page[Lineage]]:
        """A page of the tenant's lineages by id, bytewise, with what each of them holds."""
        settings = self._settings
        size = check_limit(limit, settings.limits.records)
        after = "" if cursor is None else unpack(cursor, "lineages", str)[0]

        def work(_: Bumps) -> Plan[Page[Lineage]]:
            found = yield CHECKPOINTS.lineages(tenant=settings.tenant, after=after, limit=size + 1)
            items = [_lineage(row) for row in found[:size]]
            more = pack("lineages", items[-1].lineage) if len(found) > size else None
            return Page(items, more)

        return work

    @reading
    def get_lineage(self, lineage: str) -> Work[Lineage]:
        """What a lineage holds; `NotFoundError`."""
        part = self._part(lineage)

        def work(_: Bumps) -> Plan[Lineage]:
            found = yield CHECKPOINTS.lineage(part=part)
            if not found:
                raise NotFoundError(f"no lineage {lineage!r}: nothing was put there")
            return _lineage(found[0])

        return work

    def _part(self, lineage: str) -> str:
        settings = self._settings
        return lineage_part(settings.tenant, lineage, settings.limits.text)


def _names(keys: Collection[CheckpointKey]) -> Collection[Name]:
    return {(namespace_key(key.namespace), key.id) for key in keys}


def kept_of(
    keep_last: int | None, older_than: timedelta | None, now: int
) -> tuple[int, int | None]:
    """How many stay of each namespace, and before which moment others go; `InvalidError`."""
    if keep_last is None and older_than is None:
        raise InvalidError("name keep_last or older_than: nothing goes by itself", "keep_last")
    if keep_last is None:
        keep_last = 1
    if isinstance(keep_last, bool) or not isinstance(keep_last, int) or keep_last < 0:
        raise InvalidError(f"keep_last is a number from 0 on, not {keep_last!r}", "keep_last")
    if older_than is None:
        return keep_last, None
    if not isinstance(older_than, timedelta) or older_than <= timedelta(0):
        message = f"older_than must be a timedelta above 0, not {older_than!r}"
        raise InvalidError(message, "older_than")
    return keep_last, now - older_than // timedelta(microseconds=1)


def _lineage(row: Sequence[Any]) -> Lineage:
    _, lineage, created_at, namespaces, updated_at, checkpoints, size = row
    return Lineage(
        lineage=lineage,
        namespaces=namespaces,
        checkpoints=checkpoints,
        bytes=size,
        created_at=from_micros(created_at),
        updated_at=from_micros(updated_at or created_at),
    )
