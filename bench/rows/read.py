"""Reads: the last events of a session, all of them, pages of sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.contest import Contestant, Opened, Options, Place, Row, Setup
from bench.peers import AsyncPeer
from bench.peers.adk import AdkDatabase, AdkMemory, AdkPeer, AdkSqlite
from bench.peers.openai_agents import OpenAISQLite
from bench.peers.ours import AwaitedPerdure, BlockingPerdure, url_of
from bench.peers.raw import RawSelect, page_of, read_of
from bench.rows.crowd import crowd
from bench.timing import typical, typical_async
from bench.workload import user_of

LAST = 50


def rows(options: Options) -> Sequence[Row]:
    """By length of the session, and beside the peers."""
    history = options.size(660, 60)
    long = options.size(50_000, 500)
    return [
        Row("read", f"last {LAST} of {history} events", "read", _reads(history, LAST),
            as_time=True),
        Row("read", f"all {history} events", "read", _reads(history, None), as_time=True),
        Row("read", f"last {LAST} of 100 and of {long:,} events", "read", [
            Contestant(f"perdure, sync, of {long:,}", _ours(long, LAST), ours=True),
            Contestant("perdure, sync, of 100", _ours(100, LAST)),
            Contestant(f"perdure, sync, of {long:,}, not looked at",
                       _ours(long, LAST, looking=False)),
            Contestant(f"raw SELECT, of {long:,}", _raw(long, LAST)),
            Contestant("raw SELECT, of 100", _raw(100, LAST)),
        ], as_time=True),
    ]  # fmt: skip


def lists(options: Options) -> Sequence[Row]:
    """By number of sessions, and beside the peers."""
    listed = options.size(1_000, 20)
    many = options.sessions
    return [
        Row("list", f"page of 50 of 100 and of {many:,} sessions", "page", [
            Contestant(f"perdure, sync, of {many:,}", _page(many), ours=True),
            Contestant("perdure, sync, of 100", _page(100)),
            Contestant(f"raw SELECT, of {many:,}", _raw_page(many)),
            Contestant("raw SELECT, of 100", _raw_page(100)),
        ], as_time=True),
        Row("list", f"list of {listed:,} sessions", "list", _lists(listed), as_time=True),
    ]  # fmt: skip


def _reads(history: int, recent: int | None) -> Sequence[Contestant]:
    return [
        Contestant("perdure, async", of_peer(_on_file, history, recent), ours=True),
        Contestant("perdure, sync", _ours(history, recent), ours=True),
        Contestant("perdure, sync, not looked at", _ours(history, recent, looking=False)),
        Contestant("raw SELECT, not looked at", _raw(history, recent)),
        Contestant("ADK DatabaseSessionService", of_peer(AdkDatabase, history, recent)),
        Contestant("ADK SqliteSessionService", of_peer(AdkSqlite, history, recent)),
        Contestant("ADK InMemorySessionService", of_peer(AdkMemory, history, recent)),
        Contestant("OpenAI SQLiteSession", of_peer(OpenAISQLite, history, recent)),
    ]


def _lists(sessions: int) -> Sequence[Contestant]:
    return [
        Contestant("perdure, async, all by pages", _list(_on_file, sessions), ours=True),
        Contestant("perdure, async, the first 50", _first_page(sessions), ours=True),
        Contestant("ADK DatabaseSessionService, all", _list(AdkDatabase, sessions)),
        Contestant("ADK SqliteSessionService, all", _list(AdkSqlite, sessions)),
        Contestant("ADK InMemorySessionService, all", _list(AdkMemory, sessions)),
    ]


def _on_file(folder: Path) -> AwaitedPerdure:
    return AwaitedPerdure(url_of(folder))


def of_peer(make: Callable[[Path], AsyncPeer], history: int, recent: int | None) -> Setup:
    """Reads of a session with that many events."""

    @contextmanager
    def opened(place: Place) -> Iterator[Opened]:
        peer = make(place.folder)
        settings = place.loop.run(peer.start(1))
        place.loop.run(_fill(peer, history))
        read = partial(peer.read, 0, recent)
        _expect(place.loop.run(read()), history if recent is None else recent)
        yield Opened(settings, lambda seconds: place.loop.run(typical_async(read, seconds)))
        place.loop.run(peer.stop())

    return opened


async def _fill(peer: AsyncPeer, events: int) -> None:
    for number in range(events):
        await peer.append(0, number)


def _expect(found: int, wanted: int) -> None:
    if found != wanted:
        raise AssertionError(f"{found} came back instead of {wanted}")


@contextmanager
def _filled(folder: Path, events: int) -> Iterator[BlockingPerdure]:
    peer = BlockingPerdure(url_of(folder))
    peer.start(1)
    peer.fill(0, events)
    yield peer
    peer.stop()


def _ours(history: int, recent: int | None, *, looking: bool = True) -> Setup:
    @contextmanager
    def opened(place: Place) -> Iterator[Opened]:
        with _filled(place.folder, history) as peer:
            read = partial(peer.read if looking else peer.count_read, 0, recent)
            _expect(read(), history if recent is None else recent)
            yield Opened(peer.settings, partial(typical, read))

    return opened


def _raw(history: int, recent: int | None) -> Setup:
    @contextmanager
    def opened(place: Place) -> Iterator[Opened]:
        with _filled(place.folder, history) as peer:
            operation = read_of(peer, 0, recent)
        select = RawSelect(place.folder, operation)
        _expect(select(), history if recent is None else recent)
        yield Opened(select.settings, partial(typical, select))
        select.close()

    return opened


def _page(sessions: int) -> Setup:
    @contextmanager
    def opened(place: Place) -> Iterator[Opened]:
        with _filled(place.folder, 1) as peer:
            crowd(place.folder, sessions)
            page = partial(peer.page, user_of(0))
            _expect(page(), 50)
            yield Opened(peer.settings, partial(typical, page))

    return opened


def _raw_page(sessions: int) -> Setup:
    @contextmanager
    def opened(place: Place) -> Iterator[Opened]:
        with _filled(place.folder, 1) as peer:
            operation = page_of(peer, user_of(0))
        crowd(place.folder, sessions)
        select = RawSelect(place.folder, operation)
        # perdure asks for one more, to know whether there is another page.
        _expect(select(), 51)
        yield Opened(select.settings, partial(typical, select))
        select.close()

    return opened


def _list(make: Callable[[Path], AwaitedPerdure | AdkPeer], sessions: int) -> Setup:
    @contextmanager
    def opened(place: Place) -> Iterator[Opened]:
        peer = make(place.folder)
        settings = place.loop.run(peer.start(sessions))
        _expect(place.loop.run(peer.list()), sessions)
        yield Opened(settings, lambda seconds: place.loop.run(typical_async(peer.list, seconds)))
        place.loop.run(peer.stop())

    return opened


def _first_page(sessions: int) -> Setup:
    @contextmanager
    def opened(place: Place) -> Iterator[Opened]:
        peer = _on_file(place.folder)
        settings = place.loop.run(peer.start(sessions))
        _expect(place.loop.run(peer.page()), min(50, sessions))
        yield Opened(settings, lambda seconds: place.loop.run(typical_async(peer.page, seconds)))
        place.loop.run(peer.stop())

    return opened
