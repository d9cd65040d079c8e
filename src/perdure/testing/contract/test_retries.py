"""Retries and turns: what was stored already, and what one transaction does itself."""

import asyncio

import pytest

from perdure import ConflictError, NewEvent, SessionKey, Store


async def test_what_is_set_while_an_append_is_under_way_waits_for_the_next(
    store: Store, key: SessionKey
) -> None:
    chat = await store.session(*key)
    chat.state["k"] = 1
    under_way = asyncio.ensure_future(chat.append("x"))
    await asyncio.sleep(0)
    chat.state["k"] = 2

    await under_way

    waiting = chat.state["k"]
    await chat.append("y")
    assert (waiting, await store.state.merged(key)) == (2, {"k": 2})


async def test_a_recognised_retry_leaves_the_state_of_the_handle_as_it_is_stored(
    store: Store, key: SessionKey
) -> None:
    first = NewEvent("1", id="e1", state_delta={"q": 1})
    await store.events.append(key, first)
    await store.events.append(key, NewEvent("2", state_delta={"q": 2}))
    chat = await store.session(*key)

    done = await chat.append(first)

    assert (done.duplicate, chat.state["q"]) == (True, 2)
    chat.state["n"] = chat.state["q"] + 1
    await chat.append()
    assert (await store.state.merged(key))["n"] == 3


async def test_a_stored_event_is_no_replacement_in_another_place(
    store: Store, key: SessionKey
) -> None:
    for text in "123":
        await store.events.append(key, NewEvent(text, id=text))

    with pytest.raises(ConflictError, match="'3' is stored already"):
        await store.events.replace_suffix(key, 1, [NewEvent("3", id="3")])

    assert [event.text for event in await store.events.read(key)] == ["1", "2", "3"]


async def test_a_retried_replacement_finds_what_it_stored(store: Store, key: SessionKey) -> None:
    for text in "12":
        await store.events.append(key, text)
    first = await store.events.replace_suffix(key, 1, [NewEvent("3", id="3")])

    again = await store.events.replace_suffix(key, 1, [NewEvent("3", id="3")])

    assert (again.duplicate, again.events) == (True, first.events)


async def test_a_turn_counts_the_versions_of_its_own_delete_and_restore(
    store: Store, key: SessionKey
) -> None:
    version = (await store.sessions.get(key)).version

    async with store.turn() as turn:
        turn.sessions.delete(key)
        turn.sessions.restore(key)
        stored = turn.events.append(key, "x", expected_version=version)

    assert stored.value.event.seq == 1


async def test_a_turn_forgets_the_versions_of_a_session_that_it_replaces(
    store: Store, key: SessionKey
) -> None:
    async with store.turn() as turn:
        turn.sessions.update(key, title="old")
        turn.sessions.delete(key)
        turn.sessions.create(*key)
        stored = turn.events.append(key, "x", expected_version=1)

    assert (stored.value.version, (await store.sessions.get(key)).title) == (2, "")


async def test_a_turn_may_redact_an_event_and_append_to_its_fork(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, NewEvent("secret", id="e1"))
    fork = await store.sessions.fork(key)

    async with store.turn() as turn:
        turn.events.redact(key, "e1")
        stored = turn.events.append(fork.key, "x", expected_version=fork.version)

    assert stored.value.event.seq == 2
    assert [event.text for event in await store.events.read(fork.key)] == ["[redacted]", "x"]


async def test_a_long_chain_of_children_is_deleted_with_its_first(
    store: Store, key: SessionKey
) -> None:
    parent = key
    async with store.turn() as turn:
        for number in range(1200):
            turn.sessions.create(key.app, key.user, f"child {number}", parent=parent)
            parent = SessionKey(key.app, key.user, f"child {number}")

    await store.sessions.delete(key, children=True)

    assert await store.sessions.count(key.app, key.user) == 0
