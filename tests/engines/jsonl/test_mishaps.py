"""What may come in the way of a directory: interrupts, damage, files and folders of others."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

import perdure
from perdure import NewEvent, SessionKey
from perdure.engines.jsonl import directory as directories
from perdure.engines.jsonl import disk, generations
from perdure.engines.jsonl.directory import Directory
from perdure.engines.jsonl.files import Appender
from perdure.engines.jsonl.journal import Journal
from perdure.engines.jsonl.lines import seal_object
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


class _Interrupted:
    """A function during whose first call somebody presses Ctrl-C."""

    def __init__(self, function: Any, *, before: bool) -> None:
        self._function = function
        self._before = before
        self.fired = False

    def __get__(self, instance: object, kind: type) -> Any:
        return lambda *args, **kwargs: self(instance, *args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        fires, self.fired = not self.fired, True
        if fires and self._before:
            raise KeyboardInterrupt
        value = self._function(*args, **kwargs)
        if fires:
            raise KeyboardInterrupt
        return value


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(
    ("of", "name"),
    [
        (Journal, "write"),
        (Directory, "write"),
        (Directory, "follow"),
        (Appender, "write"),
    ],
)
def test_a_write_that_is_interrupted_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: type, name: str, before: bool
) -> None:
    work, killed = tmp_path / "work", tmp_path / "killed"
    store = perdure.open_sync(_url(work))
    key = store.sessions.create("app", "user").key
    with monkeypatch.context() as patch:
        patch.setattr(of, name, _Interrupted(of.__dict__[name], before=before))
        with pytest.raises(KeyboardInterrupt):
            store.events.append(key, NewEvent("interrupted " * 20, id="interrupted"))
    store.events.append(key, NewEvent("later", id="later"))
    seen = [event.id for event in store.events.read(key)]
    assert seen in (["later"], ["interrupted", "later"])
    shutil.copytree(work, killed)
    store.close()
    for folder in (work, killed):
        shutil.rmtree(folder / "index")
        with perdure.open_sync(_url(folder)) as again:
            assert [event.id for event in again.events.read(key)] == seen


_ADDED = "CREATE TABLE added (part TEXT NOT NULL PRIMARY KEY, one TEXT)"


@pytest.mark.parametrize(
    ("of", "name"), [(generations, "_write_all"), (generations, "swap_in"), (disk, "replace")]
)
def test_a_change_of_the_schema_that_is_interrupted_leaves_the_old_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: Any, name: str
) -> None:
    store = perdure.open_sync(_url(tmp_path / "work"))
    key = store.sessions.create("app", "user").key
    store.events.append(key, "one")
    directory = directories.directory_at(str(tmp_path / "work"))
    directories.give_back(directory, lambda: None)
    connection = apsw.Connection(str(tmp_path / "work" / "index" / "index.db"))
    with monkeypatch.context() as patch:
        patch.setattr(of, name, _Interrupted(getattr(of, name), before=True))
        connection.execute("BEGIN")
        connection.execute(_ADDED)
        with directory.mutex, pytest.raises(KeyboardInterrupt):
            generations.commit_schema(directory, connection)
    connection.close()
    store.close()
    with perdure.open_sync(_url(tmp_path / "work")) as again:
        assert _texts(again, key) == ["one"]
        again.events.append(key, "two")


def test_a_journal_that_is_begun_anew_may_be_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directories, "_FOLD_BYTES", 1)
    store = perdure.open_sync(_url(tmp_path / "work"))
    key = store.sessions.create("app", "user").key
    with monkeypatch.context() as patch:
        patch.setattr(disk, "replace", _Interrupted(disk.replace, before=False))
        with pytest.raises(KeyboardInterrupt):
            store.events.append(key, "one")
    store.events.append(key, "two")
    shutil.copytree(tmp_path / "work", tmp_path / "killed")
    store.close()
    with perdure.open_sync(_url(tmp_path / "killed")) as again:
        assert _texts(again, key) == ["one", "two"]


def test_a_folder_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(perdure.InvalidError, match="not empty"):
        perdure.open_sync(_url(tmp_path)).sessions.count()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("below", ["", "deep/below"])
def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(perdure.InvalidError, match="file"):
        perdure.open_sync(_url(tmp_path / "file" / below)).sessions.count()


def test_who_was_killed_while_it_made_the_folder_is_in_nobodys_way(tmp_path: Path) -> None:
    for name in ("lock", ".gitignore.draft", "perdure.json.draft"):
        (tmp_path / name).touch()
    with perdure.open_sync(_url(tmp_path)) as store:
        assert store.sessions.count() == 0


def test_every_folder_above_a_new_file_is_on_the_disk_before_the_journal_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As someone leaves them who made them, and was killed.
    user = tmp_path / "work" / "sessions" / "app" / "user"
    synced: list[str] = []
    store = perdure.open_sync(_url(tmp_path / "work"))
    assert store.sessions.count() == 0
    user.mkdir(parents=True)
    sync = disk.sync_folder

    def noted(path: str) -> None:
        synced.append(path)
        sync(path)

    monkeypatch.setattr(disk, "sync_folder", noted)
    store.sessions.create("app", "user")
    store.close()
    above = [user, *user.parents[:3]]
    assert set(map(str, above)) <= set(synced)


def _sealed_again(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    written = b""
    for line in path.read_bytes().splitlines():
        value = json.loads(line)
        change(value)
        if "at" in value:
            value["at"] = len(written)
        written += seal_object({name: value[name] for name in value if name not in ("len", "crc")})
    path.write_bytes(written)


def _without_a_time(value: dict[str, Any]) -> None:
    for verb, table, row in value.get("rows", ()):
        if (verb, table) == ("put", "events"):
            del row["created_at"]


def _without_part(value: dict[str, Any]) -> None:
    for name in ("part", "app", "user_id", "id"):
        value.pop(name, None)


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("change", [_without_a_time, _without_part])
def test_a_file_whose_rows_cannot_be_is_damaged_and_the_others_go_on(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], index: bool
) -> None:
    with perdure.open_sync(_url(tmp_path)) as store:
        for name in ("one", "two"):
            store.events.append(store.sessions.create("app", "user", name).key, name)
    [path] = (tmp_path / "sessions").rglob("one-*.jsonl")
    _sealed_again(path, change)
    if not index:
        shutil.rmtree(tmp_path / "index")
    with perdure.open_sync(_url(tmp_path)) as store:
        two = SessionKey("app", "user", "two")
        store.events.append(two, "more")
        assert _texts(store, two) == ["two", "more"]


def test_a_page_of_an_unsynced_journal_that_a_power_cut_lost_ends_it_and_nothing_more(
    tmp_path: Path,
) -> None:
    work, cut = tmp_path / "work", tmp_path / "cut"
    store = perdure.open_sync(_url(work), durability="normal")
    key = store.sessions.create("app", "user").key
    for number in range(60):
        store.events.append(key, NewEvent("x" * 300, id=str(number)))
    shutil.copytree(work, cut)
    store.close()
    journal = cut / "journal.jsonl"
    data = bytearray(journal.read_bytes())
    data[8192:12288] = b" " * 4096
    journal.write_bytes(data)
    for index in (True, False):
        if not index:
            shutil.rmtree(cut / "index")
        with perdure.open_sync(_url(cut), durability="normal") as again:
            found = [event.id for event in again.events.read(key)]
            assert 0 < len(found) < 60
            assert found == [str(number) for number in range(len(found))]
            again.events.append(key, NewEvent("x", id=str(len(found))))
