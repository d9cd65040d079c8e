"""Memory: what a process holds while it appends on and on, and what opening costs then."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec

import perdure
from bench.contest import Contestant, Opened, Options, Place, Row, Sample, Setup
from bench.hoarder import Report
from bench.peers.ours import BlockingPerdure, url_of
from bench.timing import typical


def rows(options: Options) -> Sequence[Row]:
    """By one client, and by 64 tasks at once; each once, however many rounds the others have."""
    appends = options.size(options.appends, 400)
    return [
        Row("memory", f"RSS over {appends:,} appends", "append", [
            Contestant("perdure, sync", _hoarder(appends, 1)),
            Contestant("perdure, async, 64 tasks", _hoarder(appends, 64)),
        ], once=True),
    ]  # fmt: skip


def _hoarder(appends: int, tasks: int) -> Setup:
    @contextmanager
    def opened(place: Place) -> Iterator[Opened]:
        peer = BlockingPerdure(url_of(place.folder))
        peer.start(tasks)
        peer.stop()
        empty = _opening(place.folder, 0.2)
        yield Opened(peer.settings, partial(_measure, place.folder, appends, tasks, empty))

    return opened


def _measure(folder: Path, appends: int, tasks: int, empty: float, _seconds: float) -> Sample:
    command = [sys.executable, "-m", "bench.hoarder", str(folder), str(appends), str(tasks)]
    root = Path(__file__).parents[2]
    ran = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE)
    report = msgspec.json.decode(ran.stdout, type=Report)
    seen = {
        "RSS at 10 %, MB": report.early / 2**20,
        "RSS at 100 %, MB": report.late / 2**20,
        "late/early": report.late / report.early,
        "file, MB": (folder / "perdure.db").stat().st_size / 2**20,
        "open, ms": _opening(folder, 0.2) * 1000,
        "open when empty, ms": empty * 1000,
    }
    return Sample(report.seconds / appends, seen)


def _opening(folder: Path, seconds: float) -> float:
    return typical(lambda: perdure.open_sync(url_of(folder)).close(), seconds).each
