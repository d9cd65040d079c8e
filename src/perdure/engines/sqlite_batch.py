"""Group commit: many operations, one transaction, one commit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any

import apsw

from perdure.engines import Job
from perdure.engines.delivery import Outcome
from perdure.engines.sqlite_connection import drive, translate
from perdure.errors import BusyError, PerdureError
from perdure.operation import Operation

_MAX_JOBS = 512
_MAX_SECONDS = 0.02


class _Dirty(Exception):  # noqa: N818 - not an error of anybody
    """A plan failed after it had written: the rows of the others must be kept from it."""


class Batch:
    """One transaction on the writer's connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        # A cursor of its own: the connection would make one for each statement.
        self._execute = connection.cursor().execute
        #: Whether the driver failed to write or sync: then the connection is to be replaced.
        self.broken = False

    def run(self, jobs: list[Job], more: SimpleQueue[Job | None] | None = None) -> list[Outcome]:
        """Run the jobs, and what ``more`` holds, and commit; the outcome of each.

        A batch runs without savepoints. If a plan fails after it has written, everything is
        rolled back and the same jobs run once more, each under a savepoint. Nothing that
        failed leaves a trace. Raises `BusyError` if the transaction could not begin.
        """
        try:
            self._execute("BEGIN IMMEDIATE")
            return self._committed(jobs, more)
        except BusyError:
            raise
        except PerdureError as error:
            return _all_failed(jobs, error)
        except apsw.Error as error:
            failure = translate(error, "the transaction")
            if isinstance(failure, BusyError):
                raise failure from error
            self.broken = isinstance(error, apsw.IOError)
            return _all_failed(jobs, failure)
        finally:
            # Also after a KeyboardInterrupt in the thread of a sync caller.
            self._roll_back()

    def _committed(self, jobs: list[Job], more: SimpleQueue[Job | None] | None) -> list[Outcome]:
        try:
            outcomes = self._run_all(jobs, more)
        except _Dirty:
            self._roll_back()
            self._execute("BEGIN IMMEDIATE")
            outcomes = [self._guarded(job) for job in jobs]
        self._commit()
        return outcomes

    def _commit(self) -> None:
        self._execute("COMMIT")

    def _result(self, op: Operation[Any]) -> Any:
        return drive(self._connection, op)

    def _run_all(self, jobs: list[Job], more: SimpleQueue[Job | None] | None) -> list[Outcome]:
        outcomes = [self._unguarded(job) for job in jobs]
        if more is None:
            return outcomes
        deadline = time.monotonic() + _MAX_SECONDS
        while len(jobs) < _MAX_JOBS and time.monotonic() < deadline:
            try:
                job = more.get_nowait()
            except Empty:
                break
            if job is None:
                more.put(None)
                break
            jobs.append(job)
            outcomes.append(self._unguarded(job))
        return outcomes

    def _unguarded(self, job: Job) -> Outcome:
        op, waiter = job
        before = self._connection.total_changes()
        try:
            return Outcome(waiter, self._result(op))
        except Exception as error:
            self._require_transaction(error)
            # A change of the schema is no change of rows, and then it is the driver that fails.
            by_driver = isinstance(error.__cause__, apsw.Error)
            if by_driver or self._connection.total_changes() != before:
                raise _Dirty from error
            return Outcome(waiter, error=error)

    def _guarded(self, job: Job) -> Outcome:
        op, waiter = job
        self._execute("SAVEPOINT job")
        try:
            value: Any = self._result(op)
        except Exception as error:  # noqa: BLE001 - it belongs to the caller
            self._require_transaction(error)
            self._execute("ROLLBACK TO job")
            self._execute("RELEASE job")
            return Outcome(waiter, error=error)
        self._execute("RELEASE job")
        return Outcome(waiter, value)

    def _require_transaction(self, error: Exception) -> None:
        """A full disk, an I/O error or no memory ends the transaction, and all with it."""
        self.broken = self.broken or isinstance(error.__cause__, apsw.IOError)
        if self._connection.in_transaction:
            return
        if isinstance(error, PerdureError):
            raise error
        raise PerdureError(f"the transaction was ended: {error}") from error

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._execute("ROLLBACK")


def _all_failed(jobs: Sequence[Job], error: PerdureError) -> list[Outcome]:
    return [Outcome(waiter, error=error) for _, waiter in jobs]
