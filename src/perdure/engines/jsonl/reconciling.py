"""Files that are not as the index knows them: people edit, restore and remove what is theirs."""

from __future__ import annotations

import os
from collections.abc import Mapping

import apsw

from perdure.engines.jsonl import lacking
from perdure.engines.jsonl.directory import Directory, log
from perdure.engines.jsonl.files import COMMON, NOBODY, File, Noted, noted_in
from perdure.engines.jsonl.loading import Reading, copied, forget_session, gathered, load
from perdure.engines.jsonl.paths import session_files
from perdure.engines.jsonl.shapes import shapes_of
from perdure.engines.jsonl.statements import JSONL, run


class Reconciling:
    """Holds the index against the files, by their lengths and times, and reads what differs.

    ``begins``: from where on the journal goes on with files; ``ends``: where those of them end
    that it has just made whole. ``last``: the last write that counts, if not all do.
    """

    def __init__(
        self,
        directory: Directory,
        connection: apsw.Connection,
        begins: Mapping[str, int],
        ends: Mapping[str, int],
        last: int | None,
    ) -> None:
        self._directory = directory
        self._connection = connection
        self._begins = begins
        self._ends = ends
        self._last = last
        #: The number of the last write in what was read again.
        self.lsn = 0
        self._lacking = lacking.read(directory.folder)
        self._there: dict[str, os.stat_result] = {}
        self._shapes = shapes_of(connection)
        self._known = noted_in(connection)

    def run(self) -> bool:
        """Whether it could be done: a changed file of no session wants a new index."""
        there = self._there
        there.update(session_files(self._directory.folder))
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
        lacking.write(self._directory.folder, self._lacking)
        return all(whole)

    def _differs(self, path: str, status: os.stat_result) -> bool:
        known = self._known.get(path)
        if known is None:
            return True
        if path in self._ends:
            end = self._ends[path]
            noted = not known.length or self._begins[path] <= known.length <= end
            return bool(known.damage) or status.st_size != end or not noted
        return (known.length, known.mtime) != (status.st_size, status.st_mtime_ns)

    def _take_in(self, path: str) -> bool:
        """Read a file that was changed; if it is damaged, the index keeps what it has."""
        least = self._begins.get(path, 0)
        reading = Reading(self._directory.folder, path, self._last, least)
        known = self._known.get(path)
        if path in COMMON:
            for _ in reading.records():
                continue
            if reading.file.damage:
                self._note_damage(reading, known)
            return bool(reading.file.damage)
        tables = gathered(self._shapes, reading)
        other = self._other_of(reading)
        if other is not None:
            copied(reading, other)
            self._note_damage(reading, known)
            return True
        if reading.file.damage:
            self._note_damage(reading, known)
            return True
        log.info("%s was changed: it is read again", self._directory.path(path))
        try:
            with self._connection:
                for of in {reading.file.of} | ({known.of} if known else set()):
                    if of != NOBODY:
                        forget_session(self._connection, self._shapes, of)
                load(self._connection, self._shapes, tables)
        except apsw.ConstraintError as error:
            reading.damaged(reading.number, f"it cannot be: {error}")
            self._note_damage(reading, known)
            return True
        self._lacking.pop(reading.file.of[1], None)
        self._note(reading)
        self.lsn = max(self.lsn, reading.lsn)
        return True

    def _other_of(self, reading: Reading) -> File | None:
        """Another file of the same session, which is there as well."""
        part, uid = reading.file.of
        if reading.file.of == NOBODY:
            return None
        paths = [row[0] for row in run(self._connection, JSONL.file_of(part=part, uid=uid))]
        others = [path for path in paths if path != reading.file.path and path in self._there]
        return File(others[0]) if others else None

    def _note_damage(self, reading: Reading, known: Noted | None) -> None:
        log.warning("%s: it is read-only now: see `perdure doctor`", reading.file.damage)
        if known is not None:
            reading.file.of = known.of
            reading.file.dead, reading.file.removed = known.dead, bool(known.removed)
        self._note(reading)

    def _note(self, reading: Reading) -> None:
        status = self._there[reading.file.path]
        if not reading.file.damage:
            # What a power cut left may just have been cut off.
            status = os.stat(self._directory.path(reading.file.path))
        # As it stands: a damaged file is looked at again when it was changed again.
        reading.file.length = status.st_size
        reading.file.note(self._connection, status.st_mtime_ns)

    def _let_go(self, path: str) -> None:
        """A file that somebody removed: its session goes; what belongs to none cannot."""
        known = self._known[path]
        if not known.length or (known.of == NOBODY and path not in COMMON):
            # It was never written, since a crash came before; or it was of nobody.
            run(self._connection, JSONL.forget_file(path=path))
            return
        if path in COMMON:
            run(
                self._connection,
                JSONL.note_file(
                    **{**known._asdict(), "damage": f"{path}: the file is gone", "mtime": 0}
                ),
            )
            return
        run(self._connection, JSONL.forget_file(path=path))
        if run(self._connection, JSONL.file_of(part=known.part, uid=known.uid)):
            # Somebody gave it another name.
            return
        self._lacking.pop(known.uid, None)
        log.warning("%s is gone: so is its session", self._directory.path(path))
        forget_session(self._connection, self._shapes, known.of)
