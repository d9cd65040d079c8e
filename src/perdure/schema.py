"""The schema of a database without a store on it: what it lacks, bringing it up to date, shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from perdure.config import Config, Resolved, resolve
from perdure.engines import Engine, engine_for
from perdure.errors import UnsupportedError
from perdure.migrations import check, migrate, nothing_to_set_up
from perdure.migrations.distribution import distribute, undistributed


def missing_migrations(config: Config) -> list[str]:
    """The names of the migrations that the store lacks; writes nothing."""
    return _on_bare_engine(resolve(config), lambda _: check())


def migrate_store(resolved: Resolved) -> list[str]:
    """Apply the migrations that the store lacks; their names."""
    return _on_bare_engine(resolved, migrate)


def undistributed_tables(resolved: Resolved) -> list[str]:
    """The tables that Citus does not keep in shards yet; writes nothing.

    `UnsupportedError` where there is no Citus.
    """
    with _sharding_engine(resolved) as engine:
        names: list[str] = engine.run(undistributed())
        return names


def distribute_store(resolved: Resolved) -> Iterator[str]:
    """Have Citus keep every table in shards by ``part``; each table's name as it is done.

    A table is one transaction: it copies the rows while those who write to the table wait. What
    is distributed already is left alone, so that after a failure the rest can be done by the
    same again. `UnsupportedError` where there is no Citus. Tried against stand-ins for its
    functions, not against a real Citus.
    """
    with _sharding_engine(resolved) as engine:
        for table in engine.run(undistributed()):
            if engine.run(distribute(table)):
                yield table


@contextmanager
def _sharding_engine(resolved: Resolved) -> Iterator[Engine]:
    with _bare_engine(resolved) as engine:
        if engine.dialect != "postgres":
            raise UnsupportedError(
                f"{resolved.display_url} stays on one machine: only a PostgreSQL database with "
                "Citus can be distributed, see the docs page beyond-one-machine"
            )
        engine.open()
        yield engine


def _on_bare_engine(resolved: Resolved, op_of: Callable[[int], Any]) -> list[str]:
    """Run one operation on a store whose schema is not looked at first."""
    with _bare_engine(resolved) as engine:
        engine.open()
        names: list[str] = engine.run(op_of(resolved.settings.clock()))
        return names


@contextmanager
def _bare_engine(resolved: Resolved) -> Iterator[Engine]:
    """An engine whose schema is not looked at first, not yet opened."""
    engine = engine_for(replace(resolved, unhurried=True), nothing_to_set_up())
    try:
        yield engine
    finally:
        engine.close()
