"""The indexer: brings the full-text index up to date behind the writes, by itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from perdure.errors import InvalidError
from perdure.features.indexing import Scope, catch_up
from perdure.operation import Flow, M, flow
from perdure.parts import place
from perdure.store import _Store
from perdure.workers.worker import LEASE, Duty, Worker

#: By how much clocks of writers may differ, and how long a write may be under way, in microseconds.
_SLACK = timedelta(minutes=5) // timedelta(microseconds=1)


class Indexer(Worker[M]):
    """Indexes what no search has looked through yet, in the apps named: looks each minute.

    A search does that by itself; after this it has less to do. Each run looks at the sessions
    that were written to since the run before, the first one as far ``back`` as a day: what is
    older is indexed by the search that comes upon it, or by `Store.index`. Of several processes
    one does the work.
    """

    name = "indexer"

    def __init__(
        self,
        store: _Store[M],
        apps: Sequence[str],
        interval: timedelta = LEASE,
        *,
        back: timedelta = timedelta(days=1),
    ) -> None:
        super().__init__(store, interval)
        if isinstance(apps, str) or not apps:
            raise InvalidError(f"apps is a list of at least one app, not {apps!r}", "apps")
        if not isinstance(back, timedelta) or back < timedelta(0):
            raise InvalidError(f"back must be a timedelta, 0 or more, not {back!r}", "back")
        settings = store._settings
        limit = settings.limits.text
        parts = {place(settings.tenant, app, "", limit).app_part for app in apps}
        back_micros = back // timedelta(microseconds=1)
        #: From when on each app is to be looked at; None until its first run.
        self._since: dict[str, int | None] = dict.fromkeys(sorted(parts))
        self._back = back_micros

    @flow
    def run_once(self) -> Flow[int | None]:
        """One run: how many events it indexed. None if another process was at one."""
        return (yield from self._alone(self._work))

    def _round(self) -> Flow[timedelta | None]:
        indexed = yield from self._alone(self._work)
        return LEASE if indexed is None else None

    def _work(self, duty: Duty) -> Flow[int]:
        total = 0
        for part, since in self._since.items():
            now = self._settings.clock()
            first = now - self._back if since is None else since
            scope = Scope("recent", part, max(first, 0))
            total += yield from catch_up(self._settings, scope, duty.keep)
            if not (yield from duty.keep()):
                # What was left is looked at in the next run.
                break
            self._since[part] = now - _SLACK
        return total
