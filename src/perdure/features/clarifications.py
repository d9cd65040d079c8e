"""Clarifications: what an agent asks a person, and waits for, over processes and restarts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from perdure.errors import InvalidError
from perdure.features import clarification_rows as rows
from perdure.features.clarification_rows import CLARIFICATIONS, STATES, ClarificationRow
from perdure.features.cursors import check_limit, pack, paged, unpack
from perdure.features.hooks import passed
from perdure.features.listing import scope_of
from perdure.features.lookup import find as find_session
from perdure.features.outbox import notes
from perdure.features.waiting import Awaited, ended, seconds_of
from perdure.operation import (
    Bumps,
    Feature,
    Flow,
    M,
    Noted,
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
from perdure.records import (
    ALL,
    AllType,
    Clarification,
    ClarificationStatus,
    NewAnswer,
    NewClarification,
    Page,
    RecoveredClarifications,
    SessionKey,
    UserScope,
)
from perdure.values import check_text, from_micros

_KIND = "clarifications"
_BATCH = 100
_NO_FILTER = ("", "")


class _Filter(NamedTuple):
    """Which are listed: the choices of the statement, and its parameters."""

    scope: str
    state: str
    owner: str
    session: rows.Whose | None
    now: int


class Clarifications(Feature[M]):
    """`store.clarifications`: questions to people, each answered at most once.

    Who asks is a session, or with a `UserScope` a person's agent outside of any. The questions of
    a session go with it, and are not there while it is deleted. An id is enough to find one
    within the tenant; that of another tenant is not there.
    """

    name = _KIND

    # -- asking and answering ----------------------------------------------------------------

    @operation
    def ask(
        self,
        of: SessionKey | UserScope,
        question: str,
        *,
        context: str = "",
        options: Sequence[str] = (),
        sender_context: str = "",
        ttl: timedelta | None = None,
    ) -> Work[Clarification]:
        """The question as it is stored, pending; or the same one that is pending already.

        The same is what has the same text and is asked by the same session, or by the same
        person outside of sessions; then nothing else is looked at, and nothing is changed.
        ``options``: up to 100 choices to be shown; an answer need not be one of them. ``ttl``:
        how long it can be answered (None: for ever). `NotFoundError` for an unknown session.
        """
        settings = self._settings
        who = rows.whose(settings, of)
        given = NewClarification(who.of, question, context, options, sender_context)
        new = rows.draft(given, who, ttl, settings)
        doc, telling = rows.document_of(new), notes(settings)

        def work(bumps: Bumps) -> Plan[Clarification]:
            return (yield from rows.ask(new, doc, who, telling, bumps)).seen(who.now)

        return Noted(work, new.id)

    @operation
    def answer(self, id: str, answer: str, *, by: str = "") -> Work[Clarification]:
        """The question with its answer, which may be empty; only while it is pending.

        Of several who answer exactly one does; the others get `ConflictError`, as those do who
        come when it has expired or was cancelled. The same text by the same ``by`` once more is
        no error, and changes nothing: an acknowledgement may have been lost. `NotFoundError`.
        """
        settings = self._settings
        at = rows.where(settings, id)
        given = passed(NewAnswer(at.id, answer), settings).answer
        text = rows.text_of(given, "answer", settings)
        who = check_text(by, "by", settings.limits.text)
        telling = notes(settings)

        def work(_: Bumps) -> Plan[Clarification]:
            row = yield from rows.finish(at, "answered", text, who)
            if row is not None:
                yield from rows.tell(telling, "clarification.answered", row)
                return row.seen(at.now)
            row = yield from rows.get(at)
            if (row.status, row.answer, row.answered_by) != ("answered", text, who):
                raise rows.conflict(row, at.now, "answered")
            return row.seen(at.now)

        return Noted(work, from_micros(at.now))

    @operation
    def cancel(self, id: str, *, by: str = "") -> Work[Clarification]:
        """The question, cancelled: nobody can answer it any more, and who waits is told.

        Once more is no error. `ConflictError` if it was answered or has expired, `NotFoundError`.
        """
        at = rows.where(self._settings, id)
        who = check_text(by, "by", self._settings.limits.text)

        def work(_: Bumps) -> Plan[Clarification]:
            row = yield from rows.finish(at, "cancelled", None, who)
            if row is None:
                row = yield from rows.get(at)
                if row.status != "cancelled":
                    raise rows.conflict(row, at.now, "cancelled")
            return row.seen(at.now)

        return Noted(work, from_micros(at.now))

    # -- waiting -----------------------------------------------------------------------------

    @flow
    def wait(self, id: str, *, timeout: float | None = None) -> Flow[Clarification]:
        """The question once it is answered, has expired or was cancelled: see its ``status``.

        After ``timeout`` seconds (None: no end) the question as it is then, which may be pending;
        0 looks once. An answer from any process is seen within 100 ms on PostgreSQL, 250 ms
        elsewhere. It never makes an answer up: `ClosedError` when the store is closed,
        `NotFoundError` when the question is not there, or not any more. While it waits
        `recover_pending` of others leaves the question alone, and up to 10 s longer if the
        process or task that waits is ended from outside.
        """
        at = rows.where(self._settings, id)
        what = Awaited(
            at.part, at.id, lambda: run(self._looking(id)), rows.held(at), rows.lease_name(at.id)
        )
        return (yield from ended(what, seconds_of(timeout), self._settings))

    def _looking(self, id: str) -> Operation[Clarification]:
        at = rows.where(self._settings, id)

        def work(_: Bumps) -> Plan[Clarification]:
            return (yield from rows.get(at)).seen(at.now)

        return self._reading("wait", work)

    # -- reading -----------------------------------------------------------------------------

    @reading
    def get(self, id: str) -> Work[Clarification]:
        """The question of that id; `NotFoundError`."""
        at = rows.where(self._settings, id)

        def work(_: Bumps) -> Plan[Clarification]:
            return (yield from rows.get(at)).seen(at.now)

        return work

    @reading
    def find(self, id: str) -> Work[Clarification | None]:
        """The question of that id, or None."""
        at = rows.where(self._settings, id)

        def work(_: Bumps) -> Plan[Clarification | None]:
            row = yield from rows.find(at)
            return None if row is None else row.seen(at.now)

        return work

    @reading
    def find_pending(self, of: SessionKey | UserScope, question: str) -> Work[Clarification | None]:
        """The pending question with that text, of that session or person, or None."""
        who = rows.whose(self._settings, of)
        digest = rows.question_digest(rows.text_of(question, "question", self._settings))

        def work(_: Bumps) -> Plan[Clarification | None]:
            uid = yield from _uid(who)
            if uid is None:
                return None
            found = yield CLARIFICATIONS.asked(part=who.part, uid=uid, digest=digest)
            seen = ClarificationRow._make(found[0]).seen(who.now) if found else None
            return seen if seen is not None and seen.status == "pending" else None

        return work

    @reading
    def list(
        self,
        app: str | AllType = ALL,
        user: str | AllType = ALL,
        *,
        session: SessionKey | None = None,
        status: ClarificationStatus | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Work[Page[Clarification]]:
        """A page of questions, the newest first; at most 10,000.

        Of a user, of an app, or of the whole tenant; or of one ``session``. ``status`` (None: any)
        as it is now: what has expired is not pending, whether its end was noted or not.
        """
        wanted = self._filter(app, user, session, status)
        size = check_limit(limit, self._settings.limits.records)
        after = None if cursor is None else unpack(cursor, _KIND, int, str)

        def work(_: Bumps) -> Plan[Page[Clarification]]:
            found = yield from _page(wanted, after, size + 1)
            items = [row.seen(wanted.now) for row in found[:size]]
            if len(found) <= size:
                return Page(items, None)
            last = found[size - 1]
            return Page(items, pack(_KIND, last.created_at, last.id))

        return work

    @stream
    def iter(
        self,
        app: str | AllType = ALL,
        user: str | AllType = ALL,
        *,
        session: SessionKey | None = None,
        status: ClarificationStatus | None = None,
    ) -> Stream[Clarification]:
        """Every question that `list` gives, page after page."""
        return paged(
            lambda cursor: run(
                Clarifications.list.of(
                    self, app, user, session=session, status=status, cursor=cursor, limit=_BATCH
                )
            )
        )

    def _filter(
        self,
        app: str | AllType,
        user: str | AllType,
        session: SessionKey | None,
        status: str | None,
    ) -> _Filter:
        settings = self._settings
        if status is not None and status not in STATES:
            raise InvalidError(f"status is one of {STATES} or None, not {status!r}", "status")
        if session is None:
            scope, owner = scope_of(settings, app, user)
            return _Filter(scope, status or "any", owner, None, settings.clock())
        who = rows.whose(settings, session)
        if who.at is None or app not in {ALL, who.of.app} or user not in {ALL, who.of.user}:
            message = f"session {session!r} names its app and user: leave them out"
            raise InvalidError(message, "session")
        return _Filter("session", status or "any", who.part, who, who.now)

    # -- ends --------------------------------------------------------------------------------

    @flow
    def expire(self) -> Flow[int]:
        """Note the end of every question of the tenant whose time is over; how many these were.

        Nobody has to call it: what is over is over, whoever looks, and a sweep does the same. It
        makes the fact ``clarification.expired`` for those who subscribe.
        """
        return (yield from expire(self._settings.tenant, self._settings.clock()))

    @flow
    def recover_pending(
        self,
        *,
        max_age: timedelta | None = None,
        app: str | AllType = ALL,
        user: str | AllType = ALL,
    ) -> Flow[RecoveredClarifications]:
        """What is pending after a restart: yours to wait for, too old, or waited for by others.

        Ends those that were asked longer ago than ``max_age`` (None: none), unless another live
        process waits for them. Several processes may do it at once. Each in its own transaction.
        """
        before = None
        if max_age is not None:
            if not isinstance(max_age, timedelta) or max_age < timedelta(0):
                message = f"max_age must be a timedelta, 0 or more, or None, not {max_age!r}"
                raise InvalidError(message, "max_age")
            before = self._settings.clock() - max_age // timedelta(microseconds=1)
        found: dict[str, list[Clarification]] = {"pending": [], "expired": [], "waited_for": []}
        cursor = None
        while True:
            page = yield from run(self._open(app, user, cursor))
            for one in page.items:
                what, record = yield from run(self._recovering(one.id, before))
                if record is not None and what:
                    found[what].append(record)
            cursor = page.next_cursor
            if cursor is None:
                return RecoveredClarifications(**{k: tuple(v) for k, v in found.items()})

    def _open(
        self, app: str | AllType, user: str | AllType, cursor: str | None
    ) -> Operation[Page[Clarification]]:
        return Clarifications.list.of(
            self, app, user, status="pending", cursor=cursor, limit=_BATCH
        )

    def _recovering(
        self, id: str, before: int | None
    ) -> Operation[tuple[str, Clarification | None]]:
        at = rows.where(self._settings, id)

        def work(_: Bumps) -> Plan[tuple[str, Clarification | None]]:
            what, row = yield from rows.recover(at, before)
            return what, None if row is None else row.seen(at.now)

        return Operation("clarifications.recover_pending", (), {}, work)


def _uid(who: rows.Whose) -> Plan[str | None]:
    """What the rows hang on; None if there is no such session."""
    if who.at is None:
        return ""
    session = yield from find_session(who.at)
    return None if session is None else session.uid


def _page(wanted: _Filter, after: Sequence[Any] | None, limit: int) -> Plan[list[ClarificationRow]]:
    uid: str | None = ""
    if wanted.session is not None:
        uid = yield from _uid(wanted.session)
        if uid is None:
            return []
    start = "first" if after is None else "next"
    query = CLARIFICATIONS.pick("list", wanted.scope, wanted.state, start)
    moment, last = after or _NO_FILTER
    values = {
        "owner": wanted.owner, "uid": uid, "now": wanted.now, "after": moment, "after_id": last,
        "limit": limit,
    }  # fmt: skip
    found = yield query.among(values)
    return [ClarificationRow._make(row) for row in found]


def expire(tenant: str, now: int) -> Flow[int]:
    """Note the end of all that is overdue; how many these were."""
    total = 0
    while found := (yield from run(_overdue(tenant, now))):
        total += len((yield from run(_ending(found, now))))
    return total


def _overdue(tenant: str, now: int) -> Operation[list[tuple[str, str]]]:
    def work(_: Bumps) -> Plan[list[tuple[str, str]]]:
        return (yield from rows.overdue(tenant, now, _BATCH))

    return Operation("clarifications.overdue", (), {}, work, reads=True)


def _ending(found: Sequence[tuple[str, str]], now: int) -> Operation[list[Clarification]]:
    def work(_: Bumps) -> Plan[list[Clarification]]:
        return [row.seen(now) for row in (yield from rows.end_all(found, now))]

    return Operation("clarifications.expire", (), {}, work)
