"""What is more than one transaction: flows, their steps, and who carries them out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, cast

from perdure.errors import ClosedError
from perdure.operation.cache import Cache
from perdure.operation.statements import Operation, T

if TYPE_CHECKING:
    from perdure.policy import ApprovalPolicy
    from perdure.retention import RetentionConfig
    from perdure.values import Limits
    from perdure.webhooks import Webhook


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


class Tended(Protocol):
    """What is kept up by a thread of the store, however busy those who have it are."""

    @property
    def due(self) -> float:
        """When to beat next, by `time.monotonic`."""

    #: Given by what tends to it: has it ask `beat` at once, though nobody has it in hand.
    let_go: Callable[[Tended], None]

    def beat(self) -> Operation[Any] | None:
        """What to do now; None: nothing any more, it has ended."""

    def told(self, value: Any, error: BaseException | None) -> None:
        """The outcome of a beat, in any thread."""

    def end(self) -> Operation[Any] | None:
        """What gives it back, as the store is closed."""


@dataclass(frozen=True, slots=True)
class Tend:
    """A step of a flow: have a thread of the store keep this up from now on."""

    what: Tended


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


Step: TypeAlias = Operation[Any] | Call | Keeping | Sleep | Settle | Tend


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
    when an operation is made. ``cache`` is what the process remembers of what is stored,
    ``looks`` what it has decoded of it.
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
    approval_policy: ApprovalPolicy | None = None
    can_resolve: Callable[..., Any] | None = None
    cache: Cache = field(default_factory=Cache, init=False)
    looks: Cache = field(default_factory=Cache.of_looks, init=False)
    cron_handlers: Mapping[str, Callable[..., Any]] | None = None
