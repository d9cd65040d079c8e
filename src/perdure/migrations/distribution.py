"""Tables of a live PostgreSQL made into tables of many machines, by Citus.

Each table of the registry is distributed by ``part``, colocated with the sessions, so that
every key, foreign key and hot statement stays on one machine. The ledger of migrations stays
a local table of the coordinator: it has no ``part``, is read at opening and written by a
migration, both of which the coordinator runs; as a reference table every write of it would need
all machines.

Tried against stand-ins for Citus's functions only: there was no Citus where this was written.
"""

from __future__ import annotations

from perdure.errors import PerdureError, UnsupportedError
from perdure.migrations import check, queue
from perdure.operation import Bumps, Operation, Plan
from perdure.sql import load
from perdure.tables import TABLES

DISTRIBUTE = load("perdure.migrations", "distribute.sql")

#: What the other tables' foreign keys name has to be distributed before them.
_FIRST = "sessions"
#: Shards of its own, not those of whatever else the database distributes.
_ALONE = "none"


def order() -> list[str]:
    """The names of all tables, each before those that hang on it."""
    names = [table.name for table in reversed(TABLES)]
    return sorted(names, key=lambda name: name != _FIRST)


def undistributed() -> Operation[list[str]]:
    """The tables that are still local, in the order they have to go.

    `UnsupportedError` where there is no Citus, `PerdureError` if the schema is behind.
    """
    return Operation("store.undistributed", (), {}, lambda _: _undistributed(), reads=True)


def distribute(table: str) -> Operation[bool]:
    """Distribute one table, in a transaction of its own; whether that was still to be done."""

    def work(_: Bumps) -> Plan[bool]:
        # It copies every row: one at a time, not beside a migration; who comes second looks again.
        yield from queue()
        if table not in (yield from _undistributed()):
            return False
        beside = _ALONE if table == _FIRST else _FIRST
        yield DISTRIBUTE.distribute(table=table, beside=beside)
        return True

    return Operation("store.distribute", (table,), {}, work)


def _undistributed() -> Plan[list[str]]:
    if not (yield DISTRIBUTE.available()):
        raise UnsupportedError(
            "this database has no Citus: as a superuser run CREATE EXTENSION citus, and see the "
            "docs page beyond-one-machine"
        )
    missing = yield from check().plan()
    if missing:
        raise PerdureError(f"the schema lacks {missing}: run `perdure migrate` first")
    done = {name for (name,) in (yield DISTRIBUTE.distributed())}
    return [name for name in order() if name not in done]
