"""What models were paid for: the sums of the events' usage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from perdure.errors import InvalidError
from perdure.features.line import NO_SEQ
from perdure.features.listing import scope_of
from perdure.features.lookup import get, target
from perdure.features.token_usage import Tokens, model_of, tokens_of
from perdure.operation import Bumps, Feature, Flow, M, Operation, Plan, flow, run
from perdure.records import ALL, AllType, SessionKey, Usage
from perdure.sql import load
from perdure.values import FIRST_MICROS, LAST_MICROS, decode, from_micros, to_micros

USAGE = load("perdure.features", "usage.sql")

GROUPS = ("app", "user", "session", "author", "run_id", "model", "day", "month")

#: Of one transaction: sessions that are looked at, and events that are read.
_SESSIONS = 50
_EVENTS = 2_000


_Sums: TypeAlias = "dict[tuple[str, ...], tuple[Tokens, int]]"


class _Wanted(NamedTuple):
    """A checked report: whose sessions, and when."""

    scope: str
    which: str
    owner: str
    now: int
    since: int
    until: int


class _Place(NamedTuple):
    """Behind which event the report goes on."""

    part: str = ""
    uid: str = ""
    seq: int = 0


class _Spent(NamedTuple):
    """An event that says what it took, and whose it is."""

    app: str
    user: str
    session: str
    seq: int
    timestamp: int
    author: str
    run_id: str
    usage: str
    metadata: str | None
    extra: str | None


class Usages(Feature[M]):
    """What `Store` offers itself: `usage`."""

    name = "store"

    @flow
    def usage(
        self,
        by: Sequence[str] = ("user", "model", "day"),
        *,
        app: str | AllType = ALL,
        user: str | AllType = ALL,
        session: SessionKey | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        include_deleted: bool = False,
    ) -> Flow[list[Usage]]:
        """The tokens of all events, of an app, of a user or of one session, in groups.

        ``by`` is any of app, user, session, author, run_id, model, day and month (UTC, by the
        event's timestamp); nothing gives one sum. ``after`` is inclusive, ``before`` is not.
        Every line of a session counts, what a fork copied counts once. Read in small
        transactions, so that what is written meanwhile may be in it or not.
        """
        groups = _groups(by)
        since = FIRST_MICROS if after is None else to_micros(after, "after")
        until = LAST_MICROS + 1 if before is None else to_micros(before, "before")
        whose = None
        if session is None:
            scope, owner = scope_of(self._settings, app, user)
        else:
            if app is not ALL or user is not ALL:
                raise InvalidError("a session names its app and user: leave those out", "session")
            scope, owner = "", ""
            whose = yield from run(self._whose(session))
        which = "every" if include_deleted else "live"
        wanted = _Wanted(scope, which, owner, self._settings.clock(), since, until)
        sums: _Sums = {}
        place: _Place | None = _Place()
        while place is not None:
            found, place = yield from run(self._some(wanted, whose, place))
            _add(sums, groups, found)
        return [_usage(groups, group, *sums[group]) for group in sorted(sums)]

    def _whose(self, session: SessionKey) -> Operation[tuple[str, ...]]:
        settings = self._settings
        at = target(settings.tenant, session, settings.limits.text, settings.clock())

        def work(_: Bumps) -> Plan[tuple[str, ...]]:
            row = yield from get(at)
            return (row.part, row.uid, *row.key)

        return self._reading("usage", work)

    def _some(
        self, wanted: _Wanted, whose: tuple[str, ...] | None, place: _Place
    ) -> Operation[tuple[list[_Spent], _Place | None]]:
        if whose is None:
            return self._reading("usage", lambda _: _of_many(wanted, place))
        return self._reading("usage", lambda _: _of_one(wanted, whose, place.seq))


def _groups(by: Sequence[str]) -> tuple[str, ...]:
    groups = tuple([by] if isinstance(by, str) else by)
    unknown = [name for name in groups if name not in GROUPS]
    if unknown or len(set(groups)) < len(groups):
        message = f"by is any of {', '.join(GROUPS)}, each once, not {list(groups)}"
        raise InvalidError(message, "by")
    return groups


def _of_one(
    wanted: _Wanted, whose: tuple[str, ...], seq: int
) -> Plan[tuple[list[_Spent], _Place | None]]:
    found = yield from _spent(wanted, whose, seq, _EVENTS)
    return found, _Place(whose[0], whose[1], found[-1].seq) if len(found) == _EVENTS else None


def _of_many(wanted: _Wanted, place: _Place) -> Plan[tuple[list[_Spent], _Place | None]]:
    """What some sessions have spent, and where to go on; None: that was all."""
    sessions = yield USAGE.pick("sessions", wanted.scope, wanted.which)(
        owner=wanted.owner,
        now=wanted.now,
        after_part=place.part,
        after_uid=place.uid,
        limit=_SESSIONS,
    )
    found: list[_Spent] = []
    for whose in sessions:
        begun = (whose[0], whose[1]) == place[:2]
        left = _EVENTS - len(found)
        some = yield from _spent(wanted, whose, place.seq if begun else 0, left)
        found += some
        if len(some) == left:
            return found, _Place(whose[0], whose[1], some[-1].seq)
    if len(sessions) < _SESSIONS:
        return found, None
    return found, _Place(sessions[-1][0], sessions[-1][1], NO_SEQ)


def _spent(wanted: _Wanted, whose: Sequence[str], seq: int, limit: int) -> Plan[list[_Spent]]:
    part, uid, app, user, session = whose
    rows = yield USAGE.spent(
        part=part, uid=uid, after_seq=seq, since=wanted.since, until=wanted.until, limit=limit
    )
    return [_Spent(app, user, session, *row) for row in rows]


def _add(sums: _Sums, groups: Sequence[str], found: list[_Spent]) -> None:
    for one in found:
        what = f"event {one.seq} of session {one.session!r}"
        usage = decode(one.usage, what)
        group = tuple(_name(name, one, usage, what) for name in groups)
        tokens, events = sums.get(group, (Tokens(), 0))
        sums[group] = tokens.plus(tokens_of(usage)), events + 1


def _name(group: str, one: _Spent, usage: Any, what: str) -> str:
    if group == "model":
        others = [decode(text, what) for text in (one.metadata, one.extra) if text]
        return model_of(usage, *others)
    if group in {"day", "month"}:
        day = from_micros(one.timestamp).date().isoformat()
        return day if group == "day" else day.rpartition("-")[0]
    name: str = getattr(one, group)
    return name


def _usage(groups: Sequence[str], group: Sequence[str], tokens: Tokens, events: int) -> Usage:
    named: Mapping[str, str] = dict(zip(groups, group, strict=True))
    return Usage(
        **named,
        events=events,
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        total_tokens=tokens.total,
        cached_tokens=tokens.cached,
    )
