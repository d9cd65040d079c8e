"""Directories damaged at random: all of it is told, and what is salvaged is what was written."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

import perdure
from perdure import NotFoundError, SessionKey
from perdure.config import Config, resolve
from perdure.engines.examinations import Examination
from perdure.examining import examine_store, salvage_store
from tests.effort import effort
from tests.engines.processes import in_a_process

KEYS = [SessionKey("shop", "ada", name) for name in ("one", "two", "three")]
TEXTS = [f"says {n}" for n in range(5)]


def lived(url: str) -> None:
    """Two lives of an agent; the second ends without a word, its writes are in the journal."""
    with perdure.open_sync(url) as store:
        for key in KEYS:
            store.sessions.create(*key)
            for text in TEXTS:
                store.events.append(key, text)
        store.memory.add("shop", "ada", "likes tea")
        store.index()
    store = perdure.open_sync(url)
    with store.turn() as turn:
        for key in KEYS:
            turn.events.append(key, "a turn")
    store.events.append(KEYS[0], "late")
    os._exit(0)


def wanted(key: SessionKey) -> list[str]:
    return [*TEXTS, "a turn", *(["late"] if key == KEYS[0] else [])]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "agent"
    with pytest.raises(AssertionError):
        in_a_process(lived, f"jsonl:///{folder}")
    return folder


def lines_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.jsonl"))


def damage(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    match chance.choice(["flip", "flip", "cut", "repeat", "remove"]):
        case "flip":
            data[at] ^= 1 << chance.randrange(8)
        case "cut":
            del data[at:]
        case "repeat":
            data[at:at] = data[max(0, at - 50) : at]
        case _:
            del data[at : at + chance.randrange(1, 200)]


def examined(folder: Path) -> Examination:
    return examine_store(resolve(Config(url=f"jsonl:///{folder}")))


def told(found: Examination) -> bool:
    about_files = [one for one in found.notes if one.place.endswith(".jsonl")]
    return bool(found.faults or about_files)


def read(folder: Path, key: SessionKey) -> list[str]:
    with perdure.open_sync(f"jsonl:///{folder}") as store:
        try:
            return [event.text for event in store.events.read(key)]
        except NotFoundError:
            return []


@pytest.mark.parametrize("seed", range(6))
def test_damage_is_told_and_what_is_salvaged_is_what_was_written(
    whole: Path, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    for attempt in range(effort(3, 6)):
        folder, into = tmp_path / f"old {attempt}", tmp_path / f"new {attempt}"
        shutil.copytree(whole, folder)
        if chance.random() < 0.5:
            shutil.rmtree(folder / "index")
        path = chance.choice(lines_files(folder))
        before = path.read_bytes()
        data = bytearray(before)
        damage(data, chance)
        path.write_bytes(data)

        # The room that the journal has for what comes is no line.
        assert data.rstrip() == before.rstrip() or told(examined(folder))
        saved = salvage_store(resolve(Config(url=f"jsonl:///{folder}")), str(into))

        lost = [one.path for one in saved if one.lost]
        assert path.read_bytes() == bytes(data)
        for key in KEYS:
            texts = read(into, key)
            assert [text for text in wanted(key) if text in texts] == texts
            assert texts == wanted(key) or any(f"/{key.id}-" in one for one in lost)
        assert examined(into).faults == []


def test_each_single_bit_of_a_line_is_told(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "agent"
    shutil.copytree(whole, folder)
    [path] = (folder / "sessions").rglob("two-*.jsonl")
    good = path.read_bytes()
    chance = random.Random(5)
    for at in chance.sample(range(len(good) * 8), effort(20, 150)):
        data = bytearray(good)
        data[at // 8] ^= 1 << at % 8
        path.write_bytes(data)

        assert told(examined(folder)), at


def test_a_store_whose_list_of_migrations_is_lost_opens_after_salvaging(
    whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "agent"
    shutil.copytree(whole, folder)
    shutil.rmtree(folder / "index")
    (folder / "store.jsonl").write_bytes(b"")

    salvage_store(resolve(Config(url=f"jsonl:///{folder}")), str(tmp_path / "new"))

    assert read(tmp_path / "new", KEYS[0]) == wanted(KEYS[0])
    assert examined(tmp_path / "new").faults == []
