"""`subscribe`: what was committed, as a stream of facts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from perdure import (
    ALL,
    AppScope,
    Fact,
    InvalidError,
    NewEvent,
    NotFoundError,
    SessionKey,
    Store,
    UserScope,
)
from perdure.testing.databases import NewKey, OpenStore

USER = UserScope("support", "ada")
KEY = SessionKey("support", "ada", "chat")
NOTHING_MORE = 0.05


async def rest(facts: Any) -> list[Fact]:
    """What waits to be read."""
    found = []
    while (fact := await facts.get(within=NOTHING_MORE)) is not None:
        found.append(fact)
    return found


async def test_each_change_is_told_once_with_whose_it_is(store: Store) -> None:
    facts = store.subscribe()

    session = await store.sessions.create(*KEY, title="A parcel")
    done = await store.events.append(KEY, "one", NewEvent("two", state_delta={"a": 1}))
    renamed = await store.sessions.update(KEY, title="Lost parcel")
    redacted = await store.events.redact(KEY, done.event.id)
    await store.state.set(KEY, {"b": 1, "c": 2})
    await store.state.delete(USER, "never")
    await store.state.set(AppScope("support"), {"d": 1})
    saved = await store.artifacts.save(KEY, "f", b"x")
    await store.artifacts.delete(KEY, "f", version=0)
    rewound = await store.events.rewind(KEY, 1)
    fork = await store.sessions.fork(KEY, id="fork")
    await store.sessions.delete(KEY)
    restored = await store.sessions.restore(KEY)
    await store.sessions.purge(KEY)
    receipt = await store.erase_user("support", "ada")

    def of_chat(kind: str, version: int | None = None, value: Any = None) -> Fact:
        return Fact(kind, *KEY, version, value)

    assert await rest(facts) == [
        of_chat("session.created", 1, session),
        of_chat("event.appended", 2, done.events[0]),
        of_chat("event.appended", 2, done.events[1]),
        of_chat("session.updated", 3, renamed),
        of_chat("event.redacted", None, redacted),
        of_chat("state.changed", None, ("b", "c")),
        Fact("state.changed", "support", "", value=("d",)),
        of_chat("artifact.saved", None, saved),
        of_chat("artifact.deleted", None, ("f", 0)),
        of_chat("session.rewritten", rewound.version, rewound),
        Fact("session.created", *fork.key, 1, fork),
        of_chat("session.deleted"),
        of_chat("session.restored", restored.version, restored),
        of_chat("session.purged"),
        Fact("user.erased", "support", "ada", value=receipt.removed),
    ]


async def test_what_changed_nothing_is_not_told(store: Store, key: SessionKey) -> None:
    event = NewEvent("hi", id="e1")
    await store.events.append(key, event)
    facts = store.subscribe()

    await store.events.append(key, event)
    await store.events.append(key, NewEvent("part", partial=True))
    await store.events.append(key)
    await store.sessions.get_or_create(*key)
    await store.sessions.delete(SessionKey("support", "ada", "unknown"))
    await store.state.set(USER, {})
    await store.artifacts.delete(USER, "never")
    await store.events.read(key)
    async with store.turn():
        pass

    assert await rest(facts) == []


async def test_only_the_new_ones_of_several_events_are_told(store: Store, key: SessionKey) -> None:
    await store.events.append(key, NewEvent("old", id="e1"))
    facts = store.subscribe()

    await store.events.append(
        key, NewEvent("old", id="e1"), NewEvent("new", id="e2"), on_duplicate="ignore"
    )

    assert [fact.value.id for fact in await rest(facts)] == ["e2"]


async def test_what_failed_is_not_told(store: Store, key: SessionKey) -> None:
    facts = store.subscribe()

    async def failing() -> None:
        async with store.turn() as turn:
            turn.events.append(key, "one")
            turn.events.append(SessionKey("support", "ada", "unknown"), "two")

    with pytest.raises(NotFoundError):
        await failing()
    with pytest.raises(NotFoundError):
        await store.sessions.update(SessionKey("support", "ada", "unknown"), title="x")

    assert await rest(facts) == []


async def test_a_turn_is_told_in_its_order_once_it_is_stored(store: Store) -> None:
    facts = store.subscribe()

    async with store.turn() as turn:
        turn.sessions.get_or_create(*KEY)
        turn.events.append(KEY, "one")
        turn.state.set(USER, {"a": 1})
        turn.events.append(KEY, "two")
        assert await facts.get(within=0.01) is None

    assert [fact.kind for fact in await rest(facts)] == [
        "session.created", "event.appended", "state.changed", "event.appended",
    ]  # fmt: skip


async def test_a_handle_tells_as_well(store: Store) -> None:
    facts = store.subscribe()

    chat = await store.session(*KEY)
    chat.state["a"] = 1
    await chat.append("hi")
    await store.session(*KEY)

    told = await rest(facts)
    assert [fact.kind for fact in told] == ["session.created", "event.appended"]
    assert told[1].value.state_delta == {"a": 1}


async def test_only_the_kinds_that_are_asked_for_come(store: Store, key: SessionKey) -> None:
    one = store.subscribe("event.appended")
    two = store.subscribe(["session.deleted", "state.changed"])

    await store.events.append(key, "hi")
    await store.state.set(key, {"a": 1})

    assert [fact.kind for fact in await rest(one)] == ["event.appended"]
    assert [fact.kind for fact in await rest(two)] == ["state.changed"]


async def test_unknown_kinds_and_limits_are_refused(store: Store) -> None:
    for kinds in ("event", ["event.appended", "nothing"]):
        with pytest.raises(InvalidError, match="kind of fact"):
            store.subscribe(kinds)
    for limit in (0, -1, None):
        with pytest.raises(InvalidError, match="limit"):
            store.subscribe(limit=limit)  # type: ignore[arg-type]


async def test_who_is_slow_learns_how_much_was_missed_and_holds_up_nobody(
    store: Store, key: SessionKey
) -> None:
    facts = store.subscribe("event.appended", limit=3)

    for number in range(10):
        await store.events.append(key, f"{number}")
    first = await rest(facts)
    await store.events.append(key, "after")
    second = await rest(facts)

    assert [fact.kind for fact in first] == ["event.appended"] * 3 + ["missed"]
    assert [fact.value.text for fact in first[:3]] == ["0", "1", "2"]
    assert first[3] == Fact("missed", "", "", value=7)
    assert [fact.value.text for fact in second] == ["after"]


async def test_facts_of_a_session_come_in_the_order_they_were_stored(
    store: Store, new_key: NewKey
) -> None:
    keys = [await new_key(f"s{number}") for number in range(4)]
    facts = store.subscribe("event.appended", limit=10_000)

    await asyncio.gather(
        *[store.events.append(key, f"{number}") for number in range(50) for key in keys]
    )

    told = await rest(facts)
    assert len(told) == 200
    for key in keys:
        own = [fact for fact in told if fact.session == key.id]
        assert [fact.value.seq for fact in own] == list(range(1, 51))
        assert [fact.version for fact in own] == list(range(2, 52))


async def test_a_write_whose_caller_was_cancelled_is_told_if_it_was_stored(
    store: Store, key: SessionKey
) -> None:
    facts = store.subscribe("event.appended")

    task = asyncio.create_task(store.events.append(key, "hi"))
    await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    told = await rest(facts)

    assert [fact.value.seq for fact in told] == list(range(1, 1 + await store.events.count(key)))


async def test_the_reader_is_woken_by_a_fact(store: Store, key: SessionKey) -> None:
    async with store.subscribe() as facts:
        waiting = asyncio.create_task(facts.get(within=10))
        await asyncio.sleep(0.05)
        assert not waiting.done()

        await store.events.append(key, "hi")

        fact = await waiting
        assert fact is not None
        assert fact.value.text == "hi"


async def test_a_closed_subscription_ends_and_hears_no_more(store: Store, key: SessionKey) -> None:
    facts = store.subscribe()
    await store.events.append(key, "before")

    facts.close()
    facts.close()
    await store.events.append(key, "after")

    assert [fact.value.text async for fact in facts] == ["before"]


@pytest.mark.own_engine
async def test_a_closed_store_ends_its_subscriptions(open_store: OpenStore) -> None:
    store = await open_store()
    facts = store.subscribe()
    await store.sessions.create("support", "ada")
    waiting = store.subscribe("user.erased")
    ending = asyncio.create_task(waiting.get(within=10))
    await asyncio.sleep(0.02)

    await store.close()

    assert await ending is None
    assert [fact.kind async for fact in facts] == ["session.created"]
    assert [fact async for fact in store.subscribe()] == []


async def test_facts_hold_what_on_write_has_left(open_store: OpenStore, key: SessionKey) -> None:
    def hide(record: Any) -> Any:
        if isinstance(record, NewEvent):
            return replace(record, content="[hidden]")
        return record

    store = await open_store(on_write=hide)
    facts = store.subscribe()

    await store.events.append(key, "secret")

    assert "secret" not in repr(await rest(facts))


async def test_other_store_objects_are_not_listened_to(
    store: Store, open_store: OpenStore, key: SessionKey
) -> None:
    other = await open_store()
    facts = store.subscribe()

    await other.events.append(key, "hi")

    assert await rest(facts) == []
    assert len(await store.sessions.list(ALL)) == 1


async def test_several_readers_of_one_subscription_share_its_facts(
    store: Store, key: SessionKey
) -> None:
    facts = store.subscribe("event.appended")
    readers = [asyncio.create_task(facts.get(within=10)) for _ in range(3)]
    await asyncio.sleep(0.05)

    for number in range(3):
        await store.events.append(key, f"{number}")

    told = await asyncio.gather(*readers)
    assert sorted(fact.value.text for fact in told if fact) == ["0", "1", "2"]


async def test_what_is_written_through_a_view_is_told_of_too(store: Store) -> None:
    facts = store.subscribe()
    chat = store.history("support", "ada")
    view = store.recovery("support")

    await chat.add_message("h", "user", "one")
    await chat.set_history("h", [{"role": "user", "content": "two"}])
    await view.recover_session("ada", "r")
    await view.append_turn("ada", "r", "three", "four", "helper")
    loaded = await view.load_context("ada", "r")
    assert loaded is not None
    await view.save_context("ada", "r", replace(loaded, messages=loaded.messages[:1]))
    await view.delete_session("ada", "r")
    await view.delete_session("ada", "r")

    assert [(fact.kind, fact.session) for fact in await rest(facts)] == [
        ("session.created", "h"),
        ("event.appended", "h"),
        ("session.rewritten", "h"),
        ("event.appended", "h"),
        ("session.created", "r"),
        ("event.appended", "r"),
        ("event.appended", "r"),
        ("session.updated", "r"),
        ("session.rewritten", "r"),
        ("session.deleted", "r"),
    ]
