"""The types that a caller sees: read by mypy alone, run by nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, assert_type

import perdure
from perdure import (
    Annotation,
    Appended,
    Approval,
    ApprovalStep,
    AppScope,
    Artifact,
    Async,
    AsyncSubscription,
    Branch,
    Checkpoint,
    CheckpointKey,
    CheckpointNode,
    CheckpointTuple,
    Clarification,
    Compacted,
    Content,
    Context,
    ConversationContext,
    CronPass,
    CronRun,
    CronSync,
    CronTask,
    DiskUse,
    ErasureReceipt,
    Event,
    Fact,
    Gate,
    HandleState,
    History,
    HistoryView,
    Hold,
    KeyValue,
    KeyValueHit,
    LeaseHolder,
    Lineage,
    LoadedArtifact,
    Memory,
    MemoryHit,
    MemoryTools,
    Message,
    Messages,
    Namespace,
    NewCronTask,
    NewEvent,
    NewMemory,
    Page,
    Pending,
    PrunedCheckpoints,
    RecoveredApprovals,
    RecoveredClarifications,
    RecoveryView,
    Remembered,
    RememberedApproval,
    Rewritten,
    RunLease,
    RunStep,
    SearchHit,
    Session,
    SessionHandle,
    SessionKey,
    SessionSummary,
    StateChange,
    StateEntry,
    Store,
    Summary,
    SummaryJob,
    SummaryRun,
    Swept,
    Sync,
    SyncStore,
    SyncSubscription,
    Turn,
    Usage,
    UserScope,
)
from perdure.workers import Scheduler, Sweeper, Workers


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
    assert_type(await store.sessions.hold(key, by="b", reason="r"), Hold)
    assert_type(await store.sessions.release(UserScope("a", "u")), bool)
    assert_type(await store.sessions.find_hold(key), Hold | None)
    assert_type(await store.sessions.lease(key, "r"), RunLease[Async])
    assert_type(await store.sessions.find_lease(key), LeaseHolder | None)
    async with store.sessions.lease(key, "r") as lease:
        assert_type(lease, RunLease[Async])
        assert_type(await lease.release(), bool)


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
    assert_type(store.sessions.hold(key, by="b", reason="r"), Hold)
    assert_type(store.sessions.release(UserScope("a", "u")), bool)
    assert_type(store.sessions.find_hold(key), Hold | None)
    assert_type(store.sessions.find_lease(key), LeaseHolder | None)
    with store.sessions.lease(key, "r") as lease:
        assert_type(lease, RunLease[Sync])
        assert_type(lease.release(), bool)


async def async_steps(store: Store) -> None:
    assert_type(await store.steps.find("r", "n"), RunStep | None)
    assert_type(await store.steps.list("r"), Page[RunStep])
    assert_type(await store.steps.delete("r"), int)
    await store.step("r", "n", len, "x")
    await store.steps.run("r", "n", len, "x")


def turn_steps(turn: Turn[Async]) -> None:
    assert_type(turn.steps.delete("r"), Pending[int])


def no_reads_in_a_turn_of_steps(turn: Turn[Async]) -> None:
    turn.steps.find("r", "n")  # type: ignore[arg-type, unused-coroutine]
    turn.steps.list("r")  # type: ignore[arg-type, unused-coroutine]
    turn.steps.run("r", "n", len, "x")  # type: ignore[arg-type, unused-coroutine]


def sync_steps(store: SyncStore) -> None:
    assert_type(store.steps.find("r", "n"), RunStep | None)
    assert_type(store.steps.list("r"), Page[RunStep])
    assert_type(store.steps.delete("r"), int)
    store.step("r", "n", len, "x")
    store.steps.run("r", "n", len, "x")


def turn_sessions(turn: Turn[Async], key: SessionKey) -> None:
    assert_type(turn.sessions.create("a", "u"), Pending[Session])
    assert_type(turn.sessions.get_or_create("a", "u"), Pending[Session])
    assert_type(turn.sessions.update(key, title="x"), Pending[Session])
    assert_type(turn.sessions.delete(key), Pending[bool])
    assert_type(turn.sessions.restore(key), Pending[Session])
    assert_type(turn.sessions.purge(key), Pending[bool])
    assert_type(turn.sessions.fork(key), Pending[Session])
    assert_type(turn.sessions.hold(key, by="b", reason="r"), Pending[Hold])
    assert_type(turn.sessions.release(key), Pending[bool])


def no_reads_in_a_turn_of_sessions(turn: Turn[Async], key: SessionKey) -> None:
    turn.sessions.get(key)  # type: ignore[arg-type, unused-coroutine]
    turn.sessions.find(key)  # type: ignore[arg-type, unused-coroutine]
    turn.sessions.list()  # type: ignore[arg-type, unused-coroutine]
    turn.sessions.iter()  # type: ignore[arg-type]
    turn.sessions.count()  # type: ignore[arg-type, unused-coroutine]
    turn.sessions.find_hold(key)  # type: ignore[arg-type, unused-coroutine]
    turn.sessions.find_lease(key)  # type: ignore[arg-type, unused-coroutine]
    turn.sessions.lease(key, "r")  # type: ignore[arg-type]


async def async_events(store: Store, key: SessionKey) -> None:
    assert_type(await store.events.append(key, "x", {"role": "user"}, NewEvent("x")), Appended)
    assert_type(await store.events.get(key, "e"), Event)
    assert_type(await store.events.find(key, "e"), Event | None)
    assert_type(await store.events.locate("a", "e"), tuple[SessionKey, Event] | None)
    assert_type(await store.events.read(key), list[Event])
    assert_type(await store.events.list(key), Page[Event])
    assert_type(store.events.iter(key), AsyncIterator[Event])
    assert_type(await store.events.count(key), int)
    assert_type(await store.events.contents(key), list[Content])
    assert_type(await store.events.window(key), list[Event])
    assert_type(await store.events.messages(key), Messages)
    assert_type(await store.events.context(key), Context)
    assert_type(store.events.tail(key), AsyncIterator[Event | Rewritten])
    assert_type(await store.events.prune(key, keep_last=1), int)
    assert_type(await store.events.rewind(key, 1), Session)
    assert_type(await store.events.pop(key, format="plain"), list[Event])
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
    assert_type(store.events.contents(key), list[Content])
    assert_type(store.events.window(key), list[Event])
    assert_type(store.events.messages(key), Messages)
    assert_type(store.events.context(key), Context)
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
    turn.events.contents(key)  # type: ignore[arg-type, unused-coroutine]
    turn.events.window(key)  # type: ignore[arg-type, unused-coroutine]
    turn.events.messages(key)  # type: ignore[arg-type, unused-coroutine]
    turn.events.context(key)  # type: ignore[arg-type, unused-coroutine]
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


async def async_kv(store: Store) -> None:
    assert_type(await store.kv.set("n", "k", {"a": 1}), KeyValue)
    assert_type(await store.kv.add(("n", "m"), "k", b"x"), KeyValue | None)
    assert_type(await store.kv.get("n", "k", refresh=True), KeyValue)
    assert_type(await store.kv.find("n", "k"), KeyValue | None)
    assert_type(await store.kv.touch("n", "k"), bool)
    assert_type(await store.kv.delete("n", "k"), bool)
    assert_type(await store.kv.get_many("n", ["k"]), dict[str, KeyValue])
    assert_type(await store.kv.set_many("n", {"k": 1}), int)
    assert_type(await store.kv.delete_many("n", ["k"]), int)
    assert_type(await store.kv.list(), Page[KeyValue])
    assert_type(store.kv.iter(), AsyncIterator[KeyValue])
    assert_type(await store.kv.search("x", namespace="n"), Sequence[KeyValueHit])
    assert_type(await store.kv.count(), int)
    assert_type(await store.kv.namespaces(), Page[Namespace])
    assert_type(await store.kv.cleanup(), int)


def sync_kv(store: SyncStore) -> None:
    assert_type(store.kv.set("n", "k", {"a": 1}), KeyValue)
    assert_type(store.kv.add(("n", "m"), "k", b"x"), KeyValue | None)
    assert_type(store.kv.get("n", "k", refresh=True), KeyValue)
    assert_type(store.kv.find("n", "k"), KeyValue | None)
    assert_type(store.kv.touch("n", "k"), bool)
    assert_type(store.kv.delete("n", "k"), bool)
    assert_type(store.kv.get_many("n", ["k"]), dict[str, KeyValue])
    assert_type(store.kv.set_many("n", {"k": 1}), int)
    assert_type(store.kv.delete_many("n", ["k"]), int)
    assert_type(store.kv.list(), Page[KeyValue])
    assert_type(store.kv.iter(), Iterator[KeyValue])
    assert_type(store.kv.search("x", namespace="n"), Sequence[KeyValueHit])
    assert_type(store.kv.count(), int)
    assert_type(store.kv.namespaces(), Page[Namespace])
    assert_type(store.kv.cleanup(), int)


def turn_kv(turn: Turn[Async]) -> None:
    assert_type(turn.kv.set("n", "k", {"a": 1}), Pending[KeyValue])
    assert_type(turn.kv.add("n", "k"), Pending[KeyValue | None])
    assert_type(turn.kv.touch("n", "k"), Pending[bool])
    assert_type(turn.kv.delete("n", "k"), Pending[bool])
    assert_type(turn.kv.set_many("n", {"k": 1}), Pending[int])
    assert_type(turn.kv.delete_many("n", ["k"]), Pending[int])


def no_reads_in_a_turn_of_kv(turn: Turn[Async]) -> None:
    turn.kv.get("n", "k")  # type: ignore[arg-type, unused-coroutine]
    turn.kv.find("n", "k")  # type: ignore[arg-type, unused-coroutine]
    turn.kv.get_many("n", ["k"])  # type: ignore[arg-type, unused-coroutine]
    turn.kv.list()  # type: ignore[arg-type, unused-coroutine]
    turn.kv.iter()  # type: ignore[arg-type]
    turn.kv.search("x")  # type: ignore[arg-type, unused-coroutine]
    turn.kv.count()  # type: ignore[arg-type, unused-coroutine]
    turn.kv.namespaces()  # type: ignore[arg-type, unused-coroutine]
    turn.kv.cleanup()  # type: ignore[arg-type, unused-coroutine]


async def async_memory(store: Store, key: SessionKey) -> None:
    assert_type(await store.memory.add("a", "u", "x", ["t"]), Memory)
    assert_type(await store.memory.ingest("a", "u", ["x"]), Remembered)
    assert_type(await store.memory.replace_session("a", "u", "s", ["x"]), Sequence[Memory])
    assert_type(await store.memory.update("a", "u", "m", content="x"), Memory)
    assert_type(await store.memory.supersede("a", "u", "m", "n"), Memory)
    assert_type(await store.memory.delete("a", "u", "m"), bool)
    assert_type(await store.memory.clear("a", "u"), int)
    assert_type(await store.memory.get("a", "u", "m"), Memory)
    assert_type(await store.memory.find("a", "u", "m"), Memory | None)
    assert_type(await store.memory.read("a", "u"), Page[Memory])
    assert_type(store.memory.iter("a", "u"), AsyncIterator[Memory])
    assert_type(await store.memory.count("a", "u"), int)
    assert_type(await store.memory.history("a", "u", "m"), Sequence[Memory])
    assert_type(await store.memory.search("a", "u", "x"), Sequence[MemoryHit])
    assert_type(await store.memory.remember(key), Remembered)
    assert_type(await store.memory.cleanup(), int)
    tools = store.memory.tools("a", "u")
    assert_type(tools, MemoryTools[Async])
    assert_type(await tools.call("memory_list", {}), dict[str, Any])


def sync_memory(store: SyncStore, key: SessionKey) -> None:
    assert_type(store.memory.add("a", "u", "x"), Memory)
    assert_type(store.memory.ingest("a", "u", [NewMemory("x")]), Remembered)
    assert_type(store.memory.replace_session("a", "u", "s", [{"content": "x"}]), Sequence[Memory])
    assert_type(store.memory.update("a", "u", "m", content="x"), Memory)
    assert_type(store.memory.supersede("a", "u", "m", "n"), Memory)
    assert_type(store.memory.delete("a", "u", "m"), bool)
    assert_type(store.memory.clear("a", "u"), int)
    assert_type(store.memory.get("a", "u", "m"), Memory)
    assert_type(store.memory.find("a", "u", "m"), Memory | None)
    assert_type(store.memory.read("a", "u"), Page[Memory])
    assert_type(store.memory.iter("a", "u"), Iterator[Memory])
    assert_type(store.memory.count("a", "u"), int)
    assert_type(store.memory.history("a", "u", "m"), Sequence[Memory])
    assert_type(store.memory.search("a", "u", "x"), Sequence[MemoryHit])
    assert_type(store.memory.remember(key), Remembered)
    assert_type(store.memory.cleanup(dry_run=True), int)
    tools = store.memory.tools("a", "u")
    assert_type(tools, MemoryTools[Sync])
    assert_type(tools.call("memory_list", "{}"), dict[str, Any])


def turn_memory(turn: Turn[Async]) -> None:
    assert_type(turn.memory.add("a", "u", "x"), Pending[Memory])
    assert_type(turn.memory.ingest("a", "u", ["x"]), Pending[Remembered])
    assert_type(turn.memory.replace_session("a", "u", "s", []), Pending[Sequence[Memory]])
    assert_type(turn.memory.update("a", "u", "m"), Pending[Memory])
    assert_type(turn.memory.supersede("a", "u", "m", "n"), Pending[Memory])
    assert_type(turn.memory.delete("a", "u", "m"), Pending[bool])
    assert_type(turn.memory.clear("a", "u"), Pending[int])


def no_reads_in_a_turn_of_memory(turn: Turn[Async], key: SessionKey) -> None:
    turn.memory.get("a", "u", "m")  # type: ignore[arg-type, unused-coroutine]
    turn.memory.find("a", "u", "m")  # type: ignore[arg-type, unused-coroutine]
    turn.memory.read("a", "u")  # type: ignore[arg-type, unused-coroutine]
    turn.memory.iter("a", "u")  # type: ignore[arg-type]
    turn.memory.count("a", "u")  # type: ignore[arg-type, unused-coroutine]
    turn.memory.history("a", "u", "m")  # type: ignore[arg-type, unused-coroutine]
    turn.memory.search("a", "u", "x")  # type: ignore[arg-type, unused-coroutine]
    turn.memory.remember(key)  # type: ignore[arg-type, unused-coroutine]
    turn.memory.cleanup()  # type: ignore[arg-type, unused-coroutine]
    # It only makes an object, whose calls are no writes of a turn.
    turn.memory.tools("a", "u").call("memory_list", {})  # type: ignore[arg-type, unused-coroutine]


async def async_summaries(store: Store, key: SessionKey) -> None:
    assert_type(await store.summaries.get(key), Summary)
    assert_type(await store.summaries.find(key, "f"), Summary | None)
    assert_type(await store.summaries.list(key), Page[Summary])
    assert_type(await store.summaries.summary_text(key), str | None)
    assert_type(await store.summaries.set(key, "x", covers_seq=1), Summary)
    assert_type(await store.summaries.delete(key), bool)
    assert_type(await store.summaries.summarize(key, force=True), Summary | None)
    await store.summaries.enqueue_summary(key)
    assert_type(await store.summaries.jobs(), Page[SummaryJob])
    assert_type(await store.summaries.cancel_job(key), bool)
    assert_type(await store.summaries.run_jobs(), SummaryRun)


def sync_summaries(store: SyncStore, key: SessionKey) -> None:
    assert_type(store.summaries.get(key), Summary)
    assert_type(store.summaries.find(key, "f"), Summary | None)
    assert_type(store.summaries.list(key), Page[Summary])
    assert_type(store.summaries.summary_text(key), str | None)
    assert_type(store.summaries.set(key, "x", covers_seq=1), Summary)
    assert_type(store.summaries.delete(key), bool)
    assert_type(store.summaries.summarize(key, force=True), Summary | None)
    store.summaries.enqueue_summary(key)
    assert_type(store.summaries.jobs(), Page[SummaryJob])
    assert_type(store.summaries.cancel_job(key), bool)
    assert_type(store.summaries.run_jobs(), SummaryRun)


def turn_summaries(turn: Turn[Async], key: SessionKey) -> None:
    assert_type(turn.summaries.set(key, "x"), Pending[Summary])
    assert_type(turn.summaries.delete(key), Pending[bool])
    assert_type(turn.summaries.enqueue_summary(key), Pending[None])
    assert_type(turn.summaries.cancel_job(key), Pending[bool])


def no_reads_in_a_turn_of_summaries(turn: Turn[Async], key: SessionKey) -> None:
    turn.summaries.get(key)  # type: ignore[arg-type, unused-coroutine]
    turn.summaries.find(key)  # type: ignore[arg-type, unused-coroutine]
    turn.summaries.list(key)  # type: ignore[arg-type, unused-coroutine]
    turn.summaries.summary_text(key)  # type: ignore[arg-type, unused-coroutine]
    turn.summaries.jobs()  # type: ignore[arg-type, unused-coroutine]
    turn.summaries.run_jobs()  # type: ignore[arg-type, unused-coroutine]
    turn.summaries.summarize(key)  # type: ignore[arg-type, unused-coroutine]


async def async_history(store: Store) -> None:
    view = store.history("a", "u", on_error="log", compact_on_save=True)
    assert_type(view, HistoryView[Async])
    assert_type(await view.get_or_create("k"), History)
    assert_type(await view.get_history("k"), list[dict[str, Any]])
    assert_type(await view.get_summary("k"), str)
    assert_type(await view.add_message("k", "user", "x"), int)
    assert_type(await view.add_full_message("k", {"role": "user"}), int)
    await view.set_summary("k", "x", covers_seq=1)
    await view.set_history("k", [{"role": "user"}])
    await view.truncate_history("k", 1, up_to_seq=1)
    await view.save("k")
    assert_type(await view.compact("k"), int)
    await view.close()


def sync_history(store: SyncStore) -> None:
    view = store.history("a", "u", on_error="log", compact_on_save=True)
    assert_type(view, HistoryView[Sync])
    assert_type(view.get_or_create("k"), History)
    assert_type(view.get_history("k"), list[dict[str, Any]])
    assert_type(view.get_summary("k"), str)
    assert_type(view.add_message("k", "user", "x"), int)
    assert_type(view.add_full_message("k", {"role": "user"}), int)
    view.set_summary("k", "x", covers_seq=1)
    view.set_history("k", [{"role": "user"}])
    view.truncate_history("k", 1, up_to_seq=1)
    view.save("k")
    assert_type(view.compact("k"), int)
    view.close()


async def async_recovery(store: Store, context: ConversationContext) -> None:
    view = store.recovery("a", window=5)
    assert_type(view, RecoveryView[Async])
    assert_type(await view.load_context(1, "s"), ConversationContext | None)
    assert_type(await view.save_context(1, "s", context), ConversationContext)
    assert_type(await view.recover_session("u", "s"), ConversationContext)
    assert_type(await view.list_sessions("u", 5), list[SessionSummary])
    assert_type(await view.delete_session("u", "s"), bool)
    assert_type(await view.cleanup_expired(30), int)
    assert_type(await view.append_message("u", "s", Message("user", "x")), int)
    assert_type(await view.append_turn("u", "s", "a", "b", agent_type="t"), int)
    assert_type(await view.get_recent_messages("u", "s", 5), list[Message])
    assert_type(await view.clear_messages("u", "s"), int)
    await view.update_metadata("u", "s", "k", 1)


def sync_recovery(store: SyncStore, context: ConversationContext) -> None:
    view = store.recovery("a", window=5)
    assert_type(view, RecoveryView[Sync])
    assert_type(view.load_context(1, "s"), ConversationContext | None)
    assert_type(view.save_context(1, "s", context), ConversationContext)
    assert_type(view.recover_session("u", "s"), ConversationContext)
    assert_type(view.list_sessions("u", 5), list[SessionSummary])
    assert_type(view.delete_session("u", "s"), bool)
    assert_type(view.cleanup_expired(30), int)
    assert_type(view.append_message("u", "s", {"role": "user"}), int)
    assert_type(view.append_turn("u", "s", "a", "b", agent_type="t"), int)
    assert_type(view.get_recent_messages("u", "s", 5), list[Message])
    assert_type(view.clear_messages("u", "s"), int)
    view.update_metadata("u", "s", "k", 1)


async def async_store(key: SessionKey) -> None:
    assert_type(perdure.open("memory:"), Store)
    assert_type(await perdure.open("memory:"), Store)
    async with perdure.open("memory:") as store:
        assert_type(store, Store)
    assert_type(await store.session("a", "u"), SessionHandle[Async])
    assert_type(await store.erase_user("a", "u"), ErasureReceipt)
    assert_type(store.export_user("a", "u"), AsyncIterator[str])
    assert_type(await store.sweep(dry_run=True), Swept)
    assert_type(await store.compact(), Compacted)
    assert_type(await store.search("a", "u", "q", kinds=["events"], limit=5), list[SearchHit])
    assert_type(await store.search("a", perdure.ALL, "q", session=key), list[SearchHit])
    assert_type(await store.index(), int)
    assert_type(await store.migrate(), list[str])
    assert_type(await store.start_workers(), Workers[Async])
    assert_type(await (await store.start_workers()).stop(), bool)
    assert_type(await Sweeper(store).run_once(), Swept | None)
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
    assert_type(store.compact(), Compacted)
    assert_type(store.search("a", "u", "q", meaning=0.0), list[SearchHit])
    assert_type(store.index("a", "u"), int)
    assert_type(store.migrate(), list[str])
    assert_type(store.start_workers(), Workers[Sync])
    assert_type(store.start_workers().stop(timeout=1), bool)
    assert_type(Sweeper(store).run_once(dry_run=True), Swept | None)
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


async def async_checkpoints(store: Store) -> None:
    assert_type(await store.checkpoints.put("g"), CheckpointKey)
    assert_type(await store.checkpoints.put_full("g", task="t", writes=[("c", 1)]), CheckpointKey)
    assert_type(await store.checkpoints.put_writes("g", "i", "t", [("c", 1)]), CheckpointKey)
    assert_type(await store.checkpoints.delete_lineage("g"), bool)
    assert_type(await store.checkpoints.delete_for_runs(["r"]), int)
    assert_type(await store.checkpoints.prune("g", keep_last=1), PrunedCheckpoints)
    assert_type(await store.checkpoints.copy_lineage("g", "h"), int)
    assert_type(await store.checkpoints.branch("g", "i"), CheckpointKey)
    assert_type(await store.checkpoints.get("g"), Checkpoint)
    assert_type(await store.checkpoints.find("g", "i"), Checkpoint | None)
    assert_type(await store.checkpoints.latest("g"), Checkpoint | None)
    assert_type(await store.checkpoints.get_tuple("g"), CheckpointTuple)
    assert_type(await store.checkpoints.find_tuple("g"), CheckpointTuple | None)
    assert_type(await store.checkpoints.list("g", limit=5), Page[CheckpointTuple])
    assert_type(store.checkpoints.iter("g"), AsyncIterator[CheckpointTuple])
    assert_type(await store.checkpoints.tree("g"), Sequence[CheckpointNode])
    assert_type(await store.checkpoints.lineages(), Page[Lineage])
    assert_type(await store.checkpoints.get_lineage("g"), Lineage)
    assert_type(await store.checkpoints.lease("l", "r"), RunLease[Async])
    assert_type(await store.checkpoints.find_lease("l"), LeaseHolder | None)


def sync_checkpoints(store: SyncStore) -> None:
    assert_type(store.checkpoints.put("g"), CheckpointKey)
    assert_type(store.checkpoints.put_full("g", task="t", writes=[("c", 1)]), CheckpointKey)
    assert_type(store.checkpoints.put_writes("g", "i", "t", [("c", 1)]), CheckpointKey)
    assert_type(store.checkpoints.delete_lineage("g"), bool)
    assert_type(store.checkpoints.delete_for_runs(["r"]), int)
    assert_type(store.checkpoints.prune("g", keep_last=1), PrunedCheckpoints)
    assert_type(store.checkpoints.copy_lineage("g", "h"), int)
    assert_type(store.checkpoints.branch("g", "i"), CheckpointKey)
    assert_type(store.checkpoints.get("g"), Checkpoint)
    assert_type(store.checkpoints.find("g", "i"), Checkpoint | None)
    assert_type(store.checkpoints.latest("g"), Checkpoint | None)
    assert_type(store.checkpoints.get_tuple("g"), CheckpointTuple)
    assert_type(store.checkpoints.find_tuple("g"), CheckpointTuple | None)
    assert_type(store.checkpoints.list("g", limit=5), Page[CheckpointTuple])
    assert_type(store.checkpoints.iter("g"), Iterator[CheckpointTuple])
    assert_type(store.checkpoints.tree("g"), Sequence[CheckpointNode])
    assert_type(store.checkpoints.lineages(), Page[Lineage])
    assert_type(store.checkpoints.get_lineage("g"), Lineage)
    assert_type(store.checkpoints.lease("l", "r"), RunLease[Sync])
    assert_type(store.checkpoints.find_lease("l"), LeaseHolder | None)


def turn_checkpoints(turn: Turn[Async]) -> None:
    assert_type(turn.checkpoints.put("g"), Pending[CheckpointKey])
    assert_type(turn.checkpoints.put_full("g", task="t", writes=[("c", 1)]), Pending[CheckpointKey])
    assert_type(turn.checkpoints.put_writes("g", "i", "t", [("c", 1)]), Pending[CheckpointKey])
    assert_type(turn.checkpoints.delete_lineage("g"), Pending[bool])
    assert_type(turn.checkpoints.delete_for_runs(["r"]), Pending[int])
    assert_type(turn.checkpoints.prune("g", keep_last=1), Pending[PrunedCheckpoints])
    assert_type(turn.checkpoints.copy_lineage("g", "h"), Pending[int])
    assert_type(turn.checkpoints.branch("g", "i"), Pending[CheckpointKey])


def no_reads_in_a_turn_of_checkpoints(turn: Turn[Async]) -> None:
    turn.checkpoints.get("g")  # type: ignore[arg-type, unused-coroutine]
    turn.checkpoints.find("g", "i")  # type: ignore[arg-type, unused-coroutine]
    turn.checkpoints.latest("g")  # type: ignore[arg-type, unused-coroutine]
    turn.checkpoints.get_tuple("g")  # type: ignore[arg-type, unused-coroutine]
    turn.checkpoints.find_tuple("g")  # type: ignore[arg-type, unused-coroutine]
    turn.checkpoints.list("g", limit=5)  # type: ignore[arg-type, unused-coroutine]
    turn.checkpoints.iter("g")  # type: ignore[arg-type]
    turn.checkpoints.tree("g")  # type: ignore[arg-type, unused-coroutine]
    turn.checkpoints.lineages()  # type: ignore[arg-type, unused-coroutine]
    turn.checkpoints.get_lineage("g")  # type: ignore[arg-type, unused-coroutine]
    turn.checkpoints.find_lease("l")  # type: ignore[arg-type, unused-coroutine]
    turn.checkpoints.lease("l", "r")  # type: ignore[arg-type]


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


async def async_clarifications(store: Store, key: SessionKey) -> None:
    assert_type(await store.clarifications.ask(key, "Which?", options=["a"]), Clarification)
    assert_type(await store.clarifications.answer("i", "", by="me"), Clarification)
    assert_type(await store.clarifications.cancel("i"), Clarification)
    assert_type(await store.clarifications.wait("i", timeout=1.5), Clarification)
    assert_type(await store.clarifications.get("i"), Clarification)
    assert_type(await store.clarifications.find("i"), Clarification | None)
    assert_type(await store.clarifications.find_pending(key, "x"), Clarification | None)
    assert_type(await store.clarifications.list(status="pending"), Page[Clarification])
    assert_type(store.clarifications.iter("app", "user"), AsyncIterator[Clarification])
    assert_type(await store.clarifications.expire(), int)
    assert_type(await store.clarifications.recover_pending(), RecoveredClarifications)


def sync_clarifications(store: SyncStore, key: SessionKey) -> None:
    assert_type(store.clarifications.ask(key, "Which?", options=["a"]), Clarification)
    assert_type(store.clarifications.answer("i", "", by="me"), Clarification)
    assert_type(store.clarifications.cancel("i"), Clarification)
    assert_type(store.clarifications.wait("i", timeout=1.5), Clarification)
    assert_type(store.clarifications.get("i"), Clarification)
    assert_type(store.clarifications.find("i"), Clarification | None)
    assert_type(store.clarifications.find_pending(key, "x"), Clarification | None)
    assert_type(store.clarifications.list(status="pending"), Page[Clarification])
    assert_type(store.clarifications.iter("app", "user"), Iterator[Clarification])
    assert_type(store.clarifications.expire(), int)
    assert_type(store.clarifications.recover_pending(), RecoveredClarifications)


def turn_clarifications(turn: Turn[Async], key: SessionKey) -> None:
    assert_type(turn.clarifications.ask(key, "Which?"), Pending[Clarification])
    assert_type(turn.clarifications.answer("i", ""), Pending[Clarification])
    assert_type(turn.clarifications.cancel("i"), Pending[Clarification])


def no_reads_in_a_turn_of_clarifications(turn: Turn[Async], key: SessionKey) -> None:
    turn.clarifications.wait("i")  # type: ignore[arg-type, unused-coroutine]
    turn.clarifications.get("i")  # type: ignore[arg-type, unused-coroutine]
    turn.clarifications.find("i")  # type: ignore[arg-type, unused-coroutine]
    turn.clarifications.find_pending(key, "x")  # type: ignore[arg-type, unused-coroutine]
    turn.clarifications.list()  # type: ignore[arg-type, unused-coroutine]
    turn.clarifications.iter()  # type: ignore[arg-type]
    turn.clarifications.expire()  # type: ignore[arg-type, unused-coroutine]
    turn.clarifications.recover_pending()  # type: ignore[arg-type, unused-coroutine]


async def async_approvals(store: Store) -> None:
    assert_type(await store.approvals.request("t", {}), Approval)
    assert_type(await store.approvals.resolve("a", "approve", by="b"), Approval)
    assert_type(await store.approvals.approve("a", by="b"), Approval)
    assert_type(await store.approvals.reject("a", by="b"), Approval)
    assert_type(await store.approvals.cancel("a"), Approval)
    assert_type(await store.approvals.consume("a", {}), bool)
    assert_type(await store.approvals.wait("a", 1), Approval)
    assert_type(await store.approvals.get("a"), Approval)
    assert_type(await store.approvals.find("a"), Approval | None)
    assert_type(await store.approvals.audit("a"), Sequence[ApprovalStep])
    assert_type(await store.approvals.list(status="pending"), Page[Approval])
    assert_type(store.approvals.iter(), AsyncIterator[Approval])
    assert_type(await store.approvals.recover_pending(), RecoveredApprovals)
    assert_type(await store.approvals.remembered(), Page[RememberedApproval])
    assert_type(await store.approvals.forget("r"), bool)
    async with store.approvals.gate("t", {}) as gate:
        assert_type(gate, Gate[Async])
        assert_type(gate.approval, Approval | None)

    @store.approvals.required("t")
    async def tool(text: str) -> int:
        return len(text)

    assert_type(await tool("x"), int)
    with store.approvals.gate("t", {}):  # type: ignore[misc]
        pass


def sync_approvals(store: SyncStore) -> None:
    assert_type(store.approvals.request("t", {}), Approval)
    assert_type(store.approvals.resolve("a", "approve", by="b"), Approval)
    assert_type(store.approvals.approve("a", by="b"), Approval)
    assert_type(store.approvals.reject("a", by="b"), Approval)
    assert_type(store.approvals.cancel("a"), Approval)
    assert_type(store.approvals.consume("a", {}), bool)
    assert_type(store.approvals.wait("a", 1), Approval)
    assert_type(store.approvals.get("a"), Approval)
    assert_type(store.approvals.find("a"), Approval | None)
    assert_type(store.approvals.audit("a"), Sequence[ApprovalStep])
    assert_type(store.approvals.list(status="pending"), Page[Approval])
    assert_type(store.approvals.iter(), Iterator[Approval])
    assert_type(store.approvals.recover_pending(), RecoveredApprovals)
    assert_type(store.approvals.remembered(), Page[RememberedApproval])
    assert_type(store.approvals.forget("r"), bool)
    with store.approvals.gate("t", {}) as gate:
        assert_type(gate, Gate[Sync])

    @store.approvals.required()
    def tool(text: str) -> int:
        return len(text)

    assert_type(tool("x"), int)


def turn_approvals(turn: Turn[Async]) -> None:
    assert_type(turn.approvals.request("t", {}), Pending[Approval])
    assert_type(turn.approvals.cancel("a"), Pending[Approval])
    assert_type(turn.approvals.consume("a", {}), Pending[bool])
    assert_type(turn.approvals.forget("r"), Pending[bool])


def no_reads_in_a_turn_of_approvals(turn: Turn[Async]) -> None:
    turn.approvals.get("a")  # type: ignore[arg-type, unused-coroutine]
    turn.approvals.find("a")  # type: ignore[arg-type, unused-coroutine]
    turn.approvals.audit("a")  # type: ignore[arg-type, unused-coroutine]
    turn.approvals.list()  # type: ignore[arg-type, unused-coroutine]
    turn.approvals.iter()  # type: ignore[arg-type]
    turn.approvals.remembered()  # type: ignore[arg-type, unused-coroutine]
    turn.approvals.resolve("a", "reject", by="b")  # type: ignore[arg-type, unused-coroutine]
    turn.approvals.approve("a", by="b")  # type: ignore[arg-type, unused-coroutine]
    turn.approvals.reject("a", by="b")  # type: ignore[arg-type, unused-coroutine]
    turn.approvals.wait("a")  # type: ignore[arg-type, unused-coroutine]
    turn.approvals.recover_pending()  # type: ignore[arg-type, unused-coroutine]
    # These make something that no turn carries out: entering it, or calling it, raises.
    with turn.approvals.gate("t"):  # type: ignore[misc]
        pass
    turn.approvals.required("t")


async def async_cron(store: Store, key: SessionKey) -> None:
    assert_type(await store.cron.create("d", "@daily", timeout=timedelta(1)), CronTask)
    assert_type(await store.cron.get("i"), CronTask)
    assert_type(await store.cron.find("d"), CronTask | None)
    assert_type(await store.cron.list(), Page[CronTask])
    assert_type(store.cron.iter(), AsyncIterator[CronTask])
    assert_type(await store.cron.update("i", enabled=True), CronTask)
    assert_type(await store.cron.pause("i", by="ada"), CronTask)
    assert_type(await store.cron.resume("i"), CronTask)
    assert_type(await store.cron.delete("i"), bool)
    assert_type(await store.cron.sync([NewCronTask("d", "@daily")]), CronSync)
    assert_type(await store.cron.trigger("i"), CronRun)
    assert_type(await store.cron.get_run("i"), CronRun)
    assert_type(await store.cron.runs("i"), Page[CronRun])
    assert_type(await store.cron.link("i", key), CronRun)
    assert_type(await store.cron.upcoming("@daily"), Sequence[datetime])
    assert_type(store.scheduler({}), Scheduler[Async])


def sync_cron(store: SyncStore, key: SessionKey) -> None:
    assert_type(store.cron.create("d", "@daily", timeout=timedelta(1)), CronTask)
    assert_type(store.cron.get("i"), CronTask)
    assert_type(store.cron.find("d"), CronTask | None)
    assert_type(store.cron.list(), Page[CronTask])
    assert_type(store.cron.iter(), Iterator[CronTask])
    assert_type(store.cron.update("i", enabled=True), CronTask)
    assert_type(store.cron.pause("i", by="ada"), CronTask)
    assert_type(store.cron.resume("i"), CronTask)
    assert_type(store.cron.delete("i"), bool)
    assert_type(store.cron.sync([NewCronTask("d", "@daily")]), CronSync)
    assert_type(store.cron.trigger("i"), CronRun)
    assert_type(store.cron.get_run("i"), CronRun)
    assert_type(store.cron.runs("i"), Page[CronRun])
    assert_type(store.cron.link("i", key), CronRun)
    assert_type(store.cron.upcoming("@daily"), Sequence[datetime])
    assert_type(store.scheduler().run_once(), CronPass)


def turn_cron(turn: Turn[Async]) -> None:
    assert_type(turn.cron.create("d", "@daily", timeout=timedelta(1)), Pending[CronTask])
    assert_type(turn.cron.update("i", enabled=True), Pending[CronTask])
    assert_type(turn.cron.pause("i", by="ada"), Pending[CronTask])
    assert_type(turn.cron.resume("i"), Pending[CronTask])
    assert_type(turn.cron.delete("i"), Pending[bool])
    assert_type(turn.cron.sync([NewCronTask("d", "@daily")]), Pending[CronSync])
    assert_type(turn.cron.trigger("i"), Pending[CronRun])


def no_reads_in_a_turn_of_cron(turn: Turn[Async], key: SessionKey) -> None:
    turn.cron.get("i")  # type: ignore[arg-type, unused-coroutine]
    turn.cron.find("d")  # type: ignore[arg-type, unused-coroutine]
    turn.cron.list()  # type: ignore[arg-type, unused-coroutine]
    turn.cron.iter()  # type: ignore[arg-type]
    turn.cron.get_run("i")  # type: ignore[arg-type, unused-coroutine]
    turn.cron.runs("i")  # type: ignore[arg-type, unused-coroutine]
    turn.cron.link("i", key)  # type: ignore[arg-type, unused-coroutine]
    turn.cron.upcoming("@daily")  # type: ignore[arg-type, unused-coroutine]
