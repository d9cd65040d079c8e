"""Taking a directory over: what a crash, a power cut or a person left there becomes whole again.

Nothing is ever deleted to make it fit: what cannot be made whole is named, and not written to.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import apsw
import msgspec

from perdure.engines.jsonl import disk, lacking
from perdure.engines.jsonl.directory import Directory, log
from perdure.engines.jsonl.files import COMMON, NOBODY, File, data_of, noted_in, steps_of
from perdure.engines.jsonl.generations import digest_of
from perdure.engines.jsonl.journal import Found, Group, Head, Record, read
from perdure.engines.jsonl.lines import FORMAT, lines_of
from perdure.engines.jsonl.loading import build, lsn_of, note_all
from perdure.engines.jsonl.paths import (
    ABOUT,
    INDEX,
    JOURNAL,
    LOCK,
    NEXT,
    SCHEMA,
    SESSIONS,
    SPOILT,
    session_files,
)
from perdure.engines.jsonl.reconciling import Reconciling
from perdure.engines.jsonl.shapes import shapes_of
from perdure.engines.jsonl.statements import JSONL, create, run
from perdure.engines.shortages import shortage
from perdure.errors import CorruptError, InvalidError, PerdureError, SchemaTooNewError

Connect = Callable[[], apsw.Connection]
#: What an index that does not fit the files raises.
_UNFIT = (apsw.CorruptError, apsw.NotADBError, apsw.ConstraintError, CorruptError, KeyError)
#: What may be there of others who are just beginning, or began and were killed.
_BEGINNINGS = {LOCK, ".gitignore", ".gitignore.draft", f"{ABOUT}.draft"}
_LOOKS, _LOOK_SECONDS = 25, 0.02
_IGNORED = "/index/\n/lock\n/writer.json\n"


def make_folder(folder: str) -> None:
    """Make the folder; `InvalidError` where that cannot be, or if something else is in it."""
    try:
        disk.sync_all(disk.make_folders(folder), disk.sync_folder)
        others = set(os.listdir(folder)) - _BEGINNINGS
    except OSError as error:
        refused = InvalidError(f"cannot make {folder}: {error.strerror}", "url")
        raise shortage(error, folder) or refused from error
    # In this order: another process may be making it just now, and begins with what it is.
    if others and not os.path.exists(os.path.join(folder, ABOUT)):
        message = (
            f"{folder} is no perdure directory, and not empty ({min(others)!r}): give a new one"
        )
        raise InvalidError(message, "url")


def make(folder: str) -> None:
    """Make a directory that is none yet, in a folder that is there; its lock is held."""
    try:
        if os.path.exists(os.path.join(folder, ABOUT)):
            _check_format(folder)
            return
        disk.sync_folder(os.path.dirname(folder))
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
        #: Of each file that the journal goes on with: from where on, and where that ends.
        self._begins: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        self._lsn = 0

    def run(self) -> None:
        """Bring journal, files and index to one state, and have the directory know it."""
        directory = self._directory
        directory.damage, directory.needed = "", False
        found = read(self._folder) or self._without_journal()
        if found.damage or found.head is None:
            self._only_read(found.damage)
            return
        self._finish_swap(swap=found.head.swap)
        schema = _text(directory.path(SCHEMA))
        if found.head.schema != digest_of(schema):
            raise CorruptError(f"{directory.path(SCHEMA)} is not the schema of the files beside it")
        self._lsn = found.last
        connection = self._index(found, found.head, schema) if self._redo(found) else None
        if connection is None:
            number = len(found.records) + 2
            self._only_read(f"{JOURNAL}, line {number}: damaged, and it was acknowledged")
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

    def _redo(self, found: Found) -> bool:
        """Have each file hold what the journal says of it.

        False, and nothing was done, if the files have a write that the journal had once.
        """
        wanted: dict[str, tuple[int, list[bytes]]] = {}
        for record in found.records:
            for path, group in record.files.items():
                at, parts = wanted.setdefault(path, (group.at, []))
                parts.append(data_of(group.head, record.lsn, group.at, record.op, group.rows))
        synced = found.head is not None and found.head.durability == "full"
        redone = {path: (at, b"".join(parts)) for path, (at, parts) in wanted.items()}
        kept: dict[str, int] = {}
        for path, (at, data) in redone.items():
            self._begins[path] = at
            length = self._length(path)
            if length >= at:
                end = self._ends[path] = at + len(data)
                kept[path] = self._acknowledged(path, end, found.last) if synced else end
        if found.torn is not None and kept != self._ends:
            return False
        for path, end in kept.items():
            self._make_whole(path, *redone[path], end)
        return True

    def _length(self, path: str) -> int:
        """How long it is; 0 if it is not there."""
        try:
            return os.stat(self._directory.path(path)).st_size
        except FileNotFoundError:
            return 0

    def _acknowledged(self, path: str, end: int, last: int) -> int:
        """Where the lines end that follow there: of writes of which only the journal's were lost.

        A line is written here when the journal has it on the disk, so each of them was promised.
        """
        whole = self._directory.path(path)
        if os.path.exists(whole):
            with open(whole, "rb") as file:
                file.seek(end)
                for line in lines_of(file):
                    if line.body is None or lsn_of(line.body) <= last:
                        break
                    end = line.end
        return end

    def _make_whole(self, path: str, at: int, data: bytes, end: int) -> None:
        """Have it hold that from there on, and end there.

        Also if it seems to: after a failed sync the kernel shows what is not on the disk.
        """
        whole = self._directory.path(path)
        if not at:
            # Who made the folders was killed, perhaps, before they were on the disk.
            self._directory.appender.folders.update(self._folders_of(path))
        try:
            self._directory.appender.write(path, at, data)
            os.truncate(whole, end)
        except OSError as error:
            raise disk.failure(error, whole) from error

    def _folders_of(self, path: str) -> Iterator[str]:
        while path:
            path = os.path.dirname(path)
            yield self._directory.path(path)

    # -- the index -------------------------------------------------------------------------

    def _index(self, found: Found, head: Head, schema: str) -> apsw.Connection | None:
        """A connection to an index that has all that journal and files have.

        None: only the index has a write that the journal had once.
        """
        connection = self._opened_index(head, schema)
        if connection is None:
            return self._built(found, head, schema)
        [(lsn, _)] = run(connection, JSONL.state())
        if lsn > found.last and head.durability == "full" and found.torn is not None:
            connection.close()
            return None
        if not head.base <= lsn <= found.last:
            log.warning("%s: it is not of these files; it is made anew", self._path)
            connection.close()
            return self._built(found, head, schema)
        last = None if head.durability == "full" else found.last
        reconciling = Reconciling(self._directory, connection, self._begins, self._ends, last)
        try:
            self._catch_up(connection, [one for one in found.records if one.lsn > lsn])
            done = reconciling.run()
        except _UNFIT as error:
            log.warning("%s: %s; it is made anew", self._path, error)
            done = False
        if not done:
            connection.close()
            return self._built(found, head, schema)
        return self._reached(found, head, connection, reconciling.lsn)

    def _reached(
        self, found: Found, head: Head, connection: apsw.Connection, lsn: int
    ) -> apsw.Connection | None:
        """The connection, if no file has a write beyond the journal, where that is damaged."""
        if lsn > self._lsn:
            if found.torn is not None and head.durability == "full":
                connection.close()
                return None
            # The journal is to begin behind it.
            self._lsn, self._changed = lsn, True
            run(connection, JSONL.reach(lsn=lsn))
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
                    for step in steps_of(group.rows):
                        shapes[step.table].apply(connection, step, of)
                run(connection, JSONL.reach(lsn=record.lsn))

    def _built(self, found: Found, head: Head, schema: str) -> apsw.Connection | None:
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
            readings = build(making, self._folder, schema, last, self._begins)
            lsn = max([self._lsn, *(reading.lsn for reading in readings)])
            note_all(making, self._folder, readings, lsn, digest_of(schema))
        finally:
            making.close()
        damages = {one.file.of[1]: one.file.damage for one in readings if one.file.of != NOBODY}
        lacking.write(self._folder, {uid: damage for uid, damage in damages.items() if damage})
        self._put_in_place(draft)
        for reading in readings:
            if reading.file.damage:
                log.warning("%s: it is read-only now: see `perdure doctor`", reading.file.damage)
        with suppress(FileNotFoundError):
            os.unlink(f"{self._path}{SPOILT}")
        return self._reached(found, head, self._connect(), lsn)

    def _put_in_place(self, draft: str) -> None:
        """Have the index made of the draft, under the eyes of those who read it."""
        if self._is_copied(draft):
            os.unlink(draft)
            return
        disk.sync_path(draft)
        for beside in (self._path, *(f"{self._path}{end}" for end in ("-wal", "-shm", SPOILT))):
            with suppress(FileNotFoundError):
                os.unlink(beside)
        os.replace(draft, self._path)
        disk.sync_folder(os.path.dirname(self._path))

    def _is_copied(self, draft: str) -> bool:
        """Whether it could be written into the database that is there, as one transaction."""
        if not os.path.exists(self._path) or os.path.exists(f"{self._path}{SPOILT}"):
            return False
        try:
            there, made = self._connect(), apsw.Connection(draft)
            try:
                with there.backup("main", made, "main") as copying:
                    copying.step()
            finally:
                made.close()
                there.close()
        except (PerdureError, apsw.Error):
            # It is no database any more, and nobody can read it.
            return False
        return True

    def _go_on(self, found: Found, head: Head, connection: apsw.Connection) -> None:
        """Begin a new journal, if there is something in the old one and its files are whole."""
        directory = self._directory
        directory.journal.go_on(found)
        known = noted_in(connection)
        for path, end in self._ends.items():
            file = known[path].file
            file.length = max(end, file.length)
            directory.remember(file)
        for record in found.records:
            for path, group in record.files.items():
                if path in directory.touched:
                    directory.touched[path].weigh(steps_of(group.rows))
        short = set(self._begins) - set(self._ends)
        # A file that somebody removed lacks nothing.
        directory.needed = any(path in known and known[path].damage for path in short)
        if directory.needed:
            # What is missing in a damaged file, only the journal has.
            return
        if found.records or self._changed or head.durability != directory.durability:
            directory.fold(connection)


def is_in_order(folder: str, connect: Connect) -> bool:
    """Whether nothing needs to be done there before it is read; another process may write."""
    for _ in range(_LOOKS):
        try:
            if _fits(folder, connect):
                return True
        except (PerdureError, OSError, apsw.Error, ValueError):
            return False
        time.sleep(_LOOK_SECONDS)
    return False


def _fits(folder: str, connect: Connect) -> bool:
    before = read(folder)
    connection = connect()
    try:
        [(lsn, _)] = run(connection, JSONL.state())
    finally:
        connection.close()
    after = read(folder)
    # Who writes is first in the journal, then in the index.
    whole = [found.last for found in (before, after) if found and not found.damage and found.head]
    torn = after is None or after.torn is not None
    return len(whole) == 2 and not torn and whole[0] <= lsn <= whole[1]  # noqa: PLR2004 - both


def _owner(connection: apsw.Connection, path: str, group: Group) -> tuple[str, str] | None:
    """The part and uid of the session that a file is of; None: of none."""
    if group.head is not None:
        of = group.head.get("part", ""), group.head.get("uid", "")
        File(path, of).note(connection, 0)
    else:
        found = run(connection, JSONL.of_path(path=path))
        if not found:
            raise CorruptError(f"it does not know {path}")
        [of] = found
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
