"""Bytes as the change of others: how the values of checkpoints are stored, as pure functions."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import msgspec

from perdure.errors import CorruptError

#: A whole copy comes again after so many changes, so that no read has to follow more of them.
LONGEST = 50
#: Below it anything may be a change: the dictionary sees all of the base.
_SMALL = 16_384
#: What a dictionary takes from before and behind the place of the change.
_AROUND = 4_096
#: What is no longer than this finds enough there: a larger dictionary costs more than it saves.
_SHORT = 2_048
_CHUNK = 65_536
_LEVEL = 6
#: Bits of zlib's windows that are used here, the smallest one and its default; by so much less its
#: tables of places ("memory level") are as large as the window; what its window holds for itself.
_WINDOWS = (10, 15)
_LEAST_TABLES = 7
_LOOKAHEAD = 262

#: How much is looked for, how much has to be alike, and how far behind a change to look for it.
_PROBE = 24
_WORTH = 64
_STEPS = (0, 8, *(16 << power for power in range(20)))
_MOST_EDITS = 200
#: So many bytes are compared as one number.
_NUMBER = 512

RAW, ZLIB, WITH_DICTIONARY, PATCH, NEAR, GROWN = 0, 1, 2, 3, 4, 5
_PATCHES = {PATCH, GROWN}
_FORMS = range(GROWN + 1)


class Packed(NamedTuple):
    """A value as it is stored: what stands between the bytes it shares with its base."""

    head: int
    tail: int
    form: int
    data: bytes


def whole(value: bytes) -> Packed:
    """The value by itself."""
    squeezed = _squeezed(value, b"")
    return Packed(0, 0, *((ZLIB, squeezed) if len(squeezed) < len(value) else (RAW, value)))


def change(base: bytes, value: bytes) -> Packed | None:
    """The value as a change of another one; None if that is not worth it."""
    head = _shared(base, value)
    tail = _shared_end(base, value, min(len(base), len(value)) - head)
    middle = value[head : len(value) - tail]
    form = NEAR
    if len(middle) > _SHORT:
        grown = _grown(base, value, head, tail)
        if grown is not None:
            form, middle = GROWN, grown
        elif len(middle) > _SMALL:
            form, middle = PATCH, _patch(base, value, head, tail)
        else:
            form = WITH_DICTIONARY
    squeezed = _squeezed(middle, _dictionary(base, head, tail, form))
    if form not in _PATCHES and len(squeezed) >= len(middle):
        form, squeezed = RAW, middle
    if 2 * len(squeezed) > len(value) and len(whole(value).data) <= len(squeezed):
        return None
    return Packed(head, tail, form, squeezed)


def _squeezed(value: bytes, dictionary: bytes | bytearray) -> bytes:
    """Compressed, with a window and tables no larger than what is there to be found again.

    zlib clears those of its defaults each time, 256 KiB: ten times the work on a short value.
    """
    bits = (len(dictionary) + len(value) + _LOOKAHEAD).bit_length()
    window = max(_WINDOWS[0], min(bits, _WINDOWS[1]))
    how = (_LEVEL, zlib.DEFLATED, window, window - _LEAST_TABLES, zlib.Z_DEFAULT_STRATEGY)
    squeezer = zlib.compressobj(*how, dictionary) if dictionary else zlib.compressobj(*how)
    return squeezer.compress(value) + squeezer.flush()


def unpack(packed: Packed, base: bytes, what: str) -> bytes:
    """The value; the base is empty for one that is whole. `CorruptError`."""
    value = bytearray(base)
    apply(packed, value, what)
    return bytes(value)


def apply(packed: Packed, value: bytearray, what: str) -> None:
    """Make the value out of its base, in its place: what both share is not copied."""
    head, tail, form, data = packed
    if form not in _FORMS:
        raise CorruptError(f"{what} is stored in form {form}, which this perdure does not know")
    try:
        if form == ZLIB:
            data = zlib.decompress(data)
        elif form != RAW:
            data = zlib.decompressobj(zdict=_dictionary(value, head, tail, form)).decompress(data)
        if form in _PATCHES:
            data = _patched(value, data)
    except (zlib.error, ValueError, msgspec.DecodeError) as error:
        raise CorruptError(f"the stored bytes of {what} are damaged: {error}") from error
    value[head : len(value) - tail] = data


# -- several changes in one value ------------------------------------------------------------


def _patch(base: bytes, value: bytes, head: int, tail: int) -> bytes:
    """What makes the middle of the value: lengths of new bytes, each with what is copied then."""
    place, end = head, len(value) - tail
    at = head
    steps: list[int] = []
    new: list[bytes] = []
    while place < end:
        found = None
        if len(new) < _MOST_EDITS:
            found = _found_again(base, value, at, place, end)
        if found is None:
            new.append(value[place:end])
            steps += [end - place, 0, 0]
            break
        there, here, length = found
        new.append(value[place:here])
        steps += [here - place, there, length]
        at, place = there + length, here + length
    return b"".join([msgspec.json.encode(steps), b"\n", *new])


def _grown(base: bytes, value: bytes, head: int, tail: int) -> bytes | None:
    """The same where what is new is a few bytes at its beginning, and all behind it; else None.

    So it is with a list whose length stands before it.
    """
    start, end, new = head + _WORTH, len(base) - tail, len(value) - len(base)
    # What is shorter has nothing new behind: it may be alike beyond the place where it is cut off.
    if new < 0 or end - start < _WORTH or not value.startswith(base[start:end], start):
        return None
    steps = msgspec.json.encode([_WORTH, start, end - start, new, 0, 0])
    return b"".join([steps, b"\n", value[head:start], value[end : end + new]])


def _found_again(
    base: bytes, value: bytes, at: int, place: int, end: int
) -> tuple[int, int, int] | None:
    """Where in both, from these places on, they are alike again, and for how many bytes."""
    for step in _STEPS:
        here = place + step
        if here + _PROBE > end:
            return None
        probe = value[here : here + _PROBE]
        there = base.find(probe, at)
        if there < 0:
            there = base.find(probe, 0, at)
        if there >= 0:
            back = _shared_end(base[:there], value[place:here], min(there, step))
            there, here = there - back, here - back
            length = _shared(base[there:], value[here:end])
            if length >= _WORTH:
                return there, here, length
    return None


def _patched(base: bytearray, patch: bytes) -> bytes:
    line, _, new = patch.partition(b"\n")
    steps = msgspec.json.decode(line, type=list[int])
    parts: list[bytes | bytearray] = []
    place = 0
    for length, there, copied in zip(steps[::3], steps[1::3], steps[2::3], strict=True):
        parts += [new[place : place + length], base[there : there + copied]]
        place += length
    return b"".join(parts)


def checksum(value: bytes) -> int:
    """What tells a value from another one in its place, and a damaged one from itself."""
    return zlib.crc32(value)


class Sums:
    """The checksums of values that are each a change of the one before.

    What they share with it at their beginning is summed up once.
    """

    __slots__ = ("_length", "_sum")

    def __init__(self) -> None:
        self._length = self._sum = 0

    def follow(self, packed: Packed) -> None:
        """The next value is this change of the one before."""
        if packed.head < self._length:
            self._length = self._sum = 0

    def of(self, value: bytes | bytearray) -> int:
        """The checksum of the value, the same as `checksum`."""
        # The last byte closes a text: what comes next is often put before it.
        most = max(len(value) - 1, self._length)
        self._sum = zlib.crc32(value[self._length : most], self._sum)
        self._length = most
        return zlib.crc32(value[most:], self._sum)


def _dictionary(base: bytes | bytearray, head: int, tail: int, form: int) -> bytes | bytearray:
    """What of the base is like what was put in: what is around it, or all of a small one."""
    if form == GROWN:
        end = len(base) - tail
        return base[max(0, end - _AROUND) : end]
    if form != NEAR and len(base) <= _SMALL:
        return base
    return base[max(0, head - _AROUND) : head + _AROUND]


def _shared(one: bytes, other: bytes) -> int:
    """How many bytes both begin with."""
    most = min(len(one), len(other))
    low, step = 0, _NUMBER
    while low < most:
        high = min(low + step, most)
        if one[low:high] != other[low:high]:
            return _first_difference(one, other, low, high)
        low, step = high, min(step * 4, _CHUNK)
    return most


def _first_difference(one: bytes, other: bytes, low: int, high: int) -> int:
    """Where, from ``low`` on, the first byte differs; there is one before ``high``."""
    while high - low > _NUMBER:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    differing = int.from_bytes(one[low:high]) ^ int.from_bytes(other[low:high])
    return high - (differing.bit_length() + 7) // 8


def _shared_end(one: bytes, other: bytes, most: int) -> int:
    """How many bytes both end with, of so many at most."""
    shared, step = 0, _NUMBER
    while shared < most:
        step = min(step, most - shared)
        ours, theirs = _before(one, shared, step), _before(other, shared, step)
        if ours != theirs:
            # From the back: as from the front of what is turned round.
            return shared + _first_difference(ours[::-1], theirs[::-1], 0, step)
        shared, step = shared + step, min(step * 4, _CHUNK)
    return max(0, most)


def _before(value: bytes, end: int, step: int) -> bytes:
    stop = len(value) - end
    return value[stop - step : stop]
