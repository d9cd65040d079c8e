"""Events: the history of a session, appended to, read, followed, and annotated."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

from perdure.errors import NotFoundError
from perdure.features import appending, contexts, following, reading
from perdure.features.cursors import check_limit, pack, paged, unpack
from perdure.features.drafts import EventRow, check_batch, draft, event_of
from perdure.features.hooks import passed
from perdure.features.line import EVENTS, NO_SEQ
from perdure.features.lookup import SessionRow, Target, get, hold
from perdure.features.reading import Filter, positive, wanted_text
from perdure.features.rewriting import Rewriting
from perdure.formats import convert
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
    run,
    stream,
)
from perdure.operation import reading as reads
from perdure.parts import place
from perdure.records import (
    JSON,
    Annotation,
    Appended,
    Content,
    Context,
    Event,
    EventInput,
    Messages,
    NewAnnotation,
    Page,
    Rewritten,
    SessionKey,
)
from perdure.values import check_text, decode, encode, from_micros, maybe, to_micros

# `Events.list` hides the built-in from the annotations of the class.
EventList: TypeAlias = list[Event]
ContentList: TypeAlias = list[Content]


class Events(Rewriting[M]):
    """`store.events`: what happened in a session, in the order it was stored."""

    # -- writing -----------------------------------------------------------------------------

    @operation
    def append(
        self,
        key: SessionKey,
        *events: EventInput,
        expected_version: int | None = None,
        after: int | None = None,
        on_duplicate: str = "raise",
        fence: int | None = None,
    ) -> Work[Appended]:
        """Store events with their state deltas, all or nothing, as one version of the session.

        An event is a `NewEvent`, a message (a mapping: its content) or a text. With
        ``expected_version`` the append fails with `StaleSessionError`, and changes nothing,
        if somebody else has written since; None appends blindly. ``fence`` is that of a run lease
        (`sessions.lease`): once another run has taken the lease it fails in the same way.
        ``after`` starts a new line at an older seq (0: from the beginning).

        The same event id with the same fields gives the stored event back, whatever the
        version: a retry is safe. With other fields it is a `ConflictError`, or, with
        ``on_duplicate="ignore"``, the stored event. A partial event is handed back with seq 0.
        No event at all is a no-op.
        """
        at = self._at(key, fence)
        drafts = [draft(event, self._settings, at.now) for event in events]
        check_batch(drafts, self._settings.limits)
        call = appending.Append(
            at,
            drafts,
            positive(expected_version, "expected_version"),
            positive(after, "after"),
            appending.check_on_duplicate(on_duplicate),
        )
        return appending.work(call, self._settings)

    # -- reading -----------------------------------------------------------------------------

    @reads
    def get(self, key: SessionKey, event_id: str) -> Work[Event]:
        """The event of that id, on whatever line it is; `NotFoundError`."""
        at = self._at(key)
        text = check_text(event_id, "event id", self._settings.limits.text)

        def work(_: Bumps) -> Plan[Event]:
            row = yield from get(at)
            rows = yield EVENTS.by_id(part=row.part, uid=row.uid, event_id=text)
            if not rows:
                raise NotFoundError(f"session {key[2]!r} has no event {event_id!r}")
            return event_of(EventRow._make(rows[0]))

        return work

    @reads
    def find(self, key: SessionKey, event_id: str) -> Work[Event | None]:
        """The event of that id, or None; also None if there is no such session."""
        at = self._at(key)
        text = check_text(event_id, "event id", self._settings.limits.text)

        def work(_: Bumps) -> Plan[Event | None]:
            rows = yield EVENTS.stored(part=at.part, id=at.key.id, now=at.now, event_id=text)
            return event_of(EventRow._make(rows[0][1:])) if rows else None

        return work

    @reads
    def locate(self, app: str, event_id: str) -> Work[tuple[SessionKey, Event] | None]:
        """The session and the event of an id, looked for in the whole app; None if not there.

        Looks through every session of the app: for tools, not for the way of a request.
        """
        settings = self._settings
        at = place(settings.tenant, app, "", settings.limits.text)
        text = check_text(event_id, "event id", settings.limits.text)
        now = settings.clock()

        def work(_: Bumps) -> Plan[tuple[SessionKey, Event] | None]:
            rows = yield EVENTS.locate(app_part=at.app_part, event_id=text, now=now)
            if not rows:
                return None
            found_app, user, session_id, *columns = rows[0]
            return SessionKey(found_app, user, session_id), event_of(EventRow._make(columns))

        return work

    @reads
    def read(
        self,
        key: SessionKey,
        *,
        recent: int | None = None,
        after_time: datetime | None = None,
        after_seq: int | None = None,
        before_seq: int | None = None,
        branch: str | None = None,
        run_id: str | None = None,
        all_lines: bool = False,
    ) -> Work[EventList]:
        """The events of the active line, oldest first: all, or the ``recent`` last ones.

        Filters come first, then the tail is taken: ``after_time`` (inclusive, by timestamp),
        ``after_seq`` and ``before_seq`` (both exclusive), ``branch``, ``run_id``.
        ``all_lines=True`` reads every event of the session in seq order. The cost depends on
        what comes back, not on the length of the session; only ``run_id``, ``branch`` and
        ``after_time`` look at each event of the range.
        """
        at = self._at(key)
        limit = NO_SEQ if positive(recent, "recent") is None else recent
        wanted = _filter(after_time, after_seq, before_seq, branch, run_id, all_lines)
        return reading.last(at, wanted, limit or 0, reading.WHOLE)

    @reads
    def contents(
        self,
        key: SessionKey,
        *,
        recent: int | None = None,
        after_seq: int | None = None,
        before_seq: int | None = None,
    ) -> Work[ContentList]:
        """The contents of what `read` gives, without all that stands beside them.

        Raises `CorruptError` for a damaged one.
        """
        at = self._at(key)
        limit = NO_SEQ if positive(recent, "recent") is None else recent
        wanted = _filter(None, after_seq, before_seq, None, None, all_lines=False)
        return reading.last(at, wanted, limit or 0, reading.CONTENTS)

    @reads
    def list(
        self,
        key: SessionKey,
        *,
        after_time: datetime | None = None,
        after_seq: int | None = None,
        before_seq: int | None = None,
        branch: str | None = None,
        run_id: str | None = None,
        all_lines: bool = False,
        newest_first: bool = False,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Work[Page[Event]]:
        """A page of events in seq order; filters as in `read`, at most 10,000 a page."""
        at = self._at(key)
        wanted = _filter(after_time, after_seq, before_seq, branch, run_id, all_lines)
        way = "events-down" if newest_first else "events-up"
        size = check_limit(limit, self._settings.limits.records)
        if cursor is not None:
            [seq] = unpack(cursor, way, int)
            wanted = wanted._replace(
                low=wanted.low if newest_first else max(wanted.low, seq + 1),
                high=min(wanted.high, seq - 1) if newest_first else wanted.high,
            )

        def work(_: Bumps) -> Plan[Page[Event]]:
            row = yield from get(at)
            find = reading.newest if newest_first else reading.oldest
            rows = yield from find(row, wanted, size + 1)
            following_page = pack(way, rows[size - 1].seq) if len(rows) > size else None
            return Page([event_of(found) for found in rows[:size]], following_page)

        return work

    @stream
    def iter(
        self,
        key: SessionKey,
        *,
        after_time: datetime | None = None,
        after_seq: int | None = None,
        before_seq: int | None = None,
        branch: str | None = None,
        run_id: str | None = None,
        all_lines: bool = False,
        newest_first: bool = False,
    ) -> Stream[Event]:
        """Every event, page after page; filters as in `read`."""
        return paged(
            lambda cursor: run(
                Events.list.of(
                    self,
                    key,
                    after_time=after_time,
                    after_seq=after_seq,
                    before_seq=before_seq,
                    branch=branch,
                    run_id=run_id,
                    all_lines=all_lines,
                    newest_first=newest_first,
                    cursor=cursor,
                    limit=500,
                )
            )
        )

    @reads
    def count(
        self,
        key: SessionKey,
        *,
        after_time: datetime | None = None,
        after_seq: int | None = None,
        before_seq: int | None = None,
        branch: str | None = None,
        run_id: str | None = None,
        all_lines: bool = False,
    ) -> Work[int]:
        """How many events `read` would give without ``recent``."""
        at = self._at(key)
        wanted = _filter(after_time, after_seq, before_seq, branch, run_id, all_lines)

        def work(_: Bumps) -> Plan[int]:
            row = yield from get(at)
            return (yield from reading.count(row, wanted))

        return work

    @reads
    def window(self, key: SessionKey, last: int = 20) -> Work[EventList]:
        """What a model should see: the last events, oldest first, from a user message on.

        More than ``last`` where it must be: the window starts at a user message and never
        has the result of a tool call without the call. Deletes nothing.
        """
        at = self._at(key)
        positive(last, "last")

        def work(_: Bumps) -> Plan[EventList]:
            row = yield from get(at)
            if not last:
                return []
            low = yield from reading.window_low(row, last)
            rows = yield from reading.oldest(row, Filter(low=low), NO_SEQ)
            return list(map(event_of, rows))

        return work

    @reads
    def messages(
        self,
        key: SessionKey,
        format: str = "openai.chat",
        *,
        last: int | None = None,
        after_seq: int | None = None,
        before_seq: int | None = None,
        branch: str | None = None,
        run_id: str | None = None,
    ) -> Work[Messages]:
        """The session as messages of one format, whatever format each event was stored in.

        Formats are those of `perdure.formats`, such as ``openai.chat`` and ``anthropic``.
        ``last`` gives a `window` of that many events. Text, tool calls, results and images
        move; ``loss`` names what could not. Raises `InvalidError` for an unknown format.
        """
        at = self._at(key)
        positive(last, "last")
        wanted = _filter(None, after_seq, before_seq, branch, run_id, all_lines=False)
        convert((), format)

        def work(_: Bumps) -> Plan[Messages]:
            row = yield from get(at)
            narrowed = wanted
            if last is not None:
                low = yield from reading.window_low(row, last) if last else _nothing()
                narrowed = wanted._replace(low=max(low, wanted.low))
            rows = yield from reading.oldest(row, narrowed, NO_SEQ)
            return contexts.in_format([event_of(found) for found in rows], format)

        return work

    @flow
    def context(
        self,
        key: SessionKey,
        filter_key: str = "",
        *,
        format: str = "openai.chat",
        recent: int | None = None,
        max_tokens: int | None = None,
    ) -> Flow[Context]:
        """What a model should see: the summary, and the events after its boundary.

        The summary is that of the filter, else the whole session's; the events are those that
        the filter selects, less what `history` has truncated. ``recent`` gives a `window` of
        that many of them. ``max_tokens`` is what summary and events may have together, by the
        store's ``token_counter``: as many of the last ones as fit, but at least the last turn.
        A tool call is never split from its result, so that covered events stand at the
        beginning where a later one answers them. Formats are those of `messages`.
        """
        at = self._at(key)
        check_text(filter_key, "filter_key", self._settings.limits.text)
        positive(recent, "recent")
        positive(max_tokens, "max_tokens")
        convert((), format)
        seen = yield from run(self._reading("context", lambda _: contexts.see(at, filter_key)))
        events = yield from contexts.cut(seen, recent, max_tokens, self._settings)
        return contexts.context(seen.summary, events, format)

    @stream
    def tail(self, key: SessionKey, after_seq: int | None = None) -> Stream[Event | Rewritten]:
        """New events as they are stored, by whatever process, without a gap or a repeat.

        Starts behind ``after_seq`` (0: from the first event), or behind what is there now.
        Every event of every line comes, in seq order, but for those that a prune deletes
        before this has looked; a change of history comes as one `Rewritten`. Looks every 10
        to 200 ms, without end; raises `NotFoundError` when the session is deleted.
        """
        positive(after_seq, "after_seq")
        at = self._at(key)
        start = self._reading("tail", lambda _: following.begin(at, after_seq))

        def look_on(so_far: following.Place) -> Operation[following.News]:
            now = self._at(key)
            return self._reading("tail", lambda _: following.look(now, so_far))

        yield from following.follow((at.part, at.key.id), start, look_on)

    # -- notes -------------------------------------------------------------------------------

    @operation
    def annotate(
        self,
        key: SessionKey,
        name: str,
        value: JSON = True,
        *,
        event_id: str | None = None,
        by: str = "",
    ) -> Work[Annotation]:
        """Note something about a session, or one of its events, without touching it.

        A score, a comment, ``pinned``, ``hidden``: every call adds a note. The session keeps
        its version. Raises `NotFoundError` if there is no such session or event.
        """
        at = self._at(key)
        limits = self._settings.limits
        check_text(name, "name", limits.text, blank=False)
        check_text(by, "by", limits.text)
        maybe(lambda text: check_text(text, "event id", limits.text), event_id)
        note = NewAnnotation(at.key, name, value, event_id, by)
        text = encode(passed(note, self._settings).value, "value", limits.event)
        note_id = self._settings.ids()

        def work(_: Bumps) -> Plan[Annotation]:
            yield from self._noted(at, event_id)
            # Again when held: the event must not be removed before its note is there.
            yield from hold(at, None, {})
            row = yield from self._noted(at, event_id)
            yield EVENTS.annotate(
                part=row.part,
                uid=row.uid,
                id=note_id,
                event_id=event_id,
                name=name,
                value=text,
                author=by,
                now=at.now,
            )
            return Annotation(name, decode(text, "a note"), by, event_id, from_micros(at.now))

        return work

    def _noted(self, at: Target, event_id: str | None) -> Plan[SessionRow]:
        row = yield from get(at)
        if event_id is not None and not (
            yield EVENTS.by_id(part=row.part, uid=row.uid, event_id=event_id)
        ):
            raise NotFoundError(f"session {row.id!r} has no event {event_id!r}")
        return row

    @reads
    def annotations(
        self, key: SessionKey, event_id: str | None = None
    ) -> Work[Sequence[Annotation]]:
        """The notes of a session and its events, or of one event, in the order they were made."""
        at = self._at(key)
        wanted_text(event_id, "event_id")

        def work(_: Bumps) -> Plan[Sequence[Annotation]]:
            row = yield from get(at)
            rows = yield EVENTS.annotations(part=row.part, uid=row.uid, event_id=event_id)
            return [
                Annotation(name, decode(value, "a note"), by, of, from_micros(made))
                for name, value, by, of, made in rows
            ]

        return work


def _filter(
    after_time: datetime | None,
    after_seq: int | None,
    before_seq: int | None,
    branch: str | None,
    run_id: str | None,
    all_lines: bool,
) -> Filter:
    positive(after_seq, "after_seq")
    positive(before_seq, "before_seq")
    return Filter(
        low=1 if after_seq is None else after_seq + 1,
        high=NO_SEQ if before_seq is None else before_seq - 1,
        after_time=None if after_time is None else to_micros(after_time, "after_time"),
        branch=wanted_text(branch, "branch"),
        run_id=wanted_text(run_id, "run_id"),
        all_lines=all_lines,
    )


def _nothing() -> Plan[int]:
    return NO_SEQ
    yield
