"""What a second look at the engine found wrong, each as it was proved."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import perdure
from perdure import SessionKey
from perdure.engines.jsonl import directory as directories
from perdure.engines.jsonl.paths import readable


def _url(folder: Path) -> str:
    return f"jsonl:///{folder}"


def _texts(store: perdure.SyncStore, key: SessionKey) -> list[str | None]:
    return [event.text for event in store.events.read(key)]


def test_a_batch_over_more_files_than_are_remembered_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directories, "_CACHED", 3)
    keys = [SessionKey("app", "user", f"s{number}") for number in range(8)]
    with perdure.open_sync(_url(tmp_path / "work")) as store:
        for key in keys:
            store.sessions.create(*key)
    with perdure.open_sync(_url(tmp_path / "work")) as store:
        with store.turn() as turn:
            for text in ("one", "two"):
                for key in keys:
                    turn.events.append(key, text)
        for key in keys:
            store.events.append(key, "three")
    (tmp_path / "work" / "index" / "index.db").unlink()
    with perdure.open_sync(_url(tmp_path / "work")) as store:
        for key in keys:
            assert _texts(store, key) == ["one", "two", "three"]


def test_a_compaction_that_finds_the_index_damaged_makes_it_anew_and_ends(tmp_path: Path) -> None:
    store = perdure.open_sync(_url(tmp_path / "work"))
    key = store.sessions.create("app", "user").key
    store.events.append(key, "one")
    (tmp_path / "work" / "index" / "index.db.spoilt").touch()
    compacting = threading.Thread(target=store.compact, daemon=True)
    compacting.start()
    compacting.join(30)
    assert not compacting.is_alive()
    assert _texts(store, key) == ["one"]
    store.close()


_WRITER = """
import sys, perdure
store = perdure.open_sync(sys.argv[1])
store.sessions.create("app", "user")
print(open(sys.argv[2]).read())
store.close()
"""


def test_who_writes_is_told_without_the_arguments_of_the_program(tmp_path: Path) -> None:
    program = tmp_path / "agent.py"
    program.write_text(_WRITER)
    folder = tmp_path / "work"
    arguments = [_url(folder), str(folder / "writer.json"), "--key=sk-secret"]
    command = [sys.executable, str(program), *arguments]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "sk-secret" not in told
    assert json.loads(told)["program"] == str(program)


@pytest.mark.parametrize("name", ["con", "aux.txt", "COM1.x.y", "nul"])
def test_no_folder_has_a_name_that_windows_keeps_for_itself(name: str) -> None:
    assert readable(name) == f"_{name.lower()}"
