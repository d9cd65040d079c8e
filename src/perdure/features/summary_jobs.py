"""The queue of summaries to be made: rows that outlive processes, done by one worker at a time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from perdure.features.coverage import SUMMARIES
from perdure.features.cursors import pack, unpack
from perdure.features.leases import Lease, take
from perdure.features.lookup import Target, find, get, hold
from perdure.operation import Bumps, Operation, Plan, Settings, Step, run
from perdure.records import Page, SessionKey, SummaryJob, SummaryTrigger
from perdure.values import decode, encode_trusted, from_micros, maybe

MOST_ATTEMPTS = 5
_FIRST_PAUSE = timedelta(seconds=10) // timedelta(microseconds=1)
_LONGEST_ERROR = 2000
_NOWHERE = ("", "", "")


class Job(NamedTuple):
    """A job that is due, as `due` in summaries.sql gives it."""

    part: str
    uid: str
    filter_key: str
    lease: str
    app: str
    user: str
    id: str

    @property
    def key(self) -> SessionKey:
        """The key of its session."""
        return SessionKey(self.app, self.user, self.id)

    @property
    def place(self) -> dict[str, str]:
        """What its row is found by."""
        return {"part": self.part, "uid": self.uid, "filter_key": self.filter_key}


class Asked(NamedTuple):
    """What is asked for, and the how manieth asking it is."""

    number: int
    force: bool
    trigger: SummaryTrigger | None
    attempts: int


def options_text(force: bool, trigger: SummaryTrigger | None) -> str:
    """The stored form of what a job is to heed."""
    if trigger is None:
        return encode_trusted({"force": force})
    idle = maybe(lambda value: value // timedelta(microseconds=1), trigger.idle)
    given = {"events": trigger.events, "tokens": trigger.tokens, "match": trigger.match}
    return encode_trusted({"force": force, "trigger": {**given, "idle": idle}})


def _trigger(options: dict[str, Any]) -> SummaryTrigger | None:
    given = options.get("trigger")
    if given is None:
        return None
    idle = maybe(lambda value: timedelta(microseconds=value), given.pop("idle"))
    return SummaryTrigger(idle=idle, **given)


def enqueue(at: Target, filter_key: str, options: str, tenant: str) -> Plan[None]:
    """Put the job into the queue, or ask once more for one that is there."""
    row = yield from hold(at, None, {})
    yield SUMMARIES.enqueue(
        part=row.part,
        uid=row.uid,
        filter_key=filter_key,
        tenant=tenant,
        lease=f"summary {row.uid}",
        options=options,
        now=at.now,
    )


def cancel(at: Target, filter_key: str) -> Plan[bool]:
    """Take the job out of the queue."""
    row = yield from find(at)
    if row is None:
        return False
    return bool((yield SUMMARIES.cancel(part=row.part, uid=row.uid, filter_key=filter_key)))


def due(tenant: str, now: int, limit: int) -> Plan[list[Job]]:
    """The jobs whose time has come and that nobody is at, the longest waiting first."""
    rows = yield SUMMARIES.due(tenant=tenant, now=now, limit=limit)
    return [Job._make(columns) for columns in rows]


def claim(
    job: Job, settings: Settings, owner: str, ttl: int
) -> Generator[Step, Any, tuple[Lease, Asked] | None]:
    """The job under its lease; None if somebody else is at the session, or has done it."""
    now = settings.clock()
    lease = yield from run(take(job.part, job.lease, owner, now=now, ttl=ttl))
    if lease is None:
        return None
    look = Operation("summaries.job", (), {}, lambda _: _asked(job, now), reads=True)
    return lease, (yield from run(look))


def _asked(job: Job, now: int) -> Plan[Asked]:
    rows = yield SUMMARIES.job(**job.place, now=now)
    if not rows:
        return Asked(0, force=False, trigger=None, attempts=0)
    number, text, attempts = rows[0]
    options = decode(text, "the options of a summary job")
    return Asked(number, options["force"], _trigger(options), attempts)


def done(job: Job, asked: Asked) -> Operation[None]:
    """Take the job out of the queue; not if it was asked for once more."""

    def work(_: Bumps) -> Plan[None]:
        yield SUMMARIES.done(**job.place, asked=asked.number)

    return Operation("summaries.done", (), {}, work)


def failed(job: Job, asked: Asked, error: Exception, now: int) -> Operation[None]:
    """Note the failure, and when the next try is: after 10 s, 20 s, 40 s …, at most five."""
    pause = _FIRST_PAUSE * 2**asked.attempts
    due_at = None if asked.attempts + 1 >= MOST_ATTEMPTS else now + pause
    told = f"{type(error).__name__}: {error}"[:_LONGEST_ERROR]
    text = encode_trusted(told.encode("utf-8", "replace").decode())

    def work(_: Bumps) -> Plan[None]:
        yield SUMMARIES.failed(**job.place, asked=asked.number, due_at=due_at, error=text)

    return Operation("summaries.failed", (), {}, work)


def listed(
    at: Target | None, tenant: str, now: int, cursor: str | None, size: int
) -> Plan[Page[SummaryJob]]:
    """A page of the queue, of one session or of the tenant."""
    start: Sequence[str] = _NOWHERE if cursor is None else unpack(cursor, "jobs", str, str, str)
    after = dict(zip(("after_part", "after_uid", "after_filter"), start, strict=True))
    scope: dict[str, str] = {"tenant": tenant}
    if at is not None:
        row = yield from get(at)
        scope = {"part": row.part, "uid": row.uid}
    name = "tenant" if at is None else "session"
    rows = yield SUMMARIES.pick("jobs", name)(**scope, **after, now=now, limit=size + 1)
    more = pack("jobs", *rows[size - 1][3:6]) if len(rows) > size else None
    return Page([_job_of(columns) for columns in rows[:size]], more)


def _job_of(columns: Sequence[Any]) -> SummaryJob:
    app, user, session_id, _, _, filter_key, enqueued_at, due_at, attempts, error, until = columns
    waiting: Any = "failed" if due_at is None else "queued"
    return SummaryJob(
        key=SessionKey(app, user, session_id),
        filter_key=filter_key,
        state="running" if until is not None and due_at is not None else waiting,
        enqueued_at=from_micros(enqueued_at),
        due_at=maybe(from_micros, due_at),
        attempts=attempts,
        error=maybe(lambda text: decode(text, "a summary job's error"), error),
    )
