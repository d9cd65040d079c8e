"""Tasks that run by the clock, and what became of each run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from perdure.records.basics import JSON, SessionKey

CronStatus = Literal["queued", "running", "success", "failed", "abandoned", "skipped"]


@dataclass(frozen=True, slots=True)
class NewCronTask:
    """A task as configuration names it, and as `on_write` sees it.

    ``expression``: five fields (minute, hour, day of the month, month, day of the week), or
    ``@daily`` and its like, in the ``timezone`` (an IANA name). ``action``: JSON, for the handler.
    ``misfire``: what becomes of slots at which nobody ran: ``once``: the last of them runs;
    ``all``: each, one after the other; ``skip``: none. Only the last ``misfire_limit`` count.
    ``overlap``: what becomes of a slot while a run of the task is under way: ``skip``, ``queue``,
    ``allow``. ``timeout``: how long a run may take (None: as long as it likes).
    """

    name: str
    expression: str
    action: JSON = None
    timezone: str = "UTC"
    enabled: bool = True
    misfire: str = "once"
    misfire_limit: int = 100
    overlap: str = "skip"
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CronTask:
    """Something that is to be run by the clock: see `NewCronTask` for what each field means.

    ``source`` is ``tool`` for what a call made and ``config`` for what `sync` did.
    ``paused_by``: who has paused it (``""``: nobody). ``last_triggered_at`` is the last slot that
    was dispatched, ``next_run_at`` the next one, None while the task is not enabled.
    """

    id: str
    app: str
    name: str
    expression: str
    timezone: str
    action: JSON
    enabled: bool
    paused_by: str
    source: Literal["config", "tool"]
    misfire: Literal["skip", "once", "all"]
    misfire_limit: int
    overlap: Literal["skip", "queue", "allow"]
    timeout: timedelta | None
    last_triggered_at: datetime | None
    next_run_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CronRun:
    """What became of one slot of a task, or of one `trigger`.

    ``status``: ``queued`` waits, ``running`` is under way, ``success``: its handler has
    finished, ``failed``: it raised, took too long or was cancelled, ``abandoned``: whoever ran it
    was not heard of any more, ``skipped``: it never began; ``error`` says why. ``trigger`` is
    ``slot`` or ``manual``. ``owner``: the scheduler that ran it. ``session`` is what the handler
    linked it to (None: nothing, or it is gone), ``run_id`` the agent's run there.
    """

    id: str
    app: str
    task_id: str
    task_name: str
    trigger: Literal["slot", "manual"]
    scheduled_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    status: CronStatus
    error: str
    owner: str
    run_id: str
    session: SessionKey | None = None


@dataclass(frozen=True, slots=True)
class CronSync:
    """What `sync` did, by name; what stayed as it was is in none of the three."""

    added: tuple[str, ...]
    updated: tuple[str, ...]
    disabled: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CronPass:
    """What one round of a scheduler did: how many runs ended how.

    ``abandoned`` counts runs of schedulers that are not heard of any more.
    """

    success: int = 0
    failed: int = 0
    skipped: int = 0
    abandoned: int = 0

    @property
    def ran(self) -> int:
        """How many runs this scheduler began."""
        return self.success + self.failed
