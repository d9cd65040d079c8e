"""Real PostgreSQL servers for tests: one to share, databases in it, two nodes, a pooler.

Where a test cannot have what it asks for here, it is skipped, and the reason says why.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from perdure import EmbeddedPostgres, MissingExtraError, PerdureError, UnsupportedError
from perdure.embedded_postgres.programs import Programs, find

asyncpg = pytest.importorskip("asyncpg", reason="needs asyncpg: pip install 'perdure[postgres]'")

#: The address of a server to use instead of one of our own; its user may create databases.
VARIABLE = "PERDURE_TEST_PG"


def programs() -> Programs:
    """PostgreSQL's programs; skips the test where there are none."""
    try:
        return find()
    except (MissingExtraError, UnsupportedError) as error:
        pytest.skip(str(error))


@cache
def server() -> str:
    """The address of this process's fast server (nothing durable, 200 connections).

    Started when first asked for, gone with the process. One a process and not one a run: it is
    up in less than a second, and no worker of pytest-xdist has to outlive another.
    """
    if given := os.environ.get(VARIABLE):
        return given
    programs()
    settings = {"max_connections": "200"}
    return _started(EmbeddedPostgres(durable=False, settings=settings, environment=_locale_path()))


def _started(node: EmbeddedPostgres) -> str:
    return node.start().url()


@contextmanager
def reachable_folder(*, in_memory: bool = True) -> Iterator[Path]:
    """A folder for servers: pytest's own are for one account, which for root is not theirs.

    In memory where there is room: a killed server loses nothing of it, and it is faster.
    """
    place = programs().account.temp_folder(in_memory=in_memory)
    folder = Path(tempfile.mkdtemp(prefix="perdure-test-", dir=place))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fresh_database(dsn: str, *, template: str | None = None, locale: str | None = None) -> str:
    """The address of a new database on that server, with a random name.

    ``template`` is a database to copy, which nobody may be connected to. ``locale`` is one like
    ``en_US``, to sort by: the system's, else one compiled for our own server, else ICU's; without
    any of them the test is skipped.
    """
    name = f"test_{secrets.token_hex(8)}"
    create = f"CREATE DATABASE {name}"
    if locale is None:
        fetch(dsn, f"{create} TEMPLATE {template or 'template0'}")
    else:
        _create_with_locale(dsn, f"{create} TEMPLATE {template or 'template0'}", locale)
    return urlsplit(dsn)._replace(path=f"/{name}").geturl()


def _create_with_locale(dsn: str, create: str, locale: str) -> None:
    if VARIABLE not in os.environ:
        _compile_locale(locale)
    providers = [
        f"LOCALE_PROVIDER libc LOCALE '{locale}.UTF-8'",
        f"LOCALE_PROVIDER icu ICU_LOCALE '{locale.replace('_', '-')}' LOCALE 'C.UTF-8'",
    ]
    complaints = []
    for provider in providers:
        try:
            fetch(dsn, f"{create} {provider}")
        except asyncpg.PostgresError as error:
            complaints.append(str(error))
        else:
            return
    pytest.skip(f"the server has no locale {locale}: {'; '.join(complaints)}")


def drop_database(url: str) -> None:
    """Drop the database of that address, and whoever is connected to it."""
    parts = urlsplit(url)
    name = parts.path.removeprefix("/")
    fetch(parts._replace(path="/postgres").geturl(), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def fetch(dsn: str, sql: str, *arguments: object) -> list[Any]:
    """The rows of one statement, on a connection of its own; also where an event loop runs."""

    async def ask() -> list[Any]:
        connection = await asyncpg.connect(dsn)
        try:
            rows: list[Any] = await connection.fetch(sql, *arguments)
            return rows
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, ask()).result()


@cache
def _locales() -> Path:
    """A folder for locales that this system lacks; the server's account reads it."""
    folder = Path(tempfile.mkdtemp(prefix="perdure-test-locales-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    return folder


@cache
def _has_system_locale() -> bool:
    if sys.platform != "linux" or shutil.which("locale") is None:
        return True
    listing = subprocess.run(["locale", "-a"], check=False, capture_output=True, text=True)
    return "en_US.utf8" in listing.stdout


def _locale_path() -> dict[str, str]:
    # LOCPATH hides the system's archive of locales: not where there is something in it.
    if shutil.which("localedef") is None or _has_system_locale():
        return {}
    return {"LOCPATH": f"{_locales()}:/usr/lib/locale"}


@cache
def _compile_locale(locale: str) -> None:
    """Compile it if it can be done here; a server that knows the folder finds it there."""
    if _locale_path():
        command = ["localedef", "-i", locale, "-f", "UTF-8", str(_locales() / f"{locale}.UTF-8")]
        subprocess.run(command, check=False, capture_output=True, umask=0o022)


@dataclass(frozen=True, slots=True)
class Pair:
    """A primary, and a standby that replays what it does; both durable."""

    primary: EmbeddedPostgres
    standby: EmbeddedPostgres

    def url(self, database: str = "postgres", attributes: str = "read-write") -> str:
        """One address for both, for clients that choose: ``target_session_attrs``."""
        parts = urlsplit(self.primary.url(database))
        both = f"{parts.netloc},127.0.0.1:{self.standby.port}"
        query = f"target_session_attrs={attributes}"
        return parts._replace(netloc=both, query=query).geturl()

    def promote(self) -> None:
        """Make the standby a primary, and wait until it is one. Kill the old one first."""
        self.standby.run("psql", "-XAtqc", "SELECT pg_promote()")


_TIDY = {"dynamic_shared_memory_type": "mmap"}


@contextmanager
def _tidied(node: EmbeddedPostgres) -> Iterator[None]:
    """Run it; one that was killed is started once more, to give back its shared memory."""
    with node:
        yield
        if node.pid is None:
            with suppress(PerdureError):
                node.start()


@contextmanager
def pair(*, synchronous: bool = True) -> Iterator[Pair]:
    """Two nodes with streaming replication, their ports fixed over crashes and restarts.

    Synchronous: a commit is told only when the standby has it on disk.
    """
    with reachable_folder() as home:
        primary = EmbeddedPostgres(home / "primary", settings=_TIDY)
        standby = EmbeddedPostgres(home / "standby", settings=_TIDY)
        with _tidied(primary):
            _back_up(primary, standby)
            with _tidied(standby):
                if synchronous:
                    _wait_for_standby(primary)
                yield Pair(primary, standby)


def _back_up(primary: EmbeddedPostgres, standby: EmbeddedPostgres) -> None:
    standby.folder.mkdir(mode=0o711)
    data = standby.folder / "data"
    data.mkdir(mode=0o700)
    programs().account.give(data)
    words = ["--checkpoint=fast", "--no-sync", "--write-recovery-conf"]
    primary.run("pg_basebackup", "-D", str(data), *words)
    shutil.copy(primary.folder / "password", standby.folder / "password")


def _wait_for_standby(primary: EmbeddedPostgres) -> None:
    # Only now: before there is a standby, every commit would wait for it.
    primary.run("psql", "-XAtqc", "ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.run("psql", "-XAtqc", "SELECT pg_reload_conf()")
    states = "SELECT string_agg(sync_state, '') FROM pg_stat_replication"
    wait_until(lambda: fetch(primary.url(), states)[0][0] == "sync", "the standby is synchronous")


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Ask again and again until it holds; an `AssertionError` after that many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


_POOLER = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = 20
max_client_conn = 200
"""


@contextmanager
def pgbouncer(dsn: str) -> Iterator[str]:
    """The same database through a PgBouncer that pools by transaction; its address."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("needs pgbouncer: apt-get install pgbouncer")
    account, parts, own = programs().account, urlsplit(dsn), _port()
    with tempfile.TemporaryDirectory(prefix="perdure-test-pooler-") as home:
        settings, users = Path(home, "pgbouncer.ini"), Path(home, "users")
        users.write_text(f'"{parts.username}" "{parts.password or ""}"\n', encoding="utf-8")
        port = parts.port or 5432
        text = _POOLER.format(host=parts.hostname, port=port, own=own, users=users)
        settings.write_text(text, encoding="utf-8")
        for path in (settings, users, Path(home)):
            account.give(path)
        command = [program, str(settings)]
        process = account.popen(command, subprocess.DEVNULL, subprocess.DEVNULL, {})
        try:
            wait_until(lambda: _listens(own), "PgBouncer listens")
            yield parts._replace(netloc=f"{parts.username}@127.0.0.1:{own}").geturl()
        finally:
            process.terminate()
            process.wait(10)


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
