"""Lists of key-values: prefixes, orders, pages, namespaces, filters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from typing import Any

import pytest

from perdure import InvalidError, KeyValue, Namespace, Opaque, Store, TooLargeError
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import OpenStore

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ADA: dict[str, Any] = {"app": "support", "user": "ada"}
#: In the order of a list: a text before what is below the tuple of it.
SORTED: list[Namespace] = [
    ("", "a"), ("\x01",), ("\x01", "a"), ("\x1f",), (" ",), ("!",), ('"',), ("#",), ("%",),
    ("A",), ("_",), "a", ("a",), ("a", ""), ("a", " "), ("a", "!"), ("a", "b"), ("a", "b", "c"),
    ("a", "bb"), ("a",) * 5, ("a b",), ("a!",), ("a!b",), ("a.b",), "a.b.c", ("ab",),
    ("a\U0010ffff",), ("é",), ("\uffff",), ("\U0001f600",), ("\U0010ffff",),
]  # fmt: skip


def parts(namespace: Namespace) -> tuple[str, ...]:
    return (namespace,) if isinstance(namespace, str) else namespace


async def fill(store: Store, namespaces: Any = SORTED) -> None:
    for namespace in reversed(namespaces):
        await store.kv.set(namespace, "k", "/".join(parts(namespace)))


async def places(store: Store, *args: Any, **options: Any) -> list[tuple[Any, str]]:
    return [(one.namespace, one.key) async for one in store.kv.iter(*args, **options)]


async def paged(store: Store, limit: int, **options: Any) -> list[tuple[Any, str]]:
    found: list[tuple[Any, str]] = []
    cursor = None
    while True:
        page = await store.kv.list(cursor=cursor, limit=limit, **options)
        assert len(page) <= limit
        found += [(one.namespace, one.key) for one in page]
        cursor = page.next_cursor
        if cursor is None:
            return found
        assert len(page) == limit


# -- prefixes --------------------------------------------------------------------------------


async def test_namespaces_are_sorted_part_by_part_and_bytewise(store: Store) -> None:
    await fill(store)
    expected = sorted(SORTED, key=lambda one: ([p.encode() for p in parts(one)], one != parts(one)))
    listed = [namespace for namespace, _ in await places(store)]

    assert sorted(map(repr, listed)) == sorted(map(repr, SORTED))
    tuples = [one for one in listed if isinstance(one, tuple)]
    assert tuples == [one for one in expected if isinstance(one, tuple)]
    assert (await store.kv.namespaces(limit=100)).items == listed


async def test_a_prefix_ends_at_the_boundary_of_a_part_and_is_no_pattern(store: Store) -> None:
    await fill(store)

    prefixes: list[Any] = [*SORTED, (), ("a", "c"), "nothing", ("", "")]
    for prefix in prefixes:
        wanted = [
            one
            for one in SORTED
            if one == prefix or (isinstance(one, tuple) and one[: len(prefix)] == prefix)
        ]
        if prefix == ():
            wanted = SORTED
        listed = [namespace for namespace, _ in await places(store, prefix)]
        assert sorted(map(repr, listed)) == sorted(map(repr, wanted)), prefix
        assert await store.kv.count(prefix) == len(wanted), prefix
        assert (await store.kv.namespaces(prefix, limit=100)).items == listed, prefix


@pytest.mark.parametrize("namespace", ["values", ("values",), ("values", "below")])
async def test_a_prefix_of_keys_is_no_pattern(store: Store, namespace: Any) -> None:
    keys = ["a", "a%", "a_", "ab", "abc", "A", "b", "_", "%", "\U0010ffff", "\U0010ffffx", "é",
            "\ud7ff", "\ud7ffx", "\ue000", ""]  # fmt: skip
    await store.kv.set_many(namespace, dict.fromkeys(keys, 1))

    for prefix in ("", "a", "a%", "_", "ab", "\U0010ffff", "\ud7ff", "é", "zz"):
        wanted = sorted((key for key in keys if key.startswith(prefix)), key=str.encode)
        found = await places(store, namespace, key_prefix=prefix)
        assert found == [(namespace, key) for key in wanted], prefix
        assert await places(store, key_prefix=prefix, order="-key") == found[::-1], prefix
        assert await store.kv.count(namespace, key_prefix=prefix) == len(wanted), prefix


async def test_a_list_shows_one_owner(store: Store, open_store: OpenStore) -> None:
    other = await open_store(tenant="acme")
    for where, owner in [(store, {}), (store, ADA), (store, {"app": "support"}), (other, ADA)]:
        await where.kv.set("values", repr(owner), 1, **owner)

    assert await places(store) == [("values", "{}")]
    assert await places(store, **ADA) == [("values", repr(ADA))]
    assert await store.kv.count(app="support") == 1
    assert (await store.kv.namespaces(app="support", user="eve")).items == []


# -- orders and pages ------------------------------------------------------------------------


async def several(store: Store, clock: FixedClock) -> None:
    """Thirty keys of three namespaces, changed in another order than made; some at one time."""
    clock.step = timedelta(0)
    for number in range(30):
        clock.set(START + timedelta(seconds=number // 4))
        await store.kv.set(("n", str(number % 3)), f"k{number:02}", {"n": number})
    for number in range(0, 30, 7):
        clock.advance(MINUTE)
        await store.kv.set(("n", str(number % 3)), f"k{number:02}", {"n": number})


@pytest.mark.parametrize("order", ["key", "updated_at", "created_at"])
async def test_pages_together_are_the_whole_list_in_every_order(
    store: Store, clock: FixedClock, order: str
) -> None:
    await several(store, clock)

    every = [one async for one in store.kv.iter(order=order)]

    def place(one: KeyValue) -> Any:
        return (*([] if order == "key" else [getattr(one, order)]), one.namespace, one.key)

    assert all(place(one) < place(two) for one, two in pairwise(every))
    listed = [(one.namespace, one.key) for one in every]
    assert len(set(listed)) == 30
    for limit in (1, 4, 29, 30, 31):
        assert await paged(store, limit, order=order) == listed
        assert await paged(store, limit, order=f"-{order}") == listed[::-1]


async def test_pages_neither_drop_nor_repeat_while_others_write(store: Store) -> None:
    await store.kv.set_many("values", {f"k{n}": n for n in range(10, 50, 2)})
    first = await store.kv.list(limit=5)
    await store.kv.set_many("values", {f"k{n}": n for n in range(11, 50, 2)})
    await store.kv.delete_many("values", ["k10", "k18", "k20"])

    rest = await store.kv.list(cursor=first.next_cursor, limit=100)

    assert [one.key for one in first] == ["k10", "k12", "k14", "k16", "k18"]
    assert [one.key for one in rest] == [f"k{n}" for n in range(19, 50) if n != 20]


async def test_a_page_is_of_a_list_and_an_order(store: Store) -> None:
    await store.kv.set_many("values", {"a": 1, "b": 2, "c": 3})
    cursor = (await store.kv.list(limit=1)).next_cursor

    for order in ("-key", "updated_at"):
        with pytest.raises(InvalidError, match="cursor"):
            await store.kv.list(cursor=cursor, order=order)
    with pytest.raises(InvalidError, match="cursor"):
        await store.kv.namespaces(cursor=cursor)
    for wrong in ("", "x", "AAAA", "\ud800"):
        with pytest.raises(InvalidError, match="cursor"):
            await store.kv.list(cursor=wrong)


async def test_what_is_no_order_is_refused(store: Store) -> None:
    wrong: list[Any] = ["name", "", "--key", "value", None, 7]
    for order in wrong:
        with pytest.raises(InvalidError, match="order"):
            await store.kv.list(order=order)


async def test_a_page_has_a_size_that_makes_sense(store: Store) -> None:
    for limit in (0, -1, 1.5):
        with pytest.raises(InvalidError, match="limit"):
            await store.kv.list(limit=limit)  # type: ignore[arg-type]
    with pytest.raises(TooLargeError, match="10000"):
        await store.kv.namespaces(limit=10_001)


# -- namespaces ------------------------------------------------------------------------------


async def test_namespaces_are_cut_to_a_depth_and_each_stands_once(store: Store) -> None:
    for user in ("ada", "eve"):
        for kind in ("notes", "facts"):
            await store.kv.set(("users", user, kind), "k", 1)
            await store.kv.set(("users", user, kind), "l", 1)
    await store.kv.set(("users",), "k", 1)
    await store.kv.set("users", "k", 1)

    async def names(**options: Any) -> list[Any]:
        return list(await store.kv.namespaces(**options))

    users = [("users", "ada"), ("users", "eve")]
    assert await names(max_depth=1) == ["users", ("users",)]
    assert await names(max_depth=2) == ["users", ("users",), *users]
    assert await names(max_depth=9) == await names()
    assert await names(prefix=("users",), suffix=("notes",)) == [(*u, "notes") for u in users]
    assert await names(suffix=("notes",), max_depth=2) == users
    assert await names(suffix=("ada", "facts")) == [("users", "ada", "facts")]
    assert await names(suffix="users") == ["users"]
    assert await names(suffix=("users",)) == [("users",)]
    assert await names(suffix=("tes",)) == []
    with pytest.raises(InvalidError, match="max_depth"):
        await names(max_depth=0)


async def test_pages_of_namespaces_together_are_all_of_them(store: Store) -> None:
    names = [(f"a{n // 100}", f"b{n // 10 % 10}", f"c{n % 10}") for n in range(0, 600, 7)]
    async with store.turn() as turn:
        for name in names:
            turn.kv.set(name, "k", 1)
            turn.kv.set(name, "l", 1)

    for depth, limit in product((1, 2, 3, None), (1, 2, 7, 500)):
        wanted = sorted({name[:depth] for name in names})
        found: list[Any] = []
        cursor = None
        while True:
            page = await store.kv.namespaces(("a3",), max_depth=depth, cursor=cursor, limit=limit)
            found += page
            cursor = page.next_cursor
            if cursor is None:
                break
        assert found == [name for name in wanted if name[0] == "a3"]
    assert list(await store.kv.namespaces(max_depth=1)) == [(f"a{n}",) for n in range(6)]


async def test_a_namespace_is_there_as_long_as_it_has_a_live_key(
    store: Store, clock: FixedClock
) -> None:
    await store.kv.set(("a",), "brief", 1, ttl=MINUTE)
    await store.kv.set(("b",), "k", 1)
    clock.advance(MINUTE)
    await store.kv.delete(("b",), "k")
    await store.kv.set(("c",), "k", 1)

    assert list(await store.kv.namespaces()) == [("c",)]


# -- filters ---------------------------------------------------------------------------------


async def kept(store: Store, values: list[Any], condition: Any) -> list[Any]:
    """The values that match, which are the only ones there."""
    await store.kv.delete_many("filtered", [f"{n}" for n in range(20)])
    await store.kv.set_many("filtered", {f"{n}": value for n, value in enumerate(values)})
    found = {one.key async for one in store.kv.iter("filtered", filter=condition)}
    return [value for n, value in enumerate(values) if f"{n}" in found]


NUMBERS = [{"v": 2}, {"v": 9}, {"v": 10}, {"v": 100}]
BELOW_ZERO = [{"neg": -2}, {"neg": -9}, {"neg": -10}, {"neg": -100}]

#: Each row of the table of what the stores of LangGraph make of a filter, with what is right.
BASE_STORE: dict[str, tuple[list[Any], Any, list[Any]]] = {
    "v $gt 9": (NUMBERS, {"v": {"$gt": 9}}, [{"v": 10}, {"v": 100}]),
    "v $lt 10": (NUMBERS, {"v": {"$lt": 10}}, [{"v": 2}, {"v": 9}]),
    "neg $lt -5": (BELOW_ZERO, {"neg": {"$lt": -5}}, BELOW_ZERO[1:]),
    "v $gte 9.5": (NUMBERS, {"v": {"$gte": 9.5}}, [{"v": 10}, {"v": 100}]),
    "range 9..10": (NUMBERS, {"v": {"$gte": 9, "$lte": 10}}, [{"v": 9}, {"v": 10}]),
    "missing key $ne 1": (NUMBERS, {"other": {"$ne": 1}}, NUMBERS),
    "missing key $gt 1": (NUMBERS, {"other": {"$gt": 1}}, []),
    "s $gt s1": ([{"s": "s1"}, {"s": "s2"}, {"s": "S9"}], {"s": {"$gt": "s1"}}, [{"s": "s2"}]),
    "plain dict": ([{"d": {"x": 9}}, {"d": {"x": 8}}], {"d": {"x": 9}}, [{"d": {"x": 9}}]),
    "d $eq dict": ([{"d": {"x": 9}}, {"d": {"x": 8}}], {"d": {"$eq": {"x": 9}}}, [{"d": {"x": 9}}]),
}


async def test_the_filters_of_a_base_store_are_right_in_every_row(store: Store) -> None:
    for row, (values, condition, wanted) in BASE_STORE.items():
        assert await kept(store, values, condition) == wanted, row


async def test_a_filter_comes_before_the_limit_however_much_it_drops(store: Store) -> None:
    await store.kv.set_many("many", {f"k{n:04}": {"n": n} for n in range(900)})
    wanted = [("many", f"k{n:04}") for n in range(0, 900, 180)]
    condition = {"n": {"$in": [0, 180, 360, 540, 720]}}

    for limit in (1, 2, 5, 6):
        assert await paged(store, limit, filter=condition) == wanted
    assert await paged(store, 2, filter=condition, order="-key") == wanted[::-1]
    assert await paged(store, 2, filter=condition, order="updated_at") == wanted
    assert await paged(store, 2, filter={"n": -1}) == []


async def test_bytes_have_no_keys_to_be_filtered_by(store: Store) -> None:
    values = [b"n", Opaque("c", b"n"), "n", ["n"], 7, None, {"n": 1}]

    assert await kept(store, values, {"n": {"$exists": False}}) == values[:-1]
    assert await kept(store, values, {"n": {"$ne": 1}}) == values[:-1]
    assert await kept(store, values, {"n": 1}) == [{"n": 1}]
    assert await kept(store, values, {}) == values


async def test_what_is_no_filter_is_refused(store: Store) -> None:
    wrong: list[Any] = [
        {"n": {"$regex": "x"}}, {"n": {"$": 1}}, {"$gt": 1}, {"$or": []}, {"n": {"$gt": 1, "x": 1}},
        {"n": {"$gt": None}}, {"n": {"$lt": [1]}}, {"n": {"$gte": True}}, {"n": {"$in": 1}},
        {"n": {"$exists": 1}}, {"a": {"b": {"$near": 1}}}, {"n": float("nan")}, {1: 2}, "n", [1],
    ]  # fmt: skip
    for condition in wrong:
        with pytest.raises(InvalidError, match="filter"):
            await store.kv.list(filter=condition)
