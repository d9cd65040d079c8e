"""A few read connections, each on a snapshot of its own while a plan runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import apsw

from perdure.engines import Job
from perdure.engines.delivery import Outcome, deliver
from perdure.engines.sqlite_connection import drive, translate
from perdure.errors import ClosedError
from perdure.operation import Operation

_CONNECTIONS = 4
_THREADS = 2


class Readers:
    """Runs reading operations: in the caller's thread, or for tasks in threads of its own."""

    def __init__(self, connect: Callable[[], apsw.Connection]) -> None:
        self._connect = connect
        #: None stands at the end of a closed pool, for whoever still waits.
        self._idle: SimpleQueue[apsw.Connection | None] = SimpleQueue()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._opened = 0
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closed = False

    def run(self, op: Operation[Any]) -> Any:
        """The result of the operation, from one snapshot."""
        connection = self._take()
        try:
            connection.execute("BEGIN")
            return drive(connection, op)
        except apsw.Error as error:
            raise translate(error, op.name) from error
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._idle.put(connection)

    def submit(self, job: Job) -> None:
        """Run it in one of the threads and tell its waiter."""
        if not self._threads:
            self._start()
        self._jobs.put(job)
        if self._closed:
            self._refuse_late()

    def _take(self) -> apsw.Connection:
        try:
            return self._usable(self._idle.get_nowait())
        except Empty:
            with self._lock:
                if self._closed:
                    raise ClosedError("the store is closed") from None
                if self._opened < _CONNECTIONS:
                    connection = self._connect()
                    # An operation that says it reads must not be able to write.
                    connection.execute("PRAGMA query_only = ON")
                    self._opened += 1
                    return connection
            return self._usable(self._idle.get())

    def _usable(self, connection: apsw.Connection | None) -> apsw.Connection:
        if connection is None:
            self._idle.put(None)
            raise ClosedError("the store is closed")
        return connection

    def _start(self) -> None:
        with self._lock:
            for number in range(0 if self._threads or self._closed else _THREADS):
                name = f"perdure-reader-{number}"
                thread = threading.Thread(target=self._serve, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            op, waiter = job
            try:
                outcome = Outcome(waiter, self.run(op))
            except Exception as error:  # noqa: BLE001 - it belongs to the caller
                outcome = Outcome(waiter, error=error)
            deliver([outcome])

    def _refuse_late(self) -> None:
        """Tell those who came between the last look and the end; nobody waits for ever."""
        while True:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return
            if job is not None:
                deliver([Outcome(job[1], error=ClosedError("the store is closed"))])

    def hold(self, seconds: float) -> list[apsw.Connection] | None:
        """Every open connection, none of them in use any more; None if that takes too long."""
        held: list[apsw.Connection] = []
        try:
            while len(held) < self._opened:
                held.append(self._usable(self._idle.get(timeout=seconds)))
        except Empty:
            self.give_back(held)
            return None
        return held

    def give_back(self, held: list[apsw.Connection]) -> None:
        """Let the held connections be used again."""
        for connection in held:
            self._idle.put(connection)

    def close(self) -> None:
        """Finish what was accepted, then close the connections."""
        with self._lock:
            self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._refuse_late()
        while self._opened:
            self._usable(self._idle.get()).close()
            self._opened -= 1
        self._idle.put(None)
