"""The summariser: makes the summaries that were asked for, by itself."""

from __future__ import annotations

from datetime import timedelta

from perdure.features import summarising
from perdure.features.cursors import check_limit
from perdure.operation import Flow, M, Settings, flow
from perdure.records import SummaryRun
from perdure.store import _Store
from perdure.workers.worker import LEASE, Worker


class Summariser(Worker[M]):
    """Does what `enqueue_summary` has queued, with the store's summariser: looks each second.

    At most ``batch`` jobs are in its hands at a time; the others wait in the table, for it or for
    the worker of another process. Several work side by side, never at one session.
    """

    name = "summariser"

    def __init__(
        self, store: _Store[M], interval: timedelta = timedelta(seconds=1), *, batch: int = 20
    ) -> None:
        super().__init__(store, interval)
        self._batch = check_limit(batch, store._settings.limits.records)
        self._summariser = summarising.check_summariser(None, store._settings)

    @classmethod
    def wanted(cls, settings: Settings) -> bool:
        """Only for a store that has a summariser."""
        return settings.summariser is not None

    @flow
    def run_once(self) -> Flow[SummaryRun]:
        """One pass over the queue: see `Summaries.run_jobs`."""
        return (yield from self._pass())

    def _round(self) -> Flow[timedelta | None]:
        ran = yield from self._pass()
        # As long as there is something to do it goes on, until it is to stop.
        return timedelta(0) if ran.done else None

    def _pass(self) -> Flow[SummaryRun]:
        ttl = LEASE // timedelta(microseconds=1)
        return (
            yield from self._store.summaries._run_jobs(
                self._batch, self._summariser, ttl, lambda: not self._is_to_stop()
            )
        )
