"""What sweeps do to approvals: note that their time is over, remove what was closed long ago."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from perdure.features import approval_rows as rows
from perdure.features.approval_rows import APPROVALS, Place
from perdure.features.fulltext import unindex_alone
from perdure.features.indexed_texts import APPROVALS as INDEXED
from perdure.features.indexed_texts import block_of
from perdure.features.outbox import Notes, notes
from perdure.operation import Plan, Settings
from perdure.records import Tally

_ROWS = 50
#: Each of them is several statements: a step, its audit, the facts of it.
_NOTED = 50


@dataclass(frozen=True, slots=True)
class Overdue:
    """Those whose time is over: they become expired, and stay."""

    tenant: str
    telling: Notes

    @property
    def name(self) -> str:
        """What the report calls it."""
        return "approvals_expired"

    def look(self, now: int) -> Plan[Tally]:
        """How many there are; nothing is freed."""
        [tally] = yield APPROVALS.count_overdue(tenant=self.tenant, now=now)
        return Tally(*tally)

    def find(self, now: int) -> Plan[Sequence[Sequence[Any]]]:
        """The first of them."""
        return (yield APPROVALS.overdue(tenant=self.tenant, now=now, limit=_NOTED))

    def remove(self, now: int, found: Sequence[Sequence[Any]]) -> Plan[None]:
        """Note it, but for those that were used in the last moment."""
        for _, part, approval_id in sorted(found, key=lambda row: (row[1], row[2])):
            yield from rows.expire(Place(part, approval_id, self.tenant, now), self.telling)


@dataclass(frozen=True, slots=True)
class Closed:
    """Those that nothing can come of any more, long enough, with their audit."""

    tenant: str
    age: int

    @property
    def name(self) -> str:
        """What the report calls it."""
        return "approvals"

    def look(self, now: int) -> Plan[Tally]:
        """How much there is to remove; what is held stays."""
        query = APPROVALS.pick("weigh_closed", "approvals")
        [tally] = yield query(tenant=self.tenant, before=now - self.age)
        return Tally(*tally)

    def find(self, now: int) -> Plan[Sequence[Sequence[Any]]]:
        """The first of them."""
        query = APPROVALS.pick("closed", "approvals")
        return (yield query(tenant=self.tenant, before=now - self.age, limit=_ROWS))

    def remove(self, now: int, found: Sequence[Sequence[Any]]) -> Plan[None]:
        """Remove them."""
        gone = []
        for _, part, uid, approval_id in sorted(found, key=lambda row: tuple(row[1:])):
            before = now - self.age
            if (yield APPROVALS.drop(part=part, uid=uid, id=approval_id, before=before)):
                yield APPROVALS.drop_audit(part=part, uid=uid, id=approval_id)
                gone.append((part, uid, approval_id))
        # All rows first, as for those who answer: they lock a row, and then what it is found by.
        for part, uid, one in gone:
            yield from unindex_alone(part, INDEXED, one, block=block_of(one), uid=uid)


def sweeps(settings: Settings, age: int | None) -> list[Overdue | Closed]:
    """The kinds of one sweep; ``age`` in microseconds, None: none is removed."""
    found: list[Overdue | Closed] = [Overdue(settings.tenant, notes(settings))]
    return found if age is None else [*found, Closed(settings.tenant, age)]
