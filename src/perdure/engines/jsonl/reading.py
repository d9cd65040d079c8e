"""Readers of an index that may turn out to be damaged, which the files are not."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import apsw

from perdure.engines.jsonl import disk
from perdure.engines.jsonl.paths import SPOILT
from perdure.engines.sqlite_readers import Readers
from perdure.errors import CorruptError
from perdure.operation import Operation


class IndexReaders(Readers):
    """Has an index made anew that SQLite says is damaged: by the next write, or opening."""

    def __init__(
        self, folder: str, connect: Callable[[], apsw.Connection], which: Callable[[], object]
    ) -> None:
        super().__init__(connect, which)
        self._folder = folder

    def run(self, op: Operation[Any]) -> Any:
        """The result of the operation, from one snapshot."""
        try:
            return super().run(op)
        except CorruptError as error:
            if not is_of_index(error):
                raise
            raise spoilt(self._folder, op.name) from error


def is_of_index(error: BaseException | None) -> bool:
    """Whether it is SQLite that found damage, so that it is none of our files."""
    return isinstance(error, CorruptError) and isinstance(
        error.__cause__, apsw.CorruptError | apsw.NotADBError | UnicodeDecodeError
    )


def spoilt(folder: str, what: str) -> CorruptError:
    """Have the index made anew by whoever takes the directory next; the error that says so."""
    with suppress(OSError):
        os.close(disk.open_private(os.path.join(folder, SPOILT)))
    return CorruptError(
        f"{what}: the index of {folder} is damaged; its files are not: it is made anew by the next "
        "write, or when it is opened again"
    )
