"""What is told of the store itself: holds, facts, sizes, what was spent, swept and erased."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from perdure.records.basics import SessionKey, UserScope


@dataclass(frozen=True, slots=True)
class Hold:
    """Who lets nothing of a session, or of a whole person, be removed, and why."""

    of: SessionKey | UserScope
    by: str
    reason: str
    held_at: datetime


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that was committed, as `subscribe` tells of it.

    ``session`` is an id (None: it is about no session), ``version`` that of the session after
    it, where it is known. What ``value`` is depends on the kind.
    """

    kind: str
    app: str
    user: str
    session: str | None = None
    version: int | None = None
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The tokens of a group of events; what it is not grouped by is None.

    ``model`` is ``""`` where none is named. ``input_tokens`` has those that came from a cache,
    which are ``cached_tokens``.
    """

    app: str | None = None
    user: str | None = None
    session: str | None = None
    author: str | None = None
    run_id: str | None = None
    model: str | None = None
    day: str | None = None
    month: str | None = None
    events: int
    input_tokens: int
    output_tokens: int
    total_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class Size:
    """What a group of rows takes; what it is not grouped by is None.

    ``app`` is None, too, where no session names it, and ``user`` for what the whole app shares.
    """

    app: str | None
    user: str | None
    table: str | None
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Growth:
    """What was made on a day (UTC) and is still there."""

    day: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class DiskUse:
    """How much is stored: ``sizes`` by group, ``growth`` by day.

    ``stored`` is what the database takes on its disk, with indexes and free pages.
    """

    sizes: list[Size]
    growth: list[Growth]
    stored: int

    @property
    def bytes(self) -> int:
        """The bytes of all groups."""
        return sum(size.bytes for size in self.sizes)


@dataclass(frozen=True, slots=True)
class ErasureReceipt:
    """What an erasure removed: rows by table. ``erased_at`` is the store's clock.

    ``remains`` says where bytes of what was removed may be found for a while, beyond backups; no
    call of the store reaches them. The receipt is ``final`` if there is no such place.
    """

    tenant: str
    app: str
    user: str
    erased_at: datetime
    removed: dict[str, int]
    remains: tuple[str, ...] = ()

    @property
    def final(self) -> bool:
        """Whether nothing remains on the disk of the store."""
        return not self.remains


@dataclass(frozen=True, slots=True)
class Tally:
    """How many, and how many bytes their columns have, numbers as digits; not the indexes."""

    count: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep removed, or would remove, by kind.

    Sessions are ``expired``, ``deleted`` or ``idle``; ``events`` are old events of others; the
    rest are tables, but for ``overdue clarifications``, which stay and were noted as expired.
    ``held``: sessions passed over because of a hold. ``finished``: False if the sweep was stopped
    before it was through.
    """

    kinds: Mapping[str, Tally]
    held: int = 0
    finished: bool = True

    @property
    def expired(self) -> int:
        """How many sessions had lived as long as their ttl."""
        return self._count("expired")

    @property
    def deleted(self) -> int:
        """How many sessions had been deleted long enough ago."""
        return self._count("deleted")

    @property
    def idle(self) -> int:
        """How many sessions had not been written to for the days of the retention."""
        return self._count("idle")

    @property
    def bytes(self) -> int:
        """The bytes of all kinds together."""
        return sum(tally.bytes for tally in self.kinds.values())

    def _count(self, kind: str) -> int:
        return self.kinds[kind].count if kind in self.kinds else 0


@dataclass(frozen=True, slots=True)
class Compacted:
    """What writing the store anew has given back.

    ``before`` and ``after``: the bytes on this machine's disk; None where it has none, in memory
    and on a server. ``remains`` says what could not be done.
    """

    before: int | None
    after: int | None
    remains: tuple[str, ...] = ()
