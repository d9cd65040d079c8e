"""The same calls on trpc-agent's own services and on ours: nothing may differ.

Modelled on the replay cases that trpc-agent-py publishes: what is made by a store (ids, times) does
not count, all else does.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trpc_agent_sdk.sessions", reason="needs trpc-agent-py: see .ci/adapters")

from trpc_agent_sdk.memory import InMemoryMemoryService
from trpc_agent_sdk.sessions import InMemorySessionService, SqlSessionService
from trpc_agent_sdk.types import Content, Part

from perdure.adapters.trpc import PerdureMemoryService, PerdureSessionService
from tests.adapters.trpc.making import config, manager, said

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.anyio]
KEY: dict[str, Any] = {"app_name": "shop", "user_id": "ada", "session_id": "s"}
Step = Any


def user(text: str, **fields: Any) -> Step:
    return "append", lambda: said(text, "user", **fields)


def agent(text: str, **fields: Any) -> Step:
    return "append", lambda: said(text, "agent", **fields)


def part(made: Any) -> Step:
    return "append", lambda: said(author="agent", content=Content(role="model", parts=[made]))


SUMMARY, STORE, REMEMBER = ("summary", None), ("store", None), ("search", "北京")
CALL = Part.from_function_call(name="weather", args={"city": "北京"})
ANSWER = Part.from_function_response(name="weather", response={"temp": 26, "sky": "晴"})
CASES: dict[str, list[Step]] = {
    "one turn": [user("你好"), agent("你好,有什么可以帮你?")],
    "many turns": [user("查天气"), agent("哪个城市"), user("北京"), agent("晴")],
    "a tool": [user("查北京天气"), part(CALL), part(ANSWER), agent("26")],
    "state that is set again": [
        agent("a", state_delta={"n": 1, "user:u": 1}),
        agent("b", state_delta={"n": 2, "app:x": [1]}),
        agent("c", state_delta={"n": 3, "flag": True, "none": None, "temp:t": 1}),
    ],
    "a memory": [user("我住在北京"), STORE, REMEMBER],
    "a memory that is stored again": [
        user("我住在北京"), STORE, user("上海很大"), STORE, REMEMBER
    ],
    "a summary": [user("旅行"), agent("去哪里"), user("日本"), SUMMARY],
    "a summary of a summary": [
        user("东京"), agent("好"), SUMMARY, user("大阪"), agent("也好"), SUMMARY
    ],
    "turns behind a summary": [user("一"), agent("二"), SUMMARY, user("三"), agent("四")],
    "a turn that is made again": [user("第一条"), user("失败的那条"), agent("成功")],
}  # fmt: skip


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Apart(InMemorySessionService):  # type: ignore[misc, unused-ignore]
    """Theirs, but that it keeps a copy of what it is given: else it appends twice afterwards."""

    async def update_session(self, session: Any) -> None:
        await super().update_session(session.model_copy(deep=True))


@pytest.fixture
async def services(url: str) -> AsyncIterator[tuple[Any, Any]]:
    service = PerdureSessionService(url, **options())
    yield service, PerdureMemoryService(service.store, enabled=True)
    await service.close()


def options() -> dict[str, Any]:
    kept = config(store_historical_events=True)
    return {"summarizer_manager": manager(keep_recent_count=2), "session_config": kept}


async def replayed(service: Any, memory: Any, steps: list[Step]) -> dict[str, Any]:
    session = await service.create_session(**KEY, state={"began": 1})
    remembered: list[Any] = []
    # Theirs takes a session for stale by the times of its events: these are of now.
    began = time.time()
    for number, (what, told) in enumerate(steps):
        if what == "append":
            event = told().model_copy(update={"timestamp": began + number})
            await service.append_event(session, event)
        elif what == "summary":
            await service.summarizer_manager.create_session_summary(session, force=True)
        elif what == "store":
            await memory.store_session(session)
        else:
            found = (await memory.search_memory("shop/ada", told)).memories
            remembered = [one.model_dump(exclude={"timestamp"}) for one in found]
    again = await service.get_session(**KEY)
    return {
        "events": [shape(event) for event in again.events],
        "history": [shape(event) for event in again.historical_events],
        "state": {name: value for name, value in again.state.items() if name[:5] != "temp:"},
        "summary": await service.get_session_summary(again),
        "count": again.conversation_count,
        "memories": remembered,
    }


def shape(event: Any) -> dict[str, Any]:
    told: dict[str, Any] = event.model_dump(mode="json", exclude={"id", "timestamp"})
    # Nothing and none of it: their SQL service does not tell the two apart.
    return told | {"long_running_tool_ids": told["long_running_tool_ids"] or None}


@pytest.mark.parametrize("steps", CASES.values(), ids=[*CASES])
@pytest.mark.parametrize("theirs", ["memory", "sql"])
async def test_nothing_differs(
    services: tuple[Any, Any], steps: list[Step], theirs: str, tmp_path: Path
) -> None:
    service = (
        Apart(**options())
        if theirs == "memory"
        else SqlSessionService(db_url=f"sqlite:///{tmp_path}/theirs.db", **options())
    )

    expected = await replayed(service, InMemoryMemoryService(enabled=True), steps)
    found = await replayed(*services, steps)

    assert found == expected
    await service.close()
