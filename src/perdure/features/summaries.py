"""Summaries: what a session was about, kept beside its events and never in their place."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from datetime import timedelta
from typing import Any

from perdure.errors import InvalidError, NotFoundError
from perdure.features import summarising, summary_jobs
from perdure.features.coverage import SUMMARIES, SummaryRow, best, counts, remove
from perdure.features.cursors import check_limit, pack, unpack
from perdure.features.describing import span
from perdure.features.holds import refuse_if_held
from perdure.features.leases import Lease, drop, renew
from perdure.features.line import holds, runs
from perdure.features.lookup import SessionRow, Target, find, get, hold, target
from perdure.features.reading import positive
from perdure.features.summarising import Uncovered, put, summary_of, told, uncovered
from perdure.features.summary_jobs import Asked, Job
from perdure.operation import (
    Bumps,
    Call,
    Feature,
    Flow,
    Keeping,
    M,
    Plan,
    Step,
    Work,
    flow,
    operation,
    reading,
    run,
)
from perdure.records import Page, SessionKey, Summary, SummaryJob, SummaryRun, SummaryTrigger
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
        block = self._settings.ids()
        if not text.strip():
            raise InvalidError(f"a summary must not be blank, it is {text!r}: delete it", "text")

        def work(_: Bumps) -> Plan[Summary]:
            row = yield from hold(at, None, {})
            upto = yield from _boundary(row, wanted, boundary)
            return (yield from put(row, wanted, made, upto, at.now, block))

        return work

    @operation
    def delete(self, key: SessionKey, filter_key: str = "") -> Work[bool]:
        """Remove the summary of that filter; whether there was one. The events stay.

        `DeniedError` while the session, or its user, is held.
        """
        at = self._at(key)
        wanted = self._filter(filter_key)

        def work(_: Bumps) -> Plan[bool]:
            row = yield from find(at)
            if row is None:
                return False
            row = yield from hold(at, None, {})
            yield from refuse_if_held(row.part, row.uid, f"delete a summary of session {row.id!r}")
            return (yield from remove(row, wanted))

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
        wanted = self._filter(filter_key)
        chosen = summarising.check_summariser(summariser, self._settings)
        due = summarising.check_trigger(trigger)
        return (yield from self._summarize(key, wanted, chosen, force, due, None))

    def _summarize(
        self,
        key: SessionKey,
        wanted: str,
        chosen: Callable[..., Any],
        force: bool,
        due: SummaryTrigger | None,
        held: tuple[Lease, int] | None,
    ) -> Generator[Step, Any, Summary | None]:
        at = self._at(key)
        found = yield from run(self._reading("summarize", lambda _: uncovered(at, wanted)))
        if not force and not (yield from self._is_due(found, due)):
            return None
        if not found.events and found.previous is None:
            return None
        return (yield from self._make(found, wanted, chosen, held))

    def _is_due(
        self, found: Uncovered, trigger: SummaryTrigger | None
    ) -> Generator[Step, Any, bool]:
        if not found.events:
            return False
        if trigger is None:
            return True
        return (yield from summarising.is_due(found, trigger, self._settings))

    def _make(
        self,
        found: Uncovered,
        filter_key: str,
        summariser: Callable[..., Any],
        held: tuple[Lease, int] | None,
    ) -> Generator[Step, Any, Summary | None]:
        so_far = found.previous and decode(found.previous.text, "a summary")
        call = Call(summariser, (so_far, found.events))
        given = yield call if held is None else self._keeping(call, *held)
        made = told(given, self._settings.limits)
        if made is None:
            return None
        at = self._at(found.row.key)
        return (
            yield from run(summarising.store(at, found, filter_key, made, self._settings.ids()))
        )

    def _keeping(self, call: Call, lease: Lease, ttl: int) -> Keeping:
        """The call, with the lease renewed three times as often as it must be."""
        clock = self._settings.clock
        return Keeping(call, ttl / 3_000_000, lambda: renew(lease, now=clock(), ttl=ttl))

    # -- in the background -------------------------------------------------------------------

    @operation
    def enqueue_summary(
        self,
        key: SessionKey,
        filter_key: str = "",
        *,
        force: bool = False,
        trigger: SummaryTrigger | None = None,
    ) -> Work[None]:
        """Have a worker summarise the session, as `summarize` would: see `run_jobs`.

        The job is a row, stored in this transaction (in a turn: with the rest), so it outlives
        the process. A session has one job a filter: a second asking renews it, and what it had
        failed with is tried again. The trigger is looked at when its turn comes. Raises
        `NotFoundError`.
        """
        at = self._at(key)
        wanted = self._filter(filter_key)
        options = summary_jobs.options_text(bool(force), summarising.check_trigger(trigger))
        return lambda _: summary_jobs.enqueue(at, wanted, options, self._settings.tenant)

    @reading
    def jobs(
        self, key: SessionKey | None = None, *, cursor: str | None = None, limit: int = 100
    ) -> Work[Page[SummaryJob]]:
        """A page of what is queued, running or failed, of a session or of the whole tenant.

        In no order that means something. What is done is not there any more.
        """
        at = None if key is None else self._at(key)
        size = check_limit(limit, self._settings.limits.records)
        now = self._settings.clock()
        return lambda _: summary_jobs.listed(at, self._settings.tenant, now, cursor, size)

    @operation
    def cancel_job(self, key: SessionKey, filter_key: str = "") -> Work[bool]:
        """Take a job out of the queue; whether there was one. One that runs is not stopped."""
        at = self._at(key)
        wanted = self._filter(filter_key)
        return lambda _: summary_jobs.cancel(at, wanted)

    @flow
    def run_jobs(
        self,
        limit: int = 20,
        *,
        summariser: Callable[..., Any] | None = None,
        lease: timedelta = timedelta(minutes=1),
    ) -> Flow[SummaryRun]:
        """Do up to ``limit`` jobs whose time has come, one after another; how it went.

        At a session there is one worker at a time, over all processes: each holds a lease on
        it, renewed while the summariser runs, so that a session whose worker has died is free
        again after ``lease``. A job that fails stays with its error in `jobs`, and is tried
        again after 10 seconds, then 20, 40 and 80; after five tries it waits to be enqueued
        anew.
        """
        size = check_limit(limit, self._settings.limits.records)
        chosen = summarising.check_summariser(summariser, self._settings)
        ttl = span(lease, "lease")
        return (yield from self._run_jobs(size, chosen, ttl, lambda: True))

    def _run_jobs(
        self, limit: int, chosen: Callable[..., Any], ttl: int, going: Callable[[], bool]
    ) -> Generator[Step, Any, SummaryRun]:
        settings = self._settings
        now, owner = settings.clock(), settings.ids()
        look = self._reading("jobs", lambda _: summary_jobs.due(settings.tenant, now, limit))
        outcomes = []
        for job in (yield from run(look)):
            if not going():
                break
            claimed = yield from summary_jobs.claim(job, settings, owner, ttl)
            if claimed is not None:
                outcomes.append((yield from self._run_job(job, *claimed, chosen, ttl)))
        return SummaryRun(outcomes.count(True), outcomes.count(False))

    def _run_job(
        self, job: Job, lease: Lease, asked: Asked, chosen: Callable[..., Any], ttl: int
    ) -> Generator[Step, Any, bool | None]:
        """Whether it went well; None if it was done between the look and the lease."""
        well = None
        if asked.number:
            held = (lease, ttl)
            try:
                yield from self._summarize(
                    job.key, job.filter_key, chosen, asked.force, asked.trigger, held
                )
                well = True
                yield from run(summary_jobs.done(job, asked))
            except Exception as error:  # noqa: BLE001 - kept with the job, and others go on
                well = False
                now = self._settings.clock()
                yield from run(summary_jobs.failed(job, asked, error, now))
        yield from run(drop(lease))
        return well


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
