"""The thread that sweeps while a `PerdureStore` is used."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("langgraph.store.base", reason="needs langgraph: see .ci/adapters")

from perdure.adapters.langgraph.sweeper import Sweeper

pytestmark = pytest.mark.filterwarnings("default")
SOON = 0.0001


def test_one_that_is_begun_again_while_its_last_sweep_goes_on_sweeps_again() -> None:
    sweeping, may_end, again = threading.Event(), threading.Event(), threading.Event()

    def sweep() -> int:
        if may_end.is_set():
            again.set()
        sweeping.set()
        assert may_end.wait(20)
        return 0

    sweeper = Sweeper(sweep)
    first = sweeper.start(SOON)
    assert sweeping.wait(20)
    assert not sweeper.stop(0)

    second = sweeper.start(SOON)
    may_end.set()

    first.result(20)
    assert again.wait(20)
    assert not second.done()
    assert sweeper.stop(20)
    assert second.done()
