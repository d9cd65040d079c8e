"""The sweeper: retention, by itself."""

from __future__ import annotations

from datetime import timedelta

from perdure.errors import InvalidError
from perdure.features import sweeping
from perdure.operation import Flow, M, flow
from perdure.records import Swept
from perdure.retention import RetentionConfig
from perdure.store import _Store
from perdure.workers.worker import LEASE, Duty, Worker


class Sweeper(Worker[M]):
    """Removes what has had its time: at once, and then every ``interval`` of the config.

    ``config``: what goes beyond what has expired and what was deleted; without one that is the
    store's ``retention``, and without that nothing. Of several processes one does the work.
    """

    name = "sweeper"

    def __init__(self, store: _Store[M], config: RetentionConfig | None = None) -> None:
        if config is not None and not isinstance(config, RetentionConfig):
            raise InvalidError(f"config must be a RetentionConfig, not {config!r}", "config")
        self.config = config or store._settings.retention
        super().__init__(store, (self.config or RetentionConfig()).interval)

    @flow
    def run_once(self, *, dry_run: bool = False) -> Flow[Swept | None]:
        """One sweep: what it removed, by kind. None if another process was at one.

        ``dry_run=True`` only counts, whoever else is at it.
        """
        if dry_run:
            return (yield from self._sweep(dry_run=True, keep=sweeping.always))
        return (yield from self._alone(self._work))

    def _round(self) -> Flow[timedelta | None]:
        swept = yield from self._alone(self._work)
        return LEASE if swept is None else None

    def _work(self, duty: Duty) -> Flow[Swept]:
        return (yield from self._sweep(dry_run=False, keep=duty.keep))

    def _sweep(self, *, dry_run: bool, keep: sweeping.Keep) -> Flow[Swept]:
        return sweeping.sweep(self._settings, self.config, dry_run=dry_run, keep=keep)
