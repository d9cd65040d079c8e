"""JSON values of checkpoints as they are looked at: decoded once, copied for each who looks.

A copy takes less than half the time of decoding. It shares nothing with other copies but texts and
numbers, which nobody can change.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple, Protocol

import msgspec

from perdure.values import decode

copied = msgspec.to_builtins
"""A JSON value once more: its lists and objects are others."""


class Tree(Protocol):
    """What is decoded of some bytes, for those who look at them."""

    def look(self, data: bytes, what: str) -> Any:
        """The value of these bytes, as the caller's own; `CorruptError`."""


class Seen:
    """Of bytes that the process remembers: kept decoded once they are looked at again."""

    __slots__ = ("_looked", "_value")

    #: How many bytes a decoded value takes for each of its text, roughly.
    WEIGHT = 3

    def __init__(self) -> None:
        self._looked = False
        self._value: Any = None

    def look(self, data: bytes, what: str) -> Any:
        """The value."""
        value = self._value
        if value is None:
            value = decode(data, what)
            if not self._looked:
                # Most are looked at once: then there is nothing to copy, and nothing to keep.
                self._looked = True
                return value
            self._value = value
        return copied(value)


class Roll:
    """Lists that each begin with all of the one before: every item is decoded once.

    That is how the messages of a conversation are stored, step by step. For any thread.
    """

    __slots__ = ("_ends", "_items", "_lock", "_pieces")

    def __init__(self, first: bytes) -> None:
        self._pieces = [first]
        self._items: list[Any] = []
        self._ends: list[int] = []
        self._lock = threading.Lock()

    def grow(self, piece: bytes) -> Place:
        """The list of all items before, and then those of this one."""
        self._pieces.append(piece)
        return Place(self, len(self._pieces) - 1)

    def upto(self, number: int, what: str) -> Any:
        """The items up to those of that piece."""
        with self._lock:
            for place in range(len(self._ends), number + 1):
                self._items += decode(self._pieces[place], what)
                self._ends.append(len(self._items))
                self._pieces[place] = b""
            items = self._items[: self._ends[number]]
        return copied(items)


class Place(NamedTuple):
    """The list that ends there."""

    roll: Roll
    number: int

    def look(self, _data: bytes, what: str) -> Any:
        """The value."""
        return self.roll.upto(self.number, what)


def appended(base: bytes, value: bytes) -> bytes | None:
    """The list of what was put behind the items of a list; None if it is another change."""
    at = len(base) - 1
    # A JSON text that begins and ends so is a list, and its last bracket is the outer one.
    lists = base[:1] == b"[" and base[-1:] == b"]" and value[at : at + 1] == b","
    if not lists or not value.startswith(base[:at]):
        return None
    return b"[" + value[at + 1 :]
