"""Files in and out: `perdure artifacts`."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path

import pytest

from tests.cli.command import Perdure, on_terminal, spawn

SESSION = ("--session", "late-p")


@pytest.fixture
def report(tmp_path: Path) -> Path:
    file = tmp_path / "report.txt"
    file.write_bytes(b"\xff one\n")
    return file


def test_a_file_goes_in_and_comes_out_as_it_was(
    shop: Perdure, report: Path, tmp_path: Path
) -> None:
    first = shop("artifacts", "put", str(report), *SESSION)
    report.write_bytes(b"two" * 1_000_000)
    shop("artifacts", "put", str(report), *SESSION, "--type", "a/b")
    out = tmp_path / "out.bin"
    got = shop("artifacts", "get", "report.txt", *SESSION, "-o", str(out))

    assert (first.code, first.err) == (0, "report.txt is saved as version 0\n")
    assert got.err == f"3,000,000 bytes written to {out}\n"
    assert out.read_bytes() == report.read_bytes()
    assert sorted(file.name for file in tmp_path.glob("*.part")) == []
    rows = shop("artifacts", "ls", "report.txt", *SESSION).rows
    assert [row[:4] for row in rows] == [
        ["report.txt", "0", "6", "text/plain"],
        ["report.txt", "1", "3000000", "a/b"],
    ]
    assert [row[:2] for row in shop("artifacts", "ls", *SESSION).rows] == [["report.txt", "1"]]


def test_bytes_go_to_the_output_as_they_are(filled: str) -> None:
    given = "in\u00fc\n"
    put = spawn(filled, "artifacts", "put", "-", "--name", "a.txt", *SESSION, given=given)
    got = spawn(filled, "artifacts", "get", "a.txt", *SESSION)

    assert put.code == 0, put.err
    assert (got.code, got.out) == (0, given)


def test_standard_input_needs_a_name(filled: str) -> None:
    result = spawn(filled, "artifacts", "put", "-", *SESSION, given="x")

    assert result.code == 2
    assert "say --name" in result.err


def test_a_user_has_artifacts_without_a_session(shop: Perdure, report: Path) -> None:
    of = ("--app", "shop", "--user", "ada")
    shop("artifacts", "put", str(report), *of, "--name", "notes/a.txt")

    listed = json.loads(shop("artifacts", "ls", *of, "--json").out)
    got = json.loads(shop("artifacts", "get", "user:notes/a.txt", *SESSION, "--json").out)

    assert [(one["name"], one["session"], one["size"]) for one in listed] == [
        ("notes/a.txt", None, 6)
    ]
    assert b64decode(got["base64"]) == report.read_bytes()
    assert shop("artifacts", "ls", *SESSION).out == ""


def test_it_must_be_said_whose(shop: Perdure) -> None:
    for words in (("ls",), ("ls", "--app", "shop"), ("get", "x"), ("rm", "x", "--yes")):
        result = shop("artifacts", *words)

        assert result.code == 2
        assert "say --session, or --app and --user" in result.err


def test_removing_asks_and_a_dry_run_only_tells(shop: Perdure, report: Path) -> None:
    for _ in range(2):
        shop("artifacts", "put", str(report), *SESSION)

    dry = shop("artifacts", "rm", "report.txt", *SESSION, "--dry-run")
    asked = shop("artifacts", "rm", "report.txt", *SESSION)
    one = shop("artifacts", "rm", "report.txt", *SESSION, "--version", "0", "--yes", "--json")
    gone = shop("artifacts", "rm", "report.txt", *SESSION, "--yes")
    again = shop("artifacts", "rm", "report.txt", *SESSION, "--yes")

    assert dry.err == "report.txt, 2 versions would be removed\n"
    assert asked.code == 2
    assert [found["version"] for found in json.loads(one.out)] == [0]
    assert gone.err == "report.txt, 1 version removed\n"
    assert again.code == 3
    assert "no artifact 'report.txt'" in again.err


def test_what_is_not_there_leaves_the_output_file_alone(shop: Perdure, tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    out.write_bytes(b"mine")

    assert shop("artifacts", "get", "none", *SESSION, "-o", str(out)).code == 3
    assert out.read_bytes() == b"mine"


def test_a_terminal_gets_a_table(filled: str, shop: Perdure, report: Path) -> None:
    shop("artifacts", "put", str(report), *SESSION)

    shown = on_terminal(filled, "artifacts", "ls", *SESSION, more={"NO_COLOR": "1"}).out

    assert shown.splitlines()[0].split() == ["NAME", "VERSION", "BYTES", "TYPE", "SAVED"]
    assert "report.txt" in shown
