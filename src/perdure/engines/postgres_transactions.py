"""Transactions on PostgreSQL: run again when that is safe, and sure of what became of them."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from perdure.engines.postgres_connection import (
    RACED,
    Connection,
    Trail,
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

_log = logging.getLogger("perdure")

_HEX = re.compile("[0-9a-f]{1,64}")
_SHORTEST_SECONDS = 0.01
_LONGEST_SECONDS = 1.0
#: A race is lost to somebody who has finished: a few are more than there can be.
_RACES = 10

#: Noted in the transaction itself. Not its xid, which a server gives out again after a crash.
_COMMIT = "INSERT INTO outcomes (part, token, made_at) VALUES ('{part}', '{token}', {now}); COMMIT"
_CLAIM = """
INSERT INTO outcomes (part, token, made_at) VALUES ($1, $2, $3)
ON CONFLICT (part, token) DO NOTHING
"""
_MADE_AT = "SELECT made_at FROM outcomes WHERE part = $1 AND token = $2"
_FORGET = "DELETE FROM outcomes WHERE made_at BETWEEN $1 AND $2"
#: A day, since clocks of clients differ.
_KEPT_MICROS = 86_400_000_000
#: One of so many looks what can be forgotten: a short life, too, has one.
_FIRST = 10
_FORGETTING = 1_000
#: Writes to the log and nothing else, so that the commit waits for the standby as any does.
#: What an earlier commit left behind is there, too, then, and can be acknowledged.
_BARRIER = "SELECT CAST(pg_logical_emit_message(TRUE, 'perdure', '') AS TEXT)"


class Mark(NamedTuple):
    """What tells a transaction of ours from all others."""

    part: str
    token: str


class Unknown(Exception):  # noqa: N818 - nobody's error: what becomes of it is found out
    """The connection was lost while a commit was under way."""

    def __init__(self, mark: Mark | None, value: Any) -> None:
        super().__init__("the connection was lost at commit")
        self.mark = mark
        self.value = value


class Ways(NamedTuple):
    """How this server is spoken to."""

    writing: str
    #: The same for what is sent at once, and waits for no row.
    sending: str
    reading: str
    #: Whether one statement may do the work of several.
    fused: bool
    #: Whether a lone statement needs a transaction around it, to have its settings.
    wrapped: bool


class Transactions:
    """Runs operations on connections that ``borrow`` lends."""

    def __init__(
        self,
        borrow: Callable[[], Any],
        ways: Ways,
        patience: float,
        mend: Callable[[str], Awaitable[bool]],
        told: Callable[[str, str], None],
    ) -> None:
        self._lend = borrow
        self._mend = mend
        #: Is to hear of the session, by part and id, in which something was stored.
        self.told = told
        self._ways = ways
        self._patience = patience
        #: Names of operations that read with more than one statement: found out once.
        self._many: set[str] = set()
        #: Whether the table of outcomes is there: not before the schema is set up.
        self.marking = False
        self._marked = 0

    def _borrow(self) -> _Lent:
        return _Lent(self._lend())

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

        async def attempt() -> list[Row]:
            async with self._borrow() as connection:
                return await self._at_once(connection, text, [statement.args], self._ways.reading)

        return work.result(await self._patiently(name, attempt))

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

        return await self._patiently(op.name, attempt, doubt=doubt)

    async def _resolved(self, op: Operation[Any]) -> Any:
        """One attempt at work that must not run twice."""
        mark = Mark("", secrets.token_hex(16)) if self.marking else None
        try:
            return await self._transact(op.plan(), mark)
        except Unknown as unknown:
            if unknown.mark is None:
                raise _unknown(op.name) from unknown.__cause__
            if await self._committed(op.name, unknown.mark):
                return unknown.value
            raise unknown.__cause__ or unknown from None

    async def _committed(self, name: str, mark: Mark) -> bool:
        """Whether that transaction was committed; if it was not, it never will be."""

        async def attempt() -> bool:
            async with self._borrow() as connection:
                await connection.execute(self._ways.writing)
                try:
                    # Waits for it, if it still runs; then it is there, or its place is taken.
                    await connection.fetch(_CLAIM, *mark, -_micros())
                    made_at = await connection.fetchval(_MADE_AT, *mark)
                    await connection.fetchval(_BARRIER)
                except BaseException:
                    await _end(connection, "ROLLBACK")
                    raise
                await connection.execute("COMMIT")
                return bool(made_at > 0)

        return await self._patiently(name, attempt, doubt=True)

    async def _transact(
        self, plan: Plan[Any], mark: Mark | None = None, *, barrier: bool = False
    ) -> Any:
        async with self._borrow() as connection:
            await connection.execute(self._ways.writing)
            trail = Trail()
            try:
                if barrier:
                    await connection.fetchval(_BARRIER)
                value = await drive(connection, plan, trail)
            except BaseException:
                await _end(connection, "ROLLBACK")
                raise
            commit = "COMMIT"
            if not trail.wrote:
                mark = None
            if mark is not None:
                # Beside the rows it speaks of, so that one shard has it all.
                mark = mark._replace(part=trail.part if _HEX.fullmatch(trail.part) else "")
                commit = _COMMIT.format(part=mark.part, token=mark.token, now=_micros())
            try:
                await connection.execute(commit)
            except Exception as error:
                if lost(error) and trail.wrote:
                    raise Unknown(mark, value) from error
                await _end(connection, "ROLLBACK")
                raise
        if trail.wrote:
            self.told(trail.part, trail.id)
        if mark is not None:
            await self._forget()
        return value

    async def _forget(self) -> None:
        """Now and then remove the outcomes that nobody will ask for any more."""
        self._marked += 1
        if self._marked % _FORGETTING != _FIRST:
            return
        old = _micros() - _KEPT_MICROS
        try:
            async with self._borrow() as connection:
                await connection.execute(self._ways.writing)
                await connection.fetch(_FORGET, -old, old)
                await connection.execute("COMMIT")
        except Exception:  # noqa: BLE001 - somebody else does it, or the next time
            return

    # -- one statement -----------------------------------------------------------------------

    async def send(self, text: str, rows: Sequence[tuple[Any, ...]]) -> list[Row]:
        """Write with one statement for each of these values, in one transaction and one trip.

        Raises `Unknown` if the connection is lost on the way; other errors: nothing is written.
        """
        async with self._borrow() as connection:
            try:
                return await self._at_once(connection, text, rows, self._ways.sending)
            except Exception as error:
                if lost(error):
                    raise Unknown(None, None) from error
                raise

    async def _at_once(
        self, connection: Connection, text: str, rows: Sequence[tuple[Any, ...]], begin: str
    ) -> list[Row]:
        if not self._ways.wrapped:
            return as_rows(await _sent(connection, text, rows))
        await connection.execute(begin)
        try:
            found = as_rows(await _sent(connection, text, rows))
        except BaseException:
            await _end(connection, "ROLLBACK")
            raise
        await connection.execute("COMMIT")
        return found

    # -- patience ----------------------------------------------------------------------------

    async def _patiently(
        self, name: str, attempt: Callable[[], Awaitable[T]], *, doubt: bool = False
    ) -> T:
        """The result of the first attempt that goes through, within the store's patience.

        ``doubt``: a commit is under way of which nobody knows, so that giving up is no answer.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._patience
        races = 0
        longest = _SHORTEST_SECONDS
        while True:
            try:
                return await attempt()
            except PerdureError:
                raise
            except Exception as error:  # noqa: BLE001 - told apart by what it means
                races += state_of(error) == RACED
                doubt = doubt or isinstance(error, Unknown)
                again = worth_another_try(error) or isinstance(error, Unknown)
                # Full jitter: those who met once do not meet again.
                delay = random.uniform(0, longest)  # noqa: S311 - not for secrets
                longest = min(longest * 2, _LONGEST_SECONDS)
                again = again or (state_of(error) == RACED and races <= _RACES)
                again = await self._mend(state_of(error)) or again
                if not again or clock() + delay > deadline:
                    cause = error.__cause__ if isinstance(error, Unknown) else error
                    failure = _unknown(name) if doubt else translate(cause or error, name)
                    raise failure from cause
            await asyncio.sleep(delay)


def _unknown(name: str) -> UnknownOutcomeError:
    return UnknownOutcomeError(
        f"{name}: the connection was lost at commit, and the server has not said what became of "
        "it: look before you do it again; an append with the same event ids is safe to repeat"
    )


def _micros() -> int:
    return time.time_ns() // 1_000


class _Lent:
    """A connection for a block. One that cannot be given back says nothing of what was done."""

    __slots__ = ("_loan",)

    def __init__(self, loan: Any) -> None:
        self._loan = loan

    async def __aenter__(self) -> Connection:
        return await self._loan.__aenter__()

    async def __aexit__(self, *failure: object) -> None:
        try:
            await self._loan.__aexit__(*failure)
        except Exception:  # noqa: BLE001 - the pool makes another one
            # It was lost behind the COMMIT: to try again now would be to do it twice.
            _log.debug("a connection was lost when it was given back", exc_info=True)


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
