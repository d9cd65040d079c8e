"""kill -9 at any moment loses nothing acknowledged, leaves nothing by halves, raises no dead."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import pytest

import perdure
from tests.engines.jsonl import lives
from tests.engines.jsonl.lives import Writer, look, lost, make
from tests.engines.jsonl.test_index import dump
from tests.engines.processes import side_by_side
from tests.faults.rounds import rounds
from tests.faults.writing import sleep_until

pytestmark = [
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork"),
]


#: Crashes that one directory goes through.
ONE_LIFE = 12


class Kills(NamedTuple):
    """What many kills came to: how many, how many after an acknowledged write, what is wrong."""

    kills: int
    acknowledged: int
    wrong: list[str]


def kill(folder: str, how: str, count: int, seed: int) -> Kills:
    """One directory goes through many crashes; now and then a new one is begun."""
    chance = random.Random(seed)
    work = getattr(lives, how)
    acknowledged, wrong = 0, []
    stored: set[str] = set()
    for number in range(count):
        path = Path(folder) / f"{how}{number // ONE_LIFE}"
        url = f"jsonl:///{path}"
        if number == 0:
            make(f"jsonl:///{folder}/new {how}")
        if number % ONE_LIFE == 0:
            shutil.copytree(f"{folder}/new {how}", path)
            stored = set()
        writer = Writer(url, f"{how}{number}", work)
        if chance.random() < 0.85:
            writer.wait_for_the_first()
        sleep_until(time.monotonic() + chance.random() * 0.015)
        told = writer.kill()
        before = stored
        stored, found = look(url)
        wrong += [*found, *lost(before, told, stored)]
        acknowledged += bool(told)
        if number % ONE_LIFE == ONE_LIFE - 1:
            wrong += rebuilt(path)
    return Kills(count, acknowledged, wrong)


def rebuilt(path: Path) -> list[str]:
    """What an index made anew has otherwise."""
    before = dump(path)
    shutil.rmtree(path / "index")
    return [] if dump(path) == before else [f"{path.name}: another index made of the files"]


HOW = [
    "append_and_turn",
    "as_tasks",
    "fold_all_the_time",
    "compact_all_the_time",
    "change_the_schema",
]


def test_five_hundred_kills_lose_nothing_acknowledged_and_leave_nothing_by_halves(
    tmp_path: Path,
) -> None:
    seed = random.randrange(2**32)
    calls = [(str(tmp_path), how, rounds(100), seed + at) for at, how in enumerate(HOW)]

    done = side_by_side(kill, calls, seconds=600)

    assert [one.wrong for one in done] == [[]] * len(HOW), f"seed {seed}"
    assert sum(one.kills for one in done) >= 500
    assert all(one.acknowledged > one.kills / 2 for one in done)


def kill_first_opens(folder: str, count: int, seed: int) -> list[str]:
    """Kill the first open, which makes the directory and changes its schema; open it again."""
    chance = random.Random(seed)
    wrong = []
    for number in range(count):
        url = f"jsonl:///{folder}/{number}"
        begun = time.monotonic()
        pid = os.fork()
        if pid == 0:
            perdure.open_sync(url)
            os._exit(0)
        sleep_until(begun + chance.random() * 0.4)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        try:
            make(url)
            wrong += look(url)[1]
            wrong += rebuilt(Path(folder) / str(number))
        except perdure.PerdureError as error:
            wrong.append(f"{number}: {error}")
        shutil.rmtree(Path(folder) / str(number))
    return wrong


def test_a_kill_while_the_schema_changes_leaves_the_old_one_or_the_new(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    calls = [(str(tmp_path / "one"), rounds(15), seed), (str(tmp_path / "two"), rounds(15), ~seed)]

    assert side_by_side(kill_first_opens, calls, seconds=300) == [[], []], f"seed {seed}"
