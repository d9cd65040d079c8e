"""What can be read of a damaged directory, written to a new one; the old one is left as it is.

A file that is whole, or that the journal makes whole, is copied line by line. Of any other the
rows are taken: from the index, if it has taken in what the damaged lines said, else from the good
lines on both sides of the damage.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import apsw

from perdure.engines.examinations import Salvaged
from perdure.engines.jsonl import disk, generations
from perdure.engines.jsonl.directory import Directory
from perdure.engines.jsonl.examining import writer_of
from perdure.engines.jsonl.files import COMMON, NOBODY, File, noted_in
from perdure.engines.jsonl.generations import digest_of
from perdure.engines.jsonl.lines import seal_object
from perdure.engines.jsonl.loading import Shapes, definitions
from perdure.engines.jsonl.paths import INDEX, NEXT, SCHEMA, STORE, session_files
from perdure.engines.jsonl.recovery import make, make_folder
from perdure.engines.jsonl.scanning import Piece, Scan, scan, scan_journal
from perdure.engines.jsonl.shapes import shapes_of
from perdure.engines.jsonl.statements import JSONL, run
from perdure.engines.jsonl.writer import Writer
from perdure.errors import BusyError, CorruptError, InvalidError


class _Lines(NamedTuple):
    """A file's good lines, from itself and from the journal, in their order.

    ``whole``: up to which byte nothing is missing; ``gaps``: from where to where lines are.
    """

    head: bytes
    pieces: list[Piece]
    whole: int
    gaps: list[tuple[int, int]]
    sources: tuple[str, ...]


class Salvaging:
    """One salvage; ``into`` is made, and must not be there."""

    def __init__(self, folder: str, into: str) -> None:
        self._folder = folder
        self._into = os.path.realpath(into)
        self._journal = scan_journal(folder)
        self._open = ExitStack()
        self._index: apsw.Connection | None = None
        self._index_lsn = -1
        self._schema = ""
        self._target = Directory(self._into)

    def run(self) -> list[Salvaged]:
        """What became of each file."""
        self._check()
        make_folder(self._into)
        make(self._into)
        with self._open:
            self._index = self._copied_index()
            self._schema = self._schema_text()
            disk.replace(self._target.path(SCHEMA), self._schema.encode())
            self._target.know(self._shapes(), digest_of(self._schema), self._last())
            saved = [self._save(path) for path in self._paths()]
        self._target.begin_journal()
        self._target.journal.close()
        shutil.rmtree(self._target.path("index"), ignore_errors=True)
        return saved

    def _check(self) -> None:
        if os.path.commonpath([self._folder, self._into]) in {self._folder, self._into}:
            raise InvalidError(f"{self._into}: give a folder that is not in {self._folder}")
        if os.path.exists(self._into) and os.listdir(self._into):
            raise InvalidError(f"{self._into} is not empty: give a new folder")
        who = writer_of(self._folder)
        if who and who["runs"]:
            raise BusyError(Writer(self._folder).taken().args[0])
        if not self._journal.there and not os.path.isdir(self._folder):
            raise InvalidError(f"{self._folder} is no folder")

    # -- the index and the schema ------------------------------------------------------------

    def _copied_index(self) -> apsw.Connection | None:
        """A copy of the index, if it is whole: opening the old one would change files there."""
        old, new = os.path.join(self._folder, INDEX), self._target.path(INDEX)
        disk.make_folders(os.path.dirname(new))
        try:
            for end in ("", "-wal"):
                if os.path.exists(f"{old}{end}"):
                    shutil.copyfile(f"{old}{end}", f"{new}{end}")
            if not os.path.exists(new):
                return None
            index = apsw.Connection(new)
            self._open.callback(index.close)
            checked = index.execute("PRAGMA integrity_check(1)").fetchall()
            state = run(index, JSONL.state())
        except (OSError, apsw.Error):
            return None
        if checked != [("ok",)] or not state:
            return None
        head = self._journal.head
        if head is not None and not head.swap and state[0][1] != head.schema:
            return None
        self._index_lsn = state[0][0]
        return index

    def _schema_text(self) -> str:
        """The schema of the files: its file's, or what the index has."""
        head = self._journal.head
        swapped = head is not None and head.swap
        found = [self._read(SCHEMA)]
        if swapped:
            found.insert(0, self._read(f"{SCHEMA}{NEXT}"))
        if self._index is not None:
            found.append(generations.schema_of(self._index))
        for text in found:
            if text and (head is None or digest_of(text) == head.schema):
                return text
        raise CorruptError(
            f"neither {SCHEMA} nor the index of {self._folder} has the schema of its files: "
            f"put back {SCHEMA}, any store of the same version of perdure has it"
        )

    def _read(self, name: str) -> str:
        with suppress(OSError, UnicodeDecodeError):
            return Path(self._folder, name).read_text(encoding="utf-8")
        return ""

    def _shapes(self) -> Shapes:
        return shapes_of(self._draft())

    def _draft(self) -> apsw.Connection:
        """An empty database with the tables; SQLite puts it on the disk if it grows."""
        draft = apsw.Connection("")
        self._open.callback(draft.close)
        tables, _ = definitions(self._schema)
        for text in tables:
            draft.execute(text)
        return draft

    def _last(self) -> int:
        return max(self._journal.lsn, self._index_lsn, 0)

    # -- files -----------------------------------------------------------------------------

    def _paths(self) -> list[str]:
        found = {path for path, _ in session_files(self._folder)} | set(self._journal.files)
        found |= {path for path in COMMON if os.path.exists(os.path.join(self._folder, path))}
        found.add(STORE)
        if self._index is not None:
            found |= {path for path, one in noted_in(self._index).items() if one.length}
        return sorted(found, key=lambda path: (path not in COMMON, path))

    def _save(self, path: str) -> Salvaged:
        found = self._scan(path)
        lines = self._lines(path, found)
        self._target.lsn = max([self._target.lsn, *(piece.lsn for piece in lines.pieces)])
        of = self._owner(path, found)
        if of is None:
            lost = "whose session it is of: nothing says it any more"
            return Salvaged(path, (), len(lines.pieces), lost=(lost,))
        file = File(path, of)
        if not lines.head:
            lines = self._with_head(file, lines)
        cut = path == STORE and not lines.pieces
        if lines.head and not (cut or lines.gaps or self._index_says_more(file, lines)):
            self._copy(path, lines)
            return Salvaged(path, lines.sources, len(lines.pieces) + 1)
        return self._save_rows(file, lines)

    def _with_head(self, file: File, lines: _Lines) -> _Lines:
        """The same with its first line, if that is the only one that is missing before others."""
        draft = self._draft()
        self._apply(draft, file, lines.pieces)
        file.names = self._target.names_of(file.of, (), draft)
        head = seal_object(file.head)
        if not lines.pieces or len(head) != lines.pieces[0].at:
            return lines
        end = lines.gaps[-1][1] if lines.gaps else 0
        whole, gaps = _coverage(len(head), lines.pieces, end)
        return lines._replace(head=head, whole=whole, gaps=gaps)

    def _index_says_more(self, file: File, lines: _Lines) -> bool:
        """Whether a write is missing in the file that was in a bad line of the journal."""
        if self._index is None or not self._journal.bad:
            return False
        draft, taken = self._draft(), self._taken(self._index, file)
        self._apply(draft, file, lines.pieces)
        self._apply(taken, file, self._later(lines))
        shapes = self._target.shapes
        return _digest(draft, shapes, file) != _digest(taken, shapes, file)

    def _later(self, lines: _Lines) -> list[Piece]:
        """What the index has not taken in."""
        return [piece for piece in lines.pieces if piece.lsn > self._index_lsn]

    def _scan(self, path: str) -> Scan:
        head = self._journal.head
        if head is not None and head.swap:
            with suppress(FileNotFoundError):
                swapped = scan(self._folder, f"{path}{NEXT}", keep=True)
                swapped.path = path
                return swapped
        try:
            return scan(self._folder, path, keep=True)
        except FileNotFoundError:
            return Scan(path)

    def _lines(self, path: str, found: Scan) -> _Lines:
        """What the file and the journal have of it, together."""
        pieces = {piece.at: piece for piece in found.pieces}
        written = self._journal.files.get(path, [])
        head, sources = found.head_raw, ["file"] if found.lines else []
        for one in written:
            piece = one.piece
            if one.group.head is not None:
                head = head or one.data[: piece.at - one.group.at]
            known = pieces.get(piece.at)
            if known is None or known.raw != piece.raw:
                pieces[piece.at] = piece
                sources = [*sources, *(["journal"] if "journal" not in sources else [])]
        ordered = sorted(pieces.values())
        length = max(found.size, self._length(path))
        whole, gaps = _coverage(len(head), ordered, length)
        return _Lines(head, ordered, whole, gaps, tuple(sources))

    def _length(self, path: str) -> int:
        """How long the index knows it to have been."""
        if self._index is None:
            return 0
        found = run(self._index, JSONL.file_at(path=path))
        # Where it was found damaged, as it stands is noted there, and not how long it was.
        return int(found[0][1]) if found and not found[0][4] else 0

    def _owner(self, path: str, found: Scan) -> tuple[str, str] | None:
        if path in COMMON:
            return NOBODY
        of = found.of or next(
            (
                (str(one.group.head.get("part", "")), str(one.group.head.get("uid", "")))
                for one in self._journal.files.get(path, [])
                if one.group.head is not None
            ),
            None,
        )
        if of is None and self._index is not None:
            of = next(iter(run(self._index, JSONL.of_path(path=path))), None)
        return of if of and all(of) else None

    def _copy(self, path: str, lines: _Lines) -> None:
        whole = self._target.path(path)
        disk.make_folders(os.path.dirname(whole))
        with open(disk.open_private(whole), "wb") as file:
            file.write(lines.head)
            file.writelines(piece.raw for piece in lines.pieces)
        disk.sync_path(whole)

    # -- rows ------------------------------------------------------------------------------

    def _save_rows(self, file: File, lines: _Lines) -> Salvaged:
        """Write what its rows are known to be."""
        sound = [piece for piece in lines.pieces if piece.end <= lines.whole]
        draft = self._draft()
        adrift = self._apply(draft, file, sound)
        index = self._index
        if index is not None and self._has_more(index, draft, file):
            draft = self._taken(index, file)
            later = self._later(lines)
            sources: tuple[str, ...] = ("index", *(lines.sources if later else ()))
            adrift, lost = self._apply(draft, file, later), []
        else:
            later = [piece for piece in lines.pieces if piece.end > lines.whole]
            adrift += self._apply(draft, file, later)
            sources = lines.sources
            lost = [f"what stood from byte {begin} to {end}" for begin, end in lines.gaps]
            if not lines.head and not lines.pieces:
                lost = ["all that was in it"]
        if adrift:
            lost.append(f"{adrift} changes of rows of which the rest is lost")
        rows = _count(draft, self._target.shapes, file)
        if rows or file.path == STORE:
            # The store's file has lines in every store: else it would be taken for one cut short.
            file.names = self._target.names_of(file.of, (), draft)
            generations.write_next(self._target, draft, file)
            generations.swap_in(self._target, [file.path])
        return Salvaged(file.path, sources, len(lines.pieces), rows, tuple(lost))

    def _apply(self, draft: apsw.Connection, file: File, pieces: Iterable[Piece]) -> int:
        """Do what these lines say; how many changes found no row."""
        adrift = 0
        of = None if file.of == NOBODY else file.of
        with draft:
            for piece in pieces:
                for step in piece.steps:
                    shape = self._target.shapes.get(step.table)
                    if shape is None:
                        adrift += 1
                        continue
                    try:
                        shape.apply(draft, step, of)
                    except (CorruptError, KeyError, apsw.Error):
                        adrift += 1
                        continue
                    adrift += step.verb == "set" and not draft.changes()
        return adrift

    def _has_more(self, index: apsw.Connection, draft: apsw.Connection, file: File) -> bool:
        """Whether the index knows more than the lines before the damage.

        An index that was made of the damaged file has only those.
        """
        known = _digest(index, self._target.shapes, file)
        return known[0] > 0 and known != _digest(draft, self._target.shapes, file)

    def _taken(self, index: apsw.Connection, file: File) -> apsw.Connection:
        draft = self._draft()
        with draft:
            for shape in self._target.shapes.values():
                draft.executemany(shape.upsert, generations.rows_of(index, shape, file))
        return draft


def _coverage(
    begin: int, pieces: Sequence[Piece], length: int
) -> tuple[int, list[tuple[int, int]]]:
    """Up to where nothing is missing, and from where to where something is."""
    gaps: list[tuple[int, int]] = []
    at, whole = begin, begin
    for piece in pieces:
        if piece.at > at:
            gaps.append((at, piece.at))
        if not gaps:
            whole = piece.end
        at = max(at, piece.end)
    if length > at:
        gaps.append((at, length))
    return whole, gaps


def _digest(connection: apsw.Connection, shapes: Shapes, file: File) -> tuple[int, int]:
    """How many rows there are, and a number that is another one for other rows."""
    count = total = 0
    for shape in shapes.values():
        for row in generations.rows_of(connection, shape, file):
            count, total = count + 1, total + hash((shape.name, row))
    return count, total


def _count(connection: apsw.Connection, shapes: Shapes, file: File) -> int:
    return _digest(connection, shapes, file)[0]
