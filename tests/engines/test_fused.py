"""Work that one statement can do whole: SQLite takes it for reads, and runs the plan of writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import perdure
from perdure import SyncStore
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


def read_at_once(text: str, plan: Any, value: Any) -> Operation[Any]:
    """A read that the statement can do, as far as ``value`` makes something of its rows."""

    def work(_: Bumps) -> Plan[Any]:
        return (yield from plan())

    return Operation("test.read", (), {}, Fused(work, lambda: sql(text), value, work), reads=True)


def unasked() -> Plan[Any]:
    raise AssertionError("the statement has said it all")
    yield sql("SELECT 1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SyncStore]:
    with perdure.open_sync(f"sqlite:///{tmp_path}/store.db") as store:
        yield store


def test_a_read_is_one_statement_outside_of_a_transaction(store: SyncStore) -> None:
    op = read_at_once("SELECT 40 + 2", unasked, lambda rows: rows[0][0])

    assert engine_of(store).run(op) == 42


def test_a_read_that_the_statement_cannot_do_runs_the_plan(store: SyncStore) -> None:
    def plan() -> Plan[Any]:
        rows = yield sql("SELECT 'the plan'")
        return rows[0][0]

    assert engine_of(store).run(read_at_once("SELECT 1", plan, lambda _: None)) == "the plan"


def test_a_statement_that_fails_leaves_the_reader_as_it_was(store: SyncStore) -> None:
    failing = read_at_once("SELECT abs(-9223372036854775808)", unasked, lambda rows: rows)

    for _ in range(10):
        with pytest.raises(perdure.PerdureError, match="overflow"):
            engine_of(store).run(failing)

    assert store.sessions.count() == 0


def test_the_last_events_need_no_plan_unless_a_jump_lies_among_them(store: SyncStore) -> None:
    key = store.sessions.create("app", "user", "chat").key
    for number in range(1, 7):
        store.events.append(key, f"{number}")
    store.events.rewind(key, 4)
    store.events.append(key, "7")

    assert [event.text for event in store.events.read(key, recent=1)] == ["7"]
    assert [event.text for event in store.events.read(key, recent=3)] == ["3", "4", "7"]
    assert [event.text for event in store.events.read(key)] == ["1", "2", "3", "4", "7"]


def test_sqlite_runs_the_plan_of_a_write() -> None:
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
