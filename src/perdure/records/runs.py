"""What is kept of runs: who has a lease, and what steps gave."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from perdure.records.basics import JSON, Opaque


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """The run that has a lease, and until when if it is not renewed."""

    run_id: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStep:
    """What a step of a run gave: stored once, and given back from then on.

    ``created_at`` is the store's clock when it was stored. From ``expires_at`` on it is no more
    (None: it stays).
    """

    run_id: str
    name: str
    result: JSON | Opaque
    created_at: datetime
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewRunStep:
    """The result of a step that is about to be stored, as `on_write` sees it.

    Its run and its name are told, and cannot be changed.
    """

    run_id: str
    name: str
    result: JSON | Opaque
