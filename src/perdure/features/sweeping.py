"""Sweeping: what has had its time goes, in transactions so short that nobody waits for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

from perdure.errors import DeniedError, NotFoundError
from perdure.features import checkpoint_sweeps, clarification_ends
from perdure.features.approval_sweeps import sweeps
from perdure.features.holds import is_held
from perdure.features.keeping import forget_expired
from perdure.features.line import EVENTS
from perdure.features.lives import tell_removal
from perdure.features.lookup import SESSIONS, target
from perdure.features.outbox import Notes, notes
from perdure.features.pruning import Cut, prune
from perdure.features.storing import expire
from perdure.features.upkeep import purge
from perdure.operation import Feature, Flow, M, Operation, Plan, Settings, flow, run
from perdure.records import SessionKey, Swept, Tally
from perdure.retention import RetentionConfig
from perdure.sql import load
from perdure.tables import TABLES, Table
from perdure.values import FIRST_MICROS

P = ParamSpec("P")
T = TypeVar("T")

SWEEPING = load("perdure.features", "sweeping.sql")

#: What one transaction removes at most, but for one row that alone is more: some milliseconds.
ROWS = 200
BYTES = 1_000_000
_PAGE = 200
_MEMORIES = 20
_DAY = 86_400_000_000

Keep = Callable[[], Flow[bool]]
"""Whether to go on: asked between two transactions."""


class Kind(Protocol):
    """Something that is swept beside sessions."""

    @property
    def name(self) -> str:
        """What the report calls it."""

    def look(self, now: int) -> Plan[Tally]:
        """How much there is to remove."""

    def find(self, now: int) -> Plan[Sequence[Sequence[Any]]]:
        """Some of what is to be removed: of each its bytes, then what `remove` needs."""

    def remove(self, now: int, found: Sequence[Sequence[Any]]) -> Plan[None]:
        """Remove what was found, if it still is what it was."""


@dataclass(frozen=True, slots=True)
class Useless:
    """The rows of a table that say themselves until when they are of use."""

    table: Table
    #: Microseconds that they are kept beyond that.
    lingering: int = 0
    #: How many go in one transaction.
    rows: int = ROWS

    @property
    def name(self) -> str:
        """The table's."""
        return self.table.name

    def look(self, now: int) -> Plan[Tally]:
        """How many rows there are of no use."""
        [tally] = yield SWEEPING.pick("weigh_useless", self.name)(now=now - self.lingering)
        return Tally(*tally)

    def find(self, now: int) -> Plan[Sequence[Sequence[Any]]]:
        """The first of them: bytes and key."""
        before = now - self.lingering
        return (yield SWEEPING.pick("useless", self.name)(now=before, limit=self.rows))

    def remove(self, now: int, found: Sequence[Sequence[Any]]) -> Plan[None]:
        """Remove them, but for those that have been renewed."""
        query = SWEEPING.pick("drop_useless", self.name)
        for _, *key in found:
            yield query(**dict(zip(self.table.key, key, strict=True)), now=now - self.lingering)


@dataclass(frozen=True, slots=True)
class _Indexed(Useless):
    """Key-values: they leave the full-text index as they go."""

    def remove(self, now: int, found: Sequence[Sequence[Any]]) -> Plan[None]:
        """Remove them, but for those that have been renewed."""
        for _, part, namespace, key in found:
            yield from expire(part, namespace, key, now)


@dataclass(frozen=True, slots=True)
class Forgotten(Useless):
    """Memories that have expired: they go with all that a search finds them by."""

    def remove(self, now: int, found: Sequence[Sequence[Any]]) -> Plan[None]:
        """Remove them, those of one owner after the other."""
        for part, memory_id in sorted((part, memory_id) for _, part, memory_id in found):
            yield from forget_expired(part, memory_id, now)


def _useless(table: Table) -> Kind:
    if table.name == "memories":
        # Each has the block packed anew that it is indexed in.
        return Forgotten(table, rows=_MEMORIES)
    if table.name == "keyvalues":
        return _Indexed(table)
    # A day is more than clocks differ by: whoever still believes to have it does not.
    return Useless(table, _DAY if table.name == "leases" else 0)


#: What is swept beside sessions and their events. A table that names its `expires` in the registry
#: is among them; another kind adds a line.
KINDS: list[Kind] = [_useless(table) for table in TABLES if table.expires]


class _Moments(NamedTuple):
    """What is compared with what, in microseconds."""

    tenant: str
    now: int
    deleted_before: int
    idle_before: int
    events_before: int | None


class _Doomed(NamedTuple):
    part: str
    uid: str
    moment: int
    held: int
    why: str


@dataclass(slots=True)
class _Found:
    """What a sweep has come upon so far."""

    kinds: dict[str, Tally] = field(default_factory=dict)
    held: set[tuple[str, str]] = field(default_factory=set)

    def add(self, kind: str, count: int, size: int) -> None:
        before = self.kinds.get(kind, Tally(0, 0))
        self.kinds[kind] = Tally(before.count + count, before.bytes + size)


def always() -> Flow[bool]:
    """Nobody stops a sweep that was called."""
    yield from ()
    return True


class Sweeping(Feature[M]):
    """What `Store` offers itself: `sweep`."""

    name = "store"

    @flow
    def sweep(self, *, dry_run: bool = False) -> Flow[Swept]:
        """Remove what has had its time: what that was, and how many bytes it had.

        Expired sessions, and deleted ones after ``deleted_grace``; rows of other kinds that say
        themselves until when they are of use; and what the store's ``retention`` names. In small
        transactions, none of which holds up writers for long. What is held stays.
        ``dry_run=True`` only counts.
        """
        settings = self._settings
        return (yield from sweep(settings, settings.retention, dry_run=dry_run, keep=always))


def sweep(
    settings: Settings, config: RetentionConfig | None, *, dry_run: bool, keep: Keep
) -> Flow[Swept]:
    """Remove what has had its time; what that was."""
    at = _moments(settings, config)
    found = _Found()
    steps = [
        _sessions(settings, at, "deleted", found, dry_run, keep),
        _sessions(settings, at, "expired", found, dry_run, keep),
    ]
    if config is not None and config.retention_days is not None:
        steps.append(_sessions(settings, at, "idle", found, dry_run, keep))
    if at.events_before is not None:
        steps.append(_events(settings, at, found, dry_run, keep))
    age = None if config is None or config.approvals is None else _micros(config.approvals)
    asked = clarification_ends.swept(settings.tenant, config, at.now)
    kinds: list[Kind] = [*sweeps(settings, age), *KINDS, *asked]
    if config is not None and config.checkpoints is not None:
        rule = config.checkpoints
        steps.append(checkpoint_sweeps.sweep(settings, rule, at.now, found, dry_run, keep))
    steps += [_kind(kind, at.now, found, dry_run, keep) for kind in kinds]
    finished = True
    for step in steps:
        # Each of them: a generator that was never begun closes in silence.
        finished = finished and (yield from step)
    return Swept(found.kinds, len(found.held), finished)


def _moments(settings: Settings, config: RetentionConfig | None) -> _Moments:
    now = settings.clock()
    config = config or RetentionConfig(retention_days=None)
    grace = settings.deleted_grace
    if config.deleted_grace is not None:
        grace = _micros(config.deleted_grace)
    idle = FIRST_MICROS - 1
    if config.retention_days is not None:
        idle = now - _micros(timedelta(days=config.retention_days))
    events = None if config.events is None else now - _micros(config.events)
    return _Moments(settings.tenant, now, max(now - grace, FIRST_MICROS), idle, events)


def _micros(time: timedelta) -> int:
    return time // timedelta(microseconds=1)


def _read(work: Callable[P, Plan[T]], *args: P.args, **kwargs: P.kwargs) -> Operation[T]:
    return Operation("store.sweep", (), {}, lambda _: work(*args, **kwargs), reads=True)


def _write(work: Callable[P, Plan[T]], *args: P.args, **kwargs: P.kwargs) -> Operation[T]:
    return Operation("store.sweep", (), {}, lambda _: work(*args, **kwargs))


# -- sessions --------------------------------------------------------------------------------


def _sessions(
    settings: Settings, at: _Moments, why: str, found: _Found, dry_run: bool, keep: Keep
) -> Flow[bool]:
    """The sessions that are to go for one reason; False if it was stopped."""
    after = _Doomed("", "", FIRST_MICROS - 1, 0, why)
    while page := (yield from run(_read(_page, at, after))):
        batch: list[tuple[_Doomed, Tally]] = []
        for one in page:
            if one.held:
                found.held.add((one.part, one.uid))
                continue
            weight = yield from run(_read(_weigh, one))
            if dry_run:
                found.add(one.why, 1, weight.bytes)
                continue
            if batch and _too_much([*batch, (one, weight)]):
                yield from _purge(settings, at, batch, found)
                batch = []
            batch.append((one, weight))
            if not (yield from keep()):
                return False
        yield from _purge(settings, at, batch, found)
        after = page[-1]
    return True


def _page(at: _Moments, after: _Doomed) -> Plan[list[_Doomed]]:
    query = SWEEPING.pick("doomed", after.why)
    values = at._asdict() | {
        "after_at": after.moment, "after": after.part, "after_uid": after.uid, "limit": _PAGE,
    }  # fmt: skip
    rows = yield query.among(values)
    return [_Doomed._make([*row, after.why]) for row in rows]


def _weigh(one: _Doomed) -> Plan[Tally]:
    """How many rows a session has in all tables, and their bytes."""
    rows = size = 0
    for table in TABLES:
        if table.session:
            [(count, weight)] = yield SWEEPING.pick("weigh", table.name)(part=one.part, uid=one.uid)
            rows, size = rows + count, size + weight
    return Tally(rows, size)


def _too_much(batch: Sequence[tuple[_Doomed, Tally]]) -> bool:
    rows = sum(weight.count for _, weight in batch)
    return rows > ROWS or sum(weight.bytes for _, weight in batch) > BYTES


def _purge(
    settings: Settings, at: _Moments, batch: Sequence[tuple[_Doomed, Tally]], found: _Found
) -> Flow[None]:
    """Remove sessions: several at once, or a large one piece by piece."""
    large = len(batch) == 1 and _too_much(batch)
    taken = yield from run(_write(_take, at, [one for one, _ in batch], large, notes(settings)))
    for one, weight in batch:
        if one in taken:
            if large:
                yield from _wear_down(one)
                yield from run(_write(purge, one.part, one.uid))
            found.add(one.why, 1, weight.bytes)


def _take(
    at: _Moments, batch: Sequence[_Doomed], large: bool, telling: Notes
) -> Plan[list[_Doomed]]:
    """Those that still are to go, removed; a large one is put beyond every call's reach."""
    taken = []
    query = SESSIONS.hold_purgeable
    for one in batch:
        values = at._asdict() | one._asdict()
        still = yield query.among(values)
        if still and not (yield from is_held(one.part, one.uid)):
            taken.append(one)
            yield from tell_removal(telling, one.part, one.uid, reason=one.why)
            if large:
                yield SESSIONS.doom(part=one.part, uid=one.uid, doomed=FIRST_MICROS)
            else:
                yield from purge(one.part, one.uid)
    return taken


def _wear_down(one: _Doomed) -> Flow[None]:
    """Remove what hangs on a session that nobody can reach, as much at a time as is quick."""
    for table in TABLES:
        if table.session and table.key[2:] and not table.together:
            name = table.name
            while sizes := (yield from run(_read(_sizes, one, name))):
                count = quick(sizes)
                yield from run(_write(_drop, one, name, count))


def _sizes(one: _Doomed, name: str) -> Plan[list[int]]:
    rows = yield SWEEPING.pick("sizes", name)(part=one.part, uid=one.uid, limit=ROWS)
    return [size for (size,) in rows]


def _drop(one: _Doomed, name: str, count: int) -> Plan[None]:
    yield SWEEPING.pick("drop_some", name)(part=one.part, uid=one.uid, limit=count)


def quick(sizes: Sequence[int]) -> int:
    """How many of the first rows may go at once: one at least."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if total > BYTES:
            return max(count, 1)
    return len(sizes)


# -- old events ------------------------------------------------------------------------------


class _Old(NamedTuple):
    part: str
    uid: str
    app: str
    user: str
    id: str
    held: int


def _events(
    settings: Settings, at: _Moments, found: _Found, dry_run: bool, keep: Keep
) -> Flow[bool]:
    """The old events of sessions that stay; False if it was stopped."""
    after: tuple[str, str] = ("", "")
    while page := (yield from run(_read(_old_page, at, after))):
        for one in page:
            if one.held:
                found.held.add((one.part, one.uid))
            else:
                yield from _old_events(settings, at, one, found, dry_run)
            if not (yield from keep()):
                return False
        after = page[-1][:2]
    return True


def _old_page(at: _Moments, after: tuple[str, str]) -> Plan[list[_Old]]:
    rows = yield SWEEPING.with_old_events(
        tenant=at.tenant,
        now=at.now,
        before=at.events_before,
        after=after[0],
        after_uid=after[1],
        limit=_PAGE,
    )
    return [_Old._make(row) for row in rows]


def _old_events(
    settings: Settings, at: _Moments, one: _Old, found: _Found, dry_run: bool
) -> Flow[None]:
    before = yield from run(_read(_weigh_old, at, one))
    if dry_run:
        found.add("events", before.count, before.bytes)
        return
    count = yield from _prune(settings, at, one)
    after = yield from run(_read(_weigh_old, at, one))
    found.add("events", count, before.bytes - after.bytes)


def _weigh_old(at: _Moments, one: _Old) -> Plan[Tally]:
    query = SWEEPING.pick("weigh_old", "events")
    return Tally(*(yield query(part=one.part, uid=one.uid, before=at.events_before))[0])


def _prune(settings: Settings, at: _Moments, one: _Old) -> Flow[int]:
    """Prune some events at a time; all at once what an open tool call holds together."""
    key = SessionKey(one.app, one.user, one.id)
    where = target(settings.tenant, key, settings.limits.text, at.now)
    total = 0
    # A config that names an age has told to go beyond what a summary covers.
    whole = Cut(before_time=at.events_before, beyond_summary=True)
    while True:
        try:
            first = yield from run(_read(_first_seq, one))
            some = whole._replace(before_seq=first + ROWS)
            pruned = yield from run(_write(prune, where, some))
            if not pruned:
                return total + (yield from run(_write(prune, where, whole)))
        except (DeniedError, NotFoundError):
            # Held or deleted since it was found.
            return total
        total += pruned


def _first_seq(one: _Old) -> Plan[int]:
    rows = yield EVENTS.first_from(part=one.part, uid=one.uid, low=1)
    first: int = rows[0][0] if rows else 1
    return first


# -- other kinds -----------------------------------------------------------------------------


def _kind(kind: Kind, now: int, found: _Found, dry_run: bool, keep: Keep) -> Flow[bool]:
    if dry_run:
        tally = yield from run(_read(kind.look, now))
        if tally.count:
            found.add(kind.name, tally.count, tally.bytes)
        return True
    while rows := (yield from run(_read(kind.find, now))):
        some = rows[: quick([row[0] for row in rows])]
        yield from run(_write(kind.remove, now, some))
        found.add(kind.name, len(some), sum(row[0] for row in some))
        if not (yield from keep()):
            return False
    return True
