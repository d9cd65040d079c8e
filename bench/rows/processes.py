"""Several processes that write to one file: what they manage together, and how fairly."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec

from bench.contest import Contestant, Opened, Options, Place, Row, Sample, Setup
from bench.peers.ours import BlockingPerdure, url_of
from bench.writer import Report

_AT_ONCE = 16


def rows(options: Options) -> Sequence[Row]:
    """One process, then two, four and eight; one client in each, then some."""
    counts = options.size(8, 2)
    powers = [number for number in (1, 2, 4, 8) if number <= counts]
    return [
        Row("processes", "writer processes, 1 client each", "append", _contest(powers, 1)),
        Row("processes", f"writer processes, {_AT_ONCE} tasks each", "append",
            _contest(powers, _AT_ONCE)),
    ]  # fmt: skip


def _contest(powers: Sequence[int], tasks: int) -> Sequence[Contestant]:
    return [
        Contestant(f"{number} processes" if number > 1 else "1 process", _writers(number, tasks),
                   ours=number == 1)
        for number in powers
    ]  # fmt: skip


def _writers(processes: int, tasks: int) -> Setup:
    @contextmanager
    def opened(place: Place) -> Iterator[Opened]:
        peer = BlockingPerdure(url_of(place.folder))
        peer.start(processes * tasks)
        peer.stop()
        yield Opened(peer.settings, partial(_measure, place.folder, processes, tasks))

    return opened


def _measure(folder: Path, processes: int, tasks: int, seconds: float) -> Sample:
    arguments = [
        [str(folder), str(number * tasks), str(tasks), str(seconds)] for number in range(processes)
    ]
    writers = [_start(given) for given in arguments]
    for writer in writers:
        _expect(writer, "ready")
    for writer in writers:
        _tell(writer, "go")
    reports = [_result(writer) for writer in writers]
    counts = [report.appends for report in reports]
    rate = sum(report.appends / report.seconds for report in reports)
    return Sample(
        1 / rate,
        {
            "slowest/fastest": min(counts) / max(counts),
            "longest call, ms": max(report.longest for report in reports) * 1000,
        },
    )


def _start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.writer", *arguments]
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _expect(writer: subprocess.Popen[str], word: str) -> None:
    assert writer.stdout is not None
    line = writer.stdout.readline().strip()
    if line != word:
        raise RuntimeError(f"a writer process said {line!r} instead of {word!r}")


def _tell(writer: subprocess.Popen[str], word: str) -> None:
    assert writer.stdin is not None
    writer.stdin.write(word + "\n")
    writer.stdin.flush()


def _result(writer: subprocess.Popen[str]) -> Report:
    out, _ = writer.communicate()
    return msgspec.json.decode(out, type=Report)
