"""`on_write` sees memories and key-values too, before anything of them is stored or indexed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perdure import DELETE, NewKeyValue, NewMemory
from perdure.testing.contract.test_hooks import (
    SECRET,
    RefusedError,
    cleaned,
    noting,
    refusing,
)
from perdure.testing.databases import Dump, OpenStore


def redacting(record: Any) -> Any:
    if isinstance(record, NewKeyValue):
        return replace(record, value=cleaned(record.value))
    names = ("content", "topics", "author", "metadata")
    return replace(record, **{name: cleaned(getattr(record, name)) for name in names})


ADA = ("support", "ada")
MINE: dict[str, Any] = {"app": "support", "user": "ada"}


async def test_of_a_key_value_what_was_taken_out_is_in_no_table(
    open_store: OpenStore, dump: Dump
) -> None:
    store = await open_store(on_write=redacting)
    value = {"note": f"parcel {SECRET}"}

    kept = await store.kv.set("n", "a", value, **MINE, index=["note"])
    await store.kv.add("n", "b", value, **MINE, index=["note"])
    await store.kv.set_many("n", {"c": value, "d": value}, **MINE, index=["note"])
    async with store.turn() as turn:
        turn.kv.set("n", "e", value, **MINE, index=["note"])
        turn.kv.set_many("n", {"f": value}, **MINE)

    assert kept.value == {"note": "parcel [key]"}
    assert (await store.kv.get("n", "f", **MINE)).value == kept.value
    assert SECRET not in str(await dump())
    assert SECRET[3:] not in str((await dump())["search_blocks"])
    hits = await store.kv.search("parcel", **MINE)
    assert {hit.item.key for hit in hits} == set("abcde")


async def test_of_a_memory_what_was_taken_out_is_in_no_table(
    open_store: OpenStore, dump: Dump
) -> None:
    store = await open_store(on_write=redacting)

    added = await store.memory.add(
        *ADA, f"knows {SECRET}", [SECRET], author=SECRET, metadata={"a": SECRET}
    )
    await store.memory.ingest(*ADA, [f"said {SECRET}", {"content": f"told {SECRET}"}])
    await store.memory.replace_session(*ADA, "chat", [NewMemory(f"meant {SECRET}")])
    changed = await store.memory.update(
        *ADA, added.id, content=f"uses {SECRET}", topics=[SECRET], metadata={"b": SECRET}
    )
    async with store.turn() as turn:
        turn.memory.add(*ADA, f"keeps {SECRET}")

    assert (added.content, added.topics, added.metadata) == ("knows [key]", ("[key]",), {
        "a": "[key]"
    })  # fmt: skip
    assert changed.content == "uses [key]"
    assert changed.metadata == {"a": "[key]", "b": "[key]"}
    assert SECRET not in str(await dump())
    assert SECRET[3:] not in str((await dump())["search_blocks"])


async def test_of_a_change_the_hook_sees_what_is_given_and_changes_nothing_else(
    open_store: OpenStore,
) -> None:
    seen: list[Any] = []
    store = await open_store(on_write=noting(seen))
    added = await store.memory.add(*ADA, "likes tea", ["drinks"], metadata={"a": 1, "b": 2})

    changed = await store.memory.update(*ADA, added.id, metadata={"a": DELETE, "b": 3})

    assert seen[0] == NewMemory("likes tea", ["drinks"], metadata={"a": 1, "b": 2})
    assert seen[1:] == [NewMemory("", metadata={"b": 3})]
    assert (changed.content, changed.topics) == ("likes tea", ("drinks",))
    assert changed.metadata == {"b": 3}


async def test_a_key_value_is_shown_with_its_namespace_and_key(open_store: OpenStore) -> None:
    seen: list[Any] = []
    store = await open_store(on_write=noting(seen))

    await store.kv.set(("docs", "de"), "a", b"bytes")
    await store.kv.set_many("n", {"x": 1, "y": None})

    assert seen == [
        NewKeyValue(("docs", "de"), "a", b"bytes"),
        NewKeyValue("n", "x", 1),
        NewKeyValue("n", "y", None),
    ]


async def test_what_the_hook_refuses_is_not_kept(open_store: OpenStore, dump: Dump) -> None:
    store = await open_store(on_write=refusing)

    with pytest.raises(RefusedError):
        await store.kv.set_many("n", {"a": 1, "b": SECRET}, **MINE)
    with pytest.raises(RefusedError):
        await store.memory.ingest(*ADA, ["fine", SECRET])
    with pytest.raises(RefusedError):  # noqa: PT012 - nothing of the turn is stored
        async with store.turn() as turn:
            turn.kv.set("n", "c", 1, **MINE)
            turn.memory.add(*ADA, SECRET)

    tables = await dump()
    assert tables["keyvalues"] == tables["memories"] == []
