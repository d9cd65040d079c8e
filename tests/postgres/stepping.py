"""A plan run by hand, statement by statement, so that a test can stop in the middle of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from perdure.operation import Operation, Rows, Statement
from tests.postgres.servers import asyncpg


class Stepping:
    """An operation in a transaction of its own, as the engine would run it."""

    def __init__(self, connection: Any, op: Operation[Any]) -> None:
        self._connection = connection
        self._plan = op.plan()
        self._next: Any = None
        self._done = False
        self._advance(None)

    def _advance(self, rows: Rows | None) -> None:
        try:
            self._next = next(self._plan) if rows is None else self._plan.send(rows)
        except StopIteration:
            self._done = True

    async def _run_one(self) -> None:
        step = self._next
        text = step.query.texts["postgres"]
        if isinstance(step, Statement):
            self._advance([tuple(row) for row in await self._connection.fetch(text, *step.args)])
        else:
            await self._connection.executemany(text, step.rows)
            self._advance(())

    async def before(self, name: str) -> None:
        """Run up to the next statement of that name, but not it."""
        while not self._done and self._next.query.name != name:
            await self._run_one()
        assert not self._done, f"the plan has ended without {name!r}"

    async def to_the_end(self) -> None:
        """Run all of it, and do not commit."""
        while not self._done:
            await self._run_one()

    async def commit(self) -> None:
        """Run what is left, and commit."""
        await self.to_the_end()
        await self._connection.execute("COMMIT")


@asynccontextmanager
async def stepping(
    url: str, method: Any, feature: Any, *args: object, **options: object
) -> AsyncIterator[Stepping]:
    """The operation of a method, begun; what is not committed at the end is rolled back."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        yield Stepping(connection, method.of(feature, *args, **options))
    finally:
        await connection.close()
