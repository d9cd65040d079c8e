"""A PostgreSQL server of one's own: where its data are, and what becomes of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perdure import (
    BusyError,
    ClosedError,
    EmbeddedPostgres,
    InvalidError,
    PerdureError,
    UnsupportedError,
)
from perdure.embedded_postgres.programs import _is_copy
from tests.postgres.servers import asyncpg, fetch, programs, reachable_folder, wait_until

as_root = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="about what root may not do"
)

_TELLS = """
import sys
from perdure import EmbeddedPostgres
server = EmbeddedPostgres(*sys.argv[1:]).start()
print(server.pid, server.url(), server.folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    with reachable_folder() as folder:
        yield folder


@pytest.fixture
def throw_away() -> Iterator[EmbeddedPostgres]:
    programs()
    with EmbeddedPostgres(durable=False) as server:
        yield server


def link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_throw_away_is_gone_when_it_is_closed() -> None:
    programs()
    with EmbeddedPostgres(durable=False) as server:
        assert fetch(server.url(), "SELECT 1 AS one") == [(1,)]
        pid, folder = server.pid, server.folder
    server.close()

    assert pid is not None
    assert server.pid is None
    assert not folder.exists()
    with pytest.raises(ClosedError):
        server.start()


def test_it_is_ready_as_soon_as_it_is_started_and_starting_twice_is_nothing(
    throw_away: EmbeddedPostgres,
) -> None:
    pid = throw_away.pid

    assert throw_away.start() is throw_away
    assert throw_away.pid == pid


def test_only_this_machine_can_reach_it(throw_away: EmbeddedPostgres) -> None:
    listened = fetch(throw_away.url(), "SHOW listen_addresses")

    assert listened == [("127.0.0.1",)]
    assert fetch(throw_away.url(), "SHOW unix_socket_directories") == [("",)]


def test_durable_or_fast_is_what_was_asked_for(home: Path, throw_away: EmbeddedPostgres) -> None:
    names = ("fsync", "synchronous_commit", "full_page_writes", "autovacuum", "jit")
    ask = "SELECT setting FROM pg_settings WHERE name = ANY($1::text[])"

    fast = {row[0] for row in fetch(throw_away.url(), ask, names)}
    with EmbeddedPostgres(home / "data", settings={"work_mem": "7MB"}) as server:
        durable = {row[0] for row in fetch(server.url(), ask, names[:3])}
        memory = fetch(server.url(), "SHOW work_mem")

    assert fast == {"off"}
    assert durable == {"on"}
    assert memory == [("7MB",)]


@pytest.mark.parametrize("end", ["stop", "kill", "restart"])
def test_what_was_stored_and_the_address_outlive_the_server(home: Path, end: str) -> None:
    with EmbeddedPostgres(home / "kept") as server:
        url = server.url()
        fetch(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        getattr(server, end)()
        server.start()

        assert server.url() == url
        assert fetch(url, "SELECT answer FROM kept") == [(42,)]


def test_a_kept_folder_has_its_password_and_nobody_else_comes_in(home: Path) -> None:
    with EmbeddedPostgres(home / "kept") as server:
        url = server.url()
        fetch(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        secret = server.folder / "password"
        with pytest.raises(asyncpg.InvalidPasswordError):
            fetch(url.replace(secret.read_text(), "guessed"), "SELECT 1")
    with EmbeddedPostgres(home / "kept", port=server.port) as again:
        assert again.url() == url
        assert fetch(url, "SELECT answer FROM kept") == [(42,)]

    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "kept" / "data").stat().st_mode) == 0o700


def test_a_second_server_on_the_folder_is_refused_with_the_number_of_the_first(home: Path) -> None:
    with (
        EmbeddedPostgres(home / "kept") as first,
        pytest.raises(BusyError, match=str(first.pid)),
    ):
        EmbeddedPostgres(home / "kept").start()


def test_of_two_that_make_the_same_folder_at_once_one_has_it(home: Path) -> None:
    def start(server: EmbeddedPostgres) -> str:
        try:
            return server.start().url()
        except BusyError:
            return ""

    servers = [EmbeddedPostgres(home / "kept") for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        urls = sorted(threads.map(start, servers))

    assert urls[0] == ""
    assert fetch(urls[1], "SELECT 1") == [(1,)]
    for server in servers:
        server.close()


def test_a_port_of_somebody_else_is_refused() -> None:
    programs()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = EmbeddedPostgres(port=port, durable=False)

        with pytest.raises(BusyError, match=str(port)):
            server.start()
        server.close()


def test_data_of_another_major_version_are_not_touched_and_the_error_says_what_to_do(
    home: Path,
) -> None:
    data = home / "kept" / "data"
    data.mkdir(parents=True)
    (home / "kept").chmod(0o711)
    (data / "PG_VERSION").write_text("9\n")

    with pytest.raises(UnsupportedError, match=r"PostgreSQL 9.*restore into a new folder"):
        EmbeddedPostgres(home / "kept").start()
    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]


def test_a_server_that_does_not_start_tells_what_its_log_says() -> None:
    programs()
    server = EmbeddedPostgres(settings={"no_such_setting": "1"}, durable=False)

    with pytest.raises(PerdureError, match="no_such_setting"):
        server.start()
    server.close()


def test_a_half_made_folder_is_made_again(home: Path) -> None:
    (home / "kept" / "data.new").mkdir(parents=True)
    (home / "kept").chmod(0o711)
    (home / "kept" / "data.new" / "PG_VERSION").write_text("9\n")

    with EmbeddedPostgres(home / "kept") as server:
        assert fetch(server.url(), "SELECT 1") == [(1,)]
    assert not (home / "kept" / "data.new").exists()


def test_its_programs_connect_to_it_and_their_complaints_are_errors(home: Path) -> None:
    with EmbeddedPostgres(home / "kept") as server:
        fetch(server.url(), "CREATE TABLE kept AS SELECT 42 AS answer")

        assert "42" in server.run("pg_dump", "--inserts", "postgres")
        with pytest.raises(PerdureError, match="nowhere"):
            server.run("pg_dump", "nowhere")
        with pytest.raises(InvalidError, match="pg_nothing"):
            server.run("pg_nothing")


@pytest.mark.parametrize("program", [None, "#!/bin/sh\nexec postgres\n"])
def test_a_folder_named_for_the_programs_has_to_have_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None
) -> None:
    for name in ("initdb", "postgres"):
        if program is not None:
            (tmp_path / name).write_text(program)
    monkeypatch.setenv("PERDURE_PG_BINDIR", str(tmp_path))

    with pytest.raises(InvalidError, match="PERDURE_PG_BINDIR"):
        EmbeddedPostgres().start()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("kept", [False, True])
def test_it_ends_with_its_process_however_that_ends(home: Path, kept: bool) -> None:
    command = [sys.executable, "-c", _TELLS, *([str(home / "kept")] if kept else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid, url, folder = process.stdout.readline().decode().split()
        fetch(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        process.send_signal(signal.SIGKILL)

    wait_until(lambda: not alive(int(pid)), "the server has ended")
    if kept:
        with EmbeddedPostgres(home / "kept") as server:
            assert fetch(server.url(), "SELECT answer FROM kept") == [(42,)]
    else:
        wait_until(lambda: not Path(folder, "data", "base").exists(), "the data are gone")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_that_ends_leaves_it_alone(throw_away: EmbeddedPostgres) -> None:
    child = os.fork()
    if child == 0:
        try:
            throw_away.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    assert fetch(throw_away.url(), "SELECT 1") == [(1,)]


@as_root
def test_root_hears_which_folder_the_servers_account_may_not_search(home: Path) -> None:
    if programs().account.user is None:
        pytest.skip("no other account can be taken here")
    closed = home / "closed"
    closed.mkdir(mode=0o700)

    with pytest.raises(InvalidError, match=str(closed)):
        EmbeddedPostgres(closed / "kept").start()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root
def test_roots_server_takes_programs_from_where_only_root_can_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = programs()
    if "embedded_postgres" not in str(found.folder) or found.account.user is None:
        pytest.skip("needs the package embedded-postgres, and another account")
    with reachable_folder(in_memory=False) as home:  # programs may not run in memory
        copy_and_use(found.folder.parents[2], home, monkeypatch)


def copy_and_use(installed: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, temp = home / "private", home / "temp"
    for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        shutil.copytree(installed / name, place / name, symlinks=True, copy_function=link)
    place.chmod(0o700)
    temp.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temp))
    monkeypatch.setenv("PERDURE_PG_BINDIR", str(place / "embedded_postgres/pginstall/bin"))

    with EmbeddedPostgres(durable=False) as server:
        assert fetch(server.url(), "SELECT 1") == [(1,)]
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    [copy] = [path for path in temp.iterdir() if programs().folder.is_relative_to(path)]
    assert _is_copy(copy, place / "embedded_postgres")
    (programs().folder / "psql").unlink()
    assert not _is_copy(copy, place / "embedded_postgres")


@as_root
def test_a_copy_that_somebody_else_has_put_there_is_not_used(home: Path) -> None:
    account, package, copy = programs().account, home / "embedded_postgres", home / "copy"
    if account.user is None:
        pytest.skip("no other account can be taken here")
    for folder in (package, copy / "embedded_postgres"):
        (folder / "pginstall").mkdir(parents=True)
    (home / "link").symlink_to(copy)

    assert _is_copy(copy, package)
    assert not _is_copy(home / "link", package)
    copy.chmod(0o777)
    assert not _is_copy(copy, package)
    copy.chmod(0o755)
    account.give(copy)
    assert not _is_copy(copy, package)


@as_root
def test_root_without_any_other_account_uses_a_user_namespace() -> None:
    programs()
    alone = ["unshare", "--user", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("needs unshare and user namespaces")
    command = [*alone, sys.executable, "-c", _TELLS]

    told = subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)

    assert b"postgresql://" in told.stdout
