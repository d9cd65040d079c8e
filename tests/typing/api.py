"""The types that a caller sees: read by mypy alone, run by nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import Any, assert_type

import perdure
from perdure import (
    Annotation,
    Appended,
    AppScope,
    Artifact,
    Async,
    AsyncSubscription,
    Branch,
    DiskUse,
    ErasureReceipt,
    Event,
    Fact,
    HandleState,
    LoadedArtifact,
    Messages,
    NewEvent,
    Page,
    Pending,
    Rewritten,
    Session,
    SessionHandle,
    SessionKey,
    StateChange,
    StateEntry,
    Store,
    Swept,
    Sync,
    SyncStore,
    SyncSubscription,
    Turn,
    Usage,
    UserScope,
)


async def async_sessions(store: Store, key: SessionKey) -> None:
    assert_type(await store.sessions.create("a", "u"), Session)
    assert_type(await store.sessions.get_or_create("a", "u"), Session)
    assert_type(await store.sessions.get(key), Session)
    assert_type(await store.sessions.find(key), Session | None)
    assert_type(await store.sessions.list(), Page[Session])
    assert_type(store.sessions.iter(), AsyncIterator[Session])
    assert_type(await store.sessions.count(), int)
    assert_type(await store.sessions.update(key, title="x"), Session)
    assert_type(await store.sessions.delete(key), bool)
    assert_type(await store.sessions.restore(key), Session)
    assert_type(await store.sessions.purge(key), bool)
    assert_type(await store.sessions.fork(key), Session)


def sync_sessions(store: SyncStore, key: SessionKey) -> None:
    assert_type(store.sessions.create("a", "u"), Session)
    assert_type(store.sessions.get_or_create("a", "u"), Session)
    assert_type(store.sessions.get(key), Session)
    assert_type(store.sessions.find(key), Session | None)
    assert_type(store.sessions.list(), Page[Session])
    assert_type(store.sessions.iter(), Iterator[Session])
    assert_type(store.sessions.count(), int)
    assert_type(store.sessions.update(key, title="x"), Session)
    assert_type(store.sessions.delete(key), bool)
    assert_type(store.sessions.restore(key), Session)
    assert_type(store.sessions.purge(key), bool)
    assert_type(store.sessions.fork(key), Session)


def turn_sessions(turn: Turn[Async], key: SessionKey) -> None:
    assert_type(turn.sessions.create("a", "u"), Pending[Session])
    assert_type(turn.sessions.get_or_create("a", "u"), Pending[Session])
    assert_type(turn.sessions.update(key, title="x"), Pending[Session])
    assert_type(turn.sessions.delete(key), Pending[bool])
    assert_type(turn.sessions.restore(key), Pending[Session])
    assert_type(turn.sessions.purge(key), Pending[bool])
    assert_type(turn.sessions.fork(key), Pending[Session])


def no_reads_in_a_turn_of_sessions(turn: Turn[Async], key: SessionKey) -> None:
    turn.sessions.get(key)  # type: ignore[arg-type, unused-coroutine]
    turn.sessions.find(key)  # type: ignore[arg-type, unused-coroutine]
    turn.sessions.list()  # type: ignore[arg-type, unused-coroutine]
    turn.sessions.iter()  # type: ignore[arg-type]
    turn.sessions.count()  # type: ignore[arg-type, unused-coroutine]


async def async_events(store: Store, key: SessionKey) -> None:
    assert_type(await store.events.append(key, "x", {"role": "user"}, NewEvent("x")), Appended)
    assert_type(await store.events.get(key, "e"), Event)
    assert_type(await store.events.find(key, "e"), Event | None)
    assert_type(await store.events.locate("a", "e"), tuple[SessionKey, Event] | None)
    assert_type(await store.events.read(key), list[Event])
    assert_type(await store.events.list(key), Page[Event])
    assert_type(store.events.iter(key), AsyncIterator[Event])
    assert_type(await store.events.count(key), int)
    assert_type(await store.events.window(key), list[Event])
    assert_type(await store.events.messages(key), Messages)
    assert_type(store.events.tail(key), AsyncIterator[Event | Rewritten])
    assert_type(await store.events.prune(key, keep_last=1), int)
    assert_type(await store.events.rewind(key, 1), Session)
    assert_type(await store.events.pop(key), list[Event])
    assert_type(await store.events.replace_suffix(key, 1, ["x"]), Appended)
    assert_type(await store.events.clear(key), int)
    assert_type(await store.events.delete(key, ids=["e"]), int)
    assert_type(await store.events.redact(key, "e", "x"), Event)
    assert_type(await store.events.branches(key), list[Branch])
    assert_type(await store.events.switch(key, "b"), Session)
    assert_type(await store.events.drop_branch(key, "b"), bool)
    assert_type(await store.events.annotate(key, "n", 1), Annotation)
    assert_type(await store.events.annotations(key), Sequence[Annotation])


def sync_events(store: SyncStore, key: SessionKey) -> None:
    assert_type(store.events.append(key, "x", {"role": "user"}, NewEvent("x")), Appended)
    assert_type(store.events.get(key, "e"), Event)
    assert_type(store.events.find(key, "e"), Event | None)
    assert_type(store.events.locate("a", "e"), tuple[SessionKey, Event] | None)
    assert_type(store.events.read(key), list[Event])
    assert_type(store.events.list(key), Page[Event])
    assert_type(store.events.iter(key), Iterator[Event])
    assert_type(store.events.count(key), int)
    assert_type(store.events.window(key), list[Event])
    assert_type(store.events.messages(key), Messages)
    assert_type(store.events.tail(key), Iterator[Event | Rewritten])
    assert_type(store.events.prune(key, keep_last=1), int)
    assert_type(store.events.rewind(key, 1), Session)
    assert_type(store.events.pop(key), list[Event])
    assert_type(store.events.replace_suffix(key, 1, ["x"]), Appended)
    assert_type(store.events.clear(key), int)
    assert_type(store.events.delete(key, ids=["e"]), int)
    assert_type(store.events.redact(key, "e", "x"), Event)
    assert_type(store.events.branches(key), list[Branch])
    assert_type(store.events.switch(key, "b"), Session)
    assert_type(store.events.drop_branch(key, "b"), bool)
    assert_type(store.events.annotate(key, "n", 1), Annotation)
    assert_type(store.events.annotations(key), Sequence[Annotation])


def turn_events(turn: Turn[Async], key: SessionKey) -> None:
    assert_type(turn.events.append(key, "x", {"role": "user"}, NewEvent("x")), Pending[Appended])
    assert_type(turn.events.prune(key, keep_last=1), Pending[int])
    assert_type(turn.events.rewind(key, 1), Pending[Session])
    assert_type(turn.events.pop(key), Pending[list[Event]])
    assert_type(turn.events.replace_suffix(key, 1, ["x"]), Pending[Appended])
    assert_type(turn.events.clear(key), Pending[int])
    assert_type(turn.events.delete(key, ids=["e"]), Pending[int])
    assert_type(turn.events.redact(key, "e", "x"), Pending[Event])
    assert_type(turn.events.switch(key, "b"), Pending[Session])
    assert_type(turn.events.drop_branch(key, "b"), Pending[bool])
    assert_type(turn.events.annotate(key, "n", 1), Pending[Annotation])


def no_reads_in_a_turn_of_events(turn: Turn[Async], key: SessionKey) -> None:
    turn.events.get(key, "e")  # type: ignore[arg-type, unused-coroutine]
    turn.events.find(key, "e")  # type: ignore[arg-type, unused-coroutine]
    turn.events.locate("a", "e")  # type: ignore[arg-type, unused-coroutine]
    turn.events.read(key)  # type: ignore[arg-type, unused-coroutine]
    turn.events.list(key)  # type: ignore[arg-type, unused-coroutine]
    turn.events.iter(key)  # type: ignore[arg-type]
    turn.events.count(key)  # type: ignore[arg-type, unused-coroutine]
    turn.events.window(key)  # type: ignore[arg-type, unused-coroutine]
    turn.events.messages(key)  # type: ignore[arg-type, unused-coroutine]
    turn.events.tail(key)  # type: ignore[arg-type]
    turn.events.branches(key)  # type: ignore[arg-type, unused-coroutine]
    turn.events.annotations(key)  # type: ignore[arg-type, unused-coroutine]


async def async_state(store: Store, key: SessionKey) -> None:
    assert_type(await store.state.get(key, "a"), StateEntry)
    assert_type(await store.state.find(key, "a"), StateEntry | None)
    assert_type(await store.state.list(key), Page[StateEntry])
    assert_type(store.state.iter(key), AsyncIterator[StateEntry])
    assert_type(await store.state.merged(key), dict[str, Any])
    assert_type(await store.state.set(UserScope("a", "u"), {"a": 1}), int)
    assert_type(await store.state.delete(AppScope("a"), "a"), bool)
    assert_type(await store.state.at(key, 1), dict[str, Any])
    assert_type(await store.state.history(key, "a"), Sequence[StateChange])


def sync_state(store: SyncStore, key: SessionKey) -> None:
    assert_type(store.state.get(key, "a"), StateEntry)
    assert_type(store.state.find(key, "a"), StateEntry | None)
    assert_type(store.state.list(key), Page[StateEntry])
    assert_type(store.state.iter(key), Iterator[StateEntry])
    assert_type(store.state.merged(key), dict[str, Any])
    assert_type(store.state.set(UserScope("a", "u"), {"a": 1}), int)
    assert_type(store.state.delete(AppScope("a"), "a"), bool)
    assert_type(store.state.at(key, 1), dict[str, Any])
    assert_type(store.state.history(key, "a"), Sequence[StateChange])


def turn_state(turn: Turn[Async], key: SessionKey) -> None:
    assert_type(turn.state.set(key, {"a": 1}), Pending[int])
    assert_type(turn.state.delete(AppScope("a"), "a"), Pending[bool])


def no_reads_in_a_turn_of_state(turn: Turn[Async], key: SessionKey) -> None:
    turn.state.get(key, "a")  # type: ignore[arg-type, unused-coroutine]
    turn.state.find(key, "a")  # type: ignore[arg-type, unused-coroutine]
    turn.state.list(key)  # type: ignore[arg-type, unused-coroutine]
    turn.state.iter(key)  # type: ignore[arg-type]
    turn.state.merged(key)  # type: ignore[arg-type, unused-coroutine]
    turn.state.at(key, 1)  # type: ignore[arg-type, unused-coroutine]
    turn.state.history(key, "a")  # type: ignore[arg-type, unused-coroutine]


async def async_store(key: SessionKey) -> None:
    assert_type(perdure.open("memory:"), Store)
    assert_type(await perdure.open("memory:"), Store)
    async with perdure.open("memory:") as store:
        assert_type(store, Store)
    assert_type(await store.session("a", "u"), SessionHandle[Async])
    assert_type(await store.erase_user("a", "u"), ErasureReceipt)
    assert_type(store.export_user("a", "u"), AsyncIterator[str])
    assert_type(await store.sweep(dry_run=True), Swept)
    assert_type(await store.migrate(), list[str])
    async with store.turn() as turn:
        pending = turn.events.append(key, "x")
        assert_type(turn.sessions.create("a", "u"), Pending[Session])
    assert_type(pending, Pending[Appended])
    assert_type(pending.value, Appended)
    assert_type(pending.value.event, Event)
    [event async for event in store.events.iter(key)]


def sync_store(key: SessionKey) -> None:
    assert_type(perdure.open_sync("memory:"), SyncStore)
    with perdure.open_sync("memory:") as store:
        assert_type(store, SyncStore)
    assert_type(store.session("a", "u"), SessionHandle[Sync])
    assert_type(store.erase_user("a", "u"), ErasureReceipt)
    assert_type(store.export_user("a", "u"), Iterator[str])
    assert_type(store.sweep(), Swept)
    assert_type(store.migrate(), list[str])
    with store.turn() as turn:
        pending = turn.state.set(key, {"a": 1})
        assert_type(turn.events.append(key, "x"), Pending[Appended])
    assert_type(pending.value, int)
    assert_type([event.text for event in store.events.iter(key)], list[str])


async def async_handle(chat: SessionHandle[Async]) -> None:
    assert_type(await chat.append("x", NewEvent("y")), Appended)
    await chat.refresh()
    assert_type((chat.key, chat.app, chat.user, chat.id), tuple[SessionKey, str, str, str])
    assert_type((chat.version, chat.last_update_time), tuple[int, datetime])
    assert_type((chat.events, chat.state), tuple[list[Event], HandleState])


def sync_handle(chat: SessionHandle[Sync]) -> None:
    assert_type(chat.append("x"), Appended)
    chat.refresh()


def what_is_no_argument(store: SyncStore, key: SessionKey) -> None:
    store.sessions.get("chat")  # type: ignore[arg-type]
    store.sessions.list(limit="5")  # type: ignore[arg-type]
    store.sessions.update(key, nonsense=1)  # type: ignore[call-arg]
    store.events.append(key, 7)  # type: ignore[arg-type]
    store.events.read(key, 5)  # type: ignore[call-arg]
    store.state.set("app", {"a": 1})  # type: ignore[arg-type]


async def async_artifacts(store: Store, key: SessionKey) -> None:
    assert_type(await store.artifacts.save(key, "f", b""), Artifact)
    assert_type(await store.artifacts.delete(key, "f"), bool)
    assert_type(await store.artifacts.load(key, "f"), LoadedArtifact)
    assert_type(store.artifacts.pieces(key, "f"), AsyncIterator[bytes])
    assert_type(await store.artifacts.get_version(key, "f"), Artifact)
    assert_type(await store.artifacts.find_version(key, "f"), Artifact | None)
    assert_type(await store.artifacts.versions(key, "f"), Page[Artifact])
    assert_type(await store.artifacts.list(key), Page[Artifact])
    assert_type(store.artifacts.iter(key), AsyncIterator[Artifact])


def sync_artifacts(store: SyncStore, key: SessionKey) -> None:
    assert_type(store.artifacts.save(key, "f", b""), Artifact)
    assert_type(store.artifacts.delete(key, "f"), bool)
    assert_type(store.artifacts.load(key, "f"), LoadedArtifact)
    assert_type(store.artifacts.pieces(key, "f"), Iterator[bytes])
    assert_type(store.artifacts.get_version(key, "f"), Artifact)
    assert_type(store.artifacts.find_version(key, "f"), Artifact | None)
    assert_type(store.artifacts.versions(key, "f"), Page[Artifact])
    assert_type(store.artifacts.list(key), Page[Artifact])
    assert_type(store.artifacts.iter(key), Iterator[Artifact])


def turn_artifacts(turn: Turn[Async], key: SessionKey) -> None:
    assert_type(turn.artifacts.save(key, "f", b""), Pending[Artifact])
    assert_type(turn.artifacts.delete(key, "f"), Pending[bool])


def no_reads_in_a_turn_of_artifacts(turn: Turn[Async], key: SessionKey) -> None:
    turn.artifacts.load(key, "f")  # type: ignore[arg-type, unused-coroutine]
    turn.artifacts.pieces(key, "f")  # type: ignore[arg-type]
    turn.artifacts.get_version(key, "f")  # type: ignore[arg-type, unused-coroutine]
    turn.artifacts.find_version(key, "f")  # type: ignore[arg-type, unused-coroutine]
    turn.artifacts.versions(key, "f")  # type: ignore[arg-type, unused-coroutine]
    turn.artifacts.list(key)  # type: ignore[arg-type, unused-coroutine]
    turn.artifacts.iter(key)  # type: ignore[arg-type]


async def async_facts(store: Store) -> None:
    assert_type(store.subscribe(), AsyncSubscription)
    assert_type(await store.du(), DiskUse)
    assert_type(await store.usage(by="day", app="a"), list[Usage])
    assert_type(await store.subscribe().get(within=1), Fact | None)
    async for fact in store.subscribe("event.appended"):
        assert_type(fact, Fact)


def sync_facts(store: SyncStore) -> None:
    assert_type(store.subscribe(), SyncSubscription)
    assert_type(store.du(by="user", days=7), DiskUse)
    assert_type(store.usage(by="day", app="a"), list[Usage])
    assert_type(store.subscribe().get(), Fact | None)
    for fact in store.subscribe(["event.appended"]):
        assert_type(fact, Fact)
