"""The text that stands at paths of a JSON value: what a document is searched by.

A path is names with dots between them; ``[2]``, ``[-1]`` or ``[*]`` behind a name is an item of
a list, or each. ``$`` is the whole value. A name alone goes through a list on its way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from perdure.errors import InvalidError
from perdure.records import JSON
from perdure.values import check_text

Step: TypeAlias = str | int | None
"""A name, the number of an item, or None for each item."""

WHOLE = "$"
_NAME = re.compile(r"(?P<name>[^\[\]]*)(?P<items>(?:\[(?:-?\d{1,9}|\*)\])*)")
_ITEM = re.compile(r"\[(-?\d+|\*)\]")


def parsed(paths: Sequence[str], limit: int) -> list[list[Step]]:
    """The steps of each path; `InvalidError` for what is none."""
    if isinstance(paths, str) or not isinstance(paths, list | tuple):
        raise InvalidError(
            f"index is a list of paths, not {paths!r}: ['title', 'tags[*]']", "index"
        )
    return [_parsed(path, limit) for path in dict.fromkeys(paths)]


def _parsed(path: str, limit: int) -> list[Step]:
    check_text(path, "a path of index", limit, blank=False)
    if path == WHOLE:
        return []
    steps: list[Step] = []
    for piece in path.split("."):
        match = _NAME.fullmatch(piece)
        if match is None or not piece or (not match["name"] and steps):
            message = f"{path!r} is no path: write 'title', 'author.name', 'tags[0]' or 'tags[*]'"
            raise InvalidError(message, "index")
        steps += [match["name"]] if match["name"] else []
        steps += [None if item == "*" else int(item) for item in _ITEM.findall(match["items"])]
    return steps


def text_at(value: JSON, paths: Sequence[Sequence[Step]]) -> str:
    """All texts and numbers that stand there, one a line, in the order of the paths.

    Without NUL characters, which no column of text can hold.
    """
    return "\n".join(word for path in paths for word in _words(value, path)).replace("\0", "")


def _words(value: Any, path: Sequence[Step]) -> Iterator[str]:
    if not path:
        yield from _every(value)
        return
    step, *rest = path
    if isinstance(value, dict):
        if isinstance(step, str) and step in value:
            yield from _words(value[step], rest)
    elif isinstance(value, list | tuple):
        if isinstance(step, int):
            if -len(value) <= step < len(value):
                yield from _words(value[step], rest)
        else:
            on = rest if step is None else path
            for item in value:
                yield from _words(item, on)


def _every(value: Any) -> Iterator[str]:
    """The texts and numbers in a value, at any depth."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _every(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _every(inner)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)
