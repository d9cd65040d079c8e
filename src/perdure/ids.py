"""Client-made ids: UUIDs of version 7 that never go backwards within a process."""

from __future__ import annotations

import os
import random
import threading
import time

_RANDOM_BITS = 62

# Not the shared generator of the module: a program that seeds that one would get the same ids
# in every process. A third of the cost of asking the system each time.
_random = random.Random()  # noqa: S311 - ids are to be unique, not secret
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


class UuidV7:
    """Makes UUIDv7 texts (RFC 9562): 48 bits of milliseconds, 12 of a counter, 62 random.

    Sorted as text they stand in the order they were made in, also within one millisecond and
    when the clock is set back. Safe from any thread and after a fork.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def __call__(self) -> str:
        """A new id, 36 characters."""
        now = (time.time_ns() // 1_000_000) << 12
        with self._lock:
            self._last = tick = max(now, self._last + 1)
        random_bits = _random.getrandbits(_RANDOM_BITS)
        number = (tick >> 12) << 80 | 7 << 76 | (tick & 0xFFF) << 64 | 2 << 62 | random_bits
        text = f"{number:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
