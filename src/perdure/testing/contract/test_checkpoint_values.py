"""Values of checkpoints that are read again and again: each reader has its own."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import Checkpoint, Opaque, Store

#: The values of one channel, one after the other: lists that grow, and what only looks like it.
STEPS: list[Any] = [
    [],
    ["a"],
    ["a", {"role": "user", "parts": ["hello"]}],
    ["a", {"role": "user", "parts": ["hello"]}, "]", "x,y]"],
    ["a", {"role": "user", "parts": ["hello", "again"]}, "]"],
    ["a", {"role": "user", "parts": ["hello", "again"]}, "]", []],
    ["a", {"role": "user", "parts": ["hello", "again"]}, "]", [], [[]], None, 1, -0.0, "ä"],
    ["a"],
    "[a]",
    "[a,b]",
    {"list": ["a"]},
    {"list": ["a"], "more": ["b"]},
    Opaque("raw", b'["x]'),
    ["x,1", 2],
    ["x,1", 2, 3],
    Opaque("raw", b'["x,1",2,3,4]'),
    Opaque("raw", b'["x,1",2,3,4,5]'),
]


def parted(checkpoint: Checkpoint) -> None:
    """Change everything in it that can be changed."""
    metadata: Any = checkpoint.metadata
    metadata["nested"]["n"] = "changed"
    metadata["new"] = "changed"
    checkpoint.versions["messages"] = "changed"
    messages: Any = checkpoint.values["messages"]
    messages[0]["content"] = "changed"
    messages[0]["parts"].append("changed")
    messages.append("changed")
    settings: Any = checkpoint.values["settings"]
    settings["deep"]["list"].clear()
    checkpoint.values["new"] = "changed"
    payload: Any = checkpoint.payload
    payload["list"].append("changed")


async def test_what_a_reader_changes_no_other_reader_sees(store: Store) -> None:
    messages: list[Any] = [{"content": "one", "parts": ["a"]}]
    for number in range(4):
        await store.checkpoints.put(
            "graph",
            {"list": [number]},
            id=f"c{number}",
            metadata={"nested": {"n": number}},
            values={"messages": messages, "settings": {"deep": {"list": [1, 2]}}},
        )
        messages = [*messages, {"content": f"{number}", "parts": []}]

    # More than twice: what is looked at again is remembered.
    for _ in range(4):
        one = await store.checkpoints.get("graph")
        latest = await store.checkpoints.latest("graph")
        page = await store.checkpoints.list("graph")
        assert latest is not None
        for found in (one, latest, page.items[0].checkpoint):
            assert found.payload == {"list": [3]}
            assert found.metadata == {"nested": {"n": 3}}
            assert set(found.versions) == {"messages", "settings"}
            assert found.values == {
                "messages": messages[:-1], "settings": {"deep": {"list": [1, 2]}}
            }  # fmt: skip
            parted(found)
        for item in page.items[1:]:
            assert item.checkpoint.values["messages"] == messages[: item.checkpoint.number]
            parted(item.checkpoint)


@pytest.mark.parametrize("newest_first", [True, False])
async def test_values_that_change_in_any_way_are_read_as_they_were(
    store: Store, *, newest_first: bool
) -> None:
    for number, value in enumerate(STEPS):
        await store.checkpoints.put("graph", id=f"{number:02}", values={"v": value})

    for _ in range(2):
        page = await store.checkpoints.list("graph")
        found = page.items if newest_first else page.items[::-1]
        values = [repr(one.checkpoint.values["v"]) for one in found]
        expected = [repr(value) for value in (STEPS[::-1] if newest_first else STEPS)]

        assert values == expected
        for number, value in enumerate(STEPS):
            one = await store.checkpoints.get("graph", f"{number:02}")
            assert repr(one.values["v"]) == repr(value)


async def test_values_in_a_list_are_those_of_the_last_of_many_lists_too(store: Store) -> None:
    values = [[{"n": n, "text": "words " * 20} for n in range(most)] for most in range(120)]
    for most, value in enumerate(values):
        await store.checkpoints.put("graph", id=f"{most:03}", values={"v": value})

    found = [one.checkpoint async for one in store.checkpoints.iter("graph")]

    assert [one.values["v"] for one in found] == values[::-1]
    assert [(await store.checkpoints.get("graph", one.id)).values["v"] for one in found[::7]] == (
        values[::-1][::7]
    )
