"""The active line of a session, as git has it: from the head down by ``prev``.

A session that never branched is one run of seqs. Where history was changed, a row's ``prev``
is not the seq before it: a jump. A partial index holds the jumps alone, so that following a
line costs one look for each of them, and one in all for most sessions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from perdure.operation import Plan
from perdure.sql import load

EVENTS = load("perdure.features", "events.sql")

NO_SEQ = 2**62
"""Higher than any seq or version."""


class Run(NamedTuple):
    """Seqs from ``low`` to ``high``, each following the one before; low follows ``below``.

    Below is 0 at the beginning of the session, -1 where what stood there was pruned.
    """

    low: int
    high: int
    below: int


def runs(part: str, uid: str, head: int, low: int = 1) -> Plan[list[Run]]:
    """The runs of the line that ends at head, newest first, as far down as ``low``."""
    found: list[Run] = []
    while head >= low and head > 0:
        # One of them, or all: an engine that pays for each trip gives what it can.
        jumps = (yield EVENTS.jumps(part=part, uid=uid, at=head, low=low)) or [(1, 0)]
        for seq, below in jumps:
            found.append(Run(seq, head, below))
            head = below
    return found


def first_of(part: str, uid: str, line: Sequence[Run]) -> Plan[tuple[int, int]]:
    """The seq and prev of the line's first stored event; (0, 0) for an empty line."""
    if not line:
        return 0, 0
    rows = yield EVENTS.first_from(part=part, uid=uid, low=line[-1].low)
    return (rows[0][0], rows[0][1]) if rows else (0, 0)


def holds(line: Sequence[Run], seq: int) -> bool:
    """Whether the seq is on the line."""
    return any(run.low <= seq <= run.high for run in line)


def clip(line: Sequence[Run], low: int, high: int) -> list[Run]:
    """The part of the line from ``low`` to ``high``, both inclusive."""
    return [
        Run(max(run.low, low), min(run.high, high), run.below)
        for run in line
        if run.low <= high and run.high >= low
    ]
