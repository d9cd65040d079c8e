"""What the disk, the process or its system has run out of, as one of our errors."""

from __future__ import annotations

import errno
import os

from perdure.errors import BusyError, StorageFullError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SPENT = {
    errno.EMFILE: "this process is out of file descriptors: close some or raise its limit "
    "(ulimit -n), and try again",
    errno.ENFILE: "the system is out of file descriptors: end what holds many, and try again",
    errno.ENOMEM: "out of memory: free some, and try again",
}
#: What one connection opens: the database, its WAL, and the index of that.
_FILES = 3


def shortage(error: OSError, what: str) -> BusyError | StorageFullError | None:
    """The error for a call that failed because something ran out; None if nothing did."""
    if error.errno in _FULL:
        return StorageFullError(f"{what}: no space, free some: {error.strerror}")
    if error.errno in _SPENT:
        return BusyError(f"{what}: {_SPENT[error.errno]}")
    return None


def shortage_of_files(what: str) -> BusyError | StorageFullError | None:
    """The error if no further files can be opened now: for a driver that does not say why."""
    opened: list[int] = []
    try:
        while len(opened) < _FILES:
            opened.append(os.open(os.sep, os.O_RDONLY))
    except OSError as error:
        return shortage(error, what)
    else:
        return None
    finally:
        for descriptor in opened:
            os.close(descriptor)
