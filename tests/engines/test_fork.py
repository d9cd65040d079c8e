"""A fork: the child's copy of a store is closed, the parent's goes on, the file is unharmed.

In processes of their own: a fork copies whatever threads and stores a process has.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import select
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest

import perdure
from perdure import (
    ClosedError,
    NewEvent,
    PerdureError,
    SessionKey,
    Store,
    SyncStore,
    UnsupportedError,
)
from perdure.operation import Plan
from tests.engines.patience import begun, in_time, outcome
from tests.engines.plans import engine_of, operation, outcomes, sql
from tests.engines.processes import in_a_process, python, ran

KEY = SessionKey("app", "user", "chat")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/store.db"
    with perdure.open_sync(url) as store:
        store.sessions.create(*KEY)
    return url


class Child:
    """A forked process that does some work and tells what came of it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._out, into = os.pipe()
        with warnings.catch_warnings():
            # Python 3.12 warns of forks with threads: they are what is tried here.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid == 0:
            _tell(into, work)
        os.close(into)

    def result(self, seconds: float = 30) -> Any:
        """What the work returned; it must come, and the child must end."""
        told = b""
        deadline = time.monotonic() + seconds
        while select.select([self._out], [], [], max(0, deadline - time.monotonic()))[0]:
            read = os.read(self._out, 65536)
            if not read:
                break
            told += read
        else:
            os.kill(self._pid, signal.SIGKILL)
        os.close(self._out)
        os.waitpid(self._pid, 0)
        failure, value = pickle.loads(told) if told else ("the child hangs, or died", None)
        assert not failure, failure
        return value


def _tell(into: int, work: Callable[[], Any]) -> None:
    try:
        told = ("", work())
    except BaseException:  # noqa: BLE001 - the parent raises it
        told = (traceback.format_exc(), None)
    os.write(into, pickle.dumps(told))
    os._exit(0)


def contents_of(url: str) -> list[Any]:
    """The events of a file that is whole."""
    connection = apsw.Connection(url.removeprefix("sqlite:///"))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    with perdure.open_sync(url) as store:
        events = store.events.read(KEY)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return [event.content for event in events]


# -- the copy and the original ---------------------------------------------------------------


def use_both_sides(url: str) -> tuple[list[str], list[Any]]:
    with perdure.open_sync(url) as store:
        store.sessions.get_or_create(*KEY)
        store.events.append(KEY, "before")
        child = Child(lambda: use_copy(store))
        store.events.append(KEY, "after")
        seen = [event.content for event in store.events.read(KEY)]
        return child.result(), seen


def use_copy(store: SyncStore) -> list[str]:
    """The errors of every kind of call."""
    turn = store.turn()
    turn.events.append(KEY, "x")
    names = []
    for call in (
        lambda: store.events.append(KEY, "x"),
        lambda: store.events.append(KEY),
        lambda: store.events.read(KEY),
        lambda: store.session(*KEY),
        lambda: store.sessions.create(*KEY),
        lambda: next(iter(store.events.tail(KEY))),
        lambda: turn.__exit__(None, None, None),
    ):
        try:
            in_time(call)
        except PerdureError as error:
            names.append(type(error).__name__)
    store.close()
    return names


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_the_copy_in_a_forked_child_is_closed_and_the_parent_goes_on(kind: str, url: str) -> None:
    errors, seen = in_a_process(use_both_sides, "memory:" if kind == "memory" else url)

    assert errors == ["ClosedError"] * 7
    assert seen == ["before", "after"]
    assert kind == "memory" or contents_of(url) == ["before", "after"]


def use_tasks_on_both_sides(url: str) -> tuple[str, list[Any]]:
    async def work() -> tuple[Child, list[Any]]:
        async with perdure.open(url) as store:
            flood = [asyncio.create_task(store.events.append(KEY, "x")) for _ in range(100)]
            await asyncio.sleep(0)
            child = Child(lambda: in_time(try_copy, store))
            await asyncio.gather(*flood)
            return child, [event.content for event in await store.events.read(KEY)]

    def try_copy(store: Store) -> str:
        try:
            asyncio.run(store.events.append(KEY, "no"))
        except ClosedError:
            return "closed"
        return "not closed"

    child, seen = asyncio.run(work())
    return child.result(), seen


def test_the_copy_of_an_async_store_is_closed_too(url: str) -> None:
    told, seen = in_a_process(use_tasks_on_both_sides, url)

    assert told == "closed"
    assert seen == ["x"] * 100 == contents_of(url)


FALLS_OFF_THE_END = """
import os, sys, warnings
import perdure

warnings.simplefilter("ignore")
store = perdure.open_sync(sys.argv[1])
key = perdure.SessionKey("app", "user", "chat")
store.events.append(key, "before")
if os.fork():
    os.wait()
    store.events.append(key, "after")
else:
    print("child", flush=True)
"""


def test_a_child_that_just_ends_takes_nothing_along(url: str) -> None:
    assert ran(FALLS_OFF_THE_END, url, seconds=30) == ["child"]

    assert contents_of(url) == ["before", "after"]


# -- a store of the child's own --------------------------------------------------------------


def append_as(url: str, name: str, count: int) -> list[str]:
    with perdure.open_sync(url, durability="normal") as own:
        for number in range(count):
            own.events.append(KEY, NewEvent(f"{name} {number}", id=f"{name} {number}"))
    return [f"{name} {number}" for number in range(count)]


def fork_during_load(url: str) -> list[list[str]]:
    """Eight forks while threads and tasks use the store; the acknowledged events of each."""
    over = threading.Event()

    def write(store: SyncStore, name: str, told: list[str]) -> None:
        while not over.is_set():
            event = NewEvent(f"{name} {len(told)}", id=f"{name} {len(told)}")
            told.append(store.events.append(KEY, event).event.id)
            store.events.read(KEY, recent=3)

    async def write_as_task(told: list[str]) -> None:
        async with perdure.open(url) as store:
            while not over.is_set():
                event = NewEvent(f"task {len(told)}", id=f"task {len(told)}")
                told.append((await store.events.append(KEY, event)).event.id)

    told: list[list[str]] = [[], [], []]
    with perdure.open_sync(url, durability="normal") as store:
        threads = [begun(write, store, f"thread {n}", told[n]) for n in range(2)]
        threads.append(begun(lambda: asyncio.run(write_as_task(told[2]))))
        children = []
        for number in range(8):
            time.sleep(0.02)
            children.append(Child(partial(append_as, url, f"child {number}", 50)))
        told += [child.result() for child in children]
        over.set()
        for thread in threads:
            outcome(thread)
    return told


def test_parent_and_eight_children_forked_under_load_all_write(url: str) -> None:
    told = in_a_process(fork_during_load, url)

    contents = contents_of(url)
    assert sorted(contents) == sorted(text for own in told for text in own)
    for own in told:
        assert [text for text in contents if text in set(own)] == own
    assert [len(own) for own in told[3:]] == [50] * 8


def child_outlives_parent(url: str) -> list[str]:
    """The child writes on while the parent closes, and another process comes and goes."""
    store = perdure.open_sync(url)
    store.events.append(KEY, "parent")
    closed, into = os.pipe()

    def work() -> list[str]:
        with perdure.open_sync(url) as own:
            own.events.append(KEY, "child 1")
            os.read(closed, 1)
            own.events.append(KEY, "child 2")
            with perdure.open_sync(url) as another:
                another.events.append(KEY, "child 3")
            own.events.append(KEY, "child 4")
            return [event.content for event in own.events.read(KEY)]

    child = Child(work)
    while store.events.count(KEY) < 2:
        time.sleep(0.005)
    store.close()
    os.write(into, b"x")
    seen: list[str] = child.result()
    return seen


def test_a_child_writes_on_when_the_parent_has_closed(url: str) -> None:
    seen = in_a_process(child_outlives_parent, url)

    assert seen == ["parent", "child 1", "child 2", "child 3", "child 4"]
    assert contents_of(url) == seen


def fork_from_threads(url: str) -> list[int]:
    """Forks from several threads at once, while others use two stores."""
    over = threading.Event()
    with perdure.open_sync(url, durability="normal") as store, perdure.open_sync(url) as second:

        def load() -> None:
            while not over.is_set():
                store.events.append(KEY, "load")
                second.events.read(KEY, recent=3)

        def fork_some(number: int) -> list[int]:
            names = [f"{number} {n}" for n in range(5)]
            return [len(Child(partial(append_as, url, name, 2)).result()) for name in names]

        loads = [begun(load) for _ in range(2)]
        threads = [begun(fork_some, number) for number in range(4)]
        counts = [count for thread in threads for count in outcome(thread, 60)]
        over.set()
        for one in loads:
            outcome(one)
        in_time(store.events.append, KEY, "one")
        in_time(second.events.append, KEY, "two")
    return counts


def test_several_threads_may_fork_at_once(url: str) -> None:
    counts = in_a_process(fork_from_threads, url, seconds=60)

    assert counts == [2] * 20
    contents = contents_of(url)
    assert len([text for text in contents if text != "load"]) == 42


# -- whose locks -----------------------------------------------------------------------------


def fork_inside_a_transaction(url: str) -> list[str]:
    """What others can do while the parent is in a transaction and its child comes and goes."""
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> Plan[None]:
        yield sql("UPDATE sessions SET title = 'held'")
        inside.set()
        go_on.wait(30)

    def try_to_write() -> str:
        try:
            with perdure.open_sync(url, busy_timeout=0.2) as own:
                in_time(own.events.append, KEY, "no")
        except PerdureError:
            return "refused"
        return "written"

    seen = []
    # A fork waits as long as any call for a transaction to end, and then comes all the same.
    with perdure.open_sync(url, busy_timeout=0.2) as store:
        holding = begun(outcomes, engine_of(store), [operation(hold)])
        inside.wait(20)
        seen.append(str(Child(try_to_write).result()))
        seen.append(ran(TRIES_TO_WRITE, url)[0])
        assert not holding.done()
        go_on.set()
        outcome(holding)
        in_time(store.events.append, KEY, "then")
    return seen


TRIES_TO_WRITE = """
import sys
import perdure

with perdure.open_sync(sys.argv[1], busy_timeout=0.2) as store:
    try:
        store.events.append(perdure.SessionKey("app", "user", "chat"), "no")
        print("written")
    except perdure.BusyError:
        print("refused")
"""


def test_a_child_that_comes_and_goes_releases_no_lock_of_its_parent(url: str) -> None:
    seen = in_a_process(fork_inside_a_transaction, url)

    assert seen == ["refused", "refused"]
    assert contents_of(url) == ["then"]
    with perdure.open_sync(url) as store:
        assert store.sessions.get(KEY).title == "held"


def fork_while_waiting(url: str, stopper: str) -> tuple[int, str]:
    """A fork while the parent's writer waits for a stopped process; the child writes on.

    How many events the child was told are stored, and how many an outsider sees.
    """
    with python(stopper, url) as process:
        os.waitpid(process.pid, os.WUNTRACED)
        store = perdure.open_sync(url, busy_timeout=60)
        waiting = begun(store.events.append, KEY, "parent")
        time.sleep(0.3)
        closed, into = os.pipe()

        def work() -> tuple[int, str]:
            acknowledged = 0
            try:
                with perdure.open_sync(url, busy_timeout=20) as own:
                    own.events.append(KEY, "child 1")
                    acknowledged = 1
                    os.read(closed, 1)
                    own.events.append(KEY, "child 2")
                    acknowledged = 2
                    return acknowledged, ran(COUNTS, url)[0]
            except UnsupportedError:
                return acknowledged, ran(COUNTS, url)[0]

        child = Child(work)
        process.send_signal(signal.SIGCONT)
        process.wait(20)
        outcome(waiting)
        time.sleep(0.5)
        in_time(store.close)
        os.write(into, b"x")
        told: tuple[int, str] = child.result()
        return told


STOPS = """
import os, signal, sys
import perdure
from perdure.operation import Operation

def work(bumps):
    os.kill(os.getpid(), signal.SIGSTOP)
    return
    yield

with perdure.open_sync(sys.argv[1]) as store:
    store._engine.run(Operation("stop", (), {}, work))
"""

COUNTS = """
import sqlite3, sys

connection = sqlite3.connect(sys.argv[1].removeprefix("sqlite:///"))
print(*connection.execute("SELECT COUNT(*) FROM events").fetchone())
connection.close()
"""


def test_a_fork_while_the_writer_waits_for_its_turn_costs_nobody_an_event(url: str) -> None:
    acknowledged, counted = in_a_process(fork_while_waiting, url, STOPS)

    # A child may refuse to open a file that it cannot open safely, but not lose what it took.
    assert int(counted) == acknowledged + 1
    assert len(contents_of(url)) == acknowledged + 1


# -- multiprocessing -------------------------------------------------------------------------


def fork_with_multiprocessing(url: str) -> list[Any]:
    context = multiprocessing.get_context("fork")
    with perdure.open_sync(url) as store:
        store.events.append(KEY, "parent")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            with context.Pool(4, initializer=inherit, initargs=(store,)) as pool:
                closed = pool.map(inherited_is_closed, range(8))
                written = pool.starmap(append_as, [(url, f"job {n}", 5) for n in range(8)])
        store.events.append(KEY, "on it goes")
        return [closed, sorted(text for own in written for text in own)]


_inherited: list[SyncStore] = []


def inherit(store: SyncStore) -> None:
    _inherited.append(store)


def inherited_is_closed(_: int) -> bool:
    try:
        _inherited[0].events.append(KEY, "no")
    except ClosedError:
        return True
    return False


def test_a_pool_of_forked_workers_opens_its_own_stores(url: str) -> None:
    closed, written = in_a_process(fork_with_multiprocessing, url)

    assert closed == [True] * 8
    assert sorted(contents_of(url)) == sorted(["parent", "on it goes", *written])
