"""``perdure import chat``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import perdure as library
from perdure import SessionKey
from tests.cli.command import Perdure, on_terminal, spawn

HELLO = {"role": "user", "content": "Hello"}
REPLY = {"role": "assistant", "content": "Hi!"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "chats.jsonl"


def write(file: Path, *records: Any) -> str:
    lines = [one if isinstance(one, str) else json.dumps(one) for one in records]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(file)


def test_an_import_says_what_it_did(perdure: Perdure, file: Path) -> None:
    name = write(file, {"id": "a", "messages": [HELLO, REPLY]}, {"id": "b", "messages": [HELLO]})

    first = perdure("import", "chat", name, "--app", "shop", "--user", "ada")
    second = perdure("import", "chat", name, "--app", "shop", "--user", "ada")

    assert (first.code, first.out, first.err) == (0, "imported 2 new sessions, 3 new events\n", "")
    assert second.out == ("imported 0 new sessions, 0 new events\n3 events of 2 sessions known\n")
    assert [row[:4] for row in perdure("ls", "--order", "id").rows] == [
        ["a", "shop", "ada", "2"],
        ["b", "shop", "ada", "1"],
    ]


def test_what_cannot_be_read_is_named_and_the_rest_is_there(perdure: Perdure, file: Path) -> None:
    name = write(file, "{", {"id": "a", "messages": [HELLO]}, {"id": "b", "messages": [{}]})

    result = perdure("import", "chat", name)

    assert result.code == 5
    assert result.out.splitlines() == ["imported 1 new session, 1 new event", "2 skipped"]
    first, second = result.err.splitlines()
    assert first.startswith(f"! {name}:1: not JSON: Expecting property name")
    assert second == (
        f"! {name}:3: conversation 'b': message 1: the role is None, not one of system, "
        "developer, user, assistant, tool, function"
    )


def test_of_many_that_cannot_be_read_some_are_named(perdure: Perdure, file: Path) -> None:
    name = write(file, *["{"] * 30)

    result = perdure("import", "chat", name)

    assert len(result.err.splitlines()) == 21
    assert result.err.splitlines()[-1] == "! … and 10 more: --json names them all"
    assert len(json.loads(perdure("import", "chat", name, "--json").out)["skipped"]) == 30


def test_a_changed_message_is_exit_code_4(perdure: Perdure, file: Path) -> None:
    perdure("import", "chat", write(file, {"id": "a", "messages": [HELLO]}))

    result = perdure("import", "chat", write(file, {"id": "a", "messages": [REPLY, HELLO]}))

    assert result.code == 4
    assert "message 1 changed, kept as stored; 1 new not added" in result.err


def test_an_erased_user_is_exit_code_6(perdure: Perdure, file: Path) -> None:
    name = write(file, {"id": "a", "messages": [HELLO]})
    perdure("import", "chat", name, "--app", "shop", "--user", "ada")
    perdure("erase", "shop", "ada", "--yes")

    result = perdure("import", "chat", name, "--app", "shop", "--user", "ada")

    assert result.code == 6
    assert "1 conversations not stored: this user was erased" in result.err
    assert perdure("ls").rows == []


def test_json_is_the_whole_report(perdure: Perdure, file: Path) -> None:
    name = write(file, "{", {"id": "a", "messages": [HELLO]})

    report = json.loads(perdure("import", "chat", name, "--json").out)

    assert report["sessions_new"] == 1
    assert report["events_changed"] == 0
    assert [one["line"] for one in report["skipped"]] == [1]


def test_a_dry_run_stores_nothing_and_makes_no_file(
    perdure: Perdure, file: Path, tmp_path: Path
) -> None:
    name = write(file, {"id": "a", "messages": [HELLO]})

    result = perdure("import", "chat", name, "--dry-run")

    assert (result.code, result.out) == (0, "would import 1 new session, 1 new event\n")
    assert [path.name for path in tmp_path.iterdir()] == ["chats.jsonl"]


def test_a_dry_run_on_a_store_that_is_there_leaves_it_as_it_is(shop: Perdure, file: Path) -> None:
    before = shop("ls", "--json").out

    result = shop("import", "chat", write(file, {"id": "a", "messages": [HELLO]}), "--dry-run")

    assert result.out == "would import 1 new session, 1 new event\n"
    assert shop("ls", "--json").out == before


def test_standard_input_is_a_file(url: str) -> None:
    text = json.dumps({"id": "a", "messages": [HELLO]}) + "\n"

    result = spawn(url, "import", "chat", "-", given=text)

    assert (result.code, result.out) == (0, "imported 1 new session, 1 new event\n")


def test_a_log_in_several_files_is_one(perdure: Perdure, tmp_path: Path) -> None:
    one = write(tmp_path / "1.jsonl", {"session_id": "a", **HELLO})
    two = write(tmp_path / "2.jsonl", {"session_id": "a", **REPLY})

    result = perdure("import", "chat", one, two)

    assert result.out == "imported 1 new session, 2 new events\n"


def test_times_without_a_zone_need_one(perdure: Perdure, url: str, file: Path) -> None:
    name = write(file, {"id": "a", "messages": [{**HELLO, "ts": "2024-05-20T14:00:00"}]})

    refused = perdure("import", "chat", name)
    read = perdure("import", "chat", name, "--timezone", "Europe/Paris")

    assert refused.code == 5
    assert "has no zone" in refused.err
    assert read.code == 0
    with library.open_sync(url) as store:
        [event] = store.events.read(SessionKey("", "", "a"))
    assert event.timestamp.isoformat() == "2024-05-20T12:00:00+00:00"
    assert perdure("import", "chat", name, "--timezone", "Mars/Olympus").code == 5


def test_a_file_that_is_not_there_is_a_usage_error(perdure: Perdure, tmp_path: Path) -> None:
    result = perdure("import", "chat", str(tmp_path / "none.jsonl"))

    assert result.code == 2
    assert "does not exist" in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_sees_a_bar_that_goes_away(url: str, file: Path) -> None:
    name = write(file, *({"id": f"c-{n}", "messages": [HELLO] * 20} for n in range(100)))

    shown = on_terminal(url, "import", "chat", name)
    silent = on_terminal(url, "import", "chat", name, "-q")

    assert "messages" in shown.out
    assert shown.out.rstrip().endswith("imported 100 new sessions, 2,000 new events")
    assert "messages" not in silent.out
