"""One directory, as all stores of this process write to it.

A write is a line of the journal, on the disk before the index commits and anybody is told; then
it goes to the files it belongs to, and when the journal has grown these are synced and the
journal begins anew. So the truth is in the files and in the journal's lines together.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import apsw
import msgspec

from perdure.engines.jsonl import disk
from perdure.engines.jsonl.files import NOBODY, Appender, File, data_of, joined
from perdure.engines.jsonl.journal import Head, Journal, encoded
from perdure.engines.jsonl.lines import FORMAT, seal
from perdure.engines.jsonl.paths import SEARCH, STORE, session_file
from perdure.engines.jsonl.shapes import Change, Shape, Values
from perdure.engines.jsonl.statements import JSONL, run
from perdure.engines.jsonl.writer import Writer
from perdure.errors import CorruptError, PerdureError, UnknownOutcomeError
from perdure.operation import Row

_FOLD_BYTES = 16 * 1024 * 1024
_WORN_BYTES = 1024 * 1024
_CACHED = 20_000
_encode = msgspec.json.Encoder().encode
_REACH = JSONL.reach.texts["sqlite"]
log = logging.getLogger("perdure")


class Entry(NamedTuple):
    """One operation's rows, by the file they belong to."""

    op: str
    groups: Mapping[File, Sequence[bytes]]


class _Pending(NamedTuple):
    lsn: int
    lengths: Mapping[File, int]
    writes: Sequence[tuple[File, int, bytes]]


class Directory:
    """What this process knows of a directory; whoever has ``mutex`` may write, once `take`n."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.mutex = threading.RLock()
        self.writer = Writer(folder)
        self.journal = Journal(folder)
        self.appender = Appender(folder)
        self.shapes: Mapping[str, Shape] = {}
        self.schema = ""
        #: That of the first store, until one comes that is more careful.
        self.durability = ""
        self.lsn = 0
        #: What is wrong with all of it; then nothing can be written.
        self.damage = ""
        #: Whether the journal has what a damaged file lacks.
        self.needed = False
        #: Whether what is known here is so: not before the journal was read, or after a failure.
        self.trusted = False
        #: Whether somebody of this process has begun to write: the lock is kept until the end.
        self.writing = False
        self.users = 0
        self.touched: dict[str, File] = {}
        self._files: dict[tuple[str, str], File] = {}
        self._common: dict[str, File] = {}
        self._pending: _Pending | None = None
        self._written_from = 0
        self._next_fold = _FOLD_BYTES

    # -- knowing ---------------------------------------------------------------------------

    def know(self, shapes: Mapping[str, Shape], schema: str, lsn: int) -> None:
        """Begin with what was found in the index and the journal."""
        self.shapes, self.schema, self.lsn = shapes, schema, lsn
        self.forget()
        self.trusted = True

    def forget(self) -> None:
        """Look up in the index again what is known of files."""
        self._files.clear()
        self._common.clear()
        self.touched.clear()
        self._pending = None
        self.appender.forget()

    def remember(self, file: File) -> None:
        """Know it as it is: longer than the index has it, for the journal tells of it."""
        self.touched[file.path] = file
        if file.of == NOBODY:
            self._common[file.path] = file
        else:
            self._files[file.of] = file

    def distrust(self) -> None:
        """After a failure: read everything again before the next write."""
        self.trusted = False
        self.journal.close()
        self.appender.forget()

    @contextmanager
    def doubted(self, but: type[Exception] | tuple[()] = ()) -> Iterator[None]:
        """If this fails, or Ctrl-C comes in between, nobody knows how far it went: `distrust`.

        ``but``: what is raised while nothing is done yet, or all of it undone.
        """
        try:
            yield
        except but:
            raise
        except BaseException as error:
            self.doubt(error)
            raise

    def doubt(self, error: BaseException) -> None:
        """`distrust` after this; raises what there is to say of it, if that is something else."""
        self.distrust()
        # Some of ours are an OSError too.
        if isinstance(error, OSError) and not isinstance(error, PerdureError):
            raise disk.failure(error, self.folder) from error

    def path(self, name: str) -> str:
        """The whole path of a file of the directory."""
        return os.path.join(self.folder, name)

    # -- what an operation changed ---------------------------------------------------------

    def entry(
        self, op: str, changes: Sequence[Change], connection: apsw.Connection
    ) -> Entry | None:
        """Its rows by file; None if nothing of it is kept. `CorruptError` for a damaged file."""
        groups: dict[File, list[bytes]] = {}
        for table, before, after in changes:
            shape = self.shapes[table]
            row = after or before or ()
            file = self._file_of(shape, row, changes, connection)
            steps = list(shape.steps(before, after, short=file.of != NOBODY))
            if steps:
                groups.setdefault(file, []).extend(steps)
                if before is not None:
                    _weigh(file, before, after, steps)
        for file in groups:
            if file.damage:
                raise CorruptError(f"{file.damage}; it is read-only: see `perdure doctor`")
        return Entry(op, groups) if groups else None

    def _file_of(
        self, shape: Shape, row: Values, changes: Sequence[Change], connection: apsw.Connection
    ) -> File:
        if shape.found:
            return self.common(SEARCH, connection)
        if not shape.hanging or not row[1]:
            return self.common(STORE, connection)
        of = row[0], row[1]
        file = self._files.get(of)
        if file is None:
            file = self._files[of] = self._session_file(of, changes, connection)
        return file

    def common(self, path: str, connection: apsw.Connection) -> File:
        """A file that belongs to no session."""
        if path not in self._common:
            found = run(connection, JSONL.file_at(path=path))
            self._common[path] = _known(found[0], NOBODY) if found else File(path)
        return self._common[path]

    def _session_file(
        self, of: tuple[str, str], changes: Sequence[Change], connection: apsw.Connection
    ) -> File:
        found = run(connection, JSONL.file_of(part=of[0], uid=of[1]))
        if found:
            return _known(found[0], of)
        names = self.names_of(of, changes, connection)
        return File(session_file(*of, [name for name in names.values() if name]), of, names)

    def names_of(
        self, of: tuple[str, str], changes: Sequence[Change], connection: apsw.Connection
    ) -> dict[str, str]:
        """By what people know a session; also if it is gone since."""
        for shape in self.shapes.values():
            if shape.names:
                rows = connection.execute(f"{shape.select} WHERE part = ? AND uid = ?", of)
                row = next(iter(rows.fetchall()), None) or _from_changes(changes, shape.name, of)
                named: dict[str, Any] = dict(zip(shape.columns, row or (), strict=bool(row)))
                return {name: named[name] for name in shape.names if named}
        return {}

    # -- writing ---------------------------------------------------------------------------

    def write(self, entries: Sequence[Entry], connection: apsw.Connection) -> None:
        """Have it in the journal; the index's transaction is open, and knows of it too."""
        lines, writes = [], []
        lengths: dict[File, int] = {}
        lsn = self.lsn
        for op, groups in entries:
            lsn += 1
            inside = {}
            for file, rows in groups.items():
                at, together = lengths.get(file, file.length), joined(rows)
                head = None if at else file.head
                data = data_of(head, lsn, at, op, together)
                inside[file.path] = _group(at, head, together)
                writes.append((file, at, data))
                lengths[file] = at + len(data)
            lines.append(seal(encoded(lsn, self.lsn + 1, op, inside)))
        for file in lengths:
            if not file.length:
                file.note(connection, 0)
        connection.execute(_REACH, (lsn,))
        self._to_journal(lines)
        self._pending = _Pending(lsn, lengths, writes)

    def _to_journal(self, lines: Sequence[bytes]) -> None:
        self._written_from = self.journal.length
        try:
            self.journal.write(lines)
        except OSError as error:
            failed = disk.failure(error, self.journal.path)
            self.take_back()
            raise failed from error

    def take_back(self) -> None:
        """Undo the last write to the journal, of which nobody was told."""
        self._pending = None
        try:
            self.journal.take_back(self._written_from)
        except OSError as error:
            self.distrust()
            message = f"{self.journal.path} can neither be written nor cut: {error.strerror}"
            raise UnknownOutcomeError(message) from error
        # What failed to reach the disk may not be what a later sync writes.
        self.distrust()

    def follow(self) -> None:
        """Put what was committed into the files it belongs to; the journal has it anyway."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        self._follow(pending)
        # Not before: two of one file, in one batch, would both begin where it ends.
        if len(self._files) >= _CACHED:
            self._files = {file.of: file for file in self.touched.values() if file.of != NOBODY}

    def _follow(self, pending: _Pending) -> None:
        self.lsn = pending.lsn
        whole: dict[File, tuple[int, list[bytes]]] = {}
        for file, at, data in pending.writes:
            whole.setdefault(file, (at, []))[1].append(data)
        for file, length in pending.lengths.items():
            file.length = length
            self.touched[file.path] = file
        try:
            for file, (at, parts) in whole.items():
                self.appender.write(file.path, at, b"".join(parts))
        except OSError as error:
            log.warning("%s: %s; the journal has what it lacks", self.folder, error)
            self.distrust()

    # -- folding ---------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether the journal has grown so long that it is to begin anew."""
        return self.journal.length > self._next_fold

    def fold(self, connection: apsw.Connection) -> bool:
        """Have everything in the files and on the disk, and begin an empty journal.

        False while a file is damaged that lacks something of it: then only the journal has that.
        """
        self._next_fold = self.journal.length + _FOLD_BYTES
        if self.needed or any(file.damage for file in self.touched.values()):
            return False
        with self.doubted(but=apsw.Error):
            self.appender.sync(self.touched)
            self.note(connection, self.touched.values())
            with suppress(apsw.BusyError):
                # Without it a power cut may cost an index that is made anew, nothing else.
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self.begin_journal()
        self.touched.clear()
        self._next_fold = _FOLD_BYTES
        return True

    def note(self, connection: apsw.Connection, files: Iterable[File]) -> None:
        """Have the index know these files as they are on the disk."""
        with connection:
            for file in files:
                file.note(connection, os.stat(self.path(file.path)).st_mtime_ns)

    def begin_journal(self, *, swap: bool = False) -> None:
        """An empty journal: everything is in the files, or in those that are to be swapped in."""
        head = Head("journal", FORMAT, self.lsn, self.schema, self.durability, swap)
        self.journal.begin(head)

    def worn(self, connection: apsw.Connection) -> list[File]:
        """Of what was written since the last fold: what is mostly of no use any more, or gone."""
        return [
            file
            for file in self.touched.values()
            if (file.dead > _WORN_BYTES and 2 * file.dead > file.length)
            or (file.removed and file.of != NOBODY and not self.names_of(file.of, (), connection))
        ]

    # -- life ------------------------------------------------------------------------------

    def unchanged(self) -> bool:
        """Whether nobody has written since this process let go of the lock."""
        return self.trusted and self.journal.is_current()

    def leave(self) -> None:
        """Stop writing: the next process may."""
        self.distrust()
        self.writing = False
        self.writer.leave()


def _known(row: Row, of: tuple[str, str]) -> File:
    path, length, dead, removed, damage = row
    return File(path, of, {}, length, dead, bool(removed), damage)


def _from_changes(changes: Sequence[Change], table: str, of: tuple[str, str]) -> Values | None:
    rows = (after or before for name, before, after in changes if name == table)
    return next((row for row in rows if row and row[:2] == of), None)


def _group(at: int, head: dict[str, object] | None, rows: bytes) -> bytes:
    first = b"" if head is None else b'"head":%b,' % _encode(head)
    return b'{"at":%d,%b"rows":%b}' % (at, first, rows)


def _weigh(file: File, before: Values, after: Values | None, steps: Sequence[bytes]) -> None:
    file.dead += sum(map(len, steps))
    if after is None:
        file.removed = True
        file.dead += sum(len(value) for value in before if isinstance(value, str | bytes))


_directories: dict[str, Directory] = {}
_opening = threading.Lock()


def directory_at(folder: str) -> Directory:
    """The one of this process for that folder; to be given back by `give_back`."""
    with _opening:
        found = _directories.setdefault(folder, Directory(folder))
        found.users += 1
        return found


def give_back(directory: Directory, last: Callable[[], None]) -> None:
    """One user less; ``last`` is called if it was the last one."""
    with _opening:
        directory.users -= 1
        if directory.users > 0:
            return
        _directories.pop(directory.folder, None)
        with directory.mutex:
            last()


def abandon_all() -> None:
    """In a forked child: what is open here is the parent's."""
    global _opening  # noqa: PLW0603 - who held it may not exist here
    _opening = threading.Lock()
    for directory in _directories.values():
        directory.distrust()
    _directories.clear()
