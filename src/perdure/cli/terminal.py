"""What the other end of a stream can show: width, colour, or only bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

_NARROWEST = 20
_USUAL = 80


@dataclass(frozen=True, slots=True)
class Look:
    """How to show something.

    ``laid_out`` is for a person: tables, bars, local times, long results cut; else the same
    plain and whole, for a program. ``width`` is None where nothing is to be wrapped.
    """

    laid_out: bool = False
    color: bool = False
    width: int | None = None

    @property
    def columns(self) -> int:
        """The width, or a usual one."""
        return self.width or _USUAL


def look_of(stream: TextIO, environment: Mapping[str, str], *, no_color: bool = False) -> Look:
    """What to show on a stream.

    ``--no-color``, ``NO_COLOR`` and ``TERM=dumb`` take the colour away, ``FORCE_COLOR`` gives
    it to a pipe too; ``COLUMNS`` is the width, else the terminal's; a pipe is not wrapped.
    """
    terminal = stream.isatty()
    forced = environment.get("FORCE_COLOR", "") not in {"", "0"}
    plain = no_color or bool(environment.get("NO_COLOR")) or environment.get("TERM") == "dumb"
    laid_out = terminal or (forced and not plain)
    return Look(laid_out, laid_out and not plain, _width(stream, environment, laid_out))


def _width(stream: TextIO, environment: Mapping[str, str], laid_out: bool) -> int | None:
    columns = environment.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return max(int(columns), _NARROWEST)
    if not laid_out:
        return None
    try:
        return max(os.get_terminal_size(stream.fileno()).columns or _USUAL, _NARROWEST)
    except (OSError, ValueError):
        return _USUAL
