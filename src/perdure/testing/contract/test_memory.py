"""Long-term memory: added once, corrected, superseded, deleted for good, limited."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import (
    ALL,
    DELETE,
    ConflictError,
    InvalidError,
    Limits,
    Memory,
    NewMemory,
    NotFoundError,
    Store,
    TooLargeError,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, OpenStore, Reopen

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ADA = ("support", "ada")


async def contents(store: Store, app: str = "support", user: str = "ada", **how: Any) -> list[str]:
    return [memory.content async for memory in store.memory.iter(app, user, **how)]


# -- adding ------------------------------------------------------------------------------------


async def test_a_memory_has_what_was_given_and_the_defaults(
    store: Store, clock: FixedClock
) -> None:
    clock.step = timedelta(0)
    clock.set(START)
    added = await store.memory.add(*ADA, "Likes tea.", ["food", "drink", "food"])

    assert added == Memory(
        id=added.id, app="support", user="ada", agent="", session="", content="Likes tea.",
        author="", topics=("food", "drink"), metadata={}, event_id="", timestamp=START,
        valid_from=None, valid_until=None, superseded_by=None, pinned=False, expires_at=None,
        created_at=START, updated_at=START, version=1,
    )  # fmt: skip
    assert added.source is None
    assert await store.memory.get(*ADA, added.id) == added


async def test_every_field_comes_back_as_it_was_given(store: Store, reopen: Reopen) -> None:
    fields: dict[str, Any] = {
        "agent": "bot", "author": "ada", "session": "s1", "event_id": "e1",
        "metadata": {"a": [1, None, {"b": 2**70}], "n": "\0"}, "timestamp": START - DAY,
        "valid_from": START, "valid_until": START + DAY, "pinned": True,
        "expires_at": START + 9 * DAY,
    }  # fmt: skip
    added = await store.memory.add(*ADA, "Ünïcödé 🫖 %_\\", ["x"], **fields)

    store = await reopen()

    found = await store.memory.get(*ADA, added.id)
    assert found == added
    assert {name: getattr(found, name) for name in fields} == fields
    assert found.source == ("s1", "e1")


async def test_the_same_content_is_one_memory_with_all_topics(
    store: Store, clock: FixedClock
) -> None:
    first = await store.memory.add(*ADA, "Likes tea.", ["food"], metadata={"by": 1})
    clock.advance(DAY)

    again = await store.memory.add(
        *ADA, "Likes tea.", ["drink", "food"], metadata={"by": 2, "c": 3}
    )

    assert (again.id, again.created_at) == (first.id, first.created_at)
    assert again.topics == ("food", "drink")
    assert again.metadata == {"by": 1, "c": 3}
    assert again.updated_at > first.updated_at
    assert await store.memory.count(*ADA) == 1


async def test_adding_what_is_there_as_it_is_changes_nothing(store: Store, dump: Dump) -> None:
    first = await store.memory.add(*ADA, "Likes tea.", ["food"])
    before = (await dump())["memories"]

    assert await store.memory.add(*ADA, "Likes tea.", ["food"]) == first
    assert (await dump())["memories"] == before


async def test_owners_have_memories_of_their_own(store: Store, open_store: OpenStore) -> None:
    other = await open_store(tenant="acme")
    owners = [
        (store, "a:b", "c"), (store, "a", "b:c"), (store, "a", ""), (store, "", "a"),
        (other, "a", ""),
    ]  # fmt: skip
    for number, (where, app, user) in enumerate(owners):
        await where.memory.add(app, user, "The same.", [str(number)])

    for number, (where, app, user) in enumerate(owners):
        [found] = await where.memory.read(app, user)
        assert found.topics == (str(number),)
        for elsewhere, other_app, other_user in owners:
            if (elsewhere, other_app, other_user) != (where, app, user):
                assert await elsewhere.memory.find(other_app, other_user, found.id) is None
                assert not await elsewhere.memory.delete(other_app, other_user, found.id)


@pytest.mark.parametrize(
    "other",
    [
        {"content": "Likes tea"},
        {"agent": "bot"},
        {"author": "eve"},
        {"valid_from": START},
        {"valid_until": START + 99 * DAY},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_what_is_said_by_another_or_of_another_time_is_another_memory(
    store: Store, other: dict[str, Any]
) -> None:
    await store.memory.add(*ADA, "Likes tea.", author="ada")
    fields: dict[str, Any] = {"content": "Likes tea.", "author": "ada", **other}

    await store.memory.add(*ADA, **fields)

    assert await store.memory.count(*ADA, as_of=ALL) == 2


async def test_fields_do_not_run_into_each_other(store: Store) -> None:
    await store.memory.add(*ADA, "bc", author="a", agent="")
    await store.memory.add(*ADA, "c", author="ab", agent="")
    await store.memory.add(*ADA, "c", author="b", agent="a")

    assert await store.memory.count(*ADA) == 3


async def test_by_source_the_same_sentence_said_twice_is_two_memories(store: Store) -> None:
    async def hear(event_id: str, content: str, *topics: str) -> Memory:
        return await store.memory.add(
            *ADA, content, topics, identity="source", session="s1", event_id=event_id
        )

    first = await hear("e1", "Yes.", "a")
    second = await hear("e2", "Yes.")
    again = await hear("e1", "Something else.", "b")

    assert first.id != second.id
    assert (again.id, again.content, again.topics) == (first.id, "Yes.", ("a", "b"))


async def test_a_memory_that_is_added_again_is_pinned_and_kept_the_longer_of_two_times(
    store: Store, clock: FixedClock
) -> None:
    clock.set(START)
    await store.memory.add(*ADA, "one", expires_at=START + DAY)
    await store.memory.add(*ADA, "two", expires_at=START + 2 * DAY, pinned=True)

    one = await store.memory.add(*ADA, "one", pinned=True)
    two = await store.memory.add(*ADA, "two", expires_at=START + DAY)

    assert (one.pinned, one.expires_at) == (True, None)
    assert (two.pinned, two.expires_at) == (True, START + 2 * DAY)


async def test_concurrent_adds_of_one_memory_make_one_with_the_topics_of_all(store: Store) -> None:
    added = await asyncio.gather(
        *(store.memory.add(*ADA, "Likes tea.", [f"t{n}"]) for n in range(20))
    )

    [found] = await store.memory.read(*ADA)
    assert {memory.id for memory in added} == {found.id}
    assert sorted(found.topics) == sorted(f"t{n}" for n in range(20))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"content": ""}, "content"),
        ({"content": " \n"}, "content"),
        ({"content": 7}, "content"),
        ({"content": "a\0b"}, "content"),
        ({"content": "\ud800"}, "content"),
        ({"topics": "food"}, "topics"),
        ({"topics": [""]}, "topic"),
        ({"topics": [7]}, "topic"),
        ({"identity": "hash"}, "identity"),
        ({"identity": "source"}, "event_id"),
        ({"identity": "source", "event_id": "e"}, "session"),
        ({"metadata": {"a": float("nan")}}, "metadata"),
        ({"metadata": [1]}, "metadata"),
        ({"timestamp": datetime(2026, 1, 1)}, "timestamp"),  # noqa: DTZ001 - what is refused
        ({"valid_from": START, "valid_until": START}, "valid_until"),
        ({"pinned": 1}, "pinned"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"author": "x" * 513}, "author"),
        ({"user": 7}, "user"),
    ],
)
async def test_what_cannot_be_a_memory_is_refused_before_anything_is_written(
    store: Store, dump: Dump, fields: dict[str, Any], named: str
) -> None:
    before = await dump()

    with pytest.raises(InvalidError, match=named):
        await store.memory.add(**{"app": "a", "user": "u", "content": "x", **fields})
    with pytest.raises(InvalidError):
        await store.memory.get("a", "u", "")
    assert await dump() == before


async def test_content_and_metadata_have_limits(open_store: OpenStore) -> None:
    store = await open_store(limits=Limits(event=10, state=20))

    await store.memory.add(*ADA, "x" * 10)
    with pytest.raises(TooLargeError) as refused:
        await store.memory.add(*ADA, "é" * 6)
    assert refused.value.limit == "event"
    added = await store.memory.add(*ADA, "m", metadata={"a": "x" * 10})
    more = {"b": "x" * 10}
    for call in (
        store.memory.add(*ADA, "m", metadata=more),
        store.memory.update(*ADA, added.id, metadata=more),
    ):
        with pytest.raises(TooLargeError) as refused:
            await call
        assert refused.value.limit == "state"
    assert await store.memory.get(*ADA, added.id) == added


async def test_names_and_contents_may_be_long_and_random(store: Store) -> None:
    name = "".join(chr(0x4E00 + n * 37 % 20000) for n in range(170))
    added = await store.memory.add(
        name, name[::-1], name * 50, [name], agent=name, author=name, session=name, event_id=name
    )

    [found] = await store.memory.read(name, name[::-1], session=name, topics=[name])
    assert found == added


async def test_a_turn_adds_memories_with_its_events_or_none(store: Store) -> None:
    key = (await store.sessions.create(*ADA)).key
    async with store.turn() as turn:
        turn.events.append(key, "I like tea.")
        pending = turn.memory.add(*ADA, "Likes tea.")
    with pytest.raises(NotFoundError):  # noqa: PT012 - the block is what is sent
        async with store.turn() as turn:
            turn.memory.add(*ADA, "Likes coffee.")
            turn.memory.update(*ADA, "mem_nothing", content="x")

    assert await store.memory.get(*ADA, pending.value.id) == pending.value
    assert await contents(store) == ["Likes tea."]


# -- reading -----------------------------------------------------------------------------------


async def test_memories_are_read_last_changed_first_page_after_page(store: Store) -> None:
    added = [await store.memory.add(*ADA, f"{n}") for n in range(7)]
    await store.memory.update(*ADA, added[2].id, topics=["x"])

    first = await store.memory.read(*ADA, limit=3)
    second = await store.memory.read(*ADA, limit=3, cursor=first.next_cursor)
    third = await store.memory.read(*ADA, limit=3, cursor=second.next_cursor)

    assert [m.content for page in (first, second, third) for m in page] == list("2654310")
    assert third.next_cursor is None


async def test_memories_of_one_moment_are_each_on_one_page(store: Store, clock: FixedClock) -> None:
    clock.step = timedelta(0)
    for n in range(7):
        await store.memory.add(*ADA, f"{n}")

    found: list[str] = []
    cursor = None
    while True:
        page = await store.memory.read(*ADA, limit=2, cursor=cursor)
        found += [memory.content for memory in page]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == list("6543210")


async def test_a_page_of_topics_a_session_or_an_agent_has_only_those(store: Store) -> None:
    for n in range(30):
        topics = [f"by{d}" for d in (2, 3, 5) if n % d == 0]
        await store.memory.add(*ADA, f"{n}", topics, session=f"s{n % 2}", agent=f"a{n % 3}")

    assert await contents(store, topics=["by2", "by3"]) == ["24", "18", "12", "6", "0"]
    assert await contents(store, topics=["by5"], session="s1") == ["25", "15", "5"]
    assert await contents(store, agent="a1", session="s0") == ["28", "22", "16", "10", "4"]
    assert await contents(store, topics=["by"]) == []
    page = await store.memory.read(*ADA, topics=["by5"], limit=4)
    rest = await store.memory.read(*ADA, topics=["by5"], limit=4, cursor=page.next_cursor)
    assert [m.content for m in (*page, *rest)] == ["25", "20", "15", "10", "5", "0"]
    assert rest.next_cursor is None


@pytest.mark.parametrize("limit", [0, -1, 10_001])
async def test_a_page_has_a_limit_that_makes_sense(store: Store, limit: int) -> None:
    with pytest.raises(InvalidError, match="limit"):
        await store.memory.read(*ADA, limit=limit)


async def test_a_cursor_of_another_list_is_refused(store: Store) -> None:
    with pytest.raises(InvalidError, match="cursor"):
        await store.memory.read(*ADA, cursor="nonsense")


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    for call in (
        store.memory.get(*ADA, "mem_no"),
        store.memory.update(*ADA, "mem_no", content="x"),
        store.memory.supersede(*ADA, "mem_no", "mem_other"),
        store.memory.history(*ADA, "mem_no"),
    ):
        with pytest.raises(NotFoundError, match="mem_"):
            await call
    assert await store.memory.find(*ADA, "mem_no") is None
    assert await store.memory.delete(*ADA, "mem_no") is False
    assert await store.memory.clear(*ADA) == 0
    assert await store.memory.count(*ADA) == 0


async def test_memories_hold_in_their_time(store: Store, clock: FixedClock) -> None:
    clock.set(START)
    await store.memory.add(*ADA, "always")
    await store.memory.add(*ADA, "from", valid_from=START + DAY)
    await store.memory.add(*ADA, "until", valid_until=START + DAY)
    await store.memory.add(*ADA, "between", valid_from=START + DAY, valid_until=START + 2 * DAY)

    assert await contents(store) == ["until", "always"]
    assert await contents(store, as_of=START + DAY) == ["between", "from", "always"]
    assert await contents(store, as_of=START + 2 * DAY) == ["from", "always"]
    assert await contents(store, as_of=ALL) == ["between", "until", "from", "always"]
    assert await store.memory.count(*ADA, as_of=START + DAY) == 3
    clock.set(START + DAY)
    assert await contents(store) == ["between", "from", "always"]


# -- expiry ------------------------------------------------------------------------------------


async def test_what_has_expired_is_there_for_no_call(store: Store, clock: FixedClock) -> None:
    clock.step = timedelta(0)
    clock.set(START)
    brief = await store.memory.add(*ADA, "brief", ["old"], expires_at=START + DAY)
    clock.set(START + DAY)

    assert await store.memory.find(*ADA, brief.id) is None
    assert await contents(store, as_of=ALL) == []
    assert await store.memory.count(*ADA, as_of=ALL) == 0
    assert await store.memory.delete(*ADA, brief.id) is False
    with pytest.raises(NotFoundError):
        await store.memory.update(*ADA, brief.id, content="x")
    with pytest.raises(NotFoundError):
        await store.memory.history(*ADA, brief.id)
    again = await store.memory.add(*ADA, "brief")
    assert (again.id != brief.id, again.topics, again.created_at) == (True, (), START + DAY)


async def test_a_cleanup_removes_what_has_expired_of_all_owners(
    store: Store, clock: FixedClock, dump: Dump
) -> None:
    clock.step = timedelta(0)
    clock.set(START)
    for user in ("ada", "eve"):
        for n in range(75):
            await store.memory.add("support", user, f"{n}", expires_at=START + DAY)
        await store.memory.add("support", user, "kept", expires_at=START + 2 * DAY)
    clock.set(START + DAY)

    assert await store.memory.cleanup(dry_run=True) == 150
    assert await store.memory.cleanup() == 150
    assert await store.memory.cleanup() == 0

    assert len((await dump())["memories"]) == 2
    assert await contents(store) == ["kept"]


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
