"""A message-level view in the manner of DivineSense's session service: contexts to recover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from perdure.errors import ConflictError, InvalidError
from perdure.features import describing
from perdure.features.contexts import in_chat
from perdure.features.drafts import Draft, EventRow, check_batch, draft
from perdure.features.events import Events
from perdure.features.holds import is_held
from perdure.features.line import holds, runs
from perdure.features.lives import delete
from perdure.features.lookup import SESSIONS, SessionRow, Target, claim, find, get, hold, target
from perdure.features.outbox import notes
from perdure.features.pruning import with_calls
from perdure.features.reading import Filter, positive
from perdure.features.sessions import Sessions
from perdure.features.spoken import as_event, last_said, owner, spoken
from perdure.operation import (
    Bumps,
    Composed,
    Do,
    Feature,
    Flow,
    M,
    Operation,
    Plan,
    Runner,
    Settings,
    Work,
    flow,
    operation,
    reading,
    run,
)
from perdure.records import (
    ALL,
    JSON,
    Appended,
    ConversationContext,
    Marker,
    Message,
    SessionKey,
    SessionSummary,
)
from perdure.values import check_text, decode, from_micros

T = TypeVar("T")

User = str | int
MessageInput = Message | Mapping[str, JSON]
_DAY = 86_400_000_000
_PAGE = 200


class RecoveryView(Feature[M]):
    """`store.recovery(app)`: whole conversations, loaded and saved, each of one user.

    ``window`` limits how many messages are read with a context, and not how many are kept. A
    user may be a number; it is written as its digits.
    """

    name = "recovery"

    def __init__(self, runner: Runner, settings: Settings, app: str, *, window: int = 20) -> None:
        super().__init__(runner, settings)
        self._app = check_text(app, "app", settings.limits.text)
        if positive(window, "window", least=1) is None:
            raise InvalidError("window must be a number, 1 or more, not None", "window")
        self._window = window
        self._events: Events[Any] = Events(runner, settings)
        self._sessions: Sessions[Any] = Sessions(runner, settings)

    def _key(self, user: User, session_id: str) -> SessionKey:
        return SessionKey(self._app, owner(user), session_id)

    def _at(self, user: User, session_id: str) -> Target:
        settings = self._settings
        key = self._key(user, session_id)
        return target(settings.tenant, key, settings.limits.text, settings.clock())

    # -- whole contexts ----------------------------------------------------------------------

    @reading
    def load_context(self, user: User, session_id: str) -> Work[ConversationContext | None]:
        """The conversation with its last messages, or None."""
        at = self._at(user, session_id)

        def work(_: Bumps) -> Plan[ConversationContext | None]:
            row = yield from find(at)
            return (yield from self._context(row)) if row else None

        return work

    @operation
    def recover_session(
        self, user: User, session_id: str, agent_type: str = ""
    ) -> Work[ConversationContext]:
        """The conversation, stored if it is new, so that the next append finds it."""
        at = self._at(user, session_id)
        make = Sessions.get_or_create.of(self._sessions, *at.key, agent_type=agent_type)

        def work(_: Bumps, do: Do) -> Plan[ConversationContext]:
            yield from do(make)
            return (yield from self._context((yield from get(at))))

        return Composed(work)

    @operation
    def save_context(
        self,
        user: User,
        session_id: str,
        context: ConversationContext,
        *,
        expected_version: int | None = None,
    ) -> Work[ConversationContext]:
        """Store the conversation as it stands in the context; what is stored then.

        Its messages take the place of all that follow its ``after_seq``: of a context that was
        loaded, the older ones which its window left out stay. Messages that are unchanged stay
        as they are. The metadata and the type of agent are replaced. One transaction. With
        ``expected_version`` (a context has its ``version``) it is `StaleSessionError` if
        somebody else has written since; `ConflictError` if ``after_seq`` is not there any more.
        """
        at = self._at(user, session_id)
        if not isinstance(context, ConversationContext):
            raise InvalidError(f"context must be a ConversationContext, not {context!r}", "context")
        expected = positive(expected_version, "expected_version")
        positive(context.after_seq, "context.after_seq")
        given = [_fields(message) for message in context.messages]
        drafts = [draft(as_event(one), self._settings, at.now) for one in given]
        check_batch(drafts, self._settings.limits)
        change = describing.change(
            self._settings.limits, None, None, context.agent_type, None, context.metadata, None
        )
        make = Sessions.get_or_create.of(self._sessions, *at.key)

        def work(bumps: Bumps, do: Do) -> Plan[ConversationContext]:
            if expected is None:
                yield from do(make)
            row = yield from hold(at, expected, bumps)
            yield from self._put(at, row, context.after_seq, given, drafts, do)
            row = yield from claim(at, None, bumps)
            gone = decode(row.metadata, "metadata").keys() - change.metadata.keys()
            yield from describing.apply(row, change._replace(removed=sorted(gone)), at.now)
            return (yield from self._context((yield from get(at))))

        return Composed(work)

    def _context(self, row: SessionRow) -> Plan[ConversationContext]:
        rows = yield from last_said(row, Filter(), self._window)
        if rows:
            low = yield from with_calls(row, rows[0].seq)
            rows = rows if low == rows[0].seq else (yield from spoken(row, low))
        return ConversationContext(
            session_id=row.id,
            user_id=row.user_id,
            agent_type=row.agent_type,
            messages=_messages(rows),
            metadata=decode(row.metadata, "metadata"),
            created_at=from_micros(row.created_at),
            updated_at=from_micros(row.updated_at),
            version=row.version,
            after_seq=max(rows[0].prev, 0) if rows else row.head,
        )

    def _put(
        self,
        at: Target,
        row: SessionRow,
        after_seq: int,
        given: Sequence[dict[str, JSON]],
        drafts: Sequence[Draft],
        do: Do,
    ) -> Plan[None]:
        """Leave what is the same at the beginning, and replace what follows it."""
        line = yield from runs(row.part, row.uid, row.head)
        if after_seq and not holds(line, after_seq):
            raise ConflictError(
                f"session {row.id!r} has no event {after_seq} on its active line any more: its "
                "history was changed, load the context again"
            )
        stored = yield from spoken(row, after_seq + 1)
        same, kept = _in_common(stored, given)
        if same < len(stored):
            last = stored[same - 1].seq if same else after_seq
            yield from do(self._replacing(at, last, drafts[kept:]))
        elif kept < len(given):
            yield from do(self._replacing(at, row.head, drafts[kept:]))

    def _replacing(self, at: Target, seq: int, drafts: Sequence[Draft]) -> Operation[Appended]:
        def work(bumps: Bumps) -> Plan[Appended]:
            return (yield from self._events._replace(at, seq, drafts, None, bumps))

        return Operation("events.replace_suffix", (at.key,), {}, work)

    # -- lists and life ----------------------------------------------------------------------

    @flow
    def list_sessions(self, user: User, limit: int | None = 50) -> Flow[list[SessionSummary]]:
        """The user's sessions, the last changed first; None gives all of them, 0 none."""
        positive(limit, "limit")
        found: list[SessionSummary] = []
        cursor = None
        while limit is None or len(found) < limit:
            size = _PAGE if limit is None else min(_PAGE, limit - len(found))
            page = yield from run(
                Sessions.list.of(self._sessions, self._app, owner(user), cursor=cursor, limit=size)
            )
            found += [
                SessionSummary(one.id, one.agent_type, one.preview, one.updated_at)
                for one in page.items
            ]
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    @operation
    def delete_session(self, user: User, session_id: str) -> Work[bool]:
        """Delete the conversation; whether there was one. `sessions.restore` brings it back."""
        return _as(Sessions.delete.of(self._sessions, self._key(user, session_id)))

    @flow
    def cleanup_expired(self, retention_days: int) -> Flow[int]:
        """Delete the app's sessions that nobody has written to for so many days; how many.

        Of every user, in small transactions. 0 and less are refused.
        """
        positive(retention_days, "retention_days", least=1)
        now = self._settings.clock()
        before = now - retention_days * _DAY
        count = 0
        cursor = None
        while True:
            # On from there, and not from the start: what is held is still there.
            page = yield from run(
                Sessions.list.of(
                    self._sessions, self._app, ALL, order="updated_at", cursor=cursor, limit=_PAGE
                )
            )
            old = [one for one in page.items if one.updated_at < from_micros(before)]
            for one in old:
                count += yield from run(self._expire(one.key, before))
            cursor = page.next_cursor
            if not old or cursor is None:
                return count

    def _expire(self, key: SessionKey, before: int) -> Operation[bool]:
        at = self._at(key.user, key.id)
        telling = notes(self._settings)

        def work(_: Bumps) -> Plan[bool]:
            found = yield SESSIONS.hold(
                part=at.part, id=at.key.id, now=at.now, expected=None, fence=None
            )
            # Written to since it was listed: it is not old any more.
            if not found or SessionRow._make(found[0]).updated_at >= before:
                return False
            row = SessionRow._make(found[0])
            if (yield from is_held(row.part, row.uid)):
                return False
            yield from delete(row, False, True, self._settings, at.now, telling)
            return True

        deleting = Operation("sessions.delete", (key,), {}, work)
        return Operation("recovery.cleanup_expired", (key,), {}, _as(deleting))

    # -- messages ----------------------------------------------------------------------------

    @operation
    def append_message(self, user: User, session_id: str, message: MessageInput) -> Work[int]:
        """Add one message; its seq. `NotFoundError` for an unknown session: recover it first."""
        event = as_event(_fields(message))
        append = Events.append.of(self._events, self._key(user, session_id), event)

        def work(_: Bumps, do: Do) -> Plan[int]:
            return (yield from do(append)).event.seq

        return Composed(work)

    @operation
    def append_turn(
        self,
        user: User,
        session_id: str,
        user_msg: str,
        assistant_msg: str,
        agent_type: str = "",
    ) -> Work[int]:
        """Add what the user said and what was answered, in one transaction; the last seq.

        The session's type of agent is set if one is given.
        """
        key = self._key(user, session_id)
        said = [
            as_event({"role": "user", "content": user_msg}),
            as_event({"role": "assistant", "content": assistant_msg}),
        ]
        append = Events.append.of(self._events, key, *said)
        update = Sessions.update.of(self._sessions, key, agent_type=agent_type)

        def work(_: Bumps, do: Do) -> Plan[int]:
            done = yield from do(append)
            if agent_type:
                yield from do(update)
            return done.event.seq

        return Composed(work)

    @reading
    def get_recent_messages(
        self, user: User, session_id: str, n: int | None = None
    ) -> Work[list[Message]]:
        """The last ``n`` messages, oldest first; None gives all. [] for an unknown session."""
        at = self._at(user, session_id)
        positive(n, "n")

        def work(_: Bumps) -> Plan[list[Message]]:
            row = yield from find(at)
            if row is None or n == 0:
                return []
            rows = yield from (spoken(row, 1) if n is None else last_said(row, Filter(), n))
            return _messages(rows)

        return work

    @operation
    def clear_messages(self, user: User, session_id: str) -> Work[int]:
        """Remove all messages for good, and the summaries; metadata stays. How many events."""
        return _as(Events.clear.of(self._events, self._key(user, session_id)))

    @operation
    def update_metadata(
        self, user: User, session_id: str, key: str, value: JSON | Marker
    ) -> Work[None]:
        """Set one key of the metadata, or remove it with `DELETE`."""
        where = self._key(user, session_id)
        update = Sessions.update.of(self._sessions, where, metadata={key: value})

        def work(_: Bumps, do: Do) -> Plan[None]:
            yield from do(update)

        return Composed(work)


def _as(op: Operation[T]) -> Work[T]:
    """The work of an operation that goes by another name here."""

    def work(_: Bumps, do: Do) -> Plan[T]:
        return (yield from do(op))

    return Composed(work)


def _fields(message: MessageInput) -> dict[str, JSON]:
    if isinstance(message, Message):
        return {"role": message.role, "content": message.content, **message.fields}
    if not isinstance(message, Mapping):
        raise InvalidError(f"a message is a Message or a mapping, not {message!r}", "message")
    return dict(message)


def _messages(rows: Sequence[EventRow]) -> list[Message]:
    return [_message(one) for one in in_chat(rows)]


def _message(chat: Mapping[str, JSON]) -> Message:
    rest = {name: value for name, value in chat.items() if name not in {"role", "content"}}
    return Message(chat.get("role", ""), chat.get("content"), rest)


def _in_common(stored: Sequence[EventRow], given: Sequence[dict[str, JSON]]) -> tuple[int, int]:
    """How many of the stored, and of the given, say the same from the beginning."""
    kept = 0
    for index, row in enumerate(stored):
        # As a message without content and one with None mean the same.
        there = [_fields(one) for one in _messages([row])]
        here = [_fields(_message(one)) for one in given[kept : kept + len(there)]]
        if there != here:
            return index, kept
        kept += len(there)
    return len(stored), kept
