"""A message-level view in the manner of PicoClaw's session store: a key is one text."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, TypeVar

from perdure.errors import (
    BusyError,
    ClosedError,
    InvalidError,
    PerdureError,
    ReadOnlyError,
    StorageFullError,
    UnknownOutcomeError,
)
from perdure.features import summarising
from perdure.features.contexts import in_chat
from perdure.features.coverage import SUMMARIES, SummaryRow, best, mark
from perdure.features.drafts import check_batch, draft
from perdure.features.events import Events
from perdure.features.lookup import SessionRow, Target, find, get, hold, target
from perdure.features.pruning import Cut, prune
from perdure.features.reading import Filter, positive
from perdure.features.sessions import Sessions
from perdure.features.spoken import as_event, first_of_last, owner, spoken
from perdure.features.summaries import Summaries
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
    Step,
    flow,
    run,
)
from perdure.records import JSON, History, SessionKey
from perdure.values import check_text, decode, from_micros

T = TypeVar("T")

_log = logging.getLogger("perdure.history")

#: What may go well when it is tried again.
_PASSING = (BusyError, ReadOnlyError, StorageFullError, UnknownOutcomeError)
_MOST_WAITING = 10_000


class HistoryView(Feature[M]):
    """`store.history(app, user)`: messages and a summary a key, the id of a session there.

    Reading an unknown key gives nothing, writing makes it. Each write is stored when it returns.
    With ``on_error="log"`` no call raises an error of the store: it is logged (to
    ``perdure.history``), reads give nothing, and a write that may go well later waits in this
    object for the next call.
    """

    name = "history"

    def __init__(
        self,
        runner: Runner,
        settings: Settings,
        app: str,
        user: str,
        *,
        on_error: str = "raise",
        compact_on_save: bool = False,
    ) -> None:
        super().__init__(runner, settings)
        if on_error not in {"raise", "log"}:
            raise InvalidError(f"on_error is 'raise' or 'log', not {on_error!r}", "on_error")
        self._app = check_text(app, "app", settings.limits.text)
        self._user = check_text(owner(user), "user", settings.limits.text)
        self._logs = on_error == "log"
        self._compacts = compact_on_save
        self._events: Events[Any] = Events(runner, settings)
        self._sessions: Sessions[Any] = Sessions(runner, settings)
        self._waiting: list[Operation[Any]] = []
        self._lock = threading.Lock()
        self._closed = False

    # -- reading -----------------------------------------------------------------------------

    @flow
    def get_or_create(self, key: str) -> Flow[History]:
        """The conversation, made if it is new."""
        return (yield from self._write(lambda: self._opened(key), self._empty(key)))

    @flow
    def get_history(self, key: str) -> Flow[list[dict[str, JSON]]]:
        """The messages, oldest first, as OpenAI chat messages; [] for an unknown key.

        Those that were added here come back as they were given; others are converted.
        """

        def work(at: Target) -> Plan[list[dict[str, JSON]]]:
            row = yield from find(at)
            return (yield from _shown(row)) if row else []

        nothing: list[dict[str, JSON]] = []
        return (yield from self._read("get_history", key, work, nothing))

    @flow
    def get_summary(self, key: str) -> Flow[str]:
        """The text of the whole session's summary; "" if there is none."""

        def work(at: Target) -> Plan[str]:
            row = yield from find(at)
            return (yield from _told(row)) if row else ""

        return (yield from self._read("get_summary", key, work, ""))

    # -- writing -----------------------------------------------------------------------------

    @flow
    def add_message(self, key: str, role: str, content: str) -> Flow[int]:
        """Add a message; its seq, 0 while it waits to be stored."""
        return (yield from self._add(key, {"role": role, "content": content}))

    @flow
    def add_full_message(self, key: str, message: Mapping[str, JSON]) -> Flow[int]:
        """Add an OpenAI chat message, every field of it kept; its seq."""
        return (yield from self._add(key, message))

    @flow
    def set_summary(self, key: str, text: str, covers_seq: int | None = None) -> Flow[None]:
        """Write the summary; "" removes it.

        ``covers_seq`` is the last event it tells of; None leaves the boundary as it is.
        """
        yield from self._write(lambda: self._summarised(key, text, covers_seq), None)

    @flow
    def set_history(self, key: str, messages: Sequence[Mapping[str, JSON]]) -> Flow[None]:
        """Put these messages in the place of all others, in one transaction.

        The summary's text stays. What was replaced is kept as a branch until `compact`.
        """
        yield from self._write(lambda: self._replaced(key, messages), None)

    @flow
    def truncate_history(
        self, key: str, keep_last: int, up_to_seq: int | None = None
    ) -> Flow[None]:
        """Hide all but the last messages from this view, and from `events.context`.

        0 and less hide all. ``keep_last`` counts back from ``up_to_seq``, and what comes after
        that stays: so nothing that others append meanwhile is hidden unseen. One more stays
        where a tool result would lose its call. Nothing is removed: `events.list` has it all.
        """
        yield from self._write(lambda: self._truncated(key, keep_last, up_to_seq), None)

    @flow
    def save(self, key: str) -> Flow[None]:
        """Store what ``on_error="log"`` has waiting; everything else is stored already.

        With ``compact_on_save=True`` it does what `compact` does as well.
        """
        yield from self._flush()
        if self._compacts:
            yield from self._write(lambda: self._compacted(key), 0)

    @flow
    def compact(self, key: str) -> Flow[int]:
        """Remove for good what this view does not show; how many events that were.

        That is what `truncate_history` has hidden and what `set_history` has replaced, told of
        in a summary or not, and every other branch.
        """
        return (yield from self._write(lambda: self._compacted(key), 0))

    @flow
    def close(self) -> Flow[None]:
        """Store what waits; after it every call is `ClosedError`. The store stays open."""
        if not self._closed:
            yield from self._flush()
            self._closed = True

    # -- operations --------------------------------------------------------------------------

    def _at(self, key: str) -> Target:
        settings = self._settings
        name = SessionKey(self._app, self._user, key)
        return target(settings.tenant, name, settings.limits.text, settings.clock())

    def _made(self, key: str) -> Operation[Any]:
        """Having the session."""
        return Sessions.get_or_create.of(
            self._sessions, self._app, self._user, self._at(key).key.id
        )

    def _opened(self, key: str) -> Operation[History]:
        at, make = self._at(key), self._made(key)

        def work(_: Bumps, do: Do) -> Plan[History]:
            yield from do(make)
            row = yield from get(at)
            messages = yield from _shown(row)
            return _record(row, messages, (yield from _told(row)))

        return Operation("history.get_or_create", (key,), {}, Composed(work))

    def _add(self, key: str, message: Mapping[str, JSON]) -> Flow[int]:
        return (yield from self._write(lambda: self._added(key, message), 0))

    def _added(self, key: str, message: Mapping[str, JSON]) -> Operation[int]:
        make = self._made(key)
        event = as_event(message, self._settings.ids())
        append = Events.append.of(self._events, self._at(key).key, event)

        def work(_: Bumps, do: Do) -> Plan[int]:
            yield from do(make)
            done = yield from do(append)
            return done.event.seq

        return Operation("history.add_message", (key,), {}, Composed(work))

    def _summarised(self, key: str, text: str, covers_seq: int | None) -> Operation[None]:
        at, make = self._at(key), self._made(key)
        summaries: Summaries[Any] = Summaries(self._runner, self._settings)
        change: Any
        if text == "":
            change = Summaries.delete.of(summaries, at.key)
        else:
            change = Summaries.set.of(summaries, at.key, text, covers_seq=covers_seq)

        def work(_: Bumps, do: Do) -> Plan[None]:
            yield from do(make)
            yield from do(change)

        return Operation("history.set_summary", (key,), {}, Composed(work))

    def _replaced(self, key: str, messages: Sequence[Mapping[str, JSON]]) -> Operation[None]:
        at, make = self._at(key), self._made(key)
        if isinstance(messages, str | Mapping):
            raise InvalidError(f"messages is a list of messages, not {messages!r}", "messages")
        events = [as_event(message, self._settings.ids()) for message in messages]
        drafts = [draft(event, self._settings, at.now) for event in events]
        check_batch(drafts, self._settings.limits)
        block = self._settings.ids()

        def replace(bumps: Bumps) -> Plan[Any]:
            return (yield from self._events._replace(at, 0, drafts, None, bumps))

        replacing = Operation("events.replace_suffix", (at.key,), {}, replace)

        def work(bumps: Bumps, do: Do) -> Plan[None]:
            yield from do(make)
            row = yield from hold(at, None, bumps)
            told = yield from best(row, "")
            yield from do(replacing)
            if told:
                yield from _keep(row, told, at.now, block)

        return Operation("history.set_history", (key,), {}, Composed(work))

    def _truncated(self, key: str, keep_last: int, up_to_seq: int | None) -> Operation[None]:
        at = self._at(key)
        if not isinstance(keep_last, int):
            raise InvalidError(f"keep_last must be a number, not {keep_last!r}", "keep_last")
        upto = positive(up_to_seq, "up_to_seq")

        def work(bumps: Bumps) -> Plan[None]:
            if (yield from find(at)) is None:
                return
            row = yield from hold(at, None, bumps)
            hidden = yield from mark(row)
            wanted = Filter(low=hidden + 1)
            wanted = wanted if upto is None else wanted._replace(high=upto)
            first = yield from first_of_last(row, wanted, keep_last)
            if first is not None and first - 1 > hidden:
                yield SUMMARIES.set_mark(
                    part=row.part, uid=row.uid, hidden_upto=first - 1, now=at.now
                )

        return Operation("history.truncate_history", (key,), {}, work)

    def _compacted(self, key: str) -> Operation[int]:
        at = self._at(key)

        def work(bumps: Bumps) -> Plan[int]:
            if (yield from find(at)) is None:
                return 0
            row = yield from hold(at, None, bumps)
            first = (yield from mark(row)) + 1
            cut = Cut(before_seq=first, branches=True, beyond_summary=True)
            return (yield from prune(at, cut))

        return Operation("history.compact", (key,), {}, work)

    # -- errors ------------------------------------------------------------------------------

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ClosedError("this history view is closed: take another one of the store")

    def _read(
        self, name: str, key: str, work: Callable[[Target], Plan[T]], otherwise: T
    ) -> Generator[Step, Any, T]:
        self._refuse_if_closed()
        try:
            yield from self._flush()
            at = self._at(key)
            return (yield from run(self._reading(name, lambda _: work(at))))
        except PerdureError:
            if not self._logs:
                raise
            _log.exception("history.%s of %r failed and gives nothing", name, key)
            return otherwise

    def _write(self, make: Callable[[], Operation[T]], otherwise: T) -> Generator[Step, Any, T]:
        """Make the operation and run it; with ``on_error="log"`` behind those that wait."""
        self._refuse_if_closed()
        if not self._logs:
            return (yield from run(make()))
        try:
            op = make()
        except PerdureError:
            _log.exception("a write was refused, and is lost")
            return otherwise
        yield from self._flush()
        outcome = [] if self._waiting else (yield from self._attempt(op))
        if outcome is None:
            return otherwise
        if not outcome:
            self._wait(op)
            return otherwise
        return outcome[0]

    def _flush(self) -> Generator[Step, Any, None]:
        """Run what waits, in order, until one fails again.

        Each waits until it is stored, so that a caller who is cancelled loses none; of two who
        flush at once the second finds what the first has stored, by its ids.
        """
        while self._waiting:
            op = self._waiting[0]
            if (yield from self._attempt(op)) == []:
                return
            with self._lock:
                if self._waiting and self._waiting[0] is op:
                    self._waiting.pop(0)

    def _attempt(self, op: Operation[T]) -> Generator[Step, Any, list[T] | None]:
        """Its result, as a list; [] if it may go well later, None if it never will."""
        try:
            return [(yield from run(op))]
        except _PASSING as error:
            _log.warning("%s failed and is tried again: %s", op.name, error)
            return []
        except PerdureError:
            _log.exception("%s failed, and is lost", op.name)
            return None

    def _wait(self, op: Operation[Any]) -> None:
        with self._lock:
            if len(self._waiting) >= _MOST_WAITING:
                _log.error("%d writes wait already: %s is lost", _MOST_WAITING, op.name)
            else:
                self._waiting.append(op)

    def _empty(self, key: str) -> History:
        now = from_micros(self._settings.clock())
        return History(key=key, messages=[], summary="", created=now, updated=now, head_seq=0)


def _shown(row: SessionRow) -> Plan[list[dict[str, JSON]]]:
    rows = yield from spoken(row, (yield from mark(row)) + 1)
    return in_chat(rows)


def _told(row: SessionRow) -> Plan[str]:
    found = yield from best(row, "")
    return decode(found.text, "a summary") if found else ""


def _record(row: SessionRow, messages: list[dict[str, JSON]], summary: str) -> History:
    return History(
        key=row.id,
        messages=messages,
        summary=summary,
        created=from_micros(row.created_at),
        updated=from_micros(row.updated_at),
        head_seq=row.head,
    )


def _keep(row: SessionRow, told: SummaryRow, now: int, block: str) -> Plan[None]:
    """The summary of a history that was replaced: it says nothing of its boundary any more."""
    made = summarising.Told(told.text, told.topics)
    yield from summarising.put(row, "", made, 0, now, block)
