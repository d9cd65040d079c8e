"""Several processes on one directory: one writes, all read, and one that dies leaves its place."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

import perdure
from perdure import BusyError, ClosedError, NewEvent, NotFoundError, SessionKey
from tests.engines.processes import in_a_process, meet, side_by_side
from tests.engines.processes import python as a_process

KEY = SessionKey("app", "user", "chat")
NUMBER_OF_TASKS, NUMBER_OF_THREADS = 64, 8

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


def new_store(folder: Path) -> str:
    url = f"jsonl:///{folder}/agent"
    with perdure.open_sync(url) as store:
        store.sessions.create(*KEY)
    return url


def ids(url: str, key: SessionKey = KEY) -> list[str]:
    with perdure.open_sync(url) as store:
        return [str(event.id) for event in store.events.read(key)]


HOLDS = """
import sys, perdure
store = perdure.open_sync(sys.argv[1])
key = perdure.SessionKey("app", "user", "chat")
number = 0
print("open", flush=True)
for line in sys.stdin:
    if line == "close\\n":
        store.close()
    else:
        store.events.append(key, perdure.NewEvent("x", id=f"held {number}"))
        number += 1
    print("done", flush=True)
"""


def test_a_second_writer_is_told_who_the_first_is_and_since_when(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    with a_process(HOLDS, url, "a name for it") as holder, perdure.open_sync(url) as store:
        assert holder.stdin is not None
        assert holder.stdout is not None
        for said in (b"open\n", b"done\n", b"done\n"):
            assert holder.stdout.readline() == said
            # What it was told is there is there for those who read.
            if said == b"done\n":
                assert len(store.events.read(KEY)) == holder_count(store)
            holder.stdin.write(b"write\n")
            holder.stdin.flush()
        assert holder.stdout.readline() == b"done\n"
        begun = time.monotonic()

        with pytest.raises(BusyError) as caught:
            store.events.append(KEY, "no")

        assert time.monotonic() - begun < 1.5 + 2
        told = str(caught.value)
        assert re.search(rf"process {holder.pid} .*since \d{{4}}-\d\d-\d\dT", told)
        # Not with its arguments, which may hold a password.
        assert "a name for it" not in told
        assert [event.id for event in store.events.read(KEY)] == ["held 0", "held 1", "held 2"]
        holder.stdin.write(b"close\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == b"done\n"
        store.events.append(KEY, NewEvent("x", id="now it may"))
    assert ids(url)[-1] == "now it may"


def holder_count(store: perdure.SyncStore) -> int:
    return store.sessions.get(KEY).event_count


def test_a_writer_that_is_killed_leaves_its_place_to_the_next_one(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    with perdure.open_sync(url) as store, a_process(HOLDS, url) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.stdin.write(b"write\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == b"done\n"
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()

        assert [event.id for event in store.events.read(KEY)] == ["held 0"]
        store.events.append(KEY, NewEvent("x", id="after it"))
        store.events.append(KEY, NewEvent("x", id="and on"))
    assert ids(url) == ["held 0", "after it", "and on"]


def write_or_read(url: str, role: str, count: int) -> list[int]:
    """How many events a reader saw each time it had been told of so many."""
    seen = []
    with perdure.open_sync(url) as store:
        for number in range(count):
            if role == "write":
                store.events.append(KEY, NewEvent("x", id=f"event {number}"))
            meet()
            seen.append(len(store.events.read(KEY)))
            meet()
    return seen


def test_readers_see_each_acknowledged_write_at_once(tmp_path: Path) -> None:
    url = new_store(tmp_path)

    seen = side_by_side(write_or_read, [(url, role, 60) for role in ("write", "read", "read")])

    assert seen == [list(range(1, 61))] * 3


def read_or_rebuild(url: str, role: str, rounds: int) -> list[str]:
    """A reader reads all the time while the index is removed and made anew under it."""
    folder = Path(url.removeprefix("jsonl:///"))
    found: list[str] = []
    if role == "read":
        with perdure.open_sync(url) as store:
            meet()
            while not (folder.parent / "over").exists():
                try:
                    ids = [event.id for event in store.events.read(KEY)]
                    if ids != [f"event {n}" for n in range(len(ids))] or len(ids) < 20:
                        found.append(f"read {ids}")
                except (BusyError, perdure.CorruptError) as error:
                    if "anew" not in str(error):
                        found.append(f"{type(error).__name__}: {error}")
        return found
    meet()
    for number in range(rounds):
        if number % 2:
            shutil.rmtree(folder / "index")
        else:
            # An index that is older than the files say.
            (folder / "journal.jsonl").unlink()
        with perdure.open_sync(url) as store:
            store.events.append(KEY, NewEvent("x", id=f"event {20 + number}"))
    (folder.parent / "over").touch()
    return found


def test_a_reader_survives_that_the_index_is_made_anew_under_it(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    with perdure.open_sync(url) as store:
        for number in range(20):
            store.events.append(KEY, NewEvent("x", id=f"event {number}"))

    calls = [(url, role, 16) for role in ("rebuild", "read", "read")]
    assert side_by_side(read_or_rebuild, calls) == [[], [], []]
    assert ids(url) == [f"event {number}" for number in range(36)]


def fork_with_a_store(url: str) -> list[str]:
    """What a forked child is told; then the parent goes on, and is killed while a child lives."""
    seen = []
    store = perdure.open_sync(url)
    store.events.append(KEY, NewEvent("x", id="before"))
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            store.events.append(KEY, "no")
        except ClosedError:
            os.write(into, b"closed")
        with perdure.open_sync(url) as mine:
            try:
                mine.events.append(KEY, "no")
            except BusyError:
                os.write(into, b" busy")
            os.write(into, b" %d" % len(mine.events.read(KEY)))
        os._exit(0)
    os.waitpid(pid, 0)
    seen.append(os.read(out, 100).decode())
    store.events.append(KEY, NewEvent("x", id="after"))
    seen.append(str(len(store.events.read(KEY))))
    store.close()
    return seen


def test_after_a_fork_the_childs_store_is_closed_and_the_parents_goes_on(tmp_path: Path) -> None:
    url = new_store(tmp_path)

    assert in_a_process(fork_with_a_store, url) == ["closed busy 1", "2"]
    assert ids(url) == ["before", "after"]


LEAVES_A_CHILD = """
import os, signal, sys, time, perdure
store = perdure.open_sync(sys.argv[1])
key = perdure.SessionKey("app", "user", "chat")
store.events.append(key, perdure.NewEvent("x", id="parent"))
child = os.fork()
if child == 0:
    time.sleep(60)
print(child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_child_that_lives_on_does_not_keep_the_directory(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    with a_process(LEAVES_A_CHILD, url) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.wait()

        with perdure.open_sync(url) as store:
            store.events.append(KEY, NewEvent("x", id="next"))
        os.kill(child, 0)
    assert ids(url) == ["parent", "next"]


def open_first(url: str, name: str) -> str:
    """Open a directory that nobody has made yet, and try to write to it."""
    meet()
    with perdure.open_sync(url) as store:
        try:
            store.sessions.create("app", name, "chat")
            told = "written"
        except BusyError:
            told = "busy"
        meet()
    return told


def test_ten_processes_may_be_the_first_to_open_a_directory(tmp_path: Path) -> None:
    for number in range(2):
        url = f"jsonl:///{tmp_path}/{number}/agent"

        told = side_by_side(open_first, [(url, f"user {at}") for at in range(10)])

        assert told.count("written") == 1
        with perdure.open_sync(url) as store:
            assert store.sessions.count() == 1


# -- within one process ----------------------------------------------------------------------


async def append_as_tasks(url: str) -> None:
    """Each task to the same session and to its own, both at once."""
    async with perdure.open(url) as store:

        async def work(task: int) -> None:
            own = (await store.sessions.create("app", "user", f"task {task}")).key
            for number in range(5):
                event = NewEvent("x", id=f"task {task}.{number}")
                same, other = store.events.append(KEY, event), store.events.append(own, event)
                await asyncio.gather(same, other)

        await asyncio.gather(*[work(task) for task in range(NUMBER_OF_TASKS)])


def append_in_a_thread(url: str, name: int) -> None:
    with perdure.open_sync(url) as store:
        own = store.sessions.create("app", "user", f"thread {name}").key
        for number in range(20):
            event = NewEvent("x", id=f"thread {name}.{number}")
            store.events.append(KEY, event)
            store.events.append(own, event)


def test_tasks_and_threads_append_to_the_same_and_other_sessions(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    calls = [(url, name) for name in range(NUMBER_OF_THREADS)]
    threads = [threading.Thread(target=append_in_a_thread, args=call) for call in calls]
    with perdure.open_sync(url):
        for one in threads:
            one.start()
        asyncio.run(append_as_tasks(url))
        for one in threads:
            one.join()

    each = {f"task {n}": 5 for n in range(NUMBER_OF_TASKS)}
    each |= {f"thread {n}": 20 for n in range(NUMBER_OF_THREADS)}
    expected = {f"{name}.{number}" for name, count in each.items() for number in range(count)}
    for _ in range(2):
        with perdure.open_sync(url) as store:
            events = store.events.read(KEY)
            assert [event.seq for event in events] == list(range(1, len(expected) + 1))
            assert {event.id for event in events} == expected
            for name, count in each.items():
                own = store.events.read(SessionKey("app", "user", name))
                numbers = [int(event.id.rpartition(".")[2]) for event in own]
                assert sorted(numbers) == list(range(count))
        shutil.rmtree(tmp_path / "agent" / "index")


def test_two_stores_of_a_process_write_to_one_directory_in_turns(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    one, two = perdure.open_sync(url), perdure.open_sync(url)
    for number in range(20):
        (one if number % 2 else two).events.append(KEY, NewEvent("x", id=f"{number}"))
        if number == 10:
            one.compact()
        if number == 12:
            two.sessions.create("app", "user", "brief")
            one.sessions.purge(SessionKey("app", "user", "brief"))
    one.close()
    two.events.append(KEY, NewEvent("x", id="20"))
    with pytest.raises(NotFoundError):
        two.sessions.get(SessionKey("app", "user", "brief"))
    two.close()

    for _ in range(2):
        assert ids(url) == [f"{number}" for number in range(21)]
        shutil.rmtree(tmp_path / "agent" / "index")
