"""One store, many threads and event loops; its end, with calls still on their way."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import perdure
from perdure import ClosedError, NewEvent, SessionKey, Store, SyncStore
from tests.engines.patience import begun, in_time, outcome
from tests.engines.processes import ran

KEY = SessionKey("app", "user", "chat")


@pytest.fixture(params=["sqlite", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def store(url: str) -> Iterator[SyncStore]:
    with perdure.open_sync(url) as store:
        store.sessions.create(*KEY)
        yield store


def unopened(url: str) -> Store:
    """An async store that nothing has entered: its first call opens it."""
    store = perdure.open(url)
    asyncio.run(store.sessions.create(*KEY))
    return store


def in_threads(work: Callable[[int], Any], count: int = 8) -> list[Any]:
    """What the work returns in each of so many threads, which begin together."""
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:
        barrier.wait(20)
        return work(number)

    threads = [begun(run, number) for number in range(count)]
    return [outcome(thread, 60) for thread in threads]


def check_all_there(contents: list[Any], count: int) -> None:
    """Nothing lost or doubled, and each thread's own in the order it appended them."""
    assert len(contents) == 8 * count
    for thread in range(8):
        own = [content for content in contents if content.startswith(f"{thread}:")]
        assert own == [f"{thread}:{number}" for number in range(count)]


# -- threads and loops -----------------------------------------------------------------------


def test_one_async_store_serves_eight_threads_with_fifty_loops_each(url: str) -> None:
    store = unopened(url)

    def work(thread: int) -> None:
        for number in range(50):
            asyncio.run(store.events.append(KEY, f"{thread}:{number}"))

    in_threads(work)

    check_all_there([e.content for e in asyncio.run(store.events.read(KEY))], 50)
    asyncio.run(store.close())


def test_one_sync_store_serves_eight_threads(store: SyncStore) -> None:
    def work(thread: int) -> None:
        for number in range(50):
            store.events.append(KEY, f"{thread}:{number}")
            assert store.events.count(KEY) > number

    in_threads(work)

    check_all_there([event.content for event in store.events.read(KEY)], 50)
    assert store.sessions.get(KEY).version == 401


def test_one_async_store_serves_two_loops_at_once(url: str) -> None:
    store = unopened(url)

    async def many(name: int) -> None:
        for start in range(0, 200, 20):
            calls = [store.events.append(KEY, f"{name}:{n}") for n in range(start, start + 20)]
            await asyncio.gather(*calls)
            await store.events.read(KEY, recent=5)

    in_threads(lambda name: asyncio.run(many(name)), count=2)

    contents = [event.content for event in asyncio.run(store.events.read(KEY))]
    for name in range(2):
        own = [content for content in contents if content.startswith(f"{name}:")]
        assert own == [f"{name}:{number}" for number in range(200)]
    asyncio.run(store.close())


def test_a_sync_call_works_inside_a_coroutine_while_tasks_use_the_same_file(
    file_url: str,
) -> None:
    async def work() -> list[str]:
        async with perdure.open(file_url) as tasks:
            await tasks.sessions.create(*KEY)
            with perdure.open_sync(file_url) as store:
                flood = [asyncio.create_task(tasks.events.append(KEY, "task")) for _ in range(50)]
                await asyncio.sleep(0)
                for _ in range(20):
                    store.events.append(KEY, "sync")
                    assert store.events.count(KEY) > 0
                await asyncio.gather(*flood)
                with store.turn() as turn:
                    turn.events.append(KEY, "turn")
                return [event.content for event in store.events.read(KEY)]

    contents = in_time(lambda: asyncio.run(work()))

    assert sorted(contents) == ["sync"] * 20 + ["task"] * 50 + ["turn"]


def test_a_loop_that_ends_with_calls_in_flight_harms_no_other(url: str) -> None:
    store = unopened(url)
    for attempt in range(20):
        loop = asyncio.new_event_loop()
        tasks: list[asyncio.Task[Any]] = []
        for number in range(20):
            event = NewEvent("x", id=f"{attempt}:{number}")
            tasks.append(loop.create_task(store.events.append(KEY, event)))
            tasks.append(loop.create_task(store.events.read(KEY)))
        # Far enough for the calls to be handed over, or nearly so.
        for _ in range(attempt % 4):
            loop.run_until_complete(asyncio.sleep(0))
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

        appended = in_time(lambda: asyncio.run(store.events.append(KEY, "x")))
        assert not appended.duplicate

    seqs = [event.seq for event in asyncio.run(store.events.read(KEY))]
    assert seqs == list(range(1, len(seqs) + 1))
    asyncio.run(store.close())


def test_a_reader_sees_one_moment_however_much_is_written_meanwhile(file_url: str) -> None:
    # Each turn moves both; a read of one moment finds them equal.
    other = SessionKey("app", "user", "other")
    with perdure.open_sync(file_url) as store:
        for key in (KEY, other):
            store.sessions.create(*key)
        over = threading.Event()

        def write() -> int:
            number = 0
            while not over.is_set():
                number += 1
                with store.turn() as turn:
                    turn.events.append(KEY, NewEvent(number, state_delta={"n": number}))
                    turn.events.append(other, NewEvent(number, state_delta={"n": number}))
            return number

        def read() -> int:
            seen = 0
            for _ in range(150):
                listed = store.sessions.list("app", "user", with_state=True)
                states = [session.state for session in listed]
                assert states[0] == states[1]
                handle = store.session(*KEY)
                assert len(handle.events) == handle.version - 1 == handle.state.get("n", 0)
                seen = max(seen, handle.version)
            return seen

        writer = begun(write)
        readers = [begun(read) for _ in range(4)]
        seen = [outcome(reader, 60) for reader in readers]
        over.set()

        assert outcome(writer) >= max(seen) - 1 > 0


# -- the end ---------------------------------------------------------------------------------


def test_closing_makes_all_that_was_accepted(url: str) -> None:
    async def work() -> list[Any]:
        store = await perdure.open(url)
        await store.sessions.create(*KEY)
        calls = [asyncio.create_task(store.events.append(KEY, f"{n}")) for n in range(1500)]
        reads = [asyncio.create_task(store.events.count(KEY)) for _ in range(50)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await store.close()
        return await asyncio.gather(*calls, *reads, return_exceptions=True)

    results = in_time(lambda: asyncio.run(work()))

    assert [result for result in results if isinstance(result, Exception)] == []
    if url != "memory:":
        with perdure.open_sync(url) as store:
            assert [e.content for e in store.events.read(KEY)] == [f"{n}" for n in range(1500)]


def call_until_closed(store: SyncStore, thread: int, acknowledged: list[str]) -> None:
    """Writes in one thread, reads in the others: more of them than there are connections."""
    try:
        for number in range(1_000_000):
            if thread == 0:
                event = NewEvent("x", id=f"event {number}")
                acknowledged.append(store.events.append(KEY, event).event.id)
            else:
                store.events.read(KEY, recent=2)
    except ClosedError:
        return


async def await_until_closed(store: Store, thread: int, acknowledged: list[str]) -> None:
    try:
        for number in range(1_000_000):
            event = NewEvent("x", id=f"{thread}:{number}")
            call = store.events.append(KEY, event)
            appended, _ = await asyncio.gather(call, store.events.read(KEY, recent=2))
            acknowledged.append(appended.event.id)
    except ClosedError:
        return


def test_closing_while_threads_call_ends_each_call_one_way_or_the_other(file_url: str) -> None:
    for _ in range(20):
        acknowledged: list[str] = []
        store = perdure.open_sync(file_url)
        store.sessions.get_or_create(*KEY)
        callers = [begun(call_until_closed, store, n, acknowledged) for n in range(9)]
        time.sleep(0.02 + random.random() * 0.02)
        in_time(store.close)

        for caller in callers:
            outcome(caller)
        with perdure.open_sync(file_url) as again:
            assert set(acknowledged) <= {event.id for event in again.events.read(KEY)}
            again.sessions.purge(KEY)


def test_closing_while_tasks_call_ends_each_call_one_way_or_the_other(file_url: str) -> None:
    for _ in range(10):
        acknowledged: list[str] = []
        store = unopened(file_url)

        def caller(number: int, store: Store = store, told: list[str] = acknowledged) -> None:
            asyncio.run(await_until_closed(store, number, told))

        callers = [begun(caller, number) for number in range(4)]
        time.sleep(0.02 + random.random() * 0.02)
        in_time(lambda store=store: asyncio.run(store.close()))

        for one in callers:
            outcome(one)
        with perdure.open_sync(file_url) as again:
            assert set(acknowledged) <= {event.id for event in again.events.read(KEY)}
            again.sessions.purge(KEY)


def test_closing_a_store_that_its_first_calls_are_opening_ends_each_of_them(tmp_path: Path) -> None:
    async def work(url: str, pauses: int) -> list[Any]:
        store = perdure.open(url)
        calls = [asyncio.create_task(store.sessions.create("app", "user")) for _ in range(3)]
        for _ in range(pauses % 5):
            await asyncio.sleep(0)
        await asyncio.sleep(random.random() * 0.01)
        await store.close()
        return await asyncio.gather(*calls, return_exceptions=True)

    for attempt in range(25):
        url = f"sqlite:///{tmp_path}/{attempt}.db"
        results = in_time(lambda url=url, n=attempt: asyncio.run(work(url, n)))

        assert {type(result) for result in results} <= {perdure.Session, ClosedError}
        with perdure.open_sync(url) as store:
            made = [result for result in results if isinstance(result, perdure.Session)]
            assert store.sessions.count() == len(made)


def test_a_closed_store_refuses_every_call_and_may_be_closed_again(url: str) -> None:
    store = perdure.open_sync(url)
    store.sessions.create(*KEY)
    store.close()
    store.close()
    tasks = perdure.open(url)
    asyncio.run(tasks.close())
    asyncio.run(tasks.close())

    for call in (
        lambda: store.events.append(KEY, "x"),
        lambda: store.events.append(KEY),
        lambda: store.events.read(KEY),
        lambda: list(store.events.iter(KEY)),
        lambda: store.session(*KEY),
        lambda: asyncio.run(tasks.sessions.create(*KEY)),
        lambda: asyncio.run(tasks.events.read(KEY)),
    ):
        with pytest.raises(ClosedError):
            in_time(call)


EXITS = """
import asyncio, sys, threading
import perdure

how, url = sys.argv[1:]
key = perdure.SessionKey("app", "user", "chat")

async def tasks(store, n):
    for number in range(n):
        await store.events.append(key, f"{number}")
        print(number, flush=True)

if how == "sync":
    store = perdure.open_sync(url)
    for number in range(50):
        store.events.append(key, f"{number}")
        print(number, flush=True)
elif how == "async":
    asyncio.run(tasks(perdure.open(url), 50))
elif how == "thread":
    store = perdure.open(url)
    threading.Thread(target=lambda: asyncio.run(tasks(store, 100_000)), daemon=True).start()
    while asyncio.run(store.events.count(key)) < 50:
        pass
elif how == "queued":
    async def leave():
        store = await perdure.open(url)
        for number in range(500):
            asyncio.create_task(store.events.append(key, f"{number}"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    asyncio.run(leave())
elif how == "error":
    store = perdure.open_sync(url)
    store.events.append(key, "0")
    print(0, flush=True)
    sys.excepthook = lambda *_: None
    raise SystemExit(0) from KeyError("of the program")
"""


@pytest.mark.parametrize("how", ["sync", "async", "thread", "queued", "error"])
def test_an_interpreter_that_ends_without_close_keeps_what_it_acknowledged(
    how: str, file_url: str, tmp_path: Path
) -> None:
    with perdure.open_sync(file_url) as store:
        store.sessions.create(*KEY)

    acknowledged = ran(EXITS, how, file_url, seconds=30)

    with perdure.open_sync(file_url) as store:
        contents = [event.content for event in store.events.read(KEY)]
    assert contents == [f"{number}" for number in range(len(contents))]
    assert contents[: len(acknowledged)] == acknowledged
    # It was closed all the same: nothing is left to be folded in.
    assert not Path(f"{tmp_path}/store.db-wal").exists()
