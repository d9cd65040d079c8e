"""What processes do with the run leases and the steps of one store, whatever engine it is on."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import IO, Any

import pytest

import perdure
from perdure import SessionKey
from tests.engines.processes import meet, python, side_by_side

KEY = SessionKey("app", "user", "chat")
LEASES = 150
STEPS = 100


def lease_again_and_again(url: str, folder: str, name: str) -> list[int]:
    """Take the lease many times; the fences. Fails if another process is inside as well."""
    fences = []
    inside = Path(folder, "inside")
    with perdure.open_sync(url, durability="normal") as store:
        meet()
        for _ in range(LEASES):
            with store.sessions.lease(KEY, name, on_busy="wait", timeout=60) as lease:
                # The file system says who is inside, and not the store.
                os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
                store.events.append(KEY, name, fence=lease.fence)
                inside.unlink()
                fences.append(lease.fence)
    return fences


def one_run_at_a_time(url: str, folder: Path) -> None:
    """Of two processes that want it 300 times, never both; and each fence is above the last."""
    names = ["one", "two"]
    fences = side_by_side(
        lease_again_and_again, [(url, str(folder), name) for name in names], seconds=180
    )

    for own in fences:
        assert own == sorted(set(own))
    assert len({fence for own in fences for fence in own}) == 2 * LEASES
    by_fence = sorted(
        (fence, name) for name, own in zip(names, fences, strict=True) for fence in own
    )
    with perdure.open_sync(url) as store:
        authors = [event.content for event in store.events.read(KEY)]
        assert store.sessions.find_lease(KEY) is None
    # What was written under a greater fence was written later.
    assert authors == [name for _, name in by_fence]


HOLDER = """
import sys, time, perdure
from datetime import timedelta
from perdure import SessionKey, StaleSessionError

with perdure.open_sync(sys.argv[1]) as store:
    key = SessionKey("app", "user", "chat")
    lease = store.sessions.lease(key, "first", ttl=timedelta(seconds=float(sys.argv[2])))
    print("held", flush=True)
    sys.stdin.readline()
    try:
        store.events.append(key, "from the first", fence=lease.fence)
        print("written", flush=True)
    except StaleSessionError as error:
        print("stale", flush=True)
    for _ in range(500):
        if lease.lost:
            break
        time.sleep(0.01)
    print("lost" if lease.lost else "kept", flush=True)
"""


def _line(stream: IO[bytes] | None) -> str:
    assert stream is not None
    return stream.readline().decode().strip()


def a_stopped_holder_is_refused_when_it_goes_on(url: str) -> None:
    """It sleeps beyond its time, another run takes over, and then it wakes up and writes."""
    with python(HOLDER, url, "1") as holder, perdure.open_sync(url) as store:
        assert _line(holder.stdout) == "held"
        os.kill(holder.pid, signal.SIGSTOP)
        with store.sessions.lease(KEY, "second", on_busy="wait", timeout=30) as lease:
            store.events.append(KEY, "from the second", fence=lease.fence)
            os.kill(holder.pid, signal.SIGCONT)
            assert holder.stdin is not None
            holder.stdin.write(b"go on\n")
            holder.stdin.flush()

            assert [_line(holder.stdout), _line(holder.stdout)] == ["stale", "lost"]
            store.events.append(KEY, "still the second", fence=lease.fence)

        contents = [event.content for event in store.events.read(KEY)]
    assert contents == ["from the second", "still the second"]


def a_killed_holder_is_gone_when_its_time_is_over(url: str) -> None:
    with python(HOLDER, url, "2") as holder, perdure.open_sync(url) as store:
        assert _line(holder.stdout) == "held"
        # Longer than its time: it is renewed.
        time.sleep(2.5)
        with pytest.raises(perdure.BusyError, match="first"):
            store.sessions.lease(KEY, "second")
        os.kill(holder.pid, signal.SIGKILL)
        killed = time.monotonic()

        with store.sessions.lease(KEY, "second", on_busy="wait", timeout=30):
            waited = time.monotonic() - killed

    assert waited < 2 + 3


def step_through(url: str, folder: str) -> dict[str, Any]:
    """Do all the steps of a run; what each gave."""
    results = {}
    log = Path(folder, "log")
    with perdure.open_sync(url, durability="normal") as store:
        meet()
        for number in range(STEPS):
            name = f"step {number}"

            def work(name: str = name) -> list[Any]:
                with log.open("a") as file:
                    file.write(f"{name}\n")
                return [name, os.getpid(), time.monotonic_ns()]

            results[name] = store.step("run", name, work, owner=KEY)
    return results


def every_step_is_run_once(url: str, folder: Path) -> None:
    """Four processes go through the same run: each step once, and all see the same of it."""
    seen = side_by_side(step_through, [(url, str(folder)) for _ in range(4)], seconds=180)

    assert seen[1:] == seen[:1] * 3
    ran = Counter(Path(folder, "log").read_text().splitlines())
    assert ran == {f"step {number}": 1 for number in range(STEPS)}
    with perdure.open_sync(url) as store:
        page = store.steps.list("run", owner=KEY, limit=1000)
    assert {step.name: step.result for step in page.items} == seen[0]
    # Else nobody was in anybody's way.
    assert len({result[1] for result in seen[0].values()}) > 1


KILLED = """
import sys, time, perdure
from datetime import timedelta
from perdure import SessionKey

def stuck():
    print("begun", flush=True)
    time.sleep(60)

with perdure.open_sync(sys.argv[1]) as store:
    key = SessionKey("app", "user", "chat")
    store.step("run", "first", lambda: "stored", owner=key)
    store.step("run", "second", stuck, owner=key, lease=timedelta(seconds=1))
"""


def a_step_whose_process_was_killed_is_run_again(url: str) -> None:
    with python(KILLED, url) as process:
        assert _line(process.stdout) == "begun"
        os.kill(process.pid, signal.SIGKILL)

    with perdure.open_sync(url) as store:
        assert store.step("run", "first", lambda: "again", owner=KEY) == "stored"
        assert store.step("run", "second", lambda: "again", owner=KEY, timeout=30) == "again"


def make(url: str) -> str:
    """A store with its session."""
    with perdure.open_sync(url) as store:
        store.sessions.create(*KEY)
    return url
