"""perdure itself, awaited and not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

import perdure
from bench.peers import durability
from bench.workload import APP, delta_of, id_of, message_of, user_of
from perdure.engines.sqlite_connection import connect

MEMORY = "memory:"


def url_of(folder: Path) -> str:
    """A file in the folder."""
    return f"sqlite:///{folder / 'perdure.db'}"


def jsonl_url_of(folder: Path) -> str:
    """A directory of JSONL files in the folder."""
    return f"jsonl:///{folder / 'perdure'}"


def event_of(number: int) -> perdure.NewEvent:
    """The event of that number."""
    return perdure.NewEvent(message_of(number), author="user", state_delta=delta_of(number))


def looked_at(events: Sequence[perdure.Event]) -> int:
    """How many there are, with the content of each decoded: the peers have done that."""
    return len([event.content for event in events])


def settings_of(url: str) -> str:
    """How durable a store of that URL is, in words."""
    if url == MEMORY:
        return "in memory"
    if url.startswith("postgresql:"):
        from bench.peers.postgres import durability_of  # noqa: PLC0415 - it needs this module

        return durability_of(url)
    if url.startswith("jsonl:"):
        return _of_journal(Path(url.removeprefix("jsonl:///")))
    connection = connect(url.removeprefix("sqlite:///"), durability="full", busy_timeout=10)
    try:
        return durability(connection.pragma("journal_mode"), connection.pragma("synchronous"))
    finally:
        connection.close()


def _of_journal(folder: Path) -> str:
    """What the journal says of itself, once somebody has written to it."""
    with perdure.open_sync(f"jsonl:///{folder}") as store:
        store.kv.set("bench", "asked", True)
        with (folder / "journal.jsonl").open("rb") as file:
            head = msgspec.json.decode(file.readline())
    return f"journal, {head['durability'].upper()}"


def key_of(session: int) -> perdure.SessionKey:
    """The key of the session of that number."""
    return perdure.SessionKey(APP, user_of(session), id_of(session))


class AwaitedPerdure:
    """`perdure.open`."""

    failures: tuple[type[Exception], ...] = ()

    def __init__(self, url: str) -> None:
        self._url = url
        self.store = perdure.open(url)
        self._keys: list[perdure.SessionKey] = []

    async def start(self, sessions: int) -> str:
        await self.store
        self._keys = [key_of(number) for number in range(sessions)]
        await asyncio.gather(*(self.store.sessions.create(*key) for key in self._keys))
        return await asyncio.to_thread(settings_of, self._url)

    async def append(self, session: int, number: int) -> object:
        return await self.store.events.append(self._keys[session], event_of(number))

    async def renew(self, session: int) -> None:
        self._keys[session] = (await self.store.sessions.create(APP, user_of(session))).key

    async def read(self, session: int, recent: int | None) -> int:
        return looked_at(await self.store.events.read(self._keys[session], recent=recent))

    async def list(self) -> int:
        return len([one async for one in self.store.sessions.iter(APP)])

    async def page(self) -> int:
        return len((await self.store.sessions.list(APP, limit=50)).items)

    async def stop(self) -> None:
        await self.store.close()


class BlockingPerdure:
    """`perdure.open_sync`."""

    def __init__(self, url: str) -> None:
        self.settings = settings_of(url)
        self.store = perdure.open_sync(url)
        self._keys: list[perdure.SessionKey] = []

    def start(self, sessions: int) -> None:
        """Make that many empty sessions, or find them."""
        self._keys = [key_of(number) for number in range(sessions)]
        for key in self._keys:
            self.store.sessions.get_or_create(*key)

    def append(self, session: int, number: int) -> object:
        """Store the event of that number."""
        return self.store.events.append(self._keys[session], event_of(number))

    def renew(self, session: int) -> None:
        """Make a new session and give it that number."""
        self._keys[session] = self.store.sessions.create(APP, user_of(session)).key

    def fill(self, session: int, events: int) -> None:
        """Store that many events, many at a time."""
        for first in range(0, events, 1000):
            some = [event_of(number) for number in range(first, min(events, first + 1000))]
            self.store.events.append(self._keys[session], *some)

    def read(self, session: int, recent: int | None) -> int:
        """Read the last events, or all; how many there were."""
        return looked_at(self.store.events.read(self._keys[session], recent=recent))

    def count_read(self, session: int, recent: int | None) -> int:
        """The same without a look at what has come: an event is decoded by who looks at it."""
        return len(self.store.events.read(self._keys[session], recent=recent))

    def page(self, user: str) -> int:
        """A page of sessions, the ones changed last first."""
        return len(self.store.sessions.list(APP, user, limit=50).items)

    def stop(self) -> None:
        """Close."""
        self.store.close()
