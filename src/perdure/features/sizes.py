"""How much is stored, whose it is, and how it grows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple, TypeAlias

from perdure.errors import InvalidError
from perdure.operation import Feature, Flow, M, Operation, Plan, Rows, flow, run
from perdure.records import DiskUse, Growth, Size
from perdure.sql import load
from perdure.tables import TABLES
from perdure.values import EPOCH

SIZES = load("perdure.features", "sizes.sql")

#: Those whose bytes are somebody's; and those of them that know when.
_SIZED = [table.name for table in TABLES if not table.passing]
_DATED = [table.name for table in TABLES if table.moment and not table.passing]

GROUPS = ("app", "user", "table")

_OWNERS = 500
_DAY = 86_400_000_000
#: Behind every part, which is of hex digits.
_LAST = "g"


class _Owner(NamedTuple):
    """Whose rows of a part are; None where nobody's name is known, or the app has no user."""

    app: str | None
    user: str | None


_Owners: TypeAlias = "dict[str, _Owner | None]"
_Group: TypeAlias = "tuple[str | None, ...]"
_NOBODY = _Owner(None, None)


class _Held(NamedTuple):
    """What some parts hold, and from which part on to look next (None: that was all)."""

    sizes: list[tuple[_Owner, str, int, int]]
    after: str | None


class Sizes(Feature[M]):
    """What `Store` offers itself: `du`."""

    name = "store"

    @flow
    def du(self, by: Sequence[str] = ("app", "table"), *, days: int = 30) -> Flow[DiskUse]:
        """How much is stored, in groups of app, user and table, the largest first.

        Bytes are the lengths of what the columns hold, numbers as their digits, so they are the
        same on every engine; what a database adds (indexes, free pages) is in ``stored`` only.
        Named are the apps and users of this tenant; what belongs to nobody with a session has
        no name. ``growth`` and ``stored`` are of the whole database: growth is what was made on
        each of the last ``days`` (UTC) and is still there. Reads every row, in small transactions.
        """
        groups = _groups(by)
        if not isinstance(days, int) or isinstance(days, bool) or days < 0:
            raise InvalidError(f"days must be 0 or more, not {days!r}", "days")
        since = (self._settings.clock() // _DAY - days + 1) * _DAY
        known = yield from run(self._reading("du", lambda _: _apps(self._settings.tenant)))
        sums: dict[_Group, tuple[int, int]] = {}
        after: str | None = ""
        while after is not None:
            held = yield from run(self._held(after, known))
            _add(sums, groups, held.sizes)
            after = held.after
        growth: dict[int, tuple[int, int]] = {}
        for table in _DATED if days else ():
            for day, rows, size in (yield from run(self._grown(table, since))):
                growth[day] = _both(growth.get(day, (0, 0)), rows, size)
        stored = yield from run(self._reading("du", lambda _: _stored()))
        grown = [Growth(_day(day), *growth[day]) for day in sorted(growth)]
        return DiskUse(_sizes(groups, sums), grown, stored)

    def _held(self, after: str, known: _Owners) -> Operation[_Held]:
        tenant = self._settings.tenant
        return self._reading("du", lambda _: _held(tenant, after, known))

    def _grown(self, table: str, since: int) -> Operation[Rows]:
        return self._reading("du", lambda _: _grown(table, since))


def _groups(by: Sequence[str]) -> tuple[str, ...]:
    groups = tuple([by] if isinstance(by, str) else by)
    if not set(groups) <= set(GROUPS) or len(set(groups)) < len(groups):
        message = f"by is any of {', '.join(GROUPS)}, each once, not {list(groups)}"
        raise InvalidError(message, "by")
    return groups


def _apps(tenant: str) -> Plan[_Owners]:
    """The owners of the parts of apps; None for another tenant's."""
    rows = yield SIZES.apps()
    return {part: _Owner(app, None) if of == tenant else None for part, of, app in rows}


def _held(tenant: str, after: str, known: _Owners) -> Plan[_Held]:
    """What the next parts hold, those in between that no session is in as well."""
    rows = yield SIZES.owners(after_part=after, limit=_OWNERS)
    owners: _Owners = {
        part: _Owner(app, user) if of == tenant else None for part, of, app, user in rows
    }
    upto = rows[-1][0] if len(rows) == _OWNERS else _LAST
    for part, of, app, user in (yield SIZES.lineages(after_part=after, upto_part=upto)):
        owners[part] = _Owner(app, user) if of == tenant else None
    sizes = []
    for table in _SIZED:
        for part, count, size in (
            yield SIZES.pick("held", table)(after_part=after, upto_part=upto)
        ):
            owner = owners.get(part, known.get(part, _NOBODY))
            if owner is not None:
                sizes.append((owner, table, count, size))
    return _Held(sizes, None if upto == _LAST else upto)


def _grown(table: str, since: int) -> Plan[Rows]:
    return (yield SIZES.pick("grown", table)(since=since))


def _stored() -> Plan[int]:
    rows = yield SIZES.stored()
    return int(rows[0][0])


def _add(
    sums: dict[_Group, tuple[int, int]],
    groups: Sequence[str],
    sizes: Iterable[tuple[_Owner, str, int, int]],
) -> None:
    for owner, table, rows, size in sizes:
        named = {"app": owner.app, "user": owner.user, "table": table}
        group = tuple(named[name] for name in groups)
        sums[group] = _both(sums.get(group, (0, 0)), rows, size)


def _both(sums: tuple[int, int], rows: int, size: int) -> tuple[int, int]:
    return sums[0] + rows, sums[1] + size


def _sizes(groups: Sequence[str], sums: Mapping[_Group, tuple[int, int]]) -> list[Size]:
    """The groups as records, the largest first."""
    sizes = []
    for group, (rows, size) in sums.items():
        named = dict(zip(groups, group, strict=True))
        sizes.append(
            Size(named.get("app"), named.get("user"), named.get("table"), rows=rows, bytes=size)
        )
    return sorted(
        sizes, key=lambda one: (-one.bytes, one.app or "", one.user or "", one.table or "")
    )


def _day(number: int) -> str:
    return (EPOCH + timedelta(days=number)).date().isoformat()
