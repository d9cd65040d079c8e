"""From files to the index: all of them, or one that is not as the index knows it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import apsw
import msgspec

from perdure.engines.jsonl.files import File
from perdure.engines.jsonl.lines import FORMAT, Line, lines_of
from perdure.engines.jsonl.paths import SEARCH, STORE, session_files
from perdure.engines.jsonl.shapes import Shape, Step, Values, shapes_of
from perdure.engines.jsonl.statements import JSONL, create, run
from perdure.errors import CorruptError, PerdureError, SchemaTooNewError

Shapes = Mapping[str, Shape]


class _Record(msgspec.Struct):
    lsn: int
    at: int
    op: str
    rows: list[Step]


class _Head(msgspec.Struct):
    perdure: str
    format: int
    part: str = ""
    uid: str = ""


_record = msgspec.json.Decoder(_Record).decode
_head = msgspec.json.Decoder(_Head).decode


class _BeyondError(Exception):
    """A write that the journal does not know, where it is not synced for each."""


class Reading:
    """One file as it is read: what it is of, its records, and what is wrong with it.

    ``last``: the number of the last write that counts; lines beyond it are cut off. None: all do.
    """

    def __init__(self, folder: str, path: str, last: int | None) -> None:
        self.file = File(path)
        self._whole = os.path.join(folder, path)
        self._last = last
        #: The number of the line that was read last, and of the last write that is in it.
        self.number = 0
        self.lsn = 0

    def records(self) -> Iterator[list[Step]]:
        """The rows of each line up to the first that is not as it was written."""
        with open(self._whole, "rb") as file:
            for line in lines_of(file):
                try:
                    rows = self._rows(line)
                except _BeyondError:
                    # Nobody was promised that it outlives a power cut.
                    os.truncate(self._whole, line.at)
                    return
                except (msgspec.DecodeError, CorruptError) as error:
                    self.damaged(line.number, str(error))
                    return
                self.number, self.file.length = line.number, line.end
                if rows is not None:
                    yield rows

    def damaged(self, number: int, why: str) -> None:
        """Note what is wrong with it."""
        self.file.damage = f"{self.file.path}, line {number}: {why}"

    def _rows(self, line: Line) -> list[Step] | None:
        if line.body is None:
            raise CorruptError("it is not as it was written (length or checksum)")
        if line.number == 1:
            self._begin(line.body)
            return None
        record = _record(line.body)
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
        self.file.of = head.part, head.uid


def load_common(connection: apsw.Connection, shapes: Shapes, reading: Reading) -> None:
    """Take in a file that belongs to no session, as large as it may be."""
    for rows in reading.records():
        for step in rows:
            shapes[step.table].apply(connection, step, None)


def load_session(connection: apsw.Connection, shapes: Shapes, reading: Reading) -> None:
    """Take in the file of a session: its rows as they were at its last good line."""
    tables: dict[str, dict[Values, dict[int, Any]]] = {}
    for rows in reading.records():
        try:
            for step in rows:
                _fold(shapes[step.table], step, reading.file.of, tables)
        except (CorruptError, KeyError) as error:
            reading.damaged(reading.number, f"it cannot be: {error}")
            break
    for name, kept in tables.items():
        shape = shapes[name]
        places = range(len(shape.columns))
        whole = [tuple([row.get(at) for at in places]) for row in kept.values()]
        connection.executemany(shape.upsert, whole)


def _fold(
    shape: Shape,
    step: Step,
    of: tuple[str, str],
    tables: dict[str, dict[Values, dict[int, Any]]],
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


def build(connection: apsw.Connection, folder: str, schema: str, last: int | None) -> list[Reading]:
    """Fill an empty index from all files: as they were read, with what is wrong with them."""
    tables, indexes = definitions(schema)
    for text in tables:
        connection.execute(text)
    create(connection)
    shapes = shapes_of(connection)
    found: list[Reading] = []
    with connection:
        for path in (STORE, SEARCH):
            if os.path.exists(os.path.join(folder, path)):
                reading = Reading(folder, path, last)
                load_common(connection, shapes, reading)
                found.append(reading)
        of = set()
        for path, _ in session_files(folder):
            reading = Reading(folder, path, last)
            load_session(connection, shapes, reading)
            if reading.file.of in of:
                reading.damaged(1, "another file is of the same session")
            of.add(reading.file.of)
            found.append(reading)
        for text in indexes:
            _make_index(connection, text)
    return found


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
