"""Disks that are full, read-only, damaged, or not there: one of our errors, and nothing lost."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pytest

import perdure
from perdure import (
    CorruptError,
    NewEvent,
    PerdureError,
    ReadOnlyError,
    SessionKey,
    StorageFullError,
    SyncStore,
)
from tests.engines.patience import in_time
from tests.engines.processes import in_a_process, python
from tests.faults.mounts import ALONE, mounted, refusal

KEY = SessionKey("app", "user", "chat")
NOBODY = 65534

pytestmark = pytest.mark.faults


@pytest.fixture
def _mounts(tmp_path_factory: pytest.TempPathFactory) -> None:
    why_not = refusal(str(tmp_path_factory.mktemp("tried")))
    if why_not:
        pytest.skip(why_not)


def made(path: Path, count: int = 3) -> str:
    """The URL of a store that was closed, with so many events."""
    with perdure.open_sync(f"sqlite:///{path}") as store:
        store.sessions.create(*KEY)
        if count:
            store.events.append(
                KEY, *[NewEvent(f"text {n}", id=f"event {n}") for n in range(count)]
            )
    return f"sqlite:///{path}"


# -- full ------------------------------------------------------------------------------------


class Filled(NamedTuple):
    """What a store said on a disk that became full, and was made free again."""

    told: list[str]
    errors: list[str]
    read_while_full: list[str]
    stored: list[str]


def fill(store: SyncStore, free: Callable[[], None]) -> Filled:
    """Append until it is refused, some more, make room, go on."""
    told: list[str] = []
    errors: list[str] = []

    def append(name: str, size: int) -> bool:
        try:
            store.events.append(KEY, NewEvent("x" * size, id=name))
        except PerdureError as error:
            errors.append(type(error).__name__)
            return False
        told.append(name)
        return True

    number = 0
    while append(f"event {number}", 30_000) and number < 500:
        number += 1
    for more in range(5):
        append(f"another {more}", 30_000)
    read_while_full = [event.id for event in store.events.read(KEY)]
    free()
    refused = f"event {number}"
    # The very same call, on the very same store.
    assert append(refused, 30_000)
    assert append("the last", 1)
    return Filled(told, errors, read_while_full, [event.id for event in store.events.read(KEY)])


def check_filled(filled: Filled, stored_in_the_end: list[str]) -> None:
    assert filled.errors.count("StorageFullError") == len(filled.errors) > 1
    assert filled.told == filled.stored == stored_in_the_end
    assert filled.read_while_full == filled.told[: len(filled.read_while_full)]
    assert filled.told[-1] == "the last"


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


@pytest.mark.usefixtures("_mounts")
def test_a_full_disk_refuses_and_loses_nothing_and_a_freed_one_goes_on(tmp_path: Path) -> None:
    check_filled(*in_a_process(fill_a_small_disk, str(tmp_path), under=ALONE))


def fill_a_limited_file(folder: str) -> tuple[Filled, list[str]]:
    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    url = made(Path(folder) / "store.db", 0)
    with perdure.open_sync(url) as store:
        limit(1_000_000)
        filled = fill(store, lambda: limit(resource.RLIM_INFINITY))
    return filled, reopened(url)


def test_a_file_that_may_not_grow_is_like_a_full_disk(tmp_path: Path) -> None:
    check_filled(*in_a_process(fill_a_limited_file, str(tmp_path)))


def fill_with_tasks(folder: str) -> tuple[list[str], list[str], list[str]]:
    """Batches that do not fit: who was told what, and what is stored."""

    async def work(url: str, free: Callable[[], None]) -> tuple[list[str], list[str]]:
        told: list[str] = []
        errors: list[str] = []
        async with perdure.open(url) as store:
            for start in range(0, 300, 10):
                names = [f"event {number}" for number in range(start, start + 10)]
                calls = [store.events.append(KEY, NewEvent("x" * 30_000, id=n)) for n in names]
                results: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
                failures = [result for result in results if isinstance(result, Exception)]
                errors += [type(failure).__name__ for failure in failures]
                good = [r for r in results if not isinstance(r, Exception)]
                told += [result.event.id for result in good]
                if len(errors) > 30:
                    break
            free()
            told.append((await store.events.append(KEY, NewEvent("x", id="the last"))).event.id)
        return told, errors

    with mounted(Path(folder) / "small", "-t", "tmpfs", "-o", "size=4m", "small") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(1_500_000))
        url = made(disk / "store.db", 0)
        told, errors = asyncio.run(work(url, ballast.unlink))
        return told, errors, reopened(url)


@pytest.mark.usefixtures("_mounts")
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
            lambda: asyncio.run(perdure.open(f"sqlite:///{disk}/store.db").sessions.count()),  # type: ignore[arg-type]
        ):
            try:
                in_time(call)
            except PerdureError as error:
                seen.append(type(error).__name__)
        ballast.unlink()
        made(disk / "store.db", 1)
        seen += reopened(f"sqlite:///{disk}/store.db")
    return seen


@pytest.mark.usefixtures("_mounts")
def test_a_new_store_on_a_full_disk_is_refused_until_there_is_room(tmp_path: Path) -> None:
    seen = in_a_process(open_on_a_full_disk, str(tmp_path), under=ALONE)

    assert seen == ["StorageFullError"] * 3 + ["event 0"]


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


@pytest.mark.usefixtures("_mounts")
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


@pytest.mark.usefixtures("_mounts")
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


# -- damaged ---------------------------------------------------------------------------------


def everything(store: SyncStore) -> None:
    store.events.read(KEY, all_lines=True)
    store.events.window(KEY)
    store.sessions.list("app", "user", with_state=True)
    store.state.merged(KEY)
    list(store.export_user("app", "user"))


def test_a_damaged_file_is_called_damaged_and_never_deleted(tmp_path: Path) -> None:
    chance = random.Random(3)
    made(tmp_path / "good.db", 300)
    good = (tmp_path / "good.db").read_bytes()
    raised: list[str] = []
    for attempt in range(60):
        path = tmp_path / f"damaged {attempt}.db"
        damaged = bytearray(good)
        for _ in range(3):
            at = chance.randrange(len(good) - 512)
            damaged[at : at + 512] = chance.randbytes(512)
        path.write_bytes(damaged)

        try:
            with perdure.open_sync(f"sqlite:///{path}") as store:
                everything(store)
        except PerdureError as error:
            raised.append(type(error).__name__)

        assert path.read_bytes() == damaged
    assert raised.count("CorruptError") > 20
    # An id that was damaged is not found; a damaged schema has no name of its own.
    assert set(raised) <= {"CorruptError", "NotFoundError", "PerdureError"}


def test_writing_to_a_damaged_file_raises_one_of_our_errors_and_keeps_the_file(
    tmp_path: Path,
) -> None:
    chance = random.Random(4)
    made(tmp_path / "good.db", 300)
    good = (tmp_path / "good.db").read_bytes()
    raised: set[str] = set()
    for attempt in range(30):
        path = tmp_path / f"damaged {attempt}.db"
        damaged = bytearray(good)
        for _ in range(8):
            at = chance.randrange(4096, len(good) - 512)
            damaged[at : at + 512] = chance.randbytes(512)
        path.write_bytes(damaged)

        for call in (
            lambda store: store.events.append(KEY, NewEvent("x", state_delta={"x": 1})),
            lambda store: store.sessions.create("app", "user"),
            lambda store: store.events.prune(KEY, keep_last=5),
            lambda store: store.sessions.purge(KEY),
        ):
            try:
                with perdure.open_sync(f"sqlite:///{path}") as store:
                    call(store)
            except PerdureError as error:
                raised.add(type(error).__name__)

        assert path.stat().st_size >= len(good)
    assert "CorruptError" in raised
    assert raised <= {"CorruptError", "NotFoundError", "PerdureError"}


def test_a_file_that_was_cut_short_is_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    url = made(path, 300)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 8 // 4096 * 4096])

    with pytest.raises(CorruptError), perdure.open_sync(url) as store:
        everything(store)

    assert path.stat().st_size == len(whole) // 8 // 4096 * 4096


@pytest.mark.parametrize("column", ["content", "state_delta", "metadata", "error", "extra"])
def test_a_damaged_row_is_named_and_not_read_as_empty(column: str, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    url = made(path)
    connection = apsw.Connection(str(path))
    connection.execute(f"UPDATE events SET {column} = '{{\"cut' WHERE id = 'event 1'")
    connection.close()

    with perdure.open_sync(url) as store:
        with pytest.raises(CorruptError, match="event 1"):
            store.events.read(KEY)
        assert [event.id for event in store.events.read(KEY, recent=1)] == ["event 2"]
        assert store.events.append(KEY, "on it goes").event.seq == 4


def test_a_file_that_is_no_database_is_said_to_be_none_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Buy milk.\n" * 1000)
    url = f"sqlite:///{path}"

    with pytest.raises(CorruptError, match="notes"):
        perdure.open_sync(url)
    with pytest.raises(CorruptError, match="notes"):
        in_time(lambda: asyncio.run(perdure.open(url).sessions.count()))  # type: ignore[arg-type]

    assert path.read_text() == "Buy milk.\n" * 1000


# -- not there -------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_made_is_one_of_our_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    for path in (f"{tmp_path}/file/store.db", f"{tmp_path}", "/proc/none/store.db", "/dev/null/x"):
        with pytest.raises(PerdureError) as caught:
            perdure.open_sync(f"sqlite:///{path}")
        assert path in str(caught.value)
        with pytest.raises(PerdureError):
            in_time(
                lambda path=path: asyncio.run(perdure.open(f"sqlite:///{path}").sessions.count())
            )


def test_a_side_file_that_cannot_be_made_raises_nothing_but_our_errors(tmp_path: Path) -> None:
    (tmp_path / "store.db-turn").mkdir()

    try:
        url = made(tmp_path / "store.db")
    except PerdureError:
        return
    assert reopened(url) == ["event 0", "event 1", "event 2"]


def modes_of(folder: str) -> dict[str, int]:
    os.umask(0)
    with perdure.open_sync(f"sqlite:///{folder}/new/store.db") as store:
        store.sessions.create(*KEY)
        found = {f.name: stat.S_IMODE(f.stat().st_mode) for f in Path(folder, "new").iterdir()}
    return found | {"new": stat.S_IMODE(Path(folder, "new").stat().st_mode)}


def test_the_files_of_a_store_are_their_owners_alone(tmp_path: Path) -> None:
    modes = in_a_process(modes_of, str(tmp_path))

    assert {"store.db", "store.db-wal", "store.db-shm"} < set(modes)
    assert modes.pop("new") == 0o700
    assert set(modes.values()) == {0o600}


def test_the_mode_of_a_file_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.touch()
    path.chmod(0o640)

    made(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o640
