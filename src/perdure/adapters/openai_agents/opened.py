"""The store that stands behind sessions: given and left open, or opened here and closed here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from pathlib import Path
from types import coroutine
from typing import Any, TypeVar

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


class _Kept:
    """A future that whoever waits for it cannot cancel; in all else it is the one it stands for.

    Its task is told of a cancellation when the future is done: asyncio takes it for one of its
    own by these names.
    """

    __slots__ = ("_asyncio_future_blocking", "_future")

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self._future = future
        self._asyncio_future_blocking = True

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._future.get_loop()

    def add_done_callback(
        self, told: Callable[[asyncio.Future[Any]], object], *, context: Context | None = None
    ) -> None:
        self._future.add_done_callback(told, context=context)

    def cancel(self, msg: object = None) -> bool:  # noqa: ARG002 - so asyncio calls it
        return False


@coroutine
def settled(write: Coroutine[Any, Any, T]) -> Generator[Any, None, T]:
    """What came of a write, waited for however often the caller is cancelled meanwhile.

    Who is cancelled learns of it when the write is over: what is read then has it, or never will.
    """
    # In the caller's own task: another one, and the wait for it, took a quarter of an append.
    cancelled: asyncio.CancelledError | None = None
    try:
        while True:
            future = write.send(None)
            ended = False
            while not ended:
                try:
                    yield None if future is None else _Kept(future)
                except asyncio.CancelledError as error:
                    cancelled = cancelled or error
                except Exception:  # noqa: BLE001, S110 - the write is told by the future itself
                    pass
                ended = future is None or future.done()
    except StopIteration as done:
        result: T = done.value
    except Exception:
        if cancelled is None:
            raise
    finally:
        write.close()
    if cancelled is not None:
        raise cancelled
    return result


__all__ = ["Opened", "SessionClosedError", "settled", "url_of"]
