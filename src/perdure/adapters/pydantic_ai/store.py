"""`PerdureConversationStore`: conversations of pydantic-ai in a perdure store."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationEntry,
    ConversationRecord,
    ConversationStore,
)

from perdure.adapters.pydantic_ai.entries import (
    SCOPE,
    changed,
    copy_of,
    entries_of,
    event_of,
    is_current,
    metadata_of,
    record_of,
    stored_record,
)
from perdure.adapters.service import Service
from perdure.errors import (
    AlreadyExistsError,
    InvalidError,
    NotFoundError,
    StaleSessionError,
    TooLargeError,
)
from perdure.records import Event, NewEvent, Session, SessionKey
from perdure.store import Store, SyncStore
from perdure.turns import AsyncTurn
from perdure.values import Limits

_BATCH = Limits().records
#: Conversations, and ends of lines, of which it is remembered where they stand.
_REMEMBERED = 4_096


class _Seen(NamedTuple):
    """A session as it was last seen."""

    version: int
    revision: str
    head_id: str | None
    head_seq: int
    last_seq: int


class _Run(NamedTuple):
    """Events that follow each other, the first one behind a seq."""

    after: int
    events: list[NewEvent]


class PerdureConversationStore(Service, ConversationStore):
    """A `ConversationStore` whose conversations are sessions, and whose entries are events.

    ``PerdureConversationStore(store)`` takes a `Store` or a `SyncStore`, which stays the caller's
    to close, or a URL, and closes what it has opened with `close` or ``async with``. A
    conversation is the session ``(app, user, conversation_id)``; ``user`` is whose these
    conversations are, for `erase_user`, and a store object for each person costs nothing. With a
    ``ttl`` a conversation expires that long after its last save.

    A fork is a session of its own, with copies of the events up to where it begins. Deleting a
    conversation takes its entries along, and none of a fork's.
    """

    def __init__(
        self,
        store: Store | SyncStore | str,
        *,
        app: str = "pydantic-ai",
        user: str = "",
        ttl: timedelta | None = None,
        soft_delete: bool = False,
    ) -> None:
        super().__init__(store)
        self._soft_delete = soft_delete
        self.app = app
        self.user = user
        self._ttl = ttl
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._places: OrderedDict[str, str] = OrderedDict()

    def session_key(self, conversation_id: str) -> SessionKey:
        """The session of the store that holds a conversation."""
        return SessionKey(self.app, self.user, conversation_id)

    # -- records -----------------------------------------------------------------------------

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """The record of a conversation, or None: one call of the store.

        A session of another framework has one as well.
        """
        session = await self.store.sessions.find(self.session_key(conversation_id))
        if session is None:
            self._seen.pop(conversation_id, None)
            return None
        return await self._record(session)

    async def _record(self, session: Session) -> ConversationRecord:
        record = stored_record(session) if is_current(session) else None
        if record is None:
            last = await self.store.events.read(session.key, recent=1) if session.head_seq else []
            record = record_of(session, last[0].id if last else None)
        self._remember(session, record)
        return record

    def _remember(self, session: Session, record: ConversationRecord) -> None:
        seen = _Seen(
            session.version, record.revision, record.head_id, session.head_seq, session.last_seq
        )
        _put(self._seen, session.id, seen)
        for end in (record.head_id, *record.branches):
            if end is not None:
                _put(self._places, end, session.id)

    async def read_records(
        self, *, scope: str | None = None, limit: int | None = None
    ) -> Sequence[ConversationRecord]:
        """The records, or those of a scope, newest first by the clock of the store."""
        wanted: dict[str, Any] = {} if scope is None else {"metadata": {SCOPE: scope}}
        sessions: list[Session] = []
        cursor: str | None = None
        while limit is None or len(sessions) < limit:
            size = _BATCH if limit is None else min(limit - len(sessions), _BATCH)
            page = await self.store.sessions.list(
                self.app, self.user, cursor=cursor, limit=size, **wanted
            )
            sessions += page
            cursor = page.next_cursor
            if cursor is None:
                break
        return [await self._record(session) for session in sessions]

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        """Store a record and its new entries, in one transaction, if the revision is as expected.

        `ConversationConflict` if it is not, or if the head, or what the entries follow, is not
        there.
        """
        pack = False
        while True:
            try:
                if expected_revision is None:
                    await self._create(record, new_entries, pack=pack)
                else:
                    await self._update(record, new_entries, expected_revision, pack=pack)
            except StaleSessionError:
                # Somebody has written to the session: another save, or a note of the core.
                self._seen.pop(record.conversation_id, None)
            except (AlreadyExistsError, NotFoundError) as error:
                raise ConversationConflict(record.conversation_id) from error
            except InvalidError as error:
                if pack or isinstance(error, TooLargeError):
                    raise
                pack = True
            else:
                return

    async def _create(
        self, record: ConversationRecord, entries: Sequence[ConversationEntry], *, pack: bool
    ) -> None:
        first = entries[0].parent_id if entries else record.head_id
        within = await self._within(first, record.forked_from) if first else []
        if within:
            entries, first = [*within, *entries], within[0].parent_id
        copied = await self._shared(record, first) if first else []
        places: dict[str | None, int] = {one.id: seq for seq, one in enumerate(copied, 1)}
        before = [copy_of(event) for event in copied]
        runs, head = _planned(record, entries, places, len(copied), pack=pack)
        key = self.session_key(record.conversation_id)
        async with self.store.turn() as turn:
            turn.sessions.create(
                *key, agent_type="pydantic-ai", ttl=self._ttl, metadata=metadata_of(record, head)
            )
            last = _append(turn, key, [_Run(0, before), *runs], 0, 0, None)
            if head != last:
                turn.events.rewind(key, head)
            # The session as it is at the end, for the next save.
            done = turn.sessions.update(key)
        self._remember(done.value, record)

    async def _shared(self, record: ConversationRecord, first: str) -> list[Event]:
        """What a new conversation has of another one: the line up to an entry."""
        try:
            return await self._line(first, None, hint=record.forked_from)
        except LookupError as error:
            raise ConversationConflict(record.conversation_id) from error

    async def _update(
        self,
        record: ConversationRecord,
        entries: Sequence[ConversationEntry],
        revision: str,
        *,
        pack: bool,
    ) -> None:
        key = self.session_key(record.conversation_id)
        seen = await self._current(record.conversation_id, revision)
        places = await self._seqs(key, seen, record, entries)
        for end in _ends(record, entries) - places.keys():
            within = await self._within(end, record.conversation_id)
            entries = [*within, *entries]
            places |= await self._seqs(key, seen, record, within)
        runs, head = _planned(record, entries, places, seen.last_seq, pack=pack)
        async with self.store.turn() as turn:
            last = _append(turn, key, runs, seen.head_seq, seen.last_seq, seen.version)
            if head != last:
                turn.events.rewind(key, head, expected_version=seen.version)
            done = turn.sessions.update(
                key, metadata=changed(metadata_of(record, head)), expected_version=seen.version
            )
        self._remember(done.value, record)

    async def _current(self, conversation_id: str, revision: str) -> _Seen:
        seen = self._seen.get(conversation_id)
        if seen is None or seen.revision != revision:
            await self.read_record(conversation_id)
            seen = self._seen.get(conversation_id)
        if seen is None or seen.revision != revision:
            raise ConversationConflict(conversation_id)
        return seen

    async def _seqs(
        self,
        key: SessionKey,
        seen: _Seen,
        record: ConversationRecord,
        entries: Sequence[ConversationEntry],
    ) -> dict[str | None, int]:
        """Where the stored entries are that the record and the new ones point at."""
        places: dict[str | None, int] = {}
        for entry_id in _ends(record, entries):
            if entry_id == seen.head_id:
                places[entry_id] = seen.head_seq
                continue
            event = await self.store.events.find(key, entry_id)
            if event is not None:
                places[entry_id] = event.seq
        return places

    async def _within(self, end: str, hint: str | None) -> list[ConversationEntry]:
        """The entries up to one that is not the last of its event: they are no events yet.

        Several messages that another framework has said in one are entries each. A history that
        ends between them has to have them for itself.
        """
        event_id = _event_of(end)
        if event_id is None:
            return []
        try:
            entries = entries_of(await self._line(event_id, None, hint=hint), None)
        except LookupError:
            return []
        return [one for one in _up_to_entry(entries, end) if _event_of(one.id) == event_id]

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """Delete a conversation with its entries; forks keep theirs.

        For good, or with ``soft_delete`` so that ``store.sessions.restore`` brings it back until a
        sweep, after the store's ``deleted_grace``. `DeniedError` if it is held.
        """
        key = self.session_key(conversation_id)
        while True:
            seen = await self._current(conversation_id, expected_revision)
            self._seen.pop(conversation_id, None)
            try:
                async with self.store.turn() as turn:
                    turn.sessions.update(key, expected_version=seen.version)
                    turn.sessions.delete(key, soft=self._soft_delete)
            except StaleSessionError:
                continue
            except NotFoundError as error:
                raise ConversationConflict(conversation_id) from error
            return

    # -- entries -----------------------------------------------------------------------------

    async def read_history(
        self, head_id: str | None, *, limit: int | None = None
    ) -> list[ConversationEntry]:
        """The entries up to ``head_id``, in order, or the last ``limit``: one call of the store.

        Two, for an end that this object has not met, or that is not the active one.
        """
        if head_id is None or limit == 0:
            return []
        recent = None if limit is None else limit + 1
        while True:
            try:
                events = await self._line(head_id, recent)
            except LookupError:
                return await self._history_within(head_id, limit)
            entries = entries_of(events, None)
            # One more than is asked for: the first of those has to say what it follows.
            if limit is None or recent is None or len(events) < recent or len(entries) > limit:
                return _last(entries, limit)
            # Not every event of another framework is a message.
            recent *= 2

    async def _history_within(self, head_id: str, limit: int | None) -> list[ConversationEntry]:
        """The same for an end that is not the last entry of its event."""
        event_id = _event_of(head_id)
        entries = [] if event_id is None else await self.read_history(event_id)
        found = _up_to_entry(entries, head_id)
        if not found:
            raise LookupError(f"no entry {head_id!r}")
        return _last(found, limit)

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """The entry of that id; `LookupError`."""
        history = await self.read_history(entry_id, limit=1)
        if not history or history[-1].id != entry_id:
            raise LookupError(f"no entry {entry_id!r}")
        return history[-1]

    async def _line(
        self, head_id: str, recent: int | None, *, hint: str | None = None
    ) -> list[Event]:
        """The last events up to one, oldest first, wherever it is; `LookupError`."""
        for conversation_id in dict.fromkeys((self._places.get(head_id), hint)):
            if conversation_id is not None:
                found = await self._line_in(self.session_key(conversation_id), head_id, recent)
                if found:
                    return found
        self._places.pop(head_id, None)
        located = await self.store.events.locate(self.app, head_id)
        if located is None or located[0].user != self.user:
            raise LookupError(f"no entry {head_id!r}")
        found = await self._line_in(located[0], head_id, recent)
        if not found:
            raise LookupError(f"no entry {head_id!r}")
        _put(self._places, head_id, located[0].id)
        return found

    async def _line_in(self, key: SessionKey, head_id: str, recent: int | None) -> list[Event]:
        try:
            events = await self.store.events.read(key, recent=recent)
            if events and events[-1].id == head_id:
                return events
            # The end of another line, or of an older part of this one.
            events = await self.store.events.read(key, all_lines=True)
        except NotFoundError:
            return []
        return _up_to(events, head_id, recent)


def _up_to(events: Sequence[Event], head_id: str, recent: int | None) -> list[Event]:
    by_seq = {event.seq: event for event in events}
    at = next((event for event in events if event.id == head_id), None)
    line: list[Event] = []
    while at is not None and (recent is None or len(line) < recent):
        line.append(at)
        at = by_seq.get(at.prev)
    return line[::-1]


def _ends(record: ConversationRecord, entries: Sequence[ConversationEntry]) -> set[str]:
    """The entries that a record and its new entries point at, and that are not among these."""
    asked = {record.head_id, *(entry.parent_id for entry in entries)}
    return {one for one in asked if one is not None} - {entry.id for entry in entries}


def _event_of(entry_id: str) -> str | None:
    """The event that says the message of an entry, and another one behind it."""
    event_id, mark, place = entry_id.rpartition("#")
    return event_id if mark and event_id and place.isdecimal() else None


def _up_to_entry(
    entries: Sequence[ConversationEntry], entry_id: str
) -> Sequence[ConversationEntry]:
    place = next((at for at, one in enumerate(entries, 1) if one.id == entry_id), 0)
    return entries[:place]


def _last(entries: Sequence[ConversationEntry], limit: int | None) -> list[ConversationEntry]:
    return [*entries] if limit is None else [*entries[-limit:]]


def _planned(
    record: ConversationRecord,
    entries: Sequence[ConversationEntry],
    places: Mapping[str | None, int],
    last_seq: int,
    *,
    pack: bool,
) -> tuple[list[_Run], int]:
    """The runs that store the entries behind ``last_seq``, and the seq of the record's head."""
    at = {**places, None: 0}
    runs: list[_Run] = []
    before: str | None = None
    for seq, entry in enumerate(entries, last_seq + 1):
        if entry.parent_id not in at:
            raise ConversationConflict(record.conversation_id)
        if not runs or entry.parent_id != before:
            runs.append(_Run(at[entry.parent_id], []))
        runs[-1].events.append(event_of(entry, pack=pack))
        at[entry.id] = seq
        before = entry.id
    if record.head_id not in at:
        raise ConversationConflict(record.conversation_id)
    return runs, at[record.head_id]


def _append(
    turn: AsyncTurn,
    key: SessionKey,
    runs: Sequence[_Run],
    head: int,
    last_seq: int,
    version: int | None,
) -> int:
    """Add the runs to the turn, the session ending at ``head``; the seq at which it ends then."""
    for run in runs:
        for start in range(0, len(run.events), _BATCH):
            part = run.events[start : start + _BATCH]
            after = run.after if not start and run.after != head else None
            turn.events.append(key, *part, after=after, expected_version=version)
            last_seq += len(part)
            head = last_seq
    return head


def _put(kept: OrderedDict[str, Any], key: str, value: Any) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _REMEMBERED:
        kept.popitem(last=False)


__all__ = ["PerdureConversationStore"]
