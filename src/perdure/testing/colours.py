"""A sync store that is awaited like an async one, so that a test is written once for both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from inspect import getattr_static
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from perdure.features.gating import Gate
from perdure.handles import SessionHandle
from perdure.operation import Feature, Sync, Taking, stream, taking
from perdure.records import Fact
from perdure.store import Store, SyncStore
from perdure.subscriptions import SyncSubscription
from perdure.turns import SyncTurn

_END = object()
F = TypeVar("F", bound=Feature[Any])


def awaited(store: SyncStore) -> Store:
    """The sync store with the methods of an async one; each call runs in a thread."""
    return cast("Store", _Awaited(store))


def beside(store: Store, feature: F) -> F:
    """What stands beside a store of the contract, awaited if the store is."""
    return cast("F", _Awaited(feature)) if isinstance(store, _Awaited) else feature


class _Awaited:
    """An object whose methods return at once, seen as one whose methods are awaited."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __repr__(self) -> str:
        return f"awaited({self._target!r})"

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if isinstance(value, Feature):
            return _Awaited(value)
        makes = _MAKES.get(name)
        if name in {"history", "recovery", "scheduler"} and not isinstance(self._target, SyncStore):
            makes = None
        if makes is not None:
            return lambda *args, **kwargs: makes(value(*args, **kwargs))
        if name == "required":
            return value
        if not callable(value) or name.startswith("_"):
            return value
        return _in_its_way(self._target, name)(value)

    def __iter__(self) -> Iterator[Any]:
        return (_Awaited(item) for item in self._target)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._target.__exit__, kind, error, trace)


class _AwaitedSubscription:
    """Facts of a sync store; waiting for one is done in a thread."""

    def __init__(self, subscription: SyncSubscription) -> None:
        self._subscription = subscription
        self.close = subscription.close

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Fact:
        fact = await self.get()
        if fact is None:
            raise StopAsyncIteration
        return fact

    async def get(self, within: float | None = None) -> Fact | None:
        return await asyncio.to_thread(self._subscription.get, within)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _AwaitedTurn:
    """Its features are those of the sync turn: noting a write is awaited in neither colour."""

    def __init__(self, turn: SyncTurn) -> None:
        self._turn = turn

    def __getattr__(self, name: str) -> Any:
        return getattr(self._turn, name)

    async def __aenter__(self) -> SyncTurn:
        return self._turn.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._turn.__exit__, kind, error, trace)


class _AwaitedGate:
    """A gate of a sync store; what is waited for is waited for in a thread."""

    def __init__(self, gate: Gate[Sync]) -> None:
        self._gate = gate

    async def __aenter__(self) -> Gate[Sync]:
        return await asyncio.to_thread(self._gate.__enter__)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._gate.__exit__(kind, error, trace)


def _is_stream(target: object, name: str) -> bool:
    return name == "export_user" or isinstance(getattr_static(type(target), name, None), stream)


def _in_its_way(target: object, name: str) -> Callable[[Callable[..., Any]], Any]:
    if _is_stream(target, name):
        return _iterated
    return _taken if isinstance(getattr_static(type(target), name, None), taking) else _called


def _taken(method: Callable[..., Any]) -> Callable[..., Taking[Any]]:
    return lambda *args, **kwargs: Taking(_called(method)(*args, **kwargs))


def _called(method: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        result = await asyncio.to_thread(method, *args, **kwargs)
        return _Awaited(result) if isinstance(result, Feature | SessionHandle) else result

    return call


def _iterated(method: Callable[..., Iterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    def call(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        return _items(method(*args, **kwargs))

    return call


async def _items(items: Iterator[Any]) -> AsyncIterator[Any]:
    try:
        while (item := await asyncio.to_thread(next, items, _END)) is not _END:
            yield item
    finally:
        cast("Any", items).close()


#: Methods that are not awaited, and what stands around what they make.
_MAKES: dict[str, Callable[[Any], Any]] = {
    "subscribe": _AwaitedSubscription,
    "history": _Awaited,
    "recovery": _Awaited,
    "scheduler": _Awaited,
    "tools": _Awaited,
    "turn": _AwaitedTurn,
    "gate": _AwaitedGate,
}
