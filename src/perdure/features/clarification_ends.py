"""What a sweep does about questions: it notes the end of what is overdue, and removes the old."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from perdure.features.clarification_rows import CLARIFICATIONS, end_all, overdue
from perdure.features.fulltext import unindex_alone
from perdure.features.indexed_texts import CLARIFICATIONS as INDEXED
from perdure.features.indexed_texts import block_of
from perdure.operation import Plan
from perdure.records import Tally
from perdure.retention import RetentionConfig

_ROWS = 50


@dataclass(frozen=True, slots=True)
class Overdue:
    """Pending questions whose time is over: they stay, and are noted as expired."""

    tenant: str
    name: ClassVar[str] = "overdue clarifications"

    def look(self, now: int) -> Plan[Tally]:
        """How many there are; nothing is removed, so they have no bytes."""
        [(count,)] = yield CLARIFICATIONS.count_overdue(tenant=self.tenant, now=now)
        return Tally(count, 0)

    def find(self, now: int) -> Plan[Sequence[Sequence[Any]]]:
        """The first of them."""
        found = yield from overdue(self.tenant, now, _ROWS)
        return [(0, *one) for one in found]

    def remove(self, now: int, found: Sequence[Sequence[Any]]) -> Plan[None]:
        """Note their end."""
        yield from end_all([(part, one) for _, part, one in found], now)


@dataclass(frozen=True, slots=True)
class Old:
    """Questions that ended long ago; those of what is held stay."""

    tenant: str
    before: int
    name: ClassVar[str] = "clarifications"

    def look(self, now: int) -> Plan[Tally]:
        """How many there are, and their bytes."""
        del now
        query = CLARIFICATIONS.pick("weigh_old", self.name)
        return Tally(*(yield query(tenant=self.tenant, before=self.before))[0])

    def find(self, now: int) -> Plan[Sequence[Sequence[Any]]]:
        """The first of them: bytes, part and id."""
        del now
        query = CLARIFICATIONS.pick("old", self.name)
        return (yield query(tenant=self.tenant, before=self.before, limit=_ROWS))

    def remove(self, now: int, found: Sequence[Sequence[Any]]) -> Plan[None]:
        """Remove them, but for those that are held by now."""
        del now
        gone = []
        for _, part, one in found:
            at = {"part": part, "id": one, "tenant": self.tenant, "before": self.before}
            gone += [(part, uid, one) for (uid,) in (yield CLARIFICATIONS.drop_old(**at))]
        # All rows first, as for those who answer: they lock a row, and then what it is found by.
        for part, uid, one in gone:
            yield from unindex_alone(part, INDEXED, one, block=block_of(one), uid=uid)


def swept(tenant: str, config: RetentionConfig | None, now: int) -> Iterator[Overdue | Old]:
    """What a sweep goes through at that time."""
    yield Overdue(tenant)
    if config is not None and config.clarifications is not None:
        yield Old(tenant, now - config.clarifications // timedelta(microseconds=1))
