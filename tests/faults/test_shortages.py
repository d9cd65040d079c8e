"""A process that runs out of files, a disk that takes no more: the reason, and what to do."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import perdure
from perdure import BusyError, InvalidError, PerdureError, SessionKey, StorageFullError
from perdure.engines.shortages import shortage
from perdure.engines.turnstile import FileTurnstile, OpenTurnstile, turnstile_for
from tests.engines.patience import in_time
from tests.engines.processes import in_a_process
from tests.faults.mounts import ALONE, mounted

KEY = SessionKey("app", "user", "chat")
OUT_OF_FILES = "out of file descriptors: close some or raise its limit (ulimit -n), and try again"

pytestmark = pytest.mark.faults


@pytest.fixture
def url(tmp_path: Path) -> str:
    with perdure.open_sync(f"sqlite:///{tmp_path}/store.db") as store:
        store.sessions.create(*KEY)
    return f"sqlite:///{tmp_path}/store.db"


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """In the block this process can open so many files, and not one more."""
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
    held: list[int] = []
    try:
        with suppress(OSError):
            while True:
                held.append(os.open(os.sep, os.O_RDONLY))
        for _ in range(count):
            os.close(held.pop())
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))


def free_descriptors() -> int:
    opened: list[int] = []
    with suppress(OSError):
        while True:
            opened.append(os.open(os.sep, os.O_RDONLY))
    for descriptor in opened:
        os.close(descriptor)
    return len(opened)


def told(call: Callable[..., Any], *args: Any) -> str:
    """What the caller is told."""
    try:
        in_time(call, *args)
    except PerdureError as error:
        return f"{type(error).__name__}: {error}"
    return "done"


# -- no more files ---------------------------------------------------------------------------


def use_with_few(url: str) -> list[list[str]]:
    """What reading and writing say with no file descriptor left, with one, with two, and so on."""

    def use(number: int) -> None:
        with perdure.open_sync(url) as store:
            store.events.append(KEY, f"text {number}")
            store.events.read(KEY)

    async def use_in_tasks(number: int) -> None:
        async with perdure.open(url) as store:
            await store.events.append(KEY, f"text {number}")
            await store.events.read(KEY)

    # What is imported late needs files, too.
    use(0)
    asyncio.run(use_in_tasks(0))
    seen = []
    for count in range(24):
        with descriptors_left(count):
            answers = [told(use, count)]
        # An event loop needs some of its own.
        with asyncio.Runner() as runner:
            runner.get_loop()
            with descriptors_left(count):
                answers.append(told(lambda *of: runner.run(use_in_tasks(*of)), count))
        seen.append(answers)
    return seen


def test_with_few_file_descriptors_a_store_works_or_says_what_is_missing(url: str) -> None:
    seen = in_a_process(use_with_few, url)

    for answers in zip(*seen, strict=True):
        assert answers[0].startswith("BusyError: ")
        assert answers[-1] == "done"
        refusals = [answer for answer in answers if answer != "done"]
        assert [answer for answer in refusals if not answer.endswith(OUT_OF_FILES)] == []
        assert [answer for answer in refusals if "cannot be written" in answer] == []


def make_with_none(folder: str) -> list[str]:
    perdure.open_sync("memory:").close()
    seen = []
    with descriptors_left(0):
        for name in ("new.db", "folder/new.db"):
            url = f"sqlite:///{folder}/{name}"
            seen.append(told(perdure.open_sync, url))
    with perdure.open_sync(url) as store:
        seen.append(str(store.sessions.count()))
    return seen


def test_without_file_descriptors_no_store_is_made_and_the_reason_is_told(tmp_path: Path) -> None:
    *refused, count = in_a_process(make_with_none, str(tmp_path))

    assert refused == [
        f"BusyError: {tmp_path}/{name}: this process is {OUT_OF_FILES}"
        for name in ("new.db", "folder/new.db")
    ]
    assert count == "0"


def read_in_an_open_store(url: str) -> list[str]:
    with perdure.open_sync(url) as store:
        store.events.append(KEY, "text")
        with descriptors_left(0):
            # The first reader needs a connection, the writer has one.
            seen = [
                told(lambda: store.events.read(KEY)),
                told(lambda: store.events.append(KEY, "")),
            ]
        return [*seen, told(lambda: store.events.read(KEY))]


def test_a_store_that_is_open_says_it_and_goes_on_afterwards(url: str) -> None:
    read, appended, read_again = in_a_process(read_in_an_open_store, url)

    assert read.startswith("BusyError: ")
    assert read.endswith(OUT_OF_FILES)
    assert (appended, read_again) == ("done", "done")


@pytest.mark.parametrize(
    ("number", "kind", "word"),
    [
        (errno.EMFILE, BusyError, "out of file descriptors"),
        (errno.ENFILE, BusyError, "the system is out of file descriptors"),
        (errno.ENOMEM, BusyError, "out of memory"),
        (errno.ENOSPC, StorageFullError, "no space"),
        (errno.EDQUOT, StorageFullError, "no space"),
        (errno.EFBIG, StorageFullError, "no space"),
    ],
)
def test_what_ran_out_is_named(number: int, kind: type[PerdureError], word: str) -> None:
    error = shortage(OSError(number, os.strerror(number)), "a.db")

    assert type(error) is kind
    assert str(error).startswith("a.db: ")
    assert word in str(error)


def test_a_refusal_is_no_shortage() -> None:
    for number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EISDIR):
        assert shortage(OSError(number, os.strerror(number)), "a.db") is None


# -- the side files --------------------------------------------------------------------------


def enter_with_few(path: str) -> list[tuple[str, int]]:
    seen = []
    for count in range(3):
        with descriptors_left(count):
            said = told(lambda: turnstile_for(path).close())
            seen.append((said, free_descriptors()))
    return seen


def test_without_file_descriptors_nobody_writes_past_the_queue(tmp_path: Path) -> None:
    path = f"{tmp_path}/store.db"
    refused = f"BusyError: the side files of {path}: this process is {OUT_OF_FILES}"

    assert in_a_process(enter_with_few, path) == [(refused, 0), (refused, 1), ("done", 2)]


def enter_on_a_full_disk(folder: str) -> list[str]:
    options = ("-t", "tmpfs", "-o", "nr_inodes=4", "small")
    with mounted(Path(folder) / "small", *options) as disk:
        seen = []
        # Room for three files, then for two, one, none.
        for number in range(4):
            if number:
                (disk / f"ballast {number}").touch()
            seen.append(told(lambda: turnstile_for(f"{disk}/store.db").close()))
            for side_file in disk.glob("store.db-*"):
                side_file.unlink()
        return seen


def enter_where_nothing_may_be_made(folder: str) -> list[str]:
    seen = []
    disk = Path(folder) / "disk"
    with mounted(disk, "-t", "tmpfs", "-o", "ro", "small"):
        seen.append(type(turnstile_for(f"{disk}/store.db")).__name__)
    os.chmod(folder, 0o755)
    disk.chmod(0o555)
    os.seteuid(65534)
    seen.append(type(turnstile_for(f"{disk}/store.db")).__name__)
    os.seteuid(0)
    disk.chmod(0o700)
    seen.append(type(turnstile_for(f"{disk}/store.db")).__name__)
    return seen


@pytest.mark.usefixtures("mounts")
def test_on_a_full_disk_nobody_writes_past_the_queue(tmp_path: Path) -> None:
    seen = in_a_process(enter_on_a_full_disk, str(tmp_path), under=ALONE)

    path = tmp_path / "small" / "store.db"
    refused = f"StorageFullError: the side files of {path}: no space, free some: "
    assert seen[:2] == ["done", "done"]
    assert [said.startswith(refused) for said in seen[2:]] == [True, True]


@pytest.mark.usefixtures("mounts")
def test_where_nobody_may_make_side_files_the_lock_of_sqlite_is_left(tmp_path: Path) -> None:
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o755)

    seen = in_a_process(enter_where_nothing_may_be_made, str(tmp_path), under=ALONE)

    assert seen == [OpenTurnstile.__name__, OpenTurnstile.__name__, FileTurnstile.__name__]


def test_side_files_that_cannot_be_made_for_another_reason_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match=r"gone/store\.db"):
        turnstile_for(f"{tmp_path}/gone/store.db")
