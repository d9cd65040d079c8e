"""`PerdureStore`: LangGraph's long-term memory in a perdure store."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable, Mapping
from typing import Any

from langgraph.store.base import BaseStore, ensure_embeddings

from perdure.adapters.langgraph.batches import batched
from perdure.adapters.langgraph.owning import Owning, Said
from perdure.adapters.langgraph.steps import Calls, Documents, Questions, Rules, Step, Writes
from perdure.adapters.langgraph.sweeper import Sweeper, Sweeping, nothing_to_sweep
from perdure.adapters.langgraph.vectors import distance_named
from perdure.errors import InvalidError
from perdure.store import Store, SyncStore

_TTL = {"refresh_on_read", "omit_expired", "default_ttl", "sweep_interval_minutes"}
_MINUTES = 5


class PerdureStore(Owning, BaseStore):
    """LangGraph's store of items by namespace and key, over ``store.kv``.

    ``PerdureStore(store)`` takes a `Store` or a `SyncStore`, which stays the caller's to close;
    `from_conn_string` opens one of its own. All methods are there with and without ``a``, for any
    thread and any event loop; those without may be called where a loop runs, and block it then.

    ``index`` with ``embed`` (and ``dims``, ``fields``, ``distance_type``: cosine, l2 or
    inner_product) lets ``search(query=…)`` rank by meaning: vectors are stored with the items and
    compared exactly, by no extension of the database. ``index`` with ``fields`` alone lets it look
    for words. Without an index a query does not count, as in LangGraph. ``ttl`` is LangGraph's
    ``TTLConfig``, times in minutes and fractions of them; what has expired is never returned,
    whatever ``omit_expired`` says. Items without a query come by ``order``: ``-updated_at``, or
    as for `KeyValues.list`. In a batch all is read before anything is written, as LangGraph has
    it; ``in_order=True`` lets a read see the puts before it. ``app`` and ``user`` are whose items
    they are: with a user they are erased with the person.
    """

    supports_ttl = True

    def __init__(
        self,
        store: Store | SyncStore,
        *,
        index: Mapping[str, Any] | None = None,
        ttl: Mapping[str, Any] | None = None,
        order: str = "-updated_at",
        in_order: bool = False,
        app: str = "",
        user: str = "",
    ) -> None:
        unknown = set(ttl or ()) - _TTL
        if unknown:
            raise InvalidError(f"ttl has {sorted(unknown)}: its keys are {sorted(_TTL)}", "ttl")
        super().__init__(store)
        self.index_config = None if index is None else dict(index)
        self.ttl_config = None if ttl is None else dict(ttl)
        self.embeddings = ensure_embeddings(index["embed"]) if index and "embed" in index else None
        self._rules = _rules(index or {}, order, in_order=in_order, app=app, user=user)
        self._sweeper = Sweeper(self.sweep_ttl)

    # -- batches -----------------------------------------------------------------------------

    def batch(self, ops: Iterable[Any]) -> list[Any]:
        """The results of the operations, in their order; all puts are one transaction.

        Gets and searches see what was there before the puts, unless the store was made with
        ``in_order=True``. Of several puts of a key the last one counts. Raises LangGraph's
        ``InvalidNamespaceError`` for what is no namespace, before anything is done.
        """
        plan = batched(ops, self._rules)
        step = _next(plan, None)
        while isinstance(step, Step):
            step = _next(plan, self._do(step))
        return list(step)

    async def abatch(self, ops: Iterable[Any]) -> list[Any]:
        """The same, awaited."""
        plan = batched(ops, self._rules)
        step = _next(plan, None)
        while isinstance(step, Step):
            step = _next(plan, await self._ado(step))
        return list(step)

    def _do(self, step: Step) -> Any:
        if isinstance(step, Documents):
            return self._embedder.embed_documents(list(step.texts))
        if isinstance(step, Questions):
            return [self._embedder.embed_query(text) for text in step.texts]
        if isinstance(step, Calls) or len(step.calls) == 1:
            kv = self._sync.kv
            return [getattr(kv, one.method)(*one.args, **one.options) for one in step.calls]
        with self._sync.turn() as turn:
            for one in step.calls:
                getattr(turn.kv, one.method)(*one.args, **one.options)
        return None

    async def _ado(self, step: Step) -> Any:
        if isinstance(step, Documents):
            return await self._embedder.aembed_documents(list(step.texts))
        if isinstance(step, Questions):
            asked = [self._embedder.aembed_query(text) for text in step.texts]
            return await asyncio.gather(*asked)
        if isinstance(step, Calls) or len(step.calls) == 1:
            return await self._called(step)
        async with self._async.turn() as turn:
            for one in step.calls:
                getattr(turn.kv, one.method)(*one.args, **one.options)
        return None

    async def _called(self, step: Calls | Writes) -> list[Any]:
        kv = self._async.kv
        calls = [getattr(kv, one.method)(*one.args, **one.options) for one in step.calls]
        # A single one needs no task of its own.
        return [await calls[0]] if len(calls) == 1 else await asyncio.gather(*calls)

    @property
    def _embedder(self) -> Any:
        return self.embeddings

    # -- what has expired --------------------------------------------------------------------

    def sweep_ttl(self) -> Said:
        """Remove what has expired from the disk: how many rows; may be awaited as well.

        Of all that is kept in ``store.kv``. The vectors of an item are a row of their own.
        """
        return Said(self._sync.kv.cleanup())

    async def asweep_ttl(self) -> int:
        """The same, without holding up the loop."""
        return await self._async.kv.cleanup()

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> Sweeping:
        """Sweep each so many minutes (the config's, else 5), in a thread; may be awaited as well.

        What you get is done when that has ended, and ends it when it is cancelled. Without a
        ``ttl`` config nothing is begun. Items expire on time without it: it frees the space.
        """
        if self.ttl_config is None:
            return nothing_to_sweep()
        told = self.ttl_config.get("sweep_interval_minutes")
        return self._sweeper.start(sweep_interval_minutes or told or _MINUTES)

    def stop_ttl_sweeper(self, timeout: float | None = None) -> Said:
        """Whether the sweeper has ended, in that many seconds; may be awaited as well."""
        return Said(self._sweeper.stop(timeout))

    def close(self) -> None:
        """Stop the sweeper, and close the store if it was opened here; idempotent."""
        self._sweeper.stop()
        super().close()


def _rules(index: Mapping[str, Any], order: str, *, in_order: bool, app: str, user: str) -> Rules:
    # LangGraph's store on SQLite calls them so.
    fields = index.get("fields") or index.get("text_fields") or ["$"]
    if isinstance(fields, str):
        raise InvalidError(f"fields of the index is a list of paths, not {fields!r}", "index")
    kind = ("vectors" if "embed" in index else "words") if index else ""
    distance = index.get("distance_type", "cosine")
    distance_named(distance)
    return Rules(
        whose={"app": app, "user": user},
        order=order,
        fields=tuple(fields),
        looks=kind,
        dims=index.get("dims"),
        distance=distance,
        in_order=in_order,
    )


def _next(plan: Generator[Step, Any, Any], result: Any) -> Any:
    """The next step, or at the end what the plan returns: a list."""
    try:
        return plan.send(result)
    except StopIteration as done:
        return done.value


__all__ = ["PerdureStore"]
