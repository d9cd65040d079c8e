"""One process at a time writes to a directory, and says who it is."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from perdure.engines.jsonl import disk
from perdure.engines.jsonl.paths import LOCK, WRITER
from perdure.errors import BusyError

_PATIENCE = 1.0


class Writer:
    """The right to write to a directory: held from the first write until it is let go.

    The kernel keeps it, so that it ends with the process however that ends. Forks are filelock's
    business: the child has nothing.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._about = os.path.join(folder, WRITER)
        self._lock = FileLock(os.path.join(folder, LOCK), mode=0o600, thread_local=False)

    @property
    def held(self) -> bool:
        """Whether this process may write."""
        return self._lock.is_locked

    def try_take(self) -> bool:
        """Take it, if nobody has it and the folder can be written to."""
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            return False
        except OSError as error:
            raise disk.failure(error, self._folder) from error
        return True

    def take(self, seconds: float) -> None:
        """Take it, or raise `BusyError` that names who has it."""
        try:
            self._lock.acquire(timeout=min(seconds, _PATIENCE), poll_interval=0.01)
        except Timeout:
            raise self.taken() from None
        except OSError as error:
            raise disk.failure(error, self._folder) from error

    def say(self) -> None:
        """Tell the others who holds it."""
        about = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "program": " ".join(sys.argv) or sys.executable,
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        draft = f"{self._about}.draft"
        # Of no use after a crash: not synced. On a full disk it is not known who it is, no more.
        with suppress(OSError):
            flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
            with open(os.open(draft, flags, 0o600), "wb") as file:
                file.write(msgspec.json.encode(about) + b"\n")
            os.replace(draft, self._about)

    def leave(self) -> None:
        """Let it go; the next one takes it."""
        if self.held:
            with suppress(OSError):
                os.unlink(self._about)
            self._lock.release(force=True)

    def holder(self) -> dict[str, Any]:
        """Who holds it, as it has said; empty if it has not."""
        try:
            with open(self._about, "rb") as file:
                found = msgspec.json.decode(file.read())
        except (OSError, msgspec.DecodeError):
            return {}
        return found if isinstance(found, dict) else {}

    def taken(self) -> BusyError:
        """The error of those who cannot write because it is held."""
        who = self.holder()
        if not who:
            return BusyError(f"another process writes to {self._folder}: end it, or try again")
        return BusyError(
            f"{self._folder} is written to by process {who.get('pid')} on {who.get('host')} since "
            f"{who.get('since')} ({who.get('program')}): one process writes at a time, others "
            "read; end that one, or ask it"
        )
