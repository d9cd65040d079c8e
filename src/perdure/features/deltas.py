"""Bytes as the change of others: how the values of checkpoints are stored, as pure functions."""

from __future__ import annotations

import zlib
from typing import NamedTuple

from perdure.errors import CorruptError

#: A whole copy comes again after so many changes, so that no read has to follow more of them.
LONGEST = 50
#: Below it anything may be a change: the dictionary sees all of the base.
_SMALL = 16_384
#: What a dictionary takes from before and behind the place of the change.
_AROUND = 4_096
_CHUNK = 65_536
_LEVEL = 6

RAW, ZLIB, WITH_DICTIONARY = 0, 1, 2


class Packed(NamedTuple):
    """A value as it is stored: what stands between the bytes it shares with its base."""

    head: int
    tail: int
    form: int
    data: bytes


def whole(value: bytes) -> Packed:
    """The value by itself."""
    squeezed = zlib.compress(value, _LEVEL)
    return Packed(0, 0, *((ZLIB, squeezed) if len(squeezed) < len(value) else (RAW, value)))


def change(base: bytes, value: bytes) -> Packed | None:
    """The value as a change of another one; None if that is not worth it."""
    head = _shared(base, value)
    most = min(len(base), len(value)) - head
    tail = _shared_end(base, value, most)
    middle = value[head : len(value) - tail]
    if len(value) > _SMALL and 2 * len(middle) > len(value):
        return None
    squeezer = zlib.compressobj(_LEVEL, zdict=_dictionary(base, head))
    squeezed = squeezer.compress(middle) + squeezer.flush()
    form, data = (WITH_DICTIONARY, squeezed) if len(squeezed) < len(middle) else (RAW, middle)
    if 2 * len(data) > len(value) and len(whole(value).data) <= len(data):
        return None
    return Packed(head, tail, form, data)


def unpack(packed: Packed, base: bytes, what: str) -> bytes:
    """The value; the base is empty for one that is whole. `CorruptError`."""
    head, tail, form, data = packed
    try:
        if form == ZLIB:
            data = zlib.decompress(data)
        elif form == WITH_DICTIONARY:
            data = zlib.decompressobj(zdict=_dictionary(base, head)).decompress(data)
    except zlib.error as error:
        raise CorruptError(f"the stored bytes of {what} are damaged: {error}") from error
    return base[:head] + data + base[len(base) - tail :] if head or tail else data


def checksum(value: bytes) -> int:
    """What tells a value from another one in its place, and a damaged one from itself."""
    return zlib.crc32(value)


def _dictionary(base: bytes, head: int) -> bytes:
    """What of the base is like what was put in: all of a small one, else what is around it."""
    if len(base) <= _SMALL:
        return base
    return base[max(0, head - _AROUND) : head + _AROUND]


def _shared(one: bytes, other: bytes) -> int:
    """How many bytes both begin with."""
    most = min(len(one), len(other))
    for start in range(0, most, _CHUNK):
        end = min(start + _CHUNK, most)
        if one[start:end] != other[start:end]:
            return _first_difference(one, other, start, end)
    return most


def _first_difference(one: bytes, other: bytes, low: int, high: int) -> int:
    """Where, from ``low`` on, the first byte differs; there is one before ``high``."""
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


def _shared_end(one: bytes, other: bytes, most: int) -> int:
    """How many bytes both end with, of so many at most."""
    shared = 0
    while shared < most:
        step = min(_CHUNK, most - shared)
        ours, theirs = _before(one, shared, step), _before(other, shared, step)
        if ours != theirs:
            # From the back: as from the front of what is turned round.
            return shared + _first_difference(ours[::-1], theirs[::-1], 0, step)
        shared += step
    return most if most > 0 else 0


def _before(value: bytes, end: int, step: int) -> bytes:
    stop = len(value) - end
    return value[stop - step : stop]
