"""Connections, lent for a moment each, without what a pool does between two of them."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

import asyncpg

from perdure.engines.postgres_connection import Connection


class Lender:
    """Lends the connections of a pool of our own; the last used ones are kept at hand.

    Taking one from asyncpg's pool and giving it back costs a task and as much time as a short
    statement. So as many as ``kept`` are not given back, and who needs one gets the last used.
    """

    def __init__(self, pool: Any, most: int, kept: int) -> None:
        self._pool = pool
        self._kept = kept
        self._idle: list[Connection] = []
        #: Never more than the pool has: what is at hand here is not missed there.
        self._free = asyncio.Semaphore(most)

    def __call__(self) -> _Loan:
        """A connection for an ``async with`` block."""
        return _Loan(self)

    async def take(self) -> Connection:
        """One that is open; waits for it if all are lent."""
        await self._free.acquire()
        try:
            while self._idle:
                connection = self._idle.pop()
                if _sound(connection):
                    return connection
                await self._pool.release(connection)
            return await self._pool.acquire()
        except BaseException:
            self._free.release()
            raise

    async def give_back(self, connection: Connection) -> None:
        """The block has ended."""
        try:
            if len(self._idle) < self._kept and _sound(connection):
                self._idle.append(connection)
            else:
                await self._pool.release(connection)
        finally:
            self._free.release()

    async def clear(self) -> None:
        """Give what is at hand back to the pool."""
        while self._idle:
            await self._pool.release(self._idle.pop())


def _sound(connection: Connection) -> bool:
    """Whether it is open, with nothing going on."""
    try:
        return not connection.is_closed() and not connection.is_in_transaction()
    except asyncpg.InterfaceError:
        # One that was lost the pool has taken back by itself.
        return False


class _Loan:
    """What `Lender` gives."""

    __slots__ = ("_connection", "_lender")

    def __init__(self, lender: Lender) -> None:
        self._lender = lender
        self._connection: Connection = None

    async def __aenter__(self) -> Connection:
        self._connection = await self._lender.take()
        return self._connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._lender.give_back(self._connection)
