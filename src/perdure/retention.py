"""How long what nobody uses any more is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from perdure.errors import InvalidError


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepCheckpoints:
    """Which checkpoints a sweep leaves in each namespace of a lineage.

    The last ``keep_last`` (0: none has to stay), and with ``older_than`` those that were put
    less long ago, too. `InvalidError` if it says nothing.
    """

    keep_last: int = 1
    older_than: timedelta | None = None

    def __post_init__(self) -> None:
        if type(self.keep_last) is not int or self.keep_last < 0:
            message = f"keep_last is a number from 0 on, not {self.keep_last!r}"
            raise InvalidError(message, "keep_last")
        if self.older_than is not None:
            _time(self.older_than, "older_than")
        elif not self.keep_last:
            message = "keep_last=0 leaves nothing: say older_than, too"
            raise InvalidError(message, "keep_last")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionConfig:
    """What a sweep removes beyond what has expired by itself, and how often it comes.

    ``retention_days``: sessions that were not written to for so many days go, with all that hangs
    on them (None: however old). ``deleted_grace``: deleted sessions go after it (None: as the
    store says, 30 days). ``events``: events that are older go, as `events.prune(older_than=)`
    removes them (None: none). ``checkpoints``: which of them stay, as `KeepCheckpoints` says
    (None: all). ``interval``: how long the worker waits from sweep to sweep.
    `InvalidError` for 0 or less.
    """

    retention_days: int | None = 30
    interval: timedelta = timedelta(hours=24)
    deleted_grace: timedelta | None = None
    events: timedelta | None = None
    checkpoints: KeepCheckpoints | None = None

    def __post_init__(self) -> None:
        days = self.retention_days
        if days is not None and (type(days) is not int or days < 1):
            raise InvalidError(
                f"retention_days is a whole number of days, 1 or more, or None, not {days!r}",
                "retention_days",
            )
        if self.checkpoints is not None and not isinstance(self.checkpoints, KeepCheckpoints):
            message = f"checkpoints is a KeepCheckpoints, not {self.checkpoints!r}"
            raise InvalidError(message, "checkpoints")
        _time(self.interval, "interval")
        for name in ("deleted_grace", "events"):
            if getattr(self, name) is not None:
                _time(getattr(self, name), name)


def _time(value: object, name: str) -> None:
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise InvalidError(f"{name} must be a timedelta above 0, not {value!r}", name)
