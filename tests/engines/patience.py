"""A limit on what must not hang: a call that does fails its test, and holds nothing up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

T = TypeVar("T")


def begun(call: Callable[..., T], *args: Any) -> Future[T]:
    """The call, running in a thread of its own that no exit waits for."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(call(*args))
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future


def outcome(future: Future[T], seconds: float = 20) -> T:
    """What the call returns or raises, in time."""
    wait([future], seconds)
    # Not by a TimeoutError: that is what a BusyError is, too.
    assert future.done(), "the call hangs"
    return future.result()


def in_time(call: Callable[..., T], *args: Any, seconds: float = 20) -> T:
    """What the call returns or raises, in time."""
    return outcome(begun(call, *args), seconds)
