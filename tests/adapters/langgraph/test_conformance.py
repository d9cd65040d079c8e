"""LangGraph's own suite for checkpointers: every capability, on every engine, in both colours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

_SUITE = "langgraph.checkpoint.conformance"
pytest.importorskip(_SUITE, reason="needs langgraph: see .ci/adapters")

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate

from perdure.adapters.langgraph import PerdureSaver

CAPABILITIES = {
    "put": 17,
    "put_writes": 10,
    "get_tuple": 10,
    "list": 16,
    "delete_thread": 5,
    "delete_for_runs": 7,
    "copy_thread": 8,
    "prune": 8,
}


class Called(BaseCheckpointSaver[Any]):
    """Makes the suite, which awaits, call the methods that do not: inside of its running loop."""

    def __init__(self, saver: PerdureSaver) -> None:
        super().__init__()
        self.saver = saver

    async def aget_tuple(self, config: Any) -> Any:
        return self.saver.get_tuple(config)

    async def alist(self, config: Any, **options: Any) -> Any:
        for one in self.saver.list(config, **options):
            yield one

    async def aput(self, *given: Any) -> Any:
        return self.saver.put(*given)

    async def aput_writes(
        self, config: Any, writes: Any, task_id: str, task_path: str = ""
    ) -> None:
        self.saver.put_writes(config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        self.saver.delete_thread(thread_id)

    async def adelete_for_runs(self, run_ids: Any) -> None:
        self.saver.delete_for_runs(run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self.saver.copy_thread(source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Any, *, strategy: str = "keep_latest") -> None:
        self.saver.prune(thread_ids, strategy=strategy)


def report_of(url: str, *, sync: bool) -> Any:
    async def factory() -> AsyncIterator[Any]:
        async with PerdureSaver.from_conn_string(url) as saver:
            yield Called(saver) if sync else saver

    return asyncio.run(validate(checkpointer_test(name="perdure")(factory)))


@pytest.mark.parametrize("sync", [False, True], ids=["awaited", "called"])
def test_every_capability_conforms(url: str, sync: bool) -> None:
    report = report_of(url, sync=sync)

    assert [one for result in report.results.values() for one in result.failures] == []
    assert report.passed_all()
    passed = {name: result.tests_passed for name, result in report.results.items()}
    # A later suite has more tests; one that has fewer, or finds a capability missing, is no proof.
    assert {name for name, least in CAPABILITIES.items() if passed[name] < least} == set()
