"""The command on a ``jsonl:`` URL: it reads beside an agent, and never makes what is not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import perdure as library
from tests.cli.command import Perdure, environment, fill, spawn
from tests.engines.processes import ROOT

_WRITER = """
import sys, perdure
with perdure.open_sync(sys.argv[1]) as store:
    store.sessions.get_or_create("shop", "writer", "mine")
    store.events.append(perdure.SessionKey("shop", "writer", "mine"), "I write")
    if sys.argv[2:] == ["index"]:
        store.index()
    print("ready", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def a_writer(url: str, *more: str) -> Iterator[int]:
    """Another process that has written and goes on: its id."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, url, *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environment(url),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "agent"


@pytest.fixture
def url(folder: Path) -> str:
    return f"jsonl:///{folder}"


READING = [
    ("ls",),
    ("show", "late-parcel"),
    ("status",),
    ("tail", "late-parcel"),
    ("sessions", "show", "late-parcel"),
    ("kv", "ls"),
    ("memory", "ls", "shop", "ada"),
    ("search", "parcel", "--app", "shop", "--user", "ada"),
    ("export", "shop", "ada"),
    ("usage",),
    ("du",),
    ("cron", "ls"),
    ("approvals", "ls"),
    ("migrate", "--check"),
    ("doctor",),
]


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_reading_makes_no_folder(perdure: Perdure, folder: Path, command: tuple[str, ...]) -> None:
    result = perdure(*command)

    assert result.code == 3
    assert "there is no store at jsonl:///" in result.err
    assert not folder.exists()


def test_a_folder_with_something_else_in_it_is_no_store(perdure: Perdure, folder: Path) -> None:
    folder.mkdir()
    (folder / "diary.txt").write_text("mine", encoding="utf-8")

    assert perdure("ls").code == 3
    assert [path.name for path in folder.iterdir()] == ["diary.txt"]


def test_a_relative_folder_is_below_where_the_command_runs(tmp_path: Path) -> None:
    fill(f"jsonl:///{tmp_path}/agent")

    result = spawn("jsonl:///agent", "ls", cwd=tmp_path)

    assert (result.code, len(result.rows)) == (0, 3)


def test_status_tells_the_size_of_the_whole_folder(
    perdure: Perdure, url: str, folder: Path
) -> None:
    fill(url)

    told = json.loads(perdure("status", "--json").out)

    files = [path for path in folder.rglob("*") if path.is_file()]
    assert told["bytes"] == sum(path.stat().st_size for path in files)
    assert (told["url"], told["sessions"], told["schema"]) == (url, 3, "up to date")


@pytest.mark.parametrize(
    "command",
    [
        ("ls",),
        ("show", "late-parcel"),
        ("status",),
        ("tail", "late-parcel"),
        ("du",),
        ("migrate", "--check"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_beside_an_agent_that_writes_the_command_reads_at_once(
    perdure: Perdure, url: str, command: tuple[str, ...]
) -> None:
    fill(url)
    with a_writer(url):
        started = time.monotonic()
        result = perdure(*command)
        took = time.monotonic() - started

    assert result.code == 0, result.err
    assert took < 1


def test_a_search_beside_an_agent_finds_what_that_one_has_indexed_and_else_names_it(
    perdure: Perdure, url: str
) -> None:
    fill(url)
    with a_writer(url) as pid:
        refused = perdure("search", "parcel", "--app", "shop")
    with a_writer(url, "index"):
        found = perdure("search", "parcel", "--app", "shop")

    assert (refused.code, f"process {pid} on" in refused.err) == (7, True)
    assert found.code == 0
    assert "late-parcel" in found.out


def test_it_sees_what_the_agent_has_just_written(perdure: Perdure, url: str) -> None:
    fill(url)
    with a_writer(url):
        assert "I write" in perdure("show", "mine").out


@pytest.mark.parametrize(
    "command",
    [
        ("sessions", "rm", "late-parcel", "--yes"),
        ("kv", "set", "shop", "colour", '"green"'),
        ("erase", "shop", "ada", "--yes"),
        ("compact",),
    ],
    ids=" ".join,
)
def test_to_write_beside_an_agent_it_names_that_one_soon(
    perdure: Perdure, url: str, command: tuple[str, ...]
) -> None:
    fill(url)
    with a_writer(url) as pid:
        started = time.monotonic()
        result = perdure(*command)
        took = time.monotonic() - started

    assert result.code == 7, result.err
    assert f"process {pid} on" in result.err
    assert took < 2.5
    assert perdure("doctor").code == 0


def test_when_the_agent_has_ended_the_command_writes(perdure: Perdure, url: str) -> None:
    fill(url)
    with a_writer(url):
        pass

    assert perdure("sessions", "rm", "late-parcel", "--yes").code == 0
    assert "late-parcel" not in perdure("ls").out


def test_migrate_of_a_folder_that_is_not_there_tells_all_and_can_make_it(
    perdure: Perdure, folder: Path
) -> None:
    checked = perdure("migrate", "--check")
    assert (checked.code, folder.exists()) == (3, False)

    assert perdure("migrate").code == 0

    assert (folder / "perdure.json").exists()
    assert perdure("migrate", "--check").code == 0


def test_there_is_no_sql_to_print_for_plain_files(perdure: Perdure, url: str) -> None:
    fill(url)

    assert perdure("migrate", "--print").code == 2


def test_a_dry_run_of_an_import_makes_no_folder(perdure: Perdure, folder: Path) -> None:
    chat = folder.parent / "chat.json"
    chat.write_text(json.dumps([{"role": "user", "content": "Hello?"}]), encoding="utf-8")

    result = perdure("import", "chat", str(chat), "--app", "a", "--user", "b", "--dry-run")

    assert (result.code, folder.exists()) == (0, False)


def test_a_shell_completes_the_ids_of_a_directory_and_makes_none(url: str, folder: Path) -> None:
    asked = {
        "_PERDURE_COMPLETE": "bash_complete",
        "COMP_WORDS": "perdure show late",
        "COMP_CWORD": "2",
    }
    assert spawn(url, more=asked).out.strip() == ""
    assert not folder.exists()
    fill(url)

    assert spawn(url, more=asked).out.split() == ["plain,late-again", "plain,late-parcel"]


def test_import_makes_a_directory(perdure: Perdure, url: str, folder: Path) -> None:
    chat = folder.parent / "chat.json"
    chat.write_text(json.dumps([{"role": "user", "content": "Hello?"}]), encoding="utf-8")

    result = perdure("import", "chat", str(chat), "--app", "shop", "--user", "ada")

    assert result.code == 0, result.err
    with library.open_sync(url) as store:
        assert store.sessions.count() == 1
    assert os.stat(folder).st_mode & 0o777 == 0o700
