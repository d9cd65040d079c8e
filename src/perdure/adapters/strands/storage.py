"""`PerdureStorage`: the bytes that strands-agents keeps under keys, in a perdure store."""

from __future__ import annotations

import asyncio
import builtins
import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from strands.storage import storage as theirs
from strands.storage.search import KeywordSearchStrategy, StorageSearchResult
from strands.types.exceptions import StorageError

from perdure.adapters.opened import opened
from perdure.errors import PerdureError
from perdure.records import KeyValue
from perdure.store import Store, SyncStore

#: The first part of each namespace: what else is in ``store.kv`` is not strands' own.
_ROOT = "strands"
#: Keys of a page, and values of one: a value may be a whole agent.
_KEYS, _VALUES = 10_000, 20


class PerdureStorage:
    """A `strands.storage.Storage` over ``store.kv``, for sessions, memory and offloaded context.

    Takes a `Store` or a `SyncStore`, which stays the caller's to close, or a URL: a store of its
    own then, closed by `aclose` or ``async with``. With ``user`` (and ``app``) all of it is that
    user's, and goes when the user is erased. ``search_strategy`` is strands': without one a
    search compares words. Any event loop, thread and process may use it at once.

    A value may have 16 MiB. A key may have 512 bytes a segment, and about 1,000 in all.
    """

    def __init__(
        self,
        store: Store | SyncStore | str,
        *,
        app: str = "",
        user: str = "",
        search_strategy: Any = None,
    ) -> None:
        self._opened = opened(store)
        self._kv = self._opened.store.kv
        self._whose: dict[str, Any] = {"app": app, "user": user}
        self._strategy = search_strategy
        self._prefix = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the store, if it is the storage's own."""
        if self._opened.own:
            await asyncio.to_thread(self._opened.sync.close)

    async def write(self, key: str, data: bytes) -> None:
        """Store a copy of the bytes under the key, in the place of what is there."""
        name = _name(key)
        with _told(f"cannot write {key!r}"):
            await self._kv.set(self._at(name), "", bytes(data), **self._whose)
        if self._strategy is not None:
            try:
                await self._strategy.index(self, name, data)
            except Exception as error:
                raise StorageError(f"wrote {key!r}, but could not index it") from error

    async def read(self, key: str) -> bytes | None:
        """The bytes under the key, or None."""
        name = _name(key)
        with _told(f"cannot read {key!r}"):
            found = await self._kv.find(self._at(name), "", **self._whose)
        return None if found is None else bytes(found.value)

    async def delete(self, key: str) -> None:
        """Remove the key, if it is there."""
        name = _name(key)
        with _told(f"cannot delete {key!r}"):
            await self._kv.delete(self._at(name), "", **self._whose)

    async def list(self, query: str = "") -> builtins.list[str]:
        """The keys that begin with the prefix, sorted; no value is read."""
        prefix = self._prefix + _start(query)
        # A namespace has whole segments; the last of the prefix may be the beginning of one.
        above = (_ROOT, *prefix.split("/")[:-1])
        keys: builtins.list[str] = []
        cursor: str | None = None
        with _told(f"cannot list {query!r}"):
            while True:
                page = await self._kv.namespaces(above, cursor=cursor, limit=_KEYS, **self._whose)
                keys += ["/".join(one[1:]) for one in page]
                if (cursor := page.next_cursor) is None:
                    break
        return sorted(key[len(self._prefix) :] for key in keys if key.startswith(prefix))

    async def search(self, query: str) -> builtins.list[StorageSearchResult]:
        """What matches, best first: by the strategy, or by the words of key and content."""
        if self._strategy is not None:
            found: builtins.list[StorageSearchResult] = await self._strategy.search(self, query)
            return found
        hits: builtins.list[StorageSearchResult] = []
        cursor: str | None = None
        with _told(f"cannot search for {query!r}"):
            while True:
                page = await self._kv.list(
                    (_ROOT, *self._prefix.split("/")[:-1]),
                    cursor=cursor, limit=_VALUES, **self._whose,
                )  # fmt: skip
                # Strands' own measure, on what one read has given, and not on a read a key.
                hits += await KeywordSearchStrategy().search(_Page(page.items, self._prefix), query)
                if (cursor := page.next_cursor) is None:
                    break
        return sorted(hits, key=lambda hit: (-hit.score, hit.key))

    def namespace(self, prefix: str) -> Self:
        """The same storage seen from below a prefix: keys are without it, searches stay there."""
        below = _start(prefix).rstrip("/")
        scoped = copy.copy(self)
        scoped._prefix = f"{self._prefix}{below}/" if below else self._prefix
        # By this strands knows that it need not put a prefix of its own before the keys.
        vars(scoped)["_namespaced"] = getattr(theirs, "_NAMESPACED", None)
        return scoped

    def _at(self, name: str) -> tuple[str, ...]:
        """The key as a namespace: those can be listed without what is in them."""
        return (_ROOT, *(self._prefix + name).split("/"))


class _Page:
    """Some values as a storage, for a search among them."""

    def __init__(self, items: Any, prefix: str) -> None:
        self._data = {_key(one)[len(prefix) :]: bytes(one.value) for one in items}

    async def list(self, _: str) -> builtins.list[str]:
        return list(self._data)

    async def read(self, key: str) -> bytes:
        return self._data[key]


def _name(key: str) -> str:
    """The key without needless slashes; `StorageError` where it leads out, or is none."""
    name = _start(key).rstrip("/")
    if not name:
        raise StorageError("a storage key must not be empty")
    return name


def _start(prefix: str) -> str:
    if "\\" in prefix:
        raise StorageError(f"invalid storage key {prefix!r}: backslashes are not allowed")
    start = re.sub("/+", "/", prefix).lstrip("/")
    if ".." in start.split("/"):
        raise StorageError(f"invalid storage key {prefix!r}: '..' path segments are not allowed")
    return start


def _key(item: KeyValue) -> str:
    return "/".join(item.namespace[1:])


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Errors of the store as strands' own."""
    try:
        yield
    except PerdureError as error:
        raise StorageError(f"{what}: {error}") from error
