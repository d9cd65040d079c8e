"""A worker: a thread beside a store that does one thing again and again, until it is stopped."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from perdure.errors import ClosedError, InvalidError
from perdure.features.leases import LEASES, Lease, release, renew, take
from perdure.operation import Feature, Flow, M, Plan, Settings, Sleep, flow, run
from perdure.runners import SyncRunner
from perdure.store import _Store
from perdure.values import digest

T = TypeVar("T")

_log = logging.getLogger("perdure")

#: How long a run counts as under way when its process has died.
LEASE = timedelta(minutes=1)
_LEASE_MICROS = LEASE // timedelta(microseconds=1)
STOP_SECONDS = 30.0
_LOOK_SECONDS = 0.005
_LONGEST_RETRY = 300.0

_workers: weakref.WeakSet[Worker[Any]] = weakref.WeakSet()


class Duty:
    """The right to a job that one process at a time does, while a run lasts."""

    def __init__(self, lease: Lease, settings: Settings, stopping: Callable[[], bool]) -> None:
        self._lease = lease
        self._settings = settings
        self._stopping = stopping
        self._renewed_at = settings.clock()

    def keep(self) -> Flow[bool]:
        """Whether to go on: ask between two steps. False once it is lost, or is to stop.

        The lease behind it is renewed when a third of its time is over.
        """
        if self._stopping():
            return False
        now = self._settings.clock()
        if now - self._renewed_at < _LEASE_MICROS // 3:
            return True
        self._renewed_at = now
        return (yield from run(renew(self._lease, now=now, ttl=_LEASE_MICROS)))


class Worker(Feature[M]):
    """What all workers can: `start`, `stop`, `wake`, and tell how they are.

    A worker of an async store is awaited, one of a sync store is not; its thread serves both.
    Subclasses have a `run_once`, and say in `_round` what the thread does each time.
    """

    #: Names the thread and, with the tenant, the lease that only one process has.
    name = "worker"

    def __init__(self, store: _Store[M], interval: timedelta = LEASE) -> None:
        super().__init__(store._runner, store._settings)
        if not isinstance(interval, timedelta) or interval <= timedelta(0):
            raise InvalidError(
                f"interval must be a timedelta above 0, not {interval!r}", "interval"
            )
        self.interval = interval
        self._store = store
        self._in_thread = SyncRunner(store._engine)
        self._bucket = digest("bucket", store._settings.tenant, self.name)
        self._lock = threading.Lock()
        self._rounds: Rounds | None = None
        self._failed = 0
        #: How many runs of the thread have ended, well or not.
        self.runs = 0
        #: What the last run of the thread failed with; None when it went well.
        self.last_error: Exception | None = None
        _workers.add(self)

    @classmethod
    def wanted(cls, settings: Settings) -> bool:
        """Whether `Store.start_workers` starts one for a store with these settings."""
        del settings
        return True

    # -- life --------------------------------------------------------------------------------

    @flow
    def start(self) -> Flow[None]:
        """Run at once, and then every ``interval``; nothing happens if it does already.

        The store is opened first, so what is wrong with it is raised here. Errors of the runs
        are logged, kept in `last_error`, and met by trying again sooner. Closing the store stops
        the worker.
        """
        yield from self._start()

    @flow
    def stop(self, *, timeout: float = STOP_SECONDS) -> Flow[bool]:
        """Begin no more runs and wait for the one under way; whether it ended within seconds.

        A long run ends after the step it is at. Nothing happens if it was not started.
        """
        return (yield from self._stop(timeout))

    def wake(self) -> None:
        """Have the next run begin now, or after the one under way."""
        rounds = self._rounds
        if rounds is not None:
            rounds.woken.set()

    @property
    def is_running(self) -> bool:
        """Whether it was started in this process and neither stopped nor closed with its store."""
        rounds = self._rounds
        return rounds is not None and rounds.is_alive() and not rounds.stopping.is_set()

    def _start(self) -> Flow[None]:
        yield from run(self._reading("start", lambda _: _look(self._bucket)))
        with self._lock:
            if not self.is_running:
                self._rounds = Rounds(self)
                self._store._companions.add(self)

    def _stop(self, timeout: float) -> Flow[bool]:
        deadline = time.monotonic() + timeout
        return (yield from self._ended(self._end(deadline), deadline))

    def _end(self, deadline: float | None = None) -> Rounds | None:
        """Let the run under way be the last one; by when it is to be over, if that is said."""
        del deadline
        with self._lock:
            self._store._companions.discard(self)
            if self._rounds is not None:
                self._rounds.end()
            return self._rounds

    def _ended(self, rounds: Rounds | None, deadline: float) -> Flow[bool]:
        """Wait for what `_end` has told to end; False if it has not by then."""
        return (yield from ended(rounds, deadline))

    def close(self) -> None:
        """Stop as the store is closed: blocks until the run under way has ended."""
        rounds = self._end()
        # A run may close the store itself: it need not wait for itself.
        if rounds is not None and rounds is not threading.current_thread():
            rounds.join(STOP_SECONDS)

    def _forget(self) -> None:
        """In a forked child there is no thread, and nobody who holds the lock."""
        self._lock = threading.Lock()
        self._rounds = None

    # -- work --------------------------------------------------------------------------------

    def _round(self) -> Flow[timedelta | None]:
        """One run of the thread; when to run again, if that is sooner than the interval.

        Errors come out of it. `LEASE` where another process was at it, which may have died.
        """
        raise NotImplementedError

    def _alone(self, work: Callable[[Duty], Flow[T]]) -> Flow[T | None]:
        """Do the work while no other process does; None if one is at it.

        A cancelled run keeps others off until its lease has run out.
        """
        settings = self._settings
        now = settings.clock()
        owner = settings.ids()
        lease = yield from run(take(self._bucket, "run", owner, now=now, ttl=_LEASE_MICROS))
        if lease is None:
            return None
        try:
            done = yield from work(Duty(lease, settings, self._is_to_stop))
        except Exception:
            yield from run(release(lease))
            raise
        yield from run(release(lease))
        return done

    def _drain(self) -> None:
        """What the thread does before it ends, with its last run over."""

    def _is_to_stop(self) -> bool:
        """Whether it is the worker's thread that asks, and the worker was stopped."""
        asking = threading.current_thread()
        return isinstance(asking, Rounds) and asking.stopping.is_set()

    def _try(self) -> timedelta | None:
        """One run in the worker's thread, whatever becomes of it; when to run again."""
        try:
            sooner: timedelta | None = self._in_thread.flow(self._round())
        except ClosedError:
            raise
        except Exception as error:  # noqa: BLE001 - a run may fail, the thread outlives it
            _log.exception("worker %s: this run failed, another one follows", self.name)
            self.last_error = error
            self._failed += 1
            sooner = retry_in(self._failed)
        else:
            self.last_error = None
            self._failed = 0
        self.runs += 1
        return sooner


class Rounds(threading.Thread):
    """The thread of a worker, from its start to its stop."""

    def __init__(self, worker: Worker[Any]) -> None:
        super().__init__(name=f"perdure-{worker.name}", daemon=True)
        self._worker = worker
        self.stopping = threading.Event()
        self.woken = threading.Event()
        self.start()

    def run(self) -> None:
        """Run after run."""
        try:
            self._go_on()
        finally:
            self._worker._drain()

    def _go_on(self) -> None:
        while not self.stopping.is_set():
            # Before the run: who wakes it during one wants another.
            self.woken.clear()
            try:
                sooner = self._worker._try()
            except ClosedError:
                # Closed without its store, or after it: nothing is left to work on.
                return
            if not self.stopping.is_set():
                self.woken.wait(pause(self._worker.interval, sooner))

    def end(self) -> None:
        """Let the run under way be the last one."""
        self.stopping.set()
        self.woken.set()


def ended(rounds: Rounds | None, deadline: float) -> Flow[bool]:
    """Wait for a thread that was told to end; False if it has not by then."""
    while rounds is not None and rounds.is_alive():
        # What a run calls may stop its own worker: the run ends after it.
        if time.monotonic() >= deadline or rounds is threading.current_thread():
            return False
        yield Sleep(_LOOK_SECONDS)
    return True


def pause(interval: timedelta, sooner: timedelta | None) -> float:
    """The seconds until the next run."""
    wanted = interval if sooner is None else min(interval, sooner)
    # What a lock can wait for has an end, at some hundred years.
    return min(max(wanted.total_seconds(), 0.0), threading.TIMEOUT_MAX)


def retry_in(failed: int) -> timedelta:
    """How long to wait after so many runs that failed one after another."""
    return timedelta(seconds=min(2.0 ** min(failed - 1, 30), _LONGEST_RETRY))


def _look(bucket: str) -> Plan[None]:
    yield LEASES.find(part=bucket, name="run")


def _forget_all() -> None:
    for worker in list(_workers):
        worker._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
