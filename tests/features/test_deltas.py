"""Bytes as the change of others come back as they were, whatever both are."""

from __future__ import annotations

import json
import random
import zlib

import pytest

from perdure import CorruptError
from perdure.features.deltas import (
    GROWN,
    NEAR,
    PATCH,
    WITH_DICTIONARY,
    Packed,
    Sums,
    change,
    checksum,
    unpack,
    whole,
)

PEOPLE = [{"role": "user", "content": f"message {n} " + "words " * 40} for n in range(300)]


def state(count: int, mark: str) -> bytes:
    return json.dumps({"id": mark, "messages": PEOPLE[:count], "step": count, "at": mark}).encode()


def cut(draw: random.Random, data: bytes) -> bytes:
    """The same with something put in, taken out or moved."""
    low = draw.randint(0, len(data))
    high = min(len(data), low + draw.choice([0, 1, 40, 5_000]))
    new = draw.choice([b"", b"x", draw.randbytes(30), draw.randbytes(20_000), data[:high]])
    return data[:low] + new + data[high:]


@pytest.mark.parametrize("seed", range(40))
def test_a_change_gives_the_value_back(seed: int) -> None:
    draw = random.Random(seed)
    base = draw.choice([b"", b"x", b"x" * 70_000, draw.randbytes(40_000), state(200, "a")])
    for _ in range(12):
        value = base
        for _ in range(draw.randint(0, 4)):
            value = cut(draw, value)[:300_000]
        packed = change(base, value)

        assert unpack(whole(value), b"", "it") == value
        if packed is not None:
            assert unpack(packed, base, "it") == value
        base = value


@pytest.mark.parametrize("seed", range(20))
def test_sums_are_the_checksums_of_the_values_on_the_way(seed: int) -> None:
    draw = random.Random(seed)
    value = draw.choice([b"", b"[]", state(20, "a")])
    sums = Sums()
    for _ in range(30):
        behind = value[:-1] + b',{"new":"item"}]' if draw.random() < 0.7 else cut(draw, value)
        packed = change(value, behind) or whole(behind)
        value = behind[:100_000]
        packed = packed if value is behind else whole(value)
        sums.follow(packed)

        # Not each of them is asked for.
        if draw.random() < 0.6:
            assert sums.of(value) == checksum(value)


def test_several_small_changes_of_a_large_value_stay_small() -> None:
    packed = change(state(250, "before"), state(252, "behind"))

    assert packed is not None
    assert len(packed.data) < 1_000


def test_values_with_nothing_in_common_are_stored_whole() -> None:
    draw = random.Random(1)

    assert change(draw.randbytes(50_000), draw.randbytes(50_000)) is None


@pytest.mark.parametrize("form", [1, 2, 3])
def test_damaged_bytes_are_an_error_that_says_so(form: int) -> None:
    with pytest.raises(CorruptError, match="of it are damaged"):
        unpack(Packed(0, 0, form, b"\x00damaged"), b"base", "it")


def counted(count: int) -> bytes:
    """A list with its length before it, as msgpack has it."""
    return count.to_bytes(4, "big") + json.dumps(PEOPLE[:count])[1:-1].encode()


@pytest.mark.parametrize("count", [20, 100, 299])
def test_a_list_that_has_grown_behind_its_length_is_what_came_behind(count: int) -> None:
    base, value = counted(count), counted(count + 1)

    packed = change(base, value)

    assert packed is not None
    assert packed.form == GROWN
    assert len(packed.data) < 200
    assert unpack(packed, base, "it") == value


@pytest.mark.parametrize("count", [1, 20, 299])
def test_a_short_change_is_like_what_is_around_it(count: int) -> None:
    base, value = state(count, "a"), state(count + 1, "a")

    packed = change(base, value)

    assert packed is not None
    assert packed.form == NEAR
    assert len(packed.data) < 200


@pytest.mark.parametrize("form", [WITH_DICTIONARY, PATCH])
def test_what_was_written_with_large_windows_is_read(form: int) -> None:
    base = state(20, "a")
    middle = b"other words " * 9
    squeezer = zlib.compressobj(zdict=base)
    patch = b"[%d,0,40]\n%b" % (len(middle), middle)
    squeezed = squeezer.compress(middle if form == WITH_DICTIONARY else patch) + squeezer.flush()

    found = unpack(Packed(5, 7, form, squeezed), base, "it")

    behind = b"" if form == WITH_DICTIONARY else base[:40]
    assert found == base[:5] + middle + behind + base[-7:]


def test_of_two_equal_items_the_last_one_is_taken_away() -> None:
    base, value = counted(60) + b'"ok""ok"', counted(59)[:4] + counted(60)[4:] + b'"ok"'

    packed = change(base, value)

    assert packed is not None
    assert unpack(packed, base, "it") == value


@pytest.mark.parametrize("seed", range(20))
def test_lists_of_few_different_items_grow_and_shrink(seed: int) -> None:
    draw = random.Random(seed)
    items = [b"ok", b"ok ok", b'{"role":"user","content":"%b"}' % (b"words " * 30)]
    said = [draw.choice(items) for _ in range(draw.choice([20, 400, 2_000]))]
    base = len(said).to_bytes(4, "big") + b"".join(said)
    for _ in range(60):
        if draw.random() < 0.5:
            del said[len(said) - draw.randint(0, 3) :]
        else:
            said += draw.choices(items, k=draw.randint(0, 3))
        value = len(said).to_bytes(4, "big") + b"".join(said)
        packed = change(base, value)

        assert packed is None or unpack(packed, base, "it") == value
        base = value


def test_a_form_of_a_later_perdure_is_not_read_as_another() -> None:
    with pytest.raises(CorruptError, match="form 9"):
        unpack(Packed(0, 0, 9, b"x"), b"y", "it")
