"""What `perdure.testing` gives to the tests of others."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import perdure
from perdure import (
    BusyError,
    InvalidError,
    NewEvent,
    Opaque,
    Origin,
    SessionKey,
    StorageFullError,
    Store,
    SyncStore,
)
from perdure.testing import (
    CountedIds,
    EngineContractError,
    FixedClock,
    MemoryStore,
    SyncMemoryStore,
    check_engine,
    open_failing,
    open_failing_sync,
    sample_events,
    sample_session,
)

pytest_plugins = ["perdure.testing"]

START = datetime(2026, 1, 1, tzinfo=UTC)
KEY = SessionKey("support", "ada", "chat-1")


def test_a_fixed_clock_stands_until_it_is_moved() -> None:
    clock = FixedClock()

    readings = [clock(), clock()]
    clock.advance(timedelta(hours=1))
    readings.append(clock())
    clock.set(START - timedelta(days=1))
    readings.append(clock.now)

    assert readings == [START, START, START + timedelta(hours=1), START - timedelta(days=1)]


def test_a_fixed_clock_may_go_a_step_further_at_each_reading() -> None:
    clock = FixedClock(START, step=timedelta(seconds=2))

    assert [clock(), clock(), clock.now, clock.now] == [
        START + timedelta(seconds=seconds) for seconds in (0, 2, 4, 4)
    ]


def test_counted_ids_count() -> None:
    ids, others = CountedIds(), CountedIds("run-")

    assert [ids(), ids(), others()] == ["id-000001", "id-000002", "run-000001"]


def test_a_memory_store_is_a_store_like_any_other() -> None:
    async def use() -> None:
        async with MemoryStore(tenant="acme", clock=FixedClock(), ids=CountedIds()) as store:
            created = await store.sessions.create("support", "ada")

            assert (store.tenant, created.id, created.created_at) == ("acme", "id-000001", START)
            assert isinstance(store, Store)

    asyncio.run(use())


def test_clear_forgets_everything_and_leaves_the_store_usable(
    perdure_memory_sync: SyncMemoryStore,
) -> None:
    store = perdure_memory_sync
    created = store.sessions.create("support", "ada", state={"app:a": 1, "user:b": 2}, tags=["t"])
    store.events.append(created.key, "hi")
    store.erase_user("support", "eve")

    store.clear()

    assert store.sessions.count() == 0
    assert store.state.find(perdure.AppScope("support"), "a") is None
    store.sessions.create("support", "eve", imported=True)


def test_put_directly_keeps_every_field_and_reads_no_clock() -> None:
    asked: list[str] = []

    def clock() -> datetime:
        asked.append("when")
        return START + timedelta(days=365)

    long_ago = datetime(1999, 1, 1, tzinfo=UTC)
    session = sample_session(
        created_at=long_ago, updated_at=long_ago, last_event_at=long_ago, version=41,
        parent=KEY._replace(id="parent"), origin=Origin(KEY, 3), preview="hello", agent_type="x",
        state={"a": 1, "user:b": [2], "app:c": Opaque("raw", b"\0")},
    )  # fmt: skip
    with SyncMemoryStore(clock=clock) as store:
        asked.clear()
        store.put_directly(session)

        assert asked == []
        [found] = store.sessions.list(with_state=True, tags=["parcel"], metadata={"channel": "web"})
        assert found == session
        assert store.state.at(session.key, 0) == {"a": 1}


def test_put_directly_replaces_what_has_the_key(perdure_memory_sync: SyncMemoryStore) -> None:
    store = perdure_memory_sync
    old = store.sessions.create(*KEY, state={"old": 1})
    store.events.append(old.key, "old")

    store.put_directly(sample_session(KEY), ["new", {"role": "assistant", "content": "er"}])

    assert store.sessions.get(KEY).uid == "uid-chat-1"
    assert [event.text for event in store.events.read(KEY)] == ["new", "er"]
    assert store.state.merged(KEY) == {}


def test_put_directly_takes_events_as_they_were_read(
    perdure_memory_sync: SyncMemoryStore,
) -> None:
    with perdure.open_sync("memory:") as source:
        source.sessions.create(*KEY)
        source.events.append(KEY, *sample_events())
        source.events.rewind(KEY, 2)
        source.events.append(KEY, NewEvent(Opaque("raw", b"\0"), error="boom", extra={"x": 1}))
        events = source.events.read(KEY)
        session = source.sessions.get(KEY)

    perdure_memory_sync.put_directly(session, events)

    assert perdure_memory_sync.events.read(KEY) == events
    assert perdure_memory_sync.sessions.get(KEY) == session
    assert perdure_memory_sync.events.append(KEY, "next").event.seq == session.last_seq + 1


def test_put_directly_applies_the_deltas_unless_the_state_is_given(
    perdure_memory_sync: SyncMemoryStore,
) -> None:
    perdure_memory_sync.put_directly(sample_session(KEY), sample_events())
    by_deltas = perdure_memory_sync.state.merged(KEY)
    perdure_memory_sync.put_directly(sample_session(KEY, state={"a": 1}), sample_events())

    assert by_deltas == {"parcel": "P-7", "user:city": "London"}
    assert perdure_memory_sync.state.merged(KEY) == {"a": 1, "user:city": "London"}


def test_put_directly_is_awaited_on_an_async_store(perdure_memory: MemoryStore) -> None:
    async def use() -> int:
        await perdure_memory.put_directly(sample_session(KEY), sample_events())
        count = await perdure_memory.events.count(KEY)
        await perdure_memory.clear()
        assert await perdure_memory.sessions.count() == 0
        return count

    assert asyncio.run(use()) == 4


def test_the_sample_is_a_conversation_that_every_format_can_show(
    perdure_memory_sync: SyncMemoryStore,
) -> None:
    store = perdure_memory_sync
    store.put_directly(sample_session(KEY), sample_events())

    kinds = [event.kind for event in store.events.read(KEY)]
    assert kinds == ["message", "tool_call", "tool_result", "message"]
    for name in ("openai.chat", "openai.responses", "anthropic", "plain"):
        assert len(store.events.messages(KEY, name).items) > 0


def test_a_fault_before_leaves_nothing_behind() -> None:
    store, engine = open_failing_sync()
    with store:
        key = store.sessions.create("support", "ada").key
        engine.fail(StorageFullError("no space"), name="events.append")

        with pytest.raises(StorageFullError, match="no space"):
            store.events.append(key, "one")
        assert store.events.count(key) == 0
        assert store.events.append(key, "two").event.seq == 1


def test_a_fault_after_is_a_lost_acknowledgement() -> None:
    store, engine = open_failing_sync()
    with store:
        key = store.sessions.create("support", "ada").key
        engine.fail(BusyError("who knows"), name="events.append", after=True)

        with pytest.raises(BusyError, match="who knows"):
            store.events.append(key, NewEvent("one", id="e1"))
        assert store.events.count(key) == 1
        assert store.events.append(key, NewEvent("one", id="e1")).duplicate


@pytest.mark.parametrize("after", [False, True])
def test_an_async_store_fails_the_same_way(after: bool) -> None:
    async def use() -> tuple[list[bool], int]:
        store, engine = open_failing()
        async with store:
            key = (await store.sessions.create("support", "ada")).key
            engine.fail(BusyError("busy"), name="events.*", nth=3, after=after)
            calls = [store.events.append(key, f"{n}") for n in range(5)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            return [isinstance(r, BusyError) for r in results], await store.events.count(key)

    failed, count = asyncio.run(use())

    assert failed == [False, False, True, False, False]
    assert count == (5 if after else 4)


def test_a_retry_through_a_handle_after_a_lost_acknowledgement_stores_once() -> None:
    store, engine = open_failing_sync()
    with store:
        chat = store.session("support", "ada")
        event = NewEvent("one", id="e1", state_delta={"a": 1})
        engine.fail(BusyError("who knows"), name="events.append", after=True)
        with pytest.raises(BusyError):
            chat.append(event)
        before = (chat.version, list(chat.events))

        chat.append(event)

        assert before == (1, [])
        assert (chat.version, [e.id for e in chat.events]) == (2, ["e1"])


def test_faults_can_be_many_or_all_and_be_healed() -> None:
    store, engine = open_failing_sync()
    with store:
        engine.fail(lambda: BusyError("each its own"), name="sessions.*", times=None)
        errors = []
        for _ in range(3):
            with pytest.raises(BusyError) as failed:
                store.sessions.count()
            errors.append(failed.value)
        engine.heal()

        assert len({id(error) for error in errors}) == 3
        assert store.sessions.count() == 0
        assert engine.names == ["sessions.count"] * 4


def test_a_failing_store_opens_any_url(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/agent.db"
    store, engine = open_failing_sync(url)
    engine.fail(BusyError("busy"), name="store.turn")

    def turn() -> None:
        with store.turn() as turn:
            turn.sessions.create(*KEY)

    with pytest.raises(BusyError):
        turn()
    turn()
    store.close()
    with perdure.open_sync(url) as plain:
        assert plain.sessions.count() == 1


def test_the_fixtures_share_one_clock_and_one_count(
    perdure_store_sync: SyncStore,
    perdure_store: Store,
    perdure_clock: FixedClock,
    perdure_ids: CountedIds,
    perdure_url: str,
) -> None:
    perdure_clock.advance(timedelta(hours=1))
    created = perdure_store_sync.sessions.create("support", "ada")
    other = asyncio.run(_create(perdure_store))

    assert created.created_at == START + timedelta(hours=1)
    assert (created.id, other, perdure_ids()) == ("id-000001", "id-000002", "id-000003")
    assert perdure_store.display_url == perdure_store_sync.display_url == perdure_url


async def _create(store: Store) -> str:
    return (await store.sessions.create("support", "ada")).id


def test_importing_perdure_does_not_import_pytest() -> None:
    script = "import sys, perdure; sys.exit('pytest' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_without_pytest_the_error_says_how_to_get_it() -> None:
    script = (
        "import sys; sys.modules['pytest'] = None\n"
        "import perdure\n"
        "try:\n    import perdure.testing\n"
        "except perdure.MissingExtraError as error:\n    print(error)"
    )

    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert "pip install" in ran.stdout


CHECK = """
import sys
from perdure.engines import engine_for, register_engine
from perdure.testing import EngineContractError, check_engine
from perdure.operation import Operation

{engine}
try:
    report = check_engine("{url}", only="{only}")
except EngineContractError as error:
    print("FAILED", len(error.report.failed), error)
else:
    print("PASSED", report.passed)
"""
FORGETFUL = """
class Forgetful:
    dialect = "sqlite"

    def __init__(self, options, setup):
        class Options:
            url, durability, busy_timeout = "memory:", "full", 1.0
        self._inner = engine_for(Options, setup)

    def open(self):
        self._inner.open()

    def submit(self, jobs):
        self._inner.submit(jobs)

    def run(self, op):
        if op.name == "sessions.delete":
            return True
        return self._inner.run(op)

    def close(self):
        self._inner.close()

register_engine("forgetful", Forgetful)
"""


def check(engine: str, url: str, only: str) -> str:
    script = CHECK.format(engine=engine, url=url, only=only)
    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return ran.stdout.splitlines()[-1]


def test_check_engine_passes_an_engine_that_keeps_the_contract() -> None:
    said = check("", "sqlite:///{folder}/{name}.db", "test_turns and (all_writes or retrying)")

    assert said == "PASSED 4"


def test_check_engine_finds_an_engine_that_does_not() -> None:
    said = check(FORGETFUL, "forgetful:", "test_delete_tells_whether_there_was_one")

    assert said.startswith("FAILED")
    assert "forgetful-sync" in said


def test_check_engine_with_nothing_to_check_is_refused() -> None:
    with pytest.raises(InvalidError, match="no contract test"):
        check_engine("memory:", only="no_such_test")


def test_an_engine_error_has_the_report() -> None:
    with pytest.raises(EngineContractError) as failed:
        check_engine("unknown:", only="test_a_turn_of_nothing")

    assert len(failed.value.report.failed) == 2
    assert failed.value.report.passed == 0
