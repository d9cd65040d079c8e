"""The one thread that folds the WAL into the database file."""

from __future__ import annotations

import threading
from collections.abc import Callable

import apsw

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
        self._due = threading.Event()
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
        if pages > _PASSIVE_PAGES:
            self._due.set()
        return apsw.SQLITE_OK

    def _serve(self) -> None:
        while not self._stopped:
            if self._due.wait(_WATCH_SECONDS) and not self._stopped:
                self._due.clear()
                with self.working:
                    self._fold()
            self._watch()

    def _fold(self) -> None:
        try:
            if self._pages < _TRUNCATE_PAGES:
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            else:
                # Writers never pause long enough for the WAL to start over: make them.
                with self._writing:
                    self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error:
            # Nothing is lost: the WAL stays as it is until the next time.
            return

    def close(self) -> None:
        """Stop; the connection is closed."""
        self._stopped = True
        self._due.set()
        self._thread.join()
        self._connection.close()

    def abandon(self) -> None:
        """Close the connection in a forked child, where there is no thread."""
        self._connection.close()
