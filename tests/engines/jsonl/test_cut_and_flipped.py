"""Files that were cut anywhere or had a bit flipped: what they hold is there, or is refused."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from perdure.engines.jsonl import journal
from perdure.engines.jsonl.lines import seal, seal_object
from perdure.engines.jsonl.loading import Reading
from tests.effort import LONG, effort
from tests.engines.jsonl.making import Images, copy, files_of, judge, make

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return make(tmp_path_factory.mktemp("made"))


def session_file(image: Path) -> str:
    return next(file for file in files_of(image) if "/one-" in file)


# -- every byte and every bit, as they are read ----------------------------------------------


def read(image: Path, path: str, last: int | None = None) -> tuple[list[bytes], str]:
    """The rows of each good line, and what is wrong with the file."""
    reading = Reading(str(image), path, last)
    rows = [msgspec.json.encode(rows) for rows in reading.records()]
    return rows, reading.file.damage


def line_of(data: bytes, at: int) -> int:
    return data[:at].count(b"\n") + 1


@pytest.mark.parametrize("which", ["session", "store"])
def test_a_file_that_is_cut_anywhere_reads_to_its_last_whole_line(
    which: str, images: Images, tmp_path: Path
) -> None:
    path = session_file(images.closed) if which == "session" else "store.jsonl"
    data = (images.closed / path).read_bytes()
    whole, _ = read(images.closed, path)
    cut = copy(images.closed, tmp_path / "cut")

    for at in range(len(data)):
        (cut / path).write_bytes(data[:at])
        rows, damage = read(cut, path)
        number = line_of(data, at)
        assert rows == whole[: max(number - 2, 0)]
        at_the_end_of_a_line = data[:at].endswith(b"\n")
        assert damage.startswith("" if at_the_end_of_a_line else f"{path}, line {number}: ")
        assert at_the_end_of_a_line != bool(damage)
        assert (cut / path).stat().st_size == at


@pytest.mark.parametrize("which", ["session", "store"])
def test_a_flipped_bit_of_a_file_is_always_seen_and_its_line_named(
    which: str, images: Images, tmp_path: Path
) -> None:
    path = session_file(images.closed) if which == "session" else "store.jsonl"
    data = (images.closed / path).read_bytes()
    whole, _ = read(images.closed, path)
    flipped = copy(images.closed, tmp_path / "flipped")

    for at, bit in bits(data):
        (flipped / path).write_bytes(with_flipped(data, at, bit))
        rows, damage = read(flipped, path)
        number = line_of(data, at)
        assert damage.startswith(f"{path}, line {number}: "), (at, bit)
        assert rows == whole[: max(number - 2, 0)], (at, bit)


def bits(data: bytes) -> Iterator[tuple[int, int]]:
    """Each bit, with PERDURE_LONG=1; else one of each byte, and each of what ends a line."""
    for at, byte in enumerate(data):
        for bit in range(8) if LONG or byte == 10 else [at % 8]:
            yield at, bit


def with_flipped(data: bytes, at: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


def test_a_journal_that_is_cut_anywhere_reads_to_its_last_whole_line(
    images: Images, tmp_path: Path
) -> None:
    data = (images.killed / "journal.jsonl").read_bytes()
    whole = journal.read(str(images.killed))
    assert whole is not None

    for at in range(len(data)):
        (tmp_path / "journal.jsonl").write_bytes(data[:at])
        found = journal.read(str(tmp_path))
        assert found is not None
        number = line_of(data, at)
        assert found.records == whole.records[: max(number - 2, 0)]
        assert (found.torn is None) == (at == 0 or data[:at].endswith(b"\n"))
        assert bool(found.damage) == (number == 1)


def test_a_flipped_bit_of_the_journal_is_damage_unless_it_is_in_the_last_write(
    images: Images, tmp_path: Path
) -> None:
    data = (images.killed / "journal.jsonl").read_bytes()
    whole = journal.read(str(images.killed))
    assert whole is not None
    last = data.count(b"\n")
    assert last > 3

    for at, bit in bits(data):
        (tmp_path / "journal.jsonl").write_bytes(with_flipped(data, at, bit))
        found = journal.read(str(tmp_path))
        assert found is not None
        number = line_of(data, at)
        if number == last:
            assert found.torn is not None
            assert found.damage == ""
        else:
            assert found.damage.startswith(f"journal.jsonl, line {number}: "), (at, bit)
        assert found.records == whole.records[: max(number - 2, 0)]


def test_a_line_that_is_missing_in_the_journal_is_damage(images: Images, tmp_path: Path) -> None:
    lines = (images.killed / "journal.jsonl").read_bytes().splitlines(keepends=True)

    for number in range(2, len(lines)):
        (tmp_path / "journal.jsonl").write_bytes(b"".join(lines[: number - 1] + lines[number:]))
        found = journal.read(str(tmp_path))
        assert found is not None
        assert found.damage.startswith(f"journal.jsonl, line {number}: ")


def journal_of(*records: tuple[int, int]) -> list[bytes]:
    """The lines of a journal with these numbers of writes and batches."""
    head = {"perdure": "journal", "format": 1, "base": 0, "schema": "", "durability": "full"}
    lines = [seal(journal.encoded(lsn, batch, "op", {})) for lsn, batch in records]
    return [seal_object(head), *lines]


@pytest.mark.parametrize("bad", [b"\0", b" ", b"x"])
def test_a_batch_of_which_a_power_cut_left_only_the_end_was_never_acknowledged(
    bad: bytes, tmp_path: Path
) -> None:
    for first in (3, 4, 5):
        lines = journal_of((1, 1), (2, 2), (3, 3), (4, 3), (5, 3))
        lines[first] = lines[first][:20] + bad * (len(lines[first]) - 20)
        (tmp_path / "journal.jsonl").write_bytes(b"".join(lines) + b" " * 50 + b"\n")

        found = journal.read(str(tmp_path))

        assert found is not None
        assert (found.damage, found.last) == ("", first - 1)
        assert found.torn is not None


@pytest.mark.parametrize("bad", [b"\0", b" ", b"x"])
def test_a_bad_line_before_a_later_batch_was_acknowledged(bad: bytes, tmp_path: Path) -> None:
    for first in (1, 2, 3, 4):
        lines = journal_of((1, 1), (2, 2), (3, 3), (4, 3), (5, 5))
        lines[first] = lines[first][:20] + bad * (len(lines[first]) - 20)
        (tmp_path / "journal.jsonl").write_bytes(b"".join(lines))

        found = journal.read(str(tmp_path))

        assert found is not None
        assert found.damage.startswith(f"journal.jsonl, line {first + 1}: ")


# -- a sample of them, opened, appended to and read ------------------------------------------


@pytest.mark.parametrize("how", ["cut", "cut after a line", "flip"])
@pytest.mark.parametrize("index", [True, False], ids=["with index", "without index"])
def test_what_was_acknowledged_is_there_or_refused(
    how: str, index: bool, images: Images, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    verdicts: Counter[bool] = Counter()
    for image in images:
        for file in files_of(image):
            data = (image / file).read_bytes()
            for _ in range(effort(3, 60)):
                work = copy(image, tmp_path / "work", index=index)
                changed = change(data, how, chance)
                (work / file).write_bytes(changed)
                at_an_end = changed.endswith(b"\n") and len(changed) < len(data)
                verdict = judge(work, file, shorter=at_an_end)
                assert verdict.wrong == [], f"seed {seed}: {image.name} {file} {len(changed)}"
                verdicts[bool(verdict.refused)] += 1
    assert verdicts[True] > 5
    assert sum(verdicts.values()) >= 24


def change(data: bytes, how: str, chance: random.Random) -> bytes:
    if how == "flip":
        return with_flipped(data, chance.randrange(len(data)), chance.randrange(8))
    if how == "cut":
        return data[: chance.randrange(len(data))]
    ends = [at + 1 for at, byte in enumerate(data) if byte == 10]
    return data[: chance.choice(ends[:-1] or [0])]


def test_a_cut_of_what_the_journal_still_has_is_made_good(images: Images, tmp_path: Path) -> None:
    for index in (True, False):
        for file in (session_file(images.killed), "store.jsonl"):
            whole = (images.killed / file).read_bytes()
            kept = len((images.killed / file).read_bytes().splitlines(keepends=True)[-1])
            for at in range(len(whole) - kept, len(whole), 151):
                work = copy(images.killed, tmp_path / "work", index=index)
                (work / file).write_bytes(whole[:at])
                verdict = judge(work, file)
                assert verdict == ("", []), at


def test_an_older_session_file_than_the_journal_goes_on_with_is_refused(
    images: Images, tmp_path: Path
) -> None:
    for index in (True, False):
        work = copy(images.killed, tmp_path / "work", index=index)
        file = session_file(images.killed)
        lines = (images.killed / file).read_bytes().splitlines(keepends=True)
        (work / file).write_bytes(b"".join(lines[:2]))

        verdict = judge(work, file)

        assert verdict.wrong == []
        assert f"{file}, line 3: the lines that followed are gone" in verdict.refused
