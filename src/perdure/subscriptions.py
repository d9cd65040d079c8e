"""`store.subscribe`: what this store object has committed, as a stream in this process."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

from perdure.engines import Job
from perdure.engines.delivery import Outcome, Waiter, deliver
from perdure.errors import InvalidError
from perdure.facts import KINDS, facts_of
from perdure.operation import Operation
from perdure.records import Fact

_log = logging.getLogger("perdure")

MISSED = "missed"


class Subscription:
    """A bounded queue of facts; who writes never waits for who reads.

    When ``limit`` facts wait the next ones are counted and not kept. The reader gets those that
    waited, then one fact of the kind ``missed`` whose value is how many were not kept.
    """

    def __init__(self, hub: Hub, kinds: Collection[str], limit: int) -> None:
        self._hub = hub
        self._kinds = kinds
        self._limit = limit
        self._lock = threading.Lock()
        self._facts: deque[Fact] = deque()
        self._missed = 0
        self._ended = False
        self._wakers: list[Callable[[], None]] = []

    def put(self, facts: Collection[Fact]) -> None:
        """Take those of its kinds; from the engine's thread."""
        with self._lock:
            if self._ended:
                return
            for fact in facts:
                if fact.kind not in self._kinds:
                    continue
                # One gap, and nothing behind it before it is told of.
                if self._missed or len(self._facts) >= self._limit:
                    self._missed += 1
                else:
                    self._facts.append(fact)
            wakers, self._wakers = self._wakers, []
        _wake(wakers)

    def end(self) -> None:
        """Nothing more comes; what waits can still be read."""
        with self._lock:
            self._ended = True
            wakers, self._wakers = self._wakers, []
        _wake(wakers)
        self._hub.remove(self)

    def _forget(self, wake: Callable[[], None]) -> None:
        """Who waited in vain does not wait any more."""
        with self._lock:
            if wake in self._wakers:
                self._wakers.remove(wake)

    def _take(self, wake: Callable[[], None]) -> tuple[Fact | None, bool]:
        """The next fact, and whether the end was reached; with neither, wake is called later."""
        with self._lock:
            if self._facts:
                return self._facts.popleft(), False
            if self._missed:
                missed, self._missed = self._missed, 0
                return Fact(MISSED, "", "", value=missed), False
            if not self._ended:
                self._wakers.append(wake)
            return None, self._ended


class AsyncSubscription(Subscription):
    """What `Store.subscribe` gives: ``async for fact in subscription``."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Fact:
        fact = await self.get()
        if fact is None:
            raise StopAsyncIteration
        return fact

    async def get(self, within: float | None = None) -> Fact | None:
        """The next fact; None at the end, or if none comes ``within`` so many seconds."""
        loop = asyncio.get_running_loop()
        until = None if within is None else loop.time() + within
        there = asyncio.Event()
        wake = partial(_set, loop, there)
        while True:
            there.clear()
            fact, ended = self._take(wake)
            if fact is not None or ended:
                return fact
            try:
                async with asyncio.timeout_at(until):
                    await there.wait()
            except TimeoutError:
                return None
            finally:
                self._forget(wake)

    def close(self) -> None:
        """Listen no more; idempotent."""
        self.end()


class SyncSubscription(Subscription):
    """What `SyncStore.subscribe` gives: ``for fact in subscription``, which waits."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Fact:
        fact = self.get()
        if fact is None:
            raise StopIteration
        return fact

    def get(self, within: float | None = None) -> Fact | None:
        """The next fact; None at the end, or if none comes ``within`` so many seconds."""
        until = None if within is None else time.monotonic() + within
        there = threading.Event()
        while True:
            there.clear()
            fact, ended = self._take(there.set)
            if fact is not None or ended:
                return fact
            left = None if until is None else max(0.0, until - time.monotonic())
            try:
                if not there.wait(left):
                    return None
            finally:
                self._forget(there.set)

    def close(self) -> None:
        """Listen no more; idempotent."""
        self.end()


class Hub:
    """Who listens to a store, and what they are told; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: WeakSet[Subscription] = WeakSet()
        self._closed = False
        #: None while nobody listens: writes then cost nothing more.
        self.active = False

    def add(self, subscription: Subscription) -> None:
        """Tell it what is committed from now on; at once its end, if the store is closed."""
        with self._lock:
            closed = self._closed
            if not closed:
                self._all.add(subscription)
                self.active = True
        if closed:
            subscription.end()

    def remove(self, subscription: Subscription) -> None:
        """Tell it nothing more."""
        with self._lock:
            self._all.discard(subscription)
            self.active = bool(self._all)

    def close(self) -> None:
        """End them all: nothing more will be committed."""
        with self._lock:
            self._closed = True
            there = list(self._all)
        for subscription in there:
            subscription.end()

    def job(self, op: Operation[Any], waiter: Waiter) -> Job:
        """The operation, told of before its caller is told."""
        return op, _Announcing(self, op, waiter)

    def announce(self, op: Operation[Any], value: Any) -> None:
        """Tell all who listen; raises nothing, for the engine would have to bear it."""
        with self._lock:
            there = list(self._all)
            self.active = bool(there)
        if not there:
            return
        try:
            facts = tuple(facts_of(op, value))
            for subscription in there:
                subscription.put(facts)
        except Exception:  # noqa: BLE001 - it is logged; nobody is there to catch it
            _log.exception("subscribers could not be told of %s", op.name)


class _Announcing:
    """A waiter that tells the subscribers first, in the engine's thread, in its order.

    So it is told, too, when the caller was cancelled and nobody waits any more.
    """

    __slots__ = ("_hub", "_op", "_waiter")

    loop = None

    def __init__(self, hub: Hub, op: Operation[Any], waiter: Waiter) -> None:
        self._hub = hub
        self._op = op
        self._waiter = waiter

    def tell(self, value: Any, error: BaseException | None) -> None:
        """Hand over the outcome; once."""
        if error is None:
            self._hub.announce(self._op, value)
        deliver([Outcome(self._waiter, value, error)])


def checked_kinds(kinds: Collection[str] | str | None) -> frozenset[str]:
    """The kinds that are wanted, all of them if None; `InvalidError` for an unknown one."""
    if kinds is None:
        return frozenset(KINDS)
    wanted = frozenset([kinds] if isinstance(kinds, str) else kinds)
    unknown = sorted(map(repr, wanted - set(KINDS)))
    if unknown:
        raise InvalidError(f"no kind of fact is called {', '.join(unknown)}: see {KINDS}", "kinds")
    return wanted


def checked_limit(limit: int) -> int:
    """How many facts may wait."""
    if not isinstance(limit, int) or limit < 1:
        raise InvalidError(f"limit must be 1 or more, not {limit!r}", "limit")
    return limit


def _wake(wakers: Collection[Callable[[], None]]) -> None:
    for wake in wakers:
        wake()


def _set(loop: asyncio.AbstractEventLoop, there: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop was closed with who waited
        loop.call_soon_threadsafe(there.set)
