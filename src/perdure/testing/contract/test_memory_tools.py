"""The tools that a model is given for the memories of one user."""

from __future__ import annotations

import json
from inspect import isawaitable
from typing import Any

import pytest

from perdure import MemoryTools, Store
from perdure.operation import Async

ADA = ("support", "ada")


@pytest.fixture
def tools(store: Store) -> MemoryTools[Async]:
    return store.memory.tools(*ADA, agent="bot")


async def test_both_providers_get_the_same_definitions(tools: MemoryTools[Async]) -> None:
    ours = {tool["function"]["name"]: tool["function"] for tool in tools.openai}

    assert {tool["type"] for tool in tools.openai} == {"function"}
    assert [tool["name"] for tool in tools.anthropic] == list(ours) == list(tools.handlers)
    for tool in tools.anthropic:
        assert tool["input_schema"] == ours[tool["name"]]["parameters"]
        assert tool["description"] == ours[tool["name"]]["description"]
        schema = tool["input_schema"]
        assert (schema["type"], schema["additionalProperties"]) == ("object", False)
        assert set(schema["required"]) <= set(schema["properties"])
        assert {"app", "user", "agent", "tenant"}.isdisjoint(schema["properties"])
    assert json.loads(json.dumps(tools.openai)) == tools.openai


async def test_a_model_adds_lists_corrects_and_deletes(
    store: Store, tools: MemoryTools[Async]
) -> None:
    added = await tools.call("memory_add", {"content": "Likes tea.", "topics": ["food"]})
    tea = added["memory"]["id"]
    await tools.call("memory_add", '{"content": "Lives in Bonn."}')
    changed = await tools.call("memory_update", {"id": tea, "content": "Likes green tea."})
    listed = await tools.call("memory_list", {"topics": ["food"]})
    latest = await tools.call("memory_list", {"limit": 1})

    stored = await store.memory.get(*ADA, tea)
    assert (stored.content, stored.topics, stored.agent) == ("Likes green tea.", ("food",), "bot")
    assert listed["memories"] == [changed["memory"]]
    assert len(latest["memories"]) == 1
    assert changed["memory"] == {
        "id": tea, "content": "Likes green tea.", "topics": ["food"],
        "updated_at": stored.updated_at.isoformat(),
    }  # fmt: skip
    assert await tools.call("memory_delete", {"id": tea}) == {"deleted": True}
    assert await tools.call("memory_delete", {"id": tea}) == {"deleted": False}
    assert await store.memory.find(*ADA, tea) is None


async def test_a_handler_is_the_call_of_its_tool(store: Store, tools: MemoryTools[Async]) -> None:
    added = tools.handlers["memory_add"]({"content": "Likes tea."})
    added = await added if isawaitable(added) else added

    assert await store.memory.find(*ADA, added["memory"]["id"]) is not None


async def test_a_model_reaches_nobody_elses_memories(
    store: Store, tools: MemoryTools[Async]
) -> None:
    hers = await store.memory.add("support", "eve", "Hers.")

    assert "error" in await tools.call("memory_update", {"id": hers.id, "content": "Mine."})
    assert await tools.call("memory_delete", {"id": hers.id}) == {"deleted": False}
    assert await tools.call("memory_list", {}) == {"memories": []}
    refused = await tools.call("memory_add", {"content": "x", "user": "eve", "app": "support"})
    assert "user" in refused["error"]
    assert await store.memory.get("support", "eve", hers.id) == hers
    assert await store.memory.count(*ADA) == 0


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("memory_forget", {}),
        ("memory_add", {}),
        ("memory_add", "not json"),
        ("memory_add", "[1]"),
        ("memory_add", {"content": 7}),
        ("memory_add", {"content": ""}),
        ("memory_add", {"content": "x", "topics": "food"}),
        ("memory_add", {"content": "x", "topics": [1]}),
        ("memory_list", {"limit": 0}),
        ("memory_list", {"limit": 51}),
        ("memory_list", {"limit": True}),
        ("memory_list", {"limit": "3"}),
        ("memory_update", {"id": "mem_no", "content": "x"}),
        ("memory_delete", {"id": None}),
    ],
)
async def test_what_a_model_does_wrong_is_told_to_it(
    tools: MemoryTools[Async], name: str, arguments: Any
) -> None:
    answer = await tools.call(name, arguments)

    assert list(answer) == ["error"]
    assert answer["error"]
