"""The measurements run; what they measure is nobody's test."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.rows import FAMILIES

ROOT = Path(__file__).parents[2]


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("bench")

    ran = bench(
        "--quick",
        # Each turn waits for the disk, and there are a hundred of them.
        "--seconds",
        "0.004",
        "--rows",
        "append,read,checkpoint,jsonl",
        "--dir",
        folder,
        "--json",
        folder / "out.json",
    )

    assert ran.returncode == 0, ran.stderr
    assert [path.name for path in folder.iterdir()] == ["out.json"], "it cleans up after itself"
    found: dict[str, Any] = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    return found


def test_each_row_has_perdure_and_something_to_compare_with(measured: dict[str, Any]) -> None:
    names = [row["name"] for row in measured["rows"]]

    assert {"append, 1 client", "append, 64 concurrent"} <= set(names)
    for row in measured["rows"]:
        taking_part = [line["name"] for line in row["contestants"]]
        assert any(name.startswith("perdure") for name in taking_part), row["name"]
        assert len(taking_part) + len(row["missing"]) > 1, row["name"]


def test_contestants_took_turns_and_are_compared_round_by_round(measured: dict[str, Any]) -> None:
    for row in measured["rows"]:
        # What grows is measured once.
        rounds = 1 if row["name"].startswith("growth") else measured["rounds"]
        for line in row["contestants"]:
            assert len(line["rounds"]) == rounds
            assert all(seconds > 0 for seconds in line["rounds"])
            assert all(ratio > 0 for ratio in line["times_as_long"].values())


def test_files_are_as_durable_as_they_are_said_to_be(measured: dict[str, Any]) -> None:
    said = {
        line["durability"]
        for row in measured["rows"]
        if "in memory" not in row["name"] and "PostgreSQL" not in row["name"]
        for line in row["contestants"]
        if line["name"].startswith(("perdure", "raw"))
    }

    assert said == {"WAL, FULL", "journal, FULL"}


def test_a_peer_that_is_not_installed_is_skipped_with_the_reason(measured: dict[str, Any]) -> None:
    reasons = {name: why for row in measured["rows"] for name, why in row["missing"].items()}

    assert all("pip install" in reason for reason in reasons.values())
    assert not any(name.startswith(("perdure", "raw")) for name in reasons)


def test_an_unknown_row_is_refused_with_those_that_there_are() -> None:
    ran = bench("--rows", "append,reed")

    assert ran.returncode == 2
    assert "'reed'" in ran.stderr
    assert "append, read, list, checkpoint, jsonl, processes" in ran.stderr


def test_the_page_tells_of_every_row_and_every_option() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    options = re.findall(r"^  (--[a-z]+)", bench("--help").stdout, re.MULTILINE)

    assert [name for name in FAMILIES if f"\n**{name}**" not in page] == []
    assert [option for option in options if f"`{option}" not in page] == []
