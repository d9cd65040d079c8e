"""Rounds: a call again and again for some seconds, by one client or by many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from statistics import median
from time import perf_counter

from bench.contest import Sample


def repeat(call: Callable[[int], object], seconds: float, batch: int = 1) -> Sample:
    """Seconds for each of the calls' units (``batch`` a call), over the whole round."""
    started = perf_counter()
    deadline = started + seconds
    for done in count(1):
        call(done)
        now = perf_counter()
        if now >= deadline:
            break
    return Sample((now - started) / (done * batch))


async def repeat_together(
    calls: Sequence[Callable[[int], Awaitable[object]]],
    failures: tuple[type[Exception], ...],
    seconds: float,
) -> Sample:
    """The same by several clients at once, each waiting for its own calls only.

    Calls that end in one of the failures do not count as done; how many there were is told.
    """
    started = perf_counter()
    deadline = started + seconds
    done = failed = 0

    async def client(call: Callable[[int], Awaitable[object]]) -> None:
        nonlocal done, failed
        for number in count(1):
            try:
                await call(number)
                done += 1
            except failures:
                failed += 1
            if perf_counter() >= deadline:
                return

    await asyncio.gather(*map(client, calls))
    if not done:
        raise RuntimeError(f"all {failed} calls failed")
    return Sample((perf_counter() - started) / done, failed=failed)


def typical(call: Callable[[], object], seconds: float) -> Sample:
    """Seconds for one call, the median of the round: for reads, which do not add up."""
    taken: list[float] = []
    deadline = perf_counter() + seconds
    while not taken or perf_counter() < deadline:
        started = perf_counter()
        call()
        taken.append(perf_counter() - started)
    return Sample(median(taken))


async def typical_async(call: Callable[[], Awaitable[object]], seconds: float) -> Sample:
    """The same, awaited."""
    taken: list[float] = []
    deadline = perf_counter() + seconds
    while not taken or perf_counter() < deadline:
        started = perf_counter()
        await call()
        taken.append(perf_counter() - started)
    return Sample(median(taken))
