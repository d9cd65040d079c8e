"""Run leases and steps of several processes on one SQLite file."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

import perdure
from tests.engines import running

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return running.make(f"sqlite:///{tmp_path}/runs.db")


def test_of_two_processes_one_at_a_time_has_the_lease(url: str, tmp_path: Path) -> None:
    running.one_run_at_a_time(url, tmp_path)


def test_a_stopped_holder_is_refused_when_it_goes_on(url: str) -> None:
    running.a_stopped_holder_is_refused_when_it_goes_on(url)


def test_a_killed_holder_is_gone_when_its_time_is_over(url: str) -> None:
    running.a_killed_holder_is_gone_when_its_time_is_over(url)


def test_every_step_is_run_once_whoever_comes(url: str, tmp_path: Path) -> None:
    running.every_step_is_run_once(url, tmp_path)


def test_a_step_whose_process_was_killed_is_run_again(url: str) -> None:
    running.a_step_whose_process_was_killed_is_run_again(url)


async def cancel_a_step() -> object:
    """Cancel a step in the middle, and do it again without patience."""
    async with perdure.open("memory:") as store:
        begun = asyncio.Event()

        async def stuck() -> None:
            begun.set()
            await asyncio.sleep(60)

        task = asyncio.ensure_future(store.step("run", "step", stuck))
        await begun.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return await store.step("run", "step", lambda: "again", timeout=10)


def test_a_step_that_was_cancelled_is_free_before_its_lease_ends() -> None:
    begun = time.monotonic()

    assert asyncio.run(cancel_a_step()) == "again"
    assert time.monotonic() - begun < 10
