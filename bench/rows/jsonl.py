"""Appends to a directory of JSONL files, against plain lines in one file and against SQLite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.contest import Contestant, Opened, Options, Place, Row, Setup
from bench.peers.ours import AwaitedPerdure, jsonl_url_of, url_of
from bench.peers.plain import PlainLines
from bench.rows.append import MANY, blocking, by_clients
from bench.timing import repeat


def appends(_options: Options) -> Sequence[Row]:
    """By one client and by many."""
    return [
        Row("jsonl", "append to JSONL, 1 client", "append", [
            Contestant("perdure jsonl:, async", by_clients(_in_files, 1), ours=True),
            Contestant("perdure jsonl:, sync", blocking(jsonl_url_of), ours=True),
            Contestant("perdure sqlite:, sync", blocking(url_of)),
            Contestant("write + fdatasync", _plain(1, encoding=False)),
            Contestant("encode + write + fdatasync", _plain(1, encoding=True)),
        ]),
        Row("jsonl", f"append to JSONL, {MANY} concurrent", "append", [
            Contestant("perdure jsonl:, async", by_clients(_in_files, MANY), ours=True),
            Contestant("perdure sqlite:, async", by_clients(_in_sqlite, MANY)),
            Contestant(f"write + fdatasync, batches of {MANY}", _plain(MANY, encoding=False)),
            Contestant(
                f"encode + write + fdatasync, batches of {MANY}", _plain(MANY, encoding=True)
            ),
        ]),
    ]  # fmt: skip


def _in_files(folder: Path) -> AwaitedPerdure:
    return AwaitedPerdure(jsonl_url_of(folder))


def _in_sqlite(folder: Path) -> AwaitedPerdure:
    return AwaitedPerdure(url_of(folder))


def _plain(batch: int, *, encoding: bool) -> Setup:
    @contextmanager
    def opened(place: Place) -> Iterator[Opened]:
        lines = PlainLines(place.folder, batch, encoding=encoding)
        yield Opened(lines.settings, partial(repeat, lines.commit, batch=batch))
        lines.close()

    return opened
