"""What a process remembers of what is stored, within bounds: no more than a help."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

#: A guess at what an entry costs beside its bytes.
_OVERHEAD = 250
MIB = 2**20
_LOOKS = 16 * MIB


class Cache:
    """Things by key, those that were not asked for longest forgotten first. For any thread.

    What is found here may be out of date, or of a transaction that was never committed: who
    relies on it has the store confirm it.
    """

    def __init__(self, most: int = 32 * MIB) -> None:
        self._most = most
        self._size = 0
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def of_looks(cls) -> Cache:
        """For what is decoded of what others remember: by itself, so as not to push that out."""
        return cls(_LOOKS)

    def get(self, key: Hashable) -> Any:
        """What is remembered under that key, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Remember it; ``size`` in bytes."""
        size += _OVERHEAD
        with self._lock:
            before = self._entries.pop(key, None)
            if before is not None:
                self._size -= before[1]
            if size > self._most:
                return
            self._entries[key] = (value, size)
            self._size += size
            while self._size > self._most:
                _, (_, freed) = self._entries.popitem(last=False)
                self._size -= freed

    def claim(self, key: Hashable, value: Any) -> Any:
        """What is remembered under that key; this, from now on, if there was nothing."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
                return entry[0]
        self.put(key, value, 0)
        return value

    def forget(self, key: Hashable) -> None:
        """Remember it no more."""
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is not None:
                self._size -= entry[1]

    @property
    def size(self) -> int:
        """How many bytes are remembered."""
        return self._size
