"""Checkpoints: put, read by id and as the latest, listed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from perdure import (
    ALL,
    Checkpoint,
    CheckpointKey,
    InvalidError,
    NewTaskWrites,
    NewWrite,
    NotFoundError,
    Opaque,
    Store,
    TooLargeError,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, OpenStore, Reopen


async def ids(store: Store, lineage: Any = "graph", **options: Any) -> list[str]:
    return [found.key.id async for found in store.checkpoints.iter(lineage, **options)]


async def test_a_checkpoint_comes_back_as_it_was_put(store: Store, clock: FixedClock) -> None:
    clock.step *= 0
    key = await store.checkpoints.put(
        "graph",
        {"v": 4, "seen": {"a": {"b": 1}}},
        id="one",
        metadata={"source": "loop", "step": 3, "run_id": "r1"},
        versions={"messages": 7, "raw": "0001.5"},
        values={"messages": ["hello"], "raw": Opaque("msgpack", b"\x00\xff")},
    )

    assert key == CheckpointKey("graph", "", "one")
    assert await store.checkpoints.get("graph", "one") == Checkpoint(
        key=key,
        number=1,
        payload={"v": 4, "seen": {"a": {"b": 1}}},
        metadata={"source": "loop", "step": 3, "run_id": "r1"},
        parent=None,
        versions={"messages": 7, "raw": "0001.5"},
        values={"messages": ["hello"], "raw": Opaque("msgpack", b"\x00\xff")},
        created_at=clock.now,
    )


@pytest.mark.parametrize(
    "value",
    [
        None, True, 1, -0.0, 1e308, 2**70, "", "\0", "a\nb", "\U0001f600", [], {}, [[], {}],
        {"b": 1, "a": [None, {"": 0}]}, Opaque("c", b""), Opaque("c", b"\n\0{}"),
        Opaque("pickle", bytes(range(256))),
    ],
)  # fmt: skip
async def test_any_value_comes_back_equal(store: Store, value: Any) -> None:
    await store.checkpoints.put("graph", value, id="c", values={"v": value})
    await store.checkpoints.put_writes("graph", "c", "t", [("v", value)])

    found = await store.checkpoints.get_tuple("graph")

    assert repr(found.checkpoint.payload) == repr(value)
    assert repr(found.checkpoint.values["v"]) == repr(value)
    assert repr(found.writes[0].value) == repr(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {1: 2}, b"x", {1, 2}])
async def test_what_is_not_json_is_refused_before_anything_is_stored(
    store: Store, dump: Dump, value: Any
) -> None:
    before = await dump()
    calls: list[Any] = [
        lambda: store.checkpoints.put("graph", value),
        lambda: store.checkpoints.put("graph", values={"v": value}),
        lambda: store.checkpoints.put("graph", metadata={"v": value}),
        lambda: store.checkpoints.put_writes("graph", "c", "t", [("v", value)]),
        lambda: store.checkpoints.put_full("graph", task="t", writes=[("v", value)]),
    ]
    for call in calls:
        with pytest.raises(InvalidError):
            await call()

    assert await dump() == before


async def test_the_latest_is_the_last_put_whatever_its_id(store: Store, clock: FixedClock) -> None:
    names = [str(UUID(int=number * 7919 % 2**128, version=4)) for number in (9, 1, 5, 3)]
    for name in names:
        clock.step *= -1
        await store.checkpoints.put("graph", name, id=name)

    latest = await store.checkpoints.latest("graph")
    greatest = await store.checkpoints.latest("graph", order="id")

    assert latest is not None
    assert latest.id == latest.payload == names[-1]
    assert greatest is not None
    assert greatest.id == max(names)
    assert await ids(store) == names[::-1]
    assert await ids(store, order="id") == sorted(names, reverse=True)


async def test_absent_metadata_is_an_update_at_step_0(store: Store) -> None:
    await store.checkpoints.put("graph", id="a")
    await store.checkpoints.put("graph", id="b", metadata={})

    assert (await store.checkpoints.get("graph", "a")).metadata == {"source": "update", "step": 0}
    assert (await store.checkpoints.get("graph", "b")).metadata == {}


async def test_a_missing_checkpoint_is_none_or_an_error(store: Store) -> None:
    assert await store.checkpoints.latest("graph") is None
    assert await store.checkpoints.find("graph", "x") is None
    assert await store.checkpoints.find_tuple("graph") is None
    with pytest.raises(NotFoundError, match="'graph'"):
        await store.checkpoints.get("graph")
    with pytest.raises(NotFoundError, match="'x'"):
        await store.checkpoints.get_tuple("graph", "x")
    assert await ids(store) == []


async def test_namespaces_and_lineages_are_apart(store: Store, open_store: OpenStore) -> None:
    other = await open_store(tenant="acme")
    await store.checkpoints.put("graph", "outer", id="c")
    await store.checkpoints.put("graph", "inner", id="c", namespace="node:1|x")
    await store.checkpoints.put("other", "another", id="c")
    await other.checkpoints.put("graph", "theirs", id="c")

    assert (await store.checkpoints.get("graph", "c")).payload == "outer"
    inner = await store.checkpoints.get("graph", "c", namespace="node:1|x")
    assert (inner.payload, inner.key.namespace) == ("inner", "node:1|x")
    assert (await other.checkpoints.get("graph", "c")).payload == "theirs"
    assert await store.checkpoints.find("graph", namespace="node") is None
    everything = [f.key async for f in store.checkpoints.iter("graph", namespace=ALL)]
    assert [key.namespace for key in everything] == ["", "node:1|x"]
    both = [f.key async for f in store.checkpoints.iter(ALL, namespace=ALL)]
    assert [key.lineage for key in both] == ["graph", "graph", "other"]
    outer = [f.key.lineage async for f in store.checkpoints.iter(ALL)]
    assert outer == ["graph", "other"]
    by_id = [f.key async for f in store.checkpoints.iter(ALL, namespace=ALL, order="id")]
    assert sorted(by_id) == by_id
    assert len(by_id) == 3


async def test_unchanged_channels_are_found_by_their_version(store: Store) -> None:
    await store.checkpoints.put("graph", id="a", versions={"m": 1, "x": 1}, values={"m": 1, "x": 2})
    await store.checkpoints.put(
        "graph", id="b", parent="a", versions={"m": 2, "x": 1}, values={"m": 5}
    )
    await store.checkpoints.put("graph", id="c", parent="b", versions={"m": 1})

    assert (await store.checkpoints.get("graph", "b")).values == {"m": 5, "x": 2}
    last = await store.checkpoints.get("graph", "c")
    assert (last.values, last.versions) == ({"m": 1}, {"m": 1})


async def test_a_version_without_a_value_is_empty_now(store: Store) -> None:
    await store.checkpoints.put("graph", id="a", versions={"m": 1}, values={"m": 1})
    await store.checkpoints.put("graph", id="b", parent="a", versions={"m": 2})
    await store.checkpoints.put("graph", id="c", parent="b", versions={"m": 2}, values={"m": 9})

    for name in "bc":
        found = await store.checkpoints.get("graph", name)
        assert (found.versions, found.values) == ({"m": 2}, {})


async def test_the_first_value_of_a_version_stays_along_a_line(store: Store) -> None:
    await store.checkpoints.put("graph", id="a", versions={"m": 1}, values={"m": "first"})
    await store.checkpoints.put("graph", id="b", parent="a", versions={"m": 1}, values={"m": "2nd"})
    await store.checkpoints.put("graph", id="c", versions={"m": 1}, values={"m": "3rd"})

    for name in "abc":
        assert (await store.checkpoints.get("graph", name)).values == {"m": "first"}


async def test_forks_with_the_same_version_keep_what_each_of_them_put(store: Store) -> None:
    await store.checkpoints.put("graph", id="a", versions={"m": 1}, values={"m": ["x"] * 50})
    for fork in ("left", "right"):
        await store.checkpoints.put(
            "graph", id=fork, parent="a", versions={"m": 2}, values={"m": ["x"] * 50 + [fork]}
        )
        await store.checkpoints.put(
            "graph", id=f"{fork}er", parent=fork, versions={"m": 2, "n": 1}, values={"n": fork}
        )

    for fork in ("left", "right"):
        for name in (fork, f"{fork}er"):
            found = await store.checkpoints.get("graph", name)
            assert found.values["m"] == ["x"] * 50 + [fork]


async def test_a_version_as_text_is_not_the_number(store: Store) -> None:
    await store.checkpoints.put("graph", id="a", versions={"m": 1}, values={"m": 1})
    await store.checkpoints.put("graph", id="b", parent="a", versions={"m": "1"})

    assert (await store.checkpoints.get("graph", "b")).values == {}


async def test_values_without_versions_have_those_of_their_content(store: Store) -> None:
    await store.checkpoints.put("graph", id="a", values={"m": [1], "n": "x"})
    await store.checkpoints.put("graph", id="b", parent="a", values={"m": [1], "n": "y"})

    first = await store.checkpoints.get("graph", "a")
    second = await store.checkpoints.get("graph", "b")
    assert second.values == {"m": [1], "n": "y"}
    assert first.versions["m"] == second.versions["m"]
    assert first.versions["n"] != second.versions["n"]


async def test_a_read_loads_only_the_channels_that_are_asked_for(store: Store) -> None:
    await store.checkpoints.put("graph", values={"a": 1, "b": 2, "c": 2})

    some = await store.checkpoints.get("graph", channels=["b", "unknown"])
    none = await store.checkpoints.get("graph", channels=[])

    assert (some.values, none.values) == ({"b": 2}, {})
    assert set(none.versions) == {"a", "b", "c"}


async def test_a_put_with_the_same_id_replaces_and_the_same_again_changes_nothing(
    store: Store, dump: Dump
) -> None:
    first: dict[str, Any] = {"id": "a", "versions": {"m": 1}, "values": {"m": 1}}
    await store.checkpoints.put("graph", {"n": 1}, **first)
    await store.checkpoints.put("graph", {"n": 2}, id="b", parent="a")
    before = await dump()
    await store.checkpoints.put("graph", {"n": 1}, **first)
    after = await dump()
    for table in ("checkpoints", "checkpoint_values", "checkpoint_writes"):
        assert after[table] == before[table]
    assert await ids(store) == ["b", "a"]

    await store.checkpoints.put("graph", {"n": 3}, id="a", metadata={"x": 1})

    found = await store.checkpoints.get("graph")
    assert (found.id, found.payload, found.metadata, found.values) == ("a", {"n": 3}, {"x": 1}, {})
    assert await ids(store) == ["a", "b"]


async def test_writes_come_by_path_task_and_index(store: Store) -> None:
    put_writes = store.checkpoints.put_writes
    await put_writes("graph", "c", "b", [("x", 1), ("y", 2)], task_path="~2")
    await put_writes("graph", "c", "a", [NewWrite("err", 3, -1), ("z", 4)], task_path="~2")
    await put_writes("graph", "c", "z", [("x", 0)], task_path="~10")
    await put_writes("graph", "c", "q", [("x", "first")])
    await put_writes("graph", "other", "q", [("x", "elsewhere")])
    await store.checkpoints.put("graph", id="c")

    found = await store.checkpoints.get_tuple("graph", "c")

    assert [(w.task_path, w.task, w.index, w.value) for w in found.writes] == [
        ("", "q", 0, "first"), ("~10", "z", 0, 0), ("~2", "a", -1, 3), ("~2", "a", 1, 4),
        ("~2", "b", 0, 1), ("~2", "b", 1, 2),
    ]  # fmt: skip


async def test_of_a_regular_write_the_first_stays_and_of_a_special_one_the_last(
    store: Store,
) -> None:
    put_writes = store.checkpoints.put_writes
    await put_writes("graph", "c", "t", [NewWrite("resume", 1, -4), NewWrite("m", 1, 0)])
    await put_writes("graph", "c", "t", [NewWrite("resume", 2, -4), NewWrite("m", 2, 0)])
    await store.checkpoints.put("graph", id="c")
    kept = (await store.checkpoints.get_tuple("graph", "c")).writes

    await put_writes("graph", "c", "t", [NewWrite("n", 3, 0)], on_duplicate="replace")

    assert [write.value for write in kept] == [2, 1]
    replaced = (await store.checkpoints.get_tuple("graph", "c")).writes
    assert [(write.channel, write.value) for write in replaced] == [("resume", 2), ("n", 3)]


async def test_a_full_put_has_checkpoint_and_writes_or_neither(store: Store, dump: Dump) -> None:
    before = await dump()
    with pytest.raises(InvalidError):
        await store.checkpoints.put_full("graph", task="t", writes=[("a", 1), ("b", {1})])
    assert await dump() == before

    key = await store.checkpoints.put_full("graph", 1, task="t", writes=[("a", 1), ("b", 2)])
    found = await store.checkpoints.get_tuple("graph")

    assert found.key == key
    assert [write.channel for write in found.writes] == ["a", "b"]


async def test_a_parent_may_be_in_another_namespace_or_nowhere(store: Store) -> None:
    outer = await store.checkpoints.put("graph", id="a", values={"m": 1})
    await store.checkpoints.put("graph", id="b", namespace="sub", parent=outer, values={"m": 1})
    await store.checkpoints.put("graph", id="c", parent="unknown", versions={"m": 5})

    inner = await store.checkpoints.get("graph", "b", namespace="sub")
    assert (inner.parent, inner.values) == (outer, {"m": 1})
    assert (await store.checkpoints.get("graph", "c")).parent == ("graph", "", "unknown")
    with pytest.raises(InvalidError, match="another lineage"):
        await store.checkpoints.put("graph", parent=CheckpointKey("other", "", "a"))


async def test_a_list_goes_on_where_its_cursor_stands(store: Store) -> None:
    for number in range(7):
        await store.checkpoints.put("graph", number, id=f"{number * 3 % 7}", values={"m": number})

    orders: list[Any] = ["put", "id"]
    for order in orders:
        found: list[Any] = []
        cursor = None
        while True:
            page = await store.checkpoints.list("graph", order=order, limit=3, cursor=cursor)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        assert [one.key.id for one in found] == await ids(store, order=order)
        assert all(one.checkpoint.values["m"] == one.checkpoint.payload for one in found)
    page = await store.checkpoints.list("graph", limit=3)
    with pytest.raises(InvalidError, match="cursor"):
        await store.checkpoints.list("graph", order="id", cursor=page.next_cursor)


async def test_before_is_what_stands_behind_a_checkpoint(store: Store) -> None:
    for name in "cab":
        await store.checkpoints.put("graph", id=name)

    assert await ids(store, before="b") == ["a", "c"]
    assert await ids(store, before="c") == []
    assert await ids(store, before="c", order="id") == ["b", "a"]
    assert await ids(store, ALL, namespace=ALL, before="b", order="id") == ["a"]
    with pytest.raises(NotFoundError, match="'x'"):
        await store.checkpoints.list("graph", before="x")


async def test_filters_come_before_the_limit_and_take_keys_as_they_are(store: Store) -> None:
    metadata: list[dict[str, Any]] = [
        {"a": {"b": 1, "c": 2}, "l": [1, 2, 3]}, {"t": True, "n": None}, {"a.b": 5, "sp 'ace": 1},
        {"t": 1}, {"source": "loop"}, {"source": "loop"},
    ]  # fmt: skip
    for number, one in enumerate(metadata):
        await store.checkpoints.put("graph", id=str(number), metadata=one)

    async def matching(**wanted: Any) -> list[str]:
        return await ids(store, filter=wanted)

    assert await matching(a={"c": 2, "b": 1}) == ["0"]
    assert await matching(a={"b": 1}) == await matching(l=[2]) == await matching(zzz=None) == []
    assert await matching(n=None) == await matching(t=True) == ["1"]
    assert await matching(t=1.0) == ["3"]
    assert await ids(store, filter={"a.b": 5}) == await ids(store, filter={"sp 'ace": 1}) == ["2"]
    page = await store.checkpoints.list("graph", filter={"source": "loop"}, limit=1)
    assert [one.key.id for one in page] == ["5"]
    page = await store.checkpoints.list(
        "graph", filter={"source": "loop"}, limit=1, cursor=page.next_cursor
    )
    assert ([one.key.id for one in page], page.next_cursor) == (["4"], None)


async def test_a_list_can_be_read_while_others_put(store: Store) -> None:
    for number in range(5):
        await store.checkpoints.put("graph", number, id=str(number))

    seen = []
    async for found in store.checkpoints.iter("graph"):
        seen.append(found.key.id)
        await store.checkpoints.put("graph", id=f"new {found.key.id}", parent=found.key)
        assert await store.checkpoints.get_tuple("graph", found.key.id) == found

    assert seen == ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        (("",), {}), ((" ",), {}), ((7,), {}), (("a\0",), {}), (("g",), {"id": ""}),
        (("g",), {"id": 5}), (("g",), {"namespace": None}), (("g",), {"parent": 5}),
        (("g",), {"metadata": []}), (("g",), {"versions": {"a": 1.5}}),
        (("g",), {"versions": {"a": True}}), (("g",), {"versions": {"a": None}}),
        (("g",), {"values": {5: 1}}), (("g",), {"owner": "ada"}), (("g",), {"owner": ("a", 5)}),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(
    store: Store, dump: Dump, arguments: Any, fields: Any
) -> None:
    before = await dump()
    with pytest.raises(InvalidError):
        await store.checkpoints.put(*arguments, **fields)
    assert await dump() == before


async def test_names_have_limits_in_bytes(store: Store) -> None:
    longest = "é" * 256
    await store.checkpoints.put(longest, 1, id=longest, namespace="é" * 512)
    await store.checkpoints.put_writes(
        longest, longest, longest, [(longest, 1)], namespace="é" * 512
    )
    found = await store.checkpoints.get_tuple(longest, longest, namespace="é" * 512)
    assert (found.checkpoint.payload, found.writes[0].channel) == (1, longest)

    wrong: list[Any] = [{"id": longest + "a"}, {"namespace": "é" * 512 + "a"}]
    for fields in wrong:
        with pytest.raises(TooLargeError):
            await store.checkpoints.put("graph", **fields)
    with pytest.raises(TooLargeError):
        await store.checkpoints.put(longest + "a")


async def test_everything_survives_a_restart(store: Store, reopen: Reopen) -> None:
    for number in range(120):
        await store.checkpoints.put(
            "graph",
            {"step": number},
            id=str(number),
            parent=str(number - 1) if number else None,
            versions={"m": number, "same": 0},
            values={
                "m": [f"message {n}" for n in range(number)],
                **({} if number else {"same": 1}),
            },
        )
    if "memory" not in store.display_url:
        store = await reopen()

    found = [one.checkpoint async for one in store.checkpoints.iter("graph")]
    assert [one.payload["step"] for one in found] == list(range(119, -1, -1))
    for one in found:
        assert one.values["m"] == [f"message {n}" for n in range(one.payload["step"])]
        assert one.values["same"] == 1
    await store.checkpoints.put(
        "graph", id="next", parent="119", versions={"m": 119, "same": 0, "n": 0}, values={"n": 2}
    )
    assert (await store.checkpoints.get("graph")).values == {**found[0].values, "n": 2}


async def test_on_write_sees_checkpoints_and_writes_before_they_are_stored(
    open_store: OpenStore, dump: Dump
) -> None:
    def masked(record: Any) -> Any:
        if isinstance(record, NewTaskWrites):
            return replace(record, writes=[replace(one, value="***") for one in record.writes])
        values = dict.fromkeys(record.values, "***")
        return replace(record, payload="***", values=values, metadata={"m": "***"})

    store = await open_store(on_write=masked)
    await store.checkpoints.put("graph", "secret", id="a", values={"v": "secret"})
    await store.checkpoints.put_full(
        "graph", ["secret"], id="b", metadata={"m": "secret"}, task="t", writes=[("v", "secret")]
    )

    for found in await store.checkpoints.list("graph"):
        assert found.checkpoint.payload == found.metadata["m"] == "***"
        assert {*found.checkpoint.values.values()} <= {"***"}
        assert {write.value for write in found.writes} <= {"***"}
    assert "secret" not in repr(await dump())
