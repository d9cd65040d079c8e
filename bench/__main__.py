"""``python -m bench``: run the rows, print their tables."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import contest, plot, report
from bench.contest import MissingError, Options, Result
from bench.rows import FAMILIES

_USUAL = ("append", "read", "list", "checkpoint", "jsonl", "processes", "import")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        if given.plot is not None:
            plot.library()
    except MissingError as reason:
        parser.error(str(reason))
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=given.dir)).resolve()
    try:
        results = _run(given, _options(given, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if given.plot is not None:
        plot.draw(results, given.plot)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--rows", type=_families, default=list(_USUAL), metavar="A,B",
        help=f"of {', '.join(FAMILIES)}; usually all but adapters and memory",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, help="turns of each contestant (default 7)")
    parser.add_argument("--seconds", type=float, help="length of a turn (default 1)")
    parser.add_argument("--sessions", type=int, default=100_000, help="in the long list")
    parser.add_argument("--appends", type=int, default=200_000, help="in the memory row")
    parser.add_argument("--dir", type=Path, help="a folder on a real disk (default: this one)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round there")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw (needs matplotlib)")
    parser.add_argument("--quick", action="store_true", help="prove that it works, measure little")
    return parser


def _families(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in FAMILIES]:
        raise argparse.ArgumentTypeError(f"unknown {unknown}; known are {', '.join(FAMILIES)}")
    return names


def _options(given: argparse.Namespace, folder: Path) -> Options:
    quick: bool = given.quick
    return Options(
        folder=folder,
        rounds=given.rounds or (2 if quick else 7),
        seconds=given.seconds or (0.02 if quick else 1.0),
        quick=quick,
        sessions=1_000 if quick else given.sessions,
        appends=given.appends,
    )


def _run(given: argparse.Namespace, options: Options) -> list[Result]:
    for name, value in report.machine().items():
        print(f"{name}: {value or 'not installed'}")
    print(f"files: {report.filesystem(options.folder)}")
    results = []
    for family in given.rows:
        for row in FAMILIES[family](options):
            results.append(contest.run(row, options))
            print(f"\n{report.table(results[-1])}", flush=True)
            if given.json is not None:
                given.json.write_text(json.dumps(report.as_json(results, options), indent=1))
    return results


if __name__ == "__main__":
    sys.exit(main())
