"""Fair turns at one file for several processes.

SQLite's own lock is the truth, but who waits for it polls, and a busy writer starves the
others. Here writers queue: ``flock(turn); flock(write); unlock(turn)``. The kernel wakes the
waiters of a flock in order, so the slowest of eight processes gets as much as the fastest.
"""

from __future__ import annotations

import errno
import os
import random
import time
from typing import Protocol

from perdure.engines.shortages import shortage
from perdure.errors import InvalidError

try:
    import fcntl
except ImportError:  # Windows: SQLite's busy handler, with short random sleeps, does alone.
    # A module for mypy; without it `turnstile_for` makes no `FileTurnstile`, which alone uses it.
    fcntl = None  # type: ignore[assignment]

_NO_RIGHTS = {errno.EACCES, errno.EPERM, errno.EROFS}


class Turnstile(Protocol):
    """What a writer passes before its transaction, and leaves after it."""

    def try_enter(self) -> bool:
        """Enter if nobody is in or waits; never blocks."""

    def enter(self) -> None:
        """Enter; blocks until it is this process's turn."""

    def enter_within(self, seconds: float) -> bool:
        """Enter, or give up after that time: without a place in the queue."""

    def leave(self) -> None:
        """Let the next one in."""

    def close(self) -> None:
        """Let go of the side files, without unlocking them for others."""


class OpenTurnstile:
    """Lets everybody through: one process only, or no flock on this platform."""

    def try_enter(self) -> bool:
        """Always True."""
        return True

    def enter(self) -> None:
        """Returns at once."""

    def enter_within(self, seconds: float) -> bool:  # noqa: ARG002 - nobody has to wait
        """Always True."""
        return True

    def leave(self) -> None:
        """Does nothing: nobody is held."""

    def close(self) -> None:
        """Does nothing: nothing is open."""


class FileTurnstile:
    """Two side files beside the database, locked in turn."""

    def __init__(self, path: str) -> None:
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
        self._turn = os.open(f"{path}-turn", flags, 0o600)
        try:
            self._write = os.open(f"{path}-write", flags, 0o600)
        except OSError:
            os.close(self._turn)
            raise

    def try_enter(self) -> bool:
        """Enter if nobody is in or waits; never blocks."""
        return self._take(fcntl.LOCK_EX | fcntl.LOCK_NB)

    def enter(self) -> None:
        """Enter; blocks until it is this process's turn."""
        self._take(fcntl.LOCK_EX)

    def enter_within(self, seconds: float) -> bool:
        """Enter, or give up after that time: without a place in the queue."""
        deadline = time.monotonic() + seconds
        while not self.try_enter():
            if time.monotonic() > deadline:
                return False
            time.sleep(random.uniform(0.0005, 0.005))  # noqa: S311 - not for secrets
        return True

    def _take(self, how: int) -> bool:
        try:
            fcntl.flock(self._turn, how)
        except BlockingIOError:
            return False
        try:
            fcntl.flock(self._write, how)
        except BlockingIOError:
            return False
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)
        return True

    def leave(self) -> None:
        """Let the next one in."""
        fcntl.flock(self._write, fcntl.LOCK_UN)
        # Open already, unless an interrupt came in the middle of entering.
        fcntl.flock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the side files, without unlocking them for others."""
        # Not LOCK_UN: in a forked child that would release the lock of the parent.
        os.close(self._turn)
        os.close(self._write)


def turnstile_for(path: str) -> Turnstile:
    """The turnstile of a database file.

    Where nobody may make the side files, on a read-only medium say, SQLite's own lock is left.
    """
    if fcntl is None:
        return OpenTurnstile()
    try:
        return FileTurnstile(path)
    except OSError as error:
        if error.errno in _NO_RIGHTS:
            return OpenTurnstile()
        # Not silently: who writes past the queue of the others can starve, or starve them.
        refused = InvalidError(f"cannot make the side files of {path}: {error.strerror}", "url")
        raise shortage(error, f"the side files of {path}") or refused from error
