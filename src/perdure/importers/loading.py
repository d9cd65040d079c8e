"""Storing conversations through the public API, many in one transaction, none twice."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from perdure.errors import (
    AlreadyExistsError,
    ConflictError,
    DeniedError,
    InvalidError,
    NotFoundError,
    PerdureError,
)
from perdure.importers.comparing import NEVER, Call, Comparison, as_given
from perdure.importers.continuing import (
    CONTINUED,
    GAP,
    SHOWN_AGAIN,
    SUMMARY,
    WRITTEN,
    Notes,
    Place,
    placed,
)
from perdure.importers.conversation import Conversation, Message, Read, Remark, Skipped
from perdure.importers.report import Changed, ImportReport
from perdure.records import Event, Session, SessionKey
from perdure.store import Store, SyncStore
from perdure.turns import Turn

Progress = Callable[[int, int], None]
"""Told how many bytes of the files are done with, and how many of their messages."""

_MESSAGES_A_TURN = 500
_BYTES_A_TURN = 4 * 2**20
_MESSAGES_AN_APPEND = 5_000
_ANOTHER = "the session of this id holds another conversation"


async def load(
    store: Store,
    conversations: Iterable[Read | Remark],
    *,
    app: str = "",
    user: str = "",
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Store conversations as sessions of this user; what is stored already stays as it is.

    A session gets the conversation's id, an event an id of its conversation and position:
    importing again, or a file that has grown, adds only what is new. A conversation is stored
    whole or not at all. One that differs from what is stored is left alone and reported; a
    user who was erased is not brought back. ``dry_run=True`` does all of it and then takes it
    back. Errors of the store itself (full, busy, read-only) are raised; what was stored until
    then stays, and importing again goes on from there.
    """
    steps = _Loading(app, user, dry_run, progress).steps(conversations)
    answer: Any = None
    error: PerdureError | None = None
    while True:
        try:
            step = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as done:
            return _report(done)
        answer, error = None, None
        try:
            if isinstance(step, _Writing):
                async with store.turn() as turn:
                    step.fill(turn)
            else:
                answer = await step(store)
        except PerdureError as raised:
            error = raised


def load_sync(
    store: SyncStore,
    conversations: Iterable[Read | Remark],
    *,
    app: str = "",
    user: str = "",
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """The same for code that does not await: see `load`."""
    steps = _Loading(app, user, dry_run, progress).steps(conversations)
    answer: Any = None
    error: PerdureError | None = None
    while True:
        try:
            step = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as done:
            return _report(done)
        answer, error = None, None
        try:
            if isinstance(step, _Writing):
                with store.turn() as turn:
                    step.fill(turn)
            else:
                answer = step(store)
        except PerdureError as raised:
            error = raised


def _report(done: StopIteration) -> ImportReport:
    report: ImportReport = done.value
    return report


@dataclass(slots=True)
class _Write:
    """What is to be stored of one conversation."""

    conversation: Conversation
    key: SessionKey
    new: bool
    messages: Sequence[Message]
    version: int | None = None
    """The session's, if nobody may have written to it since it was looked at."""
    notes: Notes | None = None
    summary: str = ""

    def calls(self, turn: Turn[Any]) -> Iterator[Callable[[], Any]]:
        """The operations, in order."""
        one, key, expected = self.conversation, self.key, self.version
        if self.new:
            yield partial(self._make, turn)
        elif self.notes is not None and self.notes.now != self.notes.before:
            metadata = {one.noted: self.notes.now}
            yield partial(turn.sessions.update, key, metadata=metadata, expected_version=expected)
        for start in range(0, len(self.messages), _MESSAGES_AN_APPEND):
            some = self.messages[start : start + _MESSAGES_AN_APPEND]
            events = [one.event(message) for message in some]
            yield partial(
                turn.events.append, key, *events, on_duplicate="ignore", expected_version=expected
            )
        if self.summary:
            yield partial(turn.summaries.set, key, self.summary)

    def _make(self, turn: Turn[Any]) -> object:
        one, metadata = self.conversation, dict(self.conversation.metadata)
        if self.notes is not None:
            metadata[one.noted] = self.notes.now
        make = turn.sessions.get_or_create if self.notes is None else turn.sessions.create
        return make(
            *self.key,
            title=one.title,
            metadata=metadata,
            created_at=one.created_at,
            imported=True,
        )

    @property
    def stores(self) -> bool:
        """Whether there is an operation at all."""
        noted = self.notes is not None and self.notes.now != self.notes.before
        return self.new or noted or bool(self.messages or self.summary)

    @property
    def hidden(self) -> int:
        """The position of the last message that is not to be shown; 0 if all are."""
        hidden: Any = self.notes.now["hidden"] if self.notes else 0
        return int(hidden)


@dataclass(slots=True)
class _Writing:
    """A step: fill a turn with these writes and store it."""

    writes: Sequence[_Write]
    dry_run: bool
    owners: list[_Write] = field(default_factory=list)
    """Whose the operations of the turn are, in order."""
    filled: bool = False

    def fill(self, turn: Turn[Any]) -> None:
        for write in self.writes:
            self.owners.append(write)
            for number, call in enumerate(write.calls(turn)):
                if number:
                    self.owners.append(write)
                call()
        if self.dry_run:
            turn.events.append(self.writes[-1].key, "never stored", expected_version=NEVER)
        self.filled = True

    def rehearsed(self, error: PerdureError) -> bool:
        """Whether the error is the one that ends a dry run in which all else went well."""
        return self.dry_run and error.operation is not None and self._last(error.operation[0])

    def _last(self, index: int) -> bool:
        return index == len(self.owners)

    def culprit(self, error: PerdureError) -> _Write | None:
        """Whose fault an error is; None: the store's."""
        if error.operation is not None:
            return self.owners[error.operation[0]]
        return None if self.filled else self.owners[-1]


_Step: TypeAlias = Call | _Writing
"""A call on the store, whose result is sent back (awaited first if need be), or a turn."""


@dataclass(slots=True)
class _Loading:
    """What an import does, without doing it: a generator of steps."""

    app: str
    user: str
    dry_run: bool
    progress: Progress | None

    def steps(self, items: Iterable[Read | Remark]) -> Generator[_Step, Any, ImportReport]:
        report = ImportReport(dry_run=self.dry_run)
        # An app or a user that cannot be one is no fault of the conversations.
        yield lambda store: store.sessions.find(SessionKey(self.app, self.user, "any"))
        for batch in _batches(items):
            writes = []
            for one in batch.items:
                if isinstance(one, Skipped):
                    report.skipped.append(one)
                elif isinstance(one, Remark):
                    report.remarks.append(one)
                elif write := (yield from self._compared(one, report)):
                    writes.append(write)
            yield from self._written(writes, report)
            if self.progress:
                self.progress(batch.size, batch.messages)
        return report

    # -- what is there -----------------------------------------------------------------------

    def _compared(
        self, one: Conversation, report: ImportReport
    ) -> Generator[_Step, Any, _Write | None]:
        """What is missing of a conversation; None if nothing is to be written."""
        key = SessionKey(self.app, self.user, one.id)
        if one.noted:
            return (yield from self._followed(key, one, report))
        try:
            events: list[Event] = yield lambda store: store.events.read(key, all_lines=True)
        except NotFoundError:
            return _Write(one, key, True, one.messages)
        except InvalidError as error:
            report.skip(one, str(error))
            return None
        there = Comparison(one, events)
        if events and not there.known:
            report.skip(one, _ANOTHER)
            return None
        changed = []
        for message in there.differing:
            if not (yield from as_given(key, one, message)):
                changed.append(message.position)  # noqa: PERF401 - no comprehension can yield
        return _missing(there, key, changed, report)

    def _followed(
        self, key: SessionKey, one: Conversation, report: ImportReport
    ) -> Generator[_Step, Any, _Write | None]:
        """The same of a conversation whose first messages may have been removed in the file."""
        try:
            # First the version: who writes after this is noticed.
            session: Session | None = yield lambda store: store.sessions.find(key)
            if session is None:
                notes = Notes.of(one, 0, {})
                return _Write(one, key, True, one.messages, notes=notes, summary=_told(one))
            events: list[Event] = yield lambda store: store.events.read(key, all_lines=True)
        except (InvalidError, NotFoundError) as error:
            report.skip(one, str(error))
            return None
        place = yield from placed(key, one, events, session.metadata)
        if events and not place.last:
            report.skip(one, _ANOTHER)
            return None
        return (yield from self._going_on(key, place, events, session, report))

    def _going_on(
        self,
        key: SessionKey,
        place: Place,
        events: Sequence[Event],
        session: Session,
        report: ImportReport,
    ) -> Generator[_Step, Any, _Write | None]:
        """What is missing of a conversation at its place; None if it is newer here."""
        one = place.conversation
        there = Comparison(one, events, place.ours, place.last)
        notes = Notes.of(one, place.offset, session.metadata)
        report.events_known += len(there.known)
        report.events_removed += there.removed
        newer = there.continued and (there.new or notes.changed)
        if fault := place.fault or (CONTINUED if newer else ""):
            report.leave(one, fault, len(there.new))
            return None
        report.sessions_known += 1
        if there.continued:
            return None
        wanted, kept = notes.wants(one, (yield lambda store: store.summaries.find(key)))
        for is_so, text in ((place.gap, GAP), (kept, SUMMARY), (notes.shows_again, SHOWN_AGAIN)):
            report.remarks.extend([Remark(one.source, text, one.id)] if is_so else [])
        summary = _told(one) if wanted else ""
        return _Write(one, key, False, there.new, session.version, notes, summary)

    # -- writing -----------------------------------------------------------------------------

    def _written(
        self, writes: Sequence[_Write], report: ImportReport
    ) -> Generator[_Step, Any, None]:
        if report.denied:
            writes = _deny(writes, report)
        hiding = [write for write in writes if write.hidden and not self.dry_run]
        writes = [write for write in writes if write.stores]
        while writes:
            writing = _Writing(writes, self.dry_run)
            try:
                yield writing
            except PerdureError as error:
                if not writing.rehearsed(error):
                    writes = _without(writing, error, report)
                    continue
            for write in writes:
                report.sessions_new += write.new
                report.events_new += len(write.messages)
            break
        for write in hiding:
            if write in writes or not write.stores:
                yield from self._hidden(write)

    def _hidden(self, write: _Write) -> Generator[_Step, Any, None]:
        """Hide what is not to be shown; nothing happens if it is hidden already."""
        for position in range(write.hidden, 0, -1):
            try:
                event: Event = yield _event(write, position)
            except NotFoundError:
                continue
            yield _truncation(write.key, event.seq)
            return


def _missing(
    there: Comparison, key: SessionKey, changed: Sequence[int], report: ImportReport
) -> _Write | None:
    one = there.conversation
    report.events_known += len(there.known) - len(changed)
    report.events_removed += there.removed
    if changed or (there.new and there.continued):
        where = (one.source, one.line, one.id)
        report.changed.append(Changed(*where, tuple(changed), len(there.new)))
        return None
    report.sessions_known += 1
    return _Write(one, key, False, there.new) if there.new else None


def _without(writing: _Writing, error: PerdureError, report: ImportReport) -> Sequence[_Write]:
    """The writes less those that the error is about, which are counted; or the error, raised."""
    culprit = writing.culprit(error)
    if culprit is None:
        raise error
    if isinstance(error, DeniedError):
        return _deny(writing.writes, report)
    if culprit.notes is not None and isinstance(error, AlreadyExistsError | ConflictError):
        report.leave(culprit.conversation, WRITTEN, len(culprit.messages))
    elif isinstance(error, InvalidError | NotFoundError):
        report.skip(culprit.conversation, str(error))
    else:
        raise error
    if not culprit.new:
        report.sessions_known -= 1
    return [write for write in writing.writes if write is not culprit]


def _event(write: _Write, position: int) -> Call:
    name = f"{write.conversation.short_id}#{position}"
    return lambda store: store.events.get(write.key, name)


def _truncation(key: SessionKey, seq: int) -> Call:
    app, user, session = key
    return lambda store: store.history(app, user).truncate_history(session, 0, up_to_seq=seq)


def _told(one: Conversation) -> str:
    """The summary to store; "" for a blank one, which none is."""
    return one.summary if one.summary.strip() else ""


def _deny(writes: Sequence[_Write], report: ImportReport) -> Sequence[_Write]:
    """Those that bring nobody back."""
    kept = [write for write in writes if not write.new]
    report.denied += len(writes) - len(kept)
    return kept


class _Batch:
    """As much as one transaction is good for."""

    def __init__(self) -> None:
        self.items: list[Read | Remark] = []
        self._ids: set[str] = set()
        self.messages = 0
        self.size = 0

    def has(self, item: Read | Remark) -> bool:
        """Whether a conversation of that id is in it: each must see what the other stored."""
        return isinstance(item, Conversation) and item.id in self._ids

    def add(self, item: Read | Remark) -> None:
        self.items.append(item)
        self.size += item.size
        if isinstance(item, Conversation):
            self._ids.add(item.id)
            self.messages += len(item.messages)

    @property
    def full(self) -> bool:
        return self.messages >= _MESSAGES_A_TURN or self.size >= _BYTES_A_TURN


def _batches(items: Iterable[Read | Remark]) -> Iterator[_Batch]:
    batch = _Batch()
    for item in items:
        if batch.has(item):
            yield batch
            batch = _Batch()
        batch.add(item)
        if batch.full:
            yield batch
            batch = _Batch()
    if batch.items:
        yield batch
