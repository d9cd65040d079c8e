"""Plans of our own for an engine: what no feature does on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from perdure import SyncStore
from perdure.engines import Engine, EngineOptions, Setup, at_url, engine_for, register_engine
from perdure.engines.delivery import BlockedCaller
from perdure.operation import Bumps, Operation, Plan, Query, Statement


def sql(text: str, *values: Any) -> Statement:
    """One statement for SQLite."""
    return Statement(Query("of a test", {"sqlite": text}, ()), values)


def operation(plan: Callable[[], Plan[Any]], *, reads: bool = False) -> Operation[Any]:
    """An operation with this plan."""

    def work(_: Bumps) -> Plan[Any]:
        return (yield from plan())

    return Operation("test.plan", (), {}, work, reads=reads)


def doing(*statements: Statement) -> Operation[Any]:
    """An operation that runs these statements and returns the rows of the last one."""

    def plan() -> Plan[Any]:
        rows: Any = None
        for statement in statements:
            rows = yield statement
        return rows

    return operation(plan)


def engine_of(store: SyncStore) -> Engine:
    """The engine below a store."""
    return store._engine


def outcomes(engine: Engine, operations: Sequence[Operation[Any]]) -> list[Any]:
    """What becomes of operations that are handed over together: values, and errors."""
    waiters = [BlockedCaller() for _ in operations]
    engine.submit(list(zip(operations, waiters, strict=True)))
    found: list[Any] = []
    for waiter in waiters:
        try:
            found.append(waiter.wait())
        except Exception as error:  # noqa: BLE001 - it is what became of it
            found.append(error)
    return found


runs: list[str] = []
"""The names of the operations that an engine of a ``counting+`` URL ran, and ran again."""


class _Counting:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.dialect = engine.dialect
        self.open = engine.open
        self.close = engine.close

    def submit(self, jobs: Sequence[Any]) -> None:
        self._engine.submit([(_counted(op), waiter) for op, waiter in jobs])

    def run(self, op: Operation[Any]) -> Any:
        return self._engine.run(_counted(op))


def _counted(op: Operation[Any]) -> Operation[Any]:
    def work(bumps: Bumps) -> Plan[Any]:
        runs.append(op.name)
        return (yield from op.work(bumps))

    return Operation(op.name, op.args, op.kwargs, work, op.reads)


def _around(options: EngineOptions, setup: Setup) -> Engine:
    inner = at_url(options, options.url.removeprefix("counting+"))
    return _Counting(engine_for(inner, setup))


register_engine("counting+sqlite", _around)
