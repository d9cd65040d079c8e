"""``perdure compact``: the room of what was removed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import perdure as library
from perdure import SessionKey
from tests.cli.command import Perdure

KEY = SessionKey("shop", "ada", "late-parcel")
SECRET = "remember-me-not"


@pytest.fixture(params=["sqlite:///{folder}/agent.db", "jsonl:///{folder}/agent"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    text: str = request.param
    return text.replace("{folder}", str(tmp_path))


def worn(url: str) -> None:
    """A store most of which was removed."""
    with library.open_sync(url) as store:
        store.sessions.create(*KEY)
        gone = store.sessions.create("shop", "ada", "gone")
        for n in range(50):
            store.events.append(gone.key, f"{SECRET} {n} " + "x" * 20_000)
            store.events.append(KEY, f"stays {n}")
        store.sessions.purge(gone.key)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def holding(folder: Path, text: str) -> list[str]:
    return [
        path.name
        for path in folder.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    ]


def test_it_gives_back_room_and_says_how_much(perdure: Perdure, url: str, tmp_path: Path) -> None:
    worn(url)
    before = size_of(tmp_path)

    foreseen = json.loads(perdure("compact", "--dry-run", "--json").out)
    done = json.loads(perdure("compact", "--json").out)

    assert foreseen["before"] == before
    assert foreseen["reclaimable"] >= 0
    assert done["remains"] == []
    assert done["after"] <= done["before"]
    assert size_of(tmp_path) < 700_000
    assert holding(tmp_path, SECRET) == []


def test_a_dry_run_changes_nothing(perdure: Perdure, url: str, tmp_path: Path) -> None:
    worn(url)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.jsonl")}

    result = perdure("compact", "--dry-run")

    assert (result.code, "would come free" in result.out) == (0, True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.jsonl")} == before


def test_what_is_left_is_all_there(perdure: Perdure, url: str) -> None:
    worn(url)

    assert perdure("compact").code == 0

    with library.open_sync(url) as store:
        assert [one.text for one in store.events.read(KEY)] == [f"stays {n}" for n in range(50)]
    assert perdure("doctor").code == 0


def test_what_a_history_removed_with_each_save_is_gone_after_it(
    perdure: Perdure, url: str, tmp_path: Path
) -> None:
    with library.open_sync(url) as store:
        history = store.history("shop", "ada", compact_on_save=True)
        for n in range(20):
            history.add_message("chat", "user", f"{SECRET} {n}")
        history.add_message("chat", "user", "the last one")
        history.truncate_history("chat", 1)
        history.save("chat")

    assert perdure("compact").code == 0

    assert holding(tmp_path, SECRET) == []
    with library.open_sync(url) as store:
        view = store.history("shop", "ada", compact_on_save=True)
        assert [one["content"] for one in view.get_history("chat")] == ["the last one"]


def test_a_store_that_is_not_there_is_not_made(perdure: Perdure, tmp_path: Path) -> None:
    assert perdure("compact").code == 3
    assert perdure("compact", "--dry-run").code == 3
    assert list(tmp_path.iterdir()) == []


def test_beside_a_writer_of_a_directory_it_names_that_one(
    perdure: Perdure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.cli.test_directories import a_writer  # noqa: PLC0415

    url = f"jsonl:///{tmp_path}/agent"
    monkeypatch.setenv("PERDURE_URL", url)
    worn(url)
    with a_writer(url) as pid:
        result = perdure("compact")

    assert pid != os.getpid()
    assert (result.code, str(pid) in result.err) == (7, True)


def test_memory_and_its_room_are_the_process(
    perdure: Perdure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERDURE_URL", "memory:")

    assert json.loads(perdure("compact", "--json").out) == {
        "before": None,
        "after": None,
        "remains": [],
    }
    assert perdure("compact").code == 0
    assert perdure("compact", "--dry-run").code == 0
