"""Key-values: what is set, for how long, and who wins."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import (
    DELETE,
    ConflictError,
    InvalidError,
    KeyValue,
    Limits,
    NotFoundError,
    Opaque,
    Store,
    TooLargeError,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, OpenStore, Reopen

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TICK = timedelta(microseconds=1)
ADA: dict[str, Any] = {"app": "support", "user": "ada"}
NAMESPACES: list[Any] = ["a.b", ("a", "b"), ("a.b",), "a/b", ("a/b",), "a", ("a",), "", ("",)]


@pytest.fixture(autouse=True)
def standing(clock: FixedClock) -> None:
    """Time passes where a test says so."""
    clock.step = timedelta(0)
    clock.set(START)


# -- what is stored --------------------------------------------------------------------------


async def test_a_value_has_its_place_version_and_times(store: Store, clock: FixedClock) -> None:
    made = await store.kv.set("reactions", "ada", {"n": 1}, ttl=MINUTE)
    clock.advance(MINUTE / 2)
    again = await store.kv.set("reactions", "ada", {"n": 2})

    assert made == KeyValue(
        namespace="reactions",
        key="ada",
        value={"n": 1},
        version=made.version,
        created_at=START,
        updated_at=START,
        expires_at=START + MINUTE,
    )
    assert again.value == {"n": 2}
    assert (again.created_at, again.updated_at) == (START, START + MINUTE / 2)
    assert again.expires_at is None
    assert again.version == made.version + 1
    assert await store.kv.get("reactions", "ada") == again


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -0.0, 2**70, 1e308, "", "\0\ud7ff\U0010ffff", [], {},
        {"b": [1, {"a": None}]}, b"", b"\0\xff", Opaque("msgpack", b"\x81"), Opaque("bytes", b"x"),
    ],
    ids=repr,
)  # fmt: skip
async def test_a_value_comes_back_equal(store: Store, reopen: Reopen, value: Any) -> None:
    given = await store.kv.set("values", "k", value)

    store = await reopen()

    found = (await store.kv.get("values", "k")).value
    assert found == given.value == value
    assert type(found) is type(given.value) is type(value)


async def test_what_is_returned_is_a_copy(store: Store) -> None:
    value = {"list": [1]}
    made = await store.kv.set("values", "k", value)
    value["list"].append(2)
    made.value["list"].append(3)

    assert (await store.kv.get("values", "k")).value == {"list": [1]}


@pytest.mark.parametrize("value", [float("nan"), {1: 2}, {1, 2}, "\ud800", bytearray(b"x"), START])
async def test_what_cannot_be_stored_is_refused_before_anything_is_written(
    store: Store, dump: Dump, value: Any
) -> None:
    await store.kv.set("values", "k", 1)
    before = await dump()

    for call in (
        lambda: store.kv.set("values", "k", value),
        lambda: store.kv.add("values", "new", value),
        lambda: store.kv.set_many("values", {"a": 1, "k": value}),
    ):
        with pytest.raises(InvalidError, match="value"):
            await call()
    assert await dump() == before


async def test_a_missing_key_is_not_found_and_find_gives_none(store: Store) -> None:
    with pytest.raises(NotFoundError, match="'nothing'") as missing:
        await store.kv.get("values", "nothing")
    assert isinstance(missing.value, LookupError)
    assert await store.kv.find("values", "nothing") is None
    assert await store.kv.delete("values", "nothing") is False
    assert await store.kv.touch("values", "nothing") is False
    assert await store.kv.get_many("values", ["nothing"]) == {}


async def test_a_deleted_key_is_gone(store: Store, reopen: Reopen) -> None:
    await store.kv.set("values", "k", 1)
    await store.kv.set("values", "other", 2)

    assert await store.kv.delete("values", "k") is True

    store = await reopen()
    assert await store.kv.find("values", "k") is None
    assert (await store.kv.get("values", "other")).value == 2


# -- whose, and where ------------------------------------------------------------------------


async def test_no_two_places_collide(store: Store, open_store: OpenStore) -> None:
    owners: list[dict[str, Any]] = [
        {},
        {"app": "a"},
        {"user": "a"},
        {"app": "a", "user": "a"},
        {"app": "aa"},
    ]
    other = await open_store(tenant="acme")
    places = [
        (where, namespace, owner)
        for where in (store, other)
        for namespace in NAMESPACES
        for owner in owners
    ]
    for number, (where, namespace, owner) in enumerate(places):
        await where.kv.set(namespace, "k", number, **owner)

    found = [(await where.kv.get(namespace, "k", **owner)) for where, namespace, owner in places]
    assert [one.value for one in found] == list(range(len(places)))
    assert [one.namespace for one in found] == [namespace for _, namespace, _ in places]


async def test_keys_are_compared_bytewise(store: Store) -> None:
    keys = ["a", "A", "a ", "ä", "a\u0308", "%", "_", "", "\U0001f600", "a\x01"]
    await store.kv.set_many("values", {key: key for key in keys})

    assert {key: one.value for key, one in (await store.kv.get_many("values", keys)).items()} == {
        key: key for key in keys
    }


async def test_the_longest_names_have_room_whatever_they_are_made_of(store: Store) -> None:
    chance = random.Random(7)

    def text(size: int) -> str:
        return "".join(chr(chance.randrange(0x23, 0x7F)) for _ in range(size))

    names: list[Any] = [text(512), (text(512), text(510)), (" " * 511,), ("\U0001f600" * 128,)]
    for namespace in names:
        key = text(512)
        await store.kv.set(namespace, key, 1)
        assert [one.key async for one in store.kv.iter(namespace)] == [key]


async def test_names_that_are_too_long_are_refused(store: Store, dump: Dump) -> None:
    before = await dump()
    places: list[Any] = [
        ("n" * 513, "k"), (("n" * 513,), "k"), (("n" * 512, "n" * 511), "k"), ("n", "k" * 513),
        ("\U0001f600" * 129, "k"), (("n",) * 513, "k"),
    ]  # fmt: skip

    for namespace, key in places:
        with pytest.raises(TooLargeError):
            await store.kv.set(namespace, key, 1)
        with pytest.raises(TooLargeError):
            await store.kv.find(namespace, key)
    assert await dump() == before


async def test_longer_names_than_an_index_row_can_hold_are_refused_on_every_engine(
    open_store: OpenStore,
) -> None:
    store = await open_store(limits=Limits(text=4096))

    await store.kv.set(("n" * 1023,), "k" * 1476, 1)
    with pytest.raises(TooLargeError, match="2500"):
        await store.kv.set(("n" * 1023,), "k" * 1477, 1)


@pytest.mark.parametrize(
    "namespace", [(), [], None, 7, b"n", ("a", 7), ("a", None), "a\0", ("\0",)]
)
async def test_what_is_no_namespace_is_refused(store: Store, namespace: Any) -> None:
    with pytest.raises(InvalidError, match="namespace"):
        await store.kv.set(namespace, "k", 1)
    with pytest.raises(InvalidError, match="namespace"):
        await store.kv.get(namespace, "k")


async def test_a_list_of_texts_is_the_namespace_that_the_tuple_is(store: Store) -> None:
    namespace: Any = ["a", "b"]
    await store.kv.set(namespace, "k", 1)

    assert (await store.kv.get(("a", "b"), "k")).namespace == ("a", "b")


@pytest.mark.parametrize("key", [None, 7, b"k", [], "\0", "\ud800"])
async def test_what_is_no_key_is_refused(store: Store, key: Any) -> None:
    with pytest.raises(InvalidError, match="key"):
        await store.kv.set("values", key, 1)
    with pytest.raises(InvalidError, match="key"):
        await store.kv.delete_many("values", [key])


async def test_what_belongs_to_an_app_is_not_erased_with_the_user_of_no_name(
    store: Store,
) -> None:
    await store.kv.set("values", "k", "the app's", app="support")
    await store.kv.set("values", "k", "hers", **ADA)

    nobody = await store.erase_user("support", "")
    ada = await store.erase_user("support", "ada")

    assert nobody.removed["keyvalues"] == 0
    assert ada.removed["keyvalues"] == 1
    assert (await store.kv.get("values", "k", app="support")).value == "the app's"
    assert await store.kv.find("values", "k", **ADA) is None


# -- for how long ----------------------------------------------------------------------------


async def test_a_value_is_valid_while_now_is_before_its_end(
    store: Store, clock: FixedClock
) -> None:
    await store.kv.set("values", "k", 1, ttl=MINUTE)

    clock.set(START + MINUTE - TICK)
    assert (await store.kv.get("values", "k")).value == 1
    clock.set(START + MINUTE)
    assert await store.kv.find("values", "k") is None


async def test_what_has_expired_is_there_for_no_call_swept_or_not(
    store: Store, clock: FixedClock
) -> None:
    await store.kv.set("values", "k", 1, ttl=MINUTE)
    clock.advance(MINUTE)

    for _ in range(2):
        assert await store.kv.find("values", "k", refresh=True) is None
        assert await store.kv.get_many("values", ["k"], refresh=True) == {}
        assert await store.kv.touch("values", "k", ttl=MINUTE) is False
        assert await store.kv.touch("values", "k", ttl=DELETE) is False
        assert await store.kv.count("values") == 0
        assert [one async for one in store.kv.iter(order="-updated_at")] == []
        assert (await store.kv.list(refresh=True)).items == []
        assert (await store.kv.namespaces()).items == []
        with pytest.raises(NotFoundError):
            await store.kv.get("values", "k", refresh=True)
        with pytest.raises(ConflictError):
            await store.kv.set("values", "k", 2, expected_version=1)
        await store.kv.cleanup()


async def test_deleting_what_has_expired_finds_nothing(store: Store, clock: FixedClock) -> None:
    await store.kv.set_many("values", {"a": 1, "b": 1}, ttl=MINUTE)
    await store.kv.set("values", "c", 1)
    clock.advance(MINUTE)

    assert await store.kv.delete("values", "a") is False
    assert await store.kv.delete_many("values", ["a", "b", "c"]) == 1


async def test_a_key_that_has_expired_begins_anew(store: Store, clock: FixedClock) -> None:
    for write in (store.kv.set, store.kv.add):
        old = await store.kv.set("values", "k", 1, ttl=MINUTE)
        clock.advance(MINUTE)
        new = await write("values", "k", 2)

        assert new is not None
        assert new.created_at == new.updated_at == old.created_at + MINUTE
        assert await store.kv.get("values", "k") == new
        await store.kv.delete("values", "k")
        clock.advance(MINUTE)


async def test_fractions_of_a_second_count(store: Store, clock: FixedClock) -> None:
    made = await store.kv.set("values", "k", 1, ttl=timedelta(milliseconds=1.5))

    assert made.expires_at == START + timedelta(microseconds=1500)
    clock.advance(timedelta(microseconds=1499))
    assert await store.kv.find("values", "k") is not None
    clock.advance(TICK)
    assert await store.kv.find("values", "k") is None


@pytest.mark.parametrize(
    "ttl", [timedelta(0), -TICK, timedelta(days=400_000), 60, 1.5, "1h", float("inf"), DELETE]
)
async def test_a_time_to_live_that_is_none_is_refused(store: Store, dump: Dump, ttl: Any) -> None:
    before = await dump()

    for call in (store.kv.set, store.kv.add):
        with pytest.raises(InvalidError, match="ttl"):
            await call("values", "k", 1, ttl=ttl)
    with pytest.raises(InvalidError, match="ttl"):
        await store.kv.set_many("values", {"k": 1}, ttl=ttl)
    if ttl is not DELETE:
        with pytest.raises(InvalidError, match="ttl"):
            await store.kv.touch("values", "k", ttl=ttl)
    assert await dump() == before


async def test_a_read_renews_only_where_it_is_asked_to(store: Store, clock: FixedClock) -> None:
    made = await store.kv.set("values", "k", 1, ttl=MINUTE)
    clock.advance(MINUTE / 2)

    assert await store.kv.get("values", "k") == made
    assert (await store.kv.list("values")).items == [made]
    renewed = await store.kv.get("values", "k", refresh=True)

    assert renewed.expires_at == START + 1.5 * MINUTE
    assert (renewed.version, renewed.updated_at) == (made.version, made.updated_at)
    assert await store.kv.find("values", "k") == renewed


@pytest.mark.parametrize("way", ["find", "get_many", "list", "touch"])
async def test_every_way_to_renew_lets_the_same_time_begin_again(
    store: Store, clock: FixedClock, way: str
) -> None:
    await store.kv.set("values", "k", 1, ttl=MINUTE)
    forever = await store.kv.set("values", "forever", 1)
    clock.advance(MINUTE / 2)

    match way:
        case "find":
            found = [await store.kv.find("values", key, refresh=True) for key in ("forever", "k")]
        case "get_many":
            several = await store.kv.get_many("values", ["k", "forever"], refresh=True)
            found = [several["forever"], several["k"]]
        case "list":
            found = list(await store.kv.list("values", refresh=True))
        case _:
            assert await store.kv.touch("values", "k")
            assert await store.kv.touch("values", "forever")
            found = list(await store.kv.list("values"))

    assert found[0] == forever
    assert found[1] is not None
    assert found[1].expires_at == START + 1.5 * MINUTE
    assert list(await store.kv.list("values")) == found


async def test_a_touch_gives_another_end_and_changes_nothing_else(
    store: Store, clock: FixedClock
) -> None:
    made = await store.kv.set("values", "k", 1)
    clock.advance(MINUTE)

    assert await store.kv.touch("values", "k", ttl=MINUTE)
    brief = await store.kv.get("values", "k")
    assert await store.kv.touch("values", "k", ttl=DELETE)

    assert brief.expires_at == START + 2 * MINUTE
    assert (brief.version, brief.updated_at) == (made.version, made.updated_at)
    assert await store.kv.get("values", "k") == made


async def test_an_overwritten_value_has_the_time_to_live_of_the_last_write(
    store: Store, clock: FixedClock
) -> None:
    await store.kv.set("values", "k", 1, ttl=MINUTE)
    await store.kv.set("values", "k", 2, ttl=2 * MINUTE)
    await store.kv.set_many("values", {"k": 3}, ttl=3 * MINUTE)
    clock.advance(2.5 * MINUTE)

    assert (await store.kv.get("values", "k")).value == 3


async def test_cleanup_removes_what_has_expired_of_everybody_and_says_how_much(
    store: Store, open_store: OpenStore, clock: FixedClock, dump: Dump
) -> None:
    other = await open_store(tenant="acme")
    for where in (store, other):
        for owner in ({}, ADA, {"app": "support"}):
            await where.kv.set_many("brief", {f"k{n}": n for n in range(30)}, ttl=MINUTE, **owner)
            await where.kv.set("brief", "long", 1, ttl=2 * MINUTE, **owner)
            await where.kv.set("good", "k", 1, **owner)
    clock.advance(MINUTE)

    assert await store.kv.cleanup(dry_run=True) == 180
    assert len((await dump())["keyvalues"]) == 192
    assert await store.kv.cleanup() == 180
    assert await store.kv.cleanup() == 0
    assert len((await dump())["keyvalues"]) == 12
    assert await other.kv.count("brief", **ADA) == 1
