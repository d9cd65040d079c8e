"""Summaries by several processes: each job is done once, and a dead worker's is taken over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import perdure
from perdure import SessionKey, SummaryRun
from tests.engines.processes import meet, side_by_side, started
from tests.postgres.servers import drop_database, fresh_database, server

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")

JOBS = 40

KILLED = """
import sys, time, perdure
from datetime import timedelta

def stuck(previous, events):
    print("begun", flush=True)
    time.sleep(60)

with perdure.open_sync(sys.argv[1]) as store:
    store.summaries.run_jobs(summariser=stuck, lease=timedelta(seconds=float(sys.argv[2])))
"""


ASYNC = """
import asyncio, sys, time, perdure
from datetime import timedelta

async def main():
    async with perdure.open(sys.argv[1]) as store, perdure.open(sys.argv[1]) as other:
        def slow(previous, events):
            time.sleep(1.2)
            return "told"

        working = asyncio.ensure_future(
            store.summaries.run_jobs(summariser=slow, lease=timedelta(seconds=0.4)))
        await asyncio.sleep(1.0)
        ran = await other.summaries.run_jobs(summariser=slow)
        print(ran.done, ran.failed)
        ran = await working
        print(ran.done, ran.failed)

asyncio.run(main())
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/agent.db"
        return
    address = fresh_database(server())
    yield address
    drop_database(address)


def enqueue(url: str, count: int) -> list[SessionKey]:
    """Sessions with an event each and a job each."""
    keys = []
    with perdure.open_sync(url) as store:
        for number in range(count):
            key = store.sessions.create("app", f"user {number % 3}", f"s{number}").key
            store.events.append(key, key.id)
            store.summaries.enqueue_summary(key)
            keys.append(key)
    return keys


def work_off(url: str, calls: str) -> int:
    """Do jobs until none is left; each call of the summariser is noted in a file."""
    done = 0

    def noted(_: str | None, events: list[perdure.Event]) -> str:
        descriptor = os.open(calls, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{events[0].text}\n".encode())
        os.close(descriptor)
        time.sleep(0.005)
        return "told"

    with perdure.open_sync(url) as store:
        meet()
        while store.summaries.jobs(limit=1).items:
            ran = store.summaries.run_jobs(5, summariser=noted)
            assert not ran.failed, store.summaries.jobs().items
            done += ran.done
    return done


def test_of_several_processes_each_job_is_done_by_one_and_once(url: str, tmp_path: Path) -> None:
    keys = enqueue(url, JOBS)
    calls = tmp_path / "calls"

    done = side_by_side(work_off, [(url, str(calls)) for _ in range(2)])

    assert sum(done) == JOBS
    assert min(done) > 0
    told = Counter(calls.read_text(encoding="utf-8").split())
    assert told == {key.id: 1 for key in keys}
    with perdure.open_sync(url) as store:
        assert {store.summaries.get(key).version for key in keys} == {1}


def test_the_job_of_a_killed_worker_is_taken_over_when_its_lease_is_over(url: str) -> None:
    [key] = enqueue(url, 1)
    with started([sys.executable, "-c", KILLED, url, "1.5"]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        with perdure.open_sync(url) as store:
            [job] = store.summaries.jobs().items
            assert job.state == "running"
            # Renewed while the summariser runs: it is not free after the time of one lease.
            time.sleep(2.0)
            assert store.summaries.run_jobs(summariser=lambda *_: "told") == SummaryRun()

            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert store.summaries.run_jobs(summariser=lambda *_: "told") == SummaryRun()
            deadline = time.monotonic() + 10
            while not store.summaries.run_jobs(summariser=lambda *_: "told").done:
                assert time.monotonic() < deadline
                time.sleep(0.05)

            assert store.summaries.get(key).text == "told"
            assert store.summaries.jobs().items == []


def test_the_lease_is_renewed_beside_a_loop_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/agent.db"
    enqueue(url, 1)
    process = subprocess.run(
        [sys.executable, "-c", ASYNC, url], capture_output=True, text=True, check=False, timeout=60
    )
    assert process.stdout.splitlines() == ["0 0", "1 0"], process.stderr


TALK = SessionKey("app", "user", "talk")


def append_on(url: str, count: int) -> list[int]:
    """Append that many events, one by one."""
    with perdure.open_sync(url) as store:
        meet()
        return [store.events.append(TALK, f"e{number}").event.seq for number in range(count)]


def summarise_on(url: str, count: int) -> list[int]:
    """Summarise whatever is new until so many events are covered; the boundaries on the way."""
    boundaries = [0]
    deadline = time.monotonic() + 60

    def joined(so_far: str | None, events: list[perdure.Event]) -> str:
        time.sleep(0.002)
        return "+".join([*([so_far] if so_far else []), *(event.text for event in events)])

    with perdure.open_sync(url, summariser=joined) as store:
        meet()
        while boundaries[-1] < count:
            assert time.monotonic() < deadline, boundaries
            store.summaries.summarize(TALK)
            found = store.summaries.find(TALK)
            boundaries.append(found.covers_seq if found else 0)
    return boundaries


def run_either(kind: str, url: str, count: int) -> list[int]:
    """One of the two."""
    return append_on(url, count) if kind == "append" else summarise_on(url, count)


def test_summaries_made_by_several_processes_while_others_append_lose_and_repeat_nothing(
    url: str,
) -> None:
    with perdure.open_sync(url) as store:
        store.sessions.create(*TALK)

    calls = [("append", url, 120), ("append", url, 120)] + [("summarise", url, 240)] * 3
    *_, one, two, three = side_by_side(run_either, calls)

    for boundaries in (one, two, three):
        assert boundaries == sorted(boundaries), "a boundary went back"
    with perdure.open_sync(url) as store:
        stored = store.summaries.get(TALK)
        events = store.events.read(TALK)
    assert [event.seq for event in events] == list(range(1, 241))
    assert stored.covers_seq == 240
    assert stored.text == "+".join(event.text for event in events)
