"""After an erasure no byte of the person is left in the directory, nor in the names of files."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

import perdure
from perdure import NewEvent, SessionKey, SyncStore
from perdure.engines.jsonl import engine as engines
from tests.engines.test_erased_bytes import CANARY, live


def left(folder: Path) -> dict[str, int]:
    """How often the canary stands in each file, or in its name."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        data = path.read_bytes() if path.is_file() else b""
        count = data.lower().count(CANARY.lower().encode()) + name.lower().count(CANARY.lower())
        if count:
            found[name] = count
    return found


def opened(folder: Path) -> SyncStore:
    return perdure.open_sync(f"jsonl:///{folder}", durability="normal", deleted_grace=timedelta(1))


def others(store: SyncStore) -> dict[str, list[object]]:
    return {user: list(store.export_user("app", user)) for user in "abcd"}


@pytest.mark.parametrize("settle", [None, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_no_byte_of_an_erased_person_is_left_while_the_store_is_open(
    tmp_path: Path, seed: int, settle: bool | None
) -> None:
    store = opened(tmp_path)
    live(store, seed, 400)
    before = others(store)
    assert left(tmp_path) != {}

    receipt = store.erase_user("app", "canary", settle=settle)

    assert receipt.removed["sessions"] > 0
    assert (receipt.final, receipt.remains) == (True, ())
    assert left(tmp_path) == {}
    assert others(store) == before
    store.close()
    shutil.rmtree(tmp_path / "index")
    with opened(tmp_path) as store:
        assert others(store) == before
    assert left(tmp_path) == {}


@pytest.mark.parametrize("index", [True, False], ids=["with index", "without index"])
def test_what_a_killed_process_has_erased_goes_with_the_next_erasure(
    tmp_path: Path, index: bool
) -> None:
    store = opened(tmp_path / "work")
    live(store, 3, 300)
    store.erase_user("app", "canary", settle=False)
    shutil.copytree(tmp_path / "work", tmp_path / "killed")
    store.close()
    if not index:
        shutil.rmtree(tmp_path / "killed" / "index")
    assert left(tmp_path / "killed") != {}

    with opened(tmp_path / "killed") as store:
        assert store.erase_user("app", "nobody").final is True
        assert left(tmp_path / "killed") == {}


def test_unsettled_bytes_are_there_and_the_receipt_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)
    live(store, 1, 200)

    assert store.erase_user("app", "canary", settle=False).final is False
    assert left(tmp_path) != {}
    monkeypatch.setattr(engines, "QUICK_BYTES", 1)
    assert engines.FILES in store.erase_user("app", "nobody").remains
    assert left(tmp_path) != {}
    assert store.erase_user("app", "nobody", settle=True).final is True
    assert left(tmp_path) == {}
    store.close()


def test_a_session_that_is_purged_leaves_no_byte_and_no_name(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for user in ("ada", "bob"):
        for name in (CANARY, "other"):
            key = store.sessions.create("app", user, name, title=name).key
            store.events.append(key, NewEvent(name, state_delta={name: name}))
    for user in ("ada", "bob"):
        store.sessions.purge(SessionKey("app", user, CANARY))

    assert store.erase_user("app", "nobody").final is True

    assert left(tmp_path) == {}
    assert [one.key.id for one in store.sessions.list("app", "ada")] == ["other"]
    store.close()


def test_a_copy_that_somebody_made_is_left_and_named(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        key = store.sessions.create("app", "canary", CANARY).key
        store.events.append(key, CANARY)
    [path] = tmp_path.rglob(f"{CANARY.lower()}*.jsonl")
    shutil.copy2(path, path.with_name("copy.jsonl"))

    with opened(tmp_path) as store:
        receipt = store.erase_user("app", "canary", settle=True)

        assert receipt.final is False
        assert "copy.jsonl" in receipt.remains[0]
        assert "app/canary/copy.jsonl" in " ".join(left(tmp_path))
