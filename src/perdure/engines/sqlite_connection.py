"""One SQLite connection as perdure wants it, the errors of the driver, and running a plan."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from typing import Any
from urllib.parse import quote

import apsw

from perdure.engines.shortages import shortage_of_files
from perdure.engines.sqlite_files import make_file, refuse_query
from perdure.errors import (
    BusyError,
    CorruptError,
    InvalidError,
    PerdureError,
    ReadOnlyError,
    StorageFullError,
    TooLargeError,
    UnsupportedError,
)
from perdure.operation import Operation, Plan, Statement

#: Writers and a checkpointer at once could corrupt a WAL before this version of SQLite.
_OLDEST_SAFE = (3, 51, 3)


def path_of(url: str) -> str:
    """The absolute path of a SQLite URL, ``:memory:`` for `memory:`; `InvalidError`."""
    if url == "memory:":
        return ":memory:"
    path = url.removeprefix("sqlite:///")
    if path == url or not path or "\0" in path:
        raise InvalidError(f"a SQLite URL is sqlite:///file.db or sqlite:////path, not {url!r}")
    refuse_query(url)
    return os.path.abspath(path)


def connect(path: str, *, durability: str, busy_timeout: float) -> apsw.Connection:
    """An open connection: WAL, the durability asked for, foreign keys, secure delete.

    The file is made with mode 0600 if it is not there, its folder too.
    """
    if not oldest_safe():
        raise UnsupportedError(f"SQLite {apsw.sqlite_lib_version()} can corrupt a WAL: update apsw")
    if path != ":memory:":
        make_file(path)
    try:
        connection = _open(path)
        connection.set_busy_handler(patience(busy_timeout))
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        # Else a statement is prepared anew whenever the value of its LIMIT, or one that decides
        # about an index, is bound again: several times what running it takes.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        connection.wal_autocheckpoint(0)
        if not connection.readonly("main"):
            _switch_to_wal(connection, busy_timeout)
        connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
        if durability == "full":
            # macOS: without these a sync does not empty the cache of the drive.
            connection.execute("PRAGMA fullfsync = ON").fetchall()
            connection.execute("PRAGMA checkpoint_fullfsync = ON").fetchall()
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON").fetchall()
        connection.execute("PRAGMA cache_size = -16384")
        _load_vectors(connection)
    except apsw.Error as error:
        raise translate(error, path) from error
    return connection


def oldest_safe() -> bool:
    """Whether this SQLite can be trusted with a WAL."""
    return tuple(map(int, apsw.sqlite_lib_version().split("."))) >= _OLDEST_SAFE


def _load_vectors(connection: apsw.Connection) -> None:
    """The functions of sqlite-vec, if that package is installed; without them all goes on."""
    library = vector_library()
    if library is None:
        return
    connection.enable_load_extension(True)
    with suppress(apsw.ExtensionLoadingError):
        connection.load_extension(library)
    connection.enable_load_extension(False)


@cache
def vector_library() -> str | None:
    """The file of sqlite-vec, if it is installed."""
    # Not imported: it would bring the other SQLite of the standard library with it. And looked for
    # once: a KeyboardInterrupt in there can leave Python's import lock locked.
    package = find_spec("sqlite_vec")
    if package is None or package.origin is None:
        return None
    return os.path.join(os.path.dirname(package.origin), "vec0")


def _switch_to_wal(connection: apsw.Connection, busy_timeout: float) -> None:
    """Set the journal mode; SQLite asks no busy handler while another one does the same."""
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.001, 0.01))  # noqa: S311 - not for secrets
        else:
            return


def _open(path: str) -> apsw.Connection:
    """The connection; to a file that nobody here can write, as it stands.

    WAL needs a side file in shared memory even to read. Where it cannot be made, on a read-only
    disk or without rights in the folder, a closed store can still be read: `immutable`.
    """
    beside = [f"{path}-wal", f"{path}-shm"]
    if path == ":memory:" or may_write(os.path.dirname(path)) or any(map(os.path.exists, beside)):
        return apsw.Connection(path, statementcachesize=256)
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return apsw.Connection(f"file:{quote(path)}?immutable=1", flags, statementcachesize=256)


def may_write(path: str) -> bool:
    """Whether this process can make files in a folder."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def patience(seconds: float) -> Callable[[int], bool]:
    """A busy handler with short random sleeps, for programs that know no turnstile."""
    started = 0.0

    def again(count: int) -> bool:
        nonlocal started
        if count == 0:
            started = time.monotonic()
        time.sleep(random.uniform(0.0001, 0.002))  # noqa: S311 - not for secrets
        return time.monotonic() - started < seconds

    return again


def drive(connection: apsw.Connection, op: Operation[Any], plan: Plan[Any] | None = None) -> Any:
    """The result of an operation's plan, or of another one for it."""
    try:
        return _run(connection.cursor(), plan or op.plan())
    except apsw.Error as error:
        raise translate(error, op.name) from error
    except UnicodeDecodeError as error:
        raise CorruptError(f"{op.name}: a stored text is damaged: {error}") from error


def _run(cursor: apsw.Cursor, plan: Plan[Any]) -> Any:
    # One cursor for the whole plan: its rows are fetched before the next statement runs.
    execute = cursor.execute
    rows: Any = None
    try:
        while True:
            step = plan.send(rows)
            if isinstance(step, Statement):
                rows = execute(step.query.texts["sqlite"], step.args).fetchall()
            else:
                cursor.executemany(step.query.texts["sqlite"], step.rows)
                rows = ()
    except StopIteration as result:
        return result.value
    finally:
        plan.close()


_MEANINGS: tuple[tuple[type[apsw.Error], type[PerdureError], str], ...] = (
    (apsw.BusyError, BusyError, "another program holds the database, try again"),
    (apsw.LockedError, BusyError, "another program holds the database, try again"),
    (apsw.FullError, StorageFullError, "free some space; nothing was stored"),
    (apsw.CorruptError, CorruptError, "the file is damaged; restore a backup"),
    (apsw.NotADBError, CorruptError, "the file is no SQLite database"),
    (apsw.ReadOnlyError, ReadOnlyError, "the file or its folder cannot be written"),
    (apsw.PermissionsError, ReadOnlyError, "the file or its folder cannot be written"),
    (apsw.CantOpenError, ReadOnlyError, "the file or its folder cannot be written"),
)


def translate(error: apsw.Error, what: str) -> PerdureError:
    """The perdure error for one of the driver's."""
    if isinstance(error, apsw.CantOpenError) and (scarce := shortage_of_files(f"{what}: {error}")):
        return scarce
    for driver_error, meaning, remedy in _MEANINGS:
        if isinstance(error, driver_error):
            return meaning(f"{what}: {error}: {remedy}")
    if isinstance(error, apsw.TooBigError):
        return TooLargeError(f"{what}: {error}", "sqlite")
    if (
        isinstance(error, apsw.IOError)
        and getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_WRITE
    ):
        # RLIMIT_FSIZE and quotas reach SQLite as a failed write, not as FULL.
        return StorageFullError(f"{what}: {error}: the disk refused a write; nothing was stored")
    return PerdureError(f"{what}: {error}")
