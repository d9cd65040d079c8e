"""Long-term memory: added once, read page after page, gone when it has expired."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import (
    ALL,
    InvalidError,
    Limits,
    Memory,
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
