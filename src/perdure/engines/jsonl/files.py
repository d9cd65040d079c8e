"""The files that people read: what each of them is, and writing to them."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from perdure.engines.jsonl import disk
from perdure.engines.jsonl.lines import FORMAT, seal, seal_object
from perdure.engines.jsonl.paths import SEARCH, STORE
from perdure.engines.jsonl.shapes import Step
from perdure.engines.jsonl.statements import JSONL, run

if TYPE_CHECKING:
    import apsw

_OPEN = 64
_encode = msgspec.json.Encoder().encode
NOBODY = ("", "")


@dataclass(slots=True, eq=False)
class File:
    """One file: ``of`` is the part and uid of its session, ``length`` what is in it for good.

    ``dead``: about how many bytes of it say what is so no longer. ``removed``: whether some tell
    of what somebody wanted gone. ``damage``: what is wrong with it; then it is not written to.
    """

    path: str
    of: tuple[str, str] = NOBODY
    names: dict[str, Any] = field(default_factory=dict)
    length: int = 0
    dead: int = 0
    removed: bool = False
    damage: str = ""

    @property
    def head(self) -> dict[str, Any]:
        """What its first line says."""
        if self.of == NOBODY:
            return {"perdure": self.path.removesuffix(".jsonl"), "format": FORMAT}
        part, uid = self.of
        return {"perdure": "session", "format": FORMAT, "part": part, "uid": uid, **self.names}

    def weigh(self, steps: Iterable[Step]) -> None:
        """Count what of it says what is so no longer, as it is read again."""
        for step in steps:
            if step.verb != "put":
                self.dead += len(bytes(step.row))
            self.removed = self.removed or step.verb == "del"

    def note(self, connection: apsw.Connection, mtime: int) -> None:
        """Have the index know it as it is."""
        statement = JSONL.note_file(
            path=self.path,
            part=self.of[0],
            uid=self.of[1],
            length=self.length,
            mtime=mtime,
            dead=self.dead,
            removed=int(self.removed),
            damage=self.damage,
        )
        run(connection, statement)


class Noted(NamedTuple):
    """What the index notes of a file."""

    path: str
    part: str
    uid: str
    length: int
    mtime: int
    dead: int
    removed: int
    damage: str

    @property
    def of(self) -> tuple[str, str]:
        """The part and uid of its session."""
        return self.part, self.uid

    @property
    def file(self) -> File:
        """The file as it was then, without the names of its session."""
        return File(self.path, self.of, {}, self.length, self.dead, bool(self.removed), self.damage)


def noted_in(connection: apsw.Connection) -> dict[str, Noted]:
    """What an index notes of each file, by the file's path."""
    return {row[0]: Noted(*row) for row in run(connection, JSONL.every_file())}


#: The files of what belongs to no session, and of the search index.
COMMON = (STORE, SEARCH)


def record_line(lsn: int, at: int, op: str, rows: bytes) -> bytes:
    """The line of a write in one file: ``at`` is where it begins."""
    return seal(b'"lsn":%d,"at":%d,"op":%b,"rows":%b}' % (lsn, at, _encode(op), rows))


def data_of(
    head: dict[str, Any] | None, lsn: int, at: int, op: str, rows: bytes | msgspec.Raw
) -> bytes:
    """What a write puts at that place of a file; its first line too, if the file is new."""
    first = b"" if head is None else seal_object(head)
    return first + record_line(lsn, at + len(first), op, bytes(rows))


class Recorded(msgspec.Struct):
    """A `record_line` as it is read."""

    lsn: int
    at: int
    op: str
    rows: list[Step]


recorded = msgspec.json.Decoder(Recorded).decode
steps_of = msgspec.json.Decoder(list[Step]).decode
"""The steps of the rows of one file in a line of the journal."""


class Appender:
    """Writes to files at given places, some of which it keeps open."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._open: OrderedDict[str, int] = OrderedDict()
        #: Folders whose names are to be on the disk before the journal may go.
        self.folders: set[str] = set()

    def write(self, path: str, at: int, data: bytes) -> None:
        """Put the data there; the file is made if it begins."""
        descriptor = self._open.get(path)
        if descriptor is None:
            descriptor = self._opened(path, new=at == 0)
        else:
            self._open.move_to_end(path)
        disk.write_at(descriptor, at, data)

    def _opened(self, path: str, *, new: bool) -> int:
        whole = os.path.join(self._folder, path)
        if new:
            folder = os.path.dirname(whole)
            disk.make_folders(folder)
            # Those above too, if they are there: who made them may have been killed before this.
            while len(folder) >= len(self._folder):
                self.folders.add(folder)
                folder = os.path.dirname(folder)
        while len(self._open) >= _OPEN:
            _, oldest = self._open.popitem(last=False)
            os.close(oldest)
        descriptor = self._open[path] = disk.open_private(whole)
        return descriptor

    def sync(self, paths: Iterable[str]) -> None:
        """Have these files on the disk, and all folders that were made for files."""
        disk.sync_all([os.path.join(self._folder, path) for path in paths])
        disk.sync_all(self.folders, disk.sync_folder)
        self.folders.clear()

    def forget(self, paths: Iterable[str] | None = None) -> None:
        """Close these files, or all: others stand in their place."""
        for path in list(self._open) if paths is None else paths:
            descriptor = self._open.pop(path, None)
            if descriptor is not None:
                os.close(descriptor)


def joined(rows: Sequence[bytes]) -> bytes:
    """The rows of a line as one list."""
    return b"[" + b",".join(rows) + b"]"
