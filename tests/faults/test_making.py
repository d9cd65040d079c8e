"""Making the file of a store: where there are no hard links, and when it is cut short."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path
from shutil import which
from signal import SIGSYS

import pytest

import perdure
from perdure import SessionKey
from tests.engines.processes import in_a_process, meet, python, side_by_side
from tests.faults import forbidding
from tests.faults.mounts import ALONE, mounted

pytestmark = pytest.mark.faults

needs_seccomp = pytest.mark.skipif(bool(forbidding.refusal()), reason=forbidding.refusal())

OPENS = """
import sys
import perdure
from tests.faults.forbidding import kill_at

kill_at(sys.argv[2])
perdure.open_sync(sys.argv[1])
"""


def write_one(url: str, session: str) -> int:
    with perdure.open_sync(url) as store:
        store.sessions.create("app", "user", session)
        store.events.append(SessionKey("app", "user", session), "text")
        return store.sessions.count()


def beside(path: Path) -> list[str]:
    """What lies beside a closed store that does not belong there."""
    own = {path.name, f"{path.name}-turn", f"{path.name}-write"}
    return sorted(file.name for file in path.parent.iterdir() if file.name not in own)


# -- no hard links ---------------------------------------------------------------------------


def open_without_links(path: str, session: str, *denied: str) -> int:
    for call in ("link", *denied):
        forbidding.deny(call)
    try:
        os.link(f"{path}.absent", f"{path}.link")
    except PermissionError:
        meet()
        return write_one(f"sqlite:///{path}", session)
    raise AssertionError("links are not forbidden")


@needs_seccomp
@pytest.mark.parametrize("denied", [(), ("mknod",)])
def test_where_links_are_denied_a_store_is_made_all_the_same(
    denied: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "store.db"

    assert in_a_process(open_without_links, str(path), "chat", *denied) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert beside(path) == []


@needs_seccomp
def test_where_links_are_denied_several_may_make_the_same_store(tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    counts = side_by_side(open_without_links, [(str(path), f"chat {n}") for n in range(6)])

    assert max(counts) == 6
    with perdure.open_sync(f"sqlite:///{path}") as store:
        assert store.sessions.count() == 6
    assert beside(path) == []


def open_on_fat(folder: str) -> tuple[int, int, list[str]]:
    image = Path(folder) / "fat.img"
    subprocess.run(["truncate", "-s", "32M", str(image)], check=True)
    subprocess.run(["mkfs.vfat", str(image)], check=True, capture_output=True)
    options = ("-t", "vfat", "-o", "loop,umask=077", str(image))
    with mounted(Path(folder) / "fat", *options) as disk:
        path = disk / "store.db"
        counts = [write_one(f"sqlite:///{path}", session) for session in ("one", "two")]
        return counts[0], counts[1], beside(path)


@pytest.mark.usefixtures("mounts")
def test_a_store_on_fat_is_made_and_opened_again(tmp_path: Path) -> None:
    if which("mkfs.vfat") is None or "vfat" not in Path("/proc/filesystems").read_text():
        pytest.skip("needs mkfs.vfat, and a kernel that knows vfat")

    assert in_a_process(open_on_fat, str(tmp_path), under=ALONE) == (1, 2, [])


# -- killed over it --------------------------------------------------------------------------


@needs_seccomp
@pytest.mark.parametrize(("call", "made"), [("link", False), ("unlink", True)])
def test_what_a_process_left_that_was_killed_while_making_a_store_is_removed(
    call: str, made: bool, tmp_path: Path
) -> None:
    path = tmp_path / "store.db"
    with python(OPENS, f"sqlite:///{path}", call) as process:
        assert process.wait(30) == -SIGSYS
    [left] = beside(path)
    assert re.fullmatch(rf"store\.db-{process.pid}-\d+", left)
    assert path.exists() is made

    assert write_one(f"sqlite:///{path}", "chat") == 1

    assert beside(path) == []
    assert path.stat().st_nlink == 1
    assert write_one(f"sqlite:///{path}", "another") == 2


@needs_seccomp
def test_a_second_name_of_a_store_in_use_is_removed_and_nothing_of_the_store(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.db"
    with python(OPENS, f"sqlite:///{path}", "unlink") as process:
        process.wait(30)
    left = tmp_path / beside(path)[0]
    # As it is after another version, which did not clean up, has used the store.
    left.rename(tmp_path / "aside")
    write_one(f"sqlite:///{path}", "chat")
    (tmp_path / "aside").rename(left)
    assert left.stat().st_size > 0

    assert write_one(f"sqlite:///{path}", "another") == 2
    assert beside(path) == []


def test_only_empty_leftovers_of_the_dead_with_the_very_name_are_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead = ended.pid
    kept = {
        f"store.db-{os.getpid()}-1.txt": "",
        f"store.db-{dead}-1": "full",
        f"store.db-{dead}": "",
        f"store.db-{dead}-": "",
        f"store.db-{dead}-1-1": "",
        f"store.db-{dead}-x": "",
        f"store.db--{dead}-1": "",
        f"store-db-{dead}-1": "",
        f"other.db-{dead}-1": "",
        f"my store.db-{dead}-1": "",
        f"store.db-{os.getppid()}-1": "",
        f"store.db-{dead}-2": None,
    }
    gone = [f"store.db-{dead}-77", f"store.db-{dead}-0", f"store.db-{10**30}-7"]
    # This process makes no store now: it has the id that an earlier life of it had.
    gone.append(f"store.db-{os.getpid()}-1")
    for name, text in [*kept.items(), *((name, "") for name in gone)]:
        if text is None:
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).write_text(text)

    for session in ("one", "two"):
        write_one(f"sqlite:///{tmp_path}/store.db", session)

    assert beside(tmp_path / "store.db") == sorted(kept)
