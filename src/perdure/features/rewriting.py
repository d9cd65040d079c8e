"""Changing history on purpose: branches, pruning, and what really removes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from perdure.errors import ConflictError, InvalidError, NotFoundError
from perdure.features import coverage, hooks, removing
from perdure.features.appending import Append, append
from perdure.features.branches import branch_name, move_head
from perdure.features.coverage import SUMMARIES
from perdure.features.drafts import Draft, check_batch, draft, event_of
from perdure.features.holds import refuse_if_held
from perdure.features.line import EVENTS, NO_SEQ
from perdure.features.lookup import SessionRow, Target, claim, get, hold, session_of, target
from perdure.features.pruning import Cut, prune
from perdure.features.reading import Filter, newest, positive, wanted_text
from perdure.features.removing import Doomed, RedactedColumns
from perdure.formats import project
from perdure.operation import Bumps, Feature, M, Plan, Work, operation, reading
from perdure.records import (
    JSON,
    Appended,
    Branch,
    Event,
    EventInput,
    Opaque,
    Session,
    SessionKey,
)
from perdure.values import Payload, check_text, encode_trusted, from_micros, payload, to_micros


class Rewriting(Feature[M]):
    """The part of `store.events` that changes what was stored."""

    name = "events"

    def _at(self, key: SessionKey, fence: int | None = None) -> Target:
        settings = self._settings
        positive(fence, "fence")
        return target(settings.tenant, key, settings.limits.text, settings.clock(), fence)

    @operation
    def rewind(
        self,
        key: SessionKey,
        to_seq: int,
        *,
        expected_version: int | None = None,
        fence: int | None = None,
    ) -> Work[Session]:
        """Make ``to_seq`` the end of the session (0: before the first event).

        The session state becomes what it was there; app and user state stay. Nothing is
        deleted: the line that is left is kept in `branches`. Raises `NotFoundError` if there
        is no such event, `StaleSessionError` as `append` does.
        """
        at = self._at(key, fence)
        positive(to_seq, "to_seq")
        positive(expected_version, "expected_version")
        return lambda bumps: self._rewind(at, to_seq, expected_version, bumps)

    def _rewind(
        self,
        at: Target,
        seq: int,
        expected: int | None,
        bumps: Bumps,
        *,
        keep_state: bool = False,
    ) -> Plan[Session]:
        row = yield from hold(at, expected, bumps)
        if seq != row.head:
            row = yield from claim(at, expected, bumps)
            limits = self._settings.limits
            row = yield from move_head(row, seq, limits, at.now, keep_state=keep_state)
        return session_of(row)

    @operation
    def pop(
        self,
        key: SessionKey,
        n: int = 1,
        *,
        format: str | None = None,
        expected_version: int | None = None,
        fence: int | None = None,
    ) -> Work[list[Event]]:
        """Take the last ``n`` events off the active line; they come back newest first.

        The same as a `rewind` by n: fewer come back if there are fewer. With a ``format`` only
        events of it are taken off: if another is among them it is a `ConflictError`, and if one
        is damaged a `CorruptError`.
        """
        at = self._at(key, fence)
        positive(n, "n")
        wanted_text(format, "format")
        positive(expected_version, "expected_version")
        return lambda bumps: self._pop(at, n, format, expected_version, bumps)

    def _pop(
        self, at: Target, n: int, format: str | None, expected: int | None, bumps: Bumps
    ) -> Plan[list[Event]]:
        rows = yield from newest((yield from hold(at, expected, bumps)), Filter(), n)
        for found in rows if format is not None else ():
            if found.format != format:
                message = f"event {found.id!r} is of format {found.format!r}, not {format!r}"
                raise ConflictError(message)
            found.value_of("content")
        if rows:
            row = yield from claim(at, expected, bumps)
            prev = rows[-1].prev
            kept = yield EVENTS.timestamp_at(part=row.part, uid=row.uid, seq=prev)
            yield from move_head(row, prev if kept else 0, self._settings.limits, at.now)
        return list(map(event_of, rows))

    @operation
    def replace_suffix(
        self,
        key: SessionKey,
        after_seq: int,
        events: Sequence[EventInput],
        *,
        keep_state: bool = False,
        expected_version: int | None = None,
        fence: int | None = None,
    ) -> Work[Appended]:
        """Put these events in the place of all that follows ``after_seq`` (0: everything).

        One transaction: a rewind and an append. What was replaced is kept in `branches`. With
        ``keep_state`` the session state stays as it is, and the events change that: where they
        say the same in fewer words.
        """
        at = self._at(key, fence)
        drafts = [draft(event, self._settings, at.now) for event in events]
        check_batch(drafts, self._settings.limits)
        positive(after_seq, "after_seq")
        expected = positive(expected_version, "expected_version")
        return lambda bumps: self._replace(
            at, after_seq, drafts, expected, bumps, keep_state=keep_state
        )

    def _replace(
        self,
        at: Target,
        seq: int,
        drafts: Sequence[Draft],
        expected: int | None,
        bumps: Bumps,
        *,
        keep_state: bool = False,
    ) -> Plan[Appended]:
        if any(not draft.partial for draft in drafts):
            call = Append(at, drafts, expected, seq, "raise", keep_state)
            return (yield from append(call, self._settings, bumps))
        yield from self._rewind(at, seq, expected, bumps, keep_state=keep_state)
        return (yield from append(Append(at, drafts, None, None, "raise"), self._settings, bumps))

    @operation
    def clear(
        self, key: SessionKey, *, expected_version: int | None = None, fence: int | None = None
    ) -> Work[int]:
        """Remove every event of every line and every summary, for good; how many events.

        Metadata and state stay as they are; the next event still gets a seq never used before.
        """
        at = self._at(key, fence)
        expected = positive(expected_version, "expected_version")

        def work(bumps: Bumps) -> Plan[int]:
            held = yield from hold(at, expected, bumps)
            yield from coverage.clear(held)
            yield SUMMARIES.clear_mark(part=held.part, uid=held.uid)
            if not held.last_seq:
                return 0
            row = yield from claim(at, expected, bumps)
            yield from refuse_if_held(row.part, row.uid, f"clear session {row.id!r}")
            return (yield from removing.clear(row, at.now))

        return work

    @operation
    def delete(
        self,
        key: SessionKey,
        ids: Sequence[str] | None = None,
        *,
        run_id: str | None = None,
        branch: str | None = None,
        seqs: tuple[int, int] | None = None,
        expected_version: int | None = None,
        fence: int | None = None,
    ) -> Work[int]:
        """Remove events for good, on whatever line they are; returns how many.

        They must match all that is given: their id, ``run_id``, ``branch``, a range of seqs
        (both inclusive). What they brought to the state of the active line stays. Summaries that
        cover one of them go with them. Ids that are
        not there are passed over.
        """
        if ids is None and run_id is None and branch is None and seqs is None:
            raise InvalidError("say which events to delete, or call clear() for all", "ids")
        if isinstance(ids, str):
            raise InvalidError(f"ids is a list of event ids, not the text {ids!r}", "ids")
        at = self._at(key, fence)
        low, high = (positive(seq, "seqs") or 0 for seq in seqs or (1, NO_SEQ))
        for event_id in ids or ():
            wanted_text(event_id, "ids")
        doomed = Doomed(
            None if ids is None else list(dict.fromkeys(ids)),
            wanted_text(run_id, "run_id"),
            wanted_text(branch, "branch"),
            low,
            high,
        )
        expected = positive(expected_version, "expected_version")

        def work(bumps: Bumps) -> Plan[int]:
            held = yield from hold(at, expected, bumps)
            found = yield from removing.matching(held, doomed)
            if not found:
                return 0
            row = yield from claim(at, expected, bumps)
            yield from refuse_if_held(row.part, row.uid, f"delete events of session {row.id!r}")
            return (yield from removing.remove(row, found, at.now))

        return work

    @operation
    def redact(
        self,
        key: SessionKey,
        event_id: str,
        content: JSON | Opaque = "[redacted]",
        *,
        expected_version: int | None = None,
        fence: int | None = None,
    ) -> Work[Event]:
        """Put another content in the place of an event's, here and in the forks that copied it.

        The text and the projection follow; summaries that cover the event and memories that name
        it as their source are removed. Id, seq and all other fields stay: a retry of the append
        that stored the event still finds it.
        Raises `NotFoundError`.
        """
        at = self._at(key, fence)
        text = check_text(event_id, "event id", self._settings.limits.text, blank=False)
        content = hooks.content_of(text, content, self._settings)
        columns = _redacted(payload(content, "content", self._settings.limits.event), content)
        expected = positive(expected_version, "expected_version")

        def work(bumps: Bumps) -> Plan[Event]:
            row = yield from claim(at, expected, bumps)
            yield from refuse_if_held(row.part, row.uid, f"redact session {row.id!r}")
            return event_of((yield from removing.redact(row, text, columns, at.now, bumps)))

        return work

    @operation
    def prune(
        self,
        key: SessionKey,
        *,
        keep_last: int | None = None,
        before_seq: int | None = None,
        older_than: timedelta | datetime | None = None,
        branches: bool = False,
        beyond_summary: bool = False,
        fence: int | None = None,
    ) -> Work[int]:
        """Delete the oldest events of the active line, for good; returns how many.

        Keeps the last ``keep_last``, those from ``before_seq`` on, those from the first one
        that is not ``older_than`` (an age, 0 or more, or a time); of several the one that keeps
        most. A tool call stays as
        long as its result. What the summary of the whole session does not cover stays, unless
        ``beyond_summary=True``; without a summary there is nothing to wait for.
        Branches lose what they share with the deleted part, and go with
        it if they end there; ``branches=True`` drops them all. Also deletes what no line
        reaches. The version stays: whoever appends does not have to read again.
        """
        if keep_last is None and before_seq is None and older_than is None:
            raise InvalidError("say what to keep: keep_last, before_seq or older_than", "prune")
        at = self._at(key, fence)
        cut = Cut(
            positive(keep_last, "keep_last"),
            positive(before_seq, "before_seq"),
            _moment(older_than, at.now),
            branches,
            beyond_summary,
        )
        return lambda _: prune(at, cut)

    @reading
    def branches(self, key: SessionKey) -> Work[list[Branch]]:
        """The lines of the session: the active one first, then those that were left."""
        at = self._at(key)

        def work(_: Bumps) -> Plan[list[Branch]]:
            row = yield from get(at)
            left = yield EVENTS.refs(part=row.part, uid=row.uid)
            since = from_micros(row.updated_at)
            active = Branch(branch_name(row.head), row.head, since, current=True)
            return [active, *(Branch(name, head, from_micros(made)) for name, head, made in left)]

        return work

    @operation
    def switch(
        self,
        key: SessionKey,
        name: str,
        *,
        expected_version: int | None = None,
        fence: int | None = None,
    ) -> Work[Session]:
        """Make a line that was left the active one; the one it replaces is kept.

        Raises `NotFoundError` if `branches` has no such name.
        """
        at = self._at(key, fence)
        expected = positive(expected_version, "expected_version")

        def work(bumps: Bumps) -> Plan[Session]:
            row = yield from hold(at, expected, bumps)
            head = yield from _head_of(row, name)
            if head == row.head:
                return session_of(row)
            row = yield from claim(at, expected, bumps)
            moved = yield from move_head(row, head, self._settings.limits, at.now)
            return session_of(moved)

        return work

    @operation
    def drop_branch(self, key: SessionKey, name: str, *, fence: int | None = None) -> Work[bool]:
        """Forget a line that was left; `prune` deletes the events that only it reached."""
        at = self._at(key, fence)

        def work(bumps: Bumps) -> Plan[bool]:
            row = yield from hold(at, None, bumps)
            there = yield EVENTS.refs(part=row.part, uid=row.uid)
            if all(found != name for found, *_ in there):
                return False
            yield from claim(at, None, bumps)
            yield EVENTS.drop_ref(part=row.part, uid=row.uid, name=name)
            return True

        return work


def _head_of(row: SessionRow, name: str) -> Plan[int]:
    if name == branch_name(row.head):
        return row.head
    there = yield EVENTS.refs(part=row.part, uid=row.uid)
    for found, head, _ in there:
        if found == name:
            return int(head)
    names = [found for found, *_ in there]
    raise NotFoundError(f"session {row.id!r} has no branch {name!r}; it has {names}")


def _moment(older_than: timedelta | datetime | None, now: int) -> int | None:
    if older_than is None:
        return None
    if isinstance(older_than, timedelta):
        if older_than < timedelta(0):
            # A sign that slipped, most likely: it would delete everything.
            raise InvalidError(f"older_than must not be below 0, it is {older_than}", "older_than")
        return now - older_than // timedelta(microseconds=1)
    if not isinstance(older_than, datetime):
        raise InvalidError(
            f"older_than is a timedelta or a datetime, not {older_than!r}", "older_than"
        )
    return to_micros(older_than, "older_than")


def _redacted(columns: Payload, content: JSON | Opaque) -> RedactedColumns:
    if isinstance(content, Opaque):
        return RedactedColumns(*columns, "", "other", "", None, None, "other")
    seen = project(content)
    return RedactedColumns(
        *columns,
        seen.text,
        seen.kind,
        seen.role,
        encode_trusted(seen.calls) if seen.calls else None,
        encode_trusted(seen.results) if seen.results else None,
        seen.format,
    )
