"""JSON values laid out for reading: on one line what fits, indented what does not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

from perdure.cli.drawing import Row, Span, cells, cut_spans
from perdure.records import DELETE, JSON, Opaque

_STEP = 2
_LONGEST_INLINE = 10_000


def compact(value: object) -> str:
    """The value as JSON text on one line."""
    if isinstance(value, Opaque):
        return f"<{len(value.data):,} bytes of {value.codec}>"
    if value is DELETE:
        return "removed"
    return json.dumps(value, ensure_ascii=False)


def outline(value: JSON, width: int, indent: int = 0) -> Iterator[Row]:
    """Rows of a value: an object as its ``key: value`` lines, a list as its ``- item`` lines."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _entry([(f"{key}:", "key")], item, width, indent)
    elif isinstance(value, list) and value:
        for item in value:
            yield from _entry([("-", "dim")], item, width, indent)
    else:
        yield from _scalar([], value, indent)


def _entry(head: list[Span], item: JSON, width: int, indent: int) -> Iterator[Row]:
    if not (isinstance(item, dict | list) and item):
        yield from _scalar(head, item, indent)
        return
    inline = compact(item) if _small(item) else None
    room = width - indent - sum(cells(words) for words, _ in head) - 1
    if inline is not None and (cells(inline) <= room or indent > width // 2):
        yield Row([*head, (" ", ""), (inline, "")], indent=indent, hang=_STEP)
    elif head[0][0] == "-":
        yield from _item(head, item, width, indent)
    else:
        yield Row(head, indent=indent)
        yield from outline(item, width, indent + _STEP)


def _item(head: list[Span], item: JSON, width: int, indent: int) -> Iterator[Row]:
    """A list's item, its first line behind the dash."""
    rows = outline(item, width, indent + _STEP)
    first = next(rows)
    yield Row([*head, (" ", ""), *first.spans], indent=indent, hang=first.hang + _STEP)
    yield from rows


def _scalar(head: list[Span], value: JSON, indent: int) -> Iterator[Row]:
    if isinstance(value, str) and "\n" in value:
        yield Row(head, indent=indent)
        lines = value.replace("\r\n", "\n").rstrip("\n").split("\n")
        yield from (Row([(line, "string")], indent=indent + _STEP * bool(head)) for line in lines)
        return
    space: list[Span] = [(" ", "")] if head else []
    yield Row([*head, *space, scalar(value)], indent=indent, hang=_STEP)


def scalar(value: JSON) -> Span:
    """A value in a word: a text without quotes where it cannot be taken for anything else."""
    if isinstance(value, str):
        return (value if _is_bare(value) else compact(value)), "string"
    return compact(value), "number" if isinstance(value, int | float) else ""


def _is_bare(text: str) -> bool:
    if not text[:1].isalnum() or text[-1].isspace():
        return False
    try:
        json.loads(text)
    except ValueError:
        return True
    return False


def _small(value: JSON) -> bool:
    """Whether it may fit on a line: without writing out all of what cannot."""
    budget = _LONGEST_INLINE
    stack = [value]
    while stack and budget > 0:
        item = stack.pop()
        budget -= len(item) + 1 if isinstance(item, str | dict | list) else 1
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return budget > 0


def first_rows(rows: Iterable[Row], most: int | None, width: int, indent: int = 0) -> Iterator[Row]:
    """The rows, or the first of them and how many more there are; none of them endless."""
    given = list(rows)
    if most is None:
        yield from given
        return
    shown = given if len(given) <= most + 1 else given[:most]
    for row in shown:
        yield replace(row, spans=cut_spans(row.spans, most * width))
    if len(shown) < len(given):
        yield Row([(f"… {len(given) - most} more lines (--full)", "dim")], indent=indent)
