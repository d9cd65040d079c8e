"""Summaries: what a session was about, kept beside its events and never in their place."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from perdure.errors import InvalidError, NotFoundError
from perdure.features import summarising
from perdure.features.coverage import SUMMARIES, SummaryRow, best, counts
from perdure.features.cursors import check_limit, pack, unpack
from perdure.features.line import holds, runs
from perdure.features.lookup import SessionRow, Target, find, get, hold, target
from perdure.features.reading import positive
from perdure.features.summarising import Uncovered, put, summary_of, told, uncovered
from perdure.operation import (
    Bumps,
    Call,
    Feature,
    Flow,
    M,
    Plan,
    Step,
    Work,
    flow,
    operation,
    reading,
    run,
)
from perdure.records import Page, SessionKey, Summary, SummaryTrigger
from perdure.values import check_text, decode


class Summaries(Feature[M]):
    """`store.summaries`: one text a session and filter, with the last event it tells of.

    A ``filter_key`` selects the events whose own filter key (or branch) is it, stands above it
    or below it, by parts between ``/``; an event without one belongs to all. ``""`` is the
    whole session. A summary counts where its boundary is on the active line, and never for a
    later session of the same id. The session keeps its version.
    """

    name = "summaries"

    def _at(self, key: SessionKey) -> Target:
        settings = self._settings
        return target(settings.tenant, key, settings.limits.text, settings.clock())

    def _filter(self, filter_key: str) -> str:
        return check_text(filter_key, "filter_key", self._settings.limits.text)

    # -- reading -----------------------------------------------------------------------------

    @reading
    def get(self, key: SessionKey, filter_key: str = "") -> Work[Summary]:
        """The summary of that filter; `NotFoundError` if there is none that counts."""
        at = self._at(key)
        wanted = self._filter(filter_key)

        def work(_: Bumps) -> Plan[Summary]:
            found = yield from _find((yield from get(at)), wanted)
            if found is None:
                name = f" for the filter {wanted!r}" if wanted else ""
                raise NotFoundError(f"session {key[2]!r} has no summary{name}: summarize it")
            return found

        return work

    @reading
    def find(self, key: SessionKey, filter_key: str = "") -> Work[Summary | None]:
        """The summary of that filter, or None; also None if there is no such session."""
        at = self._at(key)
        wanted = self._filter(filter_key)

        def work(_: Bumps) -> Plan[Summary | None]:
            row = yield from find(at)
            return (yield from _find(row, wanted)) if row else None

        return work

    @reading
    def summary_text(self, key: SessionKey, filter_key: str = "") -> Work[str | None]:
        """The text of that filter's summary, else of the whole session's, else None."""
        at = self._at(key)
        wanted = self._filter(filter_key)

        def work(_: Bumps) -> Plan[str | None]:
            row = yield from find(at)
            found = (yield from best(row, wanted)) if row else None
            return decode(found.text, "a summary") if found else None

        return work

    @reading
    def list(
        self, key: SessionKey, *, cursor: str | None = None, limit: int = 100
    ) -> Work[Page[Summary]]:
        """A page of the session's summaries that count, by filter key, bytewise."""
        at = self._at(key)
        size = check_limit(limit, self._settings.limits.records)
        after = None if cursor is None else unpack(cursor, "summaries", str)[0]
        return lambda _: _page(at, after, size)

    # -- writing by hand ---------------------------------------------------------------------

    @operation
    def set(
        self,
        key: SessionKey,
        text: str,
        filter_key: str = "",
        covers_seq: int | None = None,
        topics: Sequence[str] = (),
    ) -> Work[Summary]:
        """Write a summary by hand, in the place of the one there.

        ``covers_seq`` is the last event it tells of, on the active line (0: it does not say);
        None keeps the boundary that there is, so that no event is taken for covered. Raises
        `NotFoundError` for an event that is not there.
        """
        at = self._at(key)
        wanted = self._filter(filter_key)
        boundary = positive(covers_seq, "covers_seq")
        made = summarising.columns(text, topics, self._settings.limits)
        if not text.strip():
            raise InvalidError(f"a summary must not be blank, it is {text!r}: delete it", "text")

        def work(_: Bumps) -> Plan[Summary]:
            row = yield from hold(at, None, {})
            upto = yield from _boundary(row, wanted, boundary)
            return (yield from put(row, wanted, made, upto, at.now))

        return work

    @operation
    def delete(self, key: SessionKey, filter_key: str = "") -> Work[bool]:
        """Remove the summary of that filter; whether there was one. The events stay."""
        at = self._at(key)
        wanted = self._filter(filter_key)

        def work(_: Bumps) -> Plan[bool]:
            row = yield from find(at)
            if row is None:
                return False
            row = yield from hold(at, None, {})
            gone = yield SUMMARIES.remove(part=row.part, uid=row.uid, filter_key=wanted)
            return bool(gone)

        return work

    # -- making ------------------------------------------------------------------------------

    @flow
    def summarize(
        self,
        key: SessionKey,
        filter_key: str = "",
        *,
        force: bool = False,
        summariser: Callable[..., Any] | None = None,
        trigger: SummaryTrigger | None = None,
    ) -> Flow[Summary | None]:
        """Have the summariser tell of what is not covered yet, and store what it gives.

        ``summariser``, by default the store's, is called with the text so far (or None) and
        the events after its boundary, oldest first; it gives the new text for both, or (text,
        topics), or a record that has these. It is sync or async, and no transaction waits for
        it. The new boundary is the last event that it was given: what is appended meanwhile
        stays uncovered.

        None, and nothing is stored, if there is nothing new, if the ``trigger`` does not say
        that it is time, or if the text is blank. ``force=True`` asks neither: the text is made
        again even of itself alone. If another summary was stored meanwhile it stays, and comes
        back. Raises `ConflictError` if what it tells of was rewound, redacted or removed
        meanwhile, and what the summariser raises.
        """
        at = self._at(key)
        wanted = self._filter(filter_key)
        chosen = summarising.check_summariser(summariser, self._settings)
        due = summarising.check_trigger(trigger)
        found = yield from run(self._reading("summarize", lambda _: uncovered(at, wanted)))
        if not force and not (yield from self._is_due(found, due)):
            return None
        if not found.events and found.previous is None:
            return None
        return (yield from self._make(found, wanted, chosen))

    def _is_due(
        self, found: Uncovered, trigger: SummaryTrigger | None
    ) -> Generator[Step, Any, bool]:
        if not found.events:
            return False
        if trigger is None:
            return True
        return (yield from summarising.is_due(found, trigger, self._settings))

    def _make(
        self, found: Uncovered, filter_key: str, summariser: Callable[..., Any]
    ) -> Generator[Step, Any, Summary | None]:
        so_far = found.previous and decode(found.previous.text, "a summary")
        given = yield Call(summariser, (so_far, found.events))
        made = told(given, self._settings.limits)
        if made is None:
            return None
        at = self._at(found.row.key)
        return (yield from run(summarising.store(at, found, filter_key, made)))


def _find(row: SessionRow, filter_key: str) -> Plan[Summary | None]:
    found = yield SUMMARIES.find(part=row.part, uid=row.uid, filter_key=filter_key)
    if not found:
        return None
    summary = SummaryRow._make(found[0])
    line = yield from runs(row.part, row.uid, row.head)
    return summary_of(row.key, summary) if counts(line, summary) else None


def _page(at: Target, after: str | None, size: int) -> Plan[Page[Summary]]:
    row = yield from get(at)
    line = yield from runs(row.part, row.uid, row.head)
    kept: list[Summary] = []
    if after is None:
        # No name comes before the empty one: it is asked for by itself.
        whole = yield from _find(row, "")
        kept = [whole] if whole else []
    while len(kept) <= size:
        found = yield SUMMARIES.list(part=row.part, uid=row.uid, after=after or "", limit=size + 1)
        rows = [SummaryRow._make(columns) for columns in found]
        kept += [summary_of(row.key, one) for one in rows if counts(line, one)]
        if len(rows) <= size:
            break
        after = rows[-1].filter_key
    more = pack("summaries", kept[size - 1].filter_key) if len(kept) > size else None
    return Page(kept[:size], more)


def _boundary(row: SessionRow, filter_key: str, wanted: int | None) -> Plan[int]:
    """The boundary of a summary by hand: what is asked for, or what stands there."""
    line = yield from runs(row.part, row.uid, row.head)
    if wanted is None:
        found = yield SUMMARIES.find(part=row.part, uid=row.uid, filter_key=filter_key)
        stored = SummaryRow._make(found[0]) if found else None
        return stored.covers_seq if stored and counts(line, stored) else 0
    if wanted and not holds(line, wanted):
        raise NotFoundError(f"session {row.id!r} has no event {wanted} on its active line")
    return wanted
