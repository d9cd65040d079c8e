"""Values as they are decoded: of a list that has grown, only what it has grown by.

The messages of a conversation are such a list, step by step. Its items are decoded once, and
copied for each who reads them, which takes a third of the time. That is done only where nobody
can tell: for LangGraph's serializer as it comes, and for lists of plain data. Of what becomes an
object each reader gets one that was decoded for him.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Hashable
from typing import Any, NoReturn

import msgspec
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from perdure.errors import CorruptError
from perdure.operation import Cache
from perdure.records import Opaque

_CODEC = "msgpack"
#: How many bytes are kept for each of a list, roughly: its own ones, twice, and its items.
_WEIGHT = 4
_HOLDERS = frozenset({dict, list})
#: The bytes before the number of a list's items, by how many bytes that number has.
_SHORT, _MIDDLE, _LONG = 0x90, 0xDC, 0xDD
#: Nobody can have put it behind a list: where it is decoded, all before it was.
_END = uuid.uuid4().hex
_PACKED_END = b"\xd9" + bytes([len(_END)]) + _END.encode()


def typed(value: Any, *what: Any) -> tuple[str, bytes]:
    """The value as serializers take it; `CorruptError` if none of them has written it."""
    if not isinstance(value, Opaque):
        raise CorruptError(f"{what[0].format(*what[1:])} was not put by LangGraph: it is JSON")
    return value.codec, value.data


def unpacked(serde: Any, value: Any, *what: Any) -> Any:
    """The value again; `CorruptError` if no serializer has written it."""
    return serde.loads_typed(typed(value, *what))


def recalled(serde: Any, memory: Cache, of: Hashable, value: tuple[str, bytes]) -> Any:
    """The next value of a channel, by what is remembered of those before."""
    codec, data = value
    if codec == _CODEC and _is_stock(serde):
        grown = memory.get(of) or Grown()
        items = grown.look(data)
        memory.put(of, grown, grown.weight)
        if items is not None:
            return items
    return serde.loads_typed(value)


def _is_stock(serde: Any) -> bool:
    return type(serde) is JsonPlusSerializer and "loads_typed" not in vars(serde)


class Grown:
    """A list that most often begins with all that was in it before. For any thread."""

    __slots__ = ("_data", "_flat", "_items", "_known", "_lock", "_looked", "_refused")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refused = False
        self._forget()

    def _forget(self) -> None:
        self._looked = False
        self._data = b""
        #: The same bytes; their head is that of what they are compared with.
        self._known = bytearray()
        #: Grows, and nothing in it is ever changed.
        self._items: list[Any] = []
        self._flat = True

    @property
    def weight(self) -> int:
        """How many bytes are kept, roughly."""
        return _WEIGHT * len(self._known)

    def look(self, data: bytes) -> list[Any] | None:
        """The list of these bytes, as the caller's own; None if they are to be decoded whole."""
        with self._lock:
            if self._refused or not (data is self._data or self._follow(data)):
                return None
            items, flat = self._items[:], self._flat
        try:
            return list(map(dict.copy, items)) if flat else _copied(items)
        except RecursionError:
            # A value may be deeper than that.
            return None

    def _follow(self, data: bytes) -> bool:
        """Take over these bytes; whether they are now what is kept."""
        head, count = _head(data)
        # Only the number of items is another one, if the list has grown.
        self._known[: _head(self._known)[0]] = data[:head]
        grown = count >= len(self._items) and data.startswith(self._known)
        if not (grown and self._looked):
            self._forget()
            # Most are looked at once: then there is nothing to copy, and nothing to keep.
            self._looked = True
            return False
        start = len(self._known) or head
        items = _items(data[start:], count - len(self._items)) if head else None
        if items is None:
            self._forget()
            self._refused = True
            return False
        self._items += items
        self._flat = self._flat and all(map(_is_flat, items))
        self._known += data[len(self._known) :]
        self._data = data
        return True


def _head(data: bytes | bytearray) -> tuple[int, int]:
    """How long the head of a list is, and how many items follow; 0 if it is no list."""
    first = data[0] if data else 0
    if first & 0xF0 == _SHORT:
        return 1, first & 0x0F
    length = {_MIDDLE: 3, _LONG: 5}.get(first, 0)
    return length, int.from_bytes(data[1:length], "big")


def _refuse(_code: int, _data: bytes) -> NoReturn:
    raise ValueError("no plain data")


_PLAIN = JsonPlusSerializer(__unpack_ext_hook__=_refuse)


def _items(piece: bytes, count: int) -> list[Any] | None:
    """The items, if these bytes are so many of plain data and nothing else."""
    if count > len(piece):
        return None
    head = bytes([_LONG]) + (count + 1).to_bytes(4, "big")
    try:
        items: list[Any] = _PLAIN.loads_typed((_CODEC, head + piece + _PACKED_END))
    except ValueError:
        return None
    return items if items.pop() == _END else None


def _is_flat(item: Any) -> bool:
    """Whether a copy of it shares nothing with it that can be changed."""
    return type(item) is dict and _HOLDERS.isdisjoint(map(type, item.values()))


def _copied(items: list[Any]) -> list[Any]:
    copy: list[Any] = msgspec.to_builtins(items, builtin_types=(bytes,))
    return copy
