"""The connection is lost while the server still works at it: what it does later counts too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import perdure
from perdure import NewEvent, SessionKey, SyncStore, UserScope
from perdure.engines import postgres_connection
from tests.engines.patience import begun, outcome
from tests.postgres.proxy import FaultProxy
from tests.postgres.servers import asyncpg, fetch, wait_until

KEY = SessionKey("app", "user", "chat")
USER = UserScope("app", "user")

pytestmark = pytest.mark.faults

WAITING = """SELECT count(*)::integer FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'"""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements that go at once wait for rows, too: long enough to be caught at it."""
    monkeypatch.setattr(postgres_connection, "_LOCK_MILLIS", "60000")


@pytest.fixture
def proxy(database: str) -> Iterator[FaultProxy]:
    with FaultProxy.to(database) as made:
        yield made


def while_it_waits(database: str, proxy: FaultProxy, call: Callable[[], Any]) -> Any:
    """The outcome of a write that waits for the session's row when its connection is cut."""

    async def block() -> Any:
        connection = await asyncpg.connect(database)
        try:
            async with connection.transaction():
                await connection.execute("SELECT * FROM sessions FOR UPDATE")
                made = begun(call)
                await asyncio.to_thread(waits, 1)
                proxy.cut_all()
                # Now both attempts wait, the first of them for a caller that is gone.
                await asyncio.to_thread(waits, 2)
            return await asyncio.to_thread(outcome, made, 15)
        finally:
            await connection.close()

    def waits(count: int) -> None:
        wait_until(lambda: fetch(database, WAITING)[0][0] >= count, f"{count} wait for a lock")
        time.sleep(0.05)

    return asyncio.run(block())


@pytest.mark.parametrize("id", ["mine", None])
@pytest.mark.parametrize("expected", [None, 2])
@pytest.mark.parametrize("count", [1, 2])
def test_an_append_is_made_once_and_is_not_made_stale_by_its_own_first_attempt(
    database: str, proxy: FaultProxy, id: str | None, expected: int | None, count: int
) -> None:
    with perdure.open_sync(proxy.url(database)) as store:
        store.sessions.create(*KEY)
        store.events.append(KEY, "the first")
        events = [NewEvent("once", id=id and f"{id} {n}") for n in range(count)]

        done = while_it_waits(
            database, proxy, lambda: store.events.append(KEY, *events, expected_version=expected)
        )

        texts = [event.text for event in store.events.read(KEY, all_lines=True)]
        assert texts == ["the first", *["once"] * count]
        assert done.version == store.sessions.get(KEY).version == 3


def pop(store: SyncStore) -> Any:
    return [event.text for event in store.events.pop(KEY)]


def turn(store: SyncStore) -> None:
    with store.turn() as turn:
        turn.events.append(KEY, "once", expected_version=4)


def title(store: SyncStore) -> Any:
    return store.sessions.update(KEY, title="once", expected_version=4).version


@pytest.mark.parametrize(
    ("write", "left", "version"),
    [
        (pop, ["event 0", "event 1"], 5),
        (turn, ["event 0", "event 1", "event 2", "once"], 5),
        (title, ["event 0", "event 1", "event 2"], 5),
    ],
)
def test_what_must_not_be_made_twice_is_not(
    database: str, proxy: FaultProxy, write: Callable[[SyncStore], Any], left: Any, version: int
) -> None:
    with perdure.open_sync(proxy.url(database)) as store:
        store.sessions.create(*KEY)
        for number in range(3):
            store.events.append(KEY, f"event {number}")

        while_it_waits(database, proxy, lambda: write(store))

        assert [event.text for event in store.events.read(KEY)] == left
        assert store.sessions.get(KEY).version == version


class Unreturnable(asyncpg.Pool):  # type: ignore[misc] # asyncpg has no types
    """A pool to which connections are lost in the moment in which they come back."""

    __slots__ = ()
    losing = False

    async def release(self, connection: Any, **options: Any) -> None:
        await super().release(connection, **options)
        if self.losing:
            raise asyncpg.InterfaceError("connection is closed")


async def unreturnable(url: str) -> Unreturnable:
    made = asyncpg.create_pool(url, min_size=1, max_size=3)
    made.__class__ = Unreturnable
    pool: Unreturnable = await made
    return pool


def test_what_is_committed_is_not_made_again_when_the_connection_cannot_be_given_back(
    database: str,
) -> None:
    async def work() -> None:
        pool = await unreturnable(database)
        store = await perdure.open(pool=pool)
        await store.sessions.create(*KEY)
        for number in range(3):
            await store.events.append(KEY, f"event {number}")
        Unreturnable.losing = True

        popped = await store.events.pop(KEY)
        await store.state.set(USER, {"count": 1}, expected_versions={"count": 0})
        await store.sessions.create("app", "user", "new")
        async with store.turn() as turn:
            turn.events.append(KEY, "once")
        await store.events.append(KEY, "once more", expected_version=6)

        Unreturnable.losing = False
        assert [event.text for event in popped] == ["event 2"]
        texts = [event.text for event in await store.events.read(KEY)]
        assert texts == ["event 0", "event 1", "once", "once more"]
        await store.close()
        await pool.close()

    asyncio.run(work())
