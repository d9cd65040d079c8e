"""What is wrong with a directory: read as it is, beside whoever writes to it."""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import closing
from typing import Any, NamedTuple

import apsw
import msgspec

from perdure.engines import sqlite_examining
from perdure.engines.examinations import Examination, Finding
from perdure.engines.jsonl.files import COMMON, Noted, noted_in
from perdure.engines.jsonl.generations import digest_of
from perdure.engines.jsonl.lines import FORMAT, NOT_AS_WRITTEN
from perdure.engines.jsonl.paths import (
    ABOUT,
    INDEX,
    JOURNAL,
    NEXT,
    SCHEMA,
    SESSIONS,
    STORE,
    session_files,
)
from perdure.engines.jsonl.scanning import JournalScan, Scan, scan, scan_journal
from perdure.engines.jsonl.statements import JSONL, run
from perdure.engines.jsonl.writer import Writer
from perdure.operation import Operation

#: Beside a writer a file may be looked at in the middle of a write: then it is looked at again.
_LOOKS, _PAUSE = 6, 0.05
_DRAFT = ".draft"
_REMEDY = ": end who writes and remove the folder `index`, it is made anew"
_EXPECTED = {
    ABOUT, SCHEMA, JOURNAL, SESSIONS, *COMMON, "lock", "writer.json", "index", ".gitignore",
    ".gitattributes", ".git",
}  # fmt: skip


class _Index(NamedTuple):
    """What the index notes of itself; ``why``: why there is none that can be used."""

    lsn: int = -1
    schema: str = ""
    files: dict[str, Noted] = {}  # noqa: RUF012 - never changed
    why: str = ""
    damaged: bool = False


class Examining:
    """One look at a directory."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._found = Examination()
        self._writer = writer_of(folder)
        self._of: dict[tuple[str, str], str] = {}

    def run(self, asking: Operation[list[str]], quick: bool) -> Examination:
        """All that can be said; ``quick`` does not read the files."""
        found = self._found
        if not self._is_one():
            return found
        scans = {} if quick else self._scans(self._paths())
        journal = scan_journal(self._folder)
        index = self._index()
        for _ in range(_LOOKS):
            doubtful = [path for path in scans if self._is_doubtful(scans[path], journal, index)]
            if not doubtful and not (journal.bad or index.lsn < journal.lsn):
                break
            time.sleep(_PAUSE)
            scans |= self._scans(doubtful)
            journal, index = scan_journal(self._folder), self._index()
        self._writer = writer_of(self._folder) or self._writer
        self._tell_of_journal(journal, index)
        for one in scans.values():
            self._tell_of_file(one, journal, index)
        if quick:
            self._tell_what_is_known(index)
        self._tell_of_missing(journal, index)
        self._tell_of_index(journal, index, quick, asking)
        self._tell_of_others()
        self._count(scans, journal, index, quick)
        return found

    # -- reading ---------------------------------------------------------------------------

    def _is_one(self) -> bool:
        about = self._path(ABOUT)
        try:
            with open(about, "rb") as file:
                number = msgspec.json.decode(file.read())["format"]
        except FileNotFoundError:
            self._fault(ABOUT, "it is gone, or this is no directory of perdure")
            return os.path.exists(self._path(JOURNAL))
        except (OSError, msgspec.DecodeError, KeyError, TypeError) as error:
            self._fault(ABOUT, f"it does not say a format: {error}")
            return True
        if number != FORMAT:
            self._fault(ABOUT, f"format {number}, this perdure knows {FORMAT}: update perdure")
        return bool(number == FORMAT)

    def _paths(self) -> list[str]:
        common = [path for path in COMMON if os.path.exists(self._path(path))]
        return common + sorted(path for path, _ in session_files(self._folder))

    def _scans(self, paths: list[str]) -> dict[str, Scan]:
        found = {}
        for path in paths:
            try:
                found[path] = scan(self._folder, path)
            except FileNotFoundError:
                # Removed meanwhile, with its session.
                continue
            except OSError as error:
                self._fault(path, f"it cannot be read: {error.strerror}")
        return found

    def _index(self) -> _Index:
        path = self._path(INDEX)
        if not os.path.exists(path):
            return _Index(why="there is none; it is made anew when the store is opened")
        try:
            with closing(sqlite_examining.reading(path)) as connection:
                state = run(connection, JSONL.state())
                files = noted_in(connection)
                return _Index(state[0][0], state[0][1], files) if state else _Index()
        except apsw.Error as error:
            return _Index(why=f"{error}{_REMEDY}", damaged=True)

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    # -- judging ---------------------------------------------------------------------------

    def _is_doubtful(self, one: Scan, journal: JournalScan, index: _Index) -> bool:
        return bool(one.bad) or self._short_of(one, journal, index) != ""

    def _short_of(self, one: Scan, journal: JournalScan, index: _Index) -> str:
        """How the length of a file differs from what the journal or the index knows."""
        part = journal.part_of(one.path)
        noted = index.files.get(one.path)
        if part is not None:
            begins, ends = part
            if one.size == ends:
                return ""
            ends_at = f"it ends at byte {one.size}, the journal"
            missing = f"lines are missing: {ends_at} goes on at {begins}"
            return missing if one.size < begins else f"{ends_at} at {ends}"
        if noted is None or noted.damage or index.lsn < journal.lsn or one.size == noted.length:
            return ""
        return f"it has {one.size} bytes, the index knows of {noted.length}"

    def _tell_of_file(self, one: Scan, journal: JournalScan, index: _Index) -> None:
        part = journal.part_of(one.path)
        redone = part[0] if part is not None else sys.maxsize
        for bad in one.bad:
            if bad.at >= redone:
                self._in_passing(
                    one.path, f"{bad.why}; the journal has what stood there", bad.number
                )
            else:
                self._fault(one.path, bad.why, bad.number)
        short = self._short_of(one, journal, index)
        if part is not None and one.size < part[0]:
            self._fault(one.path, short, one.lines)
        elif short and part is not None:
            self._in_passing(one.path, f"{short}: made so when the store is opened")
        elif short:
            self._note(one.path, f"{short}: read again when the store is opened")
        if one.of is not None and one.path not in COMMON:
            self._tell_of_owner(one)

    def _tell_what_is_known(self, index: _Index) -> None:
        """The damage that was found when the store was opened, if the file is still the same."""
        for path, noted in index.files.items():
            size = sqlite_examining.size_of(self._path(path))
            if noted.damage and (size == noted.length or path in COMMON):
                self._fault(path, noted.damage.removeprefix(path).lstrip(",: "))

    def _tell_of_owner(self, one: Scan) -> None:
        of = one.of or ("", "")
        if not all(of):
            self._fault(one.path, "its first line names no session", 1)
            return
        other = self._of.setdefault(of, one.path)
        if other != one.path:
            self._fault(one.path, f"{other} is of the same session: remove one of the two", 1)

    def _has(self, path: str) -> bool:
        return os.path.exists(self._path(path))

    def _tell_of_missing(self, journal: JournalScan, index: _Index) -> None:
        for path, noted in index.files.items():
            if self._has(path) or not noted.length or path in journal.files:
                continue
            if path in COMMON:
                self._fault(path, "it is gone: restore it, or see `perdure doctor --salvage`")
            else:
                self._note(path, "it is gone: so is its session when the store is opened")
        head, kept = journal.head, index.files
        if head and head.schema and STORE not in {*kept, *journal.files} and not self._has(STORE):
            self._fault(STORE, "it is gone: restore it")
        for path in journal.files:
            part = journal.part_of(path) or (0, 0)
            if part[0] and not self._has(path):
                self._fault(path, f"it is gone, and the journal goes on in it at byte {part[0]}")

    def _tell_of_journal(self, journal: JournalScan, index: _Index) -> None:
        if not journal.there:
            self._fault(JOURNAL, "it is gone: what the files have is all there is")
            return
        if not journal.lines:
            self._fault(JOURNAL, "it is empty: it does not say what the file is", 1)
        for bad in journal.bad:
            if journal.cut and index.lsn > journal.lsn and self._is_full(journal):
                self._fault(JOURNAL, f"{bad.why}, and it was acknowledged", bad.number)
            elif journal.cut:
                cut = "a write that was cut off, of which nobody was told; it goes with the next"
                self._in_passing(JOURNAL, cut, bad.number)
            elif bad.why == NOT_AS_WRITTEN:
                what = f"{bad.why}, and others follow it: nothing is written to this store"
                self._fault(JOURNAL, what, bad.number)
            else:
                self._fault(JOURNAL, bad.why, bad.number)
        self._tell_of_schema(journal)

    @staticmethod
    def _is_full(journal: JournalScan) -> bool:
        return journal.head is None or journal.head.durability == "full"

    def _tell_of_schema(self, journal: JournalScan) -> None:
        if journal.head is None or journal.head.swap:
            return
        try:
            with open(self._path(SCHEMA), encoding="utf-8") as file:
                schema = file.read()
        except (OSError, UnicodeDecodeError):
            schema = ""
        if digest_of(schema) != journal.head.schema:
            self._fault(SCHEMA, "it is not the schema of the files beside it: restore it")

    def _tell_of_index(
        self, journal: JournalScan, index: _Index, quick: bool, asking: Operation[list[str]]
    ) -> None:
        found, path = self._found, self._path(INDEX)
        if index.why:
            found.facts["index"] = "damaged" if index.damaged else "absent"
            (self._fault if index.damaged else self._note)(INDEX, index.why)
            return
        behind = index.lsn < journal.lsn
        found.facts["index"] = "behind" if behind else "current"
        if behind:
            self._in_passing(INDEX, f"it lacks writes after number {index.lsn}; it catches up")
        inner = Examination()
        try:
            with closing(sqlite_examining.reading(path)) as connection:
                sqlite_examining.look(connection, INDEX, inner, asking, quick)
                # People may remove the file of a session; what others say of it stays.
                found.notes += sqlite_examining.hanging(connection, INDEX)
        except apsw.Error as error:
            inner.faults.append(Finding(INDEX, f"{error}{sqlite_examining.RESTORE}"))
        for one in inner.faults:
            self._fault(INDEX, one.what.replace(sqlite_examining.RESTORE, _REMEDY))

    def _tell_of_others(self) -> None:
        """What was left over, and what nobody here has made."""
        for name in sorted(os.listdir(self._folder)):
            if name.endswith((NEXT, _DRAFT)):
                self._tell_of_leftover(name)
            elif name not in _EXPECTED:
                self._note(name, "it is not perdure's")
        for root, _, names in os.walk(self._path(SESSIONS)):
            for name in sorted(names):
                path = os.path.relpath(os.path.join(root, name), self._folder).replace(os.sep, "/")
                if name.endswith((NEXT, _DRAFT)):
                    self._tell_of_leftover(path)
                elif not name.endswith(".jsonl"):
                    self._note(path, "it is not perdure's")
        if self._writer and self._writer["runs"] is False:
            self._note("writer.json", f"process {self._writer.get('pid')} was ended while it wrote")

    def _tell_of_leftover(self, path: str) -> None:
        if not self._is_written_to:
            self._note(path, "left over by a crash: taken over or removed by the next who writes")

    def _count(
        self, scans: dict[str, Scan], journal: JournalScan, index: _Index, quick: bool
    ) -> None:
        sessions = sum(1 for _ in session_files(self._folder))
        dead = sum(one.dead for one in index.files.values())
        facts: dict[str, Any] = {"format": FORMAT, "bytes": size_of(self._folder)}
        facts |= {"sessions": sessions, "last_write": journal.lsn, "writer": self._writer}
        facts |= {"journal_lines": journal.lines, "journal_bytes": journal.size}
        if not quick:
            facts |= {"files": len(scans), "lines": sum(one.lines for one in scans.values())}
        facts["worn_files"] = sum(1 for one in index.files.values() if one.dead or one.removed)
        self._found.facts = facts | self._found.facts | {"reclaimable": dead}

    def _in_passing(self, place: str, what: str, line: int | None = None) -> None:
        """A note; beside somebody who writes it is only the moment."""
        if not self._is_written_to:
            self._note(place, what, line)

    @property
    def _is_written_to(self) -> bool:
        return bool(self._writer and self._writer["runs"] is not False)

    def _fault(self, place: str, what: str, line: int | None = None) -> None:
        self._found.faults.append(Finding(place, what, line))

    def _note(self, place: str, what: str, line: int | None = None) -> None:
        self._found.notes.append(Finding(place, what, line))


def writer_of(folder: str) -> dict[str, Any] | None:
    """Who says that he writes here, and whether that one ``runs``; None there: not on this host.

    The lock itself is not tried: for a moment nobody else could take it.
    """
    who = Writer(folder).holder()
    return {**who, "runs": _runs(who)} if who else None


def _runs(who: dict[str, Any]) -> bool | None:
    pid = who.get("pid")
    if who.get("host") != socket.gethostname() or not isinstance(pid, int) or pid <= 0:
        return None
    if sys.platform == "win32":
        # There, asking whether a process lives ends it.
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def size_of(folder: str) -> int:
    """The bytes of all files of a directory."""
    return sum(
        sqlite_examining.size_of(os.path.join(root, name))
        for root, _, names in os.walk(folder)
        for name in names
    )
