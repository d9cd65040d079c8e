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
