"""The index is derived: gone, older, newer, damaged or of another directory, nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import perdure
from perdure import NewEvent, PerdureError, SessionKey, SyncStore, UserScope
from perdure.operation import Row
from perdure.testing.clocks import FixedClock
from perdure.testing.contract.test_upkeep import live_a_life
from perdure.testing.databases import Database
from tests.engines.jsonl.making import ONE, SESSIONS, copy, say, url_of

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]

Dumped = dict[str, list[Row]]


def dump(folder: Path) -> Dumped:
    """Every row of every table, once all of it was opened."""
    database = Database(url_of(folder), sync=True, shared=False, defaults={})

    async def read() -> Dumped:
        database.open()
        try:
            return await database.dump()
        finally:
            database.close()

    return {name: sorted(rows, key=repr) for name, rows in asyncio.run(read()).items()}


async def live(folder: Path, names: str) -> None:
    async with perdure.open(url_of(folder), clock=FixedClock()) as store:
        for name in names:
            await live_a_life(store, name, mark=f"mark of {name} \u00e9\u4e2d\U0001f600")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A directory closed, then further on and killed, then closed again: three copies."""
    folder = tmp_path_factory.mktemp("lived")
    asyncio.run(live(folder / "work", "ab"))
    shutil.copytree(folder / "work", folder / "older")

    async def go_on() -> None:
        async with perdure.open(url_of(folder / "work"), clock=FixedClock()) as store:
            await live_a_life(store, "c")
            await store.erase_user("support", "a", settle=False)
            shutil.copytree(folder / "work", folder / "killed")

    asyncio.run(go_on())
    return folder / "older", folder / "killed", folder / "work"


def put_index(source: Path, into: Path) -> None:
    shutil.rmtree(into / "index", ignore_errors=True)
    if (source / "index").exists():
        shutil.copytree(source / "index", into / "index")


def test_every_table_has_rows_and_is_the_same_after_the_index_was_made_anew(
    lived: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    empty = set()
    for image in lived:
        work = copy(image, tmp_path / "work")
        before = dump(work)
        shutil.rmtree(work / "index")

        assert dump(work) == before
        assert dump(copy(image, tmp_path / "again", index=False)) == before
        empty |= {name for name, rows in before.items() if rows}
    assert len(empty) > 25


def random_bytes(work: Path) -> None:
    path = work / "index" / "index.db"
    path.write_bytes(random.Random(1).randbytes(path.stat().st_size))


def random_pages(work: Path) -> None:
    path = work / "index" / "index.db"
    data = bytearray(path.read_bytes())
    for page in range(0, len(data) // 4096, 2):
        data[page * 4096 : page * 4096 + 4096] = random.Random(page).randbytes(4096)
    path.write_bytes(data)


def half(work: Path) -> None:
    path = work / "index" / "index.db"
    os.truncate(path, path.stat().st_size // 2)


def nothing(work: Path) -> None:
    (work / "index" / "index.db").write_bytes(b"")


def gone(work: Path) -> None:
    (work / "index" / "index.db").unlink()


DAMAGES: list[Callable[[Path], None]] = [random_bytes, random_pages, half, nothing, gone]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_index_is_made_anew(
    damage: Callable[[Path], None], lived: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    for image in lived:
        before = dump(copy(image, tmp_path / "work"))
        work = copy(image, tmp_path / "work")
        for beside in (work / "index").glob("index.db-*"):
            beside.unlink()
        damage(work)

        assert dump(work) == before


def test_an_index_with_a_damaged_page_is_made_anew_once_sqlite_sees_it(
    lived: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    chance = random.Random(5)
    image = lived[2]
    before = dump(copy(image, tmp_path / "work"))
    seen = 0
    for _ in range(12):
        work = copy(image, tmp_path / "work")
        path = work / "index" / "index.db"
        data = bytearray(path.read_bytes())
        for _ in range(6):
            at = chance.randrange(4096, len(data) - 512)
            data[at : at + 512] = chance.randbytes(512)
        path.write_bytes(data)
        with suppress(PerdureError):
            dump(work)
            continue
        seen += 1
        assert dump(work) == before
    assert seen > 2


def test_an_older_index_that_was_put_back_catches_up_or_is_made_anew(
    lived: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    older, killed, closed = lived
    for image in (killed, closed):
        before = dump(copy(image, tmp_path / "work"))
        work = copy(image, tmp_path / "work")
        put_index(older, work)

        assert dump(work) == before


def test_files_that_were_put_back_to_an_older_copy_count_and_not_the_newer_index(
    lived: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    older, killed, closed = lived
    for index in (killed, closed):
        for image in (older, killed):
            before = dump(copy(image, tmp_path / "work"))
            work = copy(image, tmp_path / "work")
            put_index(index, work)

            assert dump(work) == before


def test_the_index_of_another_directory_is_not_taken_for_its_own(
    lived: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    asyncio.run(live(other, "xyz"))
    others = dump(copy(other, tmp_path / "work"))
    for image in lived:
        before = dump(copy(image, tmp_path / "work"))
        work = copy(image, tmp_path / "work")
        put_index(other, work)
        assert dump(work) == before

        work = copy(other, tmp_path / "work")
        put_index(image, work)
        assert dump(work) == others


def append(store: SyncStore, key: SessionKey, name: str, chance: random.Random) -> None:
    delta = {f"k{chance.randrange(5)}": name, f"user:{chance.randrange(3)}": name}
    store.events.append(key, NewEvent(name, id=name, state_delta=delta))


def make_anew(store: SyncStore, key: SessionKey, _: str, chance: random.Random) -> None:
    if chance.random() < 0.3:
        store.sessions.purge(key)
        store.sessions.create(*key)


def take_a_turn(store: SyncStore, _: SessionKey, name: str, __: random.Random) -> None:
    with store.turn() as turn:
        for both in SESSIONS:
            turn.events.append(both, NewEvent(name, id=f"{name} turn"))


Deed = Callable[[SyncStore, SessionKey, str, random.Random], object]
DEEDS: list[Deed] = [
    *[append] * 6,
    take_a_turn,
    make_anew,
    lambda store, key, _, chance: store.events.pop(key, chance.randrange(1, 4)),
    lambda store, key, name, chance: store.state.set(key, {f"k{chance.randrange(5)}": name}),
    lambda store, key, _, chance: store.events.prune(key, keep_last=chance.randrange(3, 30)),
    lambda store, key, name, _: store.sessions.update(key, title=name, metadata={"n": name}),
    lambda store, _, name, chance: store.kv.set("space", f"k{chance.randrange(6)}", {"v": name}),
    lambda store, _, name, __: store.state.set(UserScope("app", "user"), {"u": name}),
]


def test_a_long_random_life_is_the_same_after_the_index_was_made_anew(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for number in range(8):
        with perdure.open_sync(url_of(tmp_path / "work")) as store:
            if not number:
                for key in SESSIONS:
                    store.sessions.create(*key)
            for step in range(60):
                chance.choice(DEEDS)(store, chance.choice(SESSIONS), f"{number}.{step}", chance)
            shutil.copytree(tmp_path / "work", tmp_path / f"killed {number}")
        for image in (tmp_path / f"killed {number}", tmp_path / "work"):
            before = dump(image)
            shutil.rmtree(image / "index")
            assert dump(image) == before, f"seed {seed}, life {number}, {image.name}"


def test_a_lost_journal_costs_nothing_that_is_in_the_files(tmp_path: Path) -> None:
    with perdure.open_sync(url_of(tmp_path / "work")) as store:
        store.sessions.create(*ONE)
        for number in range(5):
            say(store, ONE, f"{number}")
        killed = copy(tmp_path / "work", tmp_path / "killed")
    for image in (killed, tmp_path / "work"):
        before = dump(copy(image, tmp_path / "whole"))
        (image / "journal.jsonl").unlink()

        assert dump(image) == before
        index = (image / "index" / "index.db").stat().st_ino
        assert dump(image) == before
        # Once is enough.
        assert (image / "index" / "index.db").stat().st_ino == index
