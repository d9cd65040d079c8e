"""A row: contestants that do the same work in turns, so that all meet the same machine."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TypeAlias


class MissingError(Exception):
    """A contestant cannot take part; the message is the reason that is shown."""


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured."""

    folder: Path
    rounds: int
    seconds: float
    quick: bool
    sessions: int
    appends: int

    def size(self, full: int, quick: int) -> int:
        """The size of a set-up, in a real run and in a quick one."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one contestant: seconds for each unit of work, and what else was seen.

    ``failed`` is the number of calls that did no work.
    """

    each: float
    seen: Mapping[str, float] = field(default_factory=dict)
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Opened:
    """A contestant that is set up: its durability, and what a round of so many seconds gives."""

    settings: str
    measure: Callable[[float], Sample]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a contestant works: a folder of its own, and the event loop that all share."""

    folder: Path
    loop: asyncio.Runner


Setup: TypeAlias = Callable[[Place], AbstractContextManager[Opened]]


@dataclass(frozen=True, slots=True)
class Contestant:
    """A name, and how it is set up. All others are compared with each that is ``ours``."""

    name: str
    open: Setup
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One question: the contestants, and whether a rate or a time says it better."""

    family: str
    name: str
    unit: str
    contestants: Sequence[Contestant]
    as_time: bool = False
    once: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """What one contestant did, round by round."""

    name: str
    ours: bool
    settings: str
    samples: Sequence[Sample]

    @property
    def each(self) -> float:
        """Seconds for each unit of work, the median of the rounds."""
        return median(sample.each for sample in self.samples)

    def seen(self, what: str) -> float:
        """The median of something else that was seen."""
        return median(sample.seen[what] for sample in self.samples)

    def slower_than(self, other: Line) -> list[float]:
        """In each round, how many times as long as the other took."""
        pairs = zip(self.samples, other.samples, strict=True)
        return [mine.each / theirs.each for mine, theirs in pairs]


@dataclass(frozen=True, slots=True)
class Result:
    """A row that was run: its lines, and who could not take part, with the reason."""

    row: Row
    lines: Sequence[Line]
    missing: Mapping[str, str]


def run(row: Row, options: Options) -> Result:
    """Set all contestants up, then let them work in turns: A B C, A B C, …"""
    missing: dict[str, str] = {}
    taking_part: list[tuple[Contestant, Opened]] = []
    samples: dict[str, list[Sample]] = {}
    with asyncio.Runner() as loop, ExitStack() as opened:
        for number, contestant in enumerate(row.contestants):
            _progress(f"{row.name}: setting up {contestant.name}")
            folder = options.folder / f"{_slug(row.name)}-{number}"
            folder.mkdir()
            try:
                ready = opened.enter_context(contestant.open(Place(folder, loop)))
            except MissingError as reason:
                missing[contestant.name] = str(reason)
            else:
                taking_part.append((contestant, ready))
                samples[contestant.name] = []
        if not row.once:
            _settle(taking_part, options)
        for turn in range(1 if row.once else options.rounds):
            for contestant, ready in taking_part:
                _progress(f"{row.name}: round {turn + 1}, {contestant.name}")
                samples[contestant.name].append(ready.measure(options.seconds))
        gc.unfreeze()
    _progress("")
    lines = [
        Line(contestant.name, contestant.ours, ready.settings, samples[contestant.name])
        for contestant, ready in taking_part
    ]
    return Result(row, lines, missing)


def _settle(taking_part: Sequence[tuple[Contestant, Opened]], options: Options) -> None:
    """A short turn for each that does not count: caches fill, files get their size."""
    for _, ready in taking_part:
        ready.measure(options.seconds / 5)
    # What the peers import would otherwise be walked through again in everybody's rounds.
    gc.collect()
    gc.freeze()


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:78.78}\r", end="", file=sys.stderr, flush=True)
