"""Reading files to the end, whatever is in them: for who looks for damage, and saves the rest.

Nothing here changes a file, takes a lock or stops at the first thing that is wrong.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from perdure.engines.jsonl.files import data_of, recorded, steps_of
from perdure.engines.jsonl.journal import Group, Head, Record, read
from perdure.engines.jsonl.lines import FORMAT, NOT_AS_WRITTEN, Line, lines_of, unseal
from perdure.engines.jsonl.paths import JOURNAL
from perdure.engines.jsonl.shapes import Step
from perdure.errors import PerdureError

_BEGINNING = re.compile(rb'\{"len":\d{1,15},"crc":"')
_VERBS = {"put", "set", "del"}


class Bad(NamedTuple):
    """A line that something is wrong with: its number from 1, the byte it begins at, and what."""

    number: int
    at: int
    why: str


class Piece(NamedTuple):
    """A good line of a file: where it was to begin, and what it says."""

    at: int
    raw: bytes
    lsn: int
    steps: list[Step]

    @property
    def end(self) -> int:
        """Where the next one was to begin."""
        return self.at + len(self.raw)


_record = msgspec.json.Decoder(Record).decode
_journal_head = msgspec.json.Decoder(Head).decode


@dataclass(slots=True)
class Scan:
    """One file as it was found. ``pieces`` are kept only if they were asked for."""

    path: str
    size: int = 0
    lines: int = 0
    lsn: int = 0
    head: dict[str, Any] | None = None
    head_raw: bytes = b""
    bad: list[Bad] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)

    @property
    def of(self) -> tuple[str, str] | None:
        """The part and uid of its session; None, if its first line does not say."""
        if self.head is None:
            return None
        return str(self.head.get("part", "")), str(self.head.get("uid", ""))


def scan(folder: str, path: str, *, keep: bool = False) -> Scan:
    """Read a file; `FileNotFoundError`."""
    found = Scan(path)
    with open(os.path.join(folder, path), "rb") as file:
        for line in lines_of(file):
            found.lines, found.size = line.number, line.end
            _take(found, line, keep)
    return found


def _take(found: Scan, line: Line, keep: bool) -> None:
    why = _wrong(found, line, keep)
    if why:
        found.bad.append(Bad(line.number, line.at, why))
        if keep and line.body is None:
            found.pieces += _inside(line.raw)


def _wrong(found: Scan, line: Line, keep: bool) -> str:
    """What is wrong with a line; empty if nothing is."""
    if line.body is None:
        return NOT_AS_WRITTEN
    if line.number == 1:
        return _take_head(found, line)
    piece = piece_of(line.raw, line.body)
    if piece is None:
        return "it is no line of this format"
    before, found.lsn = found.lsn, max(found.lsn, piece.lsn)
    if keep:
        found.pieces.append(piece)
    if piece.at != line.at:
        return f"it was written at byte {piece.at}, and stands at {line.at}"
    if piece.lsn < before:
        return f"it has the number {piece.lsn}, and stands behind {before}"
    return ""


def _take_head(found: Scan, line: Line) -> str:
    try:
        head = msgspec.json.decode(line.body or b"")
    except msgspec.DecodeError:
        head = None
    if not isinstance(head, dict) or "perdure" not in head:
        return "it does not say what the file is"
    found.head, found.head_raw = head, line.raw
    if head.get("format") != FORMAT:
        return f"it has format {head.get('format')}, this perdure knows {FORMAT}: update perdure"
    return ""


def piece_of(raw: bytes, body: bytes) -> Piece | None:
    """The line with that body; None, if it is none that was ever written."""
    try:
        line = recorded(body)
    except msgspec.DecodeError:
        return None
    if not all(step.verb in _VERBS for step in line.rows):
        return None
    return Piece(line.at, raw, line.lsn, line.rows)


def _inside(raw: bytes) -> Iterator[Piece]:
    """Good lines that stand behind the rest of a bad one, glued to it."""
    for beginning in _BEGINNING.finditer(raw, 1):
        rest = raw[beginning.start() :]
        body = unseal(rest)
        piece = piece_of(rest, body) if body is not None else None
        if piece is not None:
            yield piece


class Written(NamedTuple):
    """What a line of the journal puts into one file, and at which byte."""

    lsn: int
    op: str
    group: Group

    @property
    def data(self) -> bytes:
        """As it is to stand there."""
        return data_of(self.group.head, self.lsn, self.group.at, self.op, self.group.rows)

    @property
    def end(self) -> int:
        """Where the next one goes on."""
        return self.group.at + len(self.data)

    @property
    def piece(self) -> Piece:
        """The line without the one that may stand before it."""
        raw = data_of(None, self.lsn, self._begins, self.op, self.group.rows)
        return Piece(self._begins, raw, self.lsn, steps_of(self.group.rows))

    @property
    def _begins(self) -> int:
        if self.group.head is None:
            return self.group.at
        # The first line ends with the first newline: none stands inside of JSON.
        return self.group.at + self.data.index(b"\n") + 1


@dataclass(slots=True)
class JournalScan:
    """The journal, its good lines on both sides of bad ones."""

    there: bool = False
    head: Head | None = None
    size: int = 0
    lines: int = 0
    lsn: int = 0
    bad: list[Bad] = field(default_factory=list)
    files: dict[str, list[Written]] = field(default_factory=dict)
    #: Whether the bad lines are of writes that were cut off: nobody was told of them.
    cut: bool = False

    def part_of(self, path: str) -> tuple[int, int] | None:
        """From which byte to which it has a file."""
        written = self.files.get(path)
        return (written[0].group.at, written[-1].end) if written else None


def scan_journal(folder: str) -> JournalScan:
    """Read the journal as far as it can be read."""
    found = JournalScan()
    try:
        file = open(os.path.join(folder, JOURNAL), "rb")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        return found
    with file:
        found.there = True
        for line in lines_of(file):
            if line.raw.isspace():
                # Room for what comes.
                continue
            found.lines, found.size = line.number, line.end
            why = _wrong_in_journal(found, line)
            if why:
                found.bad.append(Bad(line.number, line.at, why))
    if found.bad:
        _leave_out_what_was_cut_off(found, folder)
    return found


def _leave_out_what_was_cut_off(found: JournalScan, folder: str) -> None:
    """What was written in one go with a line that is torn at the end, recovery takes out too."""
    try:
        whole = read(folder)
    except (PerdureError, msgspec.DecodeError):
        return
    if whole is None or whole.damage or whole.torn is None:
        return
    found.cut, found.lsn = True, whole.last
    for path, written in list(found.files.items()):
        found.files[path] = [one for one in written if one.lsn <= whole.last]
        if not found.files[path]:
            del found.files[path]


def _wrong_in_journal(found: JournalScan, line: Line) -> str:
    if line.body is None:
        return NOT_AS_WRITTEN
    try:
        if line.number == 1:
            return _take_journal_head(found, line.body)
        record = _record(line.body)
        written = {
            path: Written(record.lsn, record.op, group) for path, group in record.files.items()
        }
        gaps = [path for path, one in written.items() if _is_gap(found, path, one)]
    except msgspec.DecodeError as error:
        return f"it is no line of a journal: {error}"
    before, found.lsn = found.lsn, max(found.lsn, record.lsn)
    for path, one in written.items():
        found.files.setdefault(path, []).append(one)
    if record.lsn <= before:
        return f"it has the number {record.lsn}, and stands behind {before}"
    # What a bad line before it has put there is missing of itself.
    return f"something is missing before it in {gaps[0]}" if gaps and not found.bad else ""


def _is_gap(found: JournalScan, path: str, one: Written) -> bool:
    before = found.files.get(path)
    return before is not None and before[-1].end != one.group.at


def _take_journal_head(found: JournalScan, body: bytes) -> str:
    number = msgspec.json.decode(body).get("format")
    if number != FORMAT:
        return f"it has format {number}, this perdure knows {FORMAT}: update perdure"
    found.head = _journal_head(body)
    found.lsn = found.head.base
    return ""
