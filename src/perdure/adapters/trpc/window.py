"""Which events of a session its agents see: pure functions of numbers.

All that is said stays in the session, in its order. trpc-agent shows a window of it: a summary
stands in the place of what it was made of, and what the limits let fall is historical. The window
is three small facts beside the events, and nothing is moved or written again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Window:
    """First the events ``front``, in that order, then all after the seq ``after``.

    ``historical`` are those that were seen once, in the order in which they fell; what is neither
    is seen no more. Numbers are seqs.
    """

    front: tuple[int, ...] = ()
    after: int = 0
    historical: tuple[int, ...] = ()

    def active(self, seqs: Iterable[int]) -> list[int]:
        """Those of the session's events that are seen, in order."""
        there = list(seqs)
        first = [seq for seq in self.front if seq in set(there)]
        gone = {*self.front, *self.historical}
        return first + [seq for seq in there if seq > self.after and seq not in gone]

    def to_json(self) -> dict[str, Any]:
        """As it is stored: neighbours are told by the first and the last."""
        return {
            "front": _runs(self.front),
            "after": self.after,
            "historical": _runs(self.historical),
        }


def window_of(told: Any) -> Window:
    """The stored window; without one all events are seen."""
    if not isinstance(told, dict):
        return Window()
    return Window(
        _unrolled(told.get("front", ())), int(told.get("after", 0)),
        _unrolled(told.get("historical", ())),
    )  # fmt: skip


def window_for(seqs: Sequence[int], active: Sequence[int], historical: Sequence[int]) -> Window:
    """The window that shows these of the session's events, in this order."""
    shown = set(active)
    after = max((seq for seq in seqs if seq not in shown), default=0)
    place = len(active)
    # What comes in its own order at the end needs no telling.
    while place and active[place - 1] > after and _rises(active, place):
        place -= 1
    return Window(tuple(active[:place]), after, tuple(historical))


def _rises(active: Sequence[int], place: int) -> bool:
    return place == len(active) or active[place - 1] < active[place]


def _runs(seqs: Sequence[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for seq in seqs:
        if runs and runs[-1][1] == seq - 1:
            runs[-1][1] = seq
        else:
            runs.append([seq, seq])
    return runs


def _unrolled(runs: Any) -> tuple[int, ...]:
    return tuple(seq for first, last in runs for seq in range(first, last + 1))
