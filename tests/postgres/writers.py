"""Threads that write each in its way to one store, and the check of what they were told.

Whatever is done to the server meanwhile, no error is expected but `UnknownOutcomeError`, and
what was acknowledged is stored once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import perdure
from perdure import BusyError, NewEvent, PerdureError, SessionKey, SyncStore, UserScope
from perdure.errors import UnknownOutcomeError


class Writer:
    """One kind of write, again and again; each of a round has a session of its own."""

    kind: ClassVar[str]

    def __init__(self, store: SyncStore, name: str) -> None:
        self.store = store
        self.name = name
        self.key = SessionKey("app", f"{self.kind} {name}", self.kind)
        self.acknowledged: list[str] = []
        self.unsure: list[str] = []
        self.wrong: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.prepare()
        self._thread.start()

    def prepare(self) -> None:
        self.store.sessions.create(*self.key)

    def write(self, name: str) -> None:
        raise NotImplementedError

    def settle(self, name: str) -> None:
        """See what became of a write that nobody knows the outcome of."""

    def faults(self, store: SyncStore) -> Iterator[str]:
        """What is not as it was told."""
        raise NotImplementedError

    def _work(self) -> None:
        number = 0
        while not self._stop.is_set():
            name = f"{self.kind} {self.name} {number}"
            number += 1
            try:
                self.write(name)
                self.acknowledged.append(name)
            except UnknownOutcomeError:
                self.unsure.append(name)
                self._settle(name)
            except BaseException as error:  # noqa: BLE001 - told by the check
                self.wrong.append(f"{name}: {error!r}")
                return

    def _settle(self, name: str) -> None:
        """See to it, once the server is there to be asked."""
        while True:
            try:
                self.settle(name)
            except (BusyError, UnknownOutcomeError):
                time.sleep(0.05)
            else:
                return

    def goes_on(self, seconds: float) -> float:
        """How long until something more is acknowledged; infinite if not in that time."""
        before, begun = len(self.acknowledged), time.monotonic()
        while time.monotonic() - begun < seconds:
            if len(self.acknowledged) > before:
                return time.monotonic() - begun
            if self.wrong:
                break
            time.sleep(0.005)
        return float("inf")

    def stop(self, seconds: float = 20) -> None:
        self._stop.set()
        self._thread.join(seconds)
        if self._thread.is_alive():
            self.wrong.append(f"{self.kind} {self.name} hangs")

    def compared(self, stored: list[str], what: str = "") -> Iterator[str]:
        """Every name that was acknowledged once, no name twice, and no name of nobody's."""
        told = set(self.acknowledged)
        yield from (f"lost{what}: {name}" for name in sorted(told - set(stored)))
        if len(stored) != len(set(stored)):
            yield f"doubled{what}: {sorted(stored)}"
        yield from (f"not told{what}: {one}" for one in set(stored) - told - set(self.unsure))

    def session_faults(self, store: SyncStore, key: SessionKey) -> Iterator[str]:
        """Seqs without a gap, counters that agree, and the state that the deltas make."""
        events, session = store.events.read(key, all_lines=True), store.sessions.get(key)
        if [event.seq for event in events] != list(range(1, len(events) + 1)):
            yield f"{key}: seqs {[event.seq for event in events]}"
        if (session.last_seq, session.version - 1) != (len(events),) * 2:
            yield f"{key}: {len(events)} events, and {session}"
        state: dict[str, Any] = {}
        for event in events:
            state |= event.state_delta or {}
        if {entry.name: entry.value for entry in store.state.list(key, limit=500)} != state:
            yield f"{key}: the state is not what its deltas make"


class Plain(Writer):
    """Appends without an id; also with the user's state, which goes another way."""

    kind = "plain"

    def write(self, name: str) -> None:
        shared = {f"user:{name[-1]}": name} if hash(name) % 4 == 0 else None
        self.store.events.append(self.key, NewEvent(name, author="user", state_delta=shared))

    def faults(self, store: SyncStore) -> Iterator[str]:
        yield from self.compared([e.text for e in store.events.read(self.key, all_lines=True)])


class Named(Writer):
    """Appends with an id, and state."""

    kind = "named"

    def write(self, name: str) -> None:
        delta = {"last": name, f"slot {len(self.acknowledged) % 5}": name}
        self.store.events.append(self.key, NewEvent(name, id=name, state_delta=delta))

    def faults(self, store: SyncStore) -> Iterator[str]:
        yield from self.compared([e.id for e in store.events.read(self.key, all_lines=True)])
        yield from self.session_faults(store, self.key)


class Turns(Writer):
    """Turns: an event in each of two sessions, none with an id, and the user's state."""

    kind = "turn"

    def prepare(self) -> None:
        self.other = self.key._replace(id="turn, the other half")
        self.store.sessions.create(*self.key)
        self.store.sessions.create(*self.other)

    def write(self, name: str) -> None:
        with self.store.turn() as turn:
            turn.events.append(self.key, NewEvent(name, state_delta={name[-1]: name}))
            turn.events.append(self.other, NewEvent(name, state_delta={"last": name}))
            turn.state.set(UserScope(self.key.app, self.key.user), {"turn": name})

    def faults(self, store: SyncStore) -> Iterator[str]:
        one = [event.text for event in store.events.read(self.key)]
        two = [event.text for event in store.events.read(self.other)]
        yield from self.compared(one)
        if one != two:
            yield f"turns by halves: {set(one) ^ set(two)}"
        entry = store.state.find(UserScope(self.key.app, self.key.user), "turn")
        if one and (entry is None or (entry.value, entry.version) != (one[-1], len(one))):
            yield f"{len(one)} turns, the last is {one[-1]}, but the state is {entry}"
        for key in (self.key, self.other):
            yield from self.session_faults(store, key)


class Pops(Writer):
    """Puts an event behind the first one, and takes it off again."""

    kind = "pop"

    def prepare(self) -> None:
        super().prepare()
        self.store.events.append(self.key, "the first")

    def write(self, name: str) -> None:
        self.store.events.append(self.key, NewEvent(name, id=name))
        popped = [event.id for event in self.store.events.pop(self.key)]
        if popped != [name]:
            self.wrong.append(f"popped {popped}, and not {name}")

    def settle(self, name: str) -> None:
        if [event.id for event in self.store.events.read(self.key)][1:] == [name]:
            self.store.events.pop(self.key)

    def faults(self, store: SyncStore) -> Iterator[str]:
        left = [event.text for event in store.events.read(self.key)]
        if left != ["the first"]:
            yield f"after as many pops as appends there are {left}"
        yield from self.compared(
            [event.id for event in store.events.read(self.key, all_lines=True)][1:]
        )


class Creates(Writer):
    """Creates sessions."""

    kind = "create"

    def write(self, name: str) -> None:
        made = self.store.sessions.create(self.key.app, self.key.user, name, state={"x": name})
        assert made.key.id == name

    def faults(self, store: SyncStore) -> Iterator[str]:
        keys = [session.key for session in store.sessions.iter(self.key.app, self.key.user)]
        yield from self.compared([key.id for key in keys if key != self.key])
        for key in keys:
            if key != self.key and store.state.merged(key) != {"x": key.id}:
                yield f"{key} has not its state"


class Counts(Writer):
    """Counts in the user's state, by the version it must have."""

    kind = "count"
    version = 0

    def prepare(self) -> None:
        super().prepare()
        self.scope = UserScope(self.key.app, self.key.user)

    def write(self, name: str) -> None:
        expected = {"count": self.version}
        self.store.state.set(self.scope, {"count": name}, expected_versions=expected)
        self.version += 1

    def settle(self, _: str) -> None:
        entry = self.store.state.find(self.scope, "count")
        self.version = entry.version if entry else 0

    def faults(self, store: SyncStore) -> Iterator[str]:
        entry = store.state.find(self.scope, "count")
        stored = (entry.version, entry.value) if entry else (0, None)
        if not self.unsure and stored != (len(self.acknowledged), self.acknowledged[-1]):
            yield f"counted to {len(self.acknowledged)}, but stored is {stored}"


KINDS: list[type[Writer]] = [Plain, Named, Turns, Pops, Creates, Counts]


def started(store: SyncStore, name: str) -> list[Writer]:
    """One of each kind, each of which has been told of something."""
    writers = [kind(store, name) for kind in KINDS]
    for writer in writers:
        assert writer.goes_on(10) < 10, writer.wrong
    return writers


def wrong_with(url: str, writers: list[Writer]) -> list[str]:
    """All that is not as it was told, read by another store."""
    found = [text for writer in writers for text in writer.wrong]
    with perdure.open_sync(url) as store:
        for writer in writers:
            try:
                found += writer.faults(store)
            except PerdureError as error:
                found.append(f"lost: {error}")
    return found
