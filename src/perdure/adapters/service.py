"""What adapters whose framework awaits share: their store, which is the caller's or their own."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from perdure.adapters.colours import both
from perdure.opening import open as open_store
from perdure.store import Store, SyncStore


class Service:
    """What has a store; one that was given a URL has opened it, and closes it."""

    def __init__(self, store: Store | SyncStore | str) -> None:
        self._owned = isinstance(store, str)
        self.store: Store = async_store(store)

    async def close(self) -> None:
        """Finish what was accepted; the store is closed if it was opened here. Idempotent."""
        if self._owned:
            await self.store.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def async_store(store: Store | SyncStore | str) -> Store:
    """The store in the colour that is awaited; one of its own for a URL."""
    if isinstance(store, str):
        return open_store(store)
    return store if isinstance(store, Store) else both(store)[1]


__all__ = ["Service", "async_store"]
