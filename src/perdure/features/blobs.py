"""The bytes of artifacts: once for each person, by their digest, piece by piece."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

from perdure.errors import CorruptError
from perdure.operation import Plan, Rows
from perdure.sql import load

ARTIFACTS = load("perdure.features", "artifacts.sql")

PIECE = 2**20
"""The most bytes of one row."""

#: How many rows of an export are in memory at a time.
_EXPORTED = 8


class Blob(NamedTuple):
    """Bytes that wait for their place; the digest is made once, by whoever has them."""

    digest: str
    data: bytes


def blob_of(data: bytes) -> Blob:
    """The bytes with their digest."""
    return Blob(sha256(data).hexdigest(), data)


def put(part: str, blob: Blob, now: int) -> Plan[None]:
    """Keep the bytes, if the person does not have them yet."""
    yield ARTIFACTS.put_blob(part=part, digest=blob.digest, size=len(blob.data), now=now)
    if (yield ARTIFACTS.has_pieces(part=part, digest=blob.digest)):
        return
    for number, start in enumerate(range(0, len(blob.data), PIECE)):
        piece = blob.data[start : start + PIECE]
        yield ARTIFACTS.add_piece(part=part, digest=blob.digest, number=number, data=piece, now=now)


def drop(part: str, digests: Iterable[str]) -> Plan[None]:
    """Forget those of the blobs that no artifact has any more.

    In one order, so that no two transactions lock the same blobs crosswise.
    """
    for digest in sorted(set(digests)):
        yield ARTIFACTS.hold_blob(part=part, digest=digest)
        yield ARTIFACTS.drop_blob(part=part, digest=digest)


def blobs_of(part: str, uid: str) -> Plan[list[str]]:
    """The digests of what a session has."""
    found = yield ARTIFACTS.blobs_of(part=part, uid=uid)
    return [digest for (digest,) in found]


def piece(part: str, digest: str, number: int) -> Plan[bytes | None]:
    """One piece; None if there is none of that number."""
    found = yield ARTIFACTS.piece(part=part, digest=digest, number=number)
    return bytes(found[0][0]) if found else None


def pieces_after(part: str, digest: str, number: int) -> Plan[Rows]:
    """Some rows of pieces behind that one, for an export."""
    return (yield ARTIFACTS.pieces_after(part=part, digest=digest, number=number, limit=_EXPORTED))


class Checked:
    """Looks at pieces as they pass: together they must be what was saved."""

    def __init__(self, digest: str, size: int, what: str) -> None:
        self._digest = digest
        self._missing = size
        self._what = what
        self._hash = sha256()

    @property
    def complete(self) -> bool:
        """Whether all of them have passed."""
        return self._missing <= 0

    def take(self, data: bytes) -> bytes:
        """The piece, once it has been looked at."""
        self._hash.update(data)
        self._missing -= len(data)
        return data

    def end(self) -> None:
        """`CorruptError` if it was something else."""
        if self._missing or self._hash.hexdigest() != self._digest:
            raise CorruptError(f"the stored bytes of {self._what} are damaged: not what was saved")
