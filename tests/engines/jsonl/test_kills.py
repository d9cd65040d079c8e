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
from tests.effort import effort
from tests.engines.jsonl.lives import WORKS, look, lost
from tests.engines.jsonl.test_index import dump
from tests.engines.processes import side_by_side
from tests.faults.rounds import rounds
from tests.faults.writing import Writer, make, sleep_until

pytestmark = [
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork"),
]


#: Crashes that one directory goes through.
ONE_LIFE = 12
#: Whole lives of each kind of writer: the index is made anew at the end of one.
KILLS = rounds(effort(3, 9)) * ONE_LIFE


class Kills(NamedTuple):
    """What many kills came to: how many, how many after an acknowledged write, what is wrong."""

    kills: int
    acknowledged: int
    wrong: list[str]


def kill(folder: str, how: str, count: int, seed: int) -> Kills:
    """One directory goes through many crashes; now and then a new one is begun."""
    chance = random.Random(seed)
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
        writer = Writer(url, f"{how}{number}", WORKS[how])
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


def test_kills_lose_nothing_acknowledged_and_leave_nothing_by_halves(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    calls = [(str(tmp_path), how, KILLS, seed + at) for at, how in enumerate(WORKS)]

    done = side_by_side(kill, calls, seconds=600)

    assert [one.wrong for one in done] == [[]] * len(WORKS), f"seed {seed}"
    assert [one.kills for one in done] == [KILLS] * len(WORKS)
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
    calls = [(str(tmp_path / f"{name}"), rounds(effort(10, 15)), seed + name) for name in range(2)]

    assert side_by_side(kill_first_opens, calls, seconds=300) == [[], []], f"seed {seed}"
