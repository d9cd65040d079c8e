"""Storing conversations through the public API, many in one transaction, none twice."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from perdure.errors import ConflictError, DeniedError, InvalidError, NotFoundError, PerdureError
from perdure.importers.conversation import Conversation, Message, Read, Skipped
from perdure.importers.report import Changed, ImportReport
from perdure.records import Event, SessionKey
from perdure.store import Store, SyncStore
from perdure.turns import Turn
from perdure.values import canonical, encode_trusted

Progress = Callable[[int, int], None]
"""Told how many bytes of the files are done with, and how many of their messages."""

_MESSAGES_A_TURN = 500
_BYTES_A_TURN = 4 * 2**20
_MESSAGES_AN_APPEND = 5_000
_SAID = frozenset({"message", "tool_call", "tool_result"})
#: No session ever has this version: an append that expects it stores nothing new.
_NEVER = 2**62


async def load(
    store: Store,
    conversations: Iterable[Read],
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
    conversations: Iterable[Read],
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
            one = write.conversation
            self.owners.append(write)
            if write.new:
                turn.sessions.get_or_create(
                    *write.key,
                    title=one.title,
                    metadata=one.metadata,
                    created_at=one.created_at,
                    imported=True,
                )
            self._append(turn, write)
        if self.dry_run:
            turn.events.append(write.key, "never stored", expected_version=_NEVER)
        self.filled = True

    def _append(self, turn: Turn[Any], write: _Write) -> None:
        for start in range(0, len(write.messages), _MESSAGES_AN_APPEND):
            if start or write.new:
                self.owners.append(write)
            some = write.messages[start : start + _MESSAGES_AN_APPEND]
            events = [write.conversation.event(message) for message in some]
            turn.events.append(write.key, *events, on_duplicate="ignore")

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


_Step: TypeAlias = "Callable[[Any], Any] | _Writing"
"""A call on the store, whose result is sent back (awaited first if need be), or a turn."""


@dataclass(slots=True)
class _Loading:
    """What an import does, without doing it: a generator of steps."""

    app: str
    user: str
    dry_run: bool
    progress: Progress | None

    def steps(self, items: Iterable[Read]) -> Generator[_Step, Any, ImportReport]:
        report = ImportReport(dry_run=self.dry_run)
        # An app or a user that cannot be one is no fault of the conversations.
        yield lambda store: store.sessions.find(SessionKey(self.app, self.user, "any"))
        for batch in _batches(items):
            writes = []
            for one in batch.items:
                if isinstance(one, Skipped):
                    report.skipped.append(one)
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
        try:
            events: list[Event] = yield lambda store: store.events.read(key, all_lines=True)
        except NotFoundError:
            return _Write(one, key, True, one.messages)
        except InvalidError as error:
            report.skip(one, str(error))
            return None
        there = _Comparison(one, events)
        if events and not there.known:
            report.skip(one, "the session of this id holds another conversation")
            return None
        changed = []
        for message in there.differing:
            if not (yield from _as_given(key, one, message)):
                changed.append(message.position)  # noqa: PERF401 - no comprehension can yield
        return _missing(there, key, changed, report)

    # -- writing -----------------------------------------------------------------------------

    def _written(
        self, writes: Sequence[_Write], report: ImportReport
    ) -> Generator[_Step, Any, None]:
        if report.denied:
            writes = _deny(writes, report)
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
            return


class _Comparison:
    """A conversation beside the events of the session of its id."""

    def __init__(self, one: Conversation, events: Sequence[Event]) -> None:
        stored = {event.id: event for event in events}
        found = [(message, stored.get(one.event_id(message))) for message in one.messages]
        places = [place for place, (_, event) in enumerate(found) if event is not None]
        end = places[-1] + 1 if places else 0
        self.conversation = one
        self.known = [(m, event) for m, event in found if event is not None]
        self.removed = end - len(self.known)
        self.new = [message for message, _ in found[end:]]
        self.differing = [m for m, event in self.known if not _equal(m, event)]
        ours = {event.id for _, event in self.known}
        last = max((event.seq for _, event in self.known), default=0)
        #: Whether somebody has talked on here since.
        self.continued = any(
            event.seq > last and event.kind in _SAID and event.id not in ours for event in events
        )


def _equal(message: Message, event: Event) -> bool:
    if message.timed and message.timestamp != event.timestamp:
        return False
    given, stored = message.content, event.content
    if given != stored:
        return False
    # Not by == alone: to Python, true is 1.
    return encode_trusted(given) == encode_trusted(stored) or canonical(given) == canonical(stored)


def _as_given(key: SessionKey, one: Conversation, message: Message) -> Generator[_Step, Any, bool]:
    """Whether the event was stored from this very message, and redacted since.

    The store knows by its digest; with a version that no session has it stores nothing.
    """
    event = one.event(message)
    try:
        yield lambda store: store.events.append(key, event, expected_version=_NEVER)
    except (ConflictError, InvalidError, NotFoundError):
        return False
    return True


def _missing(
    there: _Comparison, key: SessionKey, changed: Sequence[int], report: ImportReport
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
    if not isinstance(error, InvalidError | NotFoundError):
        raise error
    report.skip(culprit.conversation, str(error))
    if not culprit.new:
        report.sessions_known -= 1
    return [write for write in writing.writes if write is not culprit]


def _deny(writes: Sequence[_Write], report: ImportReport) -> Sequence[_Write]:
    """Those that bring nobody back."""
    kept = [write for write in writes if not write.new]
    report.denied += len(writes) - len(kept)
    return kept


class _Batch:
    """As much as one transaction is good for."""

    def __init__(self) -> None:
        self.items: list[Read] = []
        self._ids: set[str] = set()
        self.messages = 0
        self.size = 0

    def has(self, item: Read) -> bool:
        """Whether a conversation of that id is in it: each must see what the other stored."""
        return isinstance(item, Conversation) and item.id in self._ids

    def add(self, item: Read) -> None:
        self.items.append(item)
        self.size += item.size
        if isinstance(item, Conversation):
            self._ids.add(item.id)
            self.messages += len(item.messages)

    @property
    def full(self) -> bool:
        return self.messages >= _MESSAGES_A_TURN or self.size >= _BYTES_A_TURN


def _batches(items: Iterable[Read]) -> Iterator[_Batch]:
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
