"""What trpc-agent-py expects of a memory service, on every engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

pytest.importorskip("trpc_agent_sdk.sessions", reason="needs trpc-agent-py: see .ci/adapters")

from trpc_agent_sdk.abc import MemoryServiceABC, MemoryServiceConfig
from trpc_agent_sdk.sessions import Session
from trpc_agent_sdk.types import Content, Part, Ttl

from perdure.adapters.trpc import PerdureMemoryService
from tests.adapters.trpc.making import said

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def memory(url: str) -> AsyncIterator[PerdureMemoryService]:
    made = PerdureMemoryService(url, enabled=True)
    yield made
    await made.close()


def session(*events: Any, id: str = "s", user: str = "ada") -> Session:
    names = {"app_name": "shop", "user_id": user, "save_key": f"shop/{user}"}
    return Session(id=id, events=list(events), **names)


async def answers(memory: Any, query: str, key: str = "shop/ada", **options: Any) -> list[str]:
    found = await memory.search_memory(key, query, **options)
    return [one.content.parts[0].text for one in found.memories]


async def test_it_is_a_memory_service(memory: PerdureMemoryService) -> None:
    assert isinstance(memory, MemoryServiceABC)
    assert memory.enabled
    assert not PerdureMemoryService(memory.store).enabled


async def test_what_was_said_is_found_by_its_words(memory: PerdureMemoryService) -> None:
    event = said("I like green tea.", timestamp=1_700_000_000.0)
    await memory.store_session(session(event, said("It rains.", "agent")))

    found = (await memory.search_memory("shop/ada", "green things")).memories

    assert [one.content for one in found] == [event.content]
    assert (found[0].author, found[0].timestamp) == ("user", "2023-11-14T22:13:20+00:00")


async def test_nothing_is_found_where_nothing_is(memory: PerdureMemoryService) -> None:
    await memory.store_session(session(said("tea")))

    assert await answers(memory, "coffee") == []
    assert await answers(memory, "") == []
    assert await answers(memory, "tea", key="shop/bob") == []
    assert await answers(memory, "tea", key="other/ada") == []


async def test_a_limit_of_zero_is_none(memory: PerdureMemoryService) -> None:
    await memory.store_session(session(*(said(f"tea {number}") for number in range(15))))

    assert len(await answers(memory, "tea")) == 10
    assert len(await answers(memory, "tea", limit=3)) == 3
    assert len(await answers(memory, "tea", limit=0)) == 15


async def test_what_is_no_session_is_a_type_error(memory: PerdureMemoryService) -> None:
    with pytest.raises(TypeError, match="Session"):
        await memory.store_session({"events": []})


async def test_a_session_that_is_stored_again_is_remembered_once(
    memory: PerdureMemoryService,
) -> None:
    first = said("tea")
    await memory.store_session(session(first))
    await memory.store_session(session(first, said("more tea")))

    assert sorted(await answers(memory, "tea")) == ["more tea", "tea"]


async def test_the_same_words_of_two_sessions_are_two_memories(
    memory: PerdureMemoryService,
) -> None:
    await memory.store_session(session(said("tea", id="e")))
    await memory.store_session(session(said("tea", id="e"), id="t"))

    assert await answers(memory, "tea") == ["tea", "tea"]


async def test_what_says_nothing_is_not_remembered(memory: PerdureMemoryService) -> None:
    call = Part.from_function_call(name="tea", args={})
    empty = Content(role="user", parts=[])
    await memory.store_session(
        session(said(), said(content=empty), said(content=Content(role="model", parts=[call])))
    )

    assert await answers(memory, "tea", limit=0) == []


async def test_all_parts_of_a_content_come_back(memory: PerdureMemoryService) -> None:
    picture = Part.from_bytes(data=b"\x89PNG", mime_type="image/png")
    content = Content(role="user", parts=[Part.from_text(text="my dog"), picture])
    await memory.store_session(session(said(content=content)))

    found = (await memory.search_memory("shop/ada", "dogs")).memories

    assert [one.content for one in found] == [content]


async def test_chinese_needs_no_spaces(memory: PerdureMemoryService) -> None:
    await memory.store_session(session(said("我喜欢安静的工作环境"), said("我住在北京")))

    assert await answers(memory, "安静") == ["我喜欢安静的工作环境"]
    assert await answers(memory, "京") == ["我住在北京"]


async def test_memories_outlive_the_window_of_their_session(memory: PerdureMemoryService) -> None:
    await memory.store_session(session(said("tea")))
    await memory.store_session(session(said("a summary", "system")))

    assert await answers(memory, "tea") == ["tea"]


async def test_with_a_ttl_memories_expire(memory: PerdureMemoryService) -> None:
    config = MemoryServiceConfig(enabled=True, ttl=Ttl(ttl_seconds=3600))
    lasting = PerdureMemoryService(memory.store, memory_service_config=config)

    await lasting.store_session(session(said("tea")))

    [kept] = [one async for one in memory.store.memory.iter("shop", "ada")]
    assert kept.expires_at is not None
    assert (kept.expires_at - kept.created_at).total_seconds() == pytest.approx(3600, abs=60)


async def test_memories_go_with_the_person(memory: PerdureMemoryService) -> None:
    await memory.store_session(session(said("tea")))

    await memory.store.erase_user("shop", "ada")

    assert await answers(memory, "tea") == []
