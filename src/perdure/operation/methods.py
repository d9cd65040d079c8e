"""Methods of features, in every mode from one text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from dataclasses import replace
from functools import update_wrapper
from inspect import iscoroutine
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from perdure.operation.flows import Flow, Pending, Runner, Settings, Stream
from perdure.operation.statements import Operation, T, Work

P = ParamSpec("P")


S = TypeVar("S", bound="Feature[Any]")


class Async:
    """The mode whose methods are awaited."""


class Sync:
    """The mode whose methods return when the work is done."""


class Deferred:
    """The mode inside a turn: methods return a `Pending` and run when the block ends."""


M = TypeVar("M", covariant=True)


class Feature(Generic[M]):
    """A part of the store's API, bound to a runner that carries out its operations."""

    name = ""
    #: Whether its operations name a session first: those of one session go one after the other.
    _of_sessions = True

    def __init__(self, runner: Runner, settings: Settings) -> None:
        self._runner = runner
        self._settings = settings

    def _reading(self, name: str, work: Work[T]) -> Operation[T]:
        """A reading operation without a method of its own, for a flow to yield."""
        return Operation(f"{self.name}.{name}", (), {}, work, reads=True)


def _bind(call: Callable[..., Any], function: Callable[..., Any], obj: object) -> Any:
    # A bound method has no `self` to show; `help()` and inspect go by __wrapped__.
    update_wrapper(call, function).__wrapped__ = MethodType(function, obj)
    # The descriptors have no __set__: what stands in the instance is found first next time.
    vars(obj)[function.__name__] = call
    return call


def _carried(function: Callable[..., Any], obj: object, carry: Callable[[Any], Any]) -> Any:
    """The method that has its steps carried out."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return carry(function(obj, *args, **kwargs))

    return _bind(call, function, obj)


class _Operational(Generic[S, P, T]):
    _reads = False

    def __init__(self, function: Callable[Concatenate[S, P], Work[T]]) -> None:
        self._function = function
        self._name = function.__name__
        update_wrapper(cast("Callable[..., Any]", self), function)

    def of(self, feature: S, *args: P.args, **kwargs: P.kwargs) -> Operation[T]:
        """The operation itself, for a flow to yield."""
        work = self._function(feature, *args, **kwargs)
        name = f"{feature.name}.{self._name}"
        return Operation(name, args, kwargs, work, self._reads, feature._of_sessions)

    def _bound(self, obj: Any) -> Any:
        operate = obj._runner.operate

        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return operate(self.of(obj, *args, **kwargs))

        return _bind(call, self._function, obj)


class operation(_Operational[S, P, T]):  # noqa: N801 - used as a decorator
    """Makes a method that returns work into an operation of the store, in every mode."""

    @overload
    def __get__(self, obj: None, owner: type[Any]) -> operation[S, P, T]: ...
    @overload
    def __get__(
        self, obj: Feature[Async], owner: type[Any]
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, obj: Feature[Sync], owner: type[Any]) -> Callable[P, T]: ...
    @overload
    def __get__(self, obj: Feature[Deferred], owner: type[Any]) -> Callable[P, Pending[T]]: ...
    def __get__(self, obj: Any, owner: type[Any]) -> Any:
        return self if obj is None else self._bound(obj)


class reading(_Operational[S, P, T]):  # noqa: N801 - used as a decorator
    """The same for one that writes nothing: it runs on a snapshot, and not inside a turn."""

    _reads = True

    @overload
    def __get__(self, obj: None, owner: type[Any]) -> reading[S, P, T]: ...
    @overload
    def __get__(
        self, obj: Feature[Async], owner: type[Any]
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, obj: Feature[Sync], owner: type[Any]) -> Callable[P, T]: ...
    def __get__(self, obj: Any, owner: type[Any]) -> Any:
        return self if obj is None else self._bound(obj)


class renewing(reading[S, P, T]):  # noqa: N801 - used as a decorator
    """The same for one that writes where it is called with ``refresh=True``."""

    def of(self, feature: S, *args: P.args, **kwargs: P.kwargs) -> Operation[T]:
        """The operation itself, which reads or writes."""
        made = super().of(feature, *args, **kwargs)
        return replace(made, reads=not kwargs.get("refresh"))


class flow(Generic[S, P, T]):  # noqa: N801 - used as a decorator
    """Makes a generator of steps into a method that returns its result, sync or async."""

    def __init__(self, function: Callable[Concatenate[S, P], Flow[T]]) -> None:
        self._function = function
        update_wrapper(cast("Callable[..., Any]", self), function)

    @overload
    def __get__(self, obj: None, owner: type[Any]) -> flow[S, P, T]: ...
    @overload
    def __get__(
        self, obj: Feature[Async], owner: type[Any]
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, obj: Feature[Sync], owner: type[Any]) -> Callable[P, T]: ...
    def __get__(self, obj: Any, owner: type[Any]) -> Any:
        return self if obj is None else _carried(self._function, obj, obj._runner.flow)


class Taking(Coroutine[Any, Any, T]):
    """What is awaited for something to hold, or entered for as long as a block lasts."""

    def __init__(self, coming: Coroutine[Any, Any, T]) -> None:
        self._coming = coming
        self._held: Any = None

    def send(self, value: Any) -> Any:
        """Go on, as a coroutine does."""
        return self._coming.send(value)

    def throw(self, *error: Any) -> Any:
        """The same with an error."""
        return self._coming.throw(*error)

    def close(self) -> None:
        """Do not wait for it any more."""
        self._coming.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._coming.__await__()

    async def __aenter__(self) -> T:
        held = await self._coming
        self._held = held
        return held

    async def __aexit__(self, *why: object) -> None:
        await self._held.__aexit__(*why)


class taking(flow[S, P, T]):  # noqa: N801 - used as a decorator
    """The same for what gives something to hold: in async code it may be entered at once."""

    @overload
    def __get__(self, obj: None, owner: type[Any]) -> taking[S, P, T]: ...
    @overload
    def __get__(self, obj: Feature[Async], owner: type[Any]) -> Callable[P, Taking[T]]: ...
    @overload
    def __get__(self, obj: Feature[Sync], owner: type[Any]) -> Callable[P, T]: ...
    def __get__(self, obj: Any, owner: type[Any]) -> Any:
        if obj is None:
            return self
        flow = obj._runner.flow

        def take(steps: Flow[Any]) -> Any:
            made = flow(steps)
            return Taking(made) if iscoroutine(made) else made

        return _carried(self._function, obj, take)


class stream(Generic[S, P, T]):  # noqa: N801 - used as a decorator
    """Makes a generator that also emits items into a method that is iterated over."""

    def __init__(self, function: Callable[Concatenate[S, P], Stream[T]]) -> None:
        self._function = function
        update_wrapper(cast("Callable[..., Any]", self), function)

    @overload
    def __get__(self, obj: None, owner: type[Any]) -> stream[S, P, T]: ...
    @overload
    def __get__(self, obj: Feature[Async], owner: type[Any]) -> Callable[P, AsyncIterator[T]]: ...
    @overload
    def __get__(self, obj: Feature[Sync], owner: type[Any]) -> Callable[P, Iterator[T]]: ...
    def __get__(self, obj: Any, owner: type[Any]) -> Any:
        return self if obj is None else _carried(self._function, obj, obj._runner.stream)
