"""How often a fault is tried: a few times each run, more where somebody has the time."""

from __future__ import annotations

import os


def rounds(usual: int) -> int:
    """That often, times ``PERDURE_FAULT_FACTOR`` (a large one needs ``--timeout=0``)."""
    return usual * int(os.environ.get("PERDURE_FAULT_FACTOR", "1"))
