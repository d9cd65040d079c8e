"""What an adapter is given to keep things in: a store of the caller's, or the address of one."""

from __future__ import annotations

from typing import NamedTuple

from perdure.adapters.colours import both
from perdure.opening import open_sync
from perdure.store import Store, SyncStore


class Opened(NamedTuple):
    """One store in both colours; ``own`` says that the adapter opened it and has to close it."""

    sync: SyncStore
    store: Store
    own: bool


def opened(store: Store | SyncStore | str) -> Opened:
    """The store in both colours; one that is given by its URL is opened now."""
    if isinstance(store, str):
        return Opened(*both(open_sync(store)), own=True)
    return Opened(*both(store), own=False)


__all__ = ["Opened", "opened"]
