"""All workers that make sense for a store, as one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

from perdure.operation import Feature, Flow, M, flow
from perdure.runners import SyncRunner
from perdure.store import _Store
from perdure.workers.scheduler import Scheduler
from perdure.workers.summariser import Summariser
from perdure.workers.sweeper import Sweeper
from perdure.workers.webhooks import WebhookSender
from perdure.workers.worker import STOP_SECONDS, Worker

#: Not without end: where a signal only wakes a wait that has one.
_LOOK_SECONDS = 0.5

#: Every kind of worker there is. A new one adds its line here.
KINDS: tuple[type[Worker[Any]], ...] = (Summariser, Sweeper, WebhookSender, Scheduler)


class Workers(Feature[M]):
    """The workers that `Store.start_workers` has started; iterating gives each of them."""

    name = "workers"

    def __init__(self, store: _Store[M]) -> None:
        super().__init__(store._runner, store._settings)
        self._workers: list[Worker[M]] = [
            kind(store) for kind in KINDS if kind.wanted(store._settings)
        ]

    def __iter__(self) -> Iterator[Worker[M]]:
        return iter(self._workers)

    @flow
    def start(self) -> Flow[None]:
        """Start each of them: see `Worker.start`."""
        yield from self._start()

    @flow
    def stop(self, *, timeout: float = STOP_SECONDS) -> Flow[bool]:
        """Stop all of them at once, and wait; whether all have ended within those seconds."""
        return (yield from self._stop(timeout))

    def _start(self) -> Flow[None]:
        for worker in self._workers:
            yield from worker._start()

    def _stop(self, timeout: float) -> Flow[bool]:
        deadline = time.monotonic() + timeout
        ending = [(worker, worker._end(deadline)) for worker in self._workers]
        well = True
        for worker, rounds in ending:
            well = (yield from worker._ended(rounds, deadline)) and well
        return well

    @property
    def is_running(self) -> bool:
        """Whether each of them is running."""
        return all(worker.is_running for worker in self._workers)


def serve(store: _Store[Any], stopping: threading.Event) -> Iterator[str]:
    """Run the workers of a store of either colour until the event; what is done, in words."""
    workers = Workers(store)
    runner = SyncRunner(store._engine)
    runner.flow(workers._start())
    yield f"started: {', '.join(worker.name for worker in workers)}"
    while not stopping.wait(_LOOK_SECONDS):
        continue
    ended = runner.flow(workers._stop(STOP_SECONDS))
    yield "stopped" if ended else "stopped before a run had ended"
