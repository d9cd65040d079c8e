"""Memories that change: corrected, superseded, deleted for good, ingested, limited."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import (
    ALL,
    DELETE,
    ConflictError,
    InvalidError,
    Limits,
    NewMemory,
    NotFoundError,
    Store,
    TooLargeError,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, OpenStore

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ADA = ("support", "ada")


async def contents(store: Store, app: str = "support", user: str = "ada", **how: Any) -> list[str]:
    return [memory.content async for memory in store.memory.iter(app, user, **how)]


# -- changing ----------------------------------------------------------------------------------


async def test_an_update_keeps_the_id_and_changes_what_is_given(
    store: Store, clock: FixedClock
) -> None:
    added = await store.memory.add(*ADA, "Likes tea.", ["food"], metadata={"a": 1, "b": 2})
    clock.advance(DAY)

    changed = await store.memory.update(
        *ADA, added.id, content="Likes green tea.", topics=["drink"], author="ada",
        metadata={"a": DELETE, "c": 3}, pinned=True, valid_from=START, expires_at=START + 9 * DAY,
        timestamp=START,
    )  # fmt: skip

    assert (changed.id, changed.created_at) == (added.id, added.created_at)
    assert changed.updated_at > added.updated_at
    assert (changed.content, changed.topics, changed.author) == (
        "Likes green tea.",
        ("drink",),
        "ada",
    )
    assert (changed.metadata, changed.pinned, changed.version) == ({"b": 2, "c": 3}, True, 2)
    assert (changed.valid_from, changed.expires_at, changed.timestamp) == (
        START, START + 9 * DAY, START,
    )  # fmt: skip
    assert await store.memory.get(*ADA, added.id) == changed

    bare = await store.memory.update(*ADA, added.id, valid_from=DELETE, expires_at=DELETE)
    assert (bare.valid_from, bare.expires_at) == (None, None)


async def test_an_update_that_changes_nothing_makes_no_version(store: Store) -> None:
    added = await store.memory.add(*ADA, "Likes tea.", ["food"])

    assert await store.memory.update(*ADA, added.id) == added
    assert await store.memory.update(*ADA, added.id, content="Likes tea.", topics=["food"]) == added


async def test_an_update_to_what_another_memory_says_is_refused(store: Store, dump: Dump) -> None:
    tea = await store.memory.add(*ADA, "Likes tea.")
    coffee = await store.memory.add(*ADA, "Likes coffee.")
    before = (await dump())["memories"]

    with pytest.raises(ConflictError, match=tea.id):
        await store.memory.update(*ADA, coffee.id, content="Likes tea.")

    assert (await dump())["memories"] == before


async def test_an_update_checks_the_version_it_expects(store: Store) -> None:
    added = await store.memory.add(*ADA, "one")
    await store.memory.update(*ADA, added.id, content="two", expected_version=1)

    with pytest.raises(ConflictError, match="version 2"):
        await store.memory.update(*ADA, added.id, content="three", expected_version=1)
    assert await contents(store) == ["two"]


async def test_an_update_that_makes_no_sense_is_refused(store: Store) -> None:
    added = await store.memory.add(*ADA, "one", valid_until=START + 999 * DAY)

    changes: list[dict[str, Any]] = [
        {"content": " "},
        {"topics": "a"},
        {"metadata": [1]},
        {"pinned": "yes"},
        {"valid_from": START + 999 * DAY},
        {"expires_at": 5},
        {"expected_version": -1},
    ]
    for change in changes:
        with pytest.raises(InvalidError, match=next(iter(change)).partition("_")[0]):
            await store.memory.update(*ADA, added.id, **change)
    assert await store.memory.get(*ADA, added.id) == added


async def test_history_has_every_version(store: Store) -> None:
    one = await store.memory.add(*ADA, "one", ["a"], metadata={"n": 1})
    two = await store.memory.update(*ADA, one.id, content="two", pinned=True)
    three = await store.memory.add(*ADA, "two", ["b"])
    other = await store.memory.add(*ADA, "other")
    four = await store.memory.supersede(*ADA, one.id, other.id)

    assert await store.memory.history(*ADA, one.id) == [one, two, three, four]
    assert [m.version for m in await store.memory.history(*ADA, one.id)] == [1, 2, 3, 4]


async def test_an_edited_memory_is_not_overwritten_by_its_first_text(store: Store) -> None:
    first = await store.memory.add(*ADA, "Likes tea.")
    await store.memory.update(*ADA, first.id, content="Likes green tea.")

    ingested = await store.memory.ingest(*ADA, ["Likes tea."])
    by_hand = await store.memory.add(*ADA, "Likes tea.")

    assert (ingested.added, [m.content for m in ingested.known]) == ((), ["Likes green tea."])
    assert by_hand.id != first.id
    assert await contents(store) == ["Likes tea.", "Likes green tea."]


# -- superseding -------------------------------------------------------------------------------


async def test_a_superseded_memory_holds_until_the_other_one_does(
    store: Store, clock: FixedClock
) -> None:
    clock.step = timedelta(0)
    clock.set(START)
    bonn = await store.memory.add(*ADA, "Lives in Bonn.")
    clock.set(START + 10 * DAY)
    paris = await store.memory.add(*ADA, "Lives in Paris.")
    old = await store.memory.supersede(*ADA, bonn.id, paris.id)

    assert (old.id, old.superseded_by, old.valid_until) == (bonn.id, paris.id, START + 10 * DAY)
    assert (await store.memory.get(*ADA, paris.id)).valid_from == START + 10 * DAY
    assert await contents(store) == ["Lives in Paris."]
    assert await contents(store, as_of=START + 9 * DAY) == ["Lives in Bonn."]
    assert await store.memory.get(*ADA, bonn.id) == old


async def test_what_superseded_another_is_the_same_when_it_is_added_again(store: Store) -> None:
    bonn = await store.memory.add(*ADA, "Lives in Bonn.")
    paris = await store.memory.add(*ADA, "Lives in Paris.")
    await store.memory.supersede(*ADA, bonn.id, paris.id)
    await store.memory.update(*ADA, paris.id, topics=["home"])

    again = await store.memory.add(*ADA, "Lives in Paris.", ["city"])

    assert (again.id, again.topics) == (paris.id, ("home", "city"))
    assert await contents(store) == ["Lives in Paris."]


async def test_the_moment_of_superseding_can_be_said_or_is_that_of_the_other(
    store: Store, clock: FixedClock
) -> None:
    clock.set(START)
    one = await store.memory.add(*ADA, "one")
    two = await store.memory.add(*ADA, "two", valid_from=START - 5 * DAY)
    three = await store.memory.add(*ADA, "three")

    assert (await store.memory.supersede(*ADA, one.id, two.id)).valid_until == START - 5 * DAY
    old = await store.memory.supersede(*ADA, two.id, three.id, at=START + DAY)

    assert old.valid_until == START + DAY
    assert await contents(store) == ["two"]
    assert await contents(store, as_of=START + DAY) == ["three"]


async def test_one_that_was_to_hold_only_later_never_does_once_it_is_superseded(
    store: Store, clock: FixedClock
) -> None:
    clock.set(START)
    plan = await store.memory.add(*ADA, "Moves to Rome.", valid_from=START + 5 * DAY)
    stays = await store.memory.add(*ADA, "Stays in Bonn.", valid_from=START - DAY)

    old = await store.memory.supersede(*ADA, plan.id, stays.id)
    edited = await store.memory.update(*ADA, plan.id, content="Wanted to move to Rome.")

    assert old.valid_until == old.valid_from == START + 5 * DAY
    assert edited.superseded_by == stays.id
    assert await contents(store, as_of=START + 9 * DAY) == ["Stays in Bonn."]
    with pytest.raises(InvalidError, match="valid_until"):
        await store.memory.update(*ADA, plan.id, valid_from=START + 6 * DAY)


async def test_a_memory_cannot_be_superseded_by_itself_or_by_one_that_was(store: Store) -> None:
    one, two, three = [await store.memory.add(*ADA, text) for text in ("one", "two", "three")]
    await store.memory.supersede(*ADA, one.id, two.id)

    for old, by in ((two.id, one.id), (three.id, one.id), (three.id, three.id)):
        with pytest.raises(ConflictError, match="supersede"):
            await store.memory.supersede(*ADA, old, by)
    with pytest.raises(NotFoundError, match="mem_no"):
        await store.memory.supersede(*ADA, two.id, "mem_no")
    stranger = await store.memory.add("support", "eve", "hers")
    with pytest.raises(NotFoundError):
        await store.memory.supersede(*ADA, two.id, stranger.id)


async def test_what_was_superseded_can_be_told_anew_and_is_not_ingested_again(
    store: Store,
) -> None:
    bonn = await store.memory.add(*ADA, "Lives in Bonn.")
    paris = await store.memory.add(*ADA, "Lives in Paris.")
    await store.memory.supersede(*ADA, bonn.id, paris.id)

    assert (await store.memory.ingest(*ADA, ["Lives in Bonn."])).added == ()
    assert await contents(store) == ["Lives in Paris."]
    back = await store.memory.add(*ADA, "Lives in Bonn.")
    await store.memory.supersede(*ADA, paris.id, back.id)

    assert back.id != bonn.id
    assert await contents(store) == ["Lives in Bonn."]
    assert await store.memory.count(*ADA, as_of=ALL) == 3


# -- removing ----------------------------------------------------------------------------------


async def test_a_deleted_memory_is_gone_with_all_that_it_was(store: Store, dump: Dump) -> None:
    secret = await store.memory.add(*ADA, "secret-one", metadata={"m": "secret-two"})
    await store.memory.update(*ADA, secret.id, content="secret-three")

    assert await store.memory.delete(*ADA, secret.id) is True
    assert await store.memory.delete(*ADA, secret.id) is False

    assert await store.memory.find(*ADA, secret.id) is None
    after = await dump()
    assert (after["memories"], after["memory_log"]) == ([], [])
    assert "secret" not in repr(after)


async def test_what_was_deleted_is_not_ingested_again(store: Store) -> None:
    tea = await store.memory.add(*ADA, "Likes tea.")
    heard = await store.memory.add(*ADA, "Yes.", identity="source", session="s", event_id="e")
    await store.memory.delete(*ADA, tea.id)
    await store.memory.delete(*ADA, heard.id)

    done = await store.memory.ingest(*ADA, ["Likes tea.", "Likes coffee."])
    by_source = await store.memory.ingest(
        *ADA, [NewMemory("Yes.", session="s", event_id="e")], identity="source"
    )
    replaced = await store.memory.replace_session(*ADA, "s2", ["Likes tea."])

    assert ([m.content for m in done], done.refused) == (["Likes coffee."], 1)
    assert (len(by_source), by_source.refused) == (0, 1)
    assert replaced == []
    assert await contents(store) == ["Likes coffee."]


async def test_adding_by_hand_brings_back_what_was_deleted_unless_told_not_to(
    store: Store,
) -> None:
    tea = await store.memory.add(*ADA, "Likes tea.", ["food"])
    await store.memory.delete(*ADA, tea.id)

    with pytest.raises(ConflictError, match="revive"):
        await store.memory.add(*ADA, "Likes tea.", revive=False)
    back = await store.memory.add(*ADA, "Likes tea.")

    assert (back.id != tea.id, back.topics) == (True, ())
    assert (await store.memory.ingest(*ADA, ["Likes tea."])).known == (back,)


async def test_clear_deletes_every_memory_of_one_owner(store: Store) -> None:
    for n in range(3):
        await store.memory.add(*ADA, f"{n}")
        await store.memory.add("support", "eve", f"{n}")
        await store.memory.add("support", "", f"{n}")

    assert await store.memory.clear(*ADA) == 3

    assert await contents(store) == []
    assert await store.memory.count("support", "eve") == 3
    assert await store.memory.count("support", "") == 3
    assert (await store.memory.ingest(*ADA, ["0", "new"])).refused == 1


# -- several at once ---------------------------------------------------------------------------


async def test_several_are_ingested_in_one_transaction(store: Store, dump: Dump) -> None:
    known = await store.memory.add(*ADA, "known")
    entries: list[Any] = [
        "a text",
        {"content": "a mapping", "topics": ["t"]},
        NewMemory("a record", author="ada"),
        "known",
        {"content": "a text", "topics": ["twice"]},
    ]

    done = await store.memory.ingest(*ADA, entries)

    assert [m.content for m in done] == ["a text", "a mapping", "a record"]
    assert done.added[0].topics == ("twice",)
    assert (done.known, done.refused, len(done)) == ((known,), 0, 3)
    assert [await store.memory.get(*ADA, m.id) for m in done] == list(done.added)

    before = await dump()
    for wrong in (["ok", ""], "text", {"content": "x"}, 7, [{"text": "x"}], [7], [None]):
        with pytest.raises(InvalidError):
            await store.memory.ingest(*ADA, wrong)  # type: ignore[arg-type]
    assert await dump() == before


async def test_two_memories_of_one_event_by_source_are_refused(store: Store) -> None:
    entries = [NewMemory(text, session="s", event_id="e") for text in ("one", "two")]

    with pytest.raises(InvalidError, match="'e'"):
        await store.memory.ingest(*ADA, entries, identity="source")
    assert len(await store.memory.ingest(*ADA, entries)) == 2


async def test_more_memories_than_a_call_takes_are_refused(open_store: OpenStore) -> None:
    store = await open_store(limits=Limits(records=2))

    with pytest.raises(TooLargeError) as refused:
        await store.memory.ingest(*ADA, ["1", "2", "3"])
    assert refused.value.limit == "records"


async def test_a_session_has_the_memories_it_was_given_last(store: Store) -> None:
    await store.memory.add(*ADA, "elsewhere", session="s2")
    first = await store.memory.replace_session(*ADA, "s1", ["one", "two"])
    second = await store.memory.replace_session(*ADA, "s1", ["two", "three"])

    assert [m.content for m in second] == ["two", "three"]
    assert second[0] == first[1]
    assert [m.session for m in second] == ["s1", "s1"]
    assert await contents(store, session="s1") == ["three", "two"]
    assert await contents(store, session="s2") == ["elsewhere"]
    assert await store.memory.replace_session(*ADA, "s1", []) == []
    assert await contents(store) == ["elsewhere"]
    # Nobody has deleted it: it may come again.
    assert len(await store.memory.replace_session(*ADA, "s1", ["one"])) == 1


async def test_replacing_keeps_what_was_corrected_by_hand(store: Store) -> None:
    [one, _] = await store.memory.replace_session(*ADA, "s1", ["one", "two"])
    await store.memory.update(*ADA, one.id, content="ONE")

    found = await store.memory.replace_session(*ADA, "s1", ["one", "two"])

    assert [m.content for m in found] == ["ONE", "two"]
    assert found[0].id == one.id


# -- the limit ---------------------------------------------------------------------------------


async def test_with_a_limit_the_one_unchanged_for_longest_makes_room(
    open_store: OpenStore,
) -> None:
    store = await open_store(memory_limit_per_user=3)
    pinned = await store.memory.add(*ADA, "pinned", pinned=True)
    for text in ("one", "two"):
        await store.memory.add(*ADA, text)
    await store.memory.add("support", "eve", "hers")

    await store.memory.add(*ADA, "one", ["touched"])
    assert await contents(store) == ["one", "two", "pinned"]
    await store.memory.add(*ADA, "three")

    assert await contents(store) == ["three", "one", "pinned"]
    assert await store.memory.get(*ADA, pinned.id) == pinned
    # Nobody has deleted it: it may come again.
    assert (await store.memory.ingest(*ADA, ["two"])).refused == 0
    assert await contents(store) == ["two", "three", "pinned"]


async def test_of_pinned_memories_there_may_be_more_than_the_limit(open_store: OpenStore) -> None:
    store = await open_store(memory_limit_per_user=1)
    for text in ("one", "two"):
        await store.memory.add(*ADA, text, pinned=True)
    await store.memory.add(*ADA, "three")

    assert await contents(store) == ["three", "two", "one"]


async def test_what_has_expired_does_not_count(open_store: OpenStore, clock: FixedClock) -> None:
    store = await open_store(memory_limit_per_user=2)
    clock.set(START)
    await store.memory.add(*ADA, "old")
    await store.memory.add(*ADA, "brief", expires_at=START + DAY)
    clock.set(START + 2 * DAY)
    await store.memory.add(*ADA, "new")

    assert await contents(store) == ["new", "old"]


async def test_of_more_than_the_limit_at_once_the_last_ones_stay(open_store: OpenStore) -> None:
    store = await open_store(memory_limit_per_user=2)

    done = await store.memory.ingest(*ADA, ["1", "2", "3", "4"])

    assert [m.content for m in done] == ["3", "4"]
    assert await contents(store) == ["4", "3"]
