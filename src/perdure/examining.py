"""Looking at a store without opening it, and saving what can be read of a damaged one."""

from __future__ import annotations

from dataclasses import replace

from perdure.config import Resolved
from perdure.engines import Engine, bytes_of, engine_for
from perdure.engines.examinations import Examination, Finding, Salvaged
from perdure.errors import UnsupportedError
from perdure.migrations import check, nothing_to_set_up, set_up
from perdure.migrations.relearning import relearn, schema
from perdure.operation import Bumps, Operation, Plan, Rows

__all__ = ["Examination", "Finding", "Salvaged", "examine_store", "salvage_store", "size_of_store"]


def examine_store(resolved: Resolved, *, quick: bool = False) -> Examination:
    """What is wrong with a store: nothing is changed, locked or made.

    ``quick`` leaves out what reads all that is stored.
    """
    engine = _engine(resolved)
    try:
        examine = getattr(engine, "examine", None)
        if examine is None:
            raise UnsupportedError(f"the engine of {resolved.display_url} cannot be examined")
        found: Examination = examine(_schema(), quick)
        return found
    finally:
        engine.close()


def salvage_store(resolved: Resolved, folder: str) -> list[Salvaged]:
    """Write what can be read of a damaged store to a new folder; nothing else is changed."""
    engine = _engine(resolved)
    try:
        salvage = getattr(engine, "salvage", None)
        if salvage is None:
            raise UnsupportedError(
                f"{resolved.display_url}: only files of lines can be salvaged; restore a backup"
            )
        saved: list[Salvaged] = salvage(folder)
    finally:
        engine.close()
    # Whether it is a store again only opening it tells.
    opened = _engine(replace(resolved, url=f"{resolved.url.partition(':')[0]}:///{folder}"))
    try:
        opened.open()
        opened.run(relearn(resolved.settings.clock(), _usual_schema(resolved)))
    finally:
        opened.close()
    return saved


def _usual_schema(resolved: Resolved) -> Rows:
    """What a new store of this version has."""
    now = resolved.settings.clock()
    engine = engine_for(replace(resolved, url="memory:"), set_up(now, auto_migrate=True))
    try:
        engine.open()
        rows: Rows = engine.run(schema())
        return rows
    finally:
        engine.close()


def size_of_store(resolved: Resolved) -> int | None:
    """The bytes that a store takes on this machine's disk; None: it is elsewhere."""
    engine = _engine(resolved)
    try:
        return bytes_of(engine)
    finally:
        engine.close()


def _engine(resolved: Resolved) -> Engine:
    return engine_for(resolved, nothing_to_set_up())


def _schema() -> Operation[list[str]]:
    """What is wrong with the schema, as sentences."""
    missing = check()

    def work(bumps: Bumps) -> Plan[list[str]]:
        names = yield from missing.work(bumps)
        return [f"the schema lacks {names}: run `perdure migrate`"] if names else []

    return Operation("store.examine", (), {}, work, reads=True)
