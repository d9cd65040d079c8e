"""Statements that do the work of several: SQLite has no round trip to save, and runs the plan."""

from __future__ import annotations

from typing import Any

import pytest

import perdure
from perdure.operation import Fused, Plan, Rows
from tests.engines.plans import engine_of, operation, sql


def test_sqlite_runs_the_plan_and_gives_its_rows_to_the_rest() -> None:
    def several() -> Plan[Rows]:
        first = yield sql("SELECT 20")
        second = yield sql("SELECT 22 + 0 * ?1", first[0][0])
        return [(first[0][0] + second[0][0],)]

    def plan() -> Plan[Any]:
        rows = yield Fused(sql("SELECT 'the one statement'"), several)
        more = yield sql("SELECT ?1 || ' and on'", str(rows[0][0]))
        return more[0][0]

    with perdure.open_sync("memory:") as store:
        result = engine_of(store).run(operation(plan))

    assert result == "42 and on"


def test_an_error_in_the_plan_is_the_operations_own() -> None:
    def several() -> Plan[Rows]:
        yield sql("SELECT 1")
        raise perdure.InvalidError("no")

    def plan() -> Plan[Any]:
        yield sql("CREATE TABLE left_over (x)")
        return (yield Fused(sql("SELECT 1"), several))

    with perdure.open_sync("memory:") as store:
        engine = engine_of(store)

        with pytest.raises(perdure.InvalidError, match="no"):
            engine.run(operation(plan))

        assert store.sessions.count() == 0
