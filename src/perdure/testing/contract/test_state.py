"""State: three scopes that are stored and one that is not, by key, with a past."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import (
    ALL,
    DELETE,
    AppScope,
    ConflictError,
    InvalidError,
    Limits,
    NewEvent,
    NotFoundError,
    Opaque,
    SessionKey,
    StateChange,
    StateEntry,
    StateKeyError,
    Store,
    TooLargeError,
    UserScope,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, OpenStore, Reopen

START = datetime(2026, 1, 1, tzinfo=UTC)
APP = AppScope("support")
USER = UserScope("support", "ada")
KEY = SessionKey("support", "ada", "chat")
SCOPES = [APP, USER, KEY]
NAMES = ["app", "user", "session"]
every_scope = pytest.mark.parametrize("scope", SCOPES, ids=NAMES)


async def values(store: Store, scope: Any) -> dict[str, Any]:
    return {entry.name: entry.value async for entry in store.state.iter(scope)}


@every_scope
async def test_an_entry_has_its_value_version_and_time(
    store: Store, key: SessionKey, clock: FixedClock, scope: Any
) -> None:
    del key
    clock.step = timedelta(0)
    clock.set(START)
    assert await store.state.set(scope, {"a": 1, "b": [2]}) == 2
    clock.set(START + timedelta(hours=1))
    assert await store.state.set(scope, {"a": {"x": 3}}) == 1

    assert await store.state.get(scope, "a") == StateEntry(
        "a", {"x": 3}, 2, START + timedelta(hours=1)
    )
    assert await store.state.find(scope, "b") == StateEntry("b", [2], 1, START)


@every_scope
async def test_a_missing_key_is_a_key_error_and_find_gives_none(
    store: Store, key: SessionKey, scope: Any
) -> None:
    del key
    with pytest.raises(StateKeyError, match="'nothing'") as missing:
        await store.state.get(scope, "nothing")
    assert isinstance(missing.value, KeyError)
    assert await store.state.find(scope, "nothing") is None
    assert await store.state.delete(scope, "nothing") is False


async def test_each_scope_reaches_those_it_is_for(store: Store, key: SessionKey) -> None:
    await store.state.set(APP, {"k": "app"})
    await store.state.set(USER, {"k": "user"})
    await store.state.set(key, {"k": "session"})
    sibling = (await store.sessions.create("support", "ada")).key
    colleague = (await store.sessions.create("support", "eve")).key
    stranger = (await store.sessions.create("sales", "ada")).key

    assert await store.state.merged(key) == {"app:k": "app", "user:k": "user", "k": "session"}
    assert await store.state.merged(sibling) == {"app:k": "app", "user:k": "user"}
    assert await store.state.merged(colleague) == {"app:k": "app"}
    assert await store.state.merged(stranger) == {}


async def test_an_event_brings_state_to_every_scope_by_prefix(
    store: Store, key: SessionKey
) -> None:
    delta = {"own": 1, "user:name": "Ada", "app:mode": "x", "a:b": 2, "App:c": 3}
    await store.events.append(key, NewEvent("hi", state_delta=delta))

    assert await store.state.merged(key) == delta
    assert await values(store, APP) == {"mode": "x"}
    assert await values(store, USER) == {"name": "Ada"}
    assert await values(store, key) == {"own": 1, "a:b": 2, "App:c": 3}


async def test_two_events_of_one_call_change_one_key_in_order(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(
        key,
        NewEvent("1", state_delta={"a": 1, "b": 1}),
        NewEvent("2", state_delta={"a": DELETE, "b": 2, "c": 2}),
    )

    assert await store.state.merged(key) == {"b": 2, "c": 2}


@every_scope
async def test_delete_is_durable(key: SessionKey, store: Store, reopen: Reopen, scope: Any) -> None:
    del key
    await store.state.set(scope, {"a": 1, "b": 1, "c": 1})
    assert await store.state.delete(scope, "a") is True
    assert await store.state.delete(scope, "a") is False
    await store.state.set(scope, {"b": DELETE, "never": DELETE})

    store = await reopen()

    assert await values(store, scope) == {"c": 1}
    assert await store.state.find(scope, "a") is None


async def test_an_event_removes_keys_of_every_scope(store: Store, key: SessionKey) -> None:
    await store.events.append(key, NewEvent("1", state_delta={"a": 1, "user:b": 1, "app:c": 1}))
    await store.events.append(
        key, NewEvent("2", state_delta={"a": DELETE, "user:b": DELETE, "app:c": DELETE})
    )

    assert await store.state.merged(key) == {}


@every_scope
async def test_none_is_null_and_not_a_removal(store: Store, key: SessionKey, scope: Any) -> None:
    del key
    await store.state.set(scope, {"a": None})

    assert (await store.state.get(scope, "a")).value is None
    assert await values(store, scope) == {"a": None}


@every_scope
async def test_versions_never_repeat_after_a_removal(
    store: Store, key: SessionKey, scope: Any
) -> None:
    del key
    seen = []
    for _ in range(3):
        await store.state.set(scope, {"a": 1})
        seen.append((await store.state.get(scope, "a")).version)
        await store.state.delete(scope, "a")

    assert seen == sorted(set(seen))


@every_scope
async def test_an_expected_version_that_stands_lets_the_write_pass(
    store: Store, key: SessionKey, scope: Any
) -> None:
    del key
    await store.state.set(scope, {"a": 1}, expected_versions={"a": 0})
    await store.state.set(scope, {"a": 2, "b": 1}, expected_versions={"a": 1, "b": 0})

    assert await values(store, scope) == {"a": 2, "b": 1}


@every_scope
async def test_an_expected_version_that_does_not_stand_changes_nothing(
    store: Store, key: SessionKey, dump: Dump, scope: Any
) -> None:
    del key
    await store.state.set(scope, {"a": 1, "gone": 1})
    await store.state.set(scope, {"a": 2, "gone": DELETE})
    values = {"first": 1, "a": 9, "gone": 9, "new": 9}
    before = await dump()

    for name, version in [("a", 0), ("a", 1), ("a", 3), ("gone", 2), ("new", 1)]:
        with pytest.raises(ConflictError, match=f"'{name}'"):
            await store.state.set(scope, values, expected_versions={name: version})
    assert await dump() == before


@every_scope
async def test_a_removed_key_is_expected_as_absent(
    store: Store, key: SessionKey, scope: Any
) -> None:
    del key
    await store.state.set(scope, {"a": 1})
    await store.state.delete(scope, "a")

    await store.state.set(scope, {"a": 2}, expected_versions={"a": 0})

    assert (await store.state.get(scope, "a")).value == 2


async def test_an_expectation_about_a_key_that_is_not_set_is_refused(
    store: Store, dump: Dump
) -> None:
    await store.state.set(USER, {"guard": 1})
    before = await dump()

    with pytest.raises(InvalidError, match="guard"):
        await store.state.set(USER, {"a": 1}, expected_versions={"guard": 7})
    assert await dump() == before


async def test_an_expected_removal_is_checked(store: Store) -> None:
    await store.state.set(USER, {"a": 1})

    with pytest.raises(ConflictError, match="'a'"):
        await store.state.set(USER, {"a": DELETE}, expected_versions={"a": 5})
    assert await store.state.set(USER, {"a": DELETE}, expected_versions={"a": 1}) == 1
    assert await store.state.find(USER, "a") is None


async def test_of_concurrent_writes_with_one_expected_version_one_wins(store: Store) -> None:
    await store.state.set(APP, {"n": 0})

    results = await asyncio.gather(
        *(store.state.set(APP, {"n": n}, expected_versions={"n": 1}) for n in range(8)),
        return_exceptions=True,
    )

    assert results.count(1) == 1
    assert sum(isinstance(result, ConflictError) for result in results) == 7


async def test_temp_keys_are_in_no_table(store: Store, key: SessionKey, dump: Dump) -> None:
    secret = "never-stored-anywhere"
    delta = {"temp:a": secret, f"temp:{secret}": 1, "kept": 1}
    await store.events.append(key, NewEvent("hi", state_delta=delta))
    await store.sessions.create("support", "ada", state=delta)
    async with store.turn() as turn:
        turn.events.append(key, NewEvent("again", state_delta=delta))
    await store.sessions.fork(key)

    assert secret not in repr(await dump())
    assert await store.state.merged(key) == {"kept": 1}
    assert [event.state_delta for event in await store.events.read(key)] == [{"kept": 1}] * 2


@every_scope
async def test_a_name_has_no_prefix_of_a_scope_and_is_not_blank(
    store: Store, key: SessionKey, dump: Dump, scope: Any
) -> None:
    del key
    before = await dump()

    for name in ("app:a", "user:a", "temp:a", "app:", ""):
        for call in (
            lambda name: store.state.set(scope, {name: 1}),
            lambda name: store.state.get(scope, name),
            lambda name: store.state.delete(scope, name),
        ):
            with pytest.raises(InvalidError, match="state key"):
                await call(name)
    assert await dump() == before


async def test_a_delta_has_a_name_behind_each_prefix(store: Store, key: SessionKey) -> None:
    for name in ("app:", "user:", "temp:", "", " "):
        with pytest.raises(InvalidError, match="state_delta"):
            await store.events.append(key, NewEvent("hi", state_delta={name: 1}))
    assert await store.events.count(key) == 0


async def test_what_is_no_scope_is_refused(store: Store) -> None:
    scopes: list[Any] = ["support", ("support", "ada"), None, ALL]

    for scope in scopes:
        with pytest.raises(InvalidError):
            await store.state.get(scope, "a")


async def test_entries_are_listed_by_name_bytewise_page_after_page(store: Store) -> None:
    names = ["b", "B", "a", "aa", "a b", "é", "\uffff", "\U0001f600", "%", "_"]
    await store.state.set(APP, dict.fromkeys(names, 1))

    found: list[str] = []
    cursor = None
    while True:
        page = await store.state.list(APP, cursor=cursor, limit=3)
        found += [entry.name for entry in page]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert found == sorted(names, key=str.encode)


async def test_the_state_of_an_unknown_session_is_not_found(store: Store) -> None:
    for call in (
        store.state.get(KEY, "a"),
        store.state.set(KEY, {"a": 1}),
        store.state.delete(KEY, "a"),
        store.state.list(KEY),
        store.state.merged(KEY),
        store.state.at(KEY, 0),
        store.state.history(KEY, "a"),
    ):
        with pytest.raises(NotFoundError, match="'chat'") as missing:
            await call
        assert not isinstance(missing.value, KeyError)


async def test_setting_the_session_scope_is_a_change_of_the_session(
    store: Store, key: SessionKey, clock: FixedClock
) -> None:
    clock.set(START + timedelta(hours=1))
    await store.state.set(key, {"a": 1})
    changed = await store.sessions.get(key)
    await store.state.delete(key, "a")
    await store.state.delete(key, "a")
    await store.state.set(key, {})

    assert (changed.version, changed.event_count) == (2, 0)
    assert changed.updated_at == START + timedelta(hours=1)
    assert (await store.sessions.get(key)).version == 3


async def test_app_and_user_state_leave_the_session_as_it_was(
    store: Store, key: SessionKey
) -> None:
    before = await store.sessions.get(key)

    await store.state.set(APP, {"a": 1})
    await store.state.set(USER, {"a": 1})

    assert await store.sessions.get(key) == before


async def test_at_gives_the_session_state_as_of_each_event(store: Store) -> None:
    key = (await store.sessions.create("support", "ada", state={"s": 0, "user:u": 1})).key
    await store.events.append(key, NewEvent("1", state_delta={"a": 1, "app:x": 1}))
    await store.state.set(key, {"by hand": 1})
    await store.events.append(key, NewEvent("2", state_delta={"a": DELETE, "b": [2]}))
    await store.events.append(key, "3")
    await store.state.delete(key, "s")

    assert [await store.state.at(key, seq) for seq in range(4)] == [
        {"s": 0},
        {"s": 0, "a": 1, "by hand": 1},
        {"s": 0, "b": [2], "by hand": 1},
        {"b": [2], "by hand": 1},
    ]


async def test_history_has_every_change_of_a_key_also_those_without_an_event(
    store: Store,
) -> None:
    key = (await store.sessions.create("support", "ada", state={"a": 0})).key
    await store.events.append(key, NewEvent("1", state_delta={"a": 1}))
    await store.state.set(key, {"a": 2, "other": 1})
    await store.events.append(key, NewEvent("2", state_delta={"b": 1}))
    await store.state.delete(key, "a")
    await store.events.append(key, NewEvent("3", state_delta={"a": None}))

    assert await store.state.history(key, "a") == [
        StateChange(0, 1, 0),
        StateChange(1, 2, 1),
        StateChange(1, 3, 2),
        StateChange(2, 5, DELETE),
        StateChange(3, 6, None),
    ]
    assert await store.state.history(key, "never") == []


async def test_the_past_follows_the_active_line(store: Store, key: SessionKey) -> None:
    for n in (1, 2, 3):
        await store.events.append(key, NewEvent(f"{n}", state_delta={"a": n}))
    await store.events.rewind(key, 1)
    await store.events.append(key, NewEvent("4", state_delta={"a": 4}))

    assert [change.value for change in await store.state.history(key, "a")] == [1, 4]
    assert await store.state.at(key, 4) == {"a": 4}
    assert await store.state.at(key, 3) == {"a": 3}


async def test_what_was_set_on_one_line_is_not_in_the_past_of_another(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, "1", "2")
    await store.events.rewind(key, 1)
    await store.state.set(key, {"set at 1": "later"})
    await store.events.append(key, "3")

    states = [await store.state.at(key, seq) for seq in (1, 2, 3)]
    await store.events.switch(key, "line-2")

    assert states == [{"set at 1": "later"}, {}, {"set at 1": "later"}]
    assert await store.state.merged(key) == {}
    assert await store.state.history(key, "set at 1") == []


async def test_a_rewind_brings_the_session_state_back_and_no_other(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, NewEvent("1", state_delta={"a": 1, "b": 1}))
    await store.state.set(key, {"by hand": 1})
    await store.events.append(
        key, NewEvent("2", state_delta={"a": 2, "b": DELETE, "c": 1, "user:u": 2, "app:p": 2})
    )

    await store.events.rewind(key, 1)

    assert await store.state.merged(key) == {
        "a": 1, "b": 1, "by hand": 1, "user:u": 2, "app:p": 2,
    }  # fmt: skip


async def test_what_was_pruned_cannot_be_answered_and_the_error_says_from_where_on(
    store: Store, key: SessionKey
) -> None:
    for n in range(1, 6):
        await store.events.append(key, NewEvent(f"{n}", state_delta={f"k{n}": n}))
    await store.events.prune(key, before_seq=4)

    with pytest.raises(NotFoundError, match=r"\b4\b"):
        await store.state.at(key, 2)
    with pytest.raises(NotFoundError, match=r"\b4\b"):
        await store.state.at(key, 0)
    assert await store.state.at(key, 4) == {"k1": 1, "k2": 2, "k3": 3, "k4": 4}
    assert (await store.state.merged(key))["k1"] == 1


@pytest.mark.parametrize("seq", [1, 99])
async def test_an_event_that_never_was_cannot_be_answered(
    store: Store, key: SessionKey, seq: int
) -> None:
    with pytest.raises(NotFoundError, match=f"{seq}"):
        await store.state.at(key, seq)


async def test_a_negative_seq_or_version_is_refused(store: Store, key: SessionKey) -> None:
    with pytest.raises(InvalidError, match="seq"):
        await store.state.at(key, -1)
    with pytest.raises(InvalidError, match="expected_versions"):
        await store.state.set(key, {"a": 1}, expected_versions={"a": -1})


@every_scope
async def test_an_opaque_value_comes_back_byte_for_byte(
    store: Store, key: SessionKey, scope: Any
) -> None:
    del key
    value = Opaque("pickle", bytes(range(256)))
    await store.state.set(scope, {"a": value})

    assert (await store.state.get(scope, "a")).value == value


async def test_one_key_has_a_limit_of_its_own(open_store: OpenStore) -> None:
    store = await open_store(limits=Limits(state=20))

    await store.state.set(APP, {"a": "x" * 18})
    with pytest.raises(TooLargeError) as refused:
        await store.state.set(APP, {"b": "x" * 19})

    assert refused.value.limit == "state"
    assert await values(store, APP) == {"a": "x" * 18}


async def test_what_is_returned_and_what_was_given_are_apart_from_what_is_stored(
    store: Store, key: SessionKey
) -> None:
    given = {"list": [1]}
    await store.state.set(key, given)
    given["list"].append(2)
    found: Any = (await store.state.get(key, "list")).value
    found.append(3)
    (await store.state.merged(key))["list"].append(4)

    assert await store.state.merged(key) == {"list": [1]}
