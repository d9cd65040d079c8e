"""The journal: where a write is on the disk before anybody is told that it was made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from perdure.engines.jsonl import disk
from perdure.engines.jsonl.lines import FORMAT, Line, lines_of, seal_object
from perdure.engines.jsonl.paths import JOURNAL
from perdure.errors import SchemaTooNewError


class Group(msgspec.Struct):
    """What a write puts into one file: at which byte, and its rows. ``head``: of a new file."""

    at: int
    rows: msgspec.Raw
    head: dict[str, Any] | None = None


class Record(msgspec.Struct):
    """One write. ``batch``: the number of the first that was synced together with it; 0: itself."""

    lsn: int
    op: str
    files: dict[str, Group]
    batch: int = 0


class Head(msgspec.Struct):
    """The first line: what is in the files already, and how they came there.

    ``base``: the number of the last write that is whole in the files. ``swap``: whether files
    that were written anew are still to be put in the place of the old ones.
    """

    perdure: str
    format: int
    base: int
    schema: str
    durability: str
    swap: bool = False


@dataclass(slots=True)
class Found:
    """A journal as it was read: ``end`` is where its good lines end."""

    head: Head | None = None
    records: list[Record] = field(default_factory=list)
    end: int = 0
    torn: Line | None = None
    damage: str = ""

    @property
    def last(self) -> int:
        """The number of the last write."""
        if self.records:
            return self.records[-1].lsn
        return self.head.base if self.head else 0


_LEAST_ROOM, _MOST_ROOM = 32 * 1024, 1024 * 1024
_record = msgspec.json.Decoder(Record).decode
_head = msgspec.json.Decoder(Head).decode


def read(folder: str) -> Found | None:
    """What the journal of a directory holds; None if there is none.

    Bad lines at the end are writes that were cut off: of the last batch, since who synced a later
    one had those before it on the disk. With a line of a later batch behind them it is damage,
    unless nothing was synced: then all from there on is what the power cut cost.
    """
    found = Found()
    try:
        file = open(os.path.join(folder, JOURNAL), "rb")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        return None
    with file:
        for line in lines_of(file):
            if line.raw.isspace():
                # Room for what comes.
                continue
            if line.body is None or found.torn is not None:
                found.torn = found.torn or line
                if _is_of_a_later_batch(found, line):
                    number = found.torn.number
                    found.damage = f"{JOURNAL}, line {number}: damaged, and others follow it"
                    return found
                continue
            _take(found, line)
            if found.damage:
                return found
            found.end = line.end
    if found.head is None:
        found.damage = f"{JOURNAL}, line 1: it does not say what the file is"
    return found


def _is_of_a_later_batch(found: Found, line: Line) -> bool:
    body = line.body or line.swallowed
    if body is None or found.head is None:
        return False
    if found.head.durability != "full":
        # Not synced for each: a power cut may have kept later pages and not this one.
        return False
    try:
        record = _record(body)
    except msgspec.DecodeError:
        return True
    return (record.batch or record.lsn) > found.last + 1


def _take(found: Found, line: Line) -> None:
    body = line.body or b""
    if line.number > 1:
        record = _record(body)
        if record.lsn != found.last + 1:
            found.damage = f"{JOURNAL}, line {line.number}: write {found.last + 1} is missing"
        found.records.append(record)
        return
    if msgspec.json.decode(body).get("format") != FORMAT:
        raise SchemaTooNewError("a newer perdure wrote this directory: update perdure")
    found.head = _head(body)


class Journal:
    """The journal of a directory that this process writes to.

    It has room before it is written to: syncing what stands in a place of its own costs the disk
    about half of what it costs to make the file longer. The room is a line of spaces.
    """

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, JOURNAL)
        self._descriptor = -1
        self._room = 0
        self.length = 0
        self.syncs = True

    def begin(self, head: Head) -> None:
        """Put an empty one in the place of what is there, all of which is in the files."""
        self.close()
        line = seal_object(msgspec.to_builtins(head))
        disk.replace(self.path, line)
        self.syncs = head.durability == "full"
        self._descriptor = disk.open_private(self.path)
        self.length = self._room = len(line)

    def go_on(self, found: Found) -> None:
        """Write behind what was found, without what was cut off."""
        self.close()
        self._descriptor = disk.open_private(self.path)
        self.length = self._room = found.end
        os.ftruncate(self._descriptor, self.length)
        if found.torn is not None:
            disk.sync(self._descriptor)

    def write(self, lines: Sequence[bytes]) -> None:
        """Append these, on the disk when it returns."""
        data = b"".join(lines)
        if self.length + len(data) > self._room:
            self._make_room(len(data))
        disk.write_at(self._descriptor, self.length, data)
        if self.syncs:
            disk.sync(self._descriptor)
        self.length += len(data)

    def _make_room(self, needed: int) -> None:
        """As much again as there is, within bounds, and what is needed."""
        more = needed + min(max(self.length, _LEAST_ROOM), _MOST_ROOM)
        disk.write_at(self._descriptor, self._room, b" " * (more - 1) + b"\n")
        if self.syncs:
            disk.sync(self._descriptor, times=True)
        self._room += more

    def take_back(self, length: int) -> None:
        """Cut off what stands behind that length."""
        self.length = self._room = length
        os.ftruncate(self._descriptor, length)
        disk.sync(self._descriptor)

    def is_current(self) -> bool:
        """Whether the file is still the one that is written to, and as long as it was left."""
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return False
        same = self._descriptor >= 0 and os.path.samestat(there, os.fstat(self._descriptor))
        return same and there.st_size == self._room

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def encoded(lsn: int, batch: int, op: str, files: Mapping[str, bytes]) -> bytes:
    """The body of a write's line: its files are JSON already."""
    inside = b",".join(b"%b:%b" % (_json(path), group) for path, group in files.items())
    together = b"" if batch == lsn else b'"batch":%d,' % batch
    return b'"lsn":%d,%b"op":%b,"files":{%b}}' % (lsn, together, _json(op), inside)


_json = msgspec.json.Encoder().encode
