"""A writer that tells through a pipe what was acknowledged, and the check of what is stored.

It appends to one session, and every third time it stores a turn: an event in each of two
sessions and a key of the user's state. Each change names itself.
"""

from __future__ import annotations

import asyncio
import gc
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apsw

import perdure
from perdure import Event, NewEvent, PerdureError, SessionKey, SyncStore, UserScope

ONE = SessionKey("app", "user", "one")
TWO = SessionKey("app", "user", "two")
USER = UserScope("app", "user")
TASKS = 8


def make(url: str) -> None:
    """The store with its two sessions."""
    with perdure.open_sync(url) as store:
        store.sessions.create(*ONE)
        store.sessions.create(*TWO)


Tell = Callable[[str], None]
Work = Callable[[str, str, Tell, str], None]
"""Writes to a URL, with a name for its changes, a way to tell of each, and a durability."""


class Writer:
    """A forked process that writes until it is killed, or cannot write any more."""

    def __init__(self, url: str, name: str, work: Work, durability: str = "full") -> None:
        self._told = b""
        self._out, into = os.pipe()
        # What is there is not looked through, and so not copied, in the child.
        gc.freeze()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._out)
            try:
                work(url, name, lambda told: _tell(into, told), durability)
            except BaseException as error:  # noqa: BLE001 - told, and the child must not return
                if not isinstance(error, PerdureError):
                    _tell(into, f"!{type(error).__name__}")
            finally:
                os._exit(0)
        os.close(into)

    def wait_for_the_first(self, seconds: float = 20) -> None:
        """Until something was acknowledged, or the writer is gone."""
        select.select([self._out], [], [], seconds)

    def heard(self) -> list[str]:
        """The names of what has been acknowledged up to now."""
        while select.select([self._out], [], [], 0)[0] and self._read():
            pass
        return self._told.decode().split()

    def _read(self) -> bytes:
        read = os.read(self._out, 65536)
        self._told += read
        return read

    def kill(self) -> list[str]:
        """Kill -9; what was told before: the names of what was acknowledged, and `errors_in` it."""
        os.kill(self.pid, signal.SIGKILL)
        while self._read():
            pass
        os.close(self._out)
        os.waitpid(self.pid, 0)
        return self._told.decode().split()


def errors_in(told: Iterable[str]) -> list[str]:
    """Those that ended a writer and are none of ours."""
    return [name for name in told if name.startswith("!")]


def _tell(into: int, name: str) -> None:
    os.write(into, f"{name}\n".encode())


def one_by_one(url: str, name: str, tell: Tell, durability: str) -> None:
    """One caller: events, every third time a turn."""
    store = perdure.open_sync(url, durability=durability)
    for number in range(1_000_000):
        tell(write(store, f"{name}.{number}"))


def reopening(url: str, name: str, tell: Tell, durability: str) -> None:
    """The same, with a store of its own for each of them."""
    for number in range(1_000_000):
        with perdure.open_sync(url, durability=durability) as store:
            tell(write(store, f"{name}.{number}"))


def write(store: SyncStore, name: str) -> str:
    """An event, or a turn if its number says so."""
    event = _event(name)
    if _is_turn(name):
        with store.turn() as turn:
            _fill(turn, event)
    else:
        store.events.append(ONE, event)
    return name


def as_tasks(url: str, name: str, tell: Tell, durability: str) -> None:
    """Many callers at once, whose writes share their syncs."""

    async def work(store: perdure.Store, task: int) -> None:
        for number in range(1_000_000):
            event = _event(f"{name}.{task}.{number}")
            if _is_turn(str(event.id)):
                async with store.turn() as turn:
                    _fill(turn, event)
            else:
                await store.events.append(ONE, event)
            tell(f"{event.id}")

    async def many() -> None:
        store = await perdure.open(url, durability=durability)
        await asyncio.gather(*[work(store, task) for task in range(TASKS)])

    asyncio.run(many())


def _event(name: str) -> NewEvent:
    delta = {"last": name, f"slot {number_of(name) % 5}": name}
    return NewEvent({"role": "user", "content": name}, id=name, state_delta=delta)


def number_of(name: str) -> int:
    """Which of its writer's changes that is."""
    return int(name.rpartition(".")[2])


def _is_turn(name: str) -> bool:
    return number_of(name) % 3 == 0


def _fill(turn: Any, event: NewEvent) -> None:
    turn.events.append(ONE, event)
    turn.events.append(TWO, event)
    turn.state.set(USER, {"turn": event.id})


# -- the check -------------------------------------------------------------------------------


def look(url: str) -> tuple[set[str], list[str]]:
    """The names of all that is stored, and what is wrong with it."""
    connection = apsw.Connection(url.removeprefix("sqlite:///"))
    checked = [str(text) for (text,) in connection.execute("PRAGMA integrity_check")]
    wrong = [text for text in checked if text != "ok"]
    connection.close()
    with perdure.open_sync(url) as store:
        names, found = stored(store)
    return names, wrong + found


def stored(store: SyncStore) -> tuple[set[str], list[str]]:
    """The same of a store that is open, whatever holds it."""
    one = store.events.read(ONE, all_lines=True)
    two = store.events.read(TWO, all_lines=True)
    wrong = [*_session_faults(store, ONE, one), *_session_faults(store, TWO, two)]
    wrong += _turn_faults(store, one, two)
    return {event.id for event in one}, wrong


def _session_faults(store: SyncStore, key: SessionKey, events: list[Event]) -> Iterator[str]:
    seqs = [event.seq for event in events]
    if seqs != list(range(1, len(events) + 1)):
        yield f"{key.id}: the seqs are {seqs}"
    session = store.sessions.get(key)
    numbers = (session.event_count, session.last_seq, session.head_seq, session.version - 1)
    if numbers != (len(events),) * 4:
        yield f"{key.id}: {len(events)} events, but the session says {numbers}"
    state: dict[str, Any] = {}
    for event in events:
        state |= event.state_delta or {}
    merged = {k: v for k, v in store.state.merged(key).items() if not k.startswith("user:")}
    if merged != state:
        yield f"{key.id}: the state is {merged}, its deltas make {state}"
    if store.state.at(key, len(events)) != state:
        yield f"{key.id}: the state as of the end is not the state"


def _turn_faults(store: SyncStore, one: list[Event], two: list[Event]) -> Iterator[str]:
    turns = [event.id for event in one if _is_turn(event.id)]
    if turns != [event.id for event in two]:
        yield f"turns by halves: {set(turns) ^ {event.id for event in two}}"
    entry = store.state.find(USER, "turn")
    if (entry.value if entry else None) != (turns[-1] if turns else None):
        yield f"the user's state is {entry}, the last turn {turns[-1:]}"


def sleep_until(moment: float) -> None:
    """Wait to within some microseconds."""
    while (left := moment - time.monotonic()) > 0:
        time.sleep(left if left > 0.001 else 0)
