"""Key-values that several go for: claims, expected versions, several keys, turns, paths."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import (
    ConflictError,
    InvalidError,
    KeyValue,
    Limits,
    NewEvent,
    Opaque,
    SessionKey,
    Store,
    TooLargeError,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, OpenStore

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def standing(clock: FixedClock) -> None:
    """Time passes where a test says so."""
    clock.step = timedelta(0)
    clock.set(START)


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


# -- one beside another ----------------------------------------------------------------------


async def test_what_is_written_beside_a_value_has_its_version_and_its_end(
    store: Store, clock: FixedClock
) -> None:
    first = await store.kv.set("docs", "k", "cat", ttl=MINUTE, beside=(("made", "docs"), b"\x01"))
    made = await store.kv.get(("made", "docs"), "k")
    assert (made.value, made.version, made.expires_at) == (b"\x01", first.version, first.expires_at)

    await store.kv.set("docs", "k", "dog")
    assert (await store.kv.get("docs", "k")).version != made.version

    for end in (timedelta(0), MINUTE):
        clock.advance(end)
        third = await store.kv.set(
            "docs", "k", "cow", ttl=MINUTE, beside=(("made", "docs"), {"n": 3})
        )
        made = await store.kv.get(("made", "docs"), "k")
        assert (made.value, made.version, made.created_at) == (
            {"n": 3}, third.version, third.created_at,
        )  # fmt: skip


async def test_a_write_that_is_refused_writes_nothing_beside_it(store: Store, dump: Dump) -> None:
    await store.kv.set("docs", "k", "cat")
    before = await dump()

    with pytest.raises(ConflictError):
        await store.kv.set("docs", "k", "dog", expected_version=0, beside=("made", 1))
    wrong: Any
    for wrong in ("made", ("made",), ("docs", 1), ((), 1), ("made", {1}), 7):
        with pytest.raises(InvalidError):
            await store.kv.set("docs", "k", "dog", beside=wrong)

    assert await dump() == before


async def test_a_value_that_was_searched_is_not_found_by_what_stands_over_it(store: Store) -> None:
    await store.kv.set("made", "k", {"text": "a zebra"}, index=["$"])
    await store.kv.set("docs", "k", "cat", beside=("made", {"text": "a horse"}))

    assert await store.kv.search("zebra") == []
    assert (await store.kv.get("made", "k")).value == {"text": "a horse"}


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


@pytest.mark.parametrize("number", [1, 15, 16, 17, 40])
async def test_any_number_of_keys_is_read_and_removed(
    store: Store, clock: FixedClock, number: int
) -> None:
    keys = [f"k{n}" for n in range(number)]
    await store.kv.set_many("brief", dict.fromkeys(keys, 1), ttl=MINUTE)
    await store.kv.set_many("values", {key: key for key in keys})
    await store.kv.set("values", "other", 1)

    found = await store.kv.get_many("values", keys[::-1])
    assert {key: one.value for key, one in found.items()} == {key: key for key in keys}
    assert len(await store.kv.get_many("brief", keys, refresh=True)) == number
    clock.advance(MINUTE)
    assert await store.kv.delete_many("brief", keys) == 0
    assert await store.kv.delete_many("values", keys) == number
    assert await store.kv.count() == 1


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


async def test_texts_of_any_characters_are_kept_for_search(store: Store, dump: Dump) -> None:
    await store.kv.set("documents", "k", {"a": "one\0two", "b": "\U0010ffff'\"%"}, index=["$"])

    assert await texts(dump) == {"k": "onetwo\n\U0010ffff'\"%"}
    assert (await store.kv.get("documents", "k")).value["a"] == "one\0two"


@pytest.mark.parametrize("index", ["title", [""], ["a..b"], ["a["], ["a[x]"], ["a.[0]"], [7], 7])
async def test_what_is_no_path_is_refused(store: Store, index: Any) -> None:
    with pytest.raises(InvalidError, match=r"index|path"):
        await store.kv.set("documents", "k", {}, index=index)


async def test_bytes_have_no_paths(store: Store) -> None:
    with pytest.raises(InvalidError, match="bytes"):
        await store.kv.set("documents", "k", b"x", index=["$"])
