"""What people do to their files: taken in where it is whole, refused by name where it is not."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import perdure
from perdure import CorruptError, NotFoundError, ReadOnlyError, SchemaTooNewError
from perdure.engines.jsonl.lines import seal_object
from tests.engines.jsonl.making import (
    ONE,
    SAID,
    SESSIONS,
    TWO,
    Images,
    copy,
    files_of,
    heard,
    make,
    say,
    url_of,
)
from tests.engines.plans import doing, engine_of, sql
from tests.engines.processes import in_a_process

pytestmark = pytest.mark.faults

both_ways = pytest.mark.parametrize("index", [True, False], ids=["with index", "without index"])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return make(tmp_path_factory.mktemp("made"))


@pytest.fixture(params=[True, False], ids=["with index", "without index"])
def work(request: pytest.FixtureRequest, images: Images, tmp_path: Path) -> Path:
    return copy(images.closed, tmp_path / "work", index=request.param)


def one(work: Path) -> Path:
    return work / next(file for file in files_of(work) if "/one-" in file)


def check_others(work: Path) -> None:
    """The other session has all it had, and goes on."""
    with perdure.open_sync(url_of(work)) as store:
        assert heard(store, TWO)[:3] == SAID[TWO]
        number = len(heard(store, TWO))
        say(store, TWO, f"more {number}")
        assert heard(store, TWO)[-1] == f"more {number}"


def check_refused(work: Path, *, line: int, reads: bool) -> None:
    """It says which file and line; and again when it is opened again."""
    name = re.escape(str(one(work).relative_to(work)))
    before = one(work).read_bytes()
    for _ in range(2):
        with perdure.open_sync(url_of(work)) as store:
            with pytest.raises(CorruptError, match=f"{name}, line {line}: "):
                say(store, ONE, "no")
            if reads:
                assert heard(store, ONE) == SAID[ONE]
            else:
                with pytest.raises(CorruptError, match=f"{name}, line {line}: "):
                    heard(store, ONE)
        check_others(work)
    assert one(work).read_bytes() == before


# -- removed, restored, renamed --------------------------------------------------------------


def test_the_session_of_a_file_that_was_removed_is_gone_and_can_be_made_anew(work: Path) -> None:
    one(work).unlink()

    with perdure.open_sync(url_of(work)) as store:
        with pytest.raises(NotFoundError):
            store.events.read(ONE)
        store.sessions.create(*ONE)
        say(store, ONE, "anew")
    shutil.rmtree(work / "index")
    with perdure.open_sync(url_of(work)) as store:
        assert heard(store, ONE) == ["anew"]
    check_others(work)


def test_a_file_that_was_restored_from_an_older_copy_counts(work: Path) -> None:
    lines = one(work).read_bytes().splitlines(keepends=True)
    one(work).write_bytes(b"".join(lines[:3]))

    with perdure.open_sync(url_of(work)) as store:
        assert heard(store, ONE) == ["first"]
        say(store, ONE, "other")
    for _ in range(2):
        with perdure.open_sync(url_of(work)) as store:
            assert heard(store, ONE) == ["first", "other"]
        shutil.rmtree(work / "index")
    check_others(work)


def test_a_file_that_comes_back_brings_its_session_back(work: Path) -> None:
    path, data = one(work), one(work).read_bytes()
    path.unlink()
    check_others(work)
    path.write_bytes(data)

    with perdure.open_sync(url_of(work)) as store:
        assert heard(store, ONE) == SAID[ONE]
        say(store, ONE, "more")
        assert heard(store, ONE) == [*SAID[ONE], "more"]


def test_a_file_that_was_given_another_name_keeps_its_session(work: Path) -> None:
    named = work / "sessions" / "by hand" / "Mine.jsonl"
    named.parent.mkdir()
    one(work).rename(named)

    with perdure.open_sync(url_of(work)) as store:
        assert heard(store, ONE) == SAID[ONE]
        say(store, ONE, "more")
    shutil.rmtree(work / "index")
    with perdure.open_sync(url_of(work)) as store:
        assert heard(store, ONE) == [*SAID[ONE], "more"]
    assert named.read_bytes().count(b"\n") == 6
    check_others(work)


def test_of_a_file_and_its_copy_the_one_in_its_place_counts(work: Path) -> None:
    twin = one(work).with_name("a copy.jsonl")
    shutil.copy2(one(work), twin)

    for _ in range(2):
        with perdure.open_sync(url_of(work)) as store:
            assert heard(store, ONE)[:3] == SAID[ONE]
            say(store, ONE, f"more {len(heard(store, ONE))}")
        check_others(work)
    assert twin.read_bytes().count(b"\n") == 5
    twin.unlink()
    with perdure.open_sync(url_of(work)) as store:
        assert heard(store, ONE) == [*SAID[ONE], "more 3", "more 4"]


def test_a_file_in_the_place_of_another_is_refused_or_moved(work: Path) -> None:
    two = work / next(file for file in files_of(work) if "/two-" in file)
    shutil.copy2(two, one(work))
    known = (work / "index").exists()

    with perdure.open_sync(url_of(work)) as store:
        # The index knows what stood there; without one, nobody does.
        assert bool(store.sessions.find(ONE)) == known
    check_others(work)
    if not known:
        return
    with perdure.open_sync(url_of(work)) as store:
        assert heard(store, ONE) == SAID[ONE]
        with pytest.raises(CorruptError, match="of the same session"):
            say(store, ONE, "no")
    check_others(work)


# -- edited ----------------------------------------------------------------------------------


def edited(data: bytes) -> bytes:
    return data.replace(b'"content":"second"', b'"content":"SECOND"')


def without_a_line(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join([*lines[:3], *lines[4:]])


def a_line_twice(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join([*lines[:3], lines[2], *lines[3:]])


def with_windows_ends(data: bytes) -> bytes:
    return data.replace(b"\n", b"\r\n")


def with_a_mark(data: bytes) -> bytes:
    return b"\xef\xbb\xbf" + data


def without_the_last_newline(data: bytes) -> bytes:
    return data[:-1]


def with_an_empty_line(data: bytes) -> bytes:
    return data + b"\n"


def with_notes(data: bytes) -> bytes:
    return data + b"remember the milk\n"


def of_nothing(data: bytes) -> bytes:
    return data[:0]


def of_zeros(data: bytes) -> bytes:
    return data + bytes(100)


EDITS: list[tuple[Callable[[bytes], bytes], int]] = [
    (edited, 4),
    (without_a_line, 4),
    (a_line_twice, 4),
    (with_windows_ends, 1),
    (with_a_mark, 1),
    (without_the_last_newline, 5),
    (with_an_empty_line, 6),
    (with_notes, 6),
    (of_nothing, 1),
    (of_zeros, 6),
]


@both_ways
@pytest.mark.parametrize(("edit", "line"), EDITS, ids=[edit.__name__ for edit, _ in EDITS])
def test_an_edited_file_is_refused_by_name_and_line_and_left_as_it_is(
    edit: Callable[[bytes], bytes], line: int, index: bool, images: Images, tmp_path: Path
) -> None:
    work = copy(images.closed, tmp_path / "work", index=index)
    path, whole = one(work), one(work).read_bytes()
    path.write_bytes(edit(whole))

    if line == 1 and not index:
        # Whose it is, it alone can say.
        with perdure.open_sync(url_of(work)) as store, pytest.raises(NotFoundError):
            store.events.read(ONE)
        check_others(work)
    else:
        check_refused(work, line=line, reads=index)

    path.write_bytes(whole)
    with perdure.open_sync(url_of(work)) as store:
        assert heard(store, ONE) == SAID[ONE]
        say(store, ONE, "mended")
        assert heard(store, ONE) == [*SAID[ONE], "mended"]


def test_an_edited_store_file_is_refused_and_sessions_are_read(
    images: Images, tmp_path: Path
) -> None:
    work = copy(images.closed, tmp_path / "work")
    path = work / "store.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"turn"', b'"TURN"'))

    with perdure.open_sync(url_of(work)) as store:
        assert heard(store, ONE) == SAID[ONE]
        with pytest.raises(CorruptError, match=r"store\.jsonl, line 3: "):
            store.kv.set("space", "name", {"v": 1})
        say(store, ONE, "more")
    shutil.rmtree(work / "index")
    with pytest.raises(CorruptError, match=r"store\.jsonl, line 3: "):
        perdure.open_sync(url_of(work))


def test_the_schema_is_not_changed_while_a_file_is_damaged(images: Images, tmp_path: Path) -> None:
    work = copy(images.closed, tmp_path / "work")
    whole = one(work).read_bytes()
    one(work).write_bytes(edited(whole))
    extra = "CREATE TABLE extra (part TEXT NOT NULL PRIMARY KEY)"
    changing = doing(sql(extra), sql("INSERT INTO extra (part) VALUES ('x')"))

    with perdure.open_sync(url_of(work)) as store:
        with pytest.raises(CorruptError, match=r"one-.*, line 4: .*the schema cannot be changed"):
            engine_of(store).run(changing)
        assert heard(store, TWO) == SAID[TWO]
        say(store, TWO, "more")
    assert one(work).read_bytes() == edited(whole)
    one(work).write_bytes(whole)
    with perdure.open_sync(url_of(work)) as store:
        engine_of(store).run(changing)
    for _ in range(2):
        with perdure.open_sync(url_of(work)) as store:
            assert engine_of(store).run(doing(sql("SELECT part FROM extra"))) == [("x",)]
            assert heard(store, ONE) == SAID[ONE]
            assert heard(store, TWO) == [*SAID[TWO], "more"]
        shutil.rmtree(work / "index")


def of_a_later_format(path: Path) -> None:
    """Its first line as a later perdure would write it, as long as before."""
    first, end, rest = path.read_bytes().partition(b"\n")
    head = msgspec.json.decode(first)
    later = {name: head[name] for name in head if name not in {"len", "crc"}} | {"format": 2}
    sealed = "len" in head
    path.write_bytes((seal_object(later) if sealed else msgspec.json.encode(later) + end) + rest)


@pytest.mark.parametrize("which", ["perdure.json", "journal.jsonl", "store.jsonl", "session"])
def test_a_later_format_is_refused_before_anything_is_changed(which: str, work: Path) -> None:
    of_a_later_format(one(work) if which == "session" else work / which)
    own = {"lock", "writer.json", "index"}
    files = [path for path in work.rglob("*") if path.is_file() and own.isdisjoint(path.parts)]
    before = {path: path.read_bytes() for path in files}

    for _ in range(2):
        with pytest.raises(SchemaTooNewError, match="update perdure"):
            perdure.open_sync(url_of(work))

    assert {path: path.read_bytes() for path in files} == before


# -- what does not belong there --------------------------------------------------------------


def test_what_else_lies_there_is_left_alone(work: Path) -> None:
    strange = {
        "sessions/notes.txt": b"milk",
        "sessions/app/list.jsonl": b'{"a":1}\n',
        "sessions/app/empty.jsonl": b"",
        "sessions/store.jsonl": (work / "store.jsonl").read_bytes(),
        "README.md": b"mine",
    }
    for name, data in strange.items():
        (work / name).write_bytes(data)
    (work / "sessions" / "folder.jsonl").mkdir()
    (work / "sessions" / "nowhere.jsonl").symlink_to(work / "no such file")

    for _ in range(2):
        with perdure.open_sync(url_of(work)) as store:
            assert heard(store, ONE)[:3] == SAID[ONE]
            say(store, ONE, f"more {len(heard(store, ONE))}")
            store.kv.set("space", "name", {"v": 1})
            store.erase_user("app", "nobody", settle=True)
    assert {name: (work / name).read_bytes() for name in strange} == strange
    for name in strange:
        (work / name).unlink()
    check_others(work)


def test_a_folder_in_the_place_of_a_file_is_an_error_of_ours(work: Path) -> None:
    path = one(work)
    path.unlink()
    path.mkdir()

    with perdure.open_sync(url_of(work)) as store, pytest.raises(NotFoundError):
        store.events.read(ONE)
    check_others(work)
    (work / "store.jsonl").unlink()
    (work / "store.jsonl").mkdir()
    shutil.rmtree(work / "index")
    with pytest.raises(CorruptError, match=r"store\.jsonl, line 1: it cannot be read"):
        perdure.open_sync(url_of(work))


def test_a_file_behind_a_link_is_read_and_written_where_it_is(work: Path, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere.jsonl"
    shutil.move(one(work), real)
    (work / "sessions" / "link.jsonl").symlink_to(real)

    with perdure.open_sync(url_of(work)) as store:
        assert heard(store, ONE) == SAID[ONE]
        say(store, ONE, "more")
    assert real.read_bytes().count(b"\n") == 6


def read_without_rights(folder: str) -> list[str]:
    """As nobody, who may read the folders but not one file; what it is told."""
    said = []
    # As nobody one may not even import: have all there is before.
    with tempfile.TemporaryDirectory() as other:
        make(Path(other))
    os.setegid(65534)
    os.seteuid(65534)
    try:
        with perdure.open_sync(f"jsonl:///{folder}") as store:
            for key in SESSIONS:
                try:
                    said += [",".join(heard(store, key))]
                    say(store, key, "more")
                    said += ["written"]
                except (CorruptError, NotFoundError, ReadOnlyError) as error:
                    said += [f"{type(error).__name__}: {error}"]
    finally:
        os.seteuid(0)
    return said


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
@both_ways
def test_a_file_that_may_not_be_read_is_refused_by_name(
    index: bool, images: Images, tmp_path: Path
) -> None:
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o755)
    work = copy(images.closed, tmp_path / "work", index=index)
    for path in [work, *work.rglob("*")]:
        os.chown(path, 65534, 65534)
    one(work).touch()
    one(work).chmod(0)

    told = in_a_process(read_without_rights, str(work))

    if index:
        assert told[0] == "first,second,turn"
        assert re.match(r"CorruptError: sessions/.*line 1: it cannot be read: Permission", told[1])
    assert told[-2:] == ["first,turn,last", "written"]
