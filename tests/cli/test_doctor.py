"""``perdure doctor``: what is wrong with a store, and what can be saved of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

import perdure as library
from perdure import CorruptError, NewEvent, SessionKey
from tests.cli.command import Perdure, Result, on_terminal
from tests.engines.processes import in_a_process

KEYS = [SessionKey("shop", "ada", name) for name in ("one", "two", "three")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "agent"


@pytest.fixture
def url(folder: Path) -> str:
    return f"jsonl:///{folder}"


def fill(url: str, count: int = 6) -> None:
    with library.open_sync(url) as store:
        for key in KEYS:
            store.sessions.create(*key)
            for n in range(count):
                store.events.append(key, f"{key.id} says {n}")
        store.memory.add("shop", "ada", "likes tea")


def killed_over(url: str, count: int) -> None:
    """A writer that ends without a word: what it wrote stands in the journal."""
    store = library.open_sync(url)
    for n in range(count):
        store.events.append(KEYS[0], NewEvent(f"late {n}", id=f"late-{n}"))
    os._exit(0)


def after_a_kill(url: str, count: int = 3) -> None:
    with pytest.raises(AssertionError):
        in_a_process(killed_over, url, count)


def file_of(folder: Path, name: str) -> Path:
    [path] = (folder / "sessions").rglob(f"{name}-*.jsonl")
    return path


def flip(path: Path, line: int, at: int = 40) -> None:
    """Change one bit of a line, counted from 1."""
    lines = path.read_bytes().splitlines(keepends=True)
    changed = bytearray(lines[line - 1])
    changed[at] ^= 1
    lines[line - 1] = bytes(changed)
    path.write_bytes(b"".join(lines))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }


def texts(url: str, key: SessionKey) -> list[str]:
    with library.open_sync(url) as store:
        return [event.text for event in store.events.read(key)]


def said(key: SessionKey, count: int = 6) -> list[str]:
    return [f"{key.id} says {n}" for n in range(count)]


def asked(perdure: Perdure, *more: str) -> tuple[int, dict[str, Any]]:
    result = perdure("doctor", "--json", *more)
    return result.code, json.loads(result.out)


def faults(result: Result) -> list[list[str]]:
    return [row[1:] for row in result.rows if row[0] == "fault"]


# -- a directory -----------------------------------------------------------------------------


def test_of_a_healthy_directory_nothing_is_said_but_what_was_counted(
    perdure: Perdure, url: str
) -> None:
    fill(url)

    code, told = asked(perdure)

    assert (code, told["healthy"], told["faults"], told["notes"]) == (0, True, [], [])
    facts = told["facts"]
    assert (facts["sessions"], facts["files"], facts["index"]) == (3, 5, "current")
    assert facts["lines"] > 3 * 7
    assert facts["bytes"] > 10_000
    assert facts["writer"] is None
    assert perdure("doctor").out == ""


@pytest.mark.parametrize("line", [1, 2, 5, 8])
def test_a_changed_bit_is_told_by_file_and_line(
    perdure: Perdure, url: str, folder: Path, line: int
) -> None:
    fill(url)
    path = file_of(folder, "two")
    flip(path, line)

    result = perdure("doctor")

    assert result.code == 8
    [[place, number, what]] = faults(result)
    assert (folder / place, number) == (path, str(line))
    assert "not as it was written" in what


@pytest.mark.parametrize("name", ["store.jsonl", "search.jsonl"])
def test_so_it_is_in_the_files_of_no_session(
    perdure: Perdure, url: str, folder: Path, name: str
) -> None:
    fill(url)
    flip(folder / name, 2)

    assert [fault[:2] for fault in faults(perdure("doctor"))] == [[name, "2"]]


def test_a_line_that_was_taken_out_and_one_that_is_twice_there_are_told(
    perdure: Perdure, url: str, folder: Path
) -> None:
    fill(url)
    path = file_of(folder, "one")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], *lines[4:]]))
    without = faults(perdure("doctor"))
    path.write_bytes(b"".join([*lines[:3], lines[2], *lines[3:]]))
    twice = faults(perdure("doctor"))

    assert without[0][1] == "4"
    assert "was written at byte" in without[0][2]
    assert twice[0][1] == "4"


def test_a_store_that_does_not_open_is_examined_all_the_same(
    perdure: Perdure, url: str, folder: Path
) -> None:
    fill(url)
    after_a_kill(url)
    flip(folder / "journal.jsonl", 2)
    shutil.rmtree(folder / "index")

    refused = perdure("ls")
    result = perdure("doctor")

    assert refused.code == 1
    assert "perdure doctor" in refused.err
    assert result.code == 8
    assert ["journal.jsonl", "2"] in [fault[:2] for fault in faults(result)]


def test_what_a_crash_leaves_is_a_note_and_no_fault(
    perdure: Perdure, url: str, folder: Path
) -> None:
    fill(url)
    after_a_kill(url)
    with (folder / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"len":99,"crc":"00000000","lsn":77')
    path = file_of(folder, "one")
    path.write_bytes(path.read_bytes()[:-30])
    (folder / "store.jsonl.next").write_bytes(b"{}")

    result = perdure("doctor")

    assert (result.code, faults(result)) == (0, [])
    notes = {row[1]: row[3] for row in result.rows}
    assert "cut off" in notes["journal.jsonl"]
    assert "the journal" in notes[str(path.relative_to(folder))]
    assert "left over" in notes["store.jsonl.next"]
    assert "was ended while it wrote" in notes["writer.json"]
    assert texts(url, KEYS[0]) == [*said(KEYS[0]), "late 0", "late 1", "late 2"]
    assert perdure("doctor").out == ""


def test_doctor_changes_nothing_and_makes_nothing(perdure: Perdure, url: str, folder: Path) -> None:
    fill(url)
    after_a_kill(url)
    flip(file_of(folder, "two"), 3)
    before = bytes_of(folder)

    perdure("doctor")

    assert bytes_of(folder) == before


def test_beside_an_agent_that_writes_nothing_is_wrong(perdure: Perdure, url: str) -> None:
    fill(url, 1)
    with library.open_sync(url) as store:
        for n in range(30):
            store.events.append(KEYS[n % 3], f"beside {n}")
            if n % 10 == 0:
                code, told = asked(perdure)
                assert (code, told["faults"]) == (0, [])
                assert told["facts"]["writer"]["runs"] is True
                assert told["facts"]["writer"]["pid"] == os.getpid()


def writing(url: str, folder: str) -> None:
    """Append until somebody says that it is enough."""
    with library.open_sync(url) as store:
        number = 0
        while not os.path.exists(f"{folder}/../enough"):
            store.events.append(KEYS[number % 3], f"{number} " + "x" * 2_000)
            number += 1
            if number % 200 == 0:
                store.compact()


@contextmanager
def a_busy_writer(url: str, folder: Path) -> Iterator[None]:
    import threading  # noqa: PLC0415

    thread = threading.Thread(target=in_a_process, args=(writing, url, str(folder)))
    thread.start()
    try:
        yield
    finally:
        (folder.parent / "enough").touch()
        thread.join()


def test_beside_a_process_that_writes_and_compacts_it_sees_no_damage(
    perdure: Perdure, url: str, folder: Path
) -> None:
    fill(url, 1)
    with a_busy_writer(url, folder):
        told = [asked(perdure) for _ in range(15)]

    assert [one["faults"] for _, one in told] == [[]] * 15
    assert {code for code, _ in told} == {0}


def test_a_damaged_last_write_of_the_journal_is_a_fault_if_the_index_has_it(
    perdure: Perdure, url: str, folder: Path
) -> None:
    fill(url)
    after_a_kill(url)
    journal = (folder / "journal.jsonl").read_bytes().splitlines()
    lines = [line for line in journal if not line.isspace()]
    flip(folder / "journal.jsonl", len(lines))

    [fault] = faults(perdure("doctor"))

    assert fault[:2] == ["journal.jsonl", str(len(lines))]
    assert "acknowledged" in fault[2]


def test_quick_tells_of_damage_that_was_found_at_opening(
    perdure: Perdure, url: str, folder: Path
) -> None:
    fill(url)
    flip(file_of(folder, "two"), 4)
    with library.open_sync(url) as store:
        assert len(store.events.read(KEYS[1])) == 6

    [fault] = faults(perdure("doctor", "--quick"))

    assert "line 4" in fault[2]


def test_quick_reads_no_session_and_still_finds_a_damaged_journal(
    perdure: Perdure, url: str, folder: Path
) -> None:
    fill(url)
    flip(file_of(folder, "two"), 3)
    code, told = asked(perdure, "--quick")
    assert (code, "lines" in told["facts"]) == (0, False)

    flip(folder / "journal.jsonl", 1)

    assert asked(perdure, "--quick")[0] == 8


def test_a_file_that_is_gone_and_one_that_is_not_ours_are_told(
    perdure: Perdure, url: str, folder: Path
) -> None:
    fill(url)
    gone = file_of(folder, "three")
    gone.unlink()
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    shutil.copy(file_of(folder, "one"), file_of(folder, "one").with_name("copy.jsonl"))

    result = perdure("doctor")

    notes = {row[1]: row[3] for row in result.rows if row[0] == "note"}
    assert "so is its session" in notes[str(gone.relative_to(folder))]
    assert notes["notes.txt"] == "it is not perdure's"
    assert "of the same session" in faults(result)[0][2]


def test_a_session_whose_file_somebody_removed_is_no_fault_before_and_after_opening(
    perdure: Perdure, url: str, folder: Path
) -> None:
    fill(url)
    with library.open_sync(url) as store:
        store.index()
    file_of(folder, "three").unlink()
    before = perdure("doctor").code

    with library.open_sync(url) as store:
        assert store.sessions.find(KEYS[2]) is None
    assert (before, perdure("doctor").code) == (0, 0)


@pytest.mark.parametrize("index", [True, False])
def test_the_store_without_its_common_file_is_not_healthy(
    perdure: Perdure, url: str, folder: Path, index: bool
) -> None:
    fill(url)
    (folder / "store.jsonl").unlink()
    if not index:
        shutil.rmtree(folder / "index")

    assert [fault[0] for fault in faults(perdure("doctor"))] == ["store.jsonl"]


def test_another_schema_file_is_told(perdure: Perdure, url: str, folder: Path) -> None:
    fill(url)
    with (folder / "schema.sql").open("a", encoding="utf-8") as schema:
        schema.write("CREATE TABLE more (a TEXT);\n")

    assert [fault[0] for fault in faults(perdure("doctor"))] == ["schema.sql"]


def test_a_damaged_index_is_told_with_what_to_do(perdure: Perdure, url: str, folder: Path) -> None:
    fill(url)
    index = folder / "index" / "index.db"
    damaged = bytearray(index.read_bytes())
    damaged[8192:200_000] = bytes(191_808)
    index.write_bytes(damaged)

    result = perdure("doctor")

    assert result.code == 8
    assert {fault[0] for fault in faults(result)} == {"index/index.db"}


def test_on_a_terminal_it_tells_what_it_counted_and_what_is_wrong(url: str, folder: Path) -> None:
    fill(url)
    healthy = on_terminal(url, "doctor", columns=200)
    flip(file_of(folder, "two"), 4)
    damaged = on_terminal(url, "doctor", columns=200)

    assert (healthy.code, damaged.code) == (0, 8)
    assert "sessions       3" in healthy.out
    assert "written by     nobody" in healthy.out
    assert healthy.out.endswith("nothing is wrong\n")
    assert ", line 4: it is not as it was written" in damaged.out
    assert damaged.out.endswith("1 fault\n")


# -- salvaging -------------------------------------------------------------------------------


def salvaged(perdure: Perdure, into: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    result = perdure("doctor", "--salvage", str(into), "--json")
    assert result.out, result.err
    return result.code, {one["path"]: one for one in json.loads(result.out)}


def test_with_the_index_nothing_of_a_damaged_session_is_lost(
    perdure: Perdure, url: str, folder: Path, tmp_path: Path
) -> None:
    fill(url)
    path = file_of(folder, "two")
    flip(path, 4)
    before = bytes_of(folder)

    code, saved = salvaged(perdure, tmp_path / "new")

    assert code == 0
    assert saved[str(path.relative_to(folder))]["from"] == ["index"]
    assert bytes_of(folder) == before
    for key in KEYS:
        assert texts(f"jsonl:///{tmp_path}/new", key) == said(key)


def test_what_is_whole_is_copied_byte_by_byte(
    perdure: Perdure, url: str, folder: Path, tmp_path: Path
) -> None:
    fill(url)
    flip(file_of(folder, "two"), 4)

    salvaged(perdure, tmp_path / "new")

    for name in ("one", "three"):
        old = file_of(folder, name)
        assert (tmp_path / "new" / old.relative_to(folder)).read_bytes() == old.read_bytes()


def test_without_an_index_the_lines_on_both_sides_of_the_damage_are_saved(
    perdure: Perdure, url: str, folder: Path, tmp_path: Path
) -> None:
    fill(url)
    path = file_of(folder, "two")
    flip(path, 4)
    shutil.rmtree(folder / "index")

    code, saved = salvaged(perdure, tmp_path / "new")

    one = saved[str(path.relative_to(folder))]
    assert code == 8
    assert one["from"] == ["file"]
    assert "from byte" in one["lost"][0]
    left = texts(f"jsonl:///{tmp_path}/new", KEYS[1])
    assert left == [text for text in said(KEYS[1]) if text != "two says 1"]
    assert texts(f"jsonl:///{tmp_path}/new", KEYS[0]) == said(KEYS[0])


def test_an_index_that_was_made_of_the_damaged_file_does_not_hide_what_follows_the_damage(
    perdure: Perdure, url: str, folder: Path, tmp_path: Path
) -> None:
    fill(url)
    flip(file_of(folder, "two"), 4)
    shutil.rmtree(folder / "index")
    with pytest.raises(CorruptError, match="line 4"):
        texts(url, KEYS[1])

    salvaged(perdure, tmp_path / "new")

    left = texts(f"jsonl:///{tmp_path}/new", KEYS[1])
    assert left == [text for text in said(KEYS[1]) if text != "two says 1"]


def test_what_the_journal_still_has_makes_a_file_whole(
    perdure: Perdure, url: str, folder: Path, tmp_path: Path
) -> None:
    fill(url)
    after_a_kill(url)
    path = file_of(folder, "one")
    flip(path, 9)
    shutil.rmtree(folder / "index")

    code, saved = salvaged(perdure, tmp_path / "new")

    assert (code, saved[str(path.relative_to(folder))]["from"]) == (0, ["file", "journal"])
    left = texts(f"jsonl:///{tmp_path}/new", KEYS[0])
    assert left == [*said(KEYS[0]), "late 0", "late 1", "late 2"]


def test_damage_inside_the_journal_costs_nothing_that_the_files_have(
    perdure: Perdure, url: str, folder: Path, tmp_path: Path
) -> None:
    fill(url)
    after_a_kill(url)
    flip(folder / "journal.jsonl", 2)
    shutil.rmtree(folder / "index")

    code, _ = salvaged(perdure, tmp_path / "new")

    assert code == 0
    left = texts(f"jsonl:///{tmp_path}/new", KEYS[0])
    assert left == [*said(KEYS[0]), "late 0", "late 1", "late 2"]


def test_a_write_of_a_bad_journal_line_that_never_reached_its_file_comes_from_the_index(
    perdure: Perdure, url: str, folder: Path, tmp_path: Path
) -> None:
    fill(url)
    after_a_kill(url)
    path = file_of(folder, "one")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    journal = (folder / "journal.jsonl").read_bytes().splitlines()
    flip(folder / "journal.jsonl", sum(not line.isspace() for line in journal))

    code, saved = salvaged(perdure, tmp_path / "new")

    assert (code, saved[str(path.relative_to(folder))]["from"][0]) == (0, "index")
    left = texts(f"jsonl:///{tmp_path}/new", KEYS[0])
    assert left == [*said(KEYS[0]), "late 0", "late 1", "late 2"]


@pytest.mark.parametrize("index", [True, False])
def test_a_session_whose_first_line_is_damaged_is_saved(
    perdure: Perdure, url: str, folder: Path, tmp_path: Path, index: bool
) -> None:
    fill(url)
    path = file_of(folder, "two")
    flip(path, 1)
    if not index:
        shutil.rmtree(folder / "index")

    code, saved = salvaged(perdure, tmp_path / "new")

    name = str(path.relative_to(folder))
    if index:
        assert (code, saved[name]["lost"]) == (0, [])
        assert texts(f"jsonl:///{tmp_path}/new", KEYS[1]) == said(KEYS[1])
    else:
        assert code == 8
        assert "whose session" in saved[name]["lost"][0]


def test_a_line_that_is_glued_to_a_torn_one_is_saved(
    perdure: Perdure, url: str, folder: Path, tmp_path: Path
) -> None:
    fill(url)
    path = file_of(folder, "two")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:-2], lines[-2][:30], lines[-1]]))
    shutil.rmtree(folder / "index")

    salvaged(perdure, tmp_path / "new")

    assert texts(f"jsonl:///{tmp_path}/new", KEYS[1])[-1] == "two says 5"


@pytest.mark.parametrize("name", ["perdure.json", "journal.jsonl", "schema.sql"])
def test_without_one_of_the_small_files_all_is_saved(
    perdure: Perdure, url: str, folder: Path, tmp_path: Path, name: str
) -> None:
    fill(url)
    (folder / name).unlink()

    assert perdure("doctor").code == 8
    code, _ = salvaged(perdure, tmp_path / "new")

    assert code == 0
    for key in KEYS:
        assert texts(f"jsonl:///{tmp_path}/new", key) == said(key)


def test_a_lost_common_file_comes_from_the_index(
    perdure: Perdure, url: str, folder: Path, tmp_path: Path
) -> None:
    fill(url)
    (folder / "store.jsonl").unlink()

    code, saved = salvaged(perdure, tmp_path / "new")

    assert (code, saved["store.jsonl"]["from"]) == (0, ["index"])
    with library.open_sync(f"jsonl:///{tmp_path}/new") as store:
        assert [one.content for one in store.memory.iter("shop", "ada")] == ["likes tea"]


def test_the_salvaged_store_is_healthy_and_goes_on(
    perdure: Perdure, url: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(url)
    for name in ("one", "two", "three"):
        flip(file_of(folder, name), 3)
    salvaged(perdure, tmp_path / "new")

    new = f"jsonl:///{tmp_path}/new"
    with library.open_sync(new) as store:
        store.events.append(KEYS[1], "and on")
    monkeypatch.setenv("PERDURE_URL", new)

    assert asked(perdure)[1]["faults"] == []
    assert texts(new, KEYS[1]) == [*said(KEYS[1]), "and on"]


def test_nothing_is_salvaged_into_what_is_there(
    perdure: Perdure, url: str, folder: Path, tmp_path: Path
) -> None:
    fill(url)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()

    assert perdure("doctor", "--salvage", str(tmp_path / "full")).code == 5
    assert perdure("doctor", "--salvage", str(folder / "inside")).code == 5
    assert perdure("doctor", "--salvage", str(folder)).code == 5
    assert perdure("doctor", "--quick", "--salvage", str(tmp_path / "new")).code == 2
    assert not (tmp_path / "new").exists()


def test_nothing_is_salvaged_while_somebody_writes(
    perdure: Perdure, url: str, tmp_path: Path
) -> None:
    fill(url)
    with library.open_sync(url) as store:
        store.events.append(KEYS[0], "mine")
        result = perdure("doctor", "--salvage", str(tmp_path / "new"))

    assert result.code == 7
    assert str(os.getpid()) in result.err


# -- other engines ---------------------------------------------------------------------------


def test_a_sqlite_file_is_checked_by_sqlite(
    perdure: Perdure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/agent.db"
    monkeypatch.setenv("PERDURE_URL", url)
    fill(url)

    code, told = asked(perdure)

    assert (code, told["faults"]) == (0, [])
    assert told["facts"]["journal_mode"] == "wal"
    assert told["facts"]["sqlite"] == apsw.sqlite_lib_version()
    damaged = bytearray((tmp_path / "agent.db").read_bytes())
    damaged[8192:100_000] = bytes(91_808)
    (tmp_path / "agent.db").write_bytes(damaged)
    assert asked(perdure)[0] == 8
    assert asked(perdure, "--quick")[0] == 8


def test_a_row_that_hangs_on_nothing_is_told(
    perdure: Perdure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/agent.db"
    monkeypatch.setenv("PERDURE_URL", url)
    fill(url)
    connection = apsw.Connection(str(tmp_path / "agent.db"))
    connection.execute("PRAGMA foreign_keys = OFF; DELETE FROM sessions WHERE id = 'one'")
    connection.close()

    result = perdure("doctor")

    assert result.code == 8
    assert "hangs on a row of sessions" in result.out


def test_a_schema_that_is_behind_and_no_database_are_told(
    perdure: Perdure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERDURE_URL", f"sqlite:///{tmp_path}/agent.db")
    (tmp_path / "agent.db").touch()
    assert "perdure migrate" in perdure("doctor").out

    (tmp_path / "agent.db").write_bytes(b"a diary" * 1000)
    result = perdure("doctor")

    assert (result.code, "no SQLite database" in result.out) == (8, True)


def test_only_a_directory_can_be_salvaged(
    perdure: Perdure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/agent.db"
    monkeypatch.setenv("PERDURE_URL", url)
    fill(url)

    result = perdure("doctor", "--salvage", str(tmp_path / "new"))

    assert (result.code, "restore a backup" in result.err) == (1, True)


def test_a_store_that_is_not_there_is_not_made(perdure: Perdure, folder: Path) -> None:
    assert perdure("doctor").code == 3
    assert not folder.exists()
