"""Many operations of one statement, one round trip."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from typing import Any, NamedTuple

from perdure.engines import Job
from perdure.engines.delivery import Outcome, answer, deliver
from perdure.engines.postgres_transactions import Transactions, Unknown
from perdure.operation import Fused

#: Enough that a trip's own cost is shared, and few enough that the server works on one trip
#: while the next is being made.
_FULL = 16
#: More trips at once than this make each of them smaller, and the server no faster.
_MAX_TRIPS = 4

Spawn = Callable[[Coroutine[Any, Any, None]], None]


class _Member(NamedTuple):
    job: Job
    fused: Fused[Any]
    args: tuple[Any, ...]
    text: str
    row: Hashable


class _Plan(NamedTuple):
    """An operation that goes by itself, in its turn."""

    job: Job
    row: Hashable


class Lanes:
    """The writes of sessions, and their trips to the server.

    Those of one row are under way one after the other, in the order they came, or in one trip;
    so who waits for a locked row holds up nobody but those who want the same. Those that lock
    nothing but a row of their own go together, sorted by it; all others one by one. So no two
    trips wait for each other in a circle.
    """

    def __init__(self, transactions: Transactions, spawn: Spawn, connections: int) -> None:
        self._transactions = transactions
        self._spawn = spawn
        self._most = max(1, min(_MAX_TRIPS, connections - 1))
        #: For each statement, those that can go now; one of each row.
        self._waiting: dict[str, deque[_Member]] = {}
        #: For each row that is under way, or waits to be, those that come after.
        self._after: dict[Hashable, deque[_Member | _Plan]] = {}
        self._trips: dict[str, int] = {}

    def add(self, job: Job, row: Hashable, *, fused: bool) -> None:
        """Take one more; it goes with the next trip, or after those of its row."""
        entry = _member(job, row) if fused else _Plan(job, row)
        after = self._after.get(row)
        if after is None:
            self._after[row] = deque()
            self._start(entry)
        else:
            after.append(entry)

    def _start(self, member: _Member | _Plan) -> None:
        if isinstance(member, _Plan):
            self._spawn(self._planned(member))
            return
        if member.fused.alone:
            self._spawn(self._trip([member]))
            return
        waiting = self._waiting.setdefault(member.text, deque())
        waiting.append(member)
        trips = self._trips.get(member.text, 0)
        # Not each its own trip: those handed over together come here one after the other.
        if trips < self._most and len(waiting) > trips * _FULL:
            self._trips[member.text] = trips + 1
            self._spawn(self._serve(member.text))

    async def _serve(self, text: str) -> None:
        waiting = self._waiting[text]
        try:
            while waiting:
                await self._trip(self._load(waiting))
        finally:
            self._trips[text] -= 1

    def _load(self, waiting: deque[_Member]) -> list[_Member]:
        members: list[_Member] = []
        while waiting and len(members) < _FULL:
            member = waiting.popleft()
            after = self._after[member.row]
            members.append(member)
            # The next ones of the same row can come along if they are of the same kind.
            while after and len(members) < _FULL:
                following = after[0]
                if isinstance(following, _Plan) or following.text != member.text:
                    break
                after.popleft()
                members.append(following)
        if len(members) > 1:
            members.sort(key=_order)
        return members

    async def _trip(self, members: Sequence[_Member]) -> None:
        try:
            rows = await self._transactions.send(
                members[0].text, [member.args for member in members]
            )
        except Exception as error:  # noqa: BLE001 - each of them learns alone what it is
            doubt = isinstance(error, Unknown)
            self._go_alone(members, doubt=doubt)
            return
        outcomes = []
        missed = []
        for member, row in zip(members, rows, strict=True):
            value = None
            try:
                value = member.fused.result([row]) if _applied(row) else None
            except Exception as error:  # noqa: BLE001 - it belongs to the caller
                outcomes.append(Outcome(member.job[1], error=error))
                continue
            if value is None:
                missed.append(member)
            else:
                outcomes.append(Outcome(member.job[1], value))
                self._transactions.told(*member.fused.order[:2])
        deliver(outcomes)
        late = {member.row for member in missed}
        self._done({member.row for member in members} - late)
        self._go_alone(missed, doubt=False)

    def _go_alone(self, members: Iterable[_Member], *, doubt: bool) -> None:
        """Each row's members by their plans, one row beside the other."""
        by_row: dict[Hashable, list[_Member]] = {}
        for member in members:
            by_row.setdefault(member.row, []).append(member)
        for row in by_row.values():
            self._spawn(self._plain(row, doubt=doubt))

    async def _plain(self, members: Sequence[_Member], *, doubt: bool) -> None:
        """The plans, which say why a statement did not apply, or do what it did not."""
        for member in members:
            op, waiter = member.job
            fused = member.fused
            again = self._transactions.write_fused(op, fused, fused.again, doubt=doubt)
            await answer(waiter, again)
        self._done({members[0].row})

    async def _planned(self, entry: _Plan) -> None:
        op, waiter = entry.job
        await answer(waiter, self._transactions.write(op))
        self._done({entry.row})

    def _done(self, rows: Iterable[Hashable]) -> None:
        """Nothing of these rows is under way any more: the next ones can go."""
        for row in rows:
            after = self._after[row]
            if after:
                self._start(after.popleft())
            else:
                del self._after[row]


def _member(job: Job, row: Hashable) -> _Member:
    fused: Any = job[0].work
    query, args = fused.one()
    return _Member(job, fused, args, query.texts["postgres"], row)


def _order(member: _Member) -> tuple[str, ...]:
    return member.fused.order


def _applied(row: tuple[Any, ...]) -> bool:
    return row.count(None) < len(row)
