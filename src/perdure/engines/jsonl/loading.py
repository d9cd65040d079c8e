"""From files to the index: all of them, or one that is not as the index knows it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import apsw
import msgspec

from perdure.engines.jsonl.files import COMMON, NOBODY, File, recorded
from perdure.engines.jsonl.lines import FORMAT, NOT_AS_WRITTEN, Line, lines_of
from perdure.engines.jsonl.paths import STORE, session_file, session_files
from perdure.engines.jsonl.shapes import Shape, Step, Values, shapes_of
from perdure.engines.jsonl.statements import JSONL, create, run
from perdure.errors import CorruptError, PerdureError, SchemaTooNewError

Shapes = Mapping[str, Shape]
#: By table and key: the values by their places in a row.
Gathered = dict[str, dict[Values, dict[int, Any]]]


class _Head(msgspec.Struct):
    perdure: str
    format: int
    part: str = ""
    uid: str = ""


_head = msgspec.json.Decoder(_Head).decode


def lsn_of(body: bytes) -> int:
    """The number of the write that a line is of; -1 if it is of none."""
    try:
        return recorded(body).lsn
    except msgspec.DecodeError:
        return -1


class _BeyondError(Exception):
    """A write that the journal does not know, where it is not synced for each."""


class Reading:
    """One file as it is read: what it is of, its records, and what is wrong with it.

    ``last``: the number of the last write that counts; what lies beyond it is cut off, since it
    was not synced. None: all do. ``least``: the length that the journal needs of it.
    """

    def __init__(self, folder: str, path: str, last: int | None, least: int = 0) -> None:
        self.file = File(path)
        #: Whether it stands where this program puts the file of its session.
        self.own = True
        self._whole = os.path.join(folder, path)
        self._last = last
        self._least = least
        #: The number of the line that was read last, and of the last write that is in it.
        self.number = 0
        self.lsn = 0

    def records(self) -> Iterator[list[Step]]:
        """The rows of each line up to the first that is not as it was written."""
        try:
            file = open(self._whole, "rb")  # noqa: SIM115 - closed below
        except OSError as error:
            self.damaged(1, f"it cannot be read: {error.strerror}")
            return
        with file:
            yield from self._good(file)
        if self.file.length < self._least and not self.file.damage:
            self.damaged(self.number + 1, "the lines that followed are gone")
        elif not self.number and not self.file.damage:
            self.damaged(1, "it is empty")

    def _good(self, file: BinaryIO) -> Iterator[list[Step]]:
        for line in lines_of(file):
            try:
                rows = self._rows(line)
            except _BeyondError:
                self._cut(line)
                return
            except (msgspec.DecodeError, CorruptError) as error:
                if self._is_unsynced(line, file):
                    self._cut(line)
                else:
                    self.damaged(line.number, str(error))
                return
            self.number, self.file.length = line.number, line.end
            if rows is not None:
                self.file.weigh(rows)
                yield rows

    def _is_unsynced(self, line: Line, file: BinaryIO) -> bool:
        """Whether it and all behind it is what a power cut left of a write it may take."""
        if self._last is None or line.number == 1 or line.swallowed is not None:
            return False
        return all(other.body is None and other.swallowed is None for other in lines_of(file))

    def _cut(self, line: Line) -> None:
        # Nobody was promised that it outlives a power cut.
        os.truncate(self._whole, line.at)

    def damaged(self, number: int, why: str) -> None:
        """Note what is wrong with it."""
        self.file.damage = f"{self.file.path}, line {number}: {why}"

    def _rows(self, line: Line) -> list[Step] | None:
        if line.body is None:
            raise CorruptError(NOT_AS_WRITTEN)
        if line.number == 1:
            self._begin(line.body)
            return None
        record = recorded(line.body)
        if record.at != line.at:
            raise CorruptError(f"it was written at byte {record.at}, and stands at {line.at}")
        if self._last is not None and record.lsn > self._last:
            raise _BeyondError
        self.lsn = record.lsn
        return record.rows

    def _begin(self, body: bytes) -> None:
        head = _head(body)
        if head.format > FORMAT:
            raise SchemaTooNewError(f"{self._whole}: a newer perdure wrote it: update perdure")
        kind = self.file.path.removesuffix(".jsonl") if self.file.path in COMMON else "session"
        if head.perdure != kind or bool(head.uid) != (kind == "session"):
            raise CorruptError(f"it does not say that this is a file of {kind!r}")
        self.file.of = head.part, head.uid
        if kind == "session":
            names = list(msgspec.json.decode(body).values())[4:]
            own = session_file(*self.file.of, [str(name) for name in names if name])
            self.own = self.file.path == own


def load_common(connection: apsw.Connection, shapes: Shapes, reading: Reading) -> None:
    """Take in a file that belongs to no session, as large as it may be."""
    for rows in reading.records():
        try:
            for step in rows:
                shapes[step.table].apply(connection, step, None)
        except (CorruptError, KeyError, apsw.ConstraintError) as error:
            reading.damaged(reading.number, f"it cannot be: {error}")
            return


def gathered(shapes: Shapes, reading: Reading) -> Gathered:
    """The rows of a session's file by table, as they were at its last good line."""
    tables: Gathered = {}
    for rows in reading.records():
        try:
            for step in rows:
                _fold(shapes[step.table], step, reading.file.of, tables)
        except (CorruptError, KeyError) as error:
            reading.damaged(reading.number, f"it cannot be: {error}")
            break
    return tables


def load(connection: apsw.Connection, shapes: Shapes, tables: Gathered) -> None:
    """Take in the rows of a session."""
    for name, kept in tables.items():
        shape = shapes[name]
        places = range(len(shape.columns))
        whole = [tuple([row.get(at) for at in places]) for row in kept.values()]
        connection.executemany(shape.upsert, whole)


def _fold(
    shape: Shape,
    step: Step,
    of: tuple[str, str],
    tables: Gathered,
) -> None:
    rows = tables.setdefault(shape.name, {})
    row = shape.read(step, of)
    key = shape.key_of(row)
    if step.verb == "put":
        rows[key] = row
    elif step.verb == "set":
        rows[key].update(row)
    else:
        rows.pop(key, None)


def forget_session(connection: apsw.Connection, shapes: Shapes, of: tuple[str, str]) -> None:
    """Take a session's rows out of the index, but for those that other files hold."""
    for shape in shapes.values():
        if shape.hanging and not shape.found:
            # The name of a table of the schema itself.
            text = f'DELETE FROM "{shape.name}" WHERE part = ? AND uid = ?'  # noqa: S608
            connection.execute(text, of)


def build(
    connection: apsw.Connection,
    folder: str,
    schema: str,
    last: int | None,
    least: Mapping[str, int],
) -> list[Reading]:
    """Fill an empty index from all files: as they were read, with what is wrong with them.

    `CorruptError` if one that belongs to no session is damaged or gone: of what it would lack
    nobody would see that it is lacking.
    """
    tables, indexes = definitions(schema)
    for text in tables:
        connection.execute(text)
    create(connection)
    shapes = shapes_of(connection)
    found: list[Reading] = []
    with connection:
        for path in COMMON:
            if os.path.lexists(os.path.join(folder, path)):
                reading = Reading(folder, path, last, least.get(path, 0))
                load_common(connection, shapes, reading)
                found.append(reading)
            elif path in least or (path == STORE and schema):
                raise CorruptError(f"{os.path.join(folder, path)} is gone, and there is no index")
            if path == STORE and found and found[0].number == 1:
                found[0].damaged(2, "its rows are gone")
            if found and found[-1].file.damage:
                raise CorruptError(f"{folder}: {found[-1].file.damage}: see `perdure doctor`")
        found += _sessions(connection, folder, shapes, last, least)
        for text in indexes:
            _make_index(connection, text)
    return found


def _sessions(
    connection: apsw.Connection,
    folder: str,
    shapes: Shapes,
    last: int | None,
    least: Mapping[str, int],
) -> Iterator[Reading]:
    first: dict[tuple[str, str], Reading] = {}
    for path, _ in session_files(folder):
        reading = Reading(folder, path, last, least.get(path, 0))
        tables = gathered(shapes, reading)
        other = first.get(reading.file.of)
        if reading.file.of == NOBODY or other is None:
            first[reading.file.of] = reading
            _load_or_none(connection, shapes, reading, tables)
        elif reading.own:
            copied(other, reading.file)
            forget_session(connection, shapes, reading.file.of)
            first[reading.file.of] = reading
            _load_or_none(connection, shapes, reading, tables)
        else:
            copied(reading, other.file)
            if not other.own:
                other.damaged(1, f"{path} is of the same session; remove one of them")
        yield reading


def _load_or_none(
    connection: apsw.Connection, shapes: Shapes, reading: Reading, tables: Gathered
) -> None:
    """Take in the rows of a session; none, if they do not fit the schema."""
    try:
        load(connection, shapes, tables)
    except apsw.ConstraintError as error:
        # Not a savepoint: what is being made has no journal.
        forget_session(connection, shapes, reading.file.of)
        reading.damaged(reading.number, f"it cannot be: {error}")


def copied(copy: Reading, other: File) -> None:
    """Of two files of one session, have one that counts."""
    copy.damaged(1, f"{other.path} is of the same session; remove one of them")
    copy.file.of, copy.file.dead, copy.file.removed = NOBODY, 0, False


def definitions(schema: str) -> tuple[list[str], list[str]]:
    """What makes the tables of a schema, and what makes the rest."""
    texts = [text for text in schema.split(";\n") if text.strip()]
    tables = [text for text in texts if text.lstrip().upper().startswith("CREATE TABLE")]
    return tables, [text for text in texts if text not in tables]


def _make_index(connection: apsw.Connection, text: str) -> None:
    try:
        connection.execute(text)
    except apsw.ConstraintError as error:
        raise PerdureError(f"two files contradict each other: {error}: {text}") from error


def note_all(
    connection: apsw.Connection, folder: str, readings: list[Reading], lsn: int, schema: str
) -> None:
    """Have the index know its files and how far it goes."""
    with connection:
        for reading in readings:
            status = os.stat(os.path.join(folder, reading.file.path))
            reading.file.note(connection, status.st_mtime_ns)
        run(connection, JSONL.begin(lsn=lsn, schema=schema))
