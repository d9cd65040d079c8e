"""Sweeping from several processes on one server."""

from __future__ import annotations

import os

import pytest

from tests.workers.test_replicas import check


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_of_several_processes_on_a_server_one_sweeps(database: str) -> None:
    check(database)
