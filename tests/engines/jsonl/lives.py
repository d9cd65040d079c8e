"""Writers that are killed: what they told of through a pipe has to be there.

Every change names itself, so that what is found can be held against what was told: appends to
two sessions, turns over both and the state of the user, sessions that are made and purged.
"""

from __future__ import annotations

import gc
import os
import random
import select
import signal
from collections.abc import Callable
from typing import Any

import perdure
from perdure import NewEvent, PerdureError, SessionKey, Store, SyncStore, UserScope
from perdure.engines.jsonl import directory as directories
from tests.engines.plans import doing, engine_of, sql

ONE = SessionKey("app", "user", "one")
TWO = SessionKey("app", "user", "two")
USER = UserScope("app", "user")
TASKS = 8


def make(url: str) -> None:
    """The store with its two sessions."""
    with perdure.open_sync(url) as store:
        store.sessions.create(*ONE)
        store.sessions.create(*TWO)


class Writer:
    """A forked process that writes until it is killed; ``work`` is how it does it."""

    def __init__(self, url: str, name: str, work: Work, durability: str = "full") -> None:
        self._told = b""
        self._out, into = os.pipe()
        gc.freeze()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._out)
            try:
                work(url, name, lambda told: tell(into, told), durability)
            except BaseException as error:  # noqa: BLE001 - told, and the child must not return
                if not isinstance(error, PerdureError):
                    tell(into, f"!{type(error).__name__}")
            finally:
                os._exit(0)
        os.close(into)

    def wait_for_the_first(self, seconds: float = 20) -> None:
        """Until something was acknowledged, or the writer is gone."""
        select.select([self._out], [], [], seconds)

    def heard(self) -> list[str]:
        """What has been acknowledged up to now."""
        while select.select([self._out], [], [], 0)[0] and self._read():
            pass
        return self._told.decode().split()

    def _read(self) -> bytes:
        read = os.read(self._out, 65536)
        self._told += read
        return read

    def kill(self) -> list[str]:
        """Kill -9; what was acknowledged before."""
        os.kill(self.pid, signal.SIGKILL)
        while self._read():
            pass
        os.close(self._out)
        os.waitpid(self.pid, 0)
        return self._told.decode().split()


def tell(into: int, name: str) -> None:
    """Through the pipe, in one piece."""
    os.write(into, f"{name}\n".encode())


Tell = Callable[[str], None]
Work = Callable[[str, str, Tell, str], None]


def append_and_turn(url: str, name: str, tell: Tell, durability: str) -> None:
    """One caller: events, every third time a turn."""
    store = perdure.open_sync(url, durability=durability)
    for number in range(1_000_000):
        write(store, f"{name}.{number}")
        tell(f"{name}.{number}")


def write(store: SyncStore, name: str) -> None:
    """An event, or a turn if its number says so."""
    event = event_of(name)
    if is_turn(name):
        with store.turn() as turn:
            fill(turn, event)
    else:
        store.events.append(ONE, event)


def as_tasks(url: str, name: str, tell: Tell, durability: str) -> None:
    """Many callers at once, whose writes share their syncs."""
    import asyncio  # noqa: PLC0415 - in the child alone

    async def work(store: Store, task: int) -> None:
        for number in range(1_000_000):
            event = event_of(f"{name}.{task}.{number}")
            if is_turn(str(event.id)):
                async with store.turn() as turn:
                    fill(turn, event)
            else:
                await store.events.append(ONE, event)
            tell(str(event.id))

    async def many() -> None:
        store = await perdure.open(url, durability=durability)
        await asyncio.gather(*[work(store, task) for task in range(TASKS)])

    asyncio.run(many())


def fold_all_the_time(url: str, name: str, tell: Tell, durability: str) -> None:
    """The journal begins anew after every few writes."""
    directories._FOLD_BYTES = 4000
    append_and_turn(url, name, tell, durability)


def compact_all_the_time(url: str, name: str, tell: Tell, durability: str) -> None:
    """Sessions come and go, and what they leave is written anew."""
    store = perdure.open_sync(url, durability=durability)
    for number in range(1_000_000):
        write(store, f"{name}.{number}")
        tell(f"{name}.{number}")
        gone = SessionKey("app", "user", f"brief-{name}-{number}")
        store.sessions.create(*gone)
        store.events.append(gone, "soon gone")
        store.kv.set("brief", gone.id, {"v": 1})
        tell(f"+{gone.id}")
        store.sessions.purge(gone)
        store.kv.delete("brief", gone.id)
        tell(f"-{gone.id}")
        if number % 2:
            store._engine.settle(True)  # type: ignore[attr-defined]


def change_the_schema(url: str, name: str, tell: Tell, durability: str) -> None:
    """Every few writes another table is made, and so every file written anew."""
    store = perdure.open_sync(url, durability=durability)
    for number in range(1_000_000):
        write(store, f"{name}.{number}")
        tell(f"{name}.{number}")
        if number % 3 == 2:
            table = f"extra_{name}_{number}"
            columns = "part TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (part, name)"
            make = doing(
                sql(f"CREATE TABLE {table} ({columns})"),
                sql(f"INSERT INTO {table} (part, name) VALUES ('a', 'b')"),
            )
            engine_of(store).run(make)
            tell(f"={table}")


def event_of(name: str) -> NewEvent:
    """An event that names itself, in its state too."""
    delta = {"last": name, f"slot {random.Random(name).randrange(5)}": name}
    return NewEvent({"role": "user", "content": name}, id=name, state_delta=delta)


def is_turn(name: str) -> bool:
    """Whether it is a turn."""
    return int(name.rpartition(".")[2]) % 3 == 0


def fill(turn: Any, event: NewEvent) -> None:
    """An event in each session, and the state of the user."""
    turn.events.append(ONE, event)
    turn.events.append(TWO, event)
    turn.state.set(USER, {"turn": event.id})


# -- the check -------------------------------------------------------------------------------


def look(url: str) -> tuple[set[str], list[str]]:
    """The names of all that is stored, and what is wrong with it."""
    with perdure.open_sync(url) as store:
        one = store.events.read(ONE, all_lines=True)
        two = store.events.read(TWO, all_lines=True)
        wrong = []
        for key, events in ((ONE, one), (TWO, two)):
            session = store.sessions.get(key)
            numbers = (session.event_count, session.last_seq, session.version - 1)
            if numbers != (len(events),) * 3:
                wrong.append(f"{key.id}: {len(events)} events, the session says {numbers}")
            state: dict[str, Any] = {}
            for event in events:
                state |= event.state_delta or {}
            merged = store.state.merged(key)
            if {k: v for k, v in merged.items() if not k.startswith("user:")} != state:
                wrong.append(f"{key.id}: the state is {merged}, its deltas make {state}")
        turns = [event.id for event in one if is_turn(event.id)]
        if turns != [event.id for event in two]:
            wrong.append(f"turns by halves: {set(turns) ^ {event.id for event in two}}")
        entry = store.state.find(USER, "turn")
        if (entry.value if entry else None) != (turns[-1] if turns else None):
            wrong.append(f"the user's state is {entry}, the last turn {turns[-1:]}")
        brief = [one.key.id for one in store.sessions.list("app", "user") if "brief" in one.key.id]
        extra, found = _extra(store)
        wrong += found
    names = {str(event.id) for event in one} | {f"+{name}" for name in brief}
    return names | {f"={table}" for table in extra}, wrong


def _extra(store: SyncStore) -> tuple[list[str], list[str]]:
    """The tables that were made on the way, and what is wrong with their one row."""
    tables = "SELECT name FROM sqlite_master WHERE name LIKE 'extra%' AND type = 'table'"
    names = [str(name) for (name,) in engine_of(store).run(doing(sql(tables)))]
    wrong = []
    for name in names:
        rows = engine_of(store).run(doing(sql(f"SELECT part, name FROM {name}")))
        wrong += [] if rows == [("a", "b")] else [f"{name} has {rows}"]
    return names, wrong


def lost(before: set[str], told: list[str], stored: set[str]) -> list[str]:
    """What was acknowledged and is not there, or was removed and is."""
    events = [name for name in told if name[0] not in "+-!"]
    wrong = [f"lost: {name}" for name in ({*events} | before) - stored if name[0] not in "+-!"]
    gone = {f"+{name[1:]}" for name in told if name[0] == "-"}
    wrong += [f"risen: {name}" for name in gone & stored]
    return wrong + [name for name in told if name[0] == "!"]
