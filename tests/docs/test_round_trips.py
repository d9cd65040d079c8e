"""docs/postgresql.md counts round trips; here a proxy counts them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import perdure
from perdure import NewEvent, SessionKey, Store
from perdure.engines import postgres_hints
from tests.postgres import servers

PAGE = Path(__file__).parents[2] / "docs" / "postgresql.md"
KEY = SessionKey("shop", "ada", "order-7")
_TIMES = 5


class Counted:
    """Between a store and its server; a trip begins when the client speaks after the server."""

    def __init__(self, address: str) -> None:
        self.trips = 0
        self._parts = urlsplit(address)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """The address of the server, through here."""
        async with await asyncio.start_server(self._carry, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            login = self._parts.netloc.rpartition("@")[0]
            yield self._parts._replace(netloc=f"{login}@127.0.0.1:{port}").geturl()

    async def _carry(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        server, asks = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        asking = False

        async def pump(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, from_client: bool
        ) -> None:
            nonlocal asking
            while data := await reader.read(2**16):
                self.trips += from_client and not asking
                asking = from_client
                writer.write(data)
            writer.close()

        await asyncio.gather(pump(client, asks, True), pump(server, answers, False))

    async def cost(self, call: Callable[[], Awaitable[object]]) -> float:
        """Trips a call, once its statements are prepared."""
        for _ in range(3):
            await call()
        before = self.trips
        for _ in range(_TIMES):
            await call()
        return (self.trips - before) / _TIMES


def told() -> dict[str, float]:
    """The rows of the page's table."""
    section = PAGE.read_text(encoding="utf-8").partition("## What an append costs\n")[2]
    return {
        what: float(trips)
        for what, trips in re.findall(r"^\| (.+?) \| (\d+) \|$", section, re.MULTILINE)
    }


def calls(store: Store) -> dict[str, Callable[[], Awaitable[Any]]]:
    """What the rows speak of, in the page's order."""
    stated = NewEvent("London.", state_delta={"city": "London"})

    async def turn() -> None:
        async with store.turn() as turn:
            turn.events.append(KEY, "One.")
            turn.events.append(KEY, "Two.")

    return {
        "append": lambda: store.events.append(KEY, "One.", "Two.", stated),
        "again": lambda: store.events.append(KEY, NewEvent("Once.", id="once")),
        "read": lambda: store.events.read(KEY, recent=5),
        "update": lambda: store.sessions.update(KEY, title="A parcel"),
        "turn": turn,
    }


async def measured(address: str, **options: Any) -> list[float]:
    counted = Counted(address)
    async with (
        counted.listening() as url,
        perdure.open(url, pool_min=1, pool_max=1, **options) as store,
    ):
        await store.sessions.get_or_create(*KEY)
        return [await counted.cost(call) for call in calls(store).values()]


@pytest.fixture(autouse=True)
def _no_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """They go beside the calls, now and then, for many of them at once."""
    monkeypatch.setattr(postgres_hints, "_GATHER_SECONDS", 3600.0)


def test_each_call_takes_as_many_round_trips_as_the_page_says() -> None:
    address = servers.fresh_database(servers.server())
    try:
        assert asyncio.run(measured(address)) == list(told().values())
    finally:
        servers.drop_database(address)


def test_without_prepared_statements_an_append_takes_four() -> None:
    address = servers.fresh_database(servers.server())
    try:
        assert asyncio.run(measured(address, prepared_statements=False))[0] == 4
    finally:
        servers.drop_database(address)
    assert "an append is four round trips instead of one" in PAGE.read_text(encoding="utf-8")
