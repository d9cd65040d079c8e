"""The results as a table to read and as JSON to keep."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import apsw

import perdure
from bench.contest import Line, Options, Result

_PEERS = (
    "google-adk",
    "openai-agents",
    "strands-agents",
    "trpc-agent-py",
    "langgraph-checkpoint-sqlite",
    "langgraph-checkpoint-postgres",
    "sqlalchemy",
    "aiosqlite",
)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "perdure": perdure.__version__,
        "apsw": apsw.apsw_version(),
        "sqlite": apsw.sqlite_lib_version(),
        **{name: _installed(name) for name in _PEERS},
    }


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def table(result: Result) -> str:
    """The result as a Markdown table; ratios are medians of the rounds' own ratios."""
    ours = [line for line in result.lines if line.ours]
    seen = list(result.lines[0].samples[0].seen) if result.lines else []
    head = [
        result.row.name,
        _headline(result),
        "spread",
        *(f"{line.name}: times as fast" for line in ours),
    ]
    rows = [head + seen + ["durability"]]
    for line in result.lines:
        ratios = [_ratio(line, other) for other in ours]
        others = [f"{line.seen(what):.2f}" for what in seen]
        rows.append([line.name, _figure(result, line.each), _spread(line), *ratios, *others])
        rows[-1].append(line.settings)
    return "\n".join([*_aligned(rows), *_failed(result), *_skipped(result)])


def _failed(result: Result) -> list[str]:
    """Who failed some calls, all rounds together."""
    counts = {line.name: sum(sample.failed for sample in line.samples) for line in result.lines}
    return [f"failed calls: {name}: {count}" for name, count in counts.items() if count]


def _skipped(result: Result) -> list[str]:
    """Who could not take part: a line for each reason."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in result.missing.items():
        by_reason.setdefault(reason, []).append(name)
    return [f"skipped: {', '.join(names)}: {reason}" for reason, names in by_reason.items()]


def _headline(result: Result) -> str:
    return f"time a {result.row.unit}" if result.row.as_time else f"{result.row.unit}s/s"


def _figure(result: Result, each: float) -> str:
    if not result.row.as_time:
        return f"{1 / each:,.0f}"
    return f"{each * 1e3:,.2f} ms" if each >= 1e-3 else f"{each * 1e6:,.0f} µs"


def _spread(line: Line) -> str:
    """How far the rounds went below and above their median."""
    each = [sample.each for sample in line.samples]
    return f"{min(each) / line.each - 1:+.0%} {max(each) / line.each - 1:+.0%}"


def _ratio(line: Line, other: Line) -> str:
    if line is other:
        return "1"
    return f"{median(line.slower_than(other)):.3g}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for number, row in enumerate(rows):
        cells = [
            cell.rjust(width) if place and number else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("| " + " | ".join(cells) + " |")
        if not number:
            ruled = [
                "-" * (width - 1) + (":" if place else "-") for place, width in enumerate(widths)
            ]
            lines.append("| " + " | ".join(ruled) + " |")
    return lines


def as_json(results: Sequence[Result], options: Options) -> dict[str, Any]:
    """Everything that was measured, round by round."""
    return {
        "machine": machine(),
        "command": sys.argv[1:],
        "rounds": options.rounds,
        "seconds": options.seconds,
        "rows": [_row(result) for result in results],
    }


def _row(result: Result) -> dict[str, Any]:
    ours = [line for line in result.lines if line.ours]
    return {
        "family": result.row.family,
        "name": result.row.name,
        "unit": result.row.unit,
        "contestants": [
            {
                "name": line.name,
                "durability": line.settings,
                "seconds": line.each,
                "rounds": [sample.each for sample in line.samples],
                "failed": [sample.failed for sample in line.samples],
                "seen": [dict(sample.seen) for sample in line.samples],
                "times_as_long": {other.name: median(line.slower_than(other)) for other in ours},
            }
            for line in result.lines
        ],
        "missing": dict(result.missing),
    }


def filesystem(folder: Path) -> str:
    """The kind of disk a folder is on, with a warning if it is none."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "of unknown kind"
    kinds = {Path(point): kind for point, kind in mounts}
    kind = next((kinds[one] for one in [folder, *folder.parents] if one in kinds), "unknown")
    note = " (no disk: a commit costs nothing here, choose --dir)" if kind == "tmpfs" else ""
    return kind + note
