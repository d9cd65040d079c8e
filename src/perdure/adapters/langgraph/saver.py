"""`PerdureSaver`: LangGraph's checkpoints in a perdure store."""

from __future__ import annotations

import builtins
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from perdure import records
from perdure.adapters.langgraph import plans
from perdure.adapters.langgraph.encoding import (
    CLEAR,
    Config,
    config_of,
    fill,
    put_arguments,
    tuple_of,
    where,
    writes_of,
)
from perdure.adapters.langgraph.owning import Owning
from perdure.adapters.langgraph.plans import Asked, Call, Found, Plan, call
from perdure.errors import InvalidError, NotFoundError
from perdure.operation import Cache
from perdure.records import Lineage, Page
from perdure.store import Store, SyncStore

#: Writes of one call of the store; LangGraph has no limit.
_WRITES = 10_000
_DIGITS = 32


class PerdureSaver(Owning, BaseCheckpointSaver):
    """A LangGraph checkpointer over ``store.checkpoints``.

    ``PerdureSaver(store)`` takes a `Store` or a `SyncStore`, which stays the caller's to close;
    `from_conn_string` opens one of its own. All methods are there with and without ``a``, for any
    thread and any event loop; those without may be called where a loop runs, and block it then.

    ``serde`` writes all values; it may be set at any time. Without one only types that LangGraph
    knows as safe are made again when a checkpoint is read, and those that ``allowlist`` names
    (types, or pairs of module and name); of others the caller gets plain data. With LangGraph's
    ``EncryptedSerializer`` little of the metadata stays readable, and with ``clear_metadata=`` what
    that names: it is filtered by the store, the rest after it is read. With another serializer that
    encrypts, say ``clear_metadata=``, be it empty. ``order="put"`` takes for the latest what
    was put last, whatever its id; LangGraph takes the greatest id. ``fenced=True`` refuses a put
    behind anything but the checkpoint put last, and all that comes to a deleted thread, with
    `ConflictError`. ``owner`` gives (app, user) of a config, so that erasing the person removes
    the thread.
    """

    def __init__(
        self,
        store: Store | SyncStore,
        *,
        serde: Any = None,
        allowlist: Sequence[type | tuple[str, ...]] = (),
        clear_metadata: Sequence[str] | None = None,
        order: str = "id",
        fenced: bool = False,
        owner: Callable[[Config], tuple[str, str] | None] | None = None,
    ) -> None:
        if order not in {"put", "id"}:
            raise InvalidError(f"order is 'put' or 'id', not {order!r}", "order")
        if serde is not None and allowlist:
            raise InvalidError("give the allowlist to your serializer", "allowlist")
        strict = JsonPlusSerializer(allowed_msgpack_modules=tuple(allowlist) or None)
        super().__init__(store, serde=serde or strict)
        self._clear = None if clear_metadata is None else (*CLEAR, *clear_metadata)
        self._order = order
        self._fenced = fenced
        self._owner = owner
        self._memory = Cache.of_looks()

    # -- putting -----------------------------------------------------------------------------

    def put(
        self,
        config: Config,
        checkpoint: Mapping[str, Any],
        metadata: Mapping[str, Any],
        new_versions: Mapping[str, Any],
    ) -> Any:
        """Store a checkpoint behind that of the config; the config of the new one.

        It is on disk when this returns. Of ``new_versions`` the values are stored, as far as there
        are some; other channels are as they were.
        """
        args, options = self._put(config, checkpoint, metadata, new_versions)
        try:
            key = self._sync.checkpoints.put(*args, **options)
        except NotFoundError:
            # Its parent was pruned meanwhile, and with that what had not changed since.
            args, options = self._put(config, checkpoint, metadata, checkpoint["channel_values"])
            key = self._sync.checkpoints.put(*args, **options)
        return config_of(*key)

    async def aput(
        self,
        config: Config,
        checkpoint: Mapping[str, Any],
        metadata: Mapping[str, Any],
        new_versions: Mapping[str, Any],
    ) -> Any:
        """The same, awaited."""
        args, options = self._put(config, checkpoint, metadata, new_versions)
        try:
            key = await self._async.checkpoints.put(*args, **options)
        except NotFoundError:
            args, options = self._put(config, checkpoint, metadata, checkpoint["channel_values"])
            key = await self._async.checkpoints.put(*args, **options)
        return config_of(*key)

    def _put(
        self,
        config: Config,
        checkpoint: Mapping[str, Any],
        metadata: Mapping[str, Any],
        new_versions: Mapping[str, Any],
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, options = put_arguments(
            self.serde, config, checkpoint, metadata, new_versions, self._readable()
        )
        return args, options | self._said(config)

    def put_writes(
        self,
        config: Config,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store what a task has written for a checkpoint, which need not be there yet: all of it.

        A regular write that is there already stays, a special one (errors, interrupts, answers) is
        replaced: each write by itself.
        """
        calls = self._put_writes(config, writes, task_id, task_path)
        if len(calls) > 1:
            # A task of which some is stored counts as done, and would go on without the rest.
            with self._sync.turn() as turn:
                for args, options in calls:
                    turn.checkpoints.put_writes(*args, **options)
            return
        for args, options in calls:
            self._sync.checkpoints.put_writes(*args, **options)

    async def aput_writes(
        self,
        config: Config,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """The same, awaited."""
        calls = self._put_writes(config, writes, task_id, task_path)
        if len(calls) > 1:
            async with self._async.turn() as turn:
                for args, options in calls:
                    turn.checkpoints.put_writes(*args, **options)
            return
        for args, options in calls:
            await self._async.checkpoints.put_writes(*args, **options)

    def _put_writes(
        self, config: Config, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> builtins.list[tuple[tuple[Any, ...], dict[str, Any]]]:
        at = where(config)
        new = writes_of(self.serde, writes)
        options = {"namespace": at.namespace, "task_path": task_path, **self._said(config)}
        return [
            ((at.lineage, at.id, task_id, new[start : start + _WRITES]), options)
            for start in range(0, len(new), _WRITES)
        ]

    def _said(self, config: Config) -> dict[str, Any]:
        """Whose the thread is, and who may write to it."""
        owner = None if self._owner is None else self._owner(config)
        return {"fence": self._fenced, **({} if owner is None else {"owner": owner})}

    # -- reading -----------------------------------------------------------------------------

    def get_tuple(self, config: Config) -> CheckpointTuple | None:
        """The checkpoint of the config; without an id the latest; None if there is none."""
        args, options = self._asked_for(config)
        found = self._sync.checkpoints.find_tuple(*args, **options)
        return None if found is None else self._whole(found)

    async def aget_tuple(self, config: Config) -> CheckpointTuple | None:
        """The same, awaited."""
        args, options = self._asked_for(config)
        found = await self._async.checkpoints.find_tuple(*args, **options)
        return None if found is None else self._whole(found)

    def _whole(self, found: records.CheckpointTuple) -> CheckpointTuple:
        serde = self.serde
        return fill(serde, self._memory, tuple_of(serde, found))

    def _asked_for(self, config: Config) -> tuple[tuple[Any, ...], dict[str, Any]]:
        at = where(config)
        return (at.lineage, at.id), {"namespace": at.namespace, "order": self._order}

    def list(
        self,
        config: Config | None,
        *,
        filter: Mapping[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints, newest first; nothing is locked while you look at them.

        ``filter``: those whose metadata has an equal value under each key; keys as they are, True
        is not 1, and a missing key has no value, not even None.
        """
        memory = Cache.of_looks()
        steps = plans.listed(self._asked(config, filter, before, limit), self.serde)
        step = next(steps, None)
        while step is not None:
            if isinstance(step, Found):
                yield from self._filled(step, memory)
                step = next(steps, None)
            else:
                step = _told(steps, self._outcome(step))

    async def alist(
        self,
        config: Config | None,
        *,
        filter: Mapping[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """The same, awaited."""
        memory = Cache.of_looks()
        steps = plans.listed(self._asked(config, filter, before, limit), self.serde)
        step = next(steps, None)
        while step is not None:
            if isinstance(step, Found):
                for item in self._filled(step, memory):
                    yield item
                step = next(steps, None)
            else:
                step = _told(steps, await self._aoutcome(step))

    def _filled(self, found: Found, memory: Cache) -> Sequence[CheckpointTuple]:
        # From the oldest on: so lists grow.
        for one in reversed(found.items):
            fill(self.serde, memory, one)
        return found.items

    def _asked(
        self,
        config: Config | None,
        filter: Mapping[str, Any] | None,
        before: Config | None,
        limit: int | None,
    ) -> Asked:
        known = where(before).id if before and before["configurable"].get("thread_id") else None
        if before and known is None:
            known = before["configurable"].get("checkpoint_id")
        return Asked(config, filter or {}, known, limit, self._order, self._readable())

    def _readable(self) -> Sequence[str] | None:
        """The keys of the metadata that are not encrypted; None: all of them."""
        # Asked each time: the serializer may be set at any time.
        if self._clear is None and isinstance(self.serde, EncryptedSerializer):
            return CLEAR
        return self._clear

    def get_delta_channel_history(self, *, config: Config, channels: Sequence[str]) -> Any:
        """For each channel what was written since its last stored value, and that value.

        Along the parents; a hundred of them take two statements.
        """
        return self._run(plans.history(config, channels, self._order, self.serde))

    async def aget_delta_channel_history(self, *, config: Config, channels: Sequence[str]) -> Any:
        """The same, awaited."""
        return await self._arun(plans.history(config, channels, self._order, self.serde))

    def list_threads(self, *, cursor: str | None = None, limit: int = 100) -> Page[Lineage]:
        """A page of threads by id: how much each holds, and when it was last written to."""
        return self._sync.checkpoints.lineages(cursor=cursor, limit=limit)

    async def alist_threads(self, *, cursor: str | None = None, limit: int = 100) -> Page[Lineage]:
        """The same, awaited."""
        return await self._async.checkpoints.lineages(cursor=cursor, limit=limit)

    # -- whole threads -----------------------------------------------------------------------

    def delete_thread(self, thread_id: str) -> None:
        """Remove everything of a thread; its id may be used again."""
        self._run(_each("delete_lineage", [thread_id]))

    async def adelete_thread(self, thread_id: str) -> None:
        """The same, awaited."""
        await self._arun(_each("delete_lineage", [thread_id]))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Remove the checkpoints of these runs, in every thread, in one transaction.

        What followed one of them follows then what that followed.
        """
        self._run(_for_runs(run_ids))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """The same, awaited."""
        await self._arun(_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Everything of a thread under another id, in one transaction.

        Nothing happens if there is no such thread; `AlreadyExistsError` if the other has
        checkpoints.
        """
        self._run(_copied(source_thread_id, target_thread_id))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """The same, awaited."""
        await self._arun(_copied(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Of each thread keep the newest checkpoint of each namespace, or nothing (``delete``).

        Of channels that are stored as what was written to them, what the newest checkpoint is made
        of stays as well. What is put meanwhile is not met.
        """
        self._run(self._prune(thread_ids, strategy))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """The same, awaited."""
        await self._arun(self._prune(thread_ids, strategy))

    def _prune(self, thread_ids: Sequence[str], strategy: str) -> Plan:
        if plans.strategy_of(strategy) == "delete":
            yield from _each("delete_lineage", thread_ids)
            return
        for thread in thread_ids:
            yield from plans.pruned(str(thread), self._order)

    # -- versions ----------------------------------------------------------------------------

    def get_next_version(self, current: Any, channel: None = None) -> str:
        """A version above the current one; two forks never make the same."""
        del channel
        number = int(current.split(".")[0]) if isinstance(current, str) else int(current or 0)
        return f"{number + 1:0{_DIGITS}}.{random.getrandbits(53):016}"

    # -- both colours ------------------------------------------------------------------------

    def _run(self, plan: Plan) -> Any:
        outcome: tuple[Any, Exception | None] = (None, None)
        while True:
            try:
                step = _next(plan, outcome)
            except StopIteration as done:
                return done.value
            outcome = self._outcome(step)

    async def _arun(self, plan: Plan) -> Any:
        outcome: tuple[Any, Exception | None] = (None, None)
        while True:
            try:
                step = _next(plan, outcome)
            except StopIteration as done:
                return done.value
            outcome = await self._aoutcome(step)

    def _outcome(self, step: Call) -> tuple[Any, Exception | None]:
        method = getattr(self._sync.checkpoints, step.method)
        try:
            return method(*step.args, **step.options), None
        except Exception as error:  # noqa: BLE001 - the plan decides what it means
            return None, error

    async def _aoutcome(self, step: Call) -> tuple[Any, Exception | None]:
        method = getattr(self._async.checkpoints, step.method)
        try:
            return await method(*step.args, **step.options), None
        except Exception as error:  # noqa: BLE001 - the plan decides what it means
            return None, error


def _next(plan: Plan, outcome: tuple[Any, Exception | None]) -> Any:
    result, error = outcome
    return plan.send(result) if error is None else plan.throw(error)


def _told(plan: Plan, outcome: tuple[Any, Exception | None]) -> Any:
    """The next step of a plan that may end now."""
    try:
        return _next(plan, outcome)
    except StopIteration:
        return None


def _each(method: str, thread_ids: Sequence[str]) -> Plan:
    for thread in thread_ids:
        yield call(method, str(thread))


def _for_runs(run_ids: Sequence[str]) -> Plan:
    yield call("delete_for_runs", [str(run) for run in run_ids])


def _copied(source: str, target: str) -> Plan:
    try:
        yield call("copy_lineage", str(source), str(target))
    except NotFoundError:
        return


__all__ = ["PerdureSaver"]
