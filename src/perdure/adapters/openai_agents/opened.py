"""The store that stands behind sessions: given and left open, or opened here and closed here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from perdure.adapters.closing import Closing
from perdure.adapters.colours import both
from perdure.errors import ClosedError
from perdure.opening import open_sync
from perdure.store import Store, SyncStore

T = TypeVar("T")


class SessionClosedError(ClosedError, RuntimeError):
    """The session was closed; a RuntimeError too, as that of the SDK's own sessions."""


class Opened(Closing):
    """What has a store: for ``with`` and ``async with``, or to be closed."""

    def __init__(self, url_or_store: str | Path | Store | SyncStore) -> None:
        self._own = not isinstance(url_or_store, Store | SyncStore)
        store = (
            url_or_store
            if isinstance(url_or_store, Store | SyncStore)
            else open_sync(url_of(url_or_store))
        )
        self._blocking, self._store = both(store)
        self._closed = False

    @property
    def store(self) -> Store:
        """The store, for all that it offers beside this."""
        return self._store

    def close(self) -> None:
        """Close this, and the store if it was opened here; idempotent. Blocks."""
        self._closed = True
        if self._own:
            self._blocking.close()

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosedError(f"{self!r} is closed")


def url_of(place: str | Path) -> str:
    """A URL of perdure as it is; of a path, and of ``:memory:``, what it means to SQLite."""
    place = str(place)
    if place == ":memory:":
        return "memory:"
    is_url = "://" in place or place.partition(":")[0] == "memory"
    return place if is_url else f"sqlite:///{place}"


async def settled(write: Awaitable[T]) -> T:
    """What came of a write, waited for however often the caller is cancelled meanwhile.

    Who is cancelled learns of it when the write is over: what is read then has it, or never will.
    """
    task = asyncio.ensure_future(write)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = cancelled or error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # looked at, so that nobody complains of it
    raise cancelled


__all__ = ["Opened", "SessionClosedError", "settled", "url_of"]
