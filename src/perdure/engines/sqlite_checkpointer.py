"""The one thread that folds the WAL into the database file."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

import apsw

_PASSIVE = apsw.SQLITE_CHECKPOINT_PASSIVE
_TRUNCATE = apsw.SQLITE_CHECKPOINT_TRUNCATE
_PASSIVE_PAGES = 4_000
_TRUNCATE_PAGES = 64_000
_WATCH_SECONDS = 1.0


class Checkpointer:
    """Checkpoints when the WAL has grown, beside the writer; and looks after it each second.

    ``writing`` is the lock of the writer's connection, ``watch`` what is to be looked after.
    """

    def __init__(
        self,
        connect: Callable[[], apsw.Connection],
        writing: threading.Lock,
        watch: Callable[[], None],
    ) -> None:
        self._connection = connect()
        self._writing = writing
        self._watch = watch
        # Not an Event: a KeyboardInterrupt in its set() can leave it locked for ever, and this is
        # put in where a sync caller commits.
        self._due: SimpleQueue[None] = SimpleQueue()
        self._pages = 0
        self._stopped = False
        #: Held while the connection is in use.
        self.working = threading.Lock()
        self._thread = threading.Thread(
            target=self._serve, name="perdure-checkpointer", daemon=True
        )
        self._thread.start()

    def after_commit(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        """The writer's WAL hook: pages in the WAL now."""
        self._pages = pages
        if pages > _PASSIVE_PAGES and self._due.empty():
            self._due.put(None)
        return apsw.SQLITE_OK

    def _serve(self) -> None:
        while not self._stopped:
            if self._is_due() and not self._stopped:
                with self.working:
                    self._fold()
                while not self._due.empty():
                    self._due.get()
            self._watch()

    def _is_due(self) -> bool:
        try:
            self._due.get(timeout=_WATCH_SECONDS)
        except Empty:
            return False
        return True

    def _fold(self) -> None:
        """Most of it beside the writer, then the last frames while it rests.

        Beside a busy writer the very last frame is never folded, and a WAL that is never
        folded whole never starts over: it grows, and each sync of a growing file costs half
        as much again.
        """
        large = self._pages > _TRUNCATE_PAGES
        try:
            self._connection.wal_checkpoint(mode=_PASSIVE)
            # A writer that waits for a stopped process may keep the lock for long.
            if self._writing.acquire(timeout=_WATCH_SECONDS):
                try:
                    self._connection.wal_checkpoint(mode=_TRUNCATE if large else _PASSIVE)
                finally:
                    self._writing.release()
        except apsw.Error:
            # Nothing is lost: the WAL stays as it is until the next time.
            return

    def close(self) -> None:
        """Stop; the connection is closed."""
        self._stopped = True
        self._due.put(None)
        self._thread.join()
        self._connection.close()

    def move(self, connection: apsw.Connection) -> None:
        """Go on with this one: another file stands at the path."""
        with self.working:
            self._connection.close()
            self._connection = connection

    def abandon(self) -> None:
        """Close the connection in a forked child, where there is no thread."""
        self._connection.close()
