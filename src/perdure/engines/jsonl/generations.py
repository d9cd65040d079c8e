"""Files written anew from the index: without what was removed, or with another schema."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING

from perdure.engines.jsonl import disk
from perdure.engines.jsonl.directory import Directory
from perdure.engines.jsonl.files import COMMON, NOBODY, File, joined, noted_in, record_line
from perdure.engines.jsonl.lines import seal_object
from perdure.engines.jsonl.paths import NEXT, SCHEMA, SEARCH, SESSIONS, STORE, session_file
from perdure.engines.jsonl.shapes import Shape, shapes_of
from perdure.engines.jsonl.statements import JSONL, run
from perdure.errors import CorruptError

if TYPE_CHECKING:
    import apsw

_LINE_BYTES = 64 * 1024


def digest_of(schema: str) -> str:
    """What stands for a schema in journals and the index; empty for none."""
    return blake2b(schema.encode(), digest_size=16).hexdigest() if schema else ""


def schema_of(connection: apsw.Connection) -> str:
    """What makes the tables and indexes that an index has, but for the engine's own."""
    return "".join(f"{text};\n" for (text,) in run(connection, JSONL.schema()))


def commit_schema(directory: Directory, connection: apsw.Connection) -> None:
    """Commit the change of the schema, and have every file in it.

    Until the journal says so the old files count: after a crash the index is made of them, and
    the schema is changed once more.
    """
    _refuse_damage(connection)
    schema = schema_of(connection)
    shapes = shapes_of(connection)
    with directory.doubted():
        run(connection, JSONL.begin(lsn=directory.lsn, schema=digest_of(schema)))
        connection.execute("COMMIT")
        directory.know(shapes, digest_of(schema), directory.lsn)
        files = _write_all(directory, connection, schema)
        directory.begin_journal(swap=True)
        swap_in(directory, [*(file.path for file in files), SCHEMA])
        directory.begin_journal()
        directory.note(connection, files)


def _refuse_damage(connection: apsw.Connection) -> None:
    """A damaged file cannot be written anew, and its lines are of the old schema."""
    for one in noted_in(connection).values():
        if one.damage and (one.uid or one.path in COMMON):
            raise CorruptError(
                f"{one.damage}; the schema cannot be changed until it is mended or removed: "
                "see `perdure doctor`"
            )


def _write_all(directory: Directory, connection: apsw.Connection, schema: str) -> list[File]:
    files = [directory.common(path, connection) for path in COMMON]
    files += [_session(directory, connection, of) for of in _sessions(directory, connection)]
    paths = {file.path for file in files}
    # Nothing of the old schema stays: not what is left of sessions that are gone, either.
    gone = [one for path, one in noted_in(connection).items() if one.uid and path not in paths]
    files += [File(one.path, one.of) for one in gone]
    kept = [file for file in files if write_next(directory, connection, file, there=True)]
    disk.replace(directory.path(f"{SCHEMA}{NEXT}"), schema.encode())
    return kept


def _sessions(directory: Directory, connection: apsw.Connection) -> Iterator[tuple[str, str]]:
    seen: set[tuple[str, str]] = set()
    for shape in directory.shapes.values():
        if shape.hanging and not shape.found:
            # The name of a table of the schema itself.
            text = f"SELECT DISTINCT part, uid FROM {shape.name} WHERE uid <> ''"  # noqa: S608
            seen.update((str(part), str(uid)) for part, uid in connection.execute(text))
    yield from sorted(seen)


def _session(directory: Directory, connection: apsw.Connection, of: tuple[str, str]) -> File:
    names = directory.names_of(of, (), connection)
    found = run(connection, JSONL.file_of(part=of[0], uid=of[1]))
    path = found[0][0] if found else session_file(*of, [name for name in names.values() if name])
    return File(path, of, names)


def to_rewrite(
    directory: Directory, connection: apsw.Connection, *, everything: bool
) -> list[File]:
    """The files that tell of what was removed; ``everything``: of anything that is so no longer."""
    found = []
    for path, one in noted_in(connection).items():
        # A copy that somebody made, say: what is in it is not known.
        stray = one.of == NOBODY and path not in COMMON
        gone = one.of != NOBODY and not directory.names_of(one.of, (), connection)
        if one.removed or gone or stray or (everything and one.dead):
            found.append(one.file)
    return found


def rewrite(directory: Directory, connection: apsw.Connection, files: Iterable[File]) -> None:
    """Write these files anew, each swapped in by itself.

    The journal must be empty: its lines say where in a file they belong. A crash leaves of each
    the old or the new one, and both say the same.
    """
    with directory.doubted():
        for file in files:
            file.names = directory.names_of(file.of, (), connection)
            if write_next(directory, connection, file):
                swap_in(directory, [file.path])
                directory.note(connection, [file])
            else:
                _remove(directory, connection, file)
    directory.forget()


def _remove(directory: Directory, connection: apsw.Connection, file: File) -> None:
    whole = directory.path(file.path)
    with connection:
        run(connection, JSONL.forget_file(path=file.path))
    directory.appender.forget([file.path])
    with suppress(FileNotFoundError):
        os.unlink(whole)
    folder = os.path.dirname(whole)
    while file.of != NOBODY and folder != directory.path(SESSIONS):
        try:
            os.rmdir(folder)
        except OSError:
            # It has other sessions.
            break
        folder = os.path.dirname(folder)
    disk.sync_folder(folder)


def swap_in(directory: Directory, paths: Iterable[str]) -> None:
    """Put files that were written anew in the place of the old ones."""
    folders = set()
    for path in paths:
        whole = directory.path(path)
        directory.appender.forget([path])
        os.replace(f"{whole}{NEXT}", whole)
        folders.add(os.path.dirname(whole))
    disk.sync_all(folders, disk.sync_folder)


def write_next(
    directory: Directory, connection: apsw.Connection, file: File, *, there: bool = False
) -> bool:
    """Write the file that is to take its place; False if nothing would be in it.

    ``there``: one that is there is written anew even then.
    """
    whole = directory.path(f"{file.path}{NEXT}")
    new_folders = disk.make_folders(os.path.dirname(whole))
    descriptor = disk.open_private(whole)
    try:
        os.ftruncate(descriptor, 0)
        head = seal_object(file.head)
        at = len(head)
        disk.write_at(descriptor, 0, head)
        for rows in _lines(directory, connection, file):
            line = record_line(directory.lsn, at, "snapshot", rows)
            disk.write_at(descriptor, at, line)
            at += len(line)
        if at == len(head) and file.path == STORE:
            # One that has its first line alone was cut.
            line = record_line(directory.lsn, at, "snapshot", joined([]))
            disk.write_at(descriptor, at, line)
            at += len(line)
        disk.sync(descriptor)
    finally:
        os.close(descriptor)
    kept = there and os.path.exists(directory.path(file.path))
    if at == len(head) and file.path != STORE and not kept:
        os.unlink(whole)
        return False
    disk.sync_all(new_folders, disk.sync_folder)
    file.length, file.dead, file.removed, file.damage = at, 0, False, ""
    return True


def _lines(directory: Directory, connection: apsw.Connection, file: File) -> Iterator[bytes]:
    """The rows of a file as they are now, as many a line as people can look at."""
    rows: list[bytes] = []
    size = 0
    for shape in sorted(directory.shapes.values(), key=lambda shape: not shape.names):
        for row in rows_of(connection, shape, file):
            rows.append(shape.put(row, short=file.of != NOBODY))
            size += len(rows[-1])
            if size > _LINE_BYTES:
                yield joined(rows)
                rows, size = [], 0
    if rows:
        yield joined(rows)


def rows_of(connection: apsw.Connection, shape: Shape, file: File) -> Iterator[tuple[object, ...]]:
    """The rows of a table that are in a file."""
    if shape.passing or shape.found != (file.path == SEARCH):
        return
    if file.of != NOBODY:
        if shape.hanging:
            yield from connection.execute(f"{shape.select} WHERE part = ? AND uid = ?", file.of)
    elif shape.hanging and not shape.found:
        yield from connection.execute(f"{shape.select} WHERE uid = ''")
    else:
        yield from connection.execute(shape.select)
