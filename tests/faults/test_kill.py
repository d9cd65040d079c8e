"""kill -9 at any moment loses nothing that was acknowledged, and leaves nothing by halves."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

import perdure
from perdure import SessionKey
from perdure.migrations import migrations
from tests.effort import effort
from tests.engines.processes import in_a_process, side_by_side
from tests.faults.rounds import rounds
from tests.faults.writing import (
    ONE,
    TASKS,
    Writer,
    as_tasks,
    errors_in,
    look,
    make,
    one_by_one,
    reopening,
    sleep_until,
)

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork"),
]
KILLS = rounds(effort(50, 100))


class Kill(NamedTuple):
    """What one kill came to: numbers of events, and all that was found wrong after it."""

    acknowledged: int
    unheard: int
    wrong: list[str]


def kill_writers(folder: str, count: int, tasks: bool, seed: int) -> list[Kill]:
    chance = random.Random(seed)
    kills = []
    for number in range(count):
        # Each file goes through ten crashes.
        url = f"sqlite:///{folder}/{number // 10}.db"
        if number % 10 == 0:
            make(url)
        before, _ = look(url)
        kills.append(kill_one(url, f"round{number}", tasks, before, chance))
    return kills


def kill_one(url: str, name: str, tasks: bool, before: set[str], chance: random.Random) -> Kill:
    begun = time.monotonic()
    writer = Writer(url, name, as_tasks if tasks else one_by_one)
    if chance.random() < 0.85:
        writer.wait_for_the_first()
        begun = time.monotonic()
    sleep_until(begun + chance.random() * 0.015)
    told = writer.kill()
    stored, wrong = look(url)
    wrong += errors_in(told)
    acknowledged = set(told)
    lost = (before | acknowledged) - stored
    wrong += [f"lost: {one}" for one in sorted(lost)]
    return Kill(len(acknowledged), len(stored - before - acknowledged), wrong)


@pytest.mark.parametrize(("tasks", "in_flight"), [(False, 1), (True, TASKS)])
def test_kills_lose_nothing_acknowledged_and_leave_nothing_by_halves(
    tasks: bool, in_flight: int, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    kills = in_a_process(kill_writers, str(tmp_path), KILLS, tasks, seed, seconds=600)

    assert [kill.wrong for kill in kills if kill.wrong] == [], f"seed {seed}"
    # What was on its way may be stored or not; of more than that nobody knows anything.
    assert max(kill.unheard for kill in kills) <= in_flight
    assert sum(kill.acknowledged > 0 for kill in kills) > len(kills) / 2


def kill_while_reopening(url: str, count: int, seed: int) -> list[Kill]:
    """Kill two writers at once that open and close the file for each of their events."""
    chance = random.Random(seed)
    kills = []
    before: set[str] = set()
    for number in range(count):
        writers = [Writer(url, f"{name}{number}", reopening) for name in ("one", "two")]
        sleep_until(time.monotonic() + chance.random() * 0.08)
        acknowledged: set[str] = set()
        wrong = []
        for writer in writers:
            told = writer.kill()
            acknowledged.update(told)
            wrong += errors_in(told)
        stored, found = look(url)
        wrong += [*found, *(f"lost: {name}" for name in (before | acknowledged) - stored)]
        kills.append(Kill(len(acknowledged), len(stored - before - acknowledged), wrong))
        before = stored
    return kills


def test_a_kill_while_opening_or_closing_loses_nothing_either(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    make(url)
    seed = random.randrange(2**32)

    kills = in_a_process(kill_while_reopening, url, rounds(20), seed)

    assert [kill.wrong for kill in kills if kill.wrong] == [], f"seed {seed}"
    assert sum(kill.acknowledged for kill in kills) > 0


def kill_while_others_write(url: str, role: str, seed: int) -> list[str]:
    """One process has its writers killed all the time, the others only write."""
    chance = random.Random(seed)
    if role == "killed":
        told: set[str] = set()
        for number in range(rounds(20)):
            writer = Writer(url, f"{role}{number}", one_by_one)
            writer.wait_for_the_first()
            sleep_until(time.monotonic() + chance.random() * 0.01)
            told.update(writer.kill())
        return sorted(told)
    with perdure.open_sync(url) as store:
        names = [f"{role}.{3 * number + 1}" for number in range(200)]
        for name in names:
            store.events.append(ONE, perdure.NewEvent("x", id=name, state_delta={"last": name}))
    return names


def test_processes_that_die_hold_up_and_harm_none_that_live(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    make(url)

    calls = [(url, role, number) for number, role in enumerate(["killed", "alive", "well"])]
    told = side_by_side(kill_while_others_write, calls)

    stored, wrong = look(url)
    assert wrong == []
    assert {name for own in told for name in own} <= stored


def kill_migrations(folder: str, count: int, seed: int) -> tuple[list[int], list[str]]:
    """Kill the first open of a file; how many statements it got to, by what it left."""
    chance = random.Random(seed)
    tables, wrong = [], []
    for number in range(count):
        path = f"{folder}/{number}.db"
        pid = os.fork()
        if pid == 0:
            perdure.open_sync(f"sqlite:///{path}")
            time.sleep(60)
        # The WAL is there from just before the migration on.
        while not os.path.exists(f"{path}-wal"):
            pass
        sleep_until(time.monotonic() + chance.random() * 0.006)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        tables.append(len(read(path, "SELECT 1 FROM sqlite_master WHERE type = 'table'")))
        wrong += faults_after_migration(path)
    return tables, wrong


def faults_after_migration(path: str) -> list[str]:
    key = SessionKey("app", "user", "chat")
    with perdure.open_sync(f"sqlite:///{path}") as store:
        store.sessions.create(*key)
        store.events.append(key, "on it goes")
        read_back = [event.content for event in store.events.read(key)]
    checked = [text for (text,) in read(path, "PRAGMA integrity_check")]
    ledger = [name for (name,) in read(path, "SELECT name FROM perdure_migrations")]
    whole = [migration.name for migration in migrations()]
    found = (read_back, checked, ledger)
    return [] if found == (["on it goes"], ["ok"], whole) else [repr(found)]


def read(path: str, text: str) -> list[tuple[object, ...]]:
    connection = apsw.Connection(path)
    try:
        return connection.execute(text).fetchall()
    finally:
        connection.close()


def test_a_kill_in_the_middle_of_the_first_migration_leaves_all_of_it_or_nothing(
    tmp_path: Path,
) -> None:
    seed = random.randrange(2**32)
    tables, wrong = in_a_process(kill_migrations, str(tmp_path), rounds(30), seed)

    assert wrong == [], f"seed {seed}"
    assert len(set(tables)) <= 2
    assert 0 in tables
