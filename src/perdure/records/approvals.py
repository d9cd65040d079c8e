"""What is told of approvals: the pause before a tool, who may end it, and every step of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

from perdure.records.basics import JSON, Opaque, SessionKey

ApprovalKind: TypeAlias = Literal["tool", "interrupt", "external"]
"""What waits: the call of a tool, a framework's own interrupt, or something outside."""

ApprovalStatus: TypeAlias = Literal[
    "pending", "approved", "rejected", "expired", "cancelled", "consumed"
]
"""Where an approval is: docs/state_machines.md says who moves it."""

Decision: TypeAlias = Literal["approve", "reject"]
"""What a person says to an approval."""


class Principal(NamedTuple):
    """Somebody who acts: an id, and the roles that the application says they have."""

    id: str
    roles: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A pause until somebody says yes or no.

    ``session`` is the session it belongs to (None: to none), ``created_by`` the person on whose
    behalf it was asked for, ``agent`` who asked. ``args_sha256`` is the digest of ``args``;
    ``edited_args`` (None: not edited) take their place. ``resume`` is what a framework needs to go
    on. ``rule`` says what has approved it, if no person has. A ``pending`` or ``approved`` one is
    shown as ``expired`` from ``expires_at`` on, swept or not.
    """

    id: str
    tenant: str
    app: str
    user: str
    session: SessionKey | None
    kind: ApprovalKind
    tool_name: str
    args: JSON
    args_sha256: str
    status: ApprovalStatus
    thread_id: str
    run_id: str
    tool_call_id: str
    payload: JSON
    resume: Opaque | None
    question: str
    sender_context: str
    created_by: str
    agent: str
    created_at: datetime
    expires_at: datetime | None
    resolved_at: datetime | None
    resolved_by: str
    feedback: str
    edited_args: JSON
    rule: str
    consumed_at: datetime | None

    @property
    def approved_args(self) -> JSON:
        """What the tool is to be run with, if it may run: the edited arguments, or those given."""
        return self.args if self.edited_args is None else self.edited_args


@dataclass(frozen=True, slots=True)
class NewApproval:
    """An approval that is about to be stored, as `on_write` sees it.

    Who asks, for whom and for which tool is told, and cannot be changed. ``args_sha256`` is made
    of the arguments as they were given: what is hidden here does not change what may run.
    """

    tool_name: str
    args: JSON
    payload: JSON = field(default=None, kw_only=True)
    question: str = field(default="", kw_only=True)
    sender_context: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class NewResolution:
    """An answer to an approval that is about to be stored, as `on_write` sees it.

    The id and the decision are told, and cannot be changed.
    """

    approval_id: str
    decision: Decision
    feedback: str = field(default="", kw_only=True)
    edited_args: JSON = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class ApprovalStep:
    """A step of an approval: who moved it, when, from which status (``""``: new) to which.

    ``by`` begins with ``system:`` where no person did it. ``rule`` is what has decided then.
    """

    approval_id: str
    number: int
    at: datetime
    by: str
    from_status: str
    to_status: str
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberedApproval:
    """An approval that counts for later calls, too: of that tool, in that thread, until then.

    ``args_sha256`` is None where it counts for any arguments. ``approval_id`` is what it was said
    to.
    """

    id: str
    app: str
    user: str
    session: SessionKey | None
    thread_id: str
    tool_name: str
    args_sha256: str | None
    approval_id: str
    created_by: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class RecoveredApprovals:
    """What was found pending after a restart, with nobody waiting for it.

    ``pending`` can still be answered: wait for them again. ``expired`` were too old, and are
    expired now.
    """

    pending: Sequence[Approval]
    expired: Sequence[Approval]
