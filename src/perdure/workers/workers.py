"""All workers that make sense for a store, as one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from perdure.operation import Feature, Flow, M, flow
from perdure.store import _Store
from perdure.workers.summariser import Summariser
from perdure.workers.worker import STOP_SECONDS, Worker, ended

#: Every kind of worker there is. A new one adds its line here.
KINDS: tuple[type[Worker[Any]], ...] = (Summariser,)


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
        for worker in self._workers:
            yield from worker._start()

    @flow
    def stop(self, *, timeout: float = STOP_SECONDS) -> Flow[bool]:
        """Stop all of them at once, and wait; whether all have ended within those seconds."""
        deadline = time.monotonic() + timeout
        ending = [worker._end() for worker in self._workers]
        well = True
        for rounds in ending:
            well = (yield from ended(rounds, deadline)) and well
        return well

    @property
    def is_running(self) -> bool:
        """Whether each of them is running."""
        return all(worker.is_running for worker in self._workers)
