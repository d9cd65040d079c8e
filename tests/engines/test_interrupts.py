"""KeyboardInterrupt in the middle of a sync call: the store is as good as before.

In processes of their own, because what is interrupted is a main thread.
"""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from fcntl import LOCK_EX, LOCK_NB, flock
from functools import partial
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import apsw

import perdure
from perdure import NewEvent, SessionKey
from perdure.engines.sqlite_checkpointer import Checkpointer
from tests.engines.patience import begun, in_time, outcome
from tests.engines.processes import in_a_process

KEY = SessionKey("app", "user", "chat")


class Interrupts:
    """KeyboardInterrupt in the main thread at a moment of our choice."""

    def __init__(self) -> None:
        self._came = False
        signal.signal(signal.SIGALRM, self._raise)

    def _raise(self, *_: object) -> None:
        self._came = True
        raise KeyboardInterrupt

    def call(self, function: Callable[[], Any], seconds: float) -> Any:
        """The result of the call, or None if it was interrupted."""
        self._came = False
        result = None
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            result = function()
            while not self._came:
                pass
        except KeyboardInterrupt:
            pass
        return result


def may_enter(path: str) -> bool:
    """Whether a writer of another process would find the turnstile open."""
    with open(f"{path}-turn") as turn, open(f"{path}-write") as write:
        try:
            flock(turn, LOCK_EX | LOCK_NB)
            flock(write, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return False
        return True


def may_enter_soon(path: str) -> bool:
    deadline = time.monotonic() + 5
    while not may_enter(path):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


class Seen(NamedTuple):
    told: list[str]
    stored: list[str]
    seqs: list[int]
    held_up: int


def interrupt_writes(path: str, count: int) -> Seen:
    """Interrupt appends; after each tenth another thread appends, with the same store."""
    chance = random.Random(11)
    interrupts = Interrupts()
    told: list[str] = []
    waited = held_up = 0
    store = perdure.open_sync(f"sqlite:///{path}", durability="normal")
    store.sessions.create(*KEY)
    for number in range(count):
        event = NewEvent("x", id=f"event {number}")
        append = partial(store.events.append, KEY, event)
        done = interrupts.call(append, 1e-6 + chance.random() * 2e-4)
        if done is not None:
            told.append(event.id or "")
        if waited < 3 and not may_enter(path):
            # It may take a moment to notice, but not until the next write here.
            waited += 1
            held_up += not may_enter_soon(path)
        if number % 10 == 0:
            after = NewEvent("after", id=f"after {number}")
            told.append(in_time(store.events.append, KEY, after).event.id)
    events = in_time(store.events.read, KEY)
    in_time(store.close)
    return Seen(told, [event.id for event in events], [event.seq for event in events], held_up)


def test_an_interrupted_append_leaves_the_store_usable_for_other_threads(tmp_path: Path) -> None:
    seen = in_a_process(interrupt_writes, f"{tmp_path}/store.db", 3000, seconds=40)

    assert seen.seqs == list(range(1, len(seen.stored) + 1))
    assert set(seen.told) <= set(seen.stored)
    assert seen.held_up == 0


def interrupt_reads(path: str, count: int) -> int:
    chance = random.Random(12)
    interrupts = Interrupts()
    store = perdure.open_sync(f"sqlite:///{path}", durability="normal")
    store.sessions.create(*KEY)
    for _ in range(20):
        store.events.append(KEY, "x")
    interrupted = 0
    for _ in range(count):
        seconds = 1e-6 + chance.random() * 6e-4
        interrupted += interrupts.call(lambda: store.events.read(KEY), seconds) is None
    # As many at once as there are connections, and more.
    readers = [begun(store.events.count, KEY) for _ in range(8)]
    assert [outcome(reader) for reader in readers] == [20] * 8
    in_time(store.close)
    return interrupted


def test_interrupted_reads_use_up_no_connection(tmp_path: Path) -> None:
    interrupted = in_a_process(interrupt_reads, f"{tmp_path}/store.db", 3000, seconds=40)

    assert 0 < interrupted < 3000


def interrupt_waiting(path: str, count: int) -> list[int]:
    """Interrupt appends that wait while other threads write."""
    interrupts = Interrupts()
    store = perdure.open_sync(f"sqlite:///{path}", durability="normal")
    store.sessions.create(*KEY)
    over = threading.Event()

    def flood() -> None:
        while not over.is_set():
            store.events.append(KEY, "flood")

    floods = [begun(flood) for _ in range(4)]
    for _ in range(count):
        interrupts.call(lambda: store.events.append(KEY, "x"), 1e-3)
    over.set()
    for one in floods:
        outcome(one)
    in_time(store.events.append, KEY, "on it goes")
    events = in_time(store.events.read, KEY)
    in_time(store.close)
    return [event.seq for event in events]


def test_an_interrupt_while_a_call_waits_for_its_turn_leaves_the_store_usable(
    tmp_path: Path,
) -> None:
    seqs = in_a_process(interrupt_waiting, f"{tmp_path}/store.db", 300)

    assert seqs == list(range(1, len(seqs) + 1))


def interrupted(call: Callable[[], object], step: int) -> bool:
    """Whether the call has so many steps of Python; it is interrupted at that one.

    A signal comes at fewer points: never between leaving a `with` and giving back its lock.
    """
    left = step

    def trace(_frame: FrameType, _event: str, _arg: object) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


def test_an_interrupt_at_no_step_of_a_commit_keeps_the_next_from_waking_the_checkpointer() -> None:
    for step in count(1):
        checkpointer = Checkpointer(
            lambda: apsw.Connection(":memory:"), threading.Lock(), lambda: None
        )
        commit = partial(checkpointer.after_commit, apsw.Connection(":memory:"), "main", 5_000)
        came = interrupted(commit, step)
        in_time(commit, seconds=5)
        in_time(checkpointer.close, seconds=5)
        if not came:
            return
