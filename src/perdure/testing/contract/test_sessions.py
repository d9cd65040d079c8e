"""Sessions: made, found, listed, deleted."""

from __future__ import annotations

import asyncio

import pytest

from perdure import AlreadyExistsError, NotFoundError, SessionKey, Store
from perdure.testing.databases import Dump, OpenStore, Reopen


async def test_a_created_session_is_there(store: Store, key: SessionKey) -> None:
    session = await store.sessions.get(key)

    assert session.key == key
    assert session.version == 1


async def test_iter_reaches_all(store: Store, key: SessionKey) -> None:
    found = [session.key async for session in store.sessions.iter()]

    assert found == [key]


async def test_reopen_finds_it(key: SessionKey, reopen: Reopen) -> None:
    store = await reopen()

    assert (await store.sessions.get(key)).key == key


async def test_tenants_share_a_database_and_see_nothing_of_each_other(
    open_store: OpenStore, key: SessionKey, dump: Dump
) -> None:
    other = await open_store(tenant="acme")

    with pytest.raises(NotFoundError):
        await other.sessions.get(key)
    assert len((await dump())["sessions"]) == 1


async def test_turn_and_handle(store: Store, key: SessionKey) -> None:
    async with store.turn() as turn:
        pending = turn.events.append(key, "hello")
    chat = await store.session(*key)
    await chat.append("again")

    assert pending.value.event.seq == 1
    assert chat.version == 3


async def test_of_concurrent_creates_one_wins(store: Store) -> None:
    results = await asyncio.gather(
        *(store.sessions.create("a", "u", "x") for _ in range(10)), return_exceptions=True
    )

    assert sum(isinstance(r, AlreadyExistsError) for r in results) == 9
