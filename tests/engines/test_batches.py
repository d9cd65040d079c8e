"""Group commit: what shares a transaction shares nothing else."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

import perdure
from perdure import (
    AlreadyExistsError,
    ConflictError,
    NewEvent,
    NotFoundError,
    PerdureError,
    SessionKey,
    StaleSessionError,
    Store,
    SyncStore,
    TooLargeError,
    UserScope,
)
from perdure.operation import Operation, Plan
from tests.engines import plans
from tests.engines.patience import begun, in_time, outcome
from tests.engines.plans import doing, engine_of, operation, outcomes, sql
from tests.engines.processes import python

KEY = SessionKey("app", "user", "chat")
OTHER = SessionKey("app", "user", "other")
USER = UserScope("app", "user")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def store(url: str) -> Iterator[SyncStore]:
    with perdure.open_sync(url) as store:
        store.sessions.create(*KEY)
        store.sessions.create(*OTHER)
        yield store


@pytest.fixture
def marks(store: SyncStore) -> Iterator[Callable[[], list[int]]]:
    """A table to write to; gives what others see of it."""
    engine_of(store).run(doing(sql("CREATE TABLE marks (number INTEGER PRIMARY KEY)")))
    observer = apsw.Connection(store.display_url.removeprefix("sqlite:///"))
    yield lambda: [n for (n,) in observer.execute("SELECT number FROM marks ORDER BY number")]
    observer.close()


def all_at_once(store: SyncStore, operations: list[Operation[Any]]) -> list[Any]:
    """The outcomes of operations that are queued before the first of them runs."""
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> Plan[None]:
        inside.set()
        go_on.wait(20)
        return
        yield

    first = begun(outcomes, engine_of(store), [operation(hold)])
    inside.wait(20)
    rest = begun(outcomes, engine_of(store), operations)
    while not rest.done() and store._engine._queue.qsize() < len(operations):  # type: ignore[attr-defined]
        time.sleep(0.001)
    go_on.set()
    outcome(first)
    return outcome(rest)


def mark(number: int) -> Any:
    return sql("INSERT INTO marks VALUES (?)", number)


async def in_one_batch(*calls: Coroutine[Any, Any, Any]) -> list[Any]:
    """The outcomes of calls that start in one round of the loop, so that they queue together."""
    return await asyncio.gather(*calls, return_exceptions=True)


# -- a failure among others ------------------------------------------------------------------


async def failing_turn(store: Store, number: int) -> None:
    """Writes to two sessions and the user's state, then fails."""
    async with store.turn() as turn:
        turn.events.append(KEY, NewEvent("no", id=f"turn {number}", state_delta={"turn": number}))
        turn.state.set(USER, {f"turn {number}": True})
        turn.sessions.create("app", "user", f"made by turn {number}")
        turn.events.append(OTHER, "no", expected_version=999)


def test_a_turn_whose_last_operation_fails_does_not_touch_its_batch_mates(
    store: SyncStore, url: str
) -> None:
    async def work() -> list[Any]:
        async with perdure.open(url) as tasks:
            return await in_one_batch(
                *[tasks.events.append(KEY, NewEvent(n, state_delta={"n": n})) for n in range(20)],
                failing_turn(tasks, 1),
                *[tasks.events.append(KEY, NewEvent(n)) for n in range(20, 40)],
                failing_turn(tasks, 2),
            )

    results = asyncio.run(work())

    failures = [result for result in results if isinstance(result, Exception)]
    assert [type(failure) for failure in failures] == [StaleSessionError] * 2
    assert [getattr(failure, "operation", None) for failure in failures] == [
        (3, "events.append")
    ] * 2
    assert [event.content for event in store.events.read(KEY)] == list(range(40))
    assert [event.seq for event in store.events.read(KEY)] == list(range(1, 41))
    assert store.sessions.get(KEY).version == 1 + 40
    assert store.sessions.get(OTHER).version == 1
    assert store.state.merged(KEY) == {"n": 19}
    assert store.sessions.count("app", "user") == 2


def test_many_failures_among_many_successes_each_get_what_is_theirs(
    store: SyncStore, url: str
) -> None:
    store.events.append(KEY, NewEvent("there", id="there"))
    kinds = ["stored", "stale", "unknown", "conflict", "exists", "turn", "retried"]
    drawn = random.Random(7).choices(kinds, k=400)

    def call(tasks: Store, number: int) -> Coroutine[Any, Any, Any]:
        append = tasks.events.append
        calls: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "stored": lambda: append(KEY, NewEvent(number, id=f"event {number}")),
            "stale": lambda: append(KEY, "no", expected_version=10_000),
            "unknown": lambda: append(SessionKey("app", "user", "nobody"), "no"),
            "conflict": lambda: append(KEY, NewEvent("other content", id="there")),
            "exists": lambda: tasks.sessions.create(*KEY),
            "turn": lambda: failing_turn(tasks, number),
            "retried": lambda: append(KEY, NewEvent("there", id="there")),
        }
        return calls[drawn[number]]()

    async def work() -> list[Any]:
        async with perdure.open(url) as tasks:
            return await in_one_batch(*[call(tasks, number) for number in range(400)])

    results = asyncio.run(work())

    raised = {
        "stale": StaleSessionError,
        "unknown": NotFoundError,
        "conflict": ConflictError,
        "exists": AlreadyExistsError,
        "turn": StaleSessionError,
    }
    for kind, result in zip(drawn, results, strict=True):
        assert type(result) is raised.get(kind, perdure.Appended), (kind, result)
    stored = store.events.read(KEY)
    assert [event.seq for event in stored] == list(range(1, len(stored) + 1))
    wanted = [f"event {number}" for number in range(400) if drawn[number] == "stored"]
    assert [event.id for event in stored] == ["there", *wanted]
    assert store.sessions.get(KEY).version == 1 + len(stored)
    assert store.state.list(USER).items == []


def test_a_plan_that_fails_after_it_wrote_runs_again_with_its_mates_and_alone_fails(
    store: SyncStore, marks: Callable[[], list[int]]
) -> None:
    ran: list[int] = []

    def plan(number: int) -> Operation[Any]:
        def steps() -> Plan[int]:
            ran.append(number)
            yield mark(number)
            if number == 2:
                raise KeyError("of a plan")
            return number

        return operation(steps)

    found = all_at_once(store, [plan(number) for number in range(5)])

    assert [found[n] for n in (0, 1, 3, 4)] == [0, 1, 3, 4]
    assert isinstance(found[2], KeyError)
    assert marks() == [0, 1, 3, 4]
    # Those that came behind it were not begun yet.
    assert ran == [0, 1, 2, 0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda s: s.events.append(KEY, "x", expected_version=7), StaleSessionError),
        (lambda s: s.events.append(SessionKey("a", "u", "nobody"), "x"), NotFoundError),
        (lambda s: s.events.append(KEY, NewEvent("other", id="there")), ConflictError),
        (lambda s: s.events.pop(KEY, expected_version=7), StaleSessionError),
        (lambda s: s.events.rewind(KEY, 1, expected_version=7), StaleSessionError),
        (lambda s: s.events.clear(SessionKey("a", "u", "nobody")), NotFoundError),
        (lambda s: s.sessions.create(*KEY), AlreadyExistsError),
        (lambda s: s.sessions.update(KEY, title="x", expected_version=7), StaleSessionError),
        (lambda s: s.state.set(USER, {"x": 1}, expected_versions={"x": 7}), ConflictError),
        (lambda s: s.events.annotate(KEY, "x", event_id="nobody"), NotFoundError),
    ],
)
def test_a_call_that_only_decides_fails_before_it_writes(
    call: Callable[[Any], Any], error: type[Exception], store: SyncStore, url: str
) -> None:
    store.events.append(KEY, NewEvent("there", id="there"))

    async def work() -> list[Any]:
        async with perdure.open(f"counting+{url}") as tasks:
            plans.runs.clear()
            appends = [tasks.events.append(OTHER, "x") for _ in range(9)]
            return await in_one_batch(*appends, call(tasks))

    *_, result = asyncio.run(work())

    assert type(result) is error
    # Had it written first, all of them would have been rolled back and run again.
    assert len(plans.runs) == 10


def test_a_lone_call_that_fails_after_it_wrote_leaves_no_trace(store: SyncStore) -> None:
    def fail() -> None:
        with store.turn() as turn:
            turn.events.append(KEY, "no")
            turn.events.append(OTHER, "no", expected_version=999)

    with pytest.raises(StaleSessionError) as caught:
        fail()

    assert caught.value.operation == (1, "events.append")
    assert store.events.read(KEY) == []
    assert store.sessions.get(KEY).version == 1


# -- how much a batch holds ------------------------------------------------------------------


def places(marks: Callable[[], list[int]], count: int, pause: float = 0) -> list[Operation[Any]]:
    """Operations that return their place in their batch: how many stood there uncommitted."""

    def plan(number: int) -> Operation[Any]:
        def steps() -> Plan[int]:
            time.sleep(pause)
            yield mark(number)
            return number - len(marks())

        return operation(steps)

    return [plan(number) for number in range(count)]


def test_a_batch_holds_many_operations_and_at_most_512(
    store: SyncStore, marks: Callable[[], list[int]]
) -> None:
    found = outcomes(engine_of(store), places(marks, 2000))

    assert 1 < max(found) < 512
    assert marks() == list(range(2000))


def test_a_batch_ends_when_it_has_taken_long(
    store: SyncStore, marks: Callable[[], list[int]]
) -> None:
    found = outcomes(engine_of(store), places(marks, 30, pause=0.012))

    # The clock runs from the end of the first one: two more fit, or three.
    assert max(found) <= 3


def test_threads_and_tasks_fill_one_batch(store: SyncStore, marks: Callable[[], list[int]]) -> None:
    engine = engine_of(store)
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> Plan[None]:
        inside.set()
        go_on.wait(20)
        yield mark(0)

    first = begun(outcomes, engine, [operation(hold)])
    inside.wait(20)
    threads = [begun(store.events.append, KEY, "x") for _ in range(10)]
    tasks = begun(outcomes, engine, [doing(mark(number)) for number in range(1, 10)])
    time.sleep(0.1)
    go_on.set()

    versions = {outcome(thread).version for thread in threads}
    assert versions == set(range(2, 12))
    assert outcome(first) == [None]
    assert outcome(tasks) == [[]] * 9
    assert marks() == list(range(10))


# -- whose errors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        (sql("SELEKT 1"), PerdureError),
        (sql("INSERT INTO nowhere VALUES (1)"), PerdureError),
        (sql("INSERT INTO sessions (part) VALUES (NULL)"), PerdureError),
        (sql("SELECT zeroblob(?)", 2**31), TooLargeError),
        (sql("SELECT json('{')"), PerdureError),
    ],
)
@pytest.mark.parametrize("reads", [True, False])
def test_errors_of_the_driver_never_escape(
    statement: Any, error: type[PerdureError], reads: bool, store: SyncStore
) -> None:
    def steps() -> Plan[Any]:
        return (yield statement)

    op = operation(steps, reads=reads)

    with pytest.raises(error):
        engine_of(store).run(op)
    [handed_over] = outcomes(engine_of(store), [op])
    assert isinstance(handed_over, error)
    assert store.events.append(KEY, "on it goes").event.seq == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.events.append(KEY, "x", expected_version=2**70),
        lambda s: s.events.append(KEY, "x", after=2**70),
        lambda s: s.events.read(KEY, after_seq=2**70),
        lambda s: s.events.read(KEY, recent=2**70),
        lambda s: s.events.pop(KEY, 2**70),
        lambda s: s.events.rewind(KEY, 2**70),
        lambda s: s.events.window(KEY, 2**70),
        lambda s: s.events.prune(KEY, keep_last=2**70),
        lambda s: s.events.prune(KEY, before_seq=2**70),
        lambda s: s.events.delete(KEY, seqs=(1, 2**70)),
        lambda s: s.events.list(KEY, limit=2**70),
        lambda s: s.state.at(KEY, 2**70),
        lambda s: s.state.set(USER, {"x": 1}, expected_versions={"x": 2**70}),
        lambda s: s.sessions.fork(KEY, at=2**70),
    ],
)
def test_a_number_that_no_column_holds_raises_nothing_of_the_driver(
    call: Callable[[SyncStore], Any], store: SyncStore
) -> None:
    with suppress(PerdureError):
        call(store)

    assert store.events.append(KEY, "on it goes").event.seq == 1


def test_an_operation_that_says_it_reads_cannot_write(store: SyncStore) -> None:
    def steps() -> Plan[None]:
        yield sql("DELETE FROM sessions")

    with pytest.raises(PerdureError):
        engine_of(store).run(operation(steps, reads=True))

    assert store.sessions.count("app", "user") == 2


def test_an_error_in_a_plan_reaches_its_caller_and_nobody_else(
    store: SyncStore, marks: Callable[[], list[int]]
) -> None:
    def steps() -> Plan[None]:
        raise ZeroDivisionError("of a plan")
        yield

    found = all_at_once(store, [doing(mark(1)), operation(steps), doing(mark(2))])

    assert isinstance(found[1], ZeroDivisionError)
    assert marks() == [1, 2]


# -- a replay that cannot begin --------------------------------------------------------------


# Takes the write lock whenever it is free, and keeps it for longer than others will wait.
POUNCES = """
import sqlite3, sys, time

connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
print("ready", flush=True)
while True:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        continue
    time.sleep(0.05)
    connection.execute("ROLLBACK")
    time.sleep(0.005)
"""


@pytest.mark.usefixtures("marks")
def test_a_replay_that_cannot_begin_makes_its_callers_busy_and_stops_nothing(url: str) -> None:
    rolled_back: list[int] = []

    def dirty() -> Plan[None]:
        rolled_back.append(1)
        yield sql("INSERT OR REPLACE INTO marks VALUES (1)")
        if len(rolled_back) == 1:
            # Long enough for the other program to stand at the door.
            time.sleep(0.01)
        raise KeyError("of a plan")

    unreplayed = 0
    with (
        perdure.open_sync(url, busy_timeout=0.03) as hasty,
        python(POUNCES, url.removeprefix("sqlite:///")) as program,
    ):
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        deadline = time.monotonic() + 15
        while not unreplayed and time.monotonic() < deadline:
            rolled_back.clear()
            clear = doing(sql("DELETE FROM marks"))
            found = in_time(outcomes, engine_of(hasty), [operation(dirty), clear])
            assert {type(one) for one in found} <= {KeyError, list, perdure.BusyError}
            unreplayed = len(rolled_back) == 1
        program.kill()
        program.wait()

        assert unreplayed
        assert in_time(hasty.events.append, KEY, "on it goes").event.seq == 1
