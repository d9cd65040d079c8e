"""docs/coming-from.md has a row for every name, and what it says is here is here."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.docs.resolve import UnresolvedNameError, resolve

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "coming-from.md"
QUOTED = re.compile(r"`([^`]+)`")
# How the last column, which is prose, names what is here.
POINTER = re.compile(
    r"(?P<feature>(?:sessions|events|state|kv|summaries|history|recovery|memory|clarifications"
    r"|approvals|checkpoints|cron)\.)"
    r"|(?P<record>(?:Store|Session|Event|CronTask|CronRun)\.)"
)


class Row(NamedTuple):
    seed: str
    name: str
    ours: tuple[str, ...]
    status: str
    difference: str


def seed_names() -> list[tuple[str, str]]:
    """(seed, name) in the order of the list."""
    names = []
    seed = ""
    for line in (HERE / "seed_names.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            seed = line.strip("[]")
        elif line and not line.startswith("#"):
            names.append((seed, line))
    return names


def rows() -> list[Row]:
    found = []
    seed = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            seed = line.removeprefix("## ")
        elif line.startswith("| `"):
            name, ours, status, difference = (cell.strip() for cell in line.strip("|").split("|"))
            found.append(
                Row(seed, name.strip("`"), tuple(QUOTED.findall(ours)), status, difference)
            )
    return found


ROWS = rows()
NAMES = seed_names()


def missing(names: tuple[str, ...]) -> list[str]:
    """Those of the names that the package does not have."""
    gone = []
    for name in names:
        try:
            resolve(name)
        except UnresolvedNameError:
            gone.append(name)
    return gone


def test_the_list_holds_every_seed_and_no_name_twice() -> None:
    twice = [name for name, times in Counter(NAMES).items() if times > 1]

    assert len({seed for seed, _ in NAMES}) == 5
    assert twice == []


def test_every_name_of_the_seeds_has_a_row() -> None:
    told = {(row.seed, row.name) for row in ROWS}

    assert [name for name in NAMES if name not in told] == []


def test_every_row_tells_about_a_name_of_the_seeds_and_none_twice() -> None:
    known = set(NAMES)
    times = Counter((row.seed, row.name) for row in ROWS)

    assert [(row.seed, row.name) for row in ROWS if (row.seed, row.name) not in known] == []
    assert [row for row, count in times.items() if count > 1] == []


def test_every_row_has_a_counterpart_and_one_of_the_two_statuses() -> None:
    assert [row for row in ROWS if not row.ours] == []
    assert {row.status for row in ROWS} <= {"here", "to come"}


def test_what_a_row_says_is_here_exists() -> None:
    gone = {row.name: missing(row.ours) for row in ROWS if row.status == "here"}

    assert {name: names for name, names in gone.items() if names} == {}


def test_what_the_last_column_points_to_exists() -> None:
    pointers = set()
    for row in ROWS:
        for name in QUOTED.findall(row.difference):
            if match := POINTER.match(name):
                pointers.add(f"perdure.Store.{name}" if match["feature"] else f"perdure.{name}")

    assert len(pointers) > 5
    assert missing(tuple(pointers)) == []


def test_what_a_row_says_is_to_come_is_not_here_yet() -> None:
    arrived = [row.name for row in ROWS if row.status == "to come" and not missing(row.ours)]

    assert arrived == []


@pytest.mark.parametrize(
    "name",
    [
        "perdure.open",
        "perdure.open(tenant=)",
        "perdure.Event.run_id",
        "perdure.Store.sessions.create",
        "perdure.Store.sessions.create(title=)",
        "perdure.Store.display_url",
    ],
)
def test_a_name_of_the_package_resolves(name: str) -> None:
    assert resolve(name) is not None


@pytest.mark.parametrize(
    "name",
    [
        "perdure.opened",
        "perdure.open(tenants=)",
        "perdure.Event.run",
        "perdure.Event.run_id.more",
        "perdure.Store.sessions.creates",
        "perdure.Store.sessions.create(heading=)",
        "elsewhere.open",
    ],
)
def test_a_name_that_is_nowhere_does_not_resolve(name: str) -> None:
    with pytest.raises(UnresolvedNameError):
        resolve(name)
