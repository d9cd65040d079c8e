"""The scheduler: runs the tasks of `Store.cron` when they are due."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from perdure.config import checked_handlers
from perdure.errors import BusyError, CorruptError, InvalidError, UnknownOutcomeError
from perdure.features import cron_runs
from perdure.features.cron import Cron
from perdure.features.cron_runs import Claim, RunRow
from perdure.features.cron_tasks import TaskRow
from perdure.features.cursors import check_limit
from perdure.features.describing import span
from perdure.operation import Flow, M, Settings, Sleep, Sync, flow, run
from perdure.records import CronPass, CronRun, CronTask
from perdure.store import _Store
from perdure.workers.handling import CANCEL_SECONDS, CronContext, Handling, wait_for
from perdure.workers.worker import LEASE, STOP_SECONDS, Rounds, Worker

_log = logging.getLogger("perdure")

INTERVAL = timedelta(seconds=2)
#: A slot that nobody took for so long was missed.
GRACE = timedelta(minutes=1)
_MICRO = timedelta(microseconds=1)
_PAGE = 100
_LOOK_SECONDS = 0.005
_BEAT_SECONDS = 0.2
#: How often in the time of a lease a round comes that may renew it.
_BEATS = 6
#: What is left of the time for a stop, for handlers that are cancelled then.
_LAST_SECONDS = CANCEL_SECONDS + 1


class Scheduler(Worker[M]):
    """Runs tasks when they are due: each slot once, however many processes have a scheduler.

    ``handlers`` maps names to plain or async functions of one `CronContext`; the default is the
    store's ``cron_handlers``. The name that counts for a task is ``type`` in its action, if that is
    an object that has one, else the name of the task; ``*`` is for all others. Tasks without a
    handler here are left to other processes. It looks every ``interval``, and when the next slot
    comes. At most ``limit`` handlers run at a time, each in a thread of its own, so a slow one
    delays no other. ``lease``: after which time without a word a run counts as abandoned.
    ``grace``: a slot that is older was missed.
    """

    name = "scheduler"

    def __init__(
        self,
        store: _Store[M],
        handlers: Mapping[str, Callable[[CronContext], Any]] | None = None,
        interval: timedelta = INTERVAL,
        *,
        limit: int = 20,
        lease: timedelta = LEASE,
        grace: timedelta = GRACE,
    ) -> None:
        super().__init__(store, interval)
        settings = store._settings
        given = settings.cron_handlers if handlers is None else checked_handlers(handlers)
        self.handlers: Mapping[str, Callable[[CronContext], Any]] = given or {}
        self._limit = check_limit(limit, settings.limits.records)
        self._lease = span(lease, "lease")
        self._grace = span(grace, "grace")
        self._owner = settings.ids()
        # What is committed here is told to those who subscribe to the store.
        self._in_thread.hub = store._hub
        self._cron: Cron[Sync] = Cron(self._in_thread, settings)
        self._handlings: set[Handling] = set()
        self._unknown: set[str] = set()
        self._drained_by: float | None = None

    @classmethod
    def wanted(cls, settings: Settings) -> bool:
        """Only for a store that has handlers."""
        return bool(settings.cron_handlers)

    @flow
    def run_once(self) -> Flow[CronPass]:
        """Run what is due, and what that triggers, to its end: how many runs ended how.

        Slots that come meanwhile are left to the next call, so it has an end however long they
        take.
        """
        count: Counter[str] = Counter()
        now = self._settings.clock()
        under_way: list[Handling] = []
        while True:
            under_way += yield from self._pass(count, now)
            if not under_way:
                break
            # One that ends makes room at once: a slow one holds up no others.
            ended = yield from self._first_ended(under_way)
            count.update(one.outcome.status for one in ended if one.outcome is not None)
            under_way = [one for one in under_way if one not in ended]
        return CronPass(**{name: count[name] for name in CronPass.__dataclass_fields__})

    @flow
    def stop(self, *, timeout: float = STOP_SECONDS) -> Flow[bool]:
        """Begin no more runs and wait for those under way; whether all ended within seconds.

        Shortly before the time is over async handlers are cancelled and plain ones are asked to
        end (`CronContext.cancelled`). A function that does not goes on, as a thread that dies with
        the process; then its run is found as abandoned.
        """
        return (yield from self._stop(timeout))

    @property
    def running(self) -> Sequence[CronRun]:
        """The runs that it has under way."""
        return [one.context.run for one in self._alive() if one.outcome is None]

    # -- rounds ----------------------------------------------------------------------------------

    def _start(self) -> Flow[None]:
        self._drained_by = None
        yield from super()._start()

    def _round(self) -> Flow[timedelta | None]:
        yield from self._pass(Counter(), self._settings.clock())
        now = self._settings.clock()
        following = yield from run(cron_runs.next_due(self._settings.tenant, now))
        if following is None:
            return None
        return max(following - self._settings.clock(), 0) * _MICRO

    def _try(self) -> timedelta | None:
        sooner = super()._try()
        if not self._alive():
            return sooner
        # However long the interval is, and after a round that failed, too: leases do not wait.
        beat = self._lease // _BEATS * _MICRO
        return beat if sooner is None else min(sooner, beat)

    def _pass(self, count: Counter[str], now: int) -> Flow[list[Handling]]:
        """Begin what is due by then; what else happened is counted."""
        yield from self._beat()
        yield from self._abandon(count)
        begun = yield from self._waiting()
        return begun + (yield from self._due(count, now))

    def _abandon(self, count: Counter[str]) -> Flow[None]:
        settings = self._settings
        stale = cron_runs.stale(settings.tenant, settings.clock(), _PAGE)
        for part, run_id in (yield from run(stale)):
            lost = yield from run(cron_runs.abandon(part, run_id, settings))
            if lost is not None:
                count["abandoned"] += 1
                _log.warning("cron run %s of task %r: %s", run_id, lost.task_name, lost.error)

    def _waiting(self) -> Flow[list[Handling]]:
        """Begin what waits: runs that were triggered, or had to wait for others."""
        begun: list[Handling] = []
        tried: set[str] = set()
        after: RunRow | None = None
        while self._room > 0 and not self._is_to_stop():
            look = cron_runs.waiting(self._settings.tenant, after, _PAGE)
            page = yield from run(look)
            for waiting, task in page:
                # Of those that wait for each other one begins.
                turn = waiting.task_id if waiting.alone else waiting.id
                # Without its task the handler does not matter: it is not called.
                known = task is None or self._knows(task)
                if self._room > 0 and known and turn not in tried:
                    tried.add(turn)
                    begun += yield from self._take_up(waiting, task)
            if len(page) < _PAGE:
                break
            after = page[-1].run
        return begun

    def _take_up(self, waiting: RunRow, task: TaskRow | None) -> Flow[list[Handling]]:
        started = yield from run(cron_runs.begin(waiting, self._claim(), self._settings))
        if started is None or task is None:
            return []
        return [self._begin(task, started)]

    def _due(self, count: Counter[str], now: int) -> Flow[list[Handling]]:
        """Begin the slots that have come by then."""
        begun: list[Handling] = []
        after: TaskRow | None = None
        while self._room > 0 and not self._is_to_stop():
            page = yield from run(cron_runs.due(self._settings.tenant, now, after, _PAGE))
            for task in page:
                if self._room > 0 and not self._is_to_stop():
                    begun += yield from self._dispatch(task, count)
            if len(page) < _PAGE:
                break
            after = page[-1]
        return begun

    def _dispatch(self, task: TaskRow, count: Counter[str]) -> Flow[list[Handling]]:
        by = self._claim()
        begun: list[Handling] = []
        try:
            if not self._handler(task.record):
                return begun
            what = cron_runs.decide(task, by.now, self._grace)
        except (CorruptError, InvalidError):
            # A zone that is gone, say. The others are not to wait for it.
            _log.exception("cron task %r cannot be run", task.name)
            return begun
        for one in (yield from run(cron_runs.claim(task, what, by, self._settings))):
            if one.status == "running":
                begun.append(self._begin(task, one))
            elif one.status == "skipped":
                count["skipped"] += 1
        return begun

    def _claim(self) -> Claim:
        now = self._settings.clock()
        return Claim(self._owner, now, now + self._lease, self._room)

    @property
    def _room(self) -> int:
        """How many more handlers may run; those that outlive their run count, too."""
        ended = [one for one in list(self._handlings) if not (one.is_alive() or one.lingers)]
        self._handlings.difference_update(ended)
        return self._limit - len(self._handlings)

    # -- handlers --------------------------------------------------------------------------------

    def _handler(self, task: CronTask) -> Callable[[CronContext], Any] | None:
        action = task.action
        named = action.get("type") if isinstance(action, dict) else None
        name = named if isinstance(named, str) else task.name
        found = self.handlers.get(name) or self.handlers.get("*")
        if found is None and task.id not in self._unknown:
            self._unknown.add(task.id)
            _log.warning("cron task %r is due, and there is no handler %r here", task.name, name)
        return found

    def _knows(self, task: TaskRow) -> bool:
        try:
            return self._handler(task.record) is not None
        except CorruptError:
            _log.exception("cron task %r cannot be run", task.name)
            return False

    def _begin(self, task: TaskRow, started: CronRun) -> Handling:
        record = task.record
        handler = self._handler(record)
        assert handler is not None  # noqa: S101 - it was looked up before the run was taken
        context = CronContext(record, started, self._store, self._cron)
        one = Handling(
            handler, context, self._settings, self._in_thread, task.part, lambda _: self.wake()
        )
        one.start()
        self._handlings.add(one)
        return one

    def _first_ended(self, begun: Sequence[Handling]) -> Flow[list[Handling]]:
        """Wait until some of these have ended, and keep the others meanwhile."""
        beaten = time.monotonic()
        while not (ended := [one for one in begun if not one.is_alive()]):
            yield Sleep(_LOOK_SECONDS)
            if time.monotonic() - beaten >= _BEAT_SECONDS:
                yield from self._beat()
                beaten = time.monotonic()
        return ended

    def _beat(self) -> Flow[None]:
        """Renew the leases of what is under way, when a third of their time is over."""
        now = self._settings.clock()
        for one in [one for one in list(self._handlings) if one.is_alive()]:
            if now - one.renewed_at < self._lease // 3:
                continue
            try:
                kept = yield from run(cron_runs.renew(one.part, one.context.run, now + self._lease))
            except (BusyError, UnknownOutcomeError) as error:
                # Sooner again than after one that went well: some of its time is left.
                one.renewed_at += self._lease // _BEATS
                _log.warning("cron run %s: renewed later: %s", one.context.run.id, error)
                continue
            one.renewed_at = now
            if not kept and one.is_alive():
                one.cancel("its lease had run out, and others took it for abandoned")

    # -- the end ---------------------------------------------------------------------------------

    def _end(self, deadline: float | None = None) -> Rounds | None:
        # Before the thread is told: it drains at once.
        self._drained_by = deadline
        return super()._end(deadline)

    def _ended(self, rounds: Rounds | None, deadline: float) -> Flow[bool]:
        stopped = yield from super()._ended(rounds, deadline)
        return stopped and not self._alive()

    def _drain(self) -> None:
        """Wait for what is under way; at last, cancel it."""
        deadline = self._drained_by or time.monotonic() + STOP_SECONDS
        while self._alive() and time.monotonic() < deadline - _LAST_SECONDS:
            wait_for(self._alive(), time.monotonic() + _BEAT_SECONDS)
            self._try_to_beat()
        for one in self._alive():
            one.cancel("the scheduler was stopped")
        wait_for(self._alive(), deadline)

    def _alive(self) -> list[Handling]:
        return [one for one in list(self._handlings) if one.is_alive()]

    def _try_to_beat(self) -> None:
        try:
            self._in_thread.flow(self._beat())
        except Exception:  # noqa: BLE001 - it is tried again, and the end must come
            _log.exception("worker %s: leases were not renewed", self.name)

    def _forget(self) -> None:
        super()._forget()
        self._handlings = set()
