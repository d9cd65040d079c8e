"""One SQLite connection as perdure wants it, the errors of the driver, and running a plan."""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Callable
from typing import Any

import apsw

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
from perdure.operation import Operation, Statement

#: Writers and a checkpointer at once could corrupt a WAL before this version of SQLite.
_OLDEST_SAFE = (3, 51, 3)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def connect(path: str, *, durability: str, busy_timeout: float) -> apsw.Connection:
    """An open connection: WAL, the durability asked for, foreign keys, secure delete.

    The file is made with mode 0600 if it is not there, its folder too.
    """
    if tuple(map(int, apsw.sqlite_lib_version().split("."))) < _OLDEST_SAFE:
        raise UnsupportedError(f"SQLite {apsw.sqlite_lib_version()} can corrupt a WAL: update apsw")
    if path != ":memory:":
        _make_file(path)
    try:
        connection = apsw.Connection(path, statementcachesize=256)
        connection.set_busy_handler(_patience(busy_timeout))
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.wal_autocheckpoint(0)
        if not connection.readonly("main"):
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON").fetchall()
        connection.execute("PRAGMA cache_size = -16384")
    except apsw.Error as error:
        raise translate(error, path) from error
    return connection


def _make_file(path: str) -> None:
    folder = os.path.dirname(path) or "."
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except (PermissionError, OSError) as error:
        if error.errno in _FULL:
            raise StorageFullError(f"no space for {path}") from error
        if os.path.isfile(path) and error.errno in {errno.EACCES, errno.EROFS, errno.EPERM}:
            return
        raise InvalidError(f"cannot open {path}: {error.strerror}", "url") from error


def _patience(seconds: float) -> Callable[[int], bool]:
    """A busy handler with short random sleeps, for programs that know no turnstile."""
    started = 0.0

    def again(count: int) -> bool:
        nonlocal started
        if count == 0:
            started = time.monotonic()
        time.sleep(random.uniform(0.0001, 0.002))  # noqa: S311 - not for secrets
        return time.monotonic() - started < seconds

    return again


def drive(connection: apsw.Connection, op: Operation[Any], sizes: list[int]) -> Any:
    """The result of an operation's plan; ``sizes`` gets the characters each step hands over."""
    execute = connection.execute
    plan = op.plan()
    rows: Any = None
    try:
        while True:
            step = plan.send(rows)
            query = step.query
            if type(step) is Statement:
                sizes.append(_size(step.args))
                rows = execute(query.texts["sqlite"], step.args).fetchall()
            else:
                sizes.append(sum(map(_size, step.rows)))
                connection.executemany(query.texts["sqlite"], step.rows)
                rows = ()
    except StopIteration as result:
        return result.value
    except apsw.Error as error:
        raise translate(error, op.name) from error
    finally:
        plan.close()


def _size(args: tuple[Any, ...]) -> int:
    size = 0
    for value in args:
        if type(value) is str or type(value) is bytes:
            size += len(value)
    return size


def translate(error: apsw.Error, what: str) -> PerdureError:
    """The perdure error for one of the driver's."""
    message = f"{what}: {error}"
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return BusyError(f"{message}: another program holds the database, try again")
    if isinstance(error, apsw.FullError):
        return StorageFullError(f"{message}: free some space, nothing was stored")
    if isinstance(error, apsw.TooBigError):
        return TooLargeError(message, "sqlite")
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return CorruptError(message)
    if isinstance(error, apsw.ReadOnlyError | apsw.PermissionsError | apsw.AuthError):
        return ReadOnlyError(message)
    if isinstance(error, apsw.IOError | apsw.CantOpenError):
        return _from_system(message)
    return PerdureError(message)


def _from_system(message: str) -> PerdureError:
    # RLIMIT_FSIZE and quotas reach SQLite as an I/O error of write, not as FULL.
    if "write" in message.lower():
        return StorageFullError(f"{message}: the disk refused a write, nothing was stored")
    return PerdureError(message)
