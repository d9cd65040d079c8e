"""Checkpoints: the steps of a graph, each readable for as long as it is kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Literal

from perdure.errors import NotFoundError
from perdure.features import checkpoint_drafts as drafts
from perdure.features import checkpoint_lists as lists
from perdure.features import checkpoint_puts as puts
from perdure.features.checkpoint_bodies import Memory
from perdure.features.checkpoint_drafts import Place
from perdure.features.checkpoint_reads import LAST_ID, LAST_NUMBER, Wanted, one, recent
from perdure.features.cursors import check_limit, paged
from perdure.features.lineage_keeping import LineageKeeping
from perdure.operation import (
    Bumps,
    M,
    Plan,
    Stream,
    T,
    Work,
    in_one,
    operation,
    reading,
    run,
    stream,
)
from perdure.records import (
    JSON,
    AllType,
    Checkpoint,
    CheckpointKey,
    CheckpointTuple,
    NewWrite,
    Opaque,
    Page,
    SessionKey,
)

Order = Literal["put", "id"]
OnDuplicate = Literal["keep", "replace"]


class Checkpoints(LineageKeeping[M]):
    """`store.checkpoints`: the steps of graphs, by lineage, namespace and id.

    A lineage is one thread of work; its namespaces are those of the graphs inside of the graph,
    ``""`` that of the outer one. The latest checkpoint is the one that was put last, whatever
    its id and whatever a clock says.
    """

    # -- putting -----------------------------------------------------------------------------

    @operation
    def put(
        self,
        lineage: str,
        payload: JSON | Opaque = None,
        *,
        id: str | None = None,
        namespace: str = "",
        parent: str | CheckpointKey | None = None,
        metadata: Mapping[str, JSON] | None = None,
        versions: Mapping[str, str | int] | None = None,
        values: Mapping[str, JSON | Opaque] | None = None,
        deltas: Collection[str] = (),
        needs_parent: bool = False,
        owner: tuple[str, str] | None = None,
        session: SessionKey | None = None,
        fence: bool | int = False,
    ) -> Work[CheckpointKey]:
        """Store a checkpoint, which is the latest then; its key.

        ``payload`` is what the caller keeps of it, whole. Beside it stand channels, each stored
        once for every version: ``versions`` names all of them, ``values`` has those that are
        new. One without a value is as it was at that version, or empty if there was none; one
        that is not named has no value here. A value without a version has one of its content.
        Along a line of parents the first value of a version stays; of a checkpoint without a
        parent in its namespace, the first one there. ``deltas`` are channels that are made of
        what tasks have written to them since the last value, for who puts them together: `prune`
        keeps the checkpoints with that value and those writes. ``needs_parent``: `NotFoundError`
        if the parent is not there, for who has left out values because they stand with it.

        The same again changes nothing, so a retry is safe; another content under the same id
        takes its place and is the latest. Without ``metadata``: ``{"source": "update",
        "step": 0}``. ``owner`` (app and user) or ``session`` is whose the lineage is: with them
        it is erased, purged and exported; `NotFoundError` if there is no such session.
        ``fence=True``: `ConflictError` unless ``parent`` is the latest of the namespace, and for
        a lineage that was deleted. ``fence=`` the fence of a `lease`: `StaleSessionError` once
        another run has taken it.
        """
        at = Place(self._settings, lineage, namespace)
        draft = drafts.draft(
            at, payload, id, parent=parent, metadata=metadata, versions=versions, values=values,
            deltas=deltas, needs_parent=needs_parent, owner=owner, session=session, fence=fence,
        )  # fmt: skip
        return puts.work(draft, self._settings)

    @operation
    def put_full(
        self,
        lineage: str,
        payload: JSON | Opaque = None,
        *,
        task: str,
        writes: Sequence[NewWrite | tuple[str, JSON | Opaque]],
        task_path: str = "",
        on_duplicate: OnDuplicate = "keep",
        id: str | None = None,
        namespace: str = "",
        parent: str | CheckpointKey | None = None,
        metadata: Mapping[str, JSON] | None = None,
        versions: Mapping[str, str | int] | None = None,
        values: Mapping[str, JSON | Opaque] | None = None,
        deltas: Collection[str] = (),
        owner: tuple[str, str] | None = None,
        session: SessionKey | None = None,
        fence: bool | int = False,
    ) -> Work[CheckpointKey]:
        """Store a checkpoint and what a task has written for it, both or neither: see `put`."""
        at = Place(self._settings, lineage, namespace)
        written = drafts.written(self._settings, at.lineage, task, writes, task_path, on_duplicate)
        draft = drafts.draft(
            at, payload, id, parent=parent, metadata=metadata, versions=versions, values=values,
            deltas=deltas, written=written, owner=owner, session=session, fence=fence,
        )  # fmt: skip
        return puts.work(draft, self._settings)

    @operation
    def put_writes(
        self,
        lineage: str,
        id: str,
        task: str,
        writes: Sequence[NewWrite | tuple[str, JSON | Opaque]],
        *,
        namespace: str = "",
        task_path: str = "",
        on_duplicate: OnDuplicate = "keep",
        owner: tuple[str, str] | None = None,
        session: SessionKey | None = None,
        fence: bool | int = False,
    ) -> Work[CheckpointKey]:
        """Store what a task has written for a checkpoint, which need not be there yet; its key.

        By task and index: of a regular one the first value stays, of a special one (index below
        0) the last, each by itself; with ``on_duplicate="replace"`` the last of all. ``owner``,
        ``session`` and ``fence`` as for `put`; of ``fence=True`` what is said of deleted lineages.
        """
        at = Place(self._settings, lineage, namespace)
        written = drafts.written(self._settings, at.lineage, task, writes, task_path, on_duplicate)
        late = drafts.late(at, id, written, owner, session, fence=fence)
        return puts.write_work(late)

    # -- reading -----------------------------------------------------------------------------

    @reading
    def get(
        self,
        lineage: str,
        id: str | None = None,
        *,
        namespace: str = "",
        channels: Sequence[str] | None = None,
        order: Order = "put",
    ) -> Work[Checkpoint]:
        """A checkpoint; without an id the latest. `NotFoundError`.

        ``channels`` are those whose values are read (None: all). ``order="id"``: the latest is
        the one with the greatest id, bytewise.
        """
        give = partial(_there, lineage=lineage, namespace=namespace, id=id)
        return self._one(lineage, id, namespace, channels, order, lambda one: give(one).checkpoint)

    @reading
    def find(
        self,
        lineage: str,
        id: str | None = None,
        *,
        namespace: str = "",
        channels: Sequence[str] | None = None,
        order: Order = "put",
    ) -> Work[Checkpoint | None]:
        """The same, or None."""
        return self._one(lineage, id, namespace, channels, order, _checkpoint)

    @reading
    def latest(
        self,
        lineage: str,
        *,
        namespace: str = "",
        channels: Sequence[str] | None = None,
        order: Order = "put",
    ) -> Work[Checkpoint | None]:
        """The checkpoint that was put last in exactly that namespace, or None."""
        return self._one(lineage, None, namespace, channels, order, _checkpoint)

    @reading
    def get_tuple(
        self,
        lineage: str,
        id: str | None = None,
        *,
        namespace: str = "",
        channels: Sequence[str] | None = None,
        order: Order = "put",
    ) -> Work[CheckpointTuple]:
        """A checkpoint with metadata, parent and the writes of its tasks. `NotFoundError`."""
        give = partial(_there, lineage=lineage, namespace=namespace, id=id)
        return self._one(lineage, id, namespace, channels, order, give, writes=True)

    @reading
    def find_tuple(
        self,
        lineage: str,
        id: str | None = None,
        *,
        namespace: str = "",
        channels: Sequence[str] | None = None,
        order: Order = "put",
    ) -> Work[CheckpointTuple | None]:
        """The same, or None."""
        return self._one(lineage, id, namespace, channels, order, lambda one: one, writes=True)

    @reading
    def list(
        self,
        lineage: str | AllType,
        *,
        namespace: str | AllType = "",
        before: str | None = None,
        filter: Mapping[str, JSON] | None = None,
        order: Order = "put",
        channels: Sequence[str] | None = None,
        writes: bool = True,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Work[Page[CheckpointTuple]]:
        """A page of checkpoints, the newest first, with metadata, parent and writes.

        By number of their put; with ``order="id"`` by id, bytewise, the greatest first. Of
        several namespaces (or lineages) one after the other, bytewise; by id all together.
        ``before``: those behind that checkpoint in the same order; `NotFoundError` if it is not
        there. ``filter``: those whose metadata has an equal value under each of these keys, as
        they are; the limit counts what is left. ``channels`` as for `get`; ``writes=False``
        leaves them out. Two statements for each lineage of a page.
        """
        query = lists.query(
            self._settings, lineage, namespace, before=before, filter=filter, order=order,
            channels=channels, writes=writes, cursor=cursor,
        )  # fmt: skip
        size = check_limit(limit, self._settings.limits.records)
        return lambda _: lists.page(query, size, self._settings)

    @stream
    def iter(
        self,
        lineage: str | AllType,
        *,
        namespace: str | AllType = "",
        before: str | None = None,
        filter: Mapping[str, JSON] | None = None,
        order: Order = "put",
        channels: Sequence[str] | None = None,
        writes: bool = True,
    ) -> Stream[CheckpointTuple]:
        """Every checkpoint that `list` gives, page after page; nothing is locked in between."""
        return paged(
            lambda cursor: run(
                Checkpoints.list.of(
                    self, lineage, namespace=namespace, before=before, filter=filter,
                    order=order, channels=channels, writes=writes, cursor=cursor,
                )
            )
        )  # fmt: skip

    # -- checks ------------------------------------------------------------------------------

    def _one(
        self,
        lineage: str,
        id: str | None,
        namespace: str,
        channels: Sequence[str] | None,
        order: Order,
        give: Callable[[CheckpointTuple | None], T],
        *,
        writes: bool = False,
    ) -> Work[T]:
        """What is to be given of one checkpoint, or of none."""
        at = Place(self._settings, lineage, namespace)
        lists.check_order(order)
        values = {"part": at.part, "ns": at.ns}
        found = f"one_{order}"
        if id is not None:
            found, values["id"] = "by_id", drafts.check_id(self._settings, id)
        wanted = Wanted(
            found,
            {**values, "below": LAST_NUMBER, "below_id": LAST_ID},
            lists.check_channels(self._settings, channels),
            writes,
        )
        # That of the last put has most often the greatest id, too.
        latest = id is None
        known = recent(Memory(self._settings.cache, at.part), wanted, at.ns, latest=latest)

        def work(_: Bumps) -> Plan[T]:
            return give((yield from one(wanted, at.ns, at.part, self._settings, latest=latest)))

        # Where the values are only the first statement tells, unless this process knows.
        at_once = known is not None or not (wanted.channels is None or wanted.channels)
        return in_one(work) if at_once else work


def _checkpoint(found: CheckpointTuple | None) -> Checkpoint | None:
    return None if found is None else found.checkpoint


def _there(
    found: CheckpointTuple | None, lineage: str, namespace: str, id: str | None
) -> CheckpointTuple:
    if found is None:
        what = "no checkpoint" if id is None else f"no checkpoint {id!r}"
        raise NotFoundError(f"{what} in namespace {namespace!r} of lineage {lineage!r}")
    return found
