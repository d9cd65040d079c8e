"""Group commit with a journal: many operations, one sync, then one commit of the index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw

from perdure.engines.jsonl import generations
from perdure.engines.jsonl.directory import Directory, Entry
from perdure.engines.jsonl.shapes import OWN, Change
from perdure.engines.sqlite_batch import Batch
from perdure.errors import CorruptError
from perdure.operation import Operation

#: What is behind a `CorruptError` that is about the index.
DAMAGE = (apsw.Error, UnicodeDecodeError)


def index_damaged(error: CorruptError) -> CorruptError:
    """The error for a damaged index, of which nothing is lost."""
    return CorruptError(
        f"{error}: of the index, which the next write or opening makes anew from the files"
    )


class Capture:
    """The rows that the running operation has changed, in the order in which it did.

    ``schema``: whether it has written down a change of the schema.
    """

    def __init__(self, directory: Directory, connection: apsw.Connection) -> None:
        self._directory = directory
        self.changes: list[Change] = []
        self.schema = False
        connection.preupdate_hook(self._changed)

    def _changed(self, update: apsw.PreUpdate) -> None:
        name = update.table_name
        shape = self._directory.shapes.get(name)
        if shape is None:
            self.schema = self.schema or not name.startswith(OWN)
        elif not shape.passing:
            self.schema = self.schema or not shape.registered
            self.changes.append((name, update.old, update.new))


class JournaledBatch(Batch):
    """One transaction of the index; what it changed is in the journal before it commits."""

    def __init__(
        self,
        connection: apsw.Connection,
        directory: Directory,
        capture: Capture,
        damaged: Callable[[], None],
    ) -> None:
        super().__init__(connection)
        self._directory = directory
        self._damaged = damaged
        self._capture = capture
        self._entries: list[Entry] = []

    def _result(self, op: Operation[Any]) -> Any:
        self._capture.changes = []
        try:
            value = super()._result(op)
        except CorruptError as error:
            if isinstance(error.__cause__, DAMAGE):
                self._damaged()
                raise index_damaged(error) from error.__cause__
            raise
        entry = self._directory.entry(op.name, self._capture.changes, self._connection)
        if entry is not None:
            self._entries.append(entry)
        return value

    def _roll_back(self) -> None:
        self._entries.clear()
        self._capture.schema = False
        super()._roll_back()

    def _commit(self) -> None:
        # As `doubted` does, which takes longer to come into than the rest of it.
        try:
            self._commit_everywhere()
        except apsw.Error:
            raise
        except BaseException as error:
            self._directory.doubt(error)
            raise

    def _commit_everywhere(self) -> None:
        if self._capture.schema:
            self._capture.schema = False
            # Lines of the old schema cannot tell of the new one: every file is written anew.
            generations.commit_schema(self._directory, self._connection)
            return
        if self._entries:
            self._directory.write(self._entries, self._connection)
        try:
            super()._commit()
        except apsw.Error:
            if self._entries:
                self._directory.take_back()
            raise
        self._directory.follow()
