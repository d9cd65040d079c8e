"""Group commit with a journal: many operations, one sync, then one commit of the index."""

from __future__ import annotations

from typing import Any

import apsw

from perdure.engines.jsonl import generations
from perdure.engines.jsonl.directory import Directory, Entry
from perdure.engines.jsonl.shapes import Change
from perdure.engines.sqlite_batch import Batch
from perdure.operation import Operation


class Capture:
    """The rows that the running operation has changed, in the order in which it did."""

    def __init__(self, directory: Directory, connection: apsw.Connection) -> None:
        self._directory = directory
        self.changes: list[Change] = []
        connection.preupdate_hook(self._changed)

    def _changed(self, update: apsw.PreUpdate) -> None:
        name = update.table_name
        shape = self._directory.shapes.get(name)
        if shape is not None and not shape.passing:
            before = None if update.op == "INSERT" else update.old
            self.changes.append((name, before, None if update.op == "DELETE" else update.new))


class JournaledBatch(Batch):
    """One transaction of the index; what it changed is in the journal before it commits."""

    def __init__(self, connection: apsw.Connection, directory: Directory, capture: Capture) -> None:
        super().__init__(connection)
        self._directory = directory
        self._capture = capture
        self._entries: list[Entry] = []

    def _result(self, op: Operation[Any]) -> Any:
        self._capture.changes = []
        value = super()._result(op)
        entry = self._directory.entry(op.name, self._capture.changes, self._connection)
        if entry is not None:
            self._entries.append(entry)
        return value

    def _roll_back(self) -> None:
        self._entries.clear()
        super()._roll_back()

    def _commit(self) -> None:
        if generations.schema_of(self._connection) != self._directory.cookie:
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
        except BaseException:
            # Interrupted behind it, perhaps: the journal says what was.
            self._directory.distrust()
            raise
        self._directory.follow()
