"""SQLite: one writer with group commit, readers on snapshots, fair turns between processes.

All writes go through one connection. Whoever holds its lock opens a transaction, runs the
plans that wait, commits once and delivers all outcomes: usually the engine's own thread; a
sync caller that finds the writer idle does it itself and saves the hop.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext
from queue import Empty, SimpleQueue
from typing import Any

import apsw

from perdure.engines import EngineOptions, Job, Setup, sqlite_examining, sqlite_settling
from perdure.engines.delivery import BlockedCaller, Outcome, deliver
from perdure.engines.examinations import Examination
from perdure.engines.forks import watch_forks
from perdure.engines.sqlite_batch import Batch
from perdure.engines.sqlite_checkpointer import Checkpointer
from perdure.engines.sqlite_connection import connect, drive, path_of, patience
from perdure.engines.sqlite_files import remove_leftovers
from perdure.engines.sqlite_readers import Readers
from perdure.engines.turnstile import OpenTurnstile, Turnstile, turnstile_for
from perdure.errors import BusyError, ClosedError, PerdureError, UnsupportedError
from perdure.operation import Operation

#: Files of which a forked child has connections in the middle of something.
_unusable: set[str] = set()
_CLOSE_SECONDS = 0.2
#: Seconds that a turn among other processes lasts, and that the next write in it is waited for.
_TURN, _NEXT_WITHIN = 0.005, 0.0005


class SqliteEngine:
    """The engine of ``sqlite:///path`` (three slashes: relative, four: absolute) and ``memory:``.

    One instance may serve any number of threads and event loops; any number of processes may
    share a file on a local disk (not on a network share: WAL needs shared memory).
    """

    dialect = "sqlite"

    def __init__(self, options: EngineOptions, setup: Setup) -> None:
        self._path = path_of(options.url)
        self._memory = self._path == ":memory:"
        self._options = options
        self._setup = setup
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._readers = Readers(self._connect)
        self._turnstile: Turnstile = OpenTurnstile()
        #: Who may pass the turnstile, and after it: who uses the connection. Two, because the
        #: wait for another process can be long, and a fork needs only the second.
        self._turn = threading.Lock()
        self._writing = threading.Lock()
        self._life = threading.RLock()
        self._held: Job | None = None
        self._waiting_since: float | None = None
        self._holding = threading.Lock()
        self._connection: apsw.Connection | None = None
        self._writer: threading.Thread | None = None
        self._checkpointer: Checkpointer | None = None
        self._closed = ""
        watch_forks(self)

    # -- life ------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the file, bring its schema up to date and start the threads. Blocks."""
        with self._life:
            self._refuse_if_closed()
            if self._writer is not None:
                return
            if self._path in _unusable:
                # SQLite here believes that it holds locks which only the parent has.
                message = (
                    f"forked while {self._path} was being written: use spawn, or another process"
                )
                raise UnsupportedError(message)
            self._prepare()
            try:
                connection = self._connection = self._connect()
                self._turnstile = self._new_turnstile()
                self._set_up(connection)
                if not self._memory:
                    self._checkpointer = Checkpointer(self._connect, self._writing, self._watch)
                    connection.set_wal_hook(self._checkpointer.after_commit)
                writer = threading.Thread(target=self._serve, name="perdure-writer", daemon=True)
                writer.start()
            except BaseException:
                if self._checkpointer is not None:
                    self._checkpointer.close()
                    self._checkpointer = None
                self._disconnect()
                raise
            self._writer = writer
            atexit.register(self.close)

    def _prepare(self) -> None:
        if not self._memory:
            remove_leftovers(self._path)

    def _new_turnstile(self) -> Turnstile:
        return OpenTurnstile() if self._memory else turnstile_for(self._path)

    def _connect(self) -> apsw.Connection:
        return connect(
            self._path,
            durability=self._options.durability,
            busy_timeout=self._options.busy_timeout,
        )

    def _set_up(self, connection: apsw.Connection) -> None:
        todo = drive(connection, self._setup)
        if todo is None:
            return
        with self._turn:
            if not self._turnstile.enter_within(self._options.busy_timeout):
                raise BusyError(f"another process holds {self._path}, try again")
            self._write_alone(todo)

    def close(self) -> None:
        """Finish what was accepted, fold the WAL into the file, close. Blocks; idempotent."""
        with self._life:
            if self._closed:
                return
            self._closed = "the store is closed"
            atexit.unregister(self.close)
            self._queue.put(None)
            at_rest = self._writer is None or self._join(self._writer)
            self._readers.close()
            if self._checkpointer is not None:
                self._checkpointer.close()
            if at_rest:
                # The turn too: who has it may still be about to leave the turnstile.
                with self._turn, self._writing:
                    self._disconnect()

    def _join(self, writer: threading.Thread) -> bool:
        """Wait for the writer; False if it waits for a process that neither works nor dies."""
        while writer.is_alive():
            writer.join(_CLOSE_SECONDS)
            with self._holding:
                since = self._waiting_since
            if since is not None and time.monotonic() - since > self._options.busy_timeout:
                # Its thread and connection are left behind; what it waited with was refused.
                self._watch()
                return False
        return True

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.set_wal_hook(None)
            # Now closing may fold the WAL in, and the last one to close takes it away.
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
            connection.close()
        self._turnstile.close()
        self._turnstile = OpenTurnstile()

    @property
    def closed(self) -> bool:
        """Whether `close` was called, or this is a copy in a forked child."""
        return bool(self._closed)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ClosedError(self._closed)

    # -- the port --------------------------------------------------------------------------

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take these operations; each waiter is told the outcome. Does not block."""
        self._refuse_if_closed()
        if self._writer is None:
            self._open_and_submit(jobs)
            return
        for job in jobs:
            if job[0].reads and not self._memory:
                self._readers.submit(job)
            else:
                self._queue.put(job)
        if self._closed:
            self._refuse(self._waiting(), ClosedError(self._closed))

    def _open_and_submit(self, jobs: Sequence[Job]) -> None:
        """The first operation of a store opens it, but never on the caller's event loop."""

        def start() -> None:
            try:
                self.open()
                self.submit(jobs)
            except Exception as error:  # noqa: BLE001 - it belongs to the callers
                self._refuse(jobs, error)

        threading.Thread(target=start, name="perdure-open", daemon=True).start()

    def run(self, op: Operation[Any]) -> Any:
        """Run one operation and return its result, in the calling thread if the way is free."""
        self._refuse_if_closed()
        if self._writer is None:
            self.open()
        if op.reads and not self._memory:
            return self._readers.run(op)
        if self._queue.empty() and not self._turn.locked():
            # `with`, not a try to acquire: no KeyboardInterrupt can come between. If somebody
            # was quicker, it is a wait for one batch.
            with self._turn:
                self._refuse_if_closed()
                if self._turnstile.try_enter():
                    return self._write_alone(op)
        waiter = BlockedCaller()
        self.submit([(op, waiter)])
        return waiter.wait()

    def settle(self, thorough: bool | None) -> list[str]:
        """Make what was removed unreadable; what could not be done, as sentences. Blocks."""
        if self._memory:
            return []
        if self._writer is None:
            self.open()
        # Not while the checkpointer is at it: each would find the log busy because of the other.
        working = nullcontext() if self._checkpointer is None else self._checkpointer.working
        with self._turn, working:
            self._refuse_if_closed()
            if not self._turnstile.enter_within(self._options.busy_timeout):
                return [sqlite_settling.PIECES, sqlite_settling.LOG]
            try:
                with self._writing:
                    return self._settle(self._required, thorough)
            finally:
                self._turnstile.leave()

    def _settle(self, connection: apsw.Connection, thorough: bool | None) -> list[str]:
        patient = patience(self._options.busy_timeout)
        return sqlite_settling.settle(connection, thorough, patience, patient)

    def size(self) -> int | None:
        """How many bytes it takes on the disk; None: it is in memory."""
        files = (self._path, f"{self._path}-wal")
        return None if self._memory else sum(map(sqlite_examining.size_of, files))

    def examine(self, asking: Operation[list[str]], quick: bool) -> Examination:
        """What is wrong with the file: read as it is, whether the store opens or not."""
        if self._memory:
            return Examination()
        return sqlite_examining.examine(self._path, asking, quick)

    @property
    def _required(self) -> apsw.Connection:
        if self._connection is None:
            raise ClosedError("the store is closed")
        return self._connection

    # -- writing ---------------------------------------------------------------------------

    def _write_alone(self, op: Operation[Any]) -> Any:
        """Run it as its own transaction; the turn and the turnstile are held."""
        try:
            [outcome] = self._run([(op, BlockedCaller())])
        finally:
            self._turnstile.leave()
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    def _serve(self) -> None:
        while (job := self._queue.get()) is not None:
            with self._turn:
                self._take_a_turn(job)
        self._refuse(self._waiting(), ClosedError(self._closed))

    def _take_a_turn(self, first: Job) -> None:
        """Write a batch; more of them, while others wait, if more comes at once.

        Who takes over from another process finds its pages stale and reads them again. A caller
        that goes on at once has that only once in a turn.
        """
        alone = self._turnstile.try_enter()
        if not alone and not self._wait_for_turn(first):
            return
        try:
            job, end = first, time.monotonic() + _TURN
            while True:
                deliver(self._write_batch(job))
                if alone or time.monotonic() > end:
                    return
                try:
                    following = self._queue.get(timeout=_NEXT_WITHIN)
                except Empty:
                    return
                if following is None:
                    self._queue.put(None)
                    return
                job = following
        finally:
            self._turnstile.leave()

    def _write_batch(self, first: Job) -> list[Outcome]:
        jobs = [first]
        try:
            return self._run(jobs, self._queue)
        except BusyError as error:
            # Each of the others would only wait as long again.
            return [Outcome(waiter, error=error) for _, waiter in [*jobs, *self._waiting()]]
        except Exception as error:  # noqa: BLE001 - the thread must outlive it, the callers be told
            return [Outcome(waiter, error=error) for _, waiter in jobs]

    def _run(self, jobs: list[Job], more: SimpleQueue[Job | None] | None = None) -> list[Outcome]:
        with self._writing:
            batch = self._new_batch()
            try:
                return batch.run(jobs, more)
            finally:
                if batch.broken:
                    self._reconnect()

    def _new_batch(self) -> Batch:
        return Batch(self._required)

    def _reconnect(self) -> None:
        """After a failed write or sync the pages in memory are not to be trusted."""
        if self._memory or self._connection is None:
            return
        try:
            fresh = self._connect()
        except PerdureError:
            # The trouble lasts: the next write meets it, or finds it gone.
            return
        if self._checkpointer is not None:
            fresh.set_wal_hook(self._checkpointer.after_commit)
        old, self._connection = self._connection, fresh
        old.close()

    def _wait_for_turn(self, job: Job) -> bool:
        """True when inside; False if the wait was so long that the job was refused."""
        with self._holding:
            self._held, self._waiting_since = job, time.monotonic()
        self._turnstile.enter()
        with self._holding:
            refused = self._held is None
            self._held = self._waiting_since = None
        if refused:
            self._turnstile.leave()
        return not refused

    def _watch(self) -> None:
        """Refuse what has waited too long for a process that neither works nor dies."""
        if self._turn.acquire(blocking=False):
            # Nobody of this process is inside. An interrupt at the wrong moment may have left
            # the turnstile locked; unlocking it twice does no harm.
            self._turnstile.leave()
            self._turn.release()
        with self._holding:
            if self._waiting_since is None:
                return
            waited = time.monotonic() - self._waiting_since
            if waited < self._options.busy_timeout:
                return
            held, self._held = self._held, None
            jobs = self._waiting() if held is None else [held, *self._waiting()]
        error = BusyError(f"another process has held {self._path} for {waited:.0f} s, try again")
        self._refuse(jobs, error)

    def _waiting(self) -> list[Job]:
        jobs: list[Job] = []
        while True:
            try:
                job = self._queue.get_nowait()
            except Empty:
                return jobs
            if job is None:
                self._queue.put(None)
                return jobs
            jobs.append(job)

    @staticmethod
    def _refuse(jobs: Sequence[Job], error: Exception) -> None:
        deliver([Outcome(waiter, error=error) for _, waiter in jobs])

    # -- forks -----------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Come to rest: a child must not inherit SQLite in the middle of something."""
        self._life.acquire()
        patience = self._options.busy_timeout + 1
        reading = self._readers.hold(patience)
        # In the order in which the checkpointer takes the two.
        working = self._checkpointer is None or self._checkpointer.working.acquire(timeout=patience)
        writing = self._writing.acquire(timeout=patience)
        self._at_rest = (reading, writing, working)

    def after_fork_in_parent(self) -> None:
        """Go on."""
        reading, writing, working = self._at_rest
        if reading:
            self._readers.let_go()
        if writing:
            self._writing.release()
        if working and self._checkpointer is not None:
            self._checkpointer.working.release()
        self._life.release()

    def after_fork_in_child(self) -> None:
        """Be closed, without touching what the parent still uses."""
        self._closed = "this store was opened before a fork: open another one in the child"
        reading, writing, working = self._at_rest
        self._life.release()
        atexit.unregister(self.close)
        # Not LOCK_UN and no checkpoint: locks and WAL are the parent's. Left open, they would
        # make SQLite believe that this process holds locks that only the parent has.
        self._turnstile.close()
        if reading and writing and working:
            self._readers.abandon()
            if self._checkpointer is not None:
                self._checkpointer.abandon()
            if self._connection is not None:
                self._connection.close()
        elif not self._memory:
            _unusable.add(self._path)
