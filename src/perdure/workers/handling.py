"""One run of a task: the handler in a thread of its own, its timeout, its end."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from inspect import isawaitable
from typing import Any

from perdure.errors import BusyError, UnknownOutcomeError
from perdure.features import cron_runs
from perdure.features.cron import Cron
from perdure.operation import Operation, Settings
from perdure.records import CronRun, CronTask, SessionKey
from perdure.runners import SyncRunner

_log = logging.getLogger("perdure")

Handler = Callable[["CronContext"], Any]
#: How long an async handler that is cancelled has for what it does on its way out.
CANCEL_SECONDS = 5.0
#: How long to wait before the end of a run is stored once more.
_AGAIN_SECONDS = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)


class CronContext:
    """What a handler gets: the ``task``, the ``run``, and the ``store`` it is in."""

    def __init__(self, task: CronTask, run: CronRun, store: Any, cron: Cron[Any]) -> None:
        self.task = task
        self.run = run
        self.store = store
        self._cron = cron
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether the run is to end: a plain function can only be asked, so let it look."""
        return self._cancelled.is_set()

    def wait(self, seconds: float) -> bool:
        """Let that time pass, or less if the run is to end; whether it is."""
        return self._cancelled.wait(seconds)

    def link(self, session: SessionKey, *, run_id: str | None = None) -> CronRun:
        """Say which session this run made, and with which run of the agent; stored at once.

        Not awaited, in handlers of either colour. `NotFoundError` if there is no such session.
        """
        linked: CronRun = self._cron.link(self.run.id, session, run_id=run_id)
        return linked


class Handling(threading.Thread):
    """A run under way: it ends with its handler, and says so in the store."""

    def __init__(
        self,
        handler: Handler,
        context: CronContext,
        settings: Settings,
        runner: SyncRunner,
        part: str,
        ended: Callable[[Handling], None],
    ) -> None:
        super().__init__(name=f"perdure-cron-{context.task.name[:40]}", daemon=True)
        self.context = context
        self.part = part
        self.renewed_at = settings.clock()
        #: How it ended, once it has: None if that could not be said any more.
        self.outcome: CronRun | None = None
        self._call = _Calling(handler, context)
        self._settings = settings
        self._runner = runner
        self._ended = ended
        self._why = ""

    @property
    def lingers(self) -> bool:
        """Whether the handler goes on, though its run is over."""
        return self._call.is_alive()

    def cancel(self, why: str) -> None:
        """Have it end: an async handler is cancelled, a plain function is asked."""
        if not self._call.done.is_set():
            self._why = self._why or why
            self._call.cancel()

    def run(self) -> None:
        """Call the handler, see to its end, and store how it was."""
        try:
            status, failure = self._watched()
            run = self.context.run
            self.outcome = self._told(
                cron_runs.finish(self.part, run, status, failure, self._settings)
            )
            if self.outcome is None:
                _log.warning("cron run %s: %s too late, it is not ours any more", run.id, status)
        except Exception:  # noqa: BLE001 - a thread of its own has nobody to tell
            # Nobody renews its lease from now on: it will be found as abandoned.
            _log.exception("cron run %s: its end could not be stored", self.context.run.id)
        finally:
            self._ended(self)

    def _told(self, finish: Operation[CronRun | None]) -> CronRun | None:
        """Store the end; again, if the store cannot be reached: its lease is renewed meanwhile."""
        for pause in _AGAIN_SECONDS:
            try:
                return self._ended_as(finish)
            except (BusyError, UnknownOutcomeError) as error:
                _log.warning("cron run %s: its end is stored later: %s", self.context.run.id, error)
            time.sleep(pause)
        return self._ended_as(finish)

    def _ended_as(self, finish: Operation[CronRun | None]) -> CronRun | None:
        run: CronRun | None = self._runner.operate(finish)
        return run

    def _watched(self) -> tuple[str, str]:
        """How it ended: the status, and why it failed."""
        self._call.start()
        timeout = self.context.task.timeout
        seconds = None if timeout is None else min(timeout.total_seconds(), threading.TIMEOUT_MAX)
        if not self._call.done.wait(seconds):
            self.cancel(f"it took longer than {seconds:g} s")
            if not self._call.done.wait(CANCEL_SECONDS if self._call.is_async else 0):
                kind = (
                    "does not end, cancelled or not"
                    if self._call.is_async
                    else "goes on: a plain function cannot be stopped"
                )
                return "failed", f"{self._why}, and {kind}"
        # It is at its end: else it would be counted as one that goes on, and take a place.
        self._call.join()
        if self._why:
            return "failed", self._why
        error = self._call.error
        if error is None:
            return "success", ""
        return "failed", f"{type(error).__name__}: {error}"


class _Calling(threading.Thread):
    """The call of a handler, plain or async."""

    def __init__(self, handler: Handler, context: CronContext) -> None:
        super().__init__(name="perdure-call", daemon=True)
        self.done = threading.Event()
        self.error: BaseException | None = None
        self.is_async = False
        self._handler = handler
        self._context = context
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    def run(self) -> None:
        """Call it, and keep what it raised."""
        try:
            result = self._handler(self._context)
            if isawaitable(result):
                self.is_async = True
                asyncio.run(self._awaited(result))
        except BaseException as error:  # noqa: BLE001 - it is stored as the run's
            self.error = error
        finally:
            self.done.set()

    async def _awaited(self, result: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(result)
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._task = task
        if self._context.cancelled:
            task.cancel()
        await task

    def cancel(self) -> None:
        """Ask for its end."""
        self._context._cancelled.set()
        with self._lock:
            loop, task = self._loop, self._task
        if loop is not None and task is not None:
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(task.cancel)


def wait_for(handlings: list[Handling], deadline: float) -> bool:
    """Whether all of them have ended by then."""
    for one in handlings:
        one.join(max(deadline - time.monotonic(), 0))
    return not any(one.is_alive() for one in handlings)
