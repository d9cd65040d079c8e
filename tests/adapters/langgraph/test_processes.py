"""Several processes on one thread, some of them killed: nothing lost, nothing doubled."""

from __future__ import annotations

import os
from collections import Counter

import pytest

pytest.importorskip("langgraph.checkpoint.base", reason="needs langgraph: see .ci/adapters")

from perdure.adapters.langgraph import PerdureSaver
from tests.adapters.langgraph.making import config
from tests.adapters.writers import eight

pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 is of POSIX"),
]
PUTS = 30
_WRITER = """
import sys
from perdure.adapters.langgraph import PerdureSaver
from tests.adapters.langgraph.making import put

url, name, puts = sys.argv[1:]
with PerdureSaver.from_conn_string(url) as saver:
    print("ready", flush=True)
    sys.stdin.readline()
    parent, log = None, []
    for number in range(int(puts)):
        log = [*log, f"{name} {number}"]
        parent = put(saver, "t", {"log": log}, parent, id=f"{number:04} {name}")
        saver.put_writes(parent, [("log", log[-1])], "task")
        print(number, flush=True)
"""


def test_of_eight_processes_on_one_thread_four_are_killed_and_nothing_is_lost_or_doubled(
    shared_url: str,
) -> None:
    with PerdureSaver.from_conn_string(shared_url) as saver:
        saver.setup()
    told = {name: len(lines) for name, lines in eight(_WRITER, shared_url, PUTS).items()}

    assert [told[f"w{number}"] for number in (0, 2, 4, 6)] == [PUTS] * 4
    _check(shared_url, told)


def _check(url: str, told: dict[str, int]) -> None:
    with PerdureSaver.from_conn_string(url) as saver:
        found = list(saver.list(config("t")))
        assert max(Counter(one.checkpoint["id"] for one in found).values()) == 1
        for name, acknowledged in told.items():
            own = [one for one in found if one.checkpoint["id"].endswith(name)]
            # A killed one may have stored one more than it could tell.
            assert acknowledged <= len(own) <= acknowledged + 1
            for number, one in enumerate(reversed(own)):
                log = [f"{name} {place}" for place in range(number + 1)]
                assert one.checkpoint["channel_values"] == {"log": log}
                if number < acknowledged:
                    assert one.pending_writes == [("task", "log", log[-1])]
                parent = None if number == 0 else f"{number - 1:04} {name}"
                at = one.parent_config and one.parent_config["configurable"]["checkpoint_id"]
                assert at == parent
