"""What removes expired items while a `PerdureStore` is used: a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

from perdure.errors import ClosedError, PerdureError

_log = logging.getLogger("perdure.adapters.langgraph")
_SECONDS = 60


class Sweeping(Future[None]):
    """Done when the sweeper has ended; to cancel it ends it. May be awaited: it has begun."""

    def __await__(self) -> Any:
        yield from ()
        return self


class Sweeper:
    """Sweeps each so many minutes, until it is stopped."""

    def __init__(self, sweep: Callable[[], int]) -> None:
        self._sweep = sweep
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._future = Sweeping()

    def start(self, minutes: float) -> Sweeping:
        """Begin; one that runs goes on as it is."""
        with self._lock:
            # One that was stopped ends with its last sweep, which may take a while.
            if self._thread is None or not self._thread.is_alive() or self._ended.is_set():
                self._ended = threading.Event()
                self._future = Sweeping()
                ended = self._ended
                self._future.add_done_callback(lambda _: ended.set())
                args = (minutes * _SECONDS, ended, self._future)
                self._thread = threading.Thread(
                    target=self._run, args=args, name="perdure-langgraph-sweeper", daemon=True
                )
                self._thread.start()
            return self._future

    def stop(self, timeout: float | None = None) -> bool:
        """Whether it has ended, after that many seconds at most."""
        with self._lock:
            thread = self._thread
            self._ended.set()
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _run(self, seconds: float, ended: threading.Event, future: Sweeping) -> None:
        while not ended.wait(seconds):
            try:
                self._sweep()
            except ClosedError:
                break
            except PerdureError as error:
                # The next time may find the store less busy.
                _log.warning("items that have expired were not removed: %s", error)
            except Exception:  # noqa: BLE001 - else nobody would hear of it, and the disk fill up
                _log.exception("items that have expired were not removed")
        with suppress(InvalidStateError):
            # Cancelled.
            future.set_result(None)


def nothing_to_sweep() -> Sweeping:
    """What is given where nothing can expire."""
    done = Sweeping()
    done.set_result(None)
    return done


__all__ = ["Sweeper", "Sweeping", "nothing_to_sweep"]
