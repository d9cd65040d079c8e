"""Work that one statement can do whole: SQLite has no round trip to save, and runs the plan."""

from __future__ import annotations

from typing import Any

import pytest

import perdure
from perdure.features.appending import PARAMETERS
from perdure.features.line import EVENTS
from perdure.operation import Bumps, Fused, Operation, Plan
from tests.engines.plans import engine_of, sql


def fused(plan: Any) -> Operation[Any]:
    def work(_: Bumps) -> Plan[Any]:
        return (yield from plan())

    def never(*_: Any) -> Any:
        raise AssertionError("SQLite asks for no statement and no second plan")

    return Operation("test.fused", (), {}, Fused(work, never, never, never, ("a",)))


def test_sqlite_runs_the_plan() -> None:
    def several() -> Plan[Any]:
        first = yield sql("SELECT 20")
        second = yield sql("SELECT 22 + 0 * ?1", first[0][0])
        return first[0][0] + second[0][0]

    with perdure.open_sync("memory:") as store:
        assert engine_of(store).run(fused(several)) == 42


def test_an_error_in_the_plan_is_the_operations_own() -> None:
    def failing() -> Plan[Any]:
        yield sql("CREATE TABLE left_over (x)")
        raise perdure.InvalidError("no")

    with perdure.open_sync("memory:") as store:
        engine = engine_of(store)

        with pytest.raises(perdure.InvalidError, match="no"):
            engine.run(fused(failing))

        assert store.sessions.count() == 0


def test_the_values_of_an_append_stand_in_the_order_of_its_statement() -> None:
    seen = 0
    for name in ("append_one", "append_many"):
        for query in EVENTS:
            if query.name.startswith(name):
                assert query.params == PARAMETERS[query.name.split()[-1]]
                seen += 1
    assert seen == 2 * 3 + 2 * 2
