"""`PerdureKeyValueStore`: LangChain's store of bytes or JSON by key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from typing import Any

from langchain_core.stores import BaseStore

from perdure.adapters.langgraph.owning import Owning
from perdure.records import KeyValue, Namespace
from perdure.store import Store, SyncStore

#: Keys of one call of the store; LangChain has no limit.
_KEYS = 10_000


class PerdureKeyValueStore(Owning, BaseStore[str, Any]):
    """A LangChain ``BaseStore`` (or ``ByteStore``) in a namespace of ``store.kv``.

    What caches of embeddings and document stores of LangChain take. Values are bytes or JSON.
    ``ttl``: how long what is set lives. ``app`` and ``user`` are whose it is.
    """

    def __init__(
        self,
        store: Store | SyncStore,
        *,
        namespace: Namespace = ("langchain",),
        ttl: timedelta | None = None,
        app: str = "",
        user: str = "",
    ) -> None:
        super().__init__(store)
        self._namespace = namespace
        self._ttl = ttl
        self._whose: dict[str, Any] = {"app": app, "user": user}

    def mget(self, keys: Sequence[str]) -> list[Any]:
        """The value of each key, None where there is none; as of one moment per 10,000."""
        found: dict[str, KeyValue] = {}
        for some in _parts(keys):
            found |= self._sync.kv.get_many(self._namespace, some, **self._whose)
        return _values(keys, found)

    async def amget(self, keys: Sequence[str]) -> list[Any]:
        """The same, awaited."""
        found: dict[str, KeyValue] = {}
        for some in _parts(keys):
            found |= await self._async.kv.get_many(self._namespace, some, **self._whose)
        return _values(keys, found)

    def mset(self, key_value_pairs: Sequence[tuple[str, Any]]) -> None:
        """Write each value over what is there, the last one of a key; 10,000 a transaction."""
        values = dict(key_value_pairs)
        for some in _parts(list(values)):
            part = {key: values[key] for key in some}
            self._sync.kv.set_many(self._namespace, part, ttl=self._ttl, **self._whose)

    async def amset(self, key_value_pairs: Sequence[tuple[str, Any]]) -> None:
        """The same, awaited."""
        values = dict(key_value_pairs)
        for some in _parts(list(values)):
            part = {key: values[key] for key in some}
            await self._async.kv.set_many(self._namespace, part, ttl=self._ttl, **self._whose)

    def mdelete(self, keys: Sequence[str]) -> None:
        """Remove the keys; those that are not there do not matter."""
        for some in _parts(keys):
            self._sync.kv.delete_many(self._namespace, some, **self._whose)

    async def amdelete(self, keys: Sequence[str]) -> None:
        """The same, awaited."""
        for some in _parts(keys):
            await self._async.kv.delete_many(self._namespace, some, **self._whose)

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """The keys that begin so, sorted; nothing is locked while you look at them."""
        for one in self._sync.kv.iter(self._namespace, key_prefix=prefix or "", **self._whose):
            if one.namespace == self._namespace:
                yield one.key

    async def ayield_keys(self, *, prefix: str | None = None) -> AsyncIterator[str]:
        """The same, awaited."""
        found = self._async.kv.iter(self._namespace, key_prefix=prefix or "", **self._whose)
        async for one in found:
            if one.namespace == self._namespace:
                yield one.key


def _parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _KEYS):
        yield keys[start : start + _KEYS]


def _values(keys: Sequence[str], found: dict[str, KeyValue]) -> list[Any]:
    return [found[key].value if key in found else None for key in keys]


__all__ = ["PerdureKeyValueStore"]
