"""The results as a picture: one panel a row, bars on a logarithmic scale."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.contest import Line, MissingError, Result

_OURS = "#0b6e4f"
_OTHERS = "#9aa5b1"


def library() -> Any:
    """matplotlib, for files only; `MissingError` with what to install."""
    try:
        matplotlib = import_module("matplotlib")
        matplotlib.use("Agg")
        return import_module("matplotlib.pyplot")
    except ImportError as error:
        raise MissingError("a plot needs matplotlib: pip install 'perdure[bench]'") from error


def draw(results: Sequence[Result], path: Path) -> None:
    """Write the picture; the ending of the path is its format."""
    pyplot = library()
    shown = [result for result in results if result.lines]
    heights = [len(result.lines) + 1.5 for result in shown]
    figure, panels = pyplot.subplots(
        len(shown), 1, figsize=(9, 0.36 * sum(heights)), squeeze=False,
        gridspec_kw={"height_ratios": heights}, layout="constrained",
    )  # fmt: skip
    for [panel], result in zip(panels, shown, strict=True):
        _bars(panel, result)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _bars(panel: Any, result: Result) -> None:
    lines = list(reversed(result.lines))
    values = [_value(result, line.each) for line in lines]
    reaches = _reaches(result, lines)
    panel.barh(
        range(len(lines)),
        values,
        color=[_OURS if line.ours else _OTHERS for line in lines],
        xerr=reaches,
        error_kw={"elinewidth": 0.8},
    )
    panel.set_yticks(range(len(lines)), [line.name for line in lines])
    panel.set_xscale("log")
    better = "ms, less is better" if result.row.as_time else "a second, more is better"
    panel.set_title(f"{result.row.name} ({better})", loc="left", fontsize=10)
    for place, value in enumerate(values):
        text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        end = (value + reaches[1][place], place)
        panel.annotate(
            text, end, xytext=(4, 0), textcoords="offset points", va="center", fontsize=8
        )
    panel.margins(x=0.15)


def _value(result: Result, each: float) -> float:
    return each * 1000 if result.row.as_time else 1 / each


def _reaches(result: Result, lines: Sequence[Line]) -> list[list[float]]:
    """How far the rounds went below and above each bar's end."""
    below, above = [], []
    for line in lines:
        values = [_value(result, sample.each) for sample in line.samples]
        middle = _value(result, line.each)
        below.append(max(0.0, middle - min(values)))
        above.append(max(0.0, max(values) - middle))
    return [below, above]
