"""A power cut at any moment loses nothing that was acknowledged, if durability is full."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.effort import effort
from tests.engines.jsonl.lives import WORKS, look, lost
from tests.engines.processes import in_a_process
from tests.faults.mounts import ALONE, Disk
from tests.faults.power import first_words_after
from tests.faults.rounds import rounds
from tests.faults.writing import TASKS, Writer, make, sleep_until

pytestmark = [
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("mounts"),
]

CUTS = rounds(effort(30, 150))
HOW = ["one_by_one", "as_tasks", "fold_all_the_time", "compact_all_the_time"]


class Cut(NamedTuple):
    """What one power cut came to."""

    told: int
    unheard: int
    lost: list[str]
    wrong: list[str]


def cut_power(folder: str, durability: str, cuts: int, seed: int) -> list[Cut]:
    """Cut the power so many times, or, if durability is normal, until something was lost."""
    chance = random.Random(seed)
    disk = Disk(Path(folder))
    done: list[Cut] = []
    with disk.running() as mounted:
        make(f"jsonl:///{mounted}/new")
    for number in range(cuts):
        if number % 10 == 0:
            with disk.running() as mounted:
                shutil.rmtree(mounted / "agent", ignore_errors=True)
                shutil.copytree(mounted / "new", mounted / "agent")
        done.append(cut_once(disk, number, durability, chance))
        if durability == "normal" and done[-1].lost:
            break
    return done


def cut_once(disk: Disk, number: int, durability: str, chance: random.Random) -> Cut:
    how = chance.choice(HOW)
    with disk.running() as mounted:
        url = f"jsonl:///{mounted}/agent"
        before, _ = look(url)
        writer = Writer(url, f"{how}{number}", WORKS[how], durability)
        writer.wait_for_the_first()
        sleep_until(time.monotonic() + chance.random() * 0.04)
        # Only what was heard before counts: an fsync that the cut has interrupted may report
        # success to a process that a real power cut would not have left alive.
        told = writer.heard()
        disk.cut_power()
        late = writer.kill()
    with disk.running() as mounted:
        if chance.random() < 0.3:
            # What the files have without it.
            shutil.rmtree(mounted / "agent" / "index", ignore_errors=True)
        stored, wrong = look(f"jsonl:///{mounted}/agent")
    unheard = len([name for name in stored - before - {*late} if name[0] != "+"])
    # A session that was told to be made may be purged since; whether that was told is not known.
    certain = {name for name in before if name[0] != "+"}
    missing = [name for name in lost(certain, told, stored) if name[0] != "!"]
    return Cut(len(told), unheard, missing, wrong)


def test_power_cuts_lose_nothing_acknowledged(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    cuts = in_a_process(cut_power, str(tmp_path), "full", CUTS, seed, under=ALONE, seconds=600)

    assert [cut for cut in cuts if cut.lost or cut.wrong] == [], f"seed {seed}"
    assert max(cut.unheard for cut in cuts) <= TASKS
    assert all(cut.told for cut in cuts)


def test_with_durability_normal_the_last_writes_may_be_lost_but_nothing_is_broken(
    tmp_path: Path,
) -> None:
    # Were nothing lost here either, the test above would show nothing.
    seed = random.randrange(2**32)
    tries = rounds(40)
    cuts = in_a_process(cut_power, str(tmp_path), "normal", tries, seed, under=ALONE, seconds=600)

    assert [cut.wrong for cut in cuts if cut.wrong] == [], f"seed {seed}"
    assert cuts[-1].lost != []


def test_a_directory_that_was_just_made_survives_a_power_cut(tmp_path: Path) -> None:
    url = "jsonl:///{place}/agent"
    found = in_a_process(first_words_after, rounds(5), str(tmp_path), url, under=ALONE)

    assert found == [["the first words"]] * rounds(5)
