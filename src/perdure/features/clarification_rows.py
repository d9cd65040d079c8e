"""Questions to people as rows: what is asked for, what is stored, what comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple, cast

from perdure.errors import ConflictError, InvalidError, NotFoundError, TooLargeError
from perdure.features.describing import span
from perdure.features.fulltext import Doc, document, index, reindex_alone
from perdure.features.hooks import passed
from perdure.features.indexed_texts import CLARIFICATIONS as INDEXED
from perdure.features.indexed_texts import block_of, clarification_text
from perdure.features.lookup import Target, hold, target
from perdure.features.outbox import Notes
from perdure.operation import Bumps, Plan, Settings, Statement
from perdure.parts import Place, place
from perdure.records import (
    Clarification,
    ClarificationStatus,
    NewClarification,
    SessionKey,
    UserScope,
)
from perdure.sql import load
from perdure.values import check_text, decode, digest, encode_trusted, from_micros, maybe

CLARIFICATIONS = load("perdure.features", "clarifications.sql")

STATES = ("pending", "answered", "expired", "cancelled")
_PREFIX = "clr_"
_PART = 32
_LONGEST_ID = 1024
_MOST_OPTIONS = 100


class ClarificationRow(NamedTuple):
    """A row of the table, in the order of `columns` in clarifications.sql."""

    part: str
    uid: str
    id: str
    tenant: str
    app: str
    user_id: str
    app_part: str
    session_id: str
    digest: str
    question: str
    context: str
    options: str
    sender_context: str
    status: str
    answer: str | None
    answered_by: str
    created_at: int
    answered_at: int | None
    expires_at: int | None

    def seen(self, now: int) -> Clarification:
        """The record at that time: what its time is over for has expired, noted or not."""
        over = self.status == "pending" and self.expires_at is not None and self.expires_at <= now
        status = "expired" if over else self.status
        ended = self.expires_at if over else self.answered_at
        session = SessionKey(self.app, self.user_id, self.session_id) if self.uid else None
        return Clarification(
            id=self.id,
            app=self.app,
            user=self.user_id,
            session=session,
            question=self.question,
            context=self.context,
            options=tuple(decode(self.options, f"clarification {self.id}")),
            sender_context=self.sender_context,
            status=cast("ClarificationStatus", status),
            answer=self.answer,
            answered_by=self.answered_by,
            created_at=from_micros(self.created_at),
            answered_at=maybe(from_micros, ended),
            expires_at=maybe(from_micros, self.expires_at),
        )


class Where(NamedTuple):
    """A question that is asked for by its id alone, and the time of the call."""

    part: str
    id: str
    tenant: str
    now: int


class Whose(NamedTuple):
    """Who asks: a session, or a person without one."""

    part: str
    app_part: str
    of: SessionKey | UserScope
    at: Target | None
    now: int


# -- checks ----------------------------------------------------------------------------------


def where(settings: Settings, clarification_id: str) -> Where:
    """Where the question of that id is, if it is one: the id says in which part."""
    checked = check_text(clarification_id, "id", _LONGEST_ID, blank=False)
    part = checked.removeprefix(_PREFIX)[:_PART] if checked.startswith(_PREFIX) else ""
    return Where(part, checked, settings.tenant, settings.clock())


def whose(settings: Settings, of: SessionKey | UserScope) -> Whose:
    """The checked scope; `InvalidError`."""
    now, limit = settings.clock(), settings.limits.text
    if isinstance(of, UserScope):
        return Whose(*place(settings.tenant, of.app, of.user, limit), of, None, now)
    if not isinstance(of, tuple):
        raise InvalidError(f"who asks is a SessionKey or a UserScope, not {of!r}", "of")
    at = target(settings.tenant, of, limit, now)
    return Whose(at.part, at.app_part, at.key, at, now)


def text_of(value: object, what: str, settings: Settings, *, blank: bool = True) -> str:
    """A text as long as an event may be."""
    limit = settings.limits.event
    if isinstance(value, str) and len(value.encode("utf-8", "surrogatepass")) > limit:
        message = f"{what} is longer than {limit} bytes, the limit 'event'"
        raise TooLargeError(message, "event", what)
    return check_text(value, what, limit, blank=blank)


def _options(options: Sequence[str], settings: Settings) -> str:
    if isinstance(options, str) or not isinstance(options, Sequence):
        raise InvalidError(f"options is a list of texts, not {options!r}", "options")
    if len(options) > _MOST_OPTIONS:
        message = f"there are {len(options)} options, at most {_MOST_OPTIONS} can be shown"
        raise TooLargeError(message, "options", "options")
    limit = settings.limits.text
    checked = [check_text(one, "an option", limit, blank=False) for one in options]
    if len(set(checked)) < len(checked):
        raise InvalidError(f"an option stands twice in {checked!r}", "options")
    return encode_trusted(checked)


def question_digest(question: str) -> str:
    """What a pending question is recognised by."""
    return digest("question", question)


def draft(
    given: NewClarification, who: Whose, ttl: timedelta | None, settings: Settings
) -> ClarificationRow:
    """The checked row of a new question; of a session the plan adds the uid."""
    given = passed(given, settings)
    question = text_of(given.question, "question", settings, blank=False)
    return ClarificationRow(
        part=who.part,
        uid="",
        id=f"{_PREFIX}{who.part}{settings.ids()}",
        tenant=settings.tenant,
        app=who.of.app,
        user_id=who.of.user,
        app_part=who.app_part,
        session_id=who.at.key.id if who.at else "",
        digest=question_digest(question),
        question=question,
        context=text_of(given.context, "context", settings),
        options=_options(given.options, settings),
        sender_context=text_of(given.sender_context, "sender_context", settings),
        status="pending",
        answer=None,
        answered_by="",
        created_at=who.now,
        answered_at=None,
        expires_at=None if ttl is None else who.now + span(ttl, "ttl"),
    )


# -- plans -----------------------------------------------------------------------------------


def find(at: Where) -> Plan[ClarificationRow | None]:
    """The row, or None: also for the question of a session that is deleted or has expired."""
    rows = yield CLARIFICATIONS.find(**at._asdict())
    return ClarificationRow._make(rows[0]) if rows else None


def get(at: Where) -> Plan[ClarificationRow]:
    """The row; `NotFoundError`."""
    row = yield from find(at)
    if row is None:
        raise NotFoundError(f"no clarification {at.id!r}: it is unknown, or went with its session")
    return row


def pending(part: str, uid: str, digest_: str, now: int) -> Plan[ClarificationRow | None]:
    """The pending one with that question; what stands in its way has expired, and is ended."""
    rows = yield CLARIFICATIONS.asked(part=part, uid=uid, digest=digest_)
    if not rows:
        return None
    row = ClarificationRow._make(rows[0])
    if (yield CLARIFICATIONS.end_expired(part=part, id=row.id, now=now)):
        return None
    return row


def ask(
    new: ClarificationRow, doc: Doc, who: Whose, telling: Notes, bumps: Bumps
) -> Plan[ClarificationRow]:
    """The question, stored unless it is pending already."""
    if who.at is not None:
        # Held, so that it is not deleted, nor asked the same, at this moment.
        new = new._replace(uid=(yield from hold(who.at, None, bumps)).uid)
    there = yield from pending(new.part, new.uid, new.digest, who.now)
    if there is not None:
        return there
    if not (yield CLARIFICATIONS.insert(**new._asdict())):
        # This very call has stored it before, and was not told.
        return (yield from get(Where(new.part, new.id, new.tenant, who.now)))
    where = Place(new.part, new.app_part)
    yield from index(where, INDEXED, [doc], block=block_of(new.id), uid=new.uid)
    yield from tell(telling, "clarification.asked", new)
    return new


def document_of(row: ClarificationRow) -> Doc:
    """What a search finds it by."""
    text = clarification_text(row.question, row.context, row.options, row.answer)
    return document(row.id, text)


def finish(at: Where, status: str, answer: str | None, by: str) -> Plan[ClarificationRow | None]:
    """Bring a pending question to its end; None if it is not pending any more."""
    rows = yield CLARIFICATIONS.finish(**at._asdict(), status=status, answer=answer, answered_by=by)
    if not rows:
        return None
    row = ClarificationRow._make(rows[0])
    if answer:
        where, block = Place(row.part, row.app_part), block_of(row.id)
        yield from reindex_alone(where, INDEXED, document_of(row), block=block, uid=row.uid)
    return row


def tell(telling: Notes, kind: str, row: ClarificationRow) -> Plan[None]:
    """Note for webhooks what happened, and nothing that was said."""
    session = {"session": row.session_id} if row.uid else {}
    yield from telling.tell(row.part, kind, app=row.app, user=row.user_id, **session, id=row.id)


def conflict(row: ClarificationRow, now: int, what: str) -> ConflictError:
    """The error for what can only be done with a pending question."""
    found = row.seen(now)
    who = f" by {found.answered_by!r}" if found.answered_by else ""
    when = f" at {found.answered_at.isoformat()}" if found.answered_at else ""
    return ConflictError(
        f"clarification {row.id!r} was {found.status}{who}{when}: it cannot be {what} any more"
    )


# -- who waits -------------------------------------------------------------------------------


def held(at: Where) -> Statement:
    """What takes the row while it is pending."""
    return CLARIFICATIONS.hold(part=at.part, id=at.id, tenant=at.tenant)


def lease_name(clarification_id: str) -> Callable[[str], str]:
    """The name of the lease of each who waits; for ``""`` what all of them begin with."""
    named = digest("wait", clarification_id)
    return lambda waiter: f"clarification {named} {waiter}"


def is_waited_for(at: Where) -> Plan[bool]:
    """Whether some live process waits for the answer."""
    low = lease_name(at.id)("")
    rows = yield CLARIFICATIONS.waiters(
        part=at.part, from_name=low, to_name=f"{low[:-1]}!", now=at.now
    )
    return bool(rows)


def recover(at: Where, before: int | None) -> Plan[tuple[str, ClarificationRow | None]]:
    """What is to become of a question after a restart, and the row as it is then."""
    is_held = yield held(at)
    row = yield from find(at)
    if not is_held or row is None or row.seen(at.now).status != "pending":
        return "", row
    if (yield from is_waited_for(at)):
        return "waited_for", row
    if before is not None and row.created_at <= before:
        return "expired", (yield from finish(at, "expired", None, ""))
    return "pending", row


def overdue(tenant: str, now: int, limit: int) -> Plan[list[tuple[str, str]]]:
    """Part and id of some whose time is over, and whose end nobody has noted."""
    rows = yield CLARIFICATIONS.overdue(tenant=tenant, now=now, limit=limit)
    return [(part, one) for part, one in rows]


def end_all(found: Sequence[tuple[str, str]], now: int) -> Plan[list[ClarificationRow]]:
    """Note their end: those that nobody else has ended in the meantime."""
    ended = []
    for part, one in sorted(found):
        rows = yield CLARIFICATIONS.end_expired(part=part, id=one, now=now)
        ended += [ClarificationRow._make(row) for row in rows]
    return ended
