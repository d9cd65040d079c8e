"""A disk that becomes full under a store, and is made free again."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from perdure import NewEvent, PerdureError, SessionKey, SyncStore

KEY = SessionKey("app", "user", "chat")


class Filled(NamedTuple):
    """What a store said on a disk that became full, and was made free again."""

    told: list[str]
    errors: list[str]
    read_while_full: list[str]
    stored: list[str]


def fill(store: SyncStore, free: Callable[[], None]) -> Filled:
    """Append until it is refused, some more, make room, go on."""
    told: list[str] = []
    errors: list[str] = []

    def append(name: str, size: int) -> bool:
        try:
            store.events.append(KEY, NewEvent("x" * size, id=name))
        except PerdureError as error:
            errors.append(type(error).__name__)
            return False
        told.append(name)
        return True

    number = 0
    while append(f"event {number}", 30_000) and number < 500:
        number += 1
    for more in range(5):
        append(f"another {more}", 30_000)
    read_while_full = [str(event.id) for event in store.events.read(KEY)]
    free()
    # The very same call, on the very same store.
    assert append(f"event {number}", 30_000)
    assert append("the last", 1)
    return Filled(told, errors, read_while_full, [str(e.id) for e in store.events.read(KEY)])
