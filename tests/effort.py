"""How much a test does: enough in each run, all of it where somebody has the time."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T", int, float)

#: Whether ``PERDURE_LONG`` is set: what is tried at random is tried much more often.
LONG = "PERDURE_LONG" in os.environ


def effort(usual: T, long: T) -> T:
    """How much of something: ``long`` where ``PERDURE_LONG`` is set."""
    return long if LONG else usual
