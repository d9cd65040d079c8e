"""Where a conversation may be cut: never between a tool call and its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

Item: TypeAlias = tuple[str, str, Sequence[str], Sequence[str]]
"""An event as far as cutting goes: kind, role, calls, results."""


def window_start(items: Sequence[Item], last: int) -> int:
    """The index at which a window of at least the last ``last`` items starts, oldest first.

    The greatest one, not after ``len(items) - last``, whose item is a user's message and that
    splits no tool call from its result; 0 if there is none, ``len(items)`` if ``last`` is 0.
    """
    if last <= 0:
        return len(items)
    return _cut(items, len(items) - last, _opens_a_turn)


def cut_point(items: Sequence[Item], keep_from: int) -> int:
    """The greatest index, not after ``keep_from``, before which everything may be removed.

    That is: no item at or after it answers a tool call opened before it. 0 means keep all.
    """
    return _cut(items, keep_from, _opens_anything)


def fitting_start(items: Sequence[Item], sizes: Sequence[int], most: int) -> int:
    """The index from which on the items fit into ``most``, oldest first.

    As far back as that goes, and where a window may start: at a user's message, and with no tool
    call split from its result. Where no such window fits it is the shortest one; where there is
    none at all it is the earliest place that fits and splits nothing, or the last such place.
    """
    asked = _asked(items)
    needed, total = len(items), 0
    turns: list[tuple[int, int]] = []
    places: list[tuple[int, int]] = []
    for index in range(len(items) - 1, -1, -1):
        needed = min(needed, asked[index])
        total += sizes[index]
        if needed >= index:
            places.append((index, total))
            if _opens_a_turn(items[index]):
                turns.append((index, total))
    starts = turns or places
    fitting = [index for index, size in starts if size <= most]
    return fitting[-1] if fitting else starts[0][0] if starts else 0


def _opens_a_turn(item: Item) -> bool:
    kind, role, _, _ = item
    return kind == "message" and role == "user"


def _opens_anything(_: Item) -> bool:
    return True


def _cut(items: Sequence[Item], upto: int, may_start: Callable[[Item], bool]) -> int:
    if upto >= len(items):
        return len(items)
    asked = _asked(items)
    needed = len(items)
    for index in range(len(items) - 1, 0, -1):
        needed = min(needed, asked[index])
        if index <= upto and needed >= index and may_start(items[index]):
            return index
    return 0


def _asked(items: Sequence[Item]) -> list[int]:
    """The index of the earliest call each item answers, its own index if it answers none.

    Ids may come again in a long conversation: a result belongs to the call before it.
    """
    opened: dict[str, int] = {}
    asked = []
    for index, (_, _, calls, results) in enumerate(items):
        asked.append(min((opened.get(answered, index) for answered in results), default=index))
        opened.update(dict.fromkeys(calls, index))
    return asked
