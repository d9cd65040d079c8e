"""A fork takes no threads along: the child's copy of a worker is not running."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.engines.processes import ran

FORKED = """
import os, sys, time, perdure
from datetime import timedelta
from perdure.operation import flow
from perdure.workers import Worker

class Idle(Worker):
    name = "idle"
    def _round(self):
        return (yield from self._alone(lambda duty: duty.keep())) and None

store = perdure.open_sync(sys.argv[1])
worker = Idle(store, timedelta(hours=1))
worker.start()
while not worker.runs:
    time.sleep(0.01)
if not (child := os.fork()):
    try:
        worker.start()
    except perdure.ClosedError as error:
        print("child", worker.is_running, type(error).__name__, flush=True)
    worker.wake()
    worker.stop()
    store.close()
    os._exit(0)
os.waitpid(child, 0)
print("parent", worker.is_running)
worker.wake()
while worker.runs < 2:
    time.sleep(0.01)
store.close()
print("closed", worker.is_running)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_the_childs_worker_is_not_running_and_the_parents_goes_on(tmp_path: Path) -> None:
    lines = ran(FORKED, f"sqlite:///{tmp_path}/agent.db")

    assert lines == ["child False ClosedError", "parent True", "closed False"]
