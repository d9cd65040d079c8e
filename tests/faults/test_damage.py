"""Files that are damaged, or no database, or cannot be made: one of our errors, all is kept."""

from __future__ import annotations

import asyncio
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

import perdure
from perdure import CorruptError, NewEvent, PerdureError, SessionKey, SyncStore
from tests.engines.patience import in_time
from tests.engines.processes import in_a_process

KEY = SessionKey("app", "user", "chat")

pytestmark = pytest.mark.faults


def made(path: Path, count: int = 3) -> str:
    """The URL of a store that was closed, with so many events."""
    with perdure.open_sync(f"sqlite:///{path}") as store:
        store.sessions.create(*KEY)
        if count:
            store.events.append(
                KEY, *[NewEvent(f"text {n}", id=f"event {n}") for n in range(count)]
            )
    return f"sqlite:///{path}"


# -- damaged ---------------------------------------------------------------------------------


def everything(store: SyncStore) -> None:
    repr(store.events.read(KEY, all_lines=True))
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


WRITES: list[Callable[[SyncStore], object]] = [
    lambda store: store.events.append(KEY, NewEvent("x", state_delta={"x": 1})),
    lambda store: store.sessions.create("app", "user"),
    lambda store: store.events.prune(KEY, keep_last=5),
    lambda store: store.sessions.purge(KEY),
]


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

        for call in WRITES:
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
        damaged = next(event for event in store.events.read(KEY) if event.id == "event 1")
        for _ in range(2):
            with pytest.raises(CorruptError, match="event 1"):
                getattr(damaged, column)
        with pytest.raises(CorruptError, match="event 1"):
            repr(damaged)
        assert damaged.seq > 0
        assert [event.id for event in store.events.read(KEY, recent=1)] == ["event 2"]
        assert store.events.append(KEY, "on it goes").event.seq == 4


def test_a_file_that_is_no_database_is_said_to_be_none_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Buy milk.\n" * 1000)
    url = f"sqlite:///{path}"

    with pytest.raises(CorruptError, match="notes"):
        perdure.open_sync(url)
    with pytest.raises(CorruptError, match="notes"):
        in_time(lambda: asyncio.run(perdure.open(url).sessions.count()))

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
    with perdure.open_sync(url) as store:
        assert store.events.count(KEY) == 3


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
