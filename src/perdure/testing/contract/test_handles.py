"""Handles: one session as an object, that advances with what it appends."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from datetime import UTC, datetime

import pytest

from perdure import (
    DELETE,
    AppScope,
    ConflictError,
    InvalidError,
    NewEvent,
    NotFoundError,
    SessionKey,
    StaleSessionError,
    StateKeyError,
    Store,
    UserScope,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump

START = datetime(2026, 1, 1, tzinfo=UTC)


async def test_a_handle_makes_the_session_if_it_is_new(store: Store) -> None:
    chat = await store.session("support", "ada", "new", title="T", state={"a": 1})

    stored = await store.sessions.get(SessionKey("support", "ada", "new"))
    assert (stored.title, stored.version) == ("T", 1)
    assert (chat.app, chat.user, chat.id, chat.key) == ("support", "ada", "new", stored.key)
    assert (chat.version, chat.last_update_time) == (1, stored.updated_at)
    assert (chat.events, dict(chat.state)) == ([], {"a": 1})


async def test_without_an_id_it_is_a_new_session_each_time(store: Store) -> None:
    first = await store.session("support", "ada")
    second = await store.session("support", "ada")

    assert first.id
    assert first.id != second.id


async def test_a_handle_on_a_stored_session_holds_what_is_stored(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, NewEvent("hi", state_delta={"a": 1, "user:b": 2, "app:c": 3}))

    chat = await store.session(*key, title="ignored", state={"a": "ignored"})

    assert chat.version == 2
    assert chat.events == await store.events.read(key)
    assert dict(chat.state) == {"a": 1, "user:b": 2, "app:c": 3}


async def test_recent_limits_the_events_it_holds(store: Store, key: SessionKey) -> None:
    await store.events.append(key, "1", "2", "3")

    last = await store.session(*key, recent=2)
    none = await store.session(*key, recent=0)
    await none.append("4")

    assert [event.content for event in last.events] == ["2", "3"]
    assert [event.content for event in none.events] == ["4"]


async def test_append_advances_the_handle(store: Store, key: SessionKey, clock: FixedClock) -> None:
    chat = await store.session(*key)
    clock.set(START.replace(hour=5))

    done = await chat.append("one", NewEvent("two", state_delta={"a": 1, "user:b": 2}))

    stored = await store.sessions.get(key)
    assert chat.version == done.version == stored.version == 2
    assert chat.last_update_time == stored.updated_at == START.replace(hour=5)
    assert chat.events == list(done.events) == await store.events.read(key)
    assert dict(chat.state) == {"a": 1, "user:b": 2} == await store.state.merged(key)


async def test_what_is_set_in_its_state_goes_into_the_next_delta(
    store: Store, key: SessionKey
) -> None:
    chat = await store.session(*key, state={})
    chat.state["a"] = 1
    chat.state["user:b"] = 2
    chat.state["app:c"] = None
    assert await store.state.merged(key) == {}

    done = await chat.append("hi", "again")
    later = await chat.append("third")

    assert done.events[0].state_delta == {"a": 1, "user:b": 2, "app:c": None}
    assert done.events[1].state_delta is None
    assert later.event.state_delta is None
    assert await store.state.merged(key) == {"a": 1, "user:b": 2, "app:c": None}


async def test_the_delta_of_the_event_wins_over_what_was_set(store: Store, key: SessionKey) -> None:
    chat = await store.session(*key)
    chat.state["a"] = "set"
    chat.state["b"] = "set"

    await chat.append(NewEvent("hi", state_delta={"a": "event"}))

    assert dict(chat.state) == {"a": "event", "b": "set"} == await store.state.merged(key)


async def test_state_is_stored_alone_if_there_is_no_event(store: Store, key: SessionKey) -> None:
    chat = await store.session(*key)
    chat.state["a"] = 1

    done = await chat.append()

    assert (done.event.kind, done.event.state_delta) == ("state", {"a": 1})
    assert chat.version == 2
    assert await store.state.merged(key) == {"a": 1}


async def test_append_of_nothing_does_nothing(store: Store, key: SessionKey) -> None:
    chat = await store.session(*key)

    done = await chat.append()

    assert (done.events, done.version, chat.version) == ((), 1, 1)
    assert (await store.sessions.get(key)).version == 1


async def test_a_removed_key_is_removed_from_the_store_too(store: Store, key: SessionKey) -> None:
    await store.state.set(key, {"a": 1, "b": 2})
    chat = await store.session(*key)
    del chat.state["a"]
    chat.state["b"] = DELETE

    await chat.append("hi")

    assert dict(chat.state) == {} == await store.state.merged(key)


async def test_a_missing_key_is_a_key_error(store: Store, key: SessionKey) -> None:
    chat = await store.session(*key)

    with pytest.raises(StateKeyError, match="'nothing'") as missing:
        _ = chat.state["nothing"]
    assert isinstance(missing.value, KeyError)
    assert chat.state.get("nothing", 7) == 7
    assert "nothing" not in chat.state
    with pytest.raises(KeyError):
        del chat.state["nothing"]


async def test_its_state_is_a_mapping_like_any(store: Store, key: SessionKey) -> None:
    chat = await store.session(*key)

    chat.state.update({"a": 1, "b": 2})
    popped = chat.state.pop("a")
    chat.state.setdefault("c", 3)

    assert isinstance(chat.state, MutableMapping)
    assert (popped, len(chat.state), sorted(chat.state)) == (1, 2, ["b", "c"])


async def test_temp_keys_stay_in_the_handle_alone(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    chat = await store.session(*key)
    chat.state["temp:mine"] = "never-stored"
    await chat.append(NewEvent("hi", state_delta={"temp:event": "never-stored", "a": 1}))
    await chat.append("again")
    await chat.refresh()

    assert dict(chat.state) == {"a": 1, "temp:mine": "never-stored", "temp:event": "never-stored"}
    assert "never-stored" not in repr(await dump())


async def test_a_temp_key_alone_is_nothing_to_store(store: Store, key: SessionKey) -> None:
    chat = await store.session(*key)
    chat.state["temp:a"] = 1

    done = await chat.append()

    assert (done.events, chat.version) == ((), 1)
    assert dict(chat.state) == {"temp:a": 1}
    assert await store.events.count(key) == 0


async def test_a_partial_event_is_handed_back_and_neither_stored_nor_applied(
    store: Store, key: SessionKey
) -> None:
    chat = await store.session(*key)

    done = await chat.append(NewEvent("he", partial=True, state_delta={"a": 1}))

    assert (done.event.content, done.event.partial, done.event.seq) == ("he", True, 0)
    assert (chat.version, chat.events, dict(chat.state)) == (1, [], {})
    assert await store.events.count(key) == 0


async def test_of_two_handles_the_later_is_stale_and_stays_as_it_was(
    store: Store, key: SessionKey
) -> None:
    first = await store.session(*key, state={})
    second = await store.session(*key)
    second.state["b"] = 2
    await first.append(NewEvent("first", state_delta={"a": 1}))
    time = second.last_update_time

    with pytest.raises(StaleSessionError) as stale:
        await second.append("second")

    assert stale.value.current_version == 2
    assert (second.version, second.events, second.last_update_time) == (1, [], time)
    assert dict(second.state) == {"b": 2}
    assert [event.content for event in await store.events.read(key)] == ["first"]


async def test_after_a_refresh_the_later_handle_can_append_what_it_had_set(
    store: Store, key: SessionKey
) -> None:
    first = await store.session(*key)
    second = await store.session(*key)
    second.state["b"] = 2
    await first.append(NewEvent("first", state_delta={"a": 1, "b": 1}))
    with pytest.raises(StaleSessionError):
        await second.append("second")

    await second.refresh()
    refreshed = (second.version, [event.content for event in second.events], dict(second.state))
    await second.append("second")

    assert refreshed == (2, ["first"], {"a": 1, "b": 2})
    assert [event.content for event in second.events] == ["first", "second"]
    assert await store.state.merged(key) == {"a": 1, "b": 2}


async def test_of_handles_that_append_at_once_exactly_one_succeeds(
    store: Store, key: SessionKey
) -> None:
    handles = [await store.session(*key) for _ in range(6)]

    results = await asyncio.gather(
        *(chat.append(f"{n}") for n, chat in enumerate(handles)), return_exceptions=True
    )

    assert sum(isinstance(result, StaleSessionError) for result in results) == 5
    assert sorted(chat.version for chat in handles) == [1, 1, 1, 1, 1, 2]
    assert await store.events.count(key) == 1


async def test_a_change_of_another_kind_makes_a_handle_stale_too(
    store: Store, key: SessionKey
) -> None:
    chat = await store.session(*key)
    await store.state.set(key, {"a": 1})

    with pytest.raises(StaleSessionError):
        await chat.append("hi")
    await chat.refresh()

    assert (chat.version, dict(chat.state)) == (2, {"a": 1})


async def test_state_of_app_and_user_does_not_make_it_stale(store: Store, key: SessionKey) -> None:
    chat = await store.session(*key)
    await store.state.set(AppScope("support"), {"a": 1})
    await store.state.set(UserScope("support", "ada"), {"a": 1})

    await chat.append("hi")
    await chat.refresh()

    assert dict(chat.state) == {"app:a": 1, "user:a": 1}


async def test_a_refused_event_leaves_the_handle_as_it_was(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    chat = await store.session(*key)
    await chat.append(NewEvent("hi", id="e1"))
    chat.state["a"] = 1
    before, rows = (chat.version, list(chat.events), dict(chat.state)), await dump()

    with pytest.raises(InvalidError):
        await chat.append({"n": float("nan")})
    with pytest.raises(ConflictError):
        await chat.append(NewEvent("other", id="e1"))

    assert (chat.version, chat.events, dict(chat.state)) == before
    assert await dump() == rows
    await chat.append("now")
    assert await store.state.merged(key) == {"a": 1}


async def test_a_retried_append_advances_once(store: Store, key: SessionKey) -> None:
    chat = await store.session(*key)
    await chat.append(NewEvent("hi", id="e1", state_delta={"a": 1}))

    done = await chat.append(NewEvent("hi", id="e1", state_delta={"a": 1}))

    assert done.duplicate
    assert (chat.version, len(chat.events), dict(chat.state)) == (2, 1, {"a": 1})
    assert (await chat.append("next")).event.seq == 2


async def test_an_append_whose_answer_was_lost_can_be_repeated(
    store: Store, key: SessionKey
) -> None:
    chat = await store.session(*key)
    event = NewEvent("hi", id="e1", state_delta={"a": 1})
    await store.events.append(key, event, expected_version=1)

    done = await chat.append(event)

    assert done.duplicate
    assert (chat.version, [e.id for e in chat.events]) == (2, ["e1"])
    assert (await chat.append("next")).version == 3


async def test_a_handle_on_a_deleted_session_is_not_found(store: Store, key: SessionKey) -> None:
    chat = await store.session(*key)
    await store.sessions.delete(key)

    with pytest.raises(NotFoundError):
        await chat.append("hi")
    with pytest.raises(NotFoundError):
        await chat.refresh()
    assert chat.version == 1


async def test_what_the_caller_sets_stays_apart_from_what_is_stored(
    store: Store, key: SessionKey
) -> None:
    chat = await store.session(*key)
    chat.state["list"] = [1]
    await chat.append("hi")

    chat.state["list"].append(2)

    assert await store.state.merged(key) == {"list": [1]}
