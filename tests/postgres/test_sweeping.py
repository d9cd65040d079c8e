"""Sweeping and holding from several processes on one server."""

from __future__ import annotations

import os

import pytest

from tests.workers import test_holding_at_once
from tests.workers.test_replicas import check


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_of_several_processes_on_a_server_one_sweeps(database: str) -> None:
    check(database)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_holding_and_deleting_at_once_on_a_server(database: str) -> None:
    test_holding_at_once.check(database)
