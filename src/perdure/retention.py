"""How long what nobody uses any more is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from perdure.errors import InvalidError


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionConfig:
    """What a sweep removes beyond what has expired by itself, and how often it comes.

    ``retention_days``: sessions that were not written to for so many days go, with all that hangs
    on them (None: however old). ``deleted_grace``: deleted sessions go after it (None: as the
    store says, 30 days). ``events``: events that are older go, as `events.prune(older_than=)`
    removes them (None: none). ``cron_history``: runs of tasks go so long after their end (None:
    never); what counts is the store's retention at that moment. ``interval``: how long the worker
    waits from sweep to sweep. `InvalidError` for 0 or less.
    """

    retention_days: int | None = 30
    interval: timedelta = timedelta(hours=24)
    deleted_grace: timedelta | None = None
    events: timedelta | None = None
    cron_history: timedelta | None = timedelta(days=30)

    def __post_init__(self) -> None:
        days = self.retention_days
        if days is not None and (type(days) is not int or days < 1):
            raise InvalidError(
                f"retention_days is a whole number of days, 1 or more, or None, not {days!r}",
                "retention_days",
            )
        _time(self.interval, "interval")
        for name in ("deleted_grace", "events", "cron_history"):
            if getattr(self, name) is not None:
                _time(getattr(self, name), name)


def _time(value: object, name: str) -> None:
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise InvalidError(f"{name} must be a timedelta above 0, not {value!r}", name)
