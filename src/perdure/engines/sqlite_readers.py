"""A few read connections, each on a snapshot of its own while a plan runs."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import apsw

from perdure.engines import Job
from perdure.engines.delivery import Outcome, deliver
from perdure.engines.sqlite_connection import drive, translate
from perdure.errors import ClosedError
from perdure.operation import Fused, Operation, Plan

_CONNECTIONS = 4
_THREADS = 2


class _Slot:
    """A place for one connection, used by whoever has its lock."""

    def __init__(self) -> None:
        # Taken by `with` alone: no KeyboardInterrupt can come between taking and keeping.
        self.lock = threading.Lock()
        self.connection: apsw.Connection | None = None
        self.of: object = None


def _at_once(work: Fused[Any]) -> Plan[Any]:
    return work.result((yield work.one()))


class Readers:
    """Runs reading operations: in the caller's thread, or for tasks in threads of its own.

    ``which``: what the connections are to; when it gives something else, they are made anew.
    """

    def __init__(
        self,
        connect: Callable[[], apsw.Connection],
        which: Callable[[], object] = lambda: None,
    ) -> None:
        self._connect = connect
        self._which = which
        self._slots = [_Slot() for _ in range(_CONNECTIONS)]
        self._turns = itertools.cycle(self._slots)
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()
        self._closed = False

    def run(self, op: Operation[Any]) -> Any:
        """The result of the operation, from one snapshot."""
        free = (slot for slot in self._slots if not slot.lock.locked())
        slot = next(free, None) or next(self._turns)
        with slot.lock:
            connection = self._connected(slot)
            try:
                if isinstance(op.work, Fused):
                    # One statement is a snapshot of its own.
                    found = drive(connection, op, _at_once(op.work))
                    if found is not None:
                        return found
                connection.execute("BEGIN")
                return drive(connection, op)
            except apsw.Error as error:
                raise translate(error, op.name) from error
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _connected(self, slot: _Slot) -> apsw.Connection:
        if self._closed:
            raise ClosedError("the store is closed")
        which = self._which()
        if slot.connection is not None and slot.of != which:
            slot.connection.close()
            slot.connection = None
        if slot.connection is None:
            connection = self._connect()
            # An operation that says it reads must not be able to write.
            connection.execute("PRAGMA query_only = ON")
            slot.connection, slot.of = connection, which
        return slot.connection

    def submit(self, job: Job) -> None:
        """Run it in one of the threads and tell its waiter."""
        if not self._threads:
            self._start()
        self._jobs.put(job)
        if self._closed:
            self._refuse_waiting()

    def _start(self) -> None:
        with self._starting:
            for number in range(0 if self._threads or self._closed else _THREADS):
                name = f"perdure-reader-{number}"
                thread = threading.Thread(target=self._serve, name=name, daemon=True)
                thread.start()
                self._threads.append(thread)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            op, waiter = job
            try:
                outcome = Outcome(waiter, self.run(op))
            except Exception as error:  # noqa: BLE001 - it belongs to the caller
                outcome = Outcome(waiter, error=error)
            deliver([outcome])
        # The end stays in the queue: for the other threads, and for those who come late.
        self._jobs.put(None)

    def _refuse_waiting(self) -> None:
        """Tell those who came behind the end; nobody waits for ever."""
        closed = ClosedError("the store is closed")
        while True:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if job is not None:
                deliver([Outcome(job[1], error=closed)])
        self._jobs.put(None)

    def hold(self, seconds: float) -> bool:
        """Take every connection, none of them in use any more; False if that takes too long."""
        taken: list[_Slot] = []
        for slot in self._slots:
            if not slot.lock.acquire(timeout=seconds):
                for other in taken:
                    other.lock.release()
                return False
            taken.append(slot)
        return True

    def let_go(self) -> None:
        """Let the held connections be used again."""
        for slot in self._slots:
            slot.lock.release()

    def abandon(self) -> None:
        """Close the held connections in a forked child, where there are no threads."""
        self._closed = True
        for slot in self._slots:
            if slot.connection is not None:
                slot.connection.close()

    def close(self) -> None:
        """Finish what was accepted, then close the connections."""
        self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        with self._starting:
            self._closed = True
        self._refuse_waiting()
        for slot in self._slots:
            with slot.lock:
                if slot.connection is not None:
                    slot.connection.close()
                    slot.connection = None
