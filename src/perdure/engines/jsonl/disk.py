"""Files and folders that are private, and on the disk when these functions return."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from perdure.engines.shortages import shortage
from perdure.errors import PerdureError, ReadOnlyError

_AT_ONCE = 8
_sync_data = getattr(os, "fdatasync", os.fsync)


def failure(error: OSError, what: str) -> PerdureError:
    """The perdure error for a failed call of the system."""
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return ReadOnlyError(f"{what}: the file or its folder cannot be written: {error.strerror}")
    return shortage(error, what) or PerdureError(f"{what}: {error.strerror}")


def open_private(path: str) -> int:
    """A descriptor to read and write the file, made with mode 0600 if it is not there."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o600)


def make_folders(path: str) -> list[str]:
    """Make a folder and those above it, with mode 0700; what must be synced to keep them."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        os.makedirs(folder, mode=0o700, exist_ok=True)
    return [os.path.dirname(folder) for folder in missing]


def write_at(descriptor: int, at: int, data: bytes) -> None:
    """Write all of the data at that place."""
    written = _write_once(descriptor, data, at)
    while written < len(data):
        # Cut short by a signal, or by a disk that is full: the next one says so.
        written += _write_once(descriptor, data[written:], at + written)


def _seek_and_write(descriptor: int, data: bytes, at: int) -> int:
    os.lseek(descriptor, at, os.SEEK_SET)
    return os.write(descriptor, data)


#: Windows has no `pwrite`.
_write_once = getattr(os, "pwrite", _seek_and_write)


def sync(descriptor: int, *, times: bool = False) -> None:
    """Have the file's data on the disk, and if need be the time when it was changed."""
    if sys.platform == "darwin":
        # There fsync leaves them in the cache of the drive.
        import fcntl  # noqa: PLC0415 - not on every platform

        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    elif times:
        os.fsync(descriptor)
    else:
        _sync_data(descriptor)


def sync_folder(path: str) -> None:
    """Have the names in a folder on the disk."""
    if sys.platform == "win32":
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        # One above ours that we may pass through, not read.
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_path(path: str) -> None:
    """Have a file's data on the disk; nothing, if it is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        # The index knows a file by it.
        sync(descriptor, times=True)
    finally:
        os.close(descriptor)


def sync_all(paths: Iterable[str], how: Callable[[str], None] = sync_path) -> None:
    """Sync many of them, several at a time: the disk puts them together."""
    wanted = list(paths)
    try:
        if len(wanted) > 1:
            with ThreadPoolExecutor(_AT_ONCE, "perdure-sync") as pool:
                list(pool.map(how, wanted))
            return
    except RuntimeError:
        # The interpreter is shutting down, and starts no thread any more.
        pass
    for path in wanted:
        how(path)


def replace(path: str, data: bytes) -> None:
    """Put a whole file in the place of another one: after a crash it is the old or the new."""
    draft = f"{path}.draft"
    descriptor = open_private(draft)
    try:
        os.ftruncate(descriptor, 0)
        write_at(descriptor, 0, data)
        sync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(draft, path)
    sync_folder(os.path.dirname(path))
