"""The vocabulary between features and engines: statements, plans, operations, flows.

A feature decides, an engine does the I/O. A method of a feature checks its arguments, draws
ids and the time, and returns *work*: a function that makes a **plan**, a generator that
yields statements and is sent their rows. A plan has no clock, no randomness and no I/O of
its own, so an engine may run it again: for the replay of a failed batch, for a retry.

The same text serves three modes. ``@operation`` is a descriptor over a phantom type: on
``Events[Async]`` a method is ``(...) -> Coroutine[..., T]``, on ``Events[Sync]`` it is
``(...) -> T``, on ``Events[Deferred]``, inside a turn, ``(...) -> Pending[T]``.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, replace
from functools import update_wrapper
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    NamedTuple,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    cast,
    overload,
)

from perdure.errors import ClosedError

if TYPE_CHECKING:
    from perdure.records import SessionKey
    from perdure.retention import RetentionConfig
    from perdure.values import Limits
    from perdure.webhooks import Webhook

__all__ = [
    "Async",
    "Call",
    "Composed",
    "Deferred",
    "Do",
    "Emit",
    "Feature",
    "Flow",
    "Fused",
    "Keeping",
    "Many",
    "Noted",
    "Operation",
    "Pending",
    "Plan",
    "Query",
    "Rows",
    "Runner",
    "Settings",
    "Settle",
    "Sleep",
    "Statement",
    "Step",
    "Stream",
    "Sync",
    "Work",
    "flow",
    "operation",
    "reading",
    "renewing",
    "run",
    "stream",
]

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Feature[Any]")

Row: TypeAlias = tuple[Any, ...]
Rows: TypeAlias = Sequence[Row]


class Async:
    """The mode whose methods are awaited."""


class Sync:
    """The mode whose methods return when the work is done."""


class Deferred:
    """The mode inside a turn: methods return a `Pending` and run when the block ends."""


M = TypeVar("M", covariant=True)


@dataclass(frozen=True, slots=True)
class Query:
    """One named statement, with its text in each dialect and the order of its parameters."""

    name: str
    texts: Mapping[str, str]
    params: tuple[str, ...]

    def __call__(self, **values: Any) -> Statement:
        """The statement with these values; a missing or unknown name is a `TypeError`."""
        if len(values) != len(self.params):
            self._refuse(values)
        try:
            return Statement(self, tuple([values[name] for name in self.params]))
        except KeyError:
            self._refuse(values)
            raise

    def many(self, rows: Sequence[tuple[Any, ...]]) -> Many:
        """The same statement for several rows, each in the order of `params`."""
        return Many(self, rows)

    def _refuse(self, values: Mapping[str, Any]) -> None:
        wrong = sorted(set(values) ^ set(self.params))
        raise TypeError(f"statement {self.name!r}: missing or unknown parameters {wrong}")


class Statement(NamedTuple):
    """A query with its values, in the order its text numbers them."""

    query: Query
    args: tuple[Any, ...]


class Many(NamedTuple):
    """A writing query for several rows of values; no rows come back."""

    query: Query
    rows: Sequence[tuple[Any, ...]]


Plan: TypeAlias = Generator[Statement | Many, Rows, T]
#: How many versions the running transaction has already added to each session.
Bumps: TypeAlias = "dict[SessionKey, int]"
Work: TypeAlias = Callable[[Bumps], Plan[T]]


class Fused(Generic[T]):
    """Work that one statement can do whole; called, it gives the plan like any other work.

    An engine that has round trips to save sends ``one()`` as a transaction of its own, and
    ``result`` makes the value of its rows. None from there says that the statement did not
    apply, and then that it changed nothing: the plan of ``again`` is run instead. It is run,
    too, when nobody knows whether the statement took effect, so it finds what is stored.

    A writing statement gives exactly one row, of NULLs alone where it did not apply.
    ``order`` is the row of its own that it locks: such statements may share a transaction,
    in this order, and those of one row take effect in the order they came. ``alone``: it locks
    others' rows as well, and goes by itself.
    """

    __slots__ = ("again", "alone", "one", "order", "result", "work")

    def __init__(
        self,
        work: Work[T],
        one: Callable[[], Statement],
        result: Callable[[Rows], T | None],
        again: Work[T],
        order: tuple[str, ...] = (),
        *,
        alone: bool = False,
    ) -> None:
        self.work = work
        self.one = one
        self.result = result
        self.again = again
        self.order = order
        self.alone = alone

    def __call__(self, bumps: Bumps) -> Plan[T]:
        """The plan, as the part of a transaction."""
        return self.work(bumps)


class Noted(Generic[T]):
    """Work with a note beside it, for those who are told what was committed.

    It says what the result alone does not; it is fit to be shown, as `on_write` has left it.
    """

    __slots__ = ("note", "work")

    def __init__(self, work: Work[T], note: Any) -> None:
        self.work = work
        self.note = note

    def __call__(self, bumps: Bumps) -> Plan[T]:
        """The plan."""
        return self.work(bumps)


class Do(Protocol):
    """Runs an operation as a step of another one."""

    def __call__(self, op: Operation[T], /) -> Plan[T]:
        """Its result."""


class Composed(Generic[T]):
    """Work made of other operations: those who are told of them find them in ``done``.

    With their results, as the last run had them: that is the one that was committed.
    """

    __slots__ = ("_work", "done")

    def __init__(self, work: Callable[[Bumps, Do], Plan[T]]) -> None:
        self._work = work
        self.done: Sequence[tuple[Operation[Any], Any]] = ()

    def __call__(self, bumps: Bumps) -> Plan[T]:
        """The plan."""
        done: list[tuple[Operation[Any], Any]] = []

        def do(op: Operation[Any]) -> Plan[Any]:
            result = yield from op.work(bumps)
            done.append((op, result))
            return result

        value = yield from self._work(bumps, do)
        self.done = done
        return value


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """What the port takes: a name, the arguments, and a plan that can be made again.

    ``of_session``: where the arguments begin with what looks like the key of a session, it is one.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    work: Work[T]
    reads: bool = False
    of_session: bool = True

    def plan(self) -> Plan[T]:
        """A fresh plan, as the only one of its transaction."""
        return self.work({})


@dataclass(frozen=True, slots=True)
class Call:
    """A step of a flow: call the user's function, sync or async; its result is sent back."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Keeping:
    """A step of a flow: a call that may take long, and an operation each so many seconds of it.

    The call is made beside the caller's thread or loop. What becomes of the operations does not
    matter to it.
    """

    call: Call
    every: float
    beat: Callable[[], Operation[Any]]


@dataclass(frozen=True, slots=True)
class Sleep:
    """A step of a flow: wait that many seconds, or until the engine hears of a change.

    ``about``: part and id of the session; an engine may hear of nothing, so only looking tells.
    """

    seconds: float
    about: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Settle:
    """A step of a flow: have the engine make unreadable what was removed; what remains of it.

    ``thorough``: None, if that is quick; True, however long it takes.
    """

    thorough: bool | None = None


@dataclass(frozen=True, slots=True)
class Emit(Generic[T]):
    """A step of a stream: hand one item to the caller."""

    item: T


Step: TypeAlias = Operation[Any] | Call | Keeping | Sleep | Settle
Flow: TypeAlias = Generator[Step, Any, T]
Stream: TypeAlias = Generator[Step | Emit[T], Any, None]


def run(op: Operation[T]) -> Generator[Step, Any, T]:
    """The result of an operation, typed, inside a flow: ``x = yield from run(op)``."""
    return cast("T", (yield op))


class Pending(Generic[T]):
    """The result of an operation of a turn: there once the turn has been stored."""

    __slots__ = ("_value",)

    _value: T

    @property
    def value(self) -> T:
        """What the operation returned; `ClosedError` before the turn has ended well."""
        try:
            return self._value
        except AttributeError:
            raise ClosedError("this turn has not been stored: nothing has happened yet") from None

    def resolve(self, value: T) -> None:
        """Give the value; done by the turn."""
        self._value = value


class Runner(Protocol):
    """Carries out operations and flows in one mode."""

    def operate(self, op: Operation[Any]) -> Any:
        """Run one operation; an awaitable, the result or a `Pending`, by the mode."""

    def flow(self, steps: Flow[Any]) -> Any:
        """Drive a flow to its result."""

    def stream(self, steps: Stream[Any]) -> Any:
        """Drive a stream; an iterator or an async iterator, by the mode."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What every feature of one store knows.

    ``clock`` gives microseconds since 1970 (UTC), ``ids`` new ids; ``deleted_grace`` is in
    microseconds, ``event_limit`` and ``memory_limit`` are None for no limit. The callables are
    the user's, sync or async, and only a flow calls them; ``on_write`` alone is sync, and called
    when an operation is made.
    """

    tenant: str
    limits: Limits
    clock: Callable[[], int]
    ids: Callable[[], str]
    event_limit: int | None
    deleted_grace: int
    summariser: Callable[..., Any] | None = None
    extractor: Callable[..., Any] | None = None
    embedder: Callable[..., Any] | None = None
    token_counter: Callable[..., Any] | None = None
    memory_limit: int | None = None
    retention: RetentionConfig | None = None
    on_write: Callable[[Any], Any] | None = None
    webhooks: tuple[Webhook, ...] = ()


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
    update_wrapper(call, function)
    # A bound method has no `self` to show; `help()` and inspect go by __wrapped__.
    call.__wrapped__ = function.__get__(obj)  # type: ignore[attr-defined]
    # The descriptors have no __set__: what stands in the instance is found first next time.
    vars(obj)[function.__name__] = call
    return call


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
        if obj is None:
            return self

        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return obj._runner.flow(self._function(obj, *args, **kwargs))

        return _bind(call, self._function, obj)


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
        if obj is None:
            return self

        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return obj._runner.stream(self._function(obj, *args, **kwargs))

        return _bind(call, self._function, obj)
