"""Limits: counted in bytes to the last one, refused before anything is written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perdure import AppScope, Limits, NewEvent, Opaque, SessionKey, Store, TooLargeError, UserScope
from perdure.testing.databases import Dump, OpenStore

APP, USER = AppScope("support"), UserScope("support", "ada")

Put = Callable[[Store, SessionKey, Any], Awaitable[Any]]


async def as_content(store: Store, key: SessionKey, value: Any) -> Any:
    await store.events.append(key, NewEvent(value, id="e"))
    return (await store.events.get(key, "e")).content


async def in_delta(store: Store, key: SessionKey, value: Any) -> Any:
    await store.events.append(key, NewEvent(id="e", state_delta={"user:s": value}))
    return (await store.state.get(USER, "s")).value


async def in_session_state(store: Store, key: SessionKey, value: Any) -> Any:
    await store.state.set(key, {"s": value})
    return (await store.state.merged(key))["s"]


async def in_app_state(store: Store, key: SessionKey, value: Any) -> Any:
    del key
    await store.state.set(APP, {"s": value})
    return (await store.state.get(APP, "s")).value


async def in_note(store: Store, key: SessionKey, value: Any) -> Any:
    await store.events.annotate(key, "n", value)
    return (await store.events.annotations(key))[0].value


#: Of characters of one, two and four bytes. Two quotes stand around a text in JSON.
LONGEST = ["x" * 998, "\u00e9" * 499, "\U0001f600" * 249 + "xx"]


@pytest.mark.parametrize(
    ("put", "limits"),
    [
        (as_content, Limits(event=1000)),
        (in_note, Limits(event=1000)),
        (in_app_state, Limits(state=1000)),
        (in_session_state, Limits(state=1000)),
        (in_delta, Limits(state=1000)),
    ],
    ids=["content", "note", "app state", "session state", "delta"],
)
async def test_limits_count_bytes_to_the_last_one(
    open_store: OpenStore,
    key: SessionKey,
    dump: Dump,
    put: Put,
    limits: Limits,
) -> None:
    store = await open_store(limits=limits)
    before = await dump()

    for longest in LONGEST:
        with pytest.raises(TooLargeError) as refused:
            await put(store, key, f"{longest}x")
        assert refused.value.limit in {"event", "state"}

    assert await dump() == before
    for number, longest in enumerate(LONGEST):
        own = (await store.sessions.create(key.app, key.user, f"{number}")).key
        assert await put(store, own, longest) == longest


async def test_a_delta_has_the_limit_of_an_event_in_bytes(
    open_store: OpenStore, key: SessionKey, dump: Dump
) -> None:
    store = await open_store(limits=Limits(event=1000, state=900))
    before = await dump()

    with pytest.raises(TooLargeError) as refused:
        await store.events.append(
            key, NewEvent("x", state_delta={"a": "\u00e9" * 400, "b": "\u00e9" * 200})
        )

    assert refused.value.limit == "event"
    assert await dump() == before


async def test_opaque_bytes_count_like_text(
    open_store: OpenStore, key: SessionKey, dump: Dump
) -> None:
    store = await open_store(limits=Limits(event=1000, state=1000))
    before = await dump()

    with pytest.raises(TooLargeError):
        await store.events.append(key, NewEvent(Opaque("c", bytes(1001))))
    with pytest.raises(TooLargeError):
        await store.state.set(APP, {"a": Opaque("c", bytes(1001))})
    assert await dump() == before
    await store.events.append(key, NewEvent(Opaque("c", bytes(1000))))
    await store.state.set(APP, {"a": Opaque("c", bytes(700))})


async def test_a_call_has_a_most_of_records(
    open_store: OpenStore, key: SessionKey, dump: Dump
) -> None:
    store = await open_store(limits=Limits(records=5))
    before = await dump()

    with pytest.raises(TooLargeError) as refused:
        await store.events.append(key, *["x"] * 6)

    assert refused.value.limit == "records"
    assert await dump() == before
    assert len((await store.events.append(key, *["x"] * 5)).events) == 5


async def test_a_large_value_within_the_limits_is_kept(store: Store, key: SessionKey) -> None:
    text = "\U0001f600" * 1_000_000

    assert await as_content(store, key, text) == text
    assert (await store.sessions.get(key)).preview == text[:200]
