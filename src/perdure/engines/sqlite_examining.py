"""Looking at a SQLite database without opening the store on it, and without changing it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from typing import Any
from urllib.parse import quote

import apsw

from perdure.engines.examinations import Examination, Finding
from perdure.engines.sqlite_connection import drive, may_write, oldest_safe, patience, translate
from perdure.errors import PerdureError
from perdure.operation import Operation

#: More of them tell nothing new.
_MOST = 100
RESTORE = ": restore a backup"


def reading(path: str, busy_timeout: float = 1.0) -> apsw.Connection:
    """A connection that can only read; where nothing can be written, to the file as it stands."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    beside = any(os.path.exists(f"{path}{end}") for end in ("-wal", "-shm"))
    as_it_stands = "" if beside or may_write(os.path.dirname(path)) else "?immutable=1"
    connection = apsw.Connection(f"file:{quote(path)}{as_it_stands}", flags)
    connection.set_busy_handler(patience(busy_timeout))
    return connection


def examine(path: str, asking: Operation[list[str]], quick: bool) -> Examination:
    """What SQLite says of its own file, and what the operation says that is read on it.

    ``quick`` leaves out what reads all of it.
    """
    found = Examination({"sqlite": apsw.sqlite_lib_version()})
    if not oldest_safe():
        found.faults.append(Finding("apsw", "its SQLite can corrupt a WAL: update apsw"))
    if not os.path.exists(path):
        found.faults.append(Finding(path, "there is no such file"))
        return found
    found.facts |= {"bytes": os.stat(path).st_size, "wal_bytes": size_of(f"{path}-wal")}
    try:
        with closing(reading(path)) as connection:
            look(connection, path, found, asking, quick)
            found.faults += hanging(connection, path)
    except apsw.Error as error:
        found.faults.append(Finding(path, str(translate(error, "it cannot be read"))))
    return found


def look(
    connection: apsw.Connection,
    path: str,
    found: Examination,
    asking: Operation[list[str]],
    quick: bool,
) -> None:
    """Add what there is to say about an open database."""
    check = "quick_check" if quick else "integrity_check"
    for (told,) in connection.execute(f"PRAGMA {check}({_MOST})").fetchall():
        if told != "ok":
            found.faults.append(Finding(path, f"{told}{RESTORE}"))
    pragma = connection.pragma
    found.facts["journal_mode"] = pragma("journal_mode")
    found.facts["reclaimable"] = pragma("freelist_count") * pragma("page_size")
    ask(found, path, lambda: drive(connection, asking))


def hanging(connection: apsw.Connection, path: str) -> list[Finding]:
    """Rows that belong to another one which is gone."""
    rows = islice(connection.execute("PRAGMA foreign_key_check"), _MOST)
    return [
        Finding(path, f"{_row(row)} of {table} hangs on a row of {parent} that is gone")
        for table, row, parent, _ in rows
    ]


def _row(number: int | None) -> str:
    # Where they have no numbers SQLite does not say which it is.
    return "a row" if number is None else f"row {number}"


def ask(found: Examination, place: str, asked: Callable[[], Any]) -> None:
    """Add what the answer to an operation is, each sentence of it a fault."""
    try:
        found.faults += [Finding(place, what) for what in asked()]
    except PerdureError as error:
        found.faults.append(Finding(place, str(error)))


def size_of(path: str) -> int:
    """The bytes of a file; 0 if there is none."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
