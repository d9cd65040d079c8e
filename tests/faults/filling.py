"""A disk that becomes full under a store, and is made free again."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from typing import Any, NamedTuple

import perdure
from perdure import NewEvent, PerdureError, SessionKey, SyncStore

KEY = SessionKey("app", "user", "chat")


class Filled(NamedTuple):
    """What a store said on a disk that became full, and was made free again."""

    told: list[str]
    errors: list[str]
    read_while_full: list[str]
    stored: list[str]


def made(url: str, count: int = 3) -> str:
    """The URL, of a store that was closed, with so many events."""
    with perdure.open_sync(url) as store:
        store.sessions.create(*KEY)
        if count:
            events = [NewEvent(f"text {n}", id=f"event {n}") for n in range(count)]
            store.events.append(KEY, *events)
    return url


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


def fill_with_tasks(url: str, free: Callable[[], None]) -> tuple[list[str], list[str]]:
    """Batches that do not fit, then room and one more: who was told what."""

    async def work() -> tuple[list[str], list[str]]:
        told: list[str] = []
        errors: list[str] = []
        async with perdure.open(url) as store:
            for start in range(0, 300, 10):
                names = [f"event {number}" for number in range(start, start + 10)]
                calls = [store.events.append(KEY, NewEvent("x" * 30_000, id=n)) for n in names]
                results: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
                errors += [type(one).__name__ for one in results if isinstance(one, Exception)]
                told += [one.event.id for one in results if not isinstance(one, Exception)]
                if len(errors) > 30:
                    break
            free()
            told.append((await store.events.append(KEY, NewEvent("x", id="the last"))).event.id)
        return told, errors

    return asyncio.run(work())


def fill_a_limited_file(url: str, size: int) -> Filled:
    """Fill a store none of whose files may grow larger than that; it is made before."""

    def limit(most: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

    made(url, 0)
    with perdure.open_sync(url) as store:
        limit(size)
        return fill(store, lambda: limit(resource.RLIM_INFINITY))


def check_filled(filled: Filled, stored_in_the_end: list[str], *, refused: int) -> None:
    """It refused so often, or more, always with the same error, and has what it told."""
    assert set(filled.errors) == {"StorageFullError"}
    assert len(filled.errors) >= refused
    assert filled.told == filled.stored == stored_in_the_end
    assert filled.read_while_full == filled.told[: len(filled.read_while_full)]
    assert filled.told[-1] == "the last"
