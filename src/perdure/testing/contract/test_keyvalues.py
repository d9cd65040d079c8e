"""Key-values: what is set, for how long, and who wins."""

from __future__ import annotations

import asyncio
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
    NewEvent,
    NotFoundError,
    Opaque,
    SessionKey,
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
    owners = [{}, {"app": "a"}, {"user": "a"}, {"app": "a", "user": "a"}, {"app": "aa"}]
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

    for namespace in (text(512), (text(512), text(510)), (" " * 511,), ("\U0001f600" * 128,)):
        key = text(512)
        await store.kv.set(namespace, key, 1)
        assert [one.key async for one in store.kv.iter(namespace)] == [key]


async def test_names_that_are_too_long_are_refused(store: Store, dump: Dump) -> None:
    large = await dump()

    for namespace, key in [
        ("n" * 513, "k"), (("n" * 513,), "k"), (("n" * 512, "n" * 511), "k"), ("n", "k" * 513),
        ("\U0001f600" * 129, "k"), (("n",) * 513, "k"),
    ]:  # fmt: skip
        with pytest.raises(TooLargeError):
            await store.kv.set(namespace, key, 1)
        with pytest.raises(TooLargeError):
            await store.kv.find(namespace, key)
    assert await dump() == large


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


# -- who wins --------------------------------------------------------------------------------


async def test_add_writes_only_where_there_is_nothing(store: Store) -> None:
    first = await store.kv.add("claims", "job", "one")
    second = await store.kv.add("claims", "job", "two")

    assert first is not None
    assert second is None
    assert await store.kv.get("claims", "job") == first


async def test_of_all_that_claim_a_key_at_once_one_wins(store: Store, clock: FixedClock) -> None:
    for _ in range(3):
        results = await asyncio.gather(
            *(store.kv.add("claims", "job", n, ttl=MINUTE) for n in range(20))
        )

        [winner] = [result for result in results if result is not None]
        assert await store.kv.get("claims", "job") == winner
        clock.advance(MINUTE)


async def test_an_expected_version_that_stands_lets_the_write_pass(store: Store) -> None:
    first = await store.kv.set("values", "k", 1, expected_version=0)
    second = await store.kv.set("values", "k", 2, expected_version=first.version)

    assert second.version > first.version
    assert await store.kv.touch("values", "k", ttl=MINUTE, expected_version=second.version)
    assert await store.kv.delete("values", "k", expected_version=second.version)
    await store.kv.set("values", "k", 3, expected_version=0)


async def test_an_expected_version_that_does_not_stand_changes_nothing(
    store: Store, dump: Dump
) -> None:
    first = await store.kv.set("values", "k", 1)
    await store.kv.set("values", "k", 2, ttl=MINUTE)
    before = await dump()

    for expected in (0, first.version, first.version + 2):
        with pytest.raises(ConflictError, match="'k'"):
            await store.kv.set("values", "k", 3, expected_version=expected)
    for call in (store.kv.delete, store.kv.touch):
        with pytest.raises(ConflictError, match=f"{first.version + 1}"):
            await call("values", "k", expected_version=first.version)
        assert await call("values", "nothing", expected_version=first.version) is False
    with pytest.raises(ConflictError, match="not there"):
        await store.kv.set("values", "nothing", 3, expected_version=1)
    assert await dump() == before


async def test_a_version_never_comes_back(store: Store, clock: FixedClock) -> None:
    # Else whoever held a key once could overwrite, or give back, what is somebody else's now.
    versions = []
    for _ in range(3):
        for write in (store.kv.add, store.kv.set):
            made = await write("claims", "job", 1, ttl=MINUTE)
            assert made is not None
            versions.append(made.version)
        clock.advance(2 * MINUTE)
        await store.kv.cleanup()
        again = await store.kv.add("claims", "job", 1)
        assert again is not None
        versions.append(again.version)
        await store.kv.delete("claims", "job")
        clock.advance(MINUTE)

    assert versions == sorted(set(versions))


async def test_of_concurrent_writes_with_one_expected_version_one_wins(store: Store) -> None:
    version = (await store.kv.set("values", "k", 0)).version

    results = await asyncio.gather(
        *(store.kv.set("values", "k", n, expected_version=version) for n in range(8)),
        return_exceptions=True,
    )

    assert sum(isinstance(result, KeyValue) for result in results) == 1
    assert sum(isinstance(result, ConflictError) for result in results) == 7


@pytest.mark.parametrize("version", [-1, 1.5, "1"])
async def test_an_expected_version_that_is_none_is_refused(store: Store, version: Any) -> None:
    with pytest.raises(InvalidError, match="expected_version"):
        await store.kv.set("values", "k", 1, expected_version=version)


# -- several ---------------------------------------------------------------------------------


async def test_several_are_written_read_and_removed_together(
    store: Store, clock: FixedClock
) -> None:
    await store.kv.set("values", "a", 0)
    clock.advance(MINUTE)

    assert await store.kv.set_many("values", {"b": 2, "a": 1}) == 2
    found = await store.kv.get_many("values", ["b", "a", "c", "a"])

    assert {key: one.value for key, one in found.items()} == {"a": 1, "b": 2}
    assert (found["a"].created_at, found["a"].updated_at) == (START, START + MINUTE)
    assert await store.kv.delete_many("values", ["a", "b", "b", "c"]) == 2
    assert await store.kv.count() == 0


async def test_several_are_written_over_what_has_expired(store: Store, clock: FixedClock) -> None:
    await store.kv.set_many("values", {"a": 1, "b": 1}, ttl=MINUTE)
    clock.advance(MINUTE)
    await store.kv.set_many("values", {"a": 2, "b": 2})

    assert {one.created_at async for one in store.kv.iter()} == {START + MINUTE}


async def test_of_no_keys_nothing_happens(store: Store) -> None:
    assert await store.kv.set_many("values", {}) == 0
    assert await store.kv.get_many("values", []) == {}
    assert await store.kv.delete_many("values", []) == 0


async def test_more_keys_than_one_call_may_have_are_refused(
    open_store: OpenStore, dump: Dump
) -> None:
    store = await open_store(limits=Limits(records=2))
    before = await dump()

    for call in (
        lambda: store.kv.set_many("values", dict.fromkeys("abc", 1)),
        lambda: store.kv.get_many("values", ["a", "b", "c"]),
        lambda: store.kv.delete_many("values", ["a", "b", "c"]),
    ):
        with pytest.raises(TooLargeError, match="records"):
            await call()
    assert await dump() == before


async def test_a_text_is_no_list_of_keys(store: Store) -> None:
    values: Any = [("a", 1)]

    with pytest.raises(InvalidError, match="keys"):
        await store.kv.get_many("values", "abc")
    with pytest.raises(InvalidError, match="values"):
        await store.kv.set_many("values", values)


async def test_a_value_over_the_limit_is_refused(open_store: OpenStore) -> None:
    store = await open_store(limits=Limits(event=100))

    for value in ("x" * 99, b"x" * 101, Opaque("c", b"x" * 101)):
        with pytest.raises(TooLargeError, match="100"):
            await store.kv.set("values", "k", value)
    await store.kv.set("values", "k", b"x" * 100)


# -- in a turn -------------------------------------------------------------------------------


async def test_a_turn_writes_them_with_everything_else_or_not_at_all(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    async with store.turn() as turn:
        turn.events.append(key, NewEvent("claimed", id="e1"))
        made = turn.kv.add("claims", "job", 1)
        lost = turn.kv.add("claims", "job", 2)
        turn.kv.set_many("values", {"a": 1})
    before = await dump()

    async def contradict() -> None:
        async with store.turn() as turn:
            turn.events.append(key, "again")
            turn.kv.delete("values", "a")
            turn.kv.set("claims", "job", 3, expected_version=1)

    with pytest.raises(ConflictError) as failed:
        await contradict()

    assert made.value == await store.kv.get("claims", "job")
    assert lost.value is None
    assert failed.value.operation == (2, "kv.set")
    assert await dump() == before


# -- what it is searched by ------------------------------------------------------------------


async def texts(dump: Dump) -> dict[str, str]:
    return {str(row[2]): str(row[6]) for row in (await dump())["keyvalues"]}


async def test_the_texts_at_the_paths_of_index_are_kept_for_search(
    store: Store, dump: Dump
) -> None:
    document = {
        "title": "Parcels",
        "by": {"name": "Ada", "age": 36},
        "tags": ["late", "lost"],
        "parts": [{"text": "one"}, {"text": "two"}],
    }
    for key, index in {
        "none": [], "title": ["title"], "deep": ["by.name", "by.age"], "each": ["tags[*]"],
        "one": ["tags[-1]", "tags[7]"], "through": ["parts.text"], "whole": ["$"],
        "missing": ["nothing", "title.more"], "below": ["by"],
    }.items():  # fmt: skip
        await store.kv.set("documents", key, document, index=index)

    assert await texts(dump) == {
        "none": "",
        "title": "Parcels",
        "deep": "Ada\n36",
        "each": "late\nlost",
        "one": "lost",
        "through": "one\ntwo",
        "whole": "Parcels\nAda\n36\nlate\nlost\none\ntwo",
        "missing": "",
        "below": "Ada\n36",
    }


async def test_a_value_that_is_overwritten_is_searched_by_what_is_new(
    store: Store, dump: Dump
) -> None:
    await store.kv.set("documents", "k", {"t": "old"}, index=["t"])
    await store.kv.set_many("documents", {"k": {"t": "new"}}, index=["t"])
    again = await texts(dump)
    await store.kv.set("documents", "k", {"t": "newer"})

    assert again == {"k": "new"}
    assert await texts(dump) == {"k": ""}


@pytest.mark.parametrize("index", ["title", [""], ["a..b"], ["a["], ["a[x]"], ["a.[0]"], [7], 7])
async def test_what_is_no_path_is_refused(store: Store, index: Any) -> None:
    with pytest.raises(InvalidError, match=r"index|path"):
        await store.kv.set("documents", "k", {}, index=index)


async def test_bytes_have_no_paths(store: Store) -> None:
    with pytest.raises(InvalidError, match="bytes"):
        await store.kv.set("documents", "k", b"x", index=["$"])
