"""The ledger of a salvaged store, if what it noted was lost with the file it was in."""

from __future__ import annotations

from perdure.errors import CorruptError
from perdure.migrations import LEDGER, migrations
from perdure.operation import Bumps, Operation, Plan, Query, Rows, Statement

_SCHEMA = Query(
    "schema of a file",
    {
        "sqlite": "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL "
        "AND name NOT LIKE 'jsonl!_%' ESCAPE '!' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' "
        "ORDER BY type, name"
    },
    (),
)


def schema() -> Operation[Rows]:
    """The tables and indexes that a store has, with what made them."""
    return Operation("store.salvage", (), {}, lambda _: _read(), reads=True)


def relearn(now: int, expected: Rows) -> Operation[None]:
    """Note all migrations as applied, if the schema is what they make.

    If it is not, another version of perdure has written it: `CorruptError`, if not a single one is
    noted.
    """

    def work(_: Bumps) -> Plan[None]:
        if not (yield LEDGER.exists()):
            return
        noted = {row[0] for row in (yield LEDGER.applied())}
        lacking = [one for one in migrations() if one.number not in noted]
        if not lacking:
            return
        found = yield from _read()
        if sorted(found) == sorted(expected):
            for one in lacking:
                yield LEDGER.note(number=one.number, name=one.name, checksum=one.checksum, now=now)
        elif not noted:
            raise CorruptError(
                "which migrations this store has had is lost, and its schema is not that of this "
                "version of perdure: salvage it with the version that wrote it"
            )

    return Operation("store.salvage", (), {}, work)


def _read() -> Plan[Rows]:
    rows: Rows = yield Statement(_SCHEMA, ())
    return rows
