"""One writer process of several: ``python -m bench.writer FOLDER FIRST TASKS SECONDS``.

It says ``ready`` when it is open, waits for a line, writes, and tells what it did in JSON.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from time import perf_counter

import msgspec

import perdure
from bench.peers.ours import event_of, key_of, url_of


class Report(msgspec.Struct):
    """What one process did."""

    appends: int
    seconds: float
    longest: float


def _wait() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def alone(url: str, session: int, seconds: float) -> Report:
    """One client that does not await."""
    with perdure.open_sync(url) as store:
        key = key_of(session)
        store.sessions.get(key)
        _wait()
        taken: list[float] = []
        started = now = perf_counter()
        while now < started + seconds:
            before = now
            store.events.append(key, event_of(len(taken)))
            now = perf_counter()
            taken.append(now - before)
        return Report(len(taken), now - started, max(taken))


async def together(url: str, first: int, tasks: int, seconds: float) -> Report:
    """Several tasks of one loop, each with a session of its own."""
    async with perdure.open(url) as store:
        taken: list[float] = []
        await store.sessions.get(key_of(first))
        _wait()
        started = perf_counter()

        async def task(key: perdure.SessionKey) -> None:
            while (before := perf_counter()) < started + seconds:
                await store.events.append(key, event_of(len(taken)))
                taken.append(perf_counter() - before)

        await asyncio.gather(*(task(key_of(first + number)) for number in range(tasks)))
        return Report(len(taken), perf_counter() - started, max(taken))


def main(folder: str, first: str, tasks: str, seconds: str) -> None:
    """What the module's first line says."""
    url = url_of(Path(folder))
    if int(tasks) == 1:
        report = alone(url, int(first), float(seconds))
    else:
        report = asyncio.run(together(url, int(first), int(tasks), float(seconds)))
    print(msgspec.json.encode(report).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
