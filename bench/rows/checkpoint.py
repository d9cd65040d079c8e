"""Checkpoints: what a graph stores after each step, and reads when it goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter

from bench.contest import Contestant, Opened, Options, Place, Row, Sample, Setup
from bench.peers.checkpoints import Checkpoints
from bench.peers.langgraph import PostgresSaver, SqliteSaver
from bench.peers.ours import url_of
from bench.peers.postgres import fresh_url
from bench.threads import A_TURN, CheckpointPeer, Walk
from bench.timing import repeat_together, typical_async

MANY = 64
#: Turns of a conversation, where many are begun.
TURNS = 20
#: Turns of the one that is kept whole.
LONG = 150
THREAD = "thread"

Make = Callable[[Path], CheckpointPeer]


def rows(options: Options) -> Sequence[Row]:
    """On a file and on PostgreSQL."""
    return [*_rows(options, "", _on_file, SqliteSaver), *_rows(options, *_POSTGRES)]


def _rows(
    options: Options, where: str, ours: Callable[..., Checkpoints], peer: Make
) -> Sequence[Row]:
    steps = options.size(640, 30)
    turns = options.size(LONG, 10)
    name = "LangGraph AsyncPostgresSaver" if where else "LangGraph AsyncSqliteSaver"
    unseen = partial(ours, looking=False)
    anew = partial(ours, remembering=False)

    def row(what: str, unit: str, of: Callable[[Make], Setup], **how: bool) -> Row:
        contestants = [Contestant("perdure, async", of(ours), ours=True)]
        if unit == "read":
            contestants.append(Contestant("perdure, async, not looked at", of(unseen), ours=True))
            contestants.append(Contestant("perdure, async, for the first time", of(anew)))
        contestants.append(Contestant(name, of(peer)))
        return Row("checkpoint", f"{what}{where}", unit, contestants, **how)

    return [
        row("put and put_writes, 1 client", "step", partial(stepping, 1)),
        row(f"put and put_writes, {MANY} concurrent", "step", partial(stepping, MANY)),
        row(f"latest of {steps} checkpoints", "read", partial(reading, steps, whole=False),
            as_time=True),
        row(f"list of {steps} checkpoints", "read", partial(reading, steps, whole=True),
            as_time=True),
        row(f"growth over {turns} turns", "turn", partial(_growing, turns), once=True),
    ]  # fmt: skip


def _on_file(folder: Path, **how: bool) -> Checkpoints:
    return Checkpoints(url_of(folder), **how)


def _on_postgres(_folder: Path, **how: bool) -> Checkpoints:
    return Checkpoints(fresh_url(), **how)


_POSTGRES = (" on PostgreSQL", _on_postgres, PostgresSaver)


def stepping(clients: int, make: Make) -> Setup:
    """So many tasks, each with a conversation of its own, and then with the next one."""

    @contextmanager
    def opened(place: Place) -> Iterator[Opened]:
        peer = make(place.folder)
        settings = place.loop.run(peer.start())
        calls = [_conversation(peer, client) for client in range(clients)]
        turn = partial(repeat_together, calls, peer.failures)
        yield Opened(settings, lambda seconds: place.loop.run(turn(seconds)))
        place.loop.run(peer.stop())

    return opened


def _conversation(peer: CheckpointPeer, client: int) -> Callable[[int], Awaitable[object]]:
    steps = (
        (f"{client}-{number}", step)
        for number in count()
        for walk in [Walk()]
        for step in [walk.next() for _ in range(TURNS * A_TURN)]
    )

    async def step(_number: int) -> None:
        await peer.step(*next(steps))

    return step


def reading(steps: int, make: Make, *, whole: bool) -> Setup:
    """The last of a long conversation, or all of it."""

    @contextmanager
    def opened(place: Place) -> Iterator[Opened]:
        peer = make(place.folder)
        settings = place.loop.run(peer.start())
        place.loop.run(_fill(peer, steps))
        read = partial(peer.list if whole else peer.latest, THREAD)
        yield Opened(settings, lambda seconds: place.loop.run(typical_async(read, seconds)))
        place.loop.run(peer.stop())

    return opened


def _growing(turns: int, make: Make) -> Setup:
    """How long a conversation takes, and how many bytes it leaves."""

    @contextmanager
    def opened(place: Place) -> Iterator[Opened]:
        peer = make(place.folder)
        settings = place.loop.run(peer.start())
        yield Opened(settings, lambda _: place.loop.run(_grow(peer, turns)))
        place.loop.run(peer.stop())

    return opened


async def _grow(peer: CheckpointPeer, turns: int) -> Sample:
    before = await peer.size()
    started = perf_counter()
    text = await _fill(peer, turns * A_TURN)
    each = (perf_counter() - started) / turns
    grown = await peer.size() - before
    return Sample(each, {"MB": grown / 1e6, "MB of messages": text / 1e6})


async def _fill(peer: CheckpointPeer, steps: int) -> int:
    """Walk through a conversation; the bytes of its messages."""
    walk = Walk()
    for _ in range(steps):
        step = walk.next()
        await peer.step(THREAD, step)
    return sum(len(str(message)) for message in step.messages)
