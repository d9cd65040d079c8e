"""A power cut at any moment loses nothing that was acknowledged, if durability is full."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.engines.processes import in_a_process
from tests.faults.mounts import ALONE, Disk
from tests.faults.power import first_words_after
from tests.faults.rounds import rounds
from tests.faults.writing import (
    TASKS,
    Writer,
    as_tasks,
    errors_in,
    look,
    make,
    one_by_one,
    sleep_until,
)

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("mounts")]


class Cut(NamedTuple):
    """What one power cut came to: numbers of events, and all that was found wrong after it."""

    acknowledged: int
    unheard: int
    lost: int
    wrong: list[str]


def cut_power(folder: str, durability: str, count: int, seed: int) -> list[Cut]:
    """Cut the power so many times, or, if durability is normal, until something was lost."""
    chance = random.Random(seed)
    disk = Disk(Path(folder))
    cuts: list[Cut] = []
    with disk.running() as mounted:
        make(f"sqlite:///{mounted}/store.db")
    for number in range(count):
        cuts.append(cut_once(disk, f"round{number}", durability, chance))
        if durability == "normal" and cuts[-1].lost:
            break
    return cuts


def cut_once(disk: Disk, name: str, durability: str, chance: random.Random) -> Cut:
    with disk.running() as mounted:
        url = f"sqlite:///{mounted}/store.db"
        before, _ = look(url)
        writer = Writer(url, name, chance.choice([one_by_one, as_tasks]), durability)
        writer.wait_for_the_first()
        sleep_until(time.monotonic() + chance.random() * 0.04)
        # Only what was heard before counts: an fsync that the cut has interrupted may report
        # success to a process that a real power cut would not have left alive.
        acknowledged = set(writer.heard())
        disk.cut_power()
        late = writer.kill()
    with disk.running() as mounted:
        stored, wrong = look(f"sqlite:///{mounted}/store.db")
    lost = len((before | acknowledged) - stored)
    return Cut(len(acknowledged), len(stored - before - {*late}), lost, wrong + errors_in(late))


def test_twenty_power_cuts_lose_nothing_acknowledged(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    cuts = in_a_process(cut_power, str(tmp_path), "full", rounds(20), seed, under=ALONE)

    assert [cut for cut in cuts if cut.lost or cut.wrong] == [], f"seed {seed}"
    assert max(cut.unheard for cut in cuts) <= TASKS
    assert all(cut.acknowledged for cut in cuts)


def test_with_durability_normal_a_power_cut_may_lose_the_last_events_but_breaks_nothing(
    tmp_path: Path,
) -> None:
    # Were nothing lost here either, the test above would show nothing.
    seed = random.randrange(2**32)
    cuts = in_a_process(cut_power, str(tmp_path), "normal", rounds(40), seed, under=ALONE)

    assert [cut.wrong for cut in cuts if cut.wrong] == [], f"seed {seed}"
    assert cuts[-1].lost > 0


def test_a_store_that_was_just_made_survives_a_power_cut(tmp_path: Path) -> None:
    url = "sqlite:///{place}/store.db"
    found = in_a_process(first_words_after, rounds(5), str(tmp_path), url, under=ALONE)

    assert found == [["the first words"]] * rounds(5)
