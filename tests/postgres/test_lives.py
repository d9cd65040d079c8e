"""A store's life among forks, threads, event loops, and the application's own pool."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

import perdure
from perdure import (
    BusyError,
    ClosedError,
    EmbeddedPostgres,
    InvalidError,
    NewEvent,
    SessionKey,
    Store,
    SyncStore,
)
from tests.engines.patience import begun, in_time, outcome
from tests.engines.processes import in_a_process, ran
from tests.postgres.servers import asyncpg, fetch, reachable_folder, wait_until

KEY = SessionKey("app", "user", "chat")
CONNECTED = """SELECT count(*)::integer FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()"""

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


@pytest.fixture
def url(database: str) -> str:
    with perdure.open_sync(database) as store:
        store.sessions.create(*KEY)
    return database


def in_threads(work: Callable[[int], Any], count: int = 8) -> list[Any]:
    """What the work returns in each of so many threads, which begin together."""
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:
        barrier.wait(20)
        return work(number)

    threads = [begun(run, number) for number in range(count)]
    return [outcome(thread, 60) for thread in threads]


def engine_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "perdure-postgres"]


# -- fork ------------------------------------------------------------------------------------


def use_both_sides(url: str) -> tuple[list[str], list[str]]:
    """What the child was told of its copy, and what the parent could go on to store."""
    with perdure.open_sync(url) as store:
        store.events.append(KEY, "before")
        out, into = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(into, ",".join(use_copy(store, url)).encode())
            finally:
                os._exit(0)
        for number in range(20):
            store.events.append(KEY, f"during {number}")
        os.close(into)
        with os.fdopen(out) as told:
            names = told.read().split(",")
        os.waitpid(pid, 0)
        store.events.append(KEY, "after")
        return names, [event.text for event in store.events.read(KEY)]


def use_copy(store: SyncStore, url: str) -> list[str]:
    turn = store.turn()
    turn.events.append(KEY, "x")
    told = []
    calls: list[Callable[[], Any]] = [
        lambda: store.events.append(KEY, "x"),
        lambda: store.events.read(KEY),
        lambda: store.sessions.create("app", "user", "new"),
        lambda: turn.__exit__(None, None, None),
    ]
    for call in calls:
        try:
            in_time(call)
        except ClosedError:
            told.append("closed")
    store.close()
    with perdure.open_sync(url) as own:
        told.append(str(len(own.events.read(KEY)) > 0))
    return told


@forks
def test_a_fork_closes_the_childs_copy_and_leaves_the_parents_connections_alone(url: str) -> None:
    told, stored = in_a_process(use_both_sides, url)

    assert told == ["closed"] * 4 + ["True"]
    assert stored == ["before", *(f"during {n}" for n in range(20)), "after"]


# -- threads and loops -----------------------------------------------------------------------


def test_one_store_serves_eight_threads_with_twenty_loops_each(url: str) -> None:
    store = perdure.open(url)

    def work(thread: int) -> None:
        for number in range(20):
            asyncio.run(store.events.append(KEY, f"{thread}:{number}"))

    in_threads(work)

    texts = [event.text for event in asyncio.run(store.events.read(KEY))]
    asyncio.run(store.close())
    assert len(texts) == 160
    for thread in range(8):
        own = [text for text in texts if text.startswith(f"{thread}:")]
        assert own == [f"{thread}:{number}" for number in range(20)]


def test_one_sync_store_serves_eight_threads_also_inside_coroutines(url: str) -> None:
    with perdure.open_sync(url) as store:

        async def append(text: str) -> None:
            store.events.append(KEY, text)
            assert store.events.count(KEY) > 0

        in_threads(lambda thread: [asyncio.run(append(f"{thread}:{n}")) for n in range(20)])

        assert store.events.count(KEY) == 160


def test_a_loop_that_ends_with_calls_in_flight_harms_no_other(url: str) -> None:
    store = perdure.open(url)
    asyncio.run(store.events.append(KEY, "x"))
    for attempt in range(20):
        loop = asyncio.new_event_loop()
        tasks = [loop.create_task(store.events.append(KEY, "x")) for _ in range(20)]
        for _ in range(attempt % 4):
            loop.run_until_complete(asyncio.sleep(0))
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    asyncio.run(store.events.append(KEY, "the last"))
    asyncio.run(store.close())
    with perdure.open_sync(url) as other:
        events = other.events.read(KEY)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


@pytest.mark.parametrize("prepared", [True, False])
def test_one_connection_serves_everybody(url: str, prepared: bool) -> None:
    async def work(number: int, store: Store) -> None:
        await store.events.append(KEY, NewEvent(f"{number}", state_delta={"app:x": number}))
        async with store.turn() as turn:
            turn.events.append(KEY, f"turn {number}")
        assert await store.events.count(KEY) > 1
        await store.sessions.create("app", "user", f"{number}")

    async def many() -> tuple[int, int]:
        options: dict[str, Any] = {"pool_max": 1, "prepared_statements": prepared}
        async with perdure.open(url, **options) as store:
            await asyncio.gather(*[work(number, store) for number in range(50)])
            connected: int = fetch(url, CONNECTED)[0][0]
            return await store.events.count(KEY), connected

    assert in_time(lambda: asyncio.run(many())) == (100, 1)


def test_a_close_finishes_what_was_accepted_and_leaves_no_connection_or_thread(url: str) -> None:
    async def work() -> list[Any]:
        store = await perdure.open(url)
        calls = [asyncio.create_task(store.events.append(KEY, f"{n}")) for n in range(200)]
        # They begin, and then they are handed over.
        for _ in range(3):
            await asyncio.sleep(0)
        await store.close()
        return await asyncio.gather(*calls, return_exceptions=True)

    before = engine_threads()

    done = asyncio.run(work())

    stored = [call for call in done if not isinstance(call, ClosedError)]
    assert [call for call in stored if isinstance(call, BaseException)] == []
    with perdure.open_sync(url) as store:
        assert store.events.count(KEY) == len(stored) == 200
    assert engine_threads() == before
    wait_until(lambda: fetch(url, CONNECTED) == [(0,)], "nobody is connected")


def test_a_store_that_nobody_closes_holds_no_exit_up(url: str) -> None:
    script = f"""
import asyncio, perdure
store = perdure.open_sync({url!r})
print(store.events.append(perdure.SessionKey(*{tuple(KEY)!r}), "sync").event.seq)
async def work():
    other = perdure.open({url!r})
    print((await other.events.append(perdure.SessionKey(*{tuple(KEY)!r}), "async")).event.seq)
asyncio.run(work())
"""

    assert ran(script, seconds=20) == ["1", "2"]


# -- a server that is not there yet ------------------------------------------------------------


@pytest.mark.faults
def test_a_server_that_is_down_is_busy_and_the_next_open_finds_it_up() -> None:
    with reachable_folder() as home, EmbeddedPostgres(home / "node") as node:
        url, before = node.url(), engine_threads()
        node.stop()

        with pytest.raises(BusyError, match="postgresql"):
            in_time(lambda: perdure.open_sync(url, busy_timeout=0.5))
        assert engine_threads() == before
        waiting = perdure.open(url, busy_timeout=0.5)
        with pytest.raises(BusyError):
            asyncio.run(waiting.sessions.create(*KEY))

        node.start()
        # The store whose first call failed opens with the next one.
        asyncio.run(waiting.sessions.create(*KEY))
        with perdure.open_sync(url) as store:
            assert store.events.append(KEY, "here").event.seq == 1
            node.stop()
            failing = begun(lambda: store.events.append(KEY, "again"))
            node.start()
            assert outcome(failing).event.seq == 2
        asyncio.run(waiting.close())


# -- the application's pool --------------------------------------------------------------------


def test_a_pool_of_the_applications_is_used_on_its_loop_and_left_open(url: str) -> None:
    async def work() -> tuple[int, Any]:
        async with asyncpg.create_pool(url, min_size=1, max_size=3) as pool:
            store = await perdure.open(pool=pool, schema="of its own")
            await store.sessions.create(*KEY)
            calls = [store.events.append(KEY, f"{n}") for n in range(50)]
            await asyncio.gather(*calls)
            async with store.turn() as turn:
                turn.events.append(KEY, "turn")
            assert len(await store.events.read(KEY)) == 51
            with pytest.raises(InvalidError, match="loop"):
                perdure.open_sync(pool=pool)
            await store.close()
            with pytest.raises(ClosedError):
                await store.events.read(KEY)
            assert pool.get_size() - pool.get_idle_size() == 0
            settings = "SELECT current_setting('search_path'), current_setting('lock_timeout')"
            found = {tuple(await pool.fetchrow(settings)) for _ in range(6)}
            return await pool.fetchval('SELECT count(*)::integer FROM "of its own".events'), found

    count, settings = in_time(lambda: asyncio.run(work()))

    assert count == 51
    assert settings == {('"$user", public', "0")}


def test_other_threads_may_use_a_store_on_the_applications_pool(url: str) -> None:
    async def work() -> int:
        async with asyncpg.create_pool(url, min_size=1, max_size=3) as pool:

            def use() -> int:
                with perdure.open_sync(pool=pool) as store:
                    return store.events.append(KEY, "from a thread").event.seq

            return await asyncio.to_thread(use)

    assert in_time(lambda: asyncio.run(work())) == 1


def wait_while_the_loop_ends(url: str, subscribed: bool) -> list[str]:
    """What a thread is told whose call waits for a row when the loop of the pool ends."""

    async def work() -> tuple[perdure.SyncStore, Any, list[Any]]:
        holder = await asyncpg.connect(url)
        await holder.execute("BEGIN")
        await holder.execute("SELECT * FROM sessions FOR UPDATE")
        pool = await asyncpg.create_pool(url, min_size=2, max_size=3)
        left = await asyncio.to_thread(lambda: perdure.open_sync(pool=pool))
        facts = [left.subscribe()] if subscribed else []
        update = begun(lambda: left.sessions.update(KEY, title="written, or not"))
        await asyncio.sleep(0.3)
        return left, update, facts

    left, update, _ = asyncio.run(work())
    told = []
    for call in (lambda: outcome(update), lambda: in_time(lambda: left.sessions.get(KEY))):
        try:
            told.append(repr(call()))
        except perdure.PerdureError as error:
            told.append(type(error).__name__)
    in_time(left.close)
    return told


@pytest.mark.parametrize("subscribed", [False, True])
def test_a_thread_that_waits_is_told_when_the_loop_of_the_pool_ends(
    url: str, subscribed: bool
) -> None:
    assert in_a_process(wait_while_the_loop_ends, url, subscribed) == [
        "UnknownOutcomeError",
        "ClosedError",
    ]
