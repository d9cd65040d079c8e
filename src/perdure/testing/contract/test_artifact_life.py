"""Artifacts in the life of their session, and beside other writes."""

from __future__ import annotations

import asyncio
import hashlib
import random
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    NotFoundError,
    SessionKey,
    Store,
    UserScope,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, NewKey, OpenStore

MIB = 2**20
USER = UserScope("support", "ada")
KEY = SessionKey("support", "ada", "chat")


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


async def names(store: Store, scope: Any) -> list[str]:
    return [artifact.name async for artifact in store.artifacts.iter(scope)]


async def numbers(store: Store, scope: Any, name: str) -> list[int]:
    return [artifact.version for artifact in await store.artifacts.versions(scope, name)]


async def loaded(store: Store, scope: Any, name: str, version: int | None = None) -> bytes:
    return (await store.artifacts.load(scope, name, version=version)).data


# -- the life of a session -------------------------------------------------------------------


async def test_artifacts_go_and_come_back_with_their_session(store: Store, key: SessionKey) -> None:
    await store.artifacts.save(key, "f", b"mine")
    await store.artifacts.save(USER, "f", b"the user's")
    await store.sessions.delete(key)

    with pytest.raises(NotFoundError):
        await store.artifacts.load(key, "f")
    with pytest.raises(NotFoundError):
        await store.artifacts.list(key)
    assert await loaded(store, USER, "f") == b"the user's"
    await store.sessions.restore(key)
    assert await loaded(store, key, "f") == b"mine"


async def test_a_session_with_an_id_that_was_used_before_starts_with_none(
    store: Store, key: SessionKey
) -> None:
    await store.artifacts.save(key, "f", b"old")
    await store.sessions.delete(key)

    await store.sessions.create(*key)

    assert await names(store, key) == []
    assert (await store.artifacts.save(key, "f", b"new")).version == 0


async def test_what_is_purged_or_swept_leaves_no_bytes_but_those_still_needed(
    store: Store, new_key: NewKey, clock: FixedClock, dump: Dump
) -> None:
    purged, brief = await new_key("purged"), await new_key("brief", ttl=timedelta(hours=1))
    for key in (purged, brief):
        await store.artifacts.save(key, "own", key.id.encode())
        await store.artifacts.save(key, "shared", b"shared")
    await store.artifacts.save(USER, "shared", b"shared")

    await store.sessions.purge(purged)
    clock.advance(timedelta(days=1))
    await store.sweep()

    stored = await dump()
    assert len(stored["artifacts"]) == len(stored["artifact_names"]) == 1
    assert len(stored["artifact_blobs"]) == len(stored["artifact_pieces"]) == 1
    assert await loaded(store, USER, "shared") == b"shared"


async def test_without_a_grace_the_bytes_go_at_once(open_store: OpenStore, dump: Dump) -> None:
    store = await open_store(deleted_grace=timedelta(0))
    await store.sessions.create(*KEY)
    await store.artifacts.save(KEY, "f", b"x")

    await store.sessions.delete(KEY)

    assert {name: rows for name, rows in (await dump()).items() if rows} == {}


async def test_a_fork_has_what_had_been_saved_as_of_its_last_event(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await store.artifacts.save(key, "f", b"before")
    await store.events.append(key, "1")
    await store.artifacts.save(key, "f", b"at 1")
    await store.events.append(key, "2")
    await store.artifacts.save(key, "f", b"at 2")
    await store.events.rewind(key, 1)
    await store.events.append(key, "3")
    await store.artifacts.save(key, "g", b"at 3", metadata={"a": 1})

    at_1 = (await store.sessions.fork(key, at=1)).key
    whole = (await store.sessions.fork(key)).key

    assert [(a.name, a.version, a.seq) async for a in store.artifacts.iter(at_1)] == [("f", 1, 1)]
    assert await loaded(store, at_1, "f", 0) == b"before"
    assert [(a.name, a.version, a.seq) async for a in store.artifacts.iter(whole)] == [
        ("f", 1, 1),
        ("g", 0, 2),
    ]
    assert (await store.artifacts.get_version(whole, "g")).metadata == {"a": 1}
    assert (await store.artifacts.save(at_1, "f", b"another")).version == 2
    assert len((await dump())["artifact_blobs"]) == 5
    await store.sessions.purge(key)
    assert await loaded(store, whole, "g") == b"at 3"
    assert await loaded(store, whole, "f") == b"at 1"


async def test_a_fork_behind_a_prune_has_what_was_saved_before_it(
    store: Store, key: SessionKey
) -> None:
    for number in range(1, 7):
        await store.events.append(key, f"{number}")
        await store.artifacts.save(key, f"at {number}", b"x")
    await store.events.prune(key, before_seq=4)

    fork = (await store.sessions.fork(key, at=5)).key

    assert [(a.name, a.seq) async for a in store.artifacts.iter(fork)] == [
        ("at 1", 0), ("at 2", 0), ("at 3", 0), ("at 4", 1), ("at 5", 2),
    ]  # fmt: skip


async def test_an_erased_person_leaves_no_byte_and_an_export_has_them_all(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await store.artifacts.save(key, "f", b"secret-one" + noise(20 * MIB))
    await store.artifacts.save(USER, "secret-name", b"secret-two")
    eve = UserScope("support", "eve")
    await store.artifacts.save(eve, "f", b"secret-two")

    lines = [line async for line in store.export_user("support", "ada")]
    receipt = await store.erase_user("support", "ada")

    assert sum('"table":"artifact_pieces"' in line for line in lines) == 22
    assert sum('"table":"artifact_blobs"' in line for line in lines) == 2
    assert sum('"table":"artifacts"' in line for line in lines) == 2
    assert receipt.removed["artifact_pieces"] == 22
    stored = await dump()
    assert len(stored["artifact_blobs"]) == len(stored["artifacts"]) == 1
    assert "secret-name" not in repr(stored)
    assert await loaded(store, eve, "f") == b"secret-two"


# -- together with other writes --------------------------------------------------------------


async def test_a_turn_saves_with_the_event_that_tells_of_it(store: Store, key: SessionKey) -> None:
    async with store.turn() as turn:
        first = turn.artifacts.save(key, "f", b"0")
        second = turn.artifacts.save(key, "f", b"1")
        turn.events.append(key, "Saved.", expected_version=1)
        third = turn.artifacts.save(key, "f", b"2")
        gone = turn.artifacts.delete(key, "f", version=0)

    assert [pending.value.version for pending in (first, second, third)] == [0, 1, 2]
    assert [pending.value.seq for pending in (first, second, third)] == [0, 0, 1]
    assert gone.value is True
    assert await numbers(store, key, "f") == [1, 2]


async def test_a_turn_that_fails_saves_nothing(store: Store, key: SessionKey, dump: Dump) -> None:
    before = await dump()

    async def save_both() -> None:
        async with store.turn() as turn:
            turn.artifacts.save(key, "f", noise(2 * MIB))
            turn.artifacts.save(SessionKey("support", "ada", "unknown"), "f", b"x")

    with pytest.raises(NotFoundError):
        await save_both()
    assert await dump() == before


async def test_callers_at_once_never_share_a_number(store: Store, key: SessionKey) -> None:
    saved = await asyncio.gather(
        *[store.artifacts.save(scope, "f", b"%d" % n) for n in range(20) for scope in (USER, key)]
    )

    for scope in (USER, key):
        own = {artifact.version: artifact for artifact in saved if artifact.scope == scope}
        assert sorted(own) == list(range(20))
        for version, artifact in own.items():
            data = await loaded(store, scope, "f", version)
            assert hashlib.sha256(data).hexdigest() == artifact.sha256


async def test_saving_and_deleting_the_same_bytes_at_once_loses_none(
    store: Store, dump: Dump
) -> None:
    async def work(name: str) -> None:
        for _ in range(10):
            await store.artifacts.save(USER, name, b"shared")
            assert await loaded(store, USER, name) == b"shared"
            await store.artifacts.delete(USER, name)
        await store.artifacts.save(USER, name, b"shared")

    await asyncio.gather(*[work(f"f{n}") for n in range(8)])

    assert [await loaded(store, USER, name) for name in await names(store, USER)] == [b"shared"] * 8
    stored = await dump()
    assert len(stored["artifact_blobs"]) == len(stored["artifact_pieces"]) == 1
