"""A cancelled call leaves nothing by halves, no connection behind, and harms nobody else's."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

import perdure
from perdure import NewEvent, SessionKey, Store, UserScope
from tests.effort import effort
from tests.postgres.servers import fetch, pgbouncer, wait_until

KEY = SessionKey("app", "user", "chat")
OTHER = SessionKey("app", "user", "other")
USER = UserScope("app", "user")
CANCELLED = effort(400, 1000)

CONNECTED = """SELECT count(*)::integer, count(*) FILTER (WHERE state <> 'idle')::integer
FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"""


@pytest.fixture(params=["prepared", "pooler"])
def url(request: pytest.FixtureRequest, database: str) -> Any:
    """A store directly, and one behind PgBouncer, where every call is a transaction."""
    if request.param == "prepared":
        yield database
    else:
        with pgbouncer(database) as through:
            yield through


async def opened(url: str, database: str) -> Store:
    store = await perdure.open(url, pool_max=4, prepared_statements=url == database)
    await store.sessions.create(*KEY)
    await store.sessions.create(*OTHER)
    return store


def event_of(number: int) -> NewEvent:
    """Some go as one statement with others, some alone, some as a plan."""
    delta: dict[str, Any] = {f"key {number % 7}": number}
    if number % 5 == 0:
        delta[f"user:key {number % 3}"] = number
    return NewEvent(f"text {number}", id=f"event {number}", state_delta=delta)


async def append(store: Store, number: int) -> None:
    if number % 4:
        await store.events.append(KEY, event_of(number))
        return
    async with store.turn() as turn:
        turn.events.append(KEY, event_of(number))
        turn.events.append(OTHER, NewEvent("turn", id=f"event {number}"))


async def cancelled(store: Store, number: int, chance: random.Random) -> bool:
    """Cancel it somewhere between its first step and its last; whether it was too late."""
    task = asyncio.create_task(append(store, number))
    for _ in range(chance.randrange(5)):
        await asyncio.sleep(0)
    if chance.random() < 0.7:
        await asyncio.sleep(chance.random() * 0.01)
    if chance.random() < 0.1:
        await asyncio.wait([task])
    task.cancel()
    [done] = await asyncio.gather(task, return_exceptions=True)
    return done is None


async def innocent(store: Store, over: asyncio.Event) -> int:
    """Any error, and any wrong count, is one too many."""
    number = 0
    while not over.is_set():
        number += 1
        assert await store.state.set(USER, {"count": number}) == 1
        assert (await store.state.get(USER, "count")).value == number
    return number


async def lent_connections(store: Store, database: str) -> int:
    """How many still work or wait, once all that was accepted is done; the others serve."""
    engine: Any = store._engine
    for _ in range(2):
        await asyncio.sleep(0.05)
        await asyncio.to_thread(wait_until, lambda: not engine._running, "all is done")
    async with asyncio.timeout(10):
        await asyncio.gather(*[store.state.set(USER, {"after": n}) for n in range(20)])
        await asyncio.gather(*[store.events.count(KEY) for _ in range(20)])
        await store.state.delete(USER, "after")
    assert engine._pool.get_size() <= 4
    busy: int = fetch(database, CONNECTED)[0][1]
    return busy


def test_cancelled_appends_leave_nothing_by_halves_and_no_connection_behind(
    url: str, database: str
) -> None:
    chance = random.Random(2024)

    async def work() -> None:
        store = await opened(url, database)
        over = asyncio.Event()
        bystander = asyncio.create_task(innocent(store, over))
        too_late: list[bool] = []
        for start in range(0, CANCELLED, 20):
            calls = [cancelled(store, n, chance) for n in range(start, start + 20)]
            too_late += await asyncio.gather(*calls)
        over.set()
        assert await bystander > 10
        assert await lent_connections(store, database) == 0
        await check(store, too_late)
        assert await lent_connections(store, database) == 0
        await store.close()

    asyncio.run(work())

    # Behind the pooler it is the pooler that keeps some.
    wait_until(lambda: fetch(database, CONNECTED)[0][1] == 0, "no transaction is open")
    if url == database:
        wait_until(lambda: fetch(database, CONNECTED) == [(0, 0)], "nobody is connected")


async def check(store: Store, too_late: list[bool]) -> None:
    """What is stored is whole, and what was acknowledged is stored."""
    events = await store.events.read(KEY)
    stored = [event.id for event in events]
    assert len(stored) == len(set(stored))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert {f"event {n}" for n, late in enumerate(too_late) if late} <= set(stored)
    # The cancels came at all kinds of moments.
    assert 0 < too_late.count(True) < len(stored) < CANCELLED
    assert (await store.sessions.get(KEY)).version == len(events) + 1
    turns = [one for one in stored if int(one.split()[1]) % 4 == 0]
    assert [event.id for event in await store.events.read(OTHER)] == turns
    state: dict[str, Any] = {}
    for event in events:
        state |= event.state_delta or {}
    merged = await store.state.merged(KEY)
    assert {name: value for name, value in merged.items() if name != "user:count"} == state
    # The same id tells whether the cancelled call was made.
    for number in range(0, CANCELLED, 10):
        again = await store.events.append(KEY, event_of(number))
        assert again.duplicate == (f"event {number}" in stored)


def test_cancelled_calls_that_wait_for_a_locked_row_leave_no_transaction_open(
    database: str,
) -> None:
    async def work() -> int:
        asyncpg = pytest.importorskip("asyncpg")
        store = await opened(database, database)
        blocker = await asyncpg.connect(database)
        async with blocker.transaction():
            await blocker.execute("SELECT * FROM sessions WHERE id = 'chat' FOR UPDATE")
            waiting = [asyncio.create_task(append(store, number)) for number in range(40)]
            await asyncio.sleep(0.2)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        await blocker.close()
        # They were accepted, so they are made; the next one waits for its turn.
        await store.events.append(KEY, "the last")
        used = await lent_connections(store, database)
        assert await store.events.count(KEY) == 41
        assert len(await store.events.read(OTHER)) == 10
        assert fetch(database, CONNECTED)[0][1] == 0
        await store.close()
        return used

    assert asyncio.run(work()) == 0


def test_a_timeout_around_every_call_is_no_error_for_the_next_one(database: str) -> None:
    async def work() -> tuple[int, int]:
        timeouts = 0
        async with await opened(database, database) as store:
            for number in range(300):
                try:
                    async with asyncio.timeout(0.0008):
                        await append(store, number)
                except TimeoutError:
                    timeouts += 1
            for number in range(300):
                if number % 4:
                    await append(store, number)
            await lent_connections(store, database)
            return timeouts, await store.events.count(KEY)

    timeouts, count = asyncio.run(work())

    assert 225 <= count <= 300
    assert timeouts > 0
