"""Lists: a table for a person, tab-separated values for a program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from perdure.cli.clean import clean
from perdure.cli.drawing import cells, cut, paint
from perdure.cli.terminal import Look

_GAP = "  "
_SLIMMEST = 6


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    ``yields`` says how early it is made narrower when there is no room: 0 never, then the
    higher the sooner. An ``optional`` one is left out where even that is not enough.
    """

    name: str
    style: str = ""
    right: bool = False
    yields: int = 0
    optional: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], look: Look) -> Iterator[str]:
    """The lines of a table that fits the width; columns without a value are left out."""
    used = _fitting(columns, rows, look.columns)
    columns = [columns[index] for index in used]
    rows = [[clean(row[index]) for index in used] for row in rows]
    widths = _widths(columns, rows, look.columns)
    yield _line([column.name for column in columns], ["dim"] * len(columns), columns, widths, look)
    styles = [column.style for column in columns]
    for row in rows:
        yield _line(row, styles, columns, widths, look)


def _line(
    texts: Sequence[str],
    styles: Sequence[str],
    columns: Sequence[Column],
    widths: Sequence[int],
    look: Look,
) -> str:
    cells_of_it = [
        _cell(text, style, column, width, look)
        for text, style, column, width in zip(texts, styles, columns, widths, strict=True)
    ]
    return _GAP.join(cells_of_it).rstrip()


def _fitting(columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """Which columns have something to show, and can."""
    used = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    for index in reversed(used):
        if sum(_least(columns[one], rows, one) + len(_GAP) for one in used) <= room:
            break
        if columns[index].optional:
            used.remove(index)
    return used


def _least(column: Column, rows: Sequence[Sequence[str]], index: int) -> int:
    widest = max([cells(column.name), *(cells(row[index]) for row in rows)])
    return min(widest, max(_SLIMMEST, cells(column.name))) if column.yields else widest


def _cell(text: str, style: str, column: Column, width: int, look: Look) -> str:
    shown = cut(text, width)
    space = " " * (width - cells(shown))
    words = paint(shown, style, look)
    return space + words if column.right else words + space


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int) -> list[int]:
    widths = [
        max([cells(column.name), *(cells(row[index]) for row in rows)])
        for index, column in enumerate(columns)
    ]
    over = sum(widths) + len(_GAP) * (len(widths) - 1) - room
    for index in sorted(range(len(columns)), key=lambda index: -columns[index].yields):
        least = max(_SLIMMEST, cells(columns[index].name))
        given = min(over, widths[index] - least)
        if columns[index].yields and given > 0:
            widths[index] -= given
            over -= given
    return widths


def separated(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Tab-separated lines without a heading; controls inside a value are shown, not sent."""
    for row in rows:
        yield "\t".join(clean(value) for value in row)
