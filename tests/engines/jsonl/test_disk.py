"""Disks that are full, read-only, or fail: one of our errors, nothing lost, and on it goes."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import perdure
from perdure import NewEvent, PerdureError
from tests.engines.patience import in_time
from tests.engines.processes import in_a_process, python
from tests.faults import filling
from tests.faults.filling import KEY, Filled, check_filled, fill
from tests.faults.mounts import ALONE, mounted

pytestmark = pytest.mark.faults


def made(path: Path, count: int = 3) -> str:
    return filling.made(f"jsonl:///{path}", count)


# -- full ------------------------------------------------------------------------------------


def reopened(url: str) -> list[str]:
    """What is there, also without the index."""
    found = []
    for _ in range(2):
        with perdure.open_sync(url) as store:
            events = store.events.read(KEY)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        found.append([str(event.id) for event in events])
        shutil.rmtree(Path(url.removeprefix("jsonl:///")) / "index")
    assert found[0] == found[1]
    return found[0]


def fill_a_small_disk(folder: str, ballast_size: int) -> tuple[Filled, list[str]]:
    with mounted(Path(folder) / "small", "-t", "tmpfs", "-o", "size=8m", "small") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(ballast_size))
        url = made(disk / "agent", 0)
        with perdure.open_sync(url) as store:
            filled = fill(store, ballast.unlink)
        return filled, reopened(url)


# So that it is now the journal, now the index, now a session's file that has no room.
@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize("ballast", [5_000_000, 5_010_000, 5_020_000, 5_035_000, 5_050_000])
def test_a_full_disk_refuses_and_loses_nothing_and_a_freed_one_goes_on(
    ballast: int, tmp_path: Path
) -> None:
    check_filled(*in_a_process(fill_a_small_disk, str(tmp_path), ballast, under=ALONE), refused=1)


def fill_a_limited_file(folder: str) -> tuple[Filled, list[str]]:
    url = f"jsonl:///{folder}/agent"
    filled = filling.fill_a_limited_file(url, 1_500_000)
    return filled, reopened(url)


def test_a_file_that_may_not_grow_is_like_a_full_disk(tmp_path: Path) -> None:
    # Then the journal begins anew, and has room.
    check_filled(*in_a_process(fill_a_limited_file, str(tmp_path)), refused=1)


def fill_with_tasks(folder: str) -> tuple[list[str], list[str], list[str]]:
    """Who was told what, and what is stored."""
    with mounted(Path(folder) / "small", "-t", "tmpfs", "-o", "size=8m", "small") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(5_000_000))
        url = made(disk / "agent", 0)
        told, errors = filling.fill_with_tasks(url, ballast.unlink)
        return told, errors, reopened(url)


@pytest.mark.usefixtures("mounts")
def test_of_batches_that_do_not_fit_everybody_is_told_the_truth(tmp_path: Path) -> None:
    told, errors, stored = in_a_process(fill_with_tasks, str(tmp_path), under=ALONE)

    assert sorted(told) == sorted(stored)
    assert set(errors) == {"StorageFullError"}


def open_on_a_full_disk(folder: str) -> list[str]:
    seen = []
    with mounted(Path(folder) / "small", "-t", "tmpfs", "-o", "size=8m", "small") as disk:
        url = made(disk / "old", 2)
        ballast = disk / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while file.write(bytes(4096)):
                file.flush()
        with suppress(PerdureError):
            perdure.open_sync(f"jsonl:///{disk}/new")
            seen.append("opened")
        try:
            # SQLite wants a little room even to read.
            perdure.open_sync(url)
        except PerdureError as error:
            seen.append(type(error).__name__)
        ballast.unlink()
        seen += reopened(made(disk / "new", 1))
        with perdure.open_sync(url) as store:
            store.events.append(KEY, "on it goes")
        seen += [str(len(reopened(url)))]
    return seen


@pytest.mark.usefixtures("mounts")
def test_on_a_full_disk_stores_are_refused_and_opened_when_there_is_room(tmp_path: Path) -> None:
    seen = in_a_process(open_on_a_full_disk, str(tmp_path), under=ALONE)

    assert seen == ["StorageFullError", "event 0", "3"]


# -- syncs that fail -------------------------------------------------------------------------


def fail_syncs(folder: str, which: str) -> tuple[list[str], list[str], list[str]]:
    """Now and then a sync of that kind of file fails, as a failing disk makes it."""
    often = 0.5 if which == "/sessions/" else 0.15
    chance = random.Random(which)
    url = made(Path(folder) / "agent", 0)
    real_data, real_all = os.fdatasync, os.fsync
    count = 0

    def failing(descriptor: Any, real: Callable[[Any], None]) -> None:
        nonlocal count
        if which in os.readlink(f"/proc/self/fd/{descriptor}") and chance.random() < often:
            count += 1
            raise OSError(5, "Input/output error")
        real(descriptor)

    from perdure.engines.jsonl import directory, disk  # noqa: PLC0415 - in the child alone

    disk._sync_data = lambda descriptor: failing(descriptor, real_data)
    os.fsync = lambda descriptor: failing(descriptor, real_all)  # type: ignore[assignment]
    directory._FOLD_BYTES = 5000
    told, errors = [], []
    with perdure.open_sync(url) as store:
        for number in range(60):
            try:
                event = NewEvent("x" * 300, id=f"event {number}")
                told.append(str(store.events.append(KEY, event).event.id))
            except PerdureError as error:
                errors.append(f"{type(error).__name__}: {error}")
    os.fsync, disk._sync_data = real_all, real_data
    assert count > 2
    return told, errors, reopened(url)


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
@pytest.mark.parametrize("which", ["journal.jsonl", "/sessions/", "/agent"])
def test_a_sync_that_fails_is_told_and_what_was_told_is_there(which: str, tmp_path: Path) -> None:
    told, errors, stored = in_a_process(fail_syncs, str(tmp_path), which)

    # A write whose outcome was not known may be there.
    assert [name for name in stored if name in told] == told
    assert len(stored) <= len(told) + len(errors)
    assert all("Input/output error" in error for error in errors)
    assert len(told) > 20
    assert which != "journal.jsonl" or errors != []


# -- read-only -------------------------------------------------------------------------------


def use_read_only(url: str) -> list[str]:
    """What a reader reads, and how it is told that it cannot write."""
    with perdure.open_sync(url) as store:
        seen = [str(event.content) for event in in_time(store.events.read, KEY)]
        for _ in range(2):
            try:
                in_time(lambda: store.events.append(KEY, "no"))
            except PerdureError as error:
                seen.append(type(error).__name__)
        seen.append(str(in_time(store.sessions.count)))
    return seen


def read_on_a_read_only_disk(folder: str, killed: bool) -> list[str]:
    disk = Path(folder) / "disk"
    disk.mkdir()
    url = made(disk / "agent")
    if killed:
        pid = os.fork()
        if pid == 0:
            perdure.open_sync(url).events.append(KEY, "text 3")
            os._exit(0)
        os.waitpid(pid, 0)
    with mounted(disk, "--bind", str(disk)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(disk)], check=True)
        return use_read_only(url)


WRITES_ON = """
import sys, threading, perdure
key = perdure.SessionKey("app", "user", "chat")
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
with perdure.open_sync(sys.argv[1]) as store:
    store.events.append(key, "text 2")
    print("written", flush=True)
    while not over.is_set():
        store.state.set(key, {"x": 1})
"""


def read_beside_a_writer(folder: str) -> list[list[str]]:
    """The same disk, written by one process, and read-only where another one looks at it."""
    disk, view = Path(folder) / "disk", Path(folder) / "view"
    disk.mkdir()
    url = made(disk / "agent", 2)
    with python(WRITES_ON, url) as process, mounted(view, "--bind", str(disk)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(view)], check=True)
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        return [use_read_only(f"jsonl:///{view}/agent") for _ in range(5)]


@pytest.mark.usefixtures("mounts")
def test_a_read_only_view_of_a_store_that_others_write_is_current(tmp_path: Path) -> None:
    seen = in_a_process(read_beside_a_writer, str(tmp_path), under=ALONE)

    assert seen == [["text 0", "text 1", "text 2", "ReadOnlyError", "ReadOnlyError", "1"]] * 5


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize("killed", [False, True])
def test_on_a_read_only_disk_reads_are_served_and_writes_are_refused(
    killed: bool, tmp_path: Path
) -> None:
    seen = in_a_process(read_on_a_read_only_disk, str(tmp_path), killed, under=ALONE)

    texts = [f"text {number}" for number in range(3 + killed)]
    assert seen == [*texts, "ReadOnlyError", "ReadOnlyError", "1"]
