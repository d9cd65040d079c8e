"""Fixtures of tests of several folders."""

from __future__ import annotations

import pytest

from tests.faults.mounts import refusal


@pytest.fixture
def mounts() -> None:
    """Skips a test that mounts file systems where that cannot be done."""
    if why_not := refusal():
        pytest.skip(why_not)
