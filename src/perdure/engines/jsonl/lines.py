"""One line of a file: JSON that carries its own length and checksum.

``{"len":81,"crc":"9ab0c1d2","lsn":41,…}``: ``len`` counts the bytes behind the comma that
follows the checksum, ``crc`` is their CRC-32. A line that was cut, glued to the next one or
changed in a single bit has another length, another checksum, or no such beginning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple
from zlib import crc32

import msgspec

FORMAT = 1
#: What is wrong with a line that has no body.
NOT_AS_WRITTEN = "it is not as it was written (length or checksum)"
_BEGINNING = re.compile(rb'\{"len":(\d{1,15}),"crc":"([0-9a-f]{8})",')
_encode = msgspec.json.Encoder().encode


class Line(NamedTuple):
    """A line as it was found: its number from 1, where it begins, its bytes with the newline.

    ``body`` is the object without what guards it; None if the line is damaged.
    """

    number: int
    at: int
    raw: bytes
    body: bytes | None

    @property
    def end(self) -> int:
        """Where the next line begins."""
        return self.at + len(self.raw)

    @property
    def swallowed(self) -> bytes | None:
        """The object of a good line that is glued to the end of this damaged one, if there is."""
        starts = (found.start() for found in _BEGINNING.finditer(self.raw))
        return next((body for at in starts if (body := unseal(self.raw[at:]))), None)


def seal(body: bytes) -> bytes:
    """The line of an object, given without its opening brace."""
    return b'{"len":%d,"crc":"%08x",%b\n' % (len(body), crc32(body), body)


def seal_object(value: dict[str, Any]) -> bytes:
    """The line of a whole object."""
    return seal(_encode(value)[1:])


def unseal(line: bytes) -> bytes | None:
    """The object of a line with its newline, as JSON; None if it is not as it was written."""
    beginning = _BEGINNING.match(line)
    if beginning is None or not line.endswith(b"\n"):
        return None
    body = line[beginning.end() : -1]
    whole = beginning[1] == b"%d" % len(body) and beginning[2] == b"%08x" % crc32(body)
    return b"{" + body if whole else None


def lines_of(file: BinaryIO) -> Iterator[Line]:
    """The lines of a file from where it stands; a damaged one has no body."""
    at = file.tell()
    for number, raw in enumerate(file, 1):
        line = Line(number, at, raw, unseal(raw))
        at = line.end
        yield line
