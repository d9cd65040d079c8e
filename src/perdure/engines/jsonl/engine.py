"""The engine of ``jsonl:///folder``: SQLite's, with its database as an index of plain files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from queue import SimpleQueue
from typing import Any

import apsw

from perdure.engines import EngineOptions, Job, Setup, at_url
from perdure.engines.delivery import Outcome
from perdure.engines.examinations import Examination, Salvaged
from perdure.engines.jsonl import disk, generations
from perdure.engines.jsonl.batch import DAMAGE, Capture, JournaledBatch, index_damaged
from perdure.engines.jsonl.directory import (
    Directory,
    abandon_all,
    directory_at,
    give_back,
    log,
)
from perdure.engines.jsonl.examining import Examining, size_of
from perdure.engines.jsonl.lacking import Lacking
from perdure.engines.jsonl.paths import INDEX, SPOILT
from perdure.engines.jsonl.recovery import Recovery, is_in_order, make, make_folder
from perdure.engines.jsonl.salvaging import Salvaging
from perdure.engines.sqlite import SqliteEngine
from perdure.engines.sqlite_batch import Batch
from perdure.engines.sqlite_connection import connect, drive, translate
from perdure.engines.sqlite_files import refuse_query
from perdure.engines.sqlite_readers import Readers
from perdure.engines.sqlite_settling import QUICK_BYTES
from perdure.engines.turnstile import OpenTurnstile, Turnstile
from perdure.errors import (
    BusyError,
    ClosedError,
    CorruptError,
    InvalidError,
    PerdureError,
    ReadOnlyError,
    StorageFullError,
)
from perdure.operation import Operation

_LOOK_SECONDS = 0.02

FILES = (
    "files hold removed texts until they are written anew, which takes long here: "
    "erase_user(settle=True), or `perdure compact`"
)
LACKING = (
    "a damaged file lacks what only the journal has, so nothing is written anew until it is "
    "mended: `perdure doctor` names it"
)


def folder_of(url: str) -> str:
    """The absolute path of a directory's URL; `InvalidError`."""
    path = url.removeprefix("jsonl:///")
    if path == url or not path or "\0" in path:
        raise InvalidError(f"a JSONL URL is jsonl:///folder or jsonl:////folder, not {url!r}")
    refuse_query(url)
    return os.path.realpath(path)


class _IndexReaders(Readers):
    """Readers of a database that is made anew when it is damaged."""

    def __init__(
        self,
        connect: Callable[[], apsw.Connection],
        which: Callable[[], object],
        damaged: Callable[[], None],
    ) -> None:
        super().__init__(connect, which)
        self._damaged = damaged

    def run(self, op: Operation[Any]) -> Any:
        """The result of the operation, from one snapshot."""
        try:
            return super().run(op)
        except CorruptError as error:
            if isinstance(error.__cause__, DAMAGE):
                self._damaged()
                raise index_damaged(error) from error
            raise


class JsonlEngine(SqliteEngine):
    """Plain files that people read, and an index of them that may be deleted.

    One process writes at a time: the first write takes the directory, `close` leaves it. Any
    number of stores, threads and loops of that process may write; other processes read.
    """

    def __init__(self, options: EngineOptions, setup: Setup) -> None:
        self._folder = folder_of(options.url)
        self._syncs = options.durability
        super().__init__(at_url(options, f"sqlite:///{os.path.join(self._folder, INDEX)}"), setup)
        self._spoilt = f"{self._path}{SPOILT}"
        self._readers = _IndexReaders(self._connect, self._which_is_read, self._spoil)
        self._directory: Directory | None = None
        self._capture: Capture | None = None
        self._index = 0
        self._read = 0
        self._lacking = Lacking(self._folder)

    # -- life ------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Have an index that is as the files are: made now, or by the process that writes."""
        directory = self._directory = directory_at(self._folder)
        try:
            with directory.mutex:
                make_folder(self._folder)
                try:
                    self._find_in_order(directory)
                except (ReadOnlyError, StorageFullError):
                    if not is_in_order(self._folder, self._connect):
                        raise
                    log.warning("%s can only be read", self._folder)
        except BaseException:
            self._leave()
            raise

    def _find_in_order(self, directory: Directory) -> None:
        if directory.writer.held or directory.writer.try_take():
            self._look(directory)
        else:
            self._wait_for_index(directory)

    def _look(self, directory: Directory) -> None:
        """Make it whole, and let go of the lock: who only reads is in nobody's way."""
        writes = directory.writing
        try:
            self._recover(directory)
        finally:
            if not writes:
                directory.writer.leave()

    def _recover(self, directory: Directory) -> bool:
        """Have it known how things stand; whether that had to be read."""
        if self._syncs == "full" or not directory.durability:
            # Of several stores of this process, the most careful one decides.
            directory.durability, directory.journal.syncs = self._syncs, self._syncs == "full"
        if directory.trusted:
            return False
        make(self._folder)
        try:
            directory.writer.say()
            Recovery(directory, self._connect_or_make).run()
        except PerdureError:
            # Some of ours are errors of the system as well.
            raise
        except OSError as error:
            raise disk.failure(error, self._folder) from error
        except apsw.Error as error:
            raise translate(error, self._folder) from error
        return True

    def _spoil(self) -> None:
        """The index is damaged: whoever takes the directory next makes it anew from the files."""
        with suppress(OSError):
            os.close(disk.open_private(self._spoilt))
        if self._directory is not None:
            self._directory.trusted = False

    def _wait_for_index(self, directory: Directory) -> None:
        end = time.monotonic() + self._options.busy_timeout
        while not os.path.exists(self._path):
            if time.monotonic() > end:
                raise directory.writer.taken()
            time.sleep(_LOOK_SECONDS)

    def _set_up(self, connection: apsw.Connection) -> None:
        self._index = self._which_index()
        try:
            super()._set_up(connection)
        except CorruptError as error:
            if isinstance(error.__cause__, DAMAGE):
                self._spoil()
                raise index_damaged(error) from error
            raise
        except BusyError:
            # Another process was at it at the same time, and has done it.
            if drive(connection, self._setup) is not None:
                raise

    def _connect(self) -> apsw.Connection:
        if not os.path.exists(self._path):
            raise BusyError(f"{self._path} is gone, and made anew by the next write: try again")
        return self._connect_or_make()

    def _connect_or_make(self) -> apsw.Connection:
        # The journal is what is synced for each write. NORMAL keeps the index whole at a power
        # cut, if not up to date.
        return connect(self._path, durability="normal", busy_timeout=self._options.busy_timeout)

    def _which_index(self) -> int:
        """What stands at the index's path; another process may have put a new one there."""
        try:
            return os.stat(self._path).st_ino
        except FileNotFoundError:
            return 0

    def _which_is_read(self) -> int:
        """As above; the one that was there last, while there is none."""
        self._read = self._which_index() or self._read
        return self._read

    def _new_turnstile(self) -> Turnstile:
        # The directory's lock is held for as long as somebody here writes.
        return OpenTurnstile()

    def _disconnect(self) -> None:
        self._leave()
        super()._disconnect()

    def _leave(self) -> None:
        directory, self._directory = self._directory, None
        if directory is not None:
            give_back(directory, lambda: self._leave_last(directory))

    def _leave_last(self, directory: Directory) -> None:
        try:
            if directory.writer.held and directory.trusted and not directory.damage:
                self._fold(directory)
        finally:
            directory.leave()

    def after_fork_in_child(self) -> None:
        """Be closed, without touching what the parent still uses."""
        super().after_fork_in_child()
        self._directory = None
        abandon_all()

    # -- writing ---------------------------------------------------------------------------

    def _run(self, jobs: list[Job], more: SimpleQueue[Job | None] | None = None) -> list[Outcome]:
        directory = self._required_directory
        with directory.mutex:
            with self._writing:
                self._take(directory)
            directory.writing = True
            outcomes = super()._run(jobs, more)
            if directory.trusted and directory.full:
                with self._writing:
                    self._fold(directory)
            return outcomes

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take these operations; each waiter is told the outcome. Does not block."""
        super().submit([(self._guarded(op), waiter) for op, waiter in jobs])

    def run(self, op: Operation[Any]) -> Any:
        """Run one operation and return its result, in the calling thread if the way is free."""
        return super().run(self._guarded(op))

    def _guarded(self, op: Operation[Any]) -> Operation[Any]:
        return self._lacking.guarded(op) if op.reads else op

    @property
    def _required_directory(self) -> Directory:
        if self._directory is None:
            raise ClosedError(self._closed or "the store is closed")
        return self._directory

    def _take(self, directory: Directory) -> None:
        """Have the lock and know how things stand; `BusyError` names who has it."""
        if not directory.writer.held:
            directory.writer.take(self._options.busy_timeout)
            if directory.unchanged():
                directory.writer.say()
            else:
                directory.distrust()
        index = self._which_index()
        if not index or os.access(self._spoilt, os.F_OK):
            directory.distrust()
        anew = self._recover(directory)
        if directory.damage:
            raise CorruptError(f"{directory.damage}; nothing is written: see `perdure doctor`")
        if anew:
            index = self._which_index()
        if self._index != index:
            self._reconnect()
            self._index = index
            if self._checkpointer is not None:
                self._checkpointer.move(self._connect())
        if self._capture is None:
            self._capture = Capture(directory, self._required)

    def _new_batch(self) -> Batch:
        directory, capture = self._required_directory, self._capture
        capture = capture or Capture(directory, self._required)
        return JournaledBatch(self._required, directory, capture, self._spoil)

    def _reconnect(self) -> None:
        super()._reconnect()
        self._capture = None

    def _fold(self, directory: Directory) -> None:
        """Cut the journal; what was written is safe whatever becomes of that."""
        if self._connection is None or self._index != self._which_index():
            # Another store here has made the index anew; what this one sees is old.
            return
        try:
            worn = directory.worn(self._connection)
            if directory.fold(self._connection):
                generations.rewrite(directory, self._connection, worn)
        except (PerdureError, apsw.Error) as error:
            log.warning("%s: %s", self._folder, error)

    # -- compaction ------------------------------------------------------------------------

    def settle(self, thorough: bool | None) -> list[str]:
        """Write anew what has removed rows in it; what could not be done, as sentences. Blocks."""
        if self._writer is None:
            self.open()
        directory = self._required_directory
        working = nullcontext() if self._checkpointer is None else self._checkpointer.working
        with self._turn, directory.mutex, working, self._writing:
            self._refuse_if_closed()
            self._take(directory)
            remains = self._compact(directory, self._required, thorough)
            remains += self._settle(self._required, thorough)
            return remains

    # -- looking at it from outside --------------------------------------------------------

    def size(self) -> int | None:
        """How many bytes its files take."""
        return size_of(self._folder)

    def examine(self, asking: Operation[list[str]], quick: bool) -> Examination:
        """What is wrong with it: every line is read, no lock is taken, nothing is changed."""
        return Examining(self._folder).run(asking, quick)

    def salvage(self, folder: str) -> list[Salvaged]:
        """What can be read of it, in a new directory."""
        return Salvaging(self._folder, folder).run()

    def _compact(
        self, directory: Directory, connection: apsw.Connection, thorough: bool | None
    ) -> list[str]:
        if not directory.fold(connection):
            return [LACKING]
        files = generations.to_rewrite(directory, connection, everything=bool(thorough))
        remains = [f"{file.damage}: it was left as it is" for file in files if file.damage]
        wanted = [file for file in files if not file.damage]
        if thorough is None and sum(file.length for file in wanted) > QUICK_BYTES:
            return [*remains, FILES]
        generations.rewrite(directory, connection, wanted)
        return remains
