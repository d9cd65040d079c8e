"""What the adapters of LangGraph have in common: a store in both colours, opened and closed."""

from __future__ import annotations

import os
from collections.abc import Awaitable
from typing import Any, Self

from perdure.adapters.closing import Closing
from perdure.adapters.colours import both
from perdure.errors import InvalidError
from perdure.opening import open_sync
from perdure.store import Store, SyncStore


class Owning(Closing):
    """Over a store of the caller's, or over one of its own: see `from_conn_string`."""

    _owned = False

    def __init__(self, store: Store | SyncStore, **options: Any) -> None:
        super().__init__(**options)
        if isinstance(store, str | os.PathLike):
            name = type(self).__name__
            message = f"{store!r} is no store: write {name}.from_conn_string({str(store)!r})"
            raise InvalidError(message, "store")
        self.store = store
        self._sync, self._async = both(store)

    @classmethod
    def from_conn_string(cls, conn_string: str | os.PathLike[str], **options: Any) -> Self:
        """One with a store of its own, for ``with`` or ``async with``, or to be closed.

        A URL of perdure, a path of an SQLite file, or ``:memory:``. The options are those of
        the class.
        """
        made = cls(open_sync(url_of(os.fspath(conn_string))), **options)
        made._owned = True
        return made

    def close(self) -> None:
        """Finish what was accepted and close the store, if it was opened here; idempotent."""
        if self._owned:
            self._sync.close()

    def setup(self) -> Awaitable[None]:
        """Bring the schema up to date; it is done when this returns, and may be awaited as well.

        Not needed unless the store was opened with ``auto_migrate=False``. Any number of
        processes may call it at once.
        """
        self._sync.migrate()
        return Done()

    async def asetup(self) -> None:
        """The same, without holding up the loop."""
        await self._async.migrate()


class Done:
    """What was done already, for those who await it."""

    def __await__(self) -> Any:
        return iter(())


class Said(int):
    """A number that is there already, for those who await it as well."""

    def __await__(self) -> Any:
        yield from ()
        return self


def url_of(conn_string: str) -> str:
    """The URL of what LangGraph's users write: also a path, or ``:memory:``."""
    if conn_string == ":memory:":
        return "memory:"
    scheme, mark, _ = conn_string.partition(":")
    # A drive of Windows has one letter.
    is_url = "://" in conn_string or (mark and scheme == "memory")
    return conn_string if is_url else f"sqlite:///{conn_string}"


__all__ = ["Done", "Owning", "Said", "url_of"]
