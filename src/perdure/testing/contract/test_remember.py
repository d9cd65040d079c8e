"""Memories made of a session: each event once, whatever happens in between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    BusyError,
    Event,
    InvalidError,
    NewEvent,
    NewMemory,
    NotFoundError,
    SessionKey,
    Store,
)
from perdure.features.ingesting import PAGE, joined, without
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, NewKey, OpenStore, Reopen

ADA = ("support", "ada")
NO_WAIT = timedelta(0)


async def contents(store: Store) -> list[str]:
    """What is remembered of the user, oldest first."""
    return [memory.content async for memory in store.memory.iter(*ADA)][::-1]


class Extractor:
    """Makes a memory of each text, and notes what it was given."""

    def __init__(self) -> None:
        self.given: list[list[str]] = []

    def __call__(self, events: Sequence[Event]) -> list[str]:
        self.given.append([event.text for event in events])
        return [f"<{event.text}>" for event in events]


async def test_each_message_is_remembered_with_who_said_it_and_when(
    store: Store, key: SessionKey
) -> None:
    said = await store.events.append(
        key,
        {"role": "user", "content": "I like tea."},
        {"role": "assistant", "content": "Noted."},
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "function",
         "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "found"},
        NewEvent({"role": "user", "content": "  "}),
        NewEvent(error="broken"),
        NewEvent("From Ada.", author="ada"),
    )  # fmt: skip

    done = await store.memory.remember(key)

    heard = [said.events[0], said.events[1], said.events[7]]
    assert done.events == 8
    assert [(m.content, m.author, m.session, m.event_id, m.timestamp) for m in done] == [
        (event.text, event.author, key.id, event.id, event.timestamp) for event in heard
    ]
    assert [m.author for m in done] == ["user", "assistant", "ada"]
    assert await contents(store) == ["I like tea.", "Noted.", "From Ada."]


async def test_each_event_is_looked_at_once(store: Store, key: SessionKey) -> None:
    extractor = Extractor()
    await store.events.append(key, "1", "2")
    first = await store.memory.remember(key, extractor=extractor)
    again = await store.memory.remember(key, extractor=extractor)
    await store.events.append(key, "3")
    last = await store.memory.remember(key, extractor=extractor)

    assert extractor.given == [["1", "2"], ["3"]]
    assert [(len(done), done.events) for done in (first, again, last)] == [(2, 2), (0, 0), (1, 1)]
    assert await contents(store) == ["<1>", "<2>", "<3>"]


async def test_the_store_has_an_extractor_and_a_call_may_have_another(
    open_store: OpenStore,
) -> None:
    async def one_fact(events: Sequence[Event]) -> list[NewMemory]:
        await asyncio.sleep(0)
        return [NewMemory("A fact.", ["t"], session="another", event_id=events[0].id)]

    store = await open_store(extractor=one_fact)
    key = (await store.sessions.create(*ADA)).key
    await store.events.append(key, "1", "2")
    [fact] = await store.memory.remember(key)
    await store.events.append(key, "3")
    again = await store.memory.remember(key)
    await store.events.append(key, "4")
    nothing = await store.memory.remember(key, extractor=lambda _: None)

    # By content, as an extractor's memories are unless told otherwise.
    assert (fact.content, fact.session) == ("A fact.", "another")
    assert [m.id for m in again.known] == [fact.id]
    assert (len(nothing), nothing.events) == (0, 1)
    assert (await store.memory.remember(key)).events == 0


async def test_a_long_session_is_looked_at_in_pages(store: Store, key: SessionKey) -> None:
    texts = [f"{n}" for n in range(2 * PAGE + 1)]
    await store.events.append(key, *texts)
    extractor = Extractor()

    done = await store.memory.remember(key, extractor=extractor)

    assert [len(given) for given in extractor.given] == [PAGE, PAGE, 1]
    assert [text for given in extractor.given for text in given] == texts
    assert (len(done), done.events) == (len(texts), len(texts))


async def test_events_appended_meanwhile_wait_for_the_next_time(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, "1")
    given: list[list[str]] = []

    async def slow(events: Sequence[Event]) -> list[str]:
        given.append([event.text for event in events])
        await store.events.append(key, "meanwhile")
        return []

    await store.memory.remember(key, extractor=slow)
    assert given == [["1"]]
    await store.memory.remember(key, extractor=slow)
    assert given == [["1"], ["meanwhile"]]


async def test_after_an_error_of_the_extractor_the_same_events_come_again(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, *[f"{n}" for n in range(PAGE + 1)])

    def broken(events: Sequence[Event]) -> list[str]:
        if len(events) < PAGE:
            raise OSError("the model is down")
        return ["first page"]

    with pytest.raises(OSError, match="down"):
        await store.memory.remember(key, extractor=broken)
    assert await contents(store) == ["first page"]
    extractor = Extractor()
    await store.memory.remember(key, extractor=extractor, wait=NO_WAIT)

    assert extractor.given == [[f"{PAGE}"]]


@pytest.mark.parametrize("given", ["text", 7, ["good", ""], [{"no": "content"}], [b"x"]])
async def test_what_an_extractor_gives_has_to_be_memories(
    store: Store, key: SessionKey, given: Any
) -> None:
    await store.events.append(key, "1")

    with pytest.raises(InvalidError):
        await store.memory.remember(key, extractor=lambda _: given)
    assert await contents(store) == []
    assert (await store.memory.remember(key)).events == 1


async def test_a_crash_between_extracting_and_storing_loses_nothing_and_doubles_nothing(
    store: Store, key: SessionKey, dump: Dump, reopen: Reopen, clock: FixedClock
) -> None:
    await store.events.append(key, "1", "2")
    before = (await dump())["memory_ingests"]
    extractor = Extractor()

    class Crash(BaseException):
        """As if the process had ended here: nothing is cleaned up."""

    def crashing(events: Sequence[Event]) -> list[str]:
        extractor(events)
        raise Crash

    with pytest.raises(Crash):
        await store.memory.remember(key, extractor=crashing)
    assert (await dump())["memory_ingests"] == before
    store = await reopen()
    with pytest.raises(BusyError, match=repr(key.id)):
        await store.memory.remember(key, extractor=extractor, wait=NO_WAIT)
    clock.advance(timedelta(minutes=3))
    await store.memory.remember(key, extractor=extractor, wait=NO_WAIT)
    await store.memory.remember(key, extractor=extractor, wait=NO_WAIT)

    assert extractor.given == [["1", "2"], ["1", "2"]]
    assert await contents(store) == ["<1>", "<2>"]


async def test_one_at_a_time_makes_memories_of_a_session(store: Store, key: SessionKey) -> None:
    await store.events.append(key, "1", "2")
    running = 0

    async def slow(events: Sequence[Event]) -> list[str]:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0.05)
        running -= 1
        return [event.text for event in events]

    done = await asyncio.gather(*(store.memory.remember(key, extractor=slow) for _ in range(3)))

    assert sorted(len(one) for one in done) == [0, 0, 2]
    assert await contents(store) == ["1", "2"]


async def test_who_was_overtaken_stores_nothing(
    store: Store, key: SessionKey, clock: FixedClock
) -> None:
    await store.events.append(key, "1")
    inner = Extractor()

    async def overtaken(events: Sequence[Event]) -> list[str]:
        del events
        if not inner.given:
            # As long as this takes, its lease has run out.
            clock.advance(timedelta(minutes=3))
            await store.memory.remember(key, extractor=inner)
        return ["too late"]

    done = await store.memory.remember(key, extractor=overtaken)

    assert (len(done), done.events) == (0, 0)
    assert await contents(store) == ["<1>"]


async def test_what_stands_on_another_line_is_looked_at_when_it_is_taken_up(
    store: Store, key: SessionKey
) -> None:
    extractor = Extractor()
    await store.events.append(key, "1", "2", "3")
    await store.events.rewind(key, 1)
    await store.events.append(key, "4")
    await store.memory.remember(key, extractor=extractor)
    await store.events.switch(key, "line-3")
    await store.memory.remember(key, extractor=extractor)
    await store.memory.remember(key, extractor=extractor)

    assert extractor.given == [["1", "4"], ["2", "3"]]


async def test_a_fork_knows_what_was_looked_at_in_its_origin(store: Store, key: SessionKey) -> None:
    extractor = Extractor()
    await store.events.append(key, "1", "2", "3")
    await store.events.rewind(key, 1)
    await store.events.append(key, "4")
    await store.memory.remember(key, extractor=extractor)
    await store.events.append(key, "5", "6")

    fork = (await store.sessions.fork(key)).key
    early = (await store.sessions.fork(key, at=4)).key
    await store.memory.remember(fork, extractor=extractor)
    await store.memory.remember(early, extractor=extractor)

    assert extractor.given == [["1", "4"], ["5", "6"]]


async def test_pruned_and_removed_events_are_no_hindrance(store: Store, key: SessionKey) -> None:
    extractor = Extractor()
    said = await store.events.append(key, *"12345")
    await store.events.delete(key, ids=[said.events[3].id])
    await store.events.prune(key, before_seq=3)
    await store.memory.remember(key, extractor=extractor)
    await store.events.append(key, "6")
    await store.memory.remember(key, extractor=extractor)

    assert [text for given in extractor.given for text in given] == ["3", "5", "6"]


async def test_memories_outlive_their_session_and_a_new_one_of_its_id_begins_anew(
    store: Store, key: SessionKey, new_key: NewKey
) -> None:
    await store.events.append(key, NewEvent("1", id="e1"))
    await store.memory.remember(key)
    await store.sessions.purge(key)

    with pytest.raises(NotFoundError, match="'chat'"):
        await store.memory.remember(key)
    assert await contents(store) == ["1"]
    again = await new_key("chat")
    await store.events.append(again, NewEvent("2", id="e2"))
    await store.memory.remember(again)
    assert await contents(store) == ["1", "2"]


async def test_a_session_that_is_purged_meanwhile_leaves_no_memory(
    store: Store, key: SessionKey, new_key: NewKey
) -> None:
    await store.events.append(key, "1")

    async def purging(events: Sequence[Event]) -> list[str]:
        await store.sessions.purge(key)
        return [event.text for event in events]

    async def replacing(events: Sequence[Event]) -> list[str]:
        await store.sessions.purge(key)
        await new_key("chat")
        return [event.text for event in events]

    with pytest.raises(NotFoundError):
        await store.memory.remember(key, extractor=purging)
    await new_key("chat")
    await store.events.append(key, "1")
    with pytest.raises(NotFoundError, match="anew"):
        await store.memory.remember(key, extractor=replacing)
    assert await contents(store) == []


async def test_what_was_deleted_or_corrected_is_not_made_again(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, "1", "2")
    one, two = await store.memory.remember(key, extractor=Extractor())
    await store.memory.delete(*ADA, one.id)
    await store.memory.update(*ADA, two.id, content="TWO")
    await store.events.append(key, "1", "2")

    done = await store.memory.remember(key, extractor=Extractor())

    assert (len(done), done.refused, [m.content for m in done.known]) == (0, 1, ["TWO"])
    assert await contents(store) == ["TWO"]


async def test_what_is_redacted_is_not_remembered_any_more(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    said = await store.events.append(key, "my secret is plum", "hello")
    await store.memory.remember(key)
    fork = (await store.sessions.fork(key)).key
    copy = await store.memory.add(
        *ADA, "The secret is plum.", ["plum"], session=fork.id, event_id=said.events[0].id
    )
    await store.memory.update(*ADA, copy.id, content="It is a plum.")

    await store.events.redact(key, said.events[0].id)

    assert await contents(store) == ["hello"]
    after = await dump()
    assert "plum" not in repr([after["memories"], after["memory_log"], after["search_blocks"]])
    again = NewMemory("plum", session=key.id, event_id=said.events[0].id)
    assert (await store.memory.ingest(*ADA, [again], identity="source")).refused == 1


async def test_what_is_redacted_while_it_is_looked_at_is_looked_at_again(
    store: Store, key: SessionKey
) -> None:
    said = await store.events.append(key, "secret", "hello")
    extractor = Extractor()

    async def slow(events: Sequence[Event]) -> list[str]:
        if not extractor.given:
            await store.events.redact(key, said.events[0].id)
        return extractor(events)

    await store.memory.remember(key, extractor=slow)

    assert extractor.given == [["secret", "hello"], ["[redacted]", "hello"]]
    assert await contents(store) == ["<[redacted]>", "<hello>"]


async def test_remember_refuses_what_makes_no_sense(store: Store, key: SessionKey) -> None:
    await store.events.append(key, "1")

    for options in ({"extractor": 7}, {"identity": "id"}, {"wait": 5}, {"wait": -timedelta(1)}):
        with pytest.raises(InvalidError, match=next(iter(options))):
            await store.memory.remember(key, **options)
    async with store.turn() as turn:
        with pytest.raises(InvalidError, match="turn"):
            turn.memory.remember(key)  # type: ignore[arg-type, unused-coroutine]


@pytest.mark.parametrize(
    ("wanted", "spans", "left"),
    [
        ([(1, 5)], [], [(1, 5)]),
        ([(1, 5)], [(1, 5)], []),
        ([(1, 5)], [(2, 3)], [(1, 1), (4, 5)]),
        ([(1, 5), (8, 9)], [(4, 8)], [(1, 3), (9, 9)]),
        ([(3, 4)], [(1, 1), (9, 9)], [(3, 4)]),
        ([(1, 9)], [(7, 7), (1, 2), (2, 4)], [(5, 6), (8, 9)]),
    ],
)
def test_what_is_left_of_spans(
    wanted: list[tuple[int, int]], spans: list[tuple[int, int]], left: list[tuple[int, int]]
) -> None:
    assert without(wanted, spans) == left
    assert joined([*spans, *left]) == joined([*spans, *wanted])
