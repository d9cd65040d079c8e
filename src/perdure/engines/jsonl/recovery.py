"""Taking a directory over: what a crash, a power cut or a person left there becomes whole again.

Nothing is ever deleted to make it fit: what cannot be made whole is named, and not written to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import apsw
import msgspec

from perdure.engines.jsonl import disk
from perdure.engines.jsonl.directory import Directory, log
from perdure.engines.jsonl.files import COMMON, NOBODY, File, data_of
from perdure.engines.jsonl.generations import digest_of
from perdure.engines.jsonl.journal import Found, Group, Head, Record, read
from perdure.engines.jsonl.lines import FORMAT
from perdure.engines.jsonl.loading import build, note_all
from perdure.engines.jsonl.paths import (
    ABOUT,
    INDEX,
    JOURNAL,
    NEXT,
    SCHEMA,
    SESSIONS,
    SPOILT,
    session_files,
)
from perdure.engines.jsonl.reconciling import Reconciling
from perdure.engines.jsonl.shapes import Step, shapes_of
from perdure.engines.jsonl.statements import JSONL, create, run
from perdure.errors import CorruptError, InvalidError, PerdureError, SchemaTooNewError

Connect = Callable[[], apsw.Connection]
_steps = msgspec.json.Decoder(list[Step]).decode
_IGNORED = "/index/\n/lock\n/writer.json\n"


def make(folder: str) -> None:
    """Make a directory that is none yet; `InvalidError` for a folder with something else in it."""
    try:
        disk.make_folders(folder)
        if os.path.exists(os.path.join(folder, ABOUT)):
            _check_format(folder)
            return
        # The lock is there if others are just beginning, or began and were killed.
        others = set(os.listdir(folder)) - {"lock", ".gitignore", f"{ABOUT}.draft"}
        if others:
            message = (
                f"{folder} is no perdure directory, and not empty ({min(others)!r}): give a new one"
            )
            raise InvalidError(message, "url")
        disk.replace(os.path.join(folder, ".gitignore"), _IGNORED.encode())
        about = {"perdure": "directory", "format": FORMAT}
        disk.replace(os.path.join(folder, ABOUT), msgspec.json.encode(about) + b"\n")
    except OSError as error:
        raise disk.failure(error, folder) from error


def _check_format(folder: str) -> None:
    with open(os.path.join(folder, ABOUT), "rb") as file:
        text = file.read()
    try:
        number = msgspec.json.decode(text)["format"]
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise CorruptError(f"{os.path.join(folder, ABOUT)} does not say a format") from error
    if number > FORMAT:
        message = f"{folder} has format {number}, this perdure knows {FORMAT}: update perdure"
        raise SchemaTooNewError(message)


class Recovery:
    """Makes a directory whole whose lock is held; once for each time that it is taken."""

    def __init__(self, directory: Directory, connect: Connect) -> None:
        self._directory = directory
        self._folder = directory.folder
        self._connect = connect
        #: Whether there is something to fold: then the journal begins anew.
        self._changed = False
        self._ends: dict[str, int] = {}
        self._lsn = 0

    def run(self) -> None:
        """Bring journal, files and index to one state, and have the directory know it."""
        directory = self._directory
        directory.damage = ""
        found = read(self._folder) or self._without_journal()
        if found.damage or found.head is None:
            self._only_read(found.damage)
            return
        self._finish_swap(swap=found.head.swap)
        schema = _text(directory.path(SCHEMA))
        if found.head.schema != digest_of(schema):
            raise CorruptError(f"{directory.path(SCHEMA)} is not the schema of the files beside it")
        self._lsn = found.last
        self._redo(found)
        connection = self._index(found, found.head, schema)
        if connection is None:
            self._only_read(f"{JOURNAL}: its last write is damaged, which was acknowledged")
            return
        try:
            directory.know(shapes_of(connection), digest_of(schema), self._lsn)
            self._go_on(found, found.head, connection)
        finally:
            connection.close()

    def _without_journal(self) -> Found:
        """A new directory, or one whose journal was lost: what the files have is all there is."""
        directory = self._directory
        paths = [*COMMON, *(path for path, _ in session_files(self._folder))]
        if any(os.path.exists(directory.path(path)) for path in paths):
            log.warning("%s: %s is gone; what the files have is kept", self._folder, JOURNAL)
            # Which writes that was, only reading all of them tells.
            with suppress(FileNotFoundError):
                os.unlink(directory.path(INDEX))
        directory.lsn, directory.schema = 0, digest_of(_text(directory.path(SCHEMA)))
        directory.begin_journal()
        return read(self._folder) or Found()

    def _only_read(self, why: str) -> None:
        """What the index has can be read, no more; without one, nothing."""
        directory = self._directory
        directory.damage = directory.path(why)
        if not os.path.exists(directory.path(INDEX)):
            raise CorruptError(f"{directory.damage}; and there is no index: see `perdure doctor`")
        log.warning("%s: it is read-only now", directory.damage)
        directory.trusted = True

    def _finish_swap(self, *, swap: bool) -> None:
        """Files that were written anew take the place of the old ones, or go."""
        drafts = list(_drafts(self._folder))
        for draft in drafts:
            if swap:
                os.replace(draft, draft.removesuffix(NEXT))
            else:
                os.unlink(draft)
        disk.sync_all({os.path.dirname(draft) for draft in drafts}, disk.sync_folder)
        self._changed = self._changed or swap

    # -- files -----------------------------------------------------------------------------

    def _redo(self, found: Found) -> None:
        """Have each file hold what the journal says of it."""
        wanted: dict[str, tuple[int, list[bytes]]] = {}
        for record in found.records:
            for path, group in record.files.items():
                at, parts = wanted.setdefault(path, (group.at, []))
                parts.append(data_of(group.head, record.lsn, group.at, record.op, group.rows))
        for path, (at, parts) in wanted.items():
            data = b"".join(parts)
            if self._make_whole(path, at, data):
                self._ends[path] = at + len(data)

    def _make_whole(self, path: str, at: int, data: bytes) -> bool:
        """Whether it goes on where the journal begins, and now holds what the journal says."""
        whole = self._directory.path(path)
        there = b""
        if os.path.exists(whole):
            with open(whole, "rb") as file:
                file.seek(at)
                there = file.read()
                # Else lines are missing that were on the disk: reading the file will show it.
                if os.fstat(file.fileno()).st_size < at:
                    return False
        elif at:
            return False
        if there != data:
            try:
                self._directory.appender.write(path, at, data)
                os.truncate(whole, at + len(data))
            except OSError as error:
                raise disk.failure(error, whole) from error
        return True

    # -- the index -------------------------------------------------------------------------

    def _index(self, found: Found, head: Head, schema: str) -> apsw.Connection | None:
        """A connection to an index that has all that journal and files have.

        None: only the index has a write that the journal had once.
        """
        connection = self._opened_index(head, schema)
        if connection is None:
            return self._built(head, schema)
        [(lsn, _)] = run(connection, JSONL.state())
        if lsn > found.last and head.durability == "full" and found.torn is not None:
            connection.close()
            return None
        if not head.base <= lsn <= found.last:
            log.warning("%s: it is not of these files; it is made anew", self._path)
            connection.close()
            return self._built(head, schema)
        self._catch_up(connection, [one for one in found.records if one.lsn > lsn])
        reconciling = Reconciling(self._directory, connection, self._ends)
        if not reconciling.run():
            connection.close()
            return self._built(head, schema)
        self._lsn = max(self._lsn, reconciling.lsn)
        return connection

    @property
    def _path(self) -> str:
        return self._directory.path(INDEX)

    def _opened_index(self, head: Head, schema: str) -> apsw.Connection | None:
        """The index, if there is one with this schema."""
        spoilt = os.path.exists(f"{self._path}{SPOILT}")
        if schema and (spoilt or not os.path.exists(self._path)):
            return None
        connection = None
        try:
            connection = self._connect()
            create(connection)
            state = run(connection, JSONL.state())
            if not state and not schema:
                run(connection, JSONL.begin(lsn=head.base, schema=""))
                return connection
            if state and state[0][1] == digest_of(schema):
                return connection
            why = "it has another schema than the files"
        except (PerdureError, apsw.Error) as error:
            why = str(error)
        log.warning("%s: %s; it is made anew", self._path, why)
        if connection is not None:
            connection.close()
        return None

    def _catch_up(self, connection: apsw.Connection, records: Sequence[Record]) -> None:
        """Take in what the journal has beyond the index: a crash came between the two."""
        if not records:
            return
        shapes = shapes_of(connection)
        connection.execute("PRAGMA foreign_keys = OFF")
        with connection:
            for record in records:
                for path, group in record.files.items():
                    of = _owner(connection, path, group)
                    for step in _steps(group.rows):
                        shapes[step.table].apply(connection, step, of)
                run(connection, JSONL.reach(lsn=record.lsn))

    def _built(self, head: Head, schema: str) -> apsw.Connection:
        """An index made of all files, in the place of what was there."""
        draft = f"{self._path}{NEXT}"
        with suppress(FileNotFoundError):
            os.unlink(draft)
        disk.make_folders(os.path.dirname(self._path))
        os.close(disk.open_private(draft))
        making = apsw.Connection(draft)
        try:
            making.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").fetchall()
            last = self._lsn if head.durability != "full" else None
            readings = build(making, self._folder, schema, last)
            self._lsn = max([self._lsn, *(reading.lsn for reading in readings)])
            note_all(making, self._folder, readings, self._lsn, digest_of(schema))
        finally:
            making.close()
        disk.sync_path(draft)
        for beside in (self._path, *(f"{self._path}{end}" for end in ("-wal", "-shm", SPOILT))):
            with suppress(FileNotFoundError):
                os.unlink(beside)
        os.replace(draft, self._path)
        disk.sync_folder(os.path.dirname(self._path))
        for reading in readings:
            if reading.file.damage:
                log.warning("%s: it is read-only now: see `perdure doctor`", reading.file.damage)
        return self._connect()

    def _go_on(self, found: Found, head: Head, connection: apsw.Connection) -> None:
        """Begin a new journal, if there is something in the old one and its files are whole."""
        directory = self._directory
        directory.journal.go_on(found)
        known = {row[0]: row for row in run(connection, JSONL.every_file())}
        for path, end in self._ends.items():
            _, part, uid, _, _, dead, removed, damage = known[path]
            directory.remember(File(path, (part, uid), {}, end, dead, bool(removed), damage))
        journal = {path for record in found.records for path in record.files}
        if journal - set(self._ends):
            # What is missing in a damaged file, only the journal has.
            return
        if found.records or self._changed or head.durability != directory.durability:
            directory.fold(connection)


def _owner(connection: apsw.Connection, path: str, group: Group) -> tuple[str, str] | None:
    """The part and uid of the session that a file is of; None: of none."""
    if group.head is not None:
        of = group.head.get("part", ""), group.head.get("uid", "")
        File(path, of).note(connection, 0)
    else:
        [of] = run(connection, JSONL.of_path(path=path))
    return None if of == NOBODY else of


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _drafts(folder: str) -> Iterator[str]:
    for root, folders, names in os.walk(folder):
        if root == folder:
            folders[:] = [name for name in folders if name == SESSIONS]
        yield from (os.path.join(root, name) for name in names if name.endswith(NEXT))
