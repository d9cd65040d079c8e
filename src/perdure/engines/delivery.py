"""How results come back: to a thread that blocks, or to the event loop of a task."""

from __future__ import annotations

import threading
from asyncio import AbstractEventLoop, Future
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol

from perdure.errors import PerdureError

_LOOK_SECONDS = 0.5


class BlockedCaller:
    """A thread that waits for one outcome."""

    __slots__ = ("_done", "_error", "_value")

    loop = None

    def __init__(self) -> None:
        # A plain lock wakes one waiter at a fifth of the cost of an Event.
        self._done = threading.Lock()
        self._done.acquire()
        self._value: Any = None
        self._error: BaseException | None = None

    def tell(self, value: Any, error: BaseException | None) -> None:
        """Hand over the outcome; once."""
        self._value, self._error = value, error
        self._done.release()

    def wait(self, given_up: Callable[[], PerdureError | None] | None = None) -> Any:
        """The value, or the error raised; blocks until it is told.

        ``given_up`` is asked now and then whether nobody is left to tell it, and gives the error.
        """
        while not self._done.acquire(timeout=-1 if given_up is None else _LOOK_SECONDS):
            lost = given_up and given_up()
            # Once more: it may have been told between the two looks.
            if lost and not self._done.acquire(blocking=False):
                raise lost
            if lost:
                break
        if self._error is not None:
            raise self._error
        return self._value


class AwaitingTask:
    """A task that awaits one outcome; if it is cancelled, nobody is told."""

    __slots__ = ("_future", "loop")

    def __init__(self, loop: AbstractEventLoop, future: Future[Any]) -> None:
        self.loop = loop
        self._future = future

    def tell(self, value: Any, error: BaseException | None) -> None:
        """Hand over the outcome, on the loop's own thread."""
        if self._future.done():
            return
        if error is not None:
            self._future.set_exception(error)
        else:
            self._future.set_result(value)


class Waiter(Protocol):
    """Somebody who is told one outcome."""

    @property
    def loop(self) -> AbstractEventLoop | None:
        """On which loop it is to be told; None: anywhere."""

    def tell(self, value: Any, error: BaseException | None) -> None:
        """Hand over the outcome; once."""


class Outcome(NamedTuple):
    """What became of one operation: a value, or an error."""

    waiter: Waiter
    value: Any = None
    error: BaseException | None = None


def deliver(outcomes: Sequence[Outcome]) -> None:
    """Tell every waiter; one call for each event loop, however many of its tasks wait."""
    by_loop: dict[AbstractEventLoop, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.waiter.loop is None:
            outcome.waiter.tell(outcome.value, outcome.error)
        else:
            by_loop.setdefault(outcome.waiter.loop, []).append(outcome)
    for loop, waiting in by_loop.items():
        try:
            loop.call_soon_threadsafe(_tell_all, waiting)
        except RuntimeError:
            # The loop was closed with its tasks: nobody waits any more.
            continue


async def answer(waiter: Waiter, work: Awaitable[Any]) -> None:
    """Tell the waiter what becomes of the work."""
    try:
        outcome = Outcome(waiter, await work)
    except Exception as error:  # noqa: BLE001 - it belongs to the caller
        outcome = Outcome(waiter, error=error)
    deliver([outcome])


def _tell_all(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        outcome.waiter.tell(outcome.value, outcome.error)
