"""Disks that are full, read-only, damaged, or not there: one of our errors, and nothing lost."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

import perdure
from perdure import (
    PerdureError,
)
from tests.engines.patience import in_time
from tests.engines.processes import in_a_process, python
from tests.faults import filling
from tests.faults.filling import KEY, Filled, check_filled, fill
from tests.faults.mounts import ALONE, mounted

NOBODY = 65534

pytestmark = pytest.mark.faults


def made(path: Path, count: int = 3) -> str:
    return filling.made(f"sqlite:///{path}", count)


# -- full ------------------------------------------------------------------------------------


def reopened(url: str) -> list[str]:
    connection = apsw.Connection(url.removeprefix("sqlite:///"))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    with perdure.open_sync(url) as store:
        events = store.events.read(KEY)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return [event.id for event in events]


def fill_a_small_disk(folder: str) -> tuple[Filled, list[str]]:
    with mounted(Path(folder) / "small", "-t", "tmpfs", "-o", "size=4m", "small") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(1_500_000))
        url = made(disk / "store.db", 0)
        with perdure.open_sync(url) as store:
            filled = fill(store, ballast.unlink)
        return filled, reopened(url)


@pytest.mark.usefixtures("mounts")
def test_a_full_disk_refuses_and_loses_nothing_and_a_freed_one_goes_on(tmp_path: Path) -> None:
    check_filled(*in_a_process(fill_a_small_disk, str(tmp_path), under=ALONE), refused=2)


def fill_a_limited_file(folder: str) -> tuple[Filled, list[str]]:
    url = f"sqlite:///{folder}/store.db"
    filled = filling.fill_a_limited_file(url, 1_000_000)
    return filled, reopened(url)


def test_a_file_that_may_not_grow_is_like_a_full_disk(tmp_path: Path) -> None:
    check_filled(*in_a_process(fill_a_limited_file, str(tmp_path)), refused=2)


def fill_with_tasks(folder: str) -> tuple[list[str], list[str], list[str]]:
    """Who was told what, and what is stored."""
    with mounted(Path(folder) / "small", "-t", "tmpfs", "-o", "size=4m", "small") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(1_500_000))
        url = made(disk / "store.db", 0)
        told, errors = filling.fill_with_tasks(url, ballast.unlink)
        return told, errors, reopened(url)


@pytest.mark.usefixtures("mounts")
def test_of_batches_that_do_not_fit_everybody_is_told_the_truth(tmp_path: Path) -> None:
    told, errors, stored = in_a_process(fill_with_tasks, str(tmp_path), under=ALONE)

    assert sorted(told) == sorted(stored)
    assert set(errors) == {"StorageFullError"}


def open_on_a_full_disk(folder: str) -> list[str]:
    seen = []
    with mounted(Path(folder) / "small", "-t", "tmpfs", "-o", "size=1m", "small") as disk:
        ballast = disk / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while file.write(bytes(4096)):
                file.flush()
        for call in (
            lambda: perdure.open_sync(f"sqlite:///{disk}/store.db"),
            lambda: perdure.open_sync(f"sqlite:///{disk}/folder/store.db"),
            lambda: asyncio.run(perdure.open(f"sqlite:///{disk}/store.db").sessions.count()),
        ):
            try:
                in_time(call)
            except PerdureError as error:
                seen.append(type(error).__name__)
        ballast.unlink()
        made(disk / "store.db", 1)
        seen += reopened(f"sqlite:///{disk}/store.db")
    return seen


@pytest.mark.usefixtures("mounts")
def test_a_new_store_on_a_full_disk_is_refused_until_there_is_room(tmp_path: Path) -> None:
    seen = in_a_process(open_on_a_full_disk, str(tmp_path), under=ALONE)

    assert seen == ["StorageFullError"] * 3 + ["event 0"]


# -- no more files ---------------------------------------------------------------------------


def run_out_of_files(url: str) -> list[str]:
    """A process that may not open another file, and then may again."""
    seen = []
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with perdure.open_sync(url) as store:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))
        for call in (
            lambda: store.events.read(KEY),
            lambda: perdure.open_sync(url),
            lambda: perdure.open_sync(f"{url}.new"),
        ):
            try:
                call()
            except PerdureError as error:
                seen.append(type(error).__name__)
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))
        store.events.append(KEY, "on it goes")
        seen += [str(event.text) for event in store.events.read(KEY)]
    return seen


def test_a_process_that_runs_out_of_file_descriptors_gets_our_errors_and_recovers(
    tmp_path: Path,
) -> None:
    seen = in_a_process(run_out_of_files, made(tmp_path / "store.db", 1))

    assert seen == ["BusyError"] * 3 + ["text 0", "on it goes"]


# -- read-only -------------------------------------------------------------------------------


def use_read_only(url: str) -> list[str]:
    """What a reader reads, and how it is told that it cannot write; async and sync."""

    async def work() -> list[str]:
        async with perdure.open(url) as store:
            seen = [event.content for event in await store.events.read(KEY)]
            try:
                await store.events.append(KEY, "no")
            except PerdureError as error:
                seen.append(type(error).__name__)
            return seen

    with perdure.open_sync(url) as store:
        seen = [event.content for event in in_time(store.events.read, KEY)]
        for call in (
            lambda: store.events.append(KEY, "no"),
            lambda: store.sessions.create("app", "user"),
            lambda: store.events.append(KEY, "no"),
        ):
            try:
                in_time(call)
            except PerdureError as error:
                seen.append(type(error).__name__)
        seen.append(str(in_time(store.sessions.count)))
    return seen + in_time(lambda: asyncio.run(work()))


READ_BUT_NOT_WRITTEN = [
    *["text 0", "text 1", "text 2", "ReadOnlyError", "ReadOnlyError", "ReadOnlyError", "1"],
    *["text 0", "text 1", "text 2", "ReadOnlyError"],
]


def read_on_a_read_only_disk(folder: str) -> list[str]:
    disk = Path(folder) / "disk"
    disk.mkdir()
    url = made(disk / "store.db")
    with mounted(disk, "--bind", str(disk)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(disk)], check=True)
        return use_read_only(url)


@pytest.mark.usefixtures("mounts")
def test_on_a_read_only_disk_reads_are_served_and_writes_are_refused(tmp_path: Path) -> None:
    seen = in_a_process(read_on_a_read_only_disk, str(tmp_path), under=ALONE)

    assert seen == READ_BUT_NOT_WRITTEN


WRITES_ON = """
import sys
import perdure

key = perdure.SessionKey("app", "user", "chat")
with perdure.open_sync(sys.argv[1]) as store:
    store.events.append(key, "text 2")
    print("written", flush=True)
    sys.stdin.readline()
"""


def read_beside_a_writer(folder: str) -> list[str]:
    """The same disk, writable for one process and read-only where another one looks at it."""
    disk, view = Path(folder) / "disk", Path(folder) / "view"
    disk.mkdir()
    url = made(disk / "store.db", 2)
    with python(WRITES_ON, url) as process, mounted(view, "--bind", str(disk)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(view)], check=True)
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        return use_read_only(f"sqlite:///{view}/store.db")


@pytest.mark.usefixtures("mounts")
def test_a_read_only_view_of_a_store_that_others_write_is_current(tmp_path: Path) -> None:
    seen = in_a_process(read_beside_a_writer, str(tmp_path), under=ALONE)

    assert seen == READ_BUT_NOT_WRITTEN


@pytest.fixture
def for_nobody() -> Iterator[Path]:
    """A folder that everybody can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def read_without_rights(url: str, in_folder: bool) -> list[str]:
    path = Path(url.removeprefix("sqlite:///"))
    for file in path.parent.iterdir():
        file.chmod(0o444)
    path.parent.chmod(0o777 if in_folder else 0o555)
    # As nobody one may not even import: have all there is before.
    with tempfile.TemporaryDirectory() as folder:
        use_read_only(made(Path(folder) / "store.db"))
    if os.geteuid() == 0:
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    try:
        return use_read_only(url)
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        path.parent.chmod(0o755)


@pytest.mark.parametrize("in_folder", [False, True])
def test_a_store_whose_file_one_may_not_write_can_be_read(
    in_folder: bool, for_nobody: Path
) -> None:
    seen = in_a_process(read_without_rights, made(for_nobody / "store.db"), in_folder)

    assert seen == READ_BUT_NOT_WRITTEN
