"""``perdure import picoclaw``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import Perdure
from tests.importers.claw import Claw, old, said


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


def test_an_import_says_what_it_did(perdure: Perdure, folder: Path) -> None:
    Claw(folder, "telegram:42").add(*said("1", "2", "3")).truncate(1, summary="They counted.")
    old(folder, "old.json", *said("a"), key="cli:old")

    first = perdure("import", "picoclaw", str(folder), "--app", "shop", "--user", "ada")
    second = perdure("import", "picoclaw", str(folder), "--app", "shop", "--user", "ada")

    assert (first.code, first.out, first.err) == (0, "imported 2 new sessions, 4 new events\n", "")
    assert second.out == "imported 0 new sessions, 0 new events\n4 events of 2 sessions known\n"
    assert [row[:4] for row in perdure("ls", "--order", "id").rows] == [
        ["cli:old", "shop", "ada", "1"],
        ["telegram:42", "shop", "ada", "3"],
    ]


def test_a_damaged_line_is_named_and_is_exit_code_5(perdure: Perdure, folder: Path) -> None:
    Claw(folder, "a").add(*said("1", "2"), "{torn")

    result = perdure("import", "picoclaw", str(folder))

    assert result.code == 5
    assert result.out.splitlines() == ["imported 1 new session, 2 new events", "1 skipped"]
    assert result.err.startswith(f"! {folder}/a.jsonl:3: the last line is torn: not JSON")


def test_a_session_that_is_newer_here_is_exit_code_4(perdure: Perdure, folder: Path) -> None:
    claw = Claw(folder, "a").add(*said("1", "2"))
    perdure("import", "picoclaw", str(folder))
    claw.replace(*said("1", "another"))

    result = perdure("import", "picoclaw", str(folder))

    assert result.code == 4
    assert "it does not go on from the messages that are stored" in result.err


def test_an_erased_user_is_exit_code_6(perdure: Perdure, folder: Path) -> None:
    Claw(folder, "a").add(*said("1"))
    perdure("import", "picoclaw", str(folder), "--app", "shop", "--user", "ada")
    perdure("erase", "shop", "ada", "--yes")

    result = perdure("import", "picoclaw", str(folder), "--app", "shop", "--user", "ada")

    assert result.code == 6
    assert perdure("ls").rows == []


def test_a_remark_is_told_and_is_no_failure(perdure: Perdure, folder: Path, tmp_path: Path) -> None:
    Claw(folder, "a:b").add(*said("1"))
    old(folder, "a_b.json.migrated", *said("2"), key="a/b")

    shared = perdure("import", "picoclaw", str(folder))
    above = perdure("import", "picoclaw", str(tmp_path))

    assert (shared.code, above.code) == (0, 0)
    assert f"! {folder}/a_b.jsonl: conversation 'a:b': also the log of 'a/b'" in shared.err
    assert f"no sessions of PicoClaw here: did you mean {folder}?" in above.err


def test_json_is_the_whole_report(perdure: Perdure, folder: Path) -> None:
    Claw(folder, "a").add("{\n", *said("1"))

    report = json.loads(perdure("import", "picoclaw", str(folder), "--json").out)

    assert (report["sessions_new"], report["events_new"], report["remarks"]) == (1, 1, [])
    assert [one["line"] for one in report["skipped"]] == [1]


def test_a_dry_run_stores_nothing_and_makes_no_file(
    perdure: Perdure, folder: Path, tmp_path: Path
) -> None:
    Claw(folder, "a").add(*said("1", "2")).truncate(1)

    result = perdure("import", "picoclaw", str(folder), "--dry-run")

    assert (result.code, result.out) == (0, "would import 1 new session, 2 new events\n")
    assert [path.name for path in tmp_path.iterdir()] == ["sessions"]


def test_a_directory_that_is_not_there_is_a_usage_error(perdure: Perdure, tmp_path: Path) -> None:
    result = perdure("import", "picoclaw", str(tmp_path / "none"))

    assert result.code == 2
    assert list(tmp_path.iterdir()) == []


def test_text_of_the_files_is_only_shown(perdure: Perdure, folder: Path) -> None:
    Claw(folder, "a\x1b[2J", file="a").add("{")

    result = perdure("import", "picoclaw", str(folder))

    assert "\x1b" not in result.out + result.err
