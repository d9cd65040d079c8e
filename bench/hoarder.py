"""A process that appends on and on: ``python -m bench.hoarder FOLDER APPENDS TASKS``."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import msgspec

import perdure
from bench.peers.ours import event_of, key_of, url_of


class Report(msgspec.Struct):
    """RSS in bytes after a tenth of the appends and after the last."""

    early: int
    late: int
    seconds: float


def rss() -> int:
    """The memory that this process holds now."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def alone(url: str, numbers: Iterator[int], tenth: int) -> int:
    """One client that does not await; RSS after the first tenth."""
    early = 0
    with perdure.open_sync(url) as store:
        for number in numbers:
            store.events.append(key_of(0), event_of(number))
            if number == tenth:
                early = rss()
    return early


async def together(url: str, numbers: Iterator[int], tenth: int, tasks: int) -> int:
    """Several tasks, each with a session of its own."""
    early = 0

    async def task(session: int) -> None:
        nonlocal early
        for number in numbers:
            await store.events.append(key_of(session), event_of(number))
            if number == tenth:
                early = rss()

    async with perdure.open(url) as store:
        await asyncio.gather(*map(task, range(tasks)))
    return early


def main(folder: str, appends: str, tasks: str) -> None:
    """What the module's first line says."""
    url, numbers, tenth = url_of(Path(folder)), iter(range(int(appends))), int(appends) // 10
    started = perf_counter()
    if int(tasks) == 1:
        early = alone(url, numbers, tenth)
    else:
        early = asyncio.run(together(url, numbers, tenth, int(tasks)))
    report = Report(early, rss(), perf_counter() - started)
    print(msgspec.json.encode(report).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
