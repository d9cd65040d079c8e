"""The past: what a session was, after prunes, deletes and visits to other lines."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perdure import DELETE, NewEvent, NotFoundError, SessionKey, Store
from perdure.testing.clocks import START
from perdure.testing.databases import Dump, NewKey, OpenStore


async def talk(store: Store, key: SessionKey, *numbers: int, **options: Any) -> None:
    """Append texts with these numbers for ids, each setting the key ``n`` and one of its own."""
    given = [NewEvent(f"{n}", id=f"e{n}", state_delta={"n": n, f"k{n}": n}) for n in numbers]
    await store.events.append(key, *given, **options)


def state(*numbers: int) -> dict[str, int]:
    """What the events of these numbers leave."""
    return {**{f"k{n}": n for n in numbers}, **({"n": numbers[-1]} if numbers else {})}


async def seqs(store: Store, key: SessionKey, **filters: Any) -> list[int]:
    return [event.seq for event in await store.events.read(key, **filters)]


async def all_is_one(store: Store, key: SessionKey) -> dict[str, Any]:
    """The state, which every way to ask for it must give alike."""
    session = await store.sessions.get(key)
    merged = await store.state.merged(key)
    assert await store.state.at(key, session.head_seq) == merged
    assert {entry.name: entry.value async for entry in store.state.iter(key)} == merged
    assert session.event_count == len(await store.events.read(key))
    return merged


# -- pruned ----------------------------------------------------------------------------------


async def test_a_pruned_line_does_not_run_into_the_rows_of_another(
    store: Store, key: SessionKey
) -> None:
    await talk(store, key, 1, 2, 3)
    await talk(store, key, 4, 5, after=1)

    assert await store.events.prune(key, before_seq=5) == 2

    # Of line-3 the rows 2 and 3 are left, right below the only one of the active line.
    assert await seqs(store, key, all_lines=True) == [2, 3, 5]
    assert await seqs(store, key) == [5]
    assert await seqs(store, key, recent=2) == [5]
    assert [event.seq for event in await store.events.window(key, 3)] == [5]
    assert await store.events.count(key) == 1
    assert await all_is_one(store, key) == state(1, 4, 5)
    await store.events.switch(key, "line-3")
    assert await seqs(store, key) == [2, 3]
    assert await all_is_one(store, key) == state(1, 2, 3)


async def test_lines_that_share_what_is_kept_stay_whole(store: Store, key: SessionKey) -> None:
    await talk(store, key, 1, 2, 3)
    await talk(store, key, 4, after=2)
    await talk(store, key, 5, after=2)

    assert await store.events.prune(key, before_seq=2) == 1

    for tip in (3, 4, 5):
        await store.events.rewind(key, tip)
        assert await seqs(store, key) == [2, tip]
        assert await all_is_one(store, key) == state(1, 2, tip)
        assert await store.state.at(key, 2) == state(1, 2)


BEGINNINGS: dict[str, Any] = {
    "rewind": lambda events, key: events.rewind(key, 0),
    "pop": lambda events, key: events.pop(key, 9),
    "append": lambda events, key: events.append(key, "anew", after=0),
    "replace_suffix": lambda events, key: events.replace_suffix(key, 0, ["anew"]),
}


@pytest.mark.parametrize("name", BEGINNINGS)
async def test_a_pruned_session_begins_again_with_what_its_oldest_event_found(
    store: Store, new_key: NewKey, name: str
) -> None:
    key = await new_key("born", state={"born": True})
    await talk(store, key, 1, 2, 3, 4)
    await store.events.prune(key, keep_last=2)

    await BEGINNINGS[name](store.events, key)

    assert await all_is_one(store, key) == {"born": True, **state(1, 2)}
    assert await store.state.at(key, 0) == {"born": True, **state(1, 2)}
    await store.events.switch(key, "line-4")
    assert await seqs(store, key) == [3, 4]
    assert await all_is_one(store, key) == {"born": True, **state(1, 2, 3, 4)}


async def test_popping_one_by_one_passes_the_end_of_a_pruned_line(
    store: Store, key: SessionKey
) -> None:
    await talk(store, key, 1, 2, 3)
    await store.events.prune(key, keep_last=2)

    popped = [[event.id for event in await store.events.pop(key)] for _ in range(3)]

    assert popped == [["e3"], ["e2"], []]
    assert (await store.sessions.get(key)).head_seq == 0


async def test_what_was_set_at_the_beginning_of_a_pruned_session_is_there_again(
    store: Store, key: SessionKey
) -> None:
    await talk(store, key, 1, 2)
    await store.events.prune(key, keep_last=1)
    await store.events.rewind(key, 0)
    await store.state.set(key, {"n": "set", "k1": DELETE})

    await store.events.rewind(key, 2)
    assert await all_is_one(store, key) == state(1, 2)
    await store.events.append(key, "anew", after=0)

    assert await all_is_one(store, key) == {"n": "set"}


async def test_a_key_that_was_removed_stays_so_when_the_whole_line_is_pruned(
    store: Store, new_key: NewKey
) -> None:
    key = await new_key("born", state={"x": 1, "y": 1})
    await store.events.append(key, "another line from the beginning")
    await store.events.append(key, NewEvent("2", state_delta={"x": DELETE, "y": 2}), after=0)

    assert await store.events.prune(key, keep_last=0) == 1

    assert await all_is_one(store, key) == {"y": 2}
    await store.events.switch(key, "line-1")
    assert await all_is_one(store, key) == {"x": 1, "y": 1}
    await store.events.rewind(key, 0)
    assert await all_is_one(store, key) == {"y": 2}


@pytest.mark.parametrize("at", [None, 3, 0])
async def test_a_fork_of_a_pruned_session_was_created_with_what_the_oldest_event_found(
    store: Store, key: SessionKey, at: int | None
) -> None:
    await talk(store, key, 1, 2, 3, 4)
    await store.events.prune(key, keep_last=2)

    fork = (await store.sessions.fork(key, at=at)).key

    taken = {None: [3, 4], 3: [3], 0: []}[at]
    assert await all_is_one(store, fork) == state(1, 2, *taken)
    assert await store.state.at(fork, 0) == state(1, 2)
    assert [event.prev for event in await store.events.read(fork)] == [*range(len(taken))]


async def test_pruning_again_and_again_keeps_the_state_of_what_is_left(
    store: Store, key: SessionKey
) -> None:
    await talk(store, key, 1, 2, 3, 4, 5)

    for seq in (2, 3, 4, 5):
        assert await store.events.prune(key, before_seq=seq) == 1
        assert await store.state.at(key, seq) == state(*range(1, seq + 1))
        assert await all_is_one(store, key) == state(1, 2, 3, 4, 5)
        with pytest.raises(NotFoundError, match=rf"\b{seq}\b"):
            await store.state.at(key, seq - 1)


async def test_a_session_whose_last_kept_event_is_deleted_has_no_head(
    store: Store, key: SessionKey
) -> None:
    await talk(store, key, 1, 2, 3)
    await store.events.prune(key, keep_last=1)

    assert await store.events.delete(key, ["e3"]) == 1

    session = await store.sessions.get(key)
    assert (session.head_seq, session.event_count, session.last_event_at) == (0, 0, None)
    assert await all_is_one(store, key) == state(1, 2, 3)
    done = await store.events.append(key, "next")
    assert (done.event.seq, done.event.prev) == (4, 0)


async def test_with_an_event_limit_the_state_outlives_the_events(
    open_store: OpenStore, key: SessionKey
) -> None:
    store = await open_store(event_limit=2)
    for n in range(1, 8):
        await talk(store, key, n)
        assert await all_is_one(store, key) == state(*range(1, n + 1))

    assert await seqs(store, key, all_lines=True) == [6, 7]
    await store.events.pop(key, 2)
    assert await all_is_one(store, key) == state(1, 2, 3, 4, 5)


# -- deleted ---------------------------------------------------------------------------------


async def test_deleting_does_not_bring_in_what_was_set_on_a_visit_elsewhere(
    store: Store, key: SessionKey
) -> None:
    await talk(store, key, 1, 2)
    await store.events.rewind(key, 1)
    await store.state.set(key, {"elsewhere": True})
    await talk(store, key, 3, after=2)

    await store.events.delete(key, ["e2"])

    assert await seqs(store, key) == [1, 3]
    assert await all_is_one(store, key) == state(1, 2, 3)


async def test_deleting_the_head_keeps_the_state_as_it_is(store: Store, key: SessionKey) -> None:
    await talk(store, key, 1, 2)
    await store.events.rewind(key, 1)
    await store.state.set(key, {"elsewhere": True, "n": DELETE})
    await store.events.switch(key, "line-2")

    await store.events.delete(key, ["e2"])

    assert await all_is_one(store, key) == state(1, 2)
    await talk(store, key, 3)
    assert await all_is_one(store, key) == state(1, 2, 3)


async def test_deleting_the_first_event_does_not_change_how_the_session_began(
    store: Store, new_key: NewKey
) -> None:
    key = await new_key("born", state={"born": True})
    await talk(store, key, 1, 2, 3)

    await store.events.delete(key, ["e1", "e2"])

    assert await store.state.at(key, 0) == {"born": True}
    assert await all_is_one(store, key) == {"born": True, **state(1, 2, 3)}
    await store.events.rewind(key, 0)
    assert await all_is_one(store, key) == {"born": True}


async def test_clearing_keeps_removed_keys_removed(store: Store, new_key: NewKey) -> None:
    key = await new_key("born", state={"x": 1})
    await store.events.append(key, NewEvent("1", state_delta={"x": DELETE, "y": 1}))
    await store.events.append(key, "2")

    await store.events.clear(key)

    assert await all_is_one(store, key) == {"y": 1}
    await store.events.append(key, "3")
    await store.events.rewind(key, 0)
    assert await all_is_one(store, key) == {"y": 1}


# -- visited ---------------------------------------------------------------------------------


async def test_what_is_set_belongs_to_the_event_that_stands_last(
    store: Store, key: SessionKey
) -> None:
    await talk(store, key, 1)
    await store.state.set(key, {"set": 1})
    await talk(store, key, 2)
    await store.state.delete(key, "k1")

    assert await store.state.at(key, 1) == {**state(1), "set": 1}
    await store.events.rewind(key, 1)
    assert await all_is_one(store, key) == {**state(1), "set": 1}
    await store.events.rewind(key, 2)
    assert await all_is_one(store, key) == {"n": 2, "k2": 2, "set": 1}


async def test_a_fork_has_the_state_of_its_line_not_of_another_that_left_there(
    store: Store, key: SessionKey
) -> None:
    await talk(store, key, 1, 2)
    await store.events.rewind(key, 1)
    await store.state.set(key, {"elsewhere": True})
    await store.events.switch(key, "line-2")

    fork = (await store.sessions.fork(key, at=1)).key

    assert await store.state.at(key, 1) == state(1)
    assert await all_is_one(store, fork) == state(1)


async def test_a_retry_of_an_event_on_a_line_that_was_left_finds_it(
    store: Store, key: SessionKey
) -> None:
    await talk(store, key, 1, 2)
    await store.events.rewind(key, 1)
    version = (await store.sessions.get(key)).version

    given = NewEvent("2", id="e2", state_delta={"n": 2, "k2": 2})
    done = await store.events.append(key, given, expected_version=1)

    assert (done.duplicate, done.event.seq, done.version) == (True, 2, version)
    assert await seqs(store, key) == [1]


async def test_ignoring_duplicates_gives_the_stored_event_wherever_it_stands(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await talk(store, key, 1, 2)
    before = await dump()

    given = NewEvent("other words", id="e2")
    done = await store.events.append(key, given, after=0, on_duplicate="ignore")

    assert (done.duplicate, done.event.seq, done.event.content) == (True, 2, "2")
    assert await dump() == before


async def test_switching_to_the_active_line_changes_nothing(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await talk(store, key, 1, 2)
    await store.events.rewind(key, 1)
    before = await dump()

    [active, _] = await store.events.branches(key)
    session = await store.events.switch(key, active.name)

    assert session == await store.sessions.get(key)
    assert await dump() == before


async def test_redacting_leaves_an_equal_event_that_is_no_copy(
    store: Store, key: SessionKey, new_key: NewKey
) -> None:
    other = await new_key("other")
    fork = (await store.sessions.fork(key)).key
    for one in (key, other, fork):
        await talk(store, one, 1)
    later = (await store.sessions.fork(key)).key
    versions = [(await store.sessions.get(one)).version for one in (other, fork)]

    await store.events.redact(key, "e1")

    texts = [(await store.events.get(one, "e1")).text for one in (key, later, other, fork)]
    assert texts == ["[redacted]", "[redacted]", "1", "1"]
    assert [(await store.sessions.get(one)).version for one in (other, fork)] == versions


# -- what the list shows ---------------------------------------------------------------------

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SHOWN: dict[str, tuple[Any, str, int | None]] = {
    "append": (lambda events, key: events.append(key, NewEvent(state_delta={"a": 1})), "first", 4),
    "rewind": (lambda events, key: events.rewind(key, 1), "first", 1),
    "rewind to nothing": (lambda events, key: events.rewind(key, 0), "", None),
    "pop": (lambda events, key: events.pop(key), "first", 2),
    "prune": (lambda events, key: events.prune(key, keep_last=1), "", 3),
    "prune all": (lambda events, key: events.prune(key, keep_last=0), "", None),
    "delete": (lambda events, key: events.delete(key, ["e1"]), "", 3),
    "redact": (lambda events, key: events.redact(key, "e1", "…"), "…", 3),
    "clear": (lambda events, key: events.clear(key), "", None),
    "branch": (lambda events, key: events.append(key, "anew", after=0), "anew", 4),
}


@pytest.mark.parametrize("name", SHOWN)
async def test_the_preview_is_the_last_message_that_is_left(
    store: Store, key: SessionKey, name: str
) -> None:
    change, preview, last = SHOWN[name]
    contents: list[Any] = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        None,
    ]
    for n, content in enumerate(contents, 1):
        moment = START + timedelta(hours=n)
        error = None if content else "it broke"
        await store.events.append(key, NewEvent(content, id=f"e{n}", error=error, timestamp=moment))
    assert (await store.sessions.get(key)).preview == "first"

    await change(store.events, key)

    session = await store.sessions.get(key)
    moments = {event.seq: event.timestamp for event in await store.events.read(key)}
    assert (session.preview, session.head_seq) == (preview, last or 0)
    assert session.last_event_at == (moments[last] if last else None)


async def test_a_preview_is_the_first_two_hundred_characters(store: Store, key: SessionKey) -> None:
    await store.events.append(key, "é" * 500, {"role": "assistant", "content": ""})

    assert (await store.sessions.get(key)).preview == "é" * 200
    await store.events.append(key, NewEvent(state_delta={"a": 1}))
    await store.events.pop(key)
    assert (await store.sessions.get(key)).preview == "é" * 200
