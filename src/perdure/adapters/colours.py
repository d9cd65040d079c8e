"""One store in both colours: some frameworks call the same object with and without `await`."""

from __future__ import annotations

from typing import Any, TypeVar

from perdure.errors import InvalidError
from perdure.operation import Feature
from perdure.runners import async_runner, sync_runner
from perdure.store import Store, SyncStore

S = TypeVar("S", Store, SyncStore)


def both(store: Store | SyncStore) -> tuple[SyncStore, Store]:
    """The store for callers that do not await, and for those that do.

    One engine, one set of subscribers: what is written through one is read through the other, and
    closing either closes both.
    """
    if isinstance(store, SyncStore):
        return store, _beside(store, Store, async_runner)
    if isinstance(store, Store):
        return _beside(store, SyncStore, sync_runner), store
    raise InvalidError(f"{store!r} is no store: give what perdure.open returns", "store")


def _beside(store: Store | SyncStore, kind: type[S], runner_of: Any) -> S:
    other = object.__new__(kind)
    runner = runner_of(store._engine, store._resolved.retry)
    runner.hub, runner.tender = store._hub, store._tender
    for name, value in vars(store).items():
        # Each feature is bound to the runner that carries out its operations.
        own = type(value)(runner, store._settings) if isinstance(value, Feature) else value
        setattr(other, name, own)
    other._runner = runner
    return other


def is_open(store: Store | SyncStore) -> bool:
    """Whether nobody has closed the store, in whichever colour."""
    # Engines of others need not say.
    return not getattr(store._engine, "closed", False)


__all__ = ["both", "is_open"]
