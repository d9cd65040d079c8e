"""Statements, the plans that yield them, and the operations that engines run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from perdure.records import SessionKey


T = TypeVar("T")


Row: TypeAlias = tuple[Any, ...]


Rows: TypeAlias = Sequence[Row]


@dataclass(frozen=True, slots=True)
class Query:
    """One named statement, with its text in each dialect and the order of its parameters."""

    name: str
    texts: Mapping[str, str]
    params: tuple[str, ...]

    def __call__(self, **values: Any) -> Statement:
        """The statement with these values; a missing or unknown name is a `TypeError`."""
        if len(values) != len(self.params):
            self._refuse(values)
        try:
            return Statement(self, tuple([values[name] for name in self.params]))
        except KeyError:
            self._refuse(values)
            raise

    def among(self, values: Mapping[str, Any]) -> Statement:
        """The statement with those of the values that it has; a missing one is a `KeyError`."""
        return Statement(self, tuple([values[name] for name in self.params]))

    def many(self, rows: Sequence[tuple[Any, ...]]) -> Many:
        """The same statement for several rows, each in the order of `params`."""
        return Many(self, rows)

    def _refuse(self, values: Mapping[str, Any]) -> None:
        wrong = sorted(set(values) ^ set(self.params))
        raise TypeError(f"statement {self.name!r}: missing or unknown parameters {wrong}")


class Statement(NamedTuple):
    """A query with its values, in the order its text numbers them."""

    query: Query
    args: tuple[Any, ...]


class Many(NamedTuple):
    """A writing query for several rows of values; no rows come back."""

    query: Query
    rows: Sequence[tuple[Any, ...]]


Plan: TypeAlias = Generator[Statement | Many, Rows, T]


#: How many versions the running transaction has already added to each session.
Bumps: TypeAlias = "dict[SessionKey, int]"


Work: TypeAlias = Callable[[Bumps], Plan[T]]


class Fused(Generic[T]):
    """Work that one statement can do whole; called, it gives the plan like any other work.

    An engine that has round trips to save sends ``one()`` as a transaction of its own, and
    ``result`` makes the value of its rows. None from there says that the statement did not
    apply, and then that it changed nothing: the plan of ``again`` is run instead. It is run,
    too, when nobody knows whether the statement took effect, so it finds what is stored.

    A writing statement gives exactly one row, of NULLs alone where it did not apply.
    ``order`` is the row of its own that it locks: such statements may share a transaction,
    in this order, and those of one row take effect in the order they came. ``alone``: it locks
    others' rows as well, and goes by itself.
    """

    __slots__ = ("again", "alone", "one", "order", "result", "work")

    def __init__(
        self,
        work: Work[T],
        one: Callable[[], Statement],
        result: Callable[[Rows], T | None],
        again: Work[T],
        order: tuple[str, ...] = (),
        *,
        alone: bool = False,
    ) -> None:
        self.work = work
        self.one = one
        self.result = result
        self.again = again
        self.order = order
        self.alone = alone

    def __call__(self, bumps: Bumps) -> Plan[T]:
        """The plan, as the part of a transaction."""
        return self.work(bumps)


def in_one(work: Work[T]) -> Fused[T]:
    """The same reading work, if its first statement is often all there is to it."""
    plans: list[Plan[T]] = []

    def first() -> Statement:
        plans[:] = [work({})]
        statement = next(plans[0])
        if not isinstance(statement, Statement):
            raise TypeError(f"a read begins with a statement, not with {statement!r}")
        return statement

    def rest(rows: Rows) -> T | None:
        # The plan that has asked, and no other: it may know what need not be sent.
        plan = plans.pop()
        try:
            plan.send(rows)
        except StopIteration as end:
            value: T = end.value
            return value
        plan.close()
        return None

    return Fused(work, first, rest, work)


class Noted(Generic[T]):
    """Work with a note beside it, for those who are told what was committed.

    It says what the result alone does not; it is fit to be shown, as `on_write` has left it.
    """

    __slots__ = ("note", "work")

    def __init__(self, work: Work[T], note: Any) -> None:
        self.work = work
        self.note = note

    def __call__(self, bumps: Bumps) -> Plan[T]:
        """The plan."""
        return self.work(bumps)


class Do(Protocol):
    """Runs an operation as a step of another one."""

    def __call__(self, op: Operation[T], /) -> Plan[T]:
        """Its result."""


class Composed(Generic[T]):
    """Work made of other operations: those who are told of them find them in ``done``.

    With their results, as the last run had them: that is the one that was committed.
    """

    __slots__ = ("_work", "done")

    def __init__(self, work: Callable[[Bumps, Do], Plan[T]]) -> None:
        self._work = work
        self.done: Sequence[tuple[Operation[Any], Any]] = ()

    def __call__(self, bumps: Bumps) -> Plan[T]:
        """The plan."""
        done: list[tuple[Operation[Any], Any]] = []

        def do(op: Operation[Any]) -> Plan[Any]:
            result = yield from op.work(bumps)
            done.append((op, result))
            return result

        value = yield from self._work(bumps, do)
        self.done = done
        return value


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """What the port takes: a name, the arguments, and a plan that can be made again.

    ``of_session``: where the arguments begin with what looks like the key of a session, it is one.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    work: Work[T]
    reads: bool = False
    of_session: bool = True

    def plan(self) -> Plan[T]:
        """A fresh plan, as the only one of its transaction."""
        return self.work({})
