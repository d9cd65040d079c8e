"""Questions to people: what was asked, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from perdure.records.basics import SessionKey, UserScope

ClarificationStatus: TypeAlias = Literal["pending", "answered", "expired", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clarification:
    """A question to a person.

    ``session`` is the key of the session that asks (None: no session does). ``answer`` is None
    until it is answered, and may be empty then. ``answered_at`` is when it was answered, or ended
    otherwise; ``answered_by`` who answered it, or cancelled it. It is pending as long as now is
    before ``expires_at``, whoever looks.
    """

    id: str
    app: str
    user: str
    session: SessionKey | None
    question: str
    context: str
    options: tuple[str, ...]
    sender_context: str
    status: ClarificationStatus
    answer: str | None
    answered_by: str
    created_at: datetime
    answered_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewClarification:
    """A question that is about to be stored, as `on_write` sees it.

    Whose it is is told, and cannot be changed.
    """

    of: SessionKey | UserScope
    question: str
    context: str = ""
    options: Sequence[str] = ()
    sender_context: str = ""


@dataclass(frozen=True, slots=True)
class NewAnswer:
    """An answer that is about to be stored, as `on_write` sees it; the id cannot be changed."""

    id: str
    answer: str


@dataclass(frozen=True, slots=True)
class RecoveredClarifications:
    """What became of the pending questions after a restart, each newest first.

    ``pending``: nobody waits for them, so they are yours to wait for. ``expired``: they were too
    old, and are ended now. ``waited_for``: a live process waits for them; nothing was done.
    """

    pending: tuple[Clarification, ...]
    expired: tuple[Clarification, ...]
    waited_for: tuple[Clarification, ...]
