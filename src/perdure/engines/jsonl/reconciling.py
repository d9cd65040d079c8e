"""Files that are not as the index knows them: people edit, restore and remove what is theirs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from perdure.engines.jsonl.directory import Directory, log
from perdure.engines.jsonl.files import COMMON, NOBODY
from perdure.engines.jsonl.loading import Reading, forget_session, load_session
from perdure.engines.jsonl.paths import session_files
from perdure.engines.jsonl.shapes import shapes_of
from perdure.engines.jsonl.statements import JSONL, run

if TYPE_CHECKING:
    import apsw


class _Known(NamedTuple):
    path: str
    part: str
    uid: str
    length: int
    mtime: int
    dead: int
    removed: int
    damage: str


class Reconciling:
    """Holds the index against the files, by their lengths and times, and reads what differs.

    ``ends``: where the files end that the journal has just made whole.
    """

    def __init__(
        self, directory: Directory, connection: apsw.Connection, ends: Mapping[str, int]
    ) -> None:
        self._directory = directory
        self._connection = connection
        self._ends = ends
        #: The number of the last write in what was read again.
        self.lsn = 0
        self._shapes = shapes_of(connection)
        self._known = {row[0]: _Known(*row) for row in run(connection, JSONL.every_file())}

    def run(self) -> bool:
        """Whether it could be done: a changed file of no session wants a new index."""
        there = {path: status for path, status in session_files(self._directory.folder)}  # noqa: C416
        for path in COMMON:
            if os.path.exists(self._directory.path(path)):
                there[path] = os.stat(self._directory.path(path))
        changed = [path for path, status in there.items() if self._differs(path, status)]
        gone = [path for path in self._known if path not in there]
        if not changed and not gone:
            return True
        self._connection.execute("PRAGMA foreign_keys = OFF")
        with self._connection:
            whole = [self._take_in(path) for path in changed]
            for path in gone:
                self._let_go(path)
        return all(whole)

    def _differs(self, path: str, status: os.stat_result) -> bool:
        if path in self._ends:
            return status.st_size != self._ends[path]
        known = self._known.get(path)
        return known is None or (known.length, known.mtime) != (status.st_size, status.st_mtime_ns)

    def _take_in(self, path: str) -> bool:
        """Read a file that was changed; if it is damaged, the index keeps what it has."""
        reading = Reading(self._directory.folder, path, None)
        for _ in reading.records():
            continue
        known = self._known.get(path)
        if not reading.file.damage and reading.file.length < self._expected(path):
            reading.damaged(reading.number, "lines that followed it are gone")
        if reading.file.damage:
            self._note_damage(reading, known)
            return True
        if path in COMMON:
            return False
        log.info("%s was changed: it is read again", self._directory.path(path))
        other = self._other_of(reading)
        if other:
            reading.damaged(1, f"{other} is of the same session")
            self._note_damage(reading, known)
            return True
        again = Reading(self._directory.folder, path, None)
        forget_session(self._connection, self._shapes, reading.file.of)
        load_session(self._connection, self._shapes, again)
        self._note(again)
        self.lsn = max(self.lsn, again.lsn)
        return True

    def _expected(self, path: str) -> int:
        """What the journal needs of it, if it goes on with it."""
        return self._ends.get(path, 0)

    def _other_of(self, reading: Reading) -> str:
        found = run(
            self._connection, JSONL.file_of(part=reading.file.of[0], uid=reading.file.of[1])
        )
        return next((row[0] for row in found if row[0] != reading.file.path), "")

    def _note_damage(self, reading: Reading, known: _Known | None) -> None:
        log.warning("%s: it is read-only now: see `perdure doctor`", reading.file.damage)
        if known is not None:
            reading.file.of = known.part, known.uid
        self._note(reading)

    def _note(self, reading: Reading) -> None:
        status = os.stat(self._directory.path(reading.file.path))
        # As it stands: a damaged file is looked at again when it was changed again.
        reading.file.length = status.st_size
        reading.file.note(self._connection, status.st_mtime_ns)

    def _let_go(self, path: str) -> None:
        """A file that somebody removed: its session goes; what belongs to none cannot."""
        known = self._known[path]
        if not known.length:
            # It was never written: a crash came before.
            run(self._connection, JSONL.forget_file(path=path))
            return
        if (known.part, known.uid) == NOBODY:
            run(
                self._connection,
                JSONL.note_file(
                    **{**known._asdict(), "damage": f"{path}: the file is gone", "mtime": 0}
                ),
            )
            return
        log.warning("%s is gone: so is its session", self._directory.path(path))
        forget_session(self._connection, self._shapes, (known.part, known.uid))
        run(self._connection, JSONL.forget_file(path=path))
