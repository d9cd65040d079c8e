"""Making what was removed unreadable in the file, as far as that can be done."""

from __future__ import annotations

from collections.abc import Callable

import apsw

#: Files up to this size are written anew without being asked: a second or two.
QUICK_BYTES = 64 * 1024 * 1024
_PATIENCE = 1.0

PIECES = (
    "the unused space inside pages of the file may hold pieces of removed texts until it is "
    "written anew: erase_user(settle=True)"
)
LOG = (
    "another process reads an older state of the file, so its log could not be emptied and may "
    "hold removed texts until a later checkpoint: erase_user(settle=True) again, when it has ended"
)


def settle(
    connection: apsw.Connection,
    thorough: bool | None,
    patience_of: Callable[[float], Callable[[int], bool]],
    usual: Callable[[int], bool],
) -> list[str]:
    """Write the file anew and empty its log; what could not be done, as sentences.

    SQLite's secure delete overwrites what is removed, but not the copies that a page keeps in
    its unused space when its rows are moved to other pages. Only a file that is written anew has
    none. ``thorough``: None, if that is quick; True, however long it takes. Nobody else writes.
    """
    remains = []
    connection.set_busy_handler(patience_of(_PATIENCE))
    try:
        wanted = thorough or (thorough is None and _size(connection) <= QUICK_BYTES)
        if not (wanted and _succeeds(lambda: connection.execute("VACUUM"))):
            remains.append(PIECES)
        if not _succeeds(lambda: connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)):
            remains.append(LOG)
    finally:
        connection.set_busy_handler(usual)
    return remains


def _succeeds(step: Callable[[], object]) -> bool:
    try:
        step()
    except apsw.Error:
        # A full disk, a reader: nothing is lost, and the receipt says what is left to do.
        return False
    return True


def _size(connection: apsw.Connection) -> int:
    """What is written anew; not the length of the log, which stays at what it once was."""
    pages: int = connection.pragma("page_count")
    bytes_of_page: int = connection.pragma("page_size")
    return pages * bytes_of_page
