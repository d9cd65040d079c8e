"""What a thread of the store does now and then, however busy the caller's thread or loop is."""

from __future__ import annotations

import os
import threading
import time
import weakref
from contextlib import suppress
from typing import Any

from perdure.engines import Engine
from perdure.engines.delivery import BlockedCaller
from perdure.operation import Tended

#: How long a thread without work stays.
_LINGER_SECONDS = 5.0

_tenders: weakref.WeakSet[Tender] = weakref.WeakSet()


class Tender:
    """One thread for all that a store's callers hold: it begins with the first of them.

    It knows them weakly: what nobody has in hand any more is not tended to.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._forget()
        _tenders.add(self)

    def _forget(self) -> None:
        """In a forked child there is no thread, and nobody who holds the lock."""
        # Taken by itself: a KeyboardInterrupt can leave a Condition that is entered locked.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._tended: weakref.WeakSet[Tended] = weakref.WeakSet()
        self._leaving: list[Tended] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, one: Tended) -> None:
        """Tend to it from now on, until it has ended or this is closed."""
        with self._lock:
            self._tended.add(one)
            one.let_go = self.let_go
            if self._thread is None:
                # A daemon: a program that ends must not wait for it.
                self._thread = threading.Thread(
                    target=self._work, name="perdure-tending", daemon=True
                )
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Give back what is still held, as the store is closed."""
        with self._lock:
            held = [*self._tended, *self._leaving]
            self._closed = True
            self._changed.notify()
        jobs = [(op, BlockedCaller()) for one in held if (op := one.end()) is not None]
        # What fails here ends by itself, when its time is over.
        with suppress(Exception):
            if jobs:
                self._engine.submit(jobs)
            for _, waiter in jobs:
                with suppress(Exception):
                    waiter.wait()

    def let_go(self, one: Tended) -> None:
        """Ask it at once what to do last, though nobody has it in hand any more."""
        with self._lock:
            self._leaving.append(one)
            self._changed.notify()

    def _work(self) -> None:
        # Nothing that it tended to is in its hands while it waits.
        while self._round():
            pass

    def _round(self) -> bool:
        due = self._next()
        for one in due or ():
            self._tend(one)
        return due is not None

    def _next(self) -> list[Tended] | None:
        """Those whose time has come, after waiting for it; None if there is nothing to wait for."""
        with self._lock:
            while not self._closed:
                now = time.monotonic()
                held = list(self._tended)
                leaving, self._leaving = self._leaving, []
                due = [*leaving, *(one for one in held if one.due <= now)]
                if due:
                    return due
                soonest = min((one.due - now for one in held), default=_LINGER_SECONDS)
                del held
                if not self._changed.wait(soonest) and not (self._tended or self._leaving):
                    break
            self._thread = None
            return None

    def _tend(self, one: Tended) -> None:
        op = one.beat()
        if op is None:
            with self._lock:
                self._tended.discard(one)
            return
        waiter = _Telling(one)
        try:
            self._engine.submit([(op, waiter)])
        except Exception as error:  # noqa: BLE001 - nobody else would tell
            waiter.tell(None, error)


class _Telling:
    """Takes the outcome of a beat to whom it is about."""

    __slots__ = ("_one",)

    loop = None

    def __init__(self, one: Tended) -> None:
        self._one = one

    def tell(self, value: Any, error: BaseException | None) -> None:
        self._one.told(value, error)


def _forget_all() -> None:
    for tender in list(_tenders):
        tender._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
