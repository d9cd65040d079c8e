"""Appends: one event that changes one key of the state, durable when the call returns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.contest import Contestant, Opened, Options, Place, Row, Sample, Setup
from bench.peers import AsyncPeer
from bench.peers.adk import AdkDatabase, AdkMemory, AdkSqlite
from bench.peers.openai_agents import OpenAISQLite
from bench.peers.ours import MEMORY, AwaitedPerdure, BlockingPerdure, url_of
from bench.peers.raw import RawAppends
from bench.timing import repeat, repeat_together

MANY = 64
#: Events of a session. ADK's store in memory looks through all of them at each append.
LONGEST = 500


def rows(_options: Options) -> Sequence[Row]:
    """On a file and in memory, by one client and by many."""
    return [
        Row("append", "append, 1 client", "append", [
            Contestant("perdure, async", by_clients(_on_file, 1), ours=True),
            Contestant("perdure, sync", blocking(url_of), ours=True),
            Contestant("raw apsw, a commit each", _raw(1)),
            *_file_peers(1),
        ]),
        Row("append", f"append, {MANY} concurrent", "append", [
            Contestant("perdure, async", by_clients(_on_file, MANY), ours=True),
            Contestant(f"raw apsw, batches of {MANY}", _raw(MANY)),
            *_file_peers(MANY),
        ]),
        Row("append", "append in memory, 1 client", "append", [
            Contestant("perdure, async", by_clients(_in_memory, 1), ours=True),
            Contestant("perdure, sync", blocking(lambda _: MEMORY), ours=True),
            Contestant("ADK InMemorySessionService", by_clients(AdkMemory, 1)),
        ]),
        Row("append", f"append in memory, {MANY} concurrent", "append", [
            Contestant("perdure, async", by_clients(_in_memory, MANY), ours=True),
            Contestant("ADK InMemorySessionService", by_clients(AdkMemory, MANY)),
        ]),
    ]  # fmt: skip


def _file_peers(clients: int) -> Sequence[Contestant]:
    return [
        Contestant("ADK DatabaseSessionService", by_clients(AdkDatabase, clients)),
        Contestant("ADK SqliteSessionService", by_clients(AdkSqlite, clients)),
        Contestant("OpenAI SQLiteSession", by_clients(OpenAISQLite, clients)),
    ]


def _on_file(folder: Path) -> AwaitedPerdure:
    return AwaitedPerdure(url_of(folder))


def _in_memory(_folder: Path) -> AwaitedPerdure:
    return AwaitedPerdure(MEMORY)


def for_each(sample: Sample, batch: int) -> Sample:
    """The sample of calls that do a batch each, by the unit."""
    return replace(sample, each=sample.each / batch)


def by_clients(make: Callable[[Path], AsyncPeer], clients: int) -> Setup:
    """So many tasks of one store, each with a session of its own."""

    @contextmanager
    def opened(place: Place) -> Iterator[Opened]:
        peer = make(place.folder)
        settings = place.loop.run(peer.start(clients))
        calls = [_awaiting(peer, session) for session in range(clients)]
        turn = partial(repeat_together, calls, peer.failures)
        yield Opened(settings, lambda seconds: place.loop.run(turn(seconds)))
        place.loop.run(peer.stop())

    return opened


def blocking(url: Callable[[Path], str]) -> Setup:
    """One caller that blocks, on the store of that URL."""

    @contextmanager
    def opened(place: Place) -> Iterator[Opened]:
        peer = BlockingPerdure(url(place.folder))
        peer.start(1)
        yield Opened(peer.settings, partial(repeat, _blocking(peer, 0)))
        peer.stop()

    return opened


def _awaiting(peer: AsyncPeer, session: int) -> Callable[[int], Awaitable[object]]:
    """A client: it appends, and goes on in a new session when one is long."""
    length = 0

    async def append(number: int) -> None:
        nonlocal length
        if length == LONGEST:
            await peer.renew(session)
            length = 0
        length += 1
        await peer.append(session, number)

    return append


def _blocking(peer: BlockingPerdure, session: int) -> Callable[[int], object]:
    length = 0

    def append(number: int) -> None:
        nonlocal length
        if length == LONGEST:
            peer.renew(session)
            length = 0
        length += 1
        peer.append(session, number)

    return append


def _raw(batch: int) -> Setup:
    @contextmanager
    def opened(place: Place) -> Iterator[Opened]:
        raw = RawAppends(place.folder, sessions=batch, batch=batch)
        yield Opened(raw.settings, partial(repeat, raw.commit, batch=batch))
        raw.close()

    return opened
