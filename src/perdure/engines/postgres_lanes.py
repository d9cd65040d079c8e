"""Many operations of one statement, one round trip."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from perdure.engines import Job
from perdure.engines.delivery import Outcome, deliver
from perdure.engines.postgres_transactions import Transactions, Unknown
from perdure.operation import Fused

#: Enough that a trip's own cost is shared, and few enough that the server works on one trip
#: while the next is being made.
_FULL = 32
_MAX_BYTES = 4 * 2**20
#: More trips at once than this make each of them smaller, and the server no faster.
_MAX_TRIPS = 4


class _Member(NamedTuple):
    job: Job
    fused: Fused[Any]
    args: tuple[Any, ...]


class Lane:
    """The operations that one statement can do, and their trips to the server.

    Those that lock nothing but a row of their own go together, sorted by it; all others one
    by one. So no two trips wait for each other in a circle.
    """

    def __init__(
        self,
        text: str,
        part: int,
        transactions: Transactions,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        connections: int,
    ) -> None:
        self._text = text
        #: Where among the values the part stands.
        self._part = part
        self._transactions = transactions
        self._spawn = spawn
        self._waiting: deque[_Member] = deque()
        self._trips = 0
        self._most = max(1, min(_MAX_TRIPS, connections - 1))

    def add(self, job: Job, fused: Fused[Any], args: tuple[Any, ...]) -> None:
        """Take one more; it goes with the next trip."""
        member = _Member(job, fused, args)
        if fused.order is None:
            self._spawn(self._alone(member))
            return
        self._waiting.append(member)
        # Not each its own trip: those handed over together come here one after the other.
        if self._trips < self._most and len(self._waiting) > self._trips * _FULL:
            self._trips += 1
            self._spawn(self._serve())

    async def _serve(self) -> None:
        try:
            while self._waiting:
                await self._trip(self._load())
        finally:
            self._trips -= 1

    def _load(self) -> list[_Member]:
        members: list[_Member] = []
        size = 0
        while self._waiting and len(members) < _FULL and size < _MAX_BYTES:
            member = self._waiting.popleft()
            size += _size(member.args)
            members.append(member)
        if len(members) > 1:
            members.sort(key=_order)
        return members

    async def _trip(self, members: Sequence[_Member]) -> None:
        try:
            rows = await self._transactions.send(self._text, [member.args for member in members])
        except Exception as error:  # noqa: BLE001 - each of them learns alone what it is
            for member in members:
                self._spawn(self._plain(member, doubt=isinstance(error, Unknown)))
            return
        outcomes = []
        for member, row in zip(members, rows, strict=True):
            try:
                value = member.fused.result([row]) if _applied(row) else None
            except Exception as error:  # noqa: BLE001 - it belongs to the caller
                outcomes.append(Outcome(member.job[1], error=error))
                continue
            if value is None:
                self._spawn(self._plain(member, doubt=False))
            else:
                outcomes.append(Outcome(member.job[1], value))
                self._transactions.told(member.args[self._part])
        deliver(outcomes)

    async def _alone(self, member: _Member) -> None:
        await self._trip([member])

    async def _plain(self, member: _Member, *, doubt: bool) -> None:
        """The plan, which says why the statement did not apply, or does what it did not."""
        op, waiter = member.job
        fused = member.fused
        try:
            value = await self._transactions.write_fused(op, fused, fused.again, doubt=doubt)
        except Exception as error:  # noqa: BLE001 - it belongs to the caller
            deliver([Outcome(waiter, error=error)])
        else:
            deliver([Outcome(waiter, value)])


def _size(values: Sequence[Any]) -> int:
    size = 0
    for value in values:
        kind = type(value)
        if kind is str or kind is bytes:
            size += len(value)
        elif kind is list:
            size += _size(value)
    return size


def _order(member: _Member) -> tuple[str, ...]:
    return member.fused.order or ()


def _applied(row: tuple[Any, ...]) -> bool:
    return any(value is not None for value in row)
