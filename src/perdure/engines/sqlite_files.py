"""The file of a store, private from its first moment, and what was left beside it."""

from __future__ import annotations

import os
import re
import stat
import sys
import threading
from contextlib import suppress

from perdure.engines.shortages import shortage
from perdure.errors import InvalidError

#: What SQLAlchemy and SQLite itself take behind a path.
_QUERY = re.compile(r"\?\w+=.*$")


def refuse_query(url: str) -> None:
    """`InvalidError` for a URL that ends as those of other libraries do: it would name the file."""
    query = _QUERY.search(url)
    if query:
        message = f"{url!r} ends in {query[0]!r}: options are arguments of open, not of a path"
        raise InvalidError(message, "url")


def make_file(path: str) -> None:
    """Make it with mode 0600 if it is not there, its folder too."""
    if os.path.isfile(path):
        return
    if os.path.isdir(path):
        raise InvalidError(f"{path} is a folder: name a file in it, or use jsonl:///", "url")
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        _make_private(path)
    except FileExistsError:
        # Somebody else was quicker.
        return
    except OSError as error:
        refused = InvalidError(f"cannot make {path}: {error.strerror}", "url")
        raise shortage(error, path) or refused from error


def _make_private(path: str) -> None:
    # Under another name first: closing any descriptor of a database drops all locks that this
    # process has on it, and SQLite in another program would take the WAL away.
    draft = f"{path}-{os.getpid()}-{threading.get_ident()}"
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:
        # There are no hard links here: FAT, some shares, some sandboxes.
        _make_directly(path)
    finally:
        # Who shares the folder but not the process ids may have taken it for a leftover.
        with suppress(FileNotFoundError):
            os.unlink(draft)


def _make_directly(path: str) -> None:
    try:
        # Needs no descriptor that would be closed; but macOS wants root for it.
        os.mknod(path, stat.S_IFREG | 0o600)
    except FileExistsError:
        raise
    except (AttributeError, OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def remove_leftovers(path: str) -> None:
    """Remove the drafts of this file whose makers were killed over them."""
    if sys.platform == "win32":
        # There, asking whether a process lives ends it.
        return
    folder, name = os.path.split(path)
    draft = re.compile(re.escape(name) + "-([0-9]+)-([0-9]+)")
    with suppress(OSError):
        # The prefix first: there may be a store for each of a hundred thousand users.
        for other in [other for other in os.listdir(folder) if other.startswith(f"{name}-")]:
            found = draft.fullmatch(other)
            beside = os.path.join(folder, other)
            if found and _is_over(int(found[1]), int(found[2])) and _is_nothing(beside, path):
                os.unlink(beside)


def _is_over(process: int, thread: int) -> bool:
    if process == os.getpid():
        # In a container each life of a program may have the same id.
        return thread == threading.get_ident() or thread not in sys._current_frames()
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False


def _is_nothing(draft: str, path: str) -> bool:
    """Whether it is empty, or no more than a second name of the file itself."""
    status = os.lstat(draft)
    if not stat.S_ISREG(status.st_mode):
        return False
    return status.st_size == 0 or (os.path.exists(path) and os.path.samefile(draft, path))
