"""Steps of runs: what a function gave, stored once, and given back after a restart.

A journal, and not a workflow engine: nothing here runs by itself. Who calls the step again, in the
same process or another one, gets what was stored; only what was not stored is run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, NamedTuple

from perdure.errors import BusyError, InvalidError, NotFoundError, PerdureError
from perdure.features.cursors import check_limit, pack, unpack
from perdure.features.describing import span
from perdure.features.held import HeldLease, given_back
from perdure.features.holds import refuse_if_held
from perdure.features.hooks import passed
from perdure.features.leases import LEASES, Lease
from perdure.features.lookup import Target, get, hold, target
from perdure.features.reading import positive
from perdure.features.runs import TTL
from perdure.features.waiting import seconds_of
from perdure.operation import (
    Bumps,
    Call,
    Feature,
    Flow,
    M,
    Operation,
    Plan,
    Sleep,
    Tend,
    Work,
    flow,
    operation,
    reading,
    run,
)
from perdure.parts import place
from perdure.records import JSON, NewRunStep, Page, RunStep, SessionKey, UserScope
from perdure.sql import load
from perdure.values import check_text, digest, from_micros, from_payload, maybe, payload

STEPS = load("perdure.features", "steps.sql")

_SHORTEST = 0.01
_LONGEST = 0.2

Owner = SessionKey | UserScope | None

#: The owners of the leases of the steps that the caller is inside of: waiting for one has no end.
_inside: ContextVar[frozenset[str]] = ContextVar("perdure_steps", default=frozenset())


class _Place(NamedTuple):
    """Where the steps of a run are; of a session only its key is known before the plan."""

    part: str
    at: Target | None
    run_id: str
    run: str
    now: int


class _Step(NamedTuple):
    """A step that is asked for, and by whom."""

    of: _Place
    name: str
    step: str
    owner: str
    ttl: int


class _Begun(NamedTuple):
    """It is ours to run."""

    lease: Lease
    uid: str
    now: int


class Steps(Feature[M]):
    """`store.steps`: what the steps of runs gave. `Store.step` runs one.

    ``owner`` says whose the steps are: a session, which they go with, or a `UserScope`; None: only
    the tenant's. The same run of another owner is another run.
    """

    name = "steps"

    @flow
    def run(
        self,
        run_id: str,
        name: str,
        fn: Callable[..., Any],
        /,
        *args: Any,
        owner: Owner = None,
        keep: timedelta | None = None,
        lease: timedelta = TTL,
        timeout: float | None = None,
        fence: int | None = None,
    ) -> Flow[JSON]:
        """What the step of that name gave in this run; calls ``fn(*args)`` if it has not yet.

        The result, JSON or an `Opaque`, is stored before it is returned, and every later call, in
        whatever process, gets the stored one without calling ``fn``. What ``fn`` raises is raised,
        and nothing is stored. If the process dies in between, ``fn`` is called again next time: at
        least once, with one stored result.
        One process at a time is at a step. Others wait for its result, at most ``timeout`` seconds
        (None: without end), then `BusyError`; what a dead process was at is free after ``lease``.
        ``fn`` is called where you are, and may be async. ``keep`` is how long the result is kept
        (None: until the run, its session or its person is removed). ``fence`` is that of a run
        lease on the owner: once another run has taken it the result is refused with
        `StaleSessionError`.
        """
        if not callable(fn):
            raise InvalidError(f"fn must be callable, not {fn!r}", "fn")
        wanted = self._step(run_id, name, owner, lease, fence)
        kept = None if keep is None else span(keep, "keep")
        most = seconds_of(timeout)
        stored = yield from run(self._reading("step", lambda _: _find(wanted.of, wanted.step)))
        found = stored or (yield from self._alone(wanted, most))
        if isinstance(found, RunStep):
            return found.result
        held = HeldLease(found.lease, self._settings, now=found.now, ttl=wanted.ttl)
        yield Tend(held)
        outside = _inside.get()
        try:
            _inside.set(outside | {wanted.owner})
            given = yield Call(fn, args)
            stored = yield from run(self._store(wanted, found, given, kept))
        except Exception:
            # What cannot be given back ends by itself: no reason to hide what was raised.
            with suppress(PerdureError):
                yield from given_back(held)
            raise
        except BaseException:
            # The caller was cancelled: nothing can be waited for any more.
            held.drop()
            raise
        finally:
            _inside.set(outside)
        held.end()
        return stored.result

    def _alone(self, wanted: _Step, timeout: float) -> Flow[RunStep | _Begun]:
        """The stored result, or the right to run it, as soon as nobody else is at it."""
        begun = time.monotonic()
        pause = _SHORTEST
        while (got := (yield from run(_begin(wanted, self._settings.clock())))) is None:
            at_it: str | None = ""
            # Only looks while somebody is at it: a write each time would be in their way.
            while at_it is not None:
                left = begun + timeout - time.monotonic()
                if left <= 0:
                    raise BusyError(
                        f"another process is at step {wanted.name!r} of run {wanted.of.run_id!r}: "
                        "call it again later, or with a longer timeout"
                    )
                yield Sleep(min(pause, left), (wanted.of.part, ""))
                pause = min(pause * 2, _LONGEST)
                at_it = yield from run(_who(wanted, self._settings.clock()))
                if at_it in _inside.get():
                    message = f"step {wanted.name!r} of run {wanted.of.run_id!r} asks for itself"
                    raise InvalidError(f"{message}: give the step inside a name of its own", "name")
        return got

    def _store(
        self, wanted: _Step, begun: _Begun, given: Any, kept: int | None
    ) -> Operation[RunStep]:
        settings = self._settings
        of = wanted.of
        result = passed(NewRunStep(of.run_id, wanted.name, given), settings).result
        value, codec, data = payload(
            result, f"the result of step {wanted.name!r}", settings.limits.event
        )
        now = settings.clock()
        ends = None if kept is None else now + kept

        def work(bumps: Bumps) -> Plan[RunStep]:
            uid = yield from _uid(of._replace(now=now), bumps, held=True)
            if uid != begun.uid:
                raise NotFoundError(
                    f"the session of run {of.run_id!r} was deleted while step {wanted.name!r} ran"
                )
            mine = yield LEASES.drop(**begun.lease._asdict())
            if not mine and of.at is None and (yield STEPS.erased(part=of.part)):
                raise NotFoundError(
                    f"the person of run {of.run_id!r} was erased while step {wanted.name!r} ran"
                )
            yield STEPS.put(
                part=of.part, uid=uid, run=of.run, digest=wanted.step, run_id=of.run_id,
                name=wanted.name, value=value, codec=codec, data=data,
                now=now, expires_at=ends,
            )  # fmt: skip
            # What stands there: the first one stays, if this one comes too late.
            [row] = yield STEPS.find(part=of.part, uid=uid, run=of.run, digest=wanted.step, now=now)
            return _step_of(row)

        return Operation("steps.store", (), {}, work)

    @reading
    def find(self, run_id: str, name: str, *, owner: Owner = None) -> Work[RunStep | None]:
        """The step of that name, or None if nothing is stored of it."""
        wanted = self._step(run_id, name, owner, TTL, None)
        return lambda _: _find(wanted.of, wanted.step)

    @reading
    def list(
        self,
        run_id: str,
        *,
        owner: Owner = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Work[Page[RunStep]]:
        """A page of the steps of a run in the order they were stored; at most 10,000."""
        of = self._place(run_id, owner)
        size = check_limit(limit, self._settings.limits.records)
        after_at, after = (-1, "") if cursor is None else unpack(cursor, "steps", int, str)

        def work(bumps: Bumps) -> Plan[Page[RunStep]]:
            uid = yield from _uid(of, bumps)
            rows = yield STEPS.list(
                part=of.part, uid=uid, run=of.run, now=of.now, after_at=after_at, after=after,
                limit=size + 1,
            )  # fmt: skip
            last = rows[size - 1] if len(rows) > size else None
            more = pack("steps", last[6], last[0]) if last else None
            return Page([_step_of(row[1:]) for row in rows[:size]], more)

        return work

    @operation
    def delete(self, run_id: str, name: str | None = None, *, owner: Owner = None) -> Work[int]:
        """Forget the steps of a run, or the one of that name; how many.

        What is forgotten is run again when it is asked for. `DeniedError` if the owner is held.
        """
        of = self._place(run_id, owner)
        step = None if name is None else self._digest(name)

        def work(bumps: Bumps) -> Plan[int]:
            uid = yield from _uid(of, bumps, held=True)
            yield from refuse_if_held(of.part, uid, f"forget steps of run {run_id!r}")
            rows = yield STEPS.delete(part=of.part, uid=uid, run=of.run, digest=step, now=of.now)
            return sum(there for (there,) in rows)

        return work

    # -- checks ------------------------------------------------------------------------------

    def _step(
        self, run_id: str, name: str, owner: Owner, lease: timedelta, fence: int | None
    ) -> _Step:
        of = self._place(run_id, owner, fence)
        ttl = span(lease, "lease")
        return _Step(of, name, self._digest(name), self._settings.ids(), ttl)

    def _digest(self, name: str) -> str:
        limit = self._settings.limits.text
        return digest(check_text(name, "name of a step", limit, blank=False))

    def _place(self, run_id: str, owner: Owner, fence: int | None = None) -> _Place:
        settings = self._settings
        limit = settings.limits.text
        now = settings.clock()
        positive(fence, "fence")
        digested = digest(check_text(run_id, "run_id", limit, blank=False))
        if owner is None or isinstance(owner, UserScope):
            if fence is not None:
                raise InvalidError("a fence is of a session: give it as owner", "fence")
            app, user = ("", "") if owner is None else (owner.app, owner.user)
            part = place(settings.tenant, app, user, limit).part
            return _Place(part, None, run_id, digested, now)
        at = target(settings.tenant, owner, limit, now, fence)
        return _Place(at.part, at, run_id, digested, now)


def _uid(of: _Place, bumps: Bumps, *, held: bool = False) -> Plan[str]:
    if of.at is None:
        return ""
    at = of.at._replace(now=of.now)
    row = yield from hold(at, None, bumps) if held else get(at)
    return row.uid


def _find(of: _Place, step: str) -> Plan[RunStep | None]:
    uid = yield from _uid(of, {})
    rows = yield STEPS.find(part=of.part, uid=uid, run=of.run, digest=step, now=of.now)
    return _step_of(rows[0]) if rows else None


def _begin(wanted: _Step, now: int) -> Operation[RunStep | _Begun | None]:
    """What is stored, or the right to run it; None while another process has that."""
    of = wanted.of._replace(now=now)

    def work(bumps: Bumps) -> Plan[RunStep | _Begun | None]:
        uid = yield from _uid(of, bumps, held=True)
        name = _lease_name(uid, wanted)
        rows = yield LEASES.take(
            part=of.part, name=name, owner=wanted.owner, now=now, until=now + wanted.ttl
        )
        found = yield STEPS.find(part=of.part, uid=uid, run=of.run, digest=wanted.step, now=now)
        if not found:
            lease = Lease(of.part, name, wanted.owner, rows[0][0]) if rows else None
            return _Begun(lease, uid, now) if lease else None
        if rows:
            # Stored between the look and this.
            yield LEASES.drop(part=of.part, name=name, owner=wanted.owner, token=rows[0][0])
        return _step_of(found[0])

    return Operation("steps.begin", (), {}, work)


def _who(wanted: _Step, now: int) -> Operation[str | None]:
    """Who is still at it; None: nobody."""
    of = wanted.of._replace(now=now)

    def work(bumps: Bumps) -> Plan[str | None]:
        uid = yield from _uid(of, bumps)
        rows = yield LEASES.find(part=of.part, name=_lease_name(uid, wanted))
        return rows[0][0] if rows and rows[0][2] > now else None

    return Operation("steps.look", (), {}, work, reads=True)


def _lease_name(uid: str, wanted: _Step) -> str:
    return f"step:{digest(uid, wanted.of.run, wanted.step)}"


def _step_of(row: Any) -> RunStep:
    run_id, name, value, codec, data, created_at, expires_at = row
    return RunStep(
        run_id=run_id,
        name=name,
        result=from_payload(value, codec, data, f"step {name!r} of run {run_id!r}"),
        created_at=from_micros(created_at),
        expires_at=maybe(from_micros, expires_at),
    )
