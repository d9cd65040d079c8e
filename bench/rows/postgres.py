"""The same questions on PostgreSQL: each contestant in a database of its own, on one server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.contest import Contestant, Opened, Options, Place, Row, Setup
from bench.peers.ours import AwaitedPerdure, BlockingPerdure
from bench.peers.postgres import AdkPostgres, RawPostgres, fresh_url
from bench.rows import append, read
from bench.timing import repeat, repeat_together, typical, typical_async


def appends() -> Sequence[Row]:
    """By one client and by many."""
    many = append.MANY
    return [
        Row("append", "append on PostgreSQL, 1 client", "append", [
            Contestant("perdure, async", append.by_clients(_ours, 1), ours=True),
            Contestant("perdure, sync", _sync, ours=True),
            Contestant("raw asyncpg, one bare insert", _raw(1, bare=True)),
            Contestant("raw asyncpg, the same statement", _raw(1)),
            Contestant("ADK DatabaseSessionService", append.by_clients(AdkPostgres, 1)),
        ]),
        Row("append", f"append on PostgreSQL, {many} concurrent", "append", [
            Contestant("perdure, async", append.by_clients(_ours, many), ours=True),
            Contestant(f"raw asyncpg, fetchmany of {many}", _raw(many)),
            Contestant("ADK DatabaseSessionService", append.by_clients(AdkPostgres, many)),
        ]),
    ]  # fmt: skip


def reads(options: Options) -> Sequence[Row]:
    """The last events of a session."""
    history = options.size(660, 60)
    return [
        Row("read", f"last {read.LAST} of {history} events on PostgreSQL", "read", [
            Contestant("perdure, async", read.of_peer(_ours, history, read.LAST), ours=True),
            Contestant("perdure, sync", _sync_read(history), ours=True),
            Contestant("raw asyncpg, the same statement", _raw_read(history)),
            Contestant(
                "ADK DatabaseSessionService", read.of_peer(AdkPostgres, history, read.LAST)
            ),
        ], as_time=True),
    ]  # fmt: skip


def _ours(_folder: Path) -> AwaitedPerdure:
    return AwaitedPerdure(fresh_url())


@contextmanager
def _sync(_place: Place) -> Iterator[Opened]:
    peer = BlockingPerdure(fresh_url())
    peer.start(1)
    yield Opened(peer.settings, partial(repeat, partial(peer.append, 0)))
    peer.stop()


def _sync_read(history: int) -> Setup:
    @contextmanager
    def opened(_place: Place) -> Iterator[Opened]:
        peer = BlockingPerdure(fresh_url())
        peer.start(1)
        peer.fill(0, history)
        yield Opened(peer.settings, partial(typical, partial(peer.read, 0, read.LAST)))
        peer.stop()

    return opened


def _raw(batch: int, *, bare: bool = False) -> Setup:
    @contextmanager
    def opened(place: Place) -> Iterator[Opened]:
        raw = RawPostgres(batch)
        settings = place.loop.run(raw.start())
        raw.prepare()
        call: Callable[[int], Awaitable[object]] = raw.insert if bare else raw.commit
        turn = partial(repeat_together, [call], ())
        yield Opened(
            settings, lambda seconds: append.for_each(place.loop.run(turn(seconds)), batch)
        )
        place.loop.run(raw.stop())

    return opened


def _raw_read(history: int) -> Setup:
    @contextmanager
    def opened(place: Place) -> Iterator[Opened]:
        raw = RawPostgres(1)
        settings = place.loop.run(raw.start(history))
        raw.selecting(read.LAST)
        yield Opened(settings, lambda seconds: place.loop.run(typical_async(raw.select, seconds)))
        place.loop.run(raw.stop())

    return opened
