"""From rows of styled words to lines of a terminal, or of a plain file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from perdure.cli.clean import clean
from perdure.cli.terminal import Look

Span: TypeAlias = tuple[str, str]
"""Words and the name of their style."""
Spans: TypeAlias = Sequence[Span]

#: The sixteen colours of the terminal's own theme, so that they suit light and dark.
_CODES = {
    "dim": "2",
    "bold": "1",
    "heading": "1",
    "id": "1;36",
    "key": "36",
    "string": "32",
    "number": "35",
    "call": "1;33",
    "good": "32",
    "bad": "1;31",
    "state": "35",
    "user": "1;34",
    "assistant": "1;32",
    "tool": "33",
    "system": "1;35",
    "other": "1",
}
_ELLIPSIS = "…"
WIDEST_TEXT = 100


def style_of(role: str) -> str:
    """The style of who speaks."""
    return role if role in {"user", "assistant", "tool", "system"} else "other"


@dataclass(frozen=True, slots=True)
class Row:
    """One line to be, or several where it must be wrapped.

    ``label`` stands in the margin, ``bar`` is the style of the line beside it ("": none);
    ``indent`` are columns before the words, ``hang`` more of them before what is wrapped;
    ``right`` stands at the right edge.
    """

    spans: Spans = ()
    label: str = ""
    bar: str = ""
    indent: int = 0
    hang: int = 0
    right: str = ""


def paint(words: str, style: str, look: Look) -> str:
    """The words, made harmless, in a style if there is colour."""
    shown = clean(words)
    code = _CODES.get(style, "")
    return f"\x1b[{code}m{shown}\x1b[0m" if look.color and code and shown else shown


def painted(spans: Spans, look: Look) -> str:
    """Several of them in one line."""
    return "".join(paint(words, style, look) for words, style in spans)


def draw(rows: Iterable[Row], look: Look) -> Iterator[str]:
    """The lines of rows that share one margin."""
    given = list(rows)
    margin = max((len(row.label) for row in given), default=0)
    for row in given:
        yield from _drawn(row, margin, look)


def _drawn(row: Row, margin: int, look: Look) -> Iterator[str]:
    bar = (paint("│", row.bar, look) if look.laid_out else " ") if row.bar else ""
    label = " " * (margin - len(row.label)) + paint(row.label, "dim", look)
    head = f"{label} {bar} " if row.bar else ""
    used = margin + 3 if row.bar else 0
    if look.width is None:
        line = head + " " * row.indent + painted(row.spans, look)
        yield (line + (f"  {clean(row.right)}" if row.right else "")).rstrip()
        return
    room = max(min(look.width - used, WIDEST_TEXT) - row.indent, 10) if row.bar else look.width
    hang = min(row.hang, room // 2)
    for index, spans in enumerate(wrap(row.spans, room, hang)):
        start = head if index == 0 else " " * (margin + 1) + f"{bar} " if bar else ""
        space = " " * (row.indent + (hang if index else 0))
        line = start + space + painted(spans, look)
        if row.right and index == 0:
            line += _at_edge(row, used + row.indent + length(spans), margin, look)
        yield line.rstrip()


def _at_edge(row: Row, used: int, margin: int, look: Look) -> str:
    edge = min(look.columns, WIDEST_TEXT + margin + 3)
    space = edge - used - cells(row.right)
    return " " * space + paint(row.right, "dim", look) if space > 0 else ""


# -- measuring -----------------------------------------------------------------------------------


def cells(text: str) -> int:
    """How many columns the text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - only for what is not ASCII

    return cell_len(text)


def length(spans: Spans) -> int:
    """How many columns they take, as shown."""
    return sum(cells(clean(words)) for words, _ in spans)


def cut(text: str, width: int) -> str:
    """The text on one line of at most that width, with an ellipsis if something is gone."""
    # Four characters a column are more than any text has, and bound the work.
    shown = clean(text[: 4 * width + 4])
    if cells(shown) <= width and len(text) <= 4 * width + 4:
        return shown
    return shown[: _fitting(shown, 0, max(width - 1, 0))] + _ELLIPSIS


def cut_spans(spans: Spans, width: int) -> list[Span]:
    """The same for styled words."""
    left = width
    kept: list[Span] = []
    for words, style in spans:
        shown = cut(words, left)
        kept.append((shown, style))
        left -= cells(shown)
        if left <= 0 or shown != clean(words):
            break
    return kept


# -- wrapping ------------------------------------------------------------------------------------


def wrap(spans: Spans, width: int, hang: int = 0) -> Iterator[list[Span]]:
    """The spans line by line, broken between words where that is possible."""
    shown = [(clean(words), style) for words, style in spans]
    text = "".join(words for words, _ in shown)
    for start, end in _breaks(text, width, width - hang):
        yield _slice(shown, start, end)


def _breaks(text: str, first: int, width: int) -> Iterator[tuple[int, int]]:
    start, room = 0, first
    while True:
        end = _fitting(text, start, room)
        if end >= len(text):
            yield start, len(text)
            return
        space = text.rfind(" ", start, end + 1)
        if text[start:space].strip() and space > start:
            yield start, space
            start = space + 1
        else:
            end = max(end, start + 1)
            yield start, end
            start = end
        room = width


def _fitting(text: str, start: int, width: int) -> int:
    """The end of what fits from the start on."""
    if text.isascii():
        return min(start + width, len(text))
    end, left = start, width
    while end < len(text):
        left -= cells(text[end])
        if left < 0:
            break
        end += 1
    return end


def _slice(spans: Spans, start: int, end: int) -> list[Span]:
    found: list[Span] = []
    at = 0
    for words, style in spans:
        low, high = max(start - at, 0), min(end - at, len(words))
        if low < high:
            found.append((words[low:high], style))
        at += len(words)
    return found
