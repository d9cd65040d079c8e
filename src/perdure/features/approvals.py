"""Approvals: a tool waits for a person, and runs only with what was approved, at most once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from perdure.errors import InvalidError
from perdure.features import approval_rows as rows
from perdure.features.approval_answers import answer_of, author, principal, refuse_unless_allowed
from perdure.features.approval_requests import Asked, request
from perdure.features.approval_rows import APPROVALS, Answer, Place, approval_of
from perdure.features.approval_waiting import recovered, waited
from perdure.features.cursors import check_limit, pack, paged, unpack
from perdure.features.describing import span
from perdure.features.gating import Gating
from perdure.features.lookup import get as get_session
from perdure.features.lookup import target
from perdure.features.outbox import notes
from perdure.features.waiting import seconds_of
from perdure.operation import (
    Bumps,
    Flow,
    M,
    Operation,
    Plan,
    Stream,
    Work,
    flow,
    operation,
    reading,
    run,
    stream,
)
from perdure.parts import place
from perdure.records import (
    ALL,
    JSON,
    AllType,
    Approval,
    ApprovalStatus,
    ApprovalStep,
    Decision,
    NewResolution,
    Opaque,
    Page,
    Principal,
    RecoveredApprovals,
    RememberedApproval,
    SessionKey,
)
from perdure.values import args_text, check_text

_STATUSES = ("pending", "approved", "rejected", "expired", "cancelled", "consumed")
_HALF_AN_HOUR = timedelta(minutes=30)


class Approvals(Gating[M]):
    """`store.approvals`: ask a person, wait for the answer, run what was approved, once.

    An id alone names an approval; one of another tenant is `NotFoundError`, and so is one whose
    session is deleted or has expired.
    """

    name = "approvals"
    _of_sessions = False

    # -- asking ------------------------------------------------------------------------------

    @operation
    def request(
        self,
        tool_name: str = "",
        args: JSON = None,
        *,
        kind: str = "tool",
        app: str = "",
        user: str = "",
        session: SessionKey | None = None,
        thread_id: str = "",
        run_id: str = "",
        tool_call_id: str = "",
        question: str = "",
        sender_context: str = "",
        created_by: str | None = None,
        agent: str = "",
        payload: JSON = None,
        resume: Opaque | None = None,
        ttl: timedelta | None = _HALF_AN_HOUR,
        remembered: timedelta | None = None,
    ) -> Work[Approval]:
        """A new approval, pending; the stored one, whatever has become of it, for the same call.

        Calls are the same by ``tool_call_id`` within their session and thread; with another tool,
        other ``args`` or another ``payload`` it is a `ConflictError`. ``args`` None is ``{}``.
        ``kind``: ``tool``, ``interrupt`` or ``external``; the last two need no tool. With a
        ``session``, which must be there, app and user are its, and ``thread_id`` is its id unless
        given. ``created_by`` (default: the user) may answer it, ``agent`` may not. ``ttl``: how
        long there is to answer it and to run what was approved; None: for ever. ``remembered``:
        it is approved at once if a remembered approval, not older than this, covers it.
        """
        asked = Asked(
            tool_name, args, kind=kind, app=app, user=user, session=session, thread_id=thread_id,
            run_id=run_id, tool_call_id=tool_call_id, question=question,
            sender_context=sender_context, created_by=created_by, agent=agent, payload=payload,
            resume=resume, ttl=ttl, remembered=remembered,
        )  # fmt: skip
        return request(asked, self._settings)

    # -- answering ---------------------------------------------------------------------------

    @flow
    def resolve(
        self,
        approval_id: str,
        decision: Decision,
        *,
        by: str | Principal,
        feedback: str = "",
        edited_args: JSON = None,
        remember: timedelta | None = None,
        same_args: bool = True,
    ) -> Flow[Approval]:
        """Answer what is pending, ``approve`` or ``reject``: of all who try exactly one does.

        The others get `ConflictError`, which says who has answered and how; so does who answers
        after ``expires_at``. `DeniedError` if ``by``, a name or a `Principal`, may not: the store's
        ``can_resolve`` is asked, and the agent that asked never may. ``edited_args`` take the
        place of the arguments. ``feedback`` decides nothing. ``remember``: for so long it counts
        for later calls of the tool in its thread, with the same arguments unless
        ``same_args=False``; stored in the same transaction.
        """
        return (
            yield from self._resolve(
                approval_id, decision, by, feedback, edited_args, remember, same_args
            )
        )

    @flow
    def approve(
        self,
        approval_id: str,
        *,
        by: str | Principal,
        feedback: str = "",
        edited_args: JSON = None,
        remember: timedelta | None = None,
        same_args: bool = True,
    ) -> Flow[Approval]:
        """Answer yes: see `resolve`."""
        return (
            yield from self._resolve(
                approval_id, "approve", by, feedback, edited_args, remember, same_args
            )
        )

    @flow
    def reject(
        self, approval_id: str, *, by: str | Principal, feedback: str = ""
    ) -> Flow[Approval]:
        """Answer no: see `resolve`."""
        return (yield from self._resolve(approval_id, "reject", by, feedback, None, None, True))

    @operation
    def cancel(self, approval_id: str, *, by: str = "", feedback: str = "") -> Work[Approval]:
        """Take back what is pending; `ConflictError` if it is not any more."""
        at, settings = self._place(approval_id), self._settings
        who = author(by, settings.limits.text)
        said = check_text(feedback, "feedback", settings.limits.title)
        answer = Answer("cancelled", who, said, None, None, None, same_args=True)
        telling = notes(settings)

        def work(_: Bumps) -> Plan[Approval]:
            return approval_of((yield from rows.resolve(at, answer, telling)), at.now)

        return work

    # -- running -----------------------------------------------------------------------------

    @operation
    def consume(self, approval_id: str, args: JSON = None, *, by: str = "") -> Work[bool]:
        """Whether what was approved may run now, with these arguments: True exactly once.

        Only what is approved, has not expired and was not consumed before, and only with the
        arguments that were approved: the edited ones, if it was edited. False in any other case,
        also for an id that is unknown, and to the same caller again: who does not know whether
        a True was lost on the way does not run the tool.
        """
        settings = self._settings
        at = self._place_or_none(approval_id)
        _, sha256_hex = args_text({} if args is None else args, "args", settings.limits)
        who = author(by, settings.limits.text)

        def work(_: Bumps) -> Plan[bool]:
            if at is None:
                yield from ()
                return False
            return (yield from rows.consume(at, sha256_hex, who))

        return work

    @flow
    def wait(self, approval_id: str, timeout: float | None = None) -> Flow[Approval]:
        """The approval once it is not pending any more, or as it is after ``timeout`` seconds.

        Whichever process answers it. None: until it has an answer or has expired. As long as
        somebody waits `recover_pending` leaves it alone. Raises `ClosedError` if the store is
        closed meanwhile.
        """
        at = self._place(approval_id)
        return (yield from waited(at.id, seconds_of(timeout), self._settings))

    # -- reading -----------------------------------------------------------------------------

    @reading
    def get(self, approval_id: str) -> Work[Approval]:
        """The approval as it is now; `NotFoundError`."""
        at = self._place(approval_id)

        def work(_: Bumps) -> Plan[Approval]:
            return approval_of((yield from rows.get(at)), at.now)

        return work

    @reading
    def find(self, approval_id: str) -> Work[Approval | None]:
        """The approval as it is now, or None."""
        at = self._place_or_none(approval_id)

        def work(_: Bumps) -> Plan[Approval | None]:
            row = None if at is None else (yield from rows.find(at))
            return None if row is None or at is None else approval_of(row, at.now)

        return work

    @reading
    def audit(self, approval_id: str) -> Work[Sequence[ApprovalStep]]:
        """Every step of an approval, the first one first; `NotFoundError`."""
        at = self._place(approval_id)

        def work(_: Bumps) -> Plan[Sequence[ApprovalStep]]:
            row = yield from rows.get(at)
            found = yield APPROVALS.audit(part=row.part, uid=row.uid, id=row.id)
            return [rows.step_of(row.id, columns) for columns in found]

        return work

    @reading
    def list(
        self,
        *,
        status: ApprovalStatus | None = None,
        app: str | AllType = "",
        user: str | AllType = ALL,
        session: SessionKey | None = None,
        thread: str | None = None,
        run_id: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Work[Page[Approval]]:
        """A page of approvals, the newest first: of an app, or of one user or session.

        ``app=ALL``: of the whole tenant. What is past its ``expires_at`` is ``expired``, and
        neither ``pending`` nor ``approved``.
        """
        settings, now = self._settings, self._settings.clock()
        size = check_limit(limit, settings.limits.records)
        at = (
            None if session is None else target(settings.tenant, session, settings.limits.text, now)
        )
        owner, where = self._owner(app, user) if at is None else ("user", {"part": at.part})
        values: dict[str, Any] = {
            **where, "tenant": settings.tenant, "now": now, "limit": size + 1, "status": status,
            "thread_id": _text_or_none(thread, "thread", settings.limits.text), "uid": None,
            "run_id": _text_or_none(run_id, "run_id", settings.limits.text),
        }  # fmt: skip
        if cursor is not None:
            values["after_at"], values["after_id"] = unpack(cursor, "approvals", int, str)
        query = APPROVALS.pick("list", owner, _what(status), "next" if cursor else "first")

        def work(_: Bumps) -> Plan[Page[Approval]]:
            if at is not None:
                values["uid"] = (yield from get_session(at)).uid
            found = yield query.among(values)
            items = [rows.Row._make(columns) for columns in found[:size]]
            more = None
            if len(found) > size:
                more = pack("approvals", items[-1].created_at, items[-1].id)
            return Page([approval_of(row, now) for row in items], more)

        return work

    @stream
    def iter(
        self,
        *,
        status: ApprovalStatus | None = None,
        app: str | AllType = "",
        user: str | AllType = ALL,
        session: SessionKey | None = None,
        thread: str | None = None,
        run_id: str | None = None,
    ) -> Stream[Approval]:
        """Every approval that `list` would give, page after page."""
        return paged(
            lambda cursor: run(
                Approvals.list.of(
                    self, status=status, app=app, user=user, session=session, thread=thread,
                    run_id=run_id, cursor=cursor, limit=200,
                )
            )
        )  # fmt: skip

    # -- after a restart ---------------------------------------------------------------------

    @flow
    def recover_pending(
        self, *, max_age: timedelta | None = None, app: str | AllType = ALL
    ) -> Flow[RecoveredApprovals]:
        """What is pending in the tenant, or an app of it, with no living process that waits for it.

        What was asked for longer ago than ``max_age`` is expired; the rest can be waited for
        again. What another process waits for is left alone, and so is what it answers meanwhile.
        """
        oldest = None if max_age is None else span(max_age, "max_age")
        of = None if app is ALL else check_text(app, "app", self._settings.limits.text)
        return (yield from recovered(self._settings, oldest, of))

    # -- what is remembered ------------------------------------------------------------------

    @reading
    def remembered(
        self,
        *,
        app: str | AllType = "",
        user: str | AllType = ALL,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Work[Page[RememberedApproval]]:
        """A page of the approvals that count for later calls now, in no order that means anything.

        Of an app, with ``app=ALL`` of the tenant, or of one user.
        """
        settings, now = self._settings, self._settings.clock()
        size = check_limit(limit, settings.limits.records)
        start = ["", "", ""] if cursor is None else unpack(cursor, "remembered", str, str, str)
        owner, where = self._owner(app, user)
        query = APPROVALS.pick("remembered", "user" if owner == "user" else "tenant")
        values = {
            **where, "tenant": settings.tenant, "app": None if app is ALL else app, "now": now,
            "limit": size + 1, "after_part": start[0], "after_uid": start[1],
            "after_digest": start[2],
        }  # fmt: skip

        def work(_: Bumps) -> Plan[Page[RememberedApproval]]:
            found = yield query.among(values)
            more = pack("remembered", *found[size - 1][:3]) if len(found) > size else None
            return Page([rows.remembered_of(columns) for columns in found[:size]], more)

        return work

    @operation
    def forget(self, remembered_id: str) -> Work[bool]:
        """Let a remembered approval count no more; whether it did until now."""
        settings = self._settings
        now = settings.clock()
        at = rows.place_of(remembered_id, settings.tenant, settings.limits, now, "rem")
        digest = at.id.removeprefix(f"rem_{at.part}")

        def work(_: Bumps) -> Plan[bool]:
            found = yield APPROVALS.forget(part=at.part, digest=digest, tenant=at.tenant)
            return any(until > now for (until,) in found)

        return work

    # -- checks ------------------------------------------------------------------------------

    def _place(self, approval_id: str) -> Place:
        settings = self._settings
        return rows.place_of(approval_id, settings.tenant, settings.limits, settings.clock())

    def _place_or_none(self, approval_id: str) -> Place | None:
        try:
            return self._place(approval_id)
        except LookupError:
            return None

    def _owner(self, app: str | AllType, user: str | AllType) -> tuple[str, dict[str, Any]]:
        settings = self._settings
        if app is ALL:
            if user is not ALL:
                raise InvalidError(f"user {user!r} of which app? name it, or leave out user", "app")
            return "tenant", {}
        found = place(settings.tenant, app, "" if user is ALL else user, settings.limits.text)
        return ("app" if user is ALL else "user"), found._asdict()

    def _resolve(
        self,
        approval_id: str,
        decision: Decision,
        by: str | Principal,
        feedback: str,
        edited_args: JSON,
        remember: timedelta | None,
        same_args: bool,
    ) -> Flow[Approval]:
        settings = self._settings
        given = NewResolution(approval_id, decision, feedback=feedback, edited_args=edited_args)
        who = principal(by, settings.limits.text)
        answer = answer_of(given, who.id, remember, same_args, settings)
        found = yield from run(Approvals.get.of(self, approval_id))
        yield from refuse_unless_allowed(who, found, settings.can_resolve)
        if remember is not None and not (found.thread_id and found.kind == "tool"):
            message = f"approval {found.id!r} has no thread, or is no call: it cannot be remembered"
            raise InvalidError(message, "remember")
        at, telling = self._place(approval_id), notes(settings)

        def work(_: Bumps) -> Plan[Approval]:
            return approval_of((yield from rows.resolve(at, answer, telling)), at.now)

        # By its name those who subscribe hear of it.
        return (
            yield from run(Operation("approvals.resolve", (at.id,), {}, work, of_session=False))
        )

    @reading
    def _pending(self, approval_id: str) -> Work[Approval]:
        at = self._place(approval_id)

        def work(_: Bumps) -> Plan[Approval]:
            return approval_of((yield from rows.pending(at)), at.now)

        return work

    @flow
    def _tried(self, given: NewResolution, *, by: str | Principal) -> Flow[Approval]:
        """What is pending, if `resolve` would take the answer; raises as that does otherwise."""
        settings = self._settings
        who = principal(by, settings.limits.text)
        answer_of(given, who.id, None, True, settings)
        found = yield from run(Approvals.get.of(self, given.approval_id))
        yield from refuse_unless_allowed(who, found, settings.can_resolve)
        return (yield from run(Approvals._pending.of(self, given.approval_id)))


def _what(status: object) -> str:
    if status is None:
        return "every"
    if status not in _STATUSES:
        raise InvalidError(f"status is one of {list(_STATUSES)}, not {status!r}", "status")
    return str(status) if status in {"pending", "approved", "expired"} else "closed"


def _text_or_none(value: str | None, what: str, limit: int) -> str | None:
    return None if value is None else check_text(value, what, limit)
