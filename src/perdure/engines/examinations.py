"""What an examination of a store finds, and what could be saved of a damaged one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to be told of a store: where it is, and what it is.

    ``line``: of the file, from 1; None, if it is not about one line.
    """

    place: str
    what: str
    line: int | None = None


@dataclass(slots=True)
class Examination:
    """The facts of a store, what is wrong with it, and what is only worth knowing.

    ``faults`` want somebody to do something; ``notes`` the store will see to by itself.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    faults: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What was saved of one file: out of what, how many lines or rows, and what is lost.

    ``taken_from``: ``file``, ``journal``, ``index``, in the order of how much came from there.
    ``rows``: 0, where it was copied line by line.
    """

    path: str
    taken_from: tuple[str, ...]
    lines: int
    rows: int = 0
    lost: tuple[str, ...] = ()

    @property
    def document(self) -> Mapping[str, Any]:
        """The same as JSON."""
        return {
            "path": self.path,
            "from": list(self.taken_from),
            "lines": self.lines,
            "rows": self.rows,
            "lost": list(self.lost),
        }
