"""Transactions on PostgreSQL: run again when that is safe, and sure of what became of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from perdure.engines.postgres_connection import (
    RACED,
    Connection,
    as_rows,
    drive,
    lost,
    state_of,
    translate,
    worth_another_try,
)
from perdure.errors import PerdureError, UnknownOutcomeError
from perdure.operation import Fused, Operation, Plan, Row, Work

T = TypeVar("T")

_SHORTEST_SECONDS = 0.01
_LONGEST_SECONDS = 1.0
#: A race is lost to somebody who has finished: a few are more than there can be.
_RACES = 10

_XID = "SELECT CAST(pg_current_xact_id() AS TEXT)"
_STATUS = "SELECT pg_xact_status(CAST(CAST($1 AS TEXT) AS XID8))"
#: Writes to the log and nothing else, so that the commit waits for the standby as any does.
#: What an earlier commit left behind is there, too, then, and can be acknowledged.
_BARRIER = "SELECT CAST(pg_logical_emit_message(TRUE, 'perdure', '') AS TEXT)"


class Unknown(Exception):  # noqa: N818 - nobody's error: what becomes of it is found out
    """The connection was lost while a commit was under way."""

    def __init__(self, xid: str | None, value: Any) -> None:
        super().__init__("the connection was lost at commit")
        self.xid = xid
        self.value = value


class Ways(NamedTuple):
    """How this server is spoken to."""

    writing: str
    reading: str
    #: Whether one statement may do the work of several.
    fused: bool
    #: Whether a lone statement needs a transaction around it, to have its settings.
    wrapped: bool
    #: Whether `pg_xact_status` can tell what became of a transaction.
    traceable: bool


class Transactions:
    """Runs operations on connections that ``borrow`` lends."""

    def __init__(self, borrow: Callable[[], Any], ways: Ways, patience: float) -> None:
        self._borrow = borrow
        self._ways = ways
        self._patience = patience
        #: Names of operations that read with more than one statement: found out once.
        self._many: set[str] = set()

    # -- reading -----------------------------------------------------------------------------

    async def read(self, op: Operation[Any]) -> Any:
        """The result of a reading operation, all of it from one snapshot."""
        if self._ways.fused and isinstance(op.work, Fused):
            found = await self._read_at_once(op.name, op.work)
            if found is not None:
                return found
        return await self._patiently(op.name, lambda: self._read(op))

    async def _read_at_once(self, name: str, work: Fused[Any]) -> Any:
        statement = work.one()
        text = statement.query.texts["postgres"]
        rows = await self._patiently(
            name, lambda: self.send(text, [statement.args], self._ways.reading)
        )
        return work.result(rows)

    async def _read(self, op: Operation[Any]) -> Any:
        async with self._borrow() as connection:
            if op.name not in self._many and not self._ways.wrapped:
                try:
                    return await drive(connection, _one_only(op.plan()))
                except _MoreStatements:
                    # One statement is its own snapshot, several need a transaction.
                    self._many.add(op.name)
            await connection.execute(self._ways.reading)
            try:
                return await drive(connection, op.plan())
            finally:
                await _end(connection, "COMMIT")

    # -- writing -----------------------------------------------------------------------------

    async def write(self, op: Operation[Any]) -> Any:
        """The result of a writing operation, committed."""
        if isinstance(op.work, Fused):
            return await self.write_fused(op, op.work, op.work.work)
        return await self._patiently(op.name, lambda: self._resolved(op))

    async def write_fused(
        self, op: Operation[Any], fused: Fused[Any], first: Work[Any], *, doubt: bool = False
    ) -> Any:
        """The same for work that finds what it has stored before, if ``doubt`` says it may."""
        work = first

        async def attempt() -> Any:
            nonlocal work, doubt
            try:
                return await self._transact(work({}), barrier=doubt)
            except Unknown:
                work, doubt = fused.again, True
                raise

        return await self._patiently(op.name, attempt)

    async def _resolved(self, op: Operation[Any]) -> Any:
        """One attempt at work that must not run twice."""
        try:
            return await self._transact(op.plan(), trace=self._ways.traceable)
        except Unknown as unknown:
            committed = unknown.xid is not None and await self._committed(op, unknown.xid)
            if committed is None or unknown.xid is None:
                raise UnknownOutcomeError(
                    f"{op.name}: the connection was lost at commit, and the server cannot say "
                    "what became of it: look before you do it again"
                ) from unknown.__cause__
            if committed:
                return unknown.value
            raise unknown.__cause__ or unknown from None

    async def _committed(self, op: Operation[Any], xid: str) -> bool | None:
        """Whether that transaction was committed; None if it is forgotten."""

        async def attempt() -> bool | None:
            async with self._borrow() as connection:
                status = "in progress"
                # Its backend may not have noticed yet that nobody listens.
                while status == "in progress":
                    await connection.execute(self._ways.writing)
                    try:
                        await connection.fetchval(_BARRIER)
                        status = await connection.fetchval(_STATUS, xid)
                    finally:
                        await _end(connection, "COMMIT")
                    if status == "in progress":
                        await asyncio.sleep(_SHORTEST_SECONDS)
                return None if status is None else status == "committed"

        return await self._patiently(op.name, attempt)

    async def _transact(
        self, plan: Plan[Any], *, barrier: bool = False, trace: bool = False
    ) -> Any:
        async with self._borrow() as connection:
            await connection.execute(self._ways.writing)
            try:
                if barrier:
                    await connection.fetchval(_BARRIER)
                xid = await connection.fetchval(_XID) if trace else None
                value = await drive(connection, plan)
            except BaseException:
                await _end(connection, "ROLLBACK")
                raise
            try:
                await connection.execute("COMMIT")
            except Exception as error:
                if lost(error):
                    raise Unknown(xid, value) from error
                raise
            return value

    # -- one statement -----------------------------------------------------------------------

    async def send(
        self, text: str, rows: Sequence[tuple[Any, ...]], begin: str | None = None
    ) -> list[Row]:
        """Run one statement for each of these values, in one transaction and one round trip."""
        async with self._borrow() as connection:
            if not self._ways.wrapped:
                return as_rows(await _sent(connection, text, rows))
            await connection.execute(begin or self._ways.writing)
            try:
                found = as_rows(await _sent(connection, text, rows))
            except BaseException:
                await _end(connection, "ROLLBACK")
                raise
            await connection.execute("COMMIT")
            return found

    # -- patience ----------------------------------------------------------------------------

    async def _patiently(self, name: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of the first attempt that goes through, within the store's patience."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._patience
        races = 0
        longest = _SHORTEST_SECONDS
        while True:
            try:
                return await attempt()
            except PerdureError:
                raise
            except Exception as error:
                races += state_of(error) == RACED
                again = worth_another_try(error) or isinstance(error, Unknown)
                if not again and (state_of(error) != RACED or races > _RACES):
                    raise translate(error, name) from error
                # Full jitter: those who met once do not meet again.
                delay = random.uniform(0, longest)  # noqa: S311 - not for secrets
                longest = min(longest * 2, _LONGEST_SECONDS)
                if clock() + delay > deadline:
                    raise translate(error.__cause__ or error, name) from error
            await asyncio.sleep(delay)


class _MoreStatements(Exception):  # noqa: N818 - not an error
    """A plan that was tried as one statement has another one."""


def _one_only(plan: Plan[Any]) -> Plan[Any]:
    try:
        rows = yield next(plan)
        plan.send(rows)
    except StopIteration as result:
        return result.value
    finally:
        plan.close()
    raise _MoreStatements


async def _sent(connection: Connection, text: str, rows: Sequence[tuple[Any, ...]]) -> Any:
    if len(rows) == 1:
        return await connection.fetch(text, *rows[0])
    return await connection.fetchmany(text, rows)


async def _end(connection: Connection, how: str) -> None:
    """End the transaction if the connection still is; what went wrong before is the news."""
    try:
        await connection.execute(how)
    except Exception as error:
        if not lost(error):
            raise
