"""`retry=`: writes that meet what passes are made again, whole, and no others."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from perdure import (
    AlreadyExistsError,
    BusyError,
    ClosedError,
    ConflictError,
    DeniedError,
    InvalidError,
    NewEvent,
    NotFoundError,
    PerdureError,
    ReadOnlyError,
    RetryPolicy,
    SessionKey,
    StaleSessionError,
    StorageFullError,
    Store,
    SyncStore,
    UnknownOutcomeError,
    UserScope,
)
from perdure.config import Config
from perdure.testing import FailingEngine, open_failing, open_failing_sync
from perdure.testing.colours import awaited
from perdure.testing.databases import Database

KEY = SessionKey("support", "ada", "chat")
USER = UserScope("support", "ada")
BUSY = "locked by a test"
SHORT = 0.01


@dataclass
class Trying:
    """A store that fails as it is told, and what it says of that."""

    store: Store
    engine: FailingEngine
    lines: list[str] = field(default_factory=list)

    def tries(self, name: str) -> int:
        return self.engine.names.count(name)


@pytest.fixture
def make(database: Database) -> Iterator[Any]:
    """Opens a store on the test's database, with a policy of these options."""
    opened: list[Store | SyncStore] = []

    def open_it(**options: Any) -> Trying:
        lines: list[str] = []
        sync = options.pop("sync", database.sync)
        given: dict[str, Any] = {"base_delay": SHORT, "logger": lines.append} | options
        retry = None if given.get("off") else RetryPolicy(**given)
        config = Config(url=database.url, durability="normal", retry=retry, pool_min=1)
        if sync:
            blocking = open_failing_sync(config)
            opened.append(blocking.store)
            return Trying(awaited(blocking.store), blocking.engine, lines)
        other = open_failing(config)
        opened.append(other.store)
        return Trying(other.store, other.engine, lines)

    yield open_it
    for store in opened:
        store._close()


async def test_a_write_that_was_busy_is_made_again_and_is_there_once(make: Any) -> None:
    trying = make()
    key = (await trying.store.sessions.create(*KEY)).key
    trying.engine.fail(BusyError(BUSY), name="events.append", times=2)

    event = (await trying.store.events.append(key, "hello")).event

    assert trying.tries("events.append") == 3
    assert [one.id for one in await trying.store.events.read(key)] == [event.id]
    assert [line.partition(",")[0] for line in trying.lines] == [
        "events.append: attempt 1 of 4 failed",
        "events.append: attempt 2 of 4 failed",
    ]
    assert all(BUSY in line and "again in 0.0" in line for line in trying.lines)


WRITES: dict[str, Any] = {
    "sessions.create": lambda store: store.sessions.create("support", "ada"),
    "sessions.update": lambda store: store.sessions.update(KEY, title="t"),
    "state.set": lambda store: store.state.set(USER, {"a": 1}),
    "kv.set": lambda store: store.kv.set("n", "k", 1),
    "memory.add": lambda store: store.memory.add("support", "ada", "likes tea"),
    "artifacts.save": lambda store: store.artifacts.save(KEY, "f", b"x"),
    "summaries.set": lambda store: store.summaries.set(KEY, "s"),
    "clarifications.ask": lambda store: store.clarifications.ask(KEY, "Which?"),
    "events.annotate": lambda store: store.events.annotate(KEY, "score", 1),
}


@pytest.mark.parametrize("name", WRITES)
async def test_every_write_of_every_feature_is_tried_again(make: Any, name: str) -> None:
    trying = make()
    await trying.store.sessions.create(*KEY)
    before = trying.tries(name)
    trying.engine.fail(BusyError(BUSY), name=name)

    await WRITES[name](trying.store)

    assert trying.tries(name) - before == 2
    assert len(trying.lines) == 1


async def test_a_turn_is_tried_again_as_a_whole(make: Any) -> None:
    trying = make()
    await trying.store.sessions.create(*KEY)
    trying.engine.fail(BusyError(BUSY), name="store.turn", times=2)

    async with trying.store.turn() as turn:
        one = turn.events.append(KEY, "one", expected_version=1)
        turn.state.set(USER, {"a": 1})
        asked = turn.clarifications.ask(KEY, "Which?")

    assert trying.tries("store.turn") == 3
    assert [event.id for event in await trying.store.events.read(KEY)] == [one.value.event.id]
    assert (await trying.store.state.get(USER, "a")).version == 1
    assert await trying.store.clarifications.get(asked.value.id) == asked.value


async def test_the_writes_of_a_handle_and_of_a_view_are_tried_again(make: Any) -> None:
    trying = make()
    chat = await trying.store.session("support", "ada", "chat")
    trying.engine.fail(BusyError(BUSY), name="events.append", times=1)
    await chat.append("one")
    trying.engine.fail(BusyError(BUSY), times=1)
    history = trying.store.history("support", "ada")
    await history.add_message("chat", "user", "two")

    assert [one["content"] for one in await history.get_history("chat")] == ["one", "two"]
    assert len(trying.lines) == 2


async def test_without_a_policy_nothing_is_tried_again(make: Any) -> None:
    trying = make(off=True)
    trying.engine.fail(BusyError(BUSY), name="sessions.create")

    with pytest.raises(BusyError):
        await trying.store.sessions.create(*KEY)

    assert trying.tries("sessions.create") == 1
    await trying.store.sessions.create(*KEY)


async def test_reads_pass_through(make: Any) -> None:
    trying = make()
    await trying.store.sessions.create(*KEY)
    trying.engine.fail(BusyError(BUSY), name="sessions.get")

    with pytest.raises(BusyError):
        await trying.store.sessions.get(KEY)

    assert trying.tries("sessions.get") == 1
    assert trying.lines == []


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_after_the_last_attempt_the_error_comes_out_with_how_often_it_was_tried(
    make: Any, retries: int
) -> None:
    trying = make(max_retries=retries)
    trying.engine.fail(BusyError(BUSY, retry_after=2.5), name="sessions.create", times=None)

    with pytest.raises(BusyError, match=BUSY) as caught:
        await trying.store.sessions.create(*KEY)

    assert trying.tries("sessions.create") == retries + 1
    assert caught.value.retry_after == 2.5
    notes = getattr(caught.value, "__notes__", [])
    assert [note.partition(" times")[0] for note in notes] == (
        [f"sessions.create was tried {retries + 1}"] if retries else []
    )
    assert len(trying.lines) == retries + 1
    assert "the last one" in trying.lines[-1]
    trying.engine.heal()
    assert await trying.store.sessions.find(KEY) is None


@pytest.mark.parametrize(
    "error",
    [
        ConflictError("x"),
        StaleSessionError("x", 1),
        AlreadyExistsError("x"),
        NotFoundError("x"),
        InvalidError("x"),
        DeniedError("x"),
        StorageFullError("x"),
        ReadOnlyError("x"),
        ClosedError("x"),
        PerdureError("x"),
        UnknownOutcomeError("x"),
        ValueError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_does_not_pass_comes_out_at_once(make: Any, error: Exception) -> None:
    trying = make()
    trying.engine.fail(error, name="sessions.create", times=None)

    with pytest.raises(type(error)) as caught:
        await trying.store.sessions.create(*KEY)

    assert caught.value is error
    assert trying.tries("sessions.create") == 1
    assert trying.lines == []


async def test_an_append_of_which_nobody_knows_is_looked_for_and_not_doubled(make: Any) -> None:
    trying = make()
    key = (await trying.store.sessions.create(*KEY)).key
    lost = UnknownOutcomeError("the connection was lost")
    trying.engine.fail(lost, name="events.append", after=True)

    done = await trying.store.events.append(key, "stored, and not told", "two")
    trying.engine.fail(lost, name="events.append")
    more = await trying.store.events.append(key, NewEvent("never arrived", id="e3"))

    stored = await trying.store.events.read(key)
    assert [event.id for event in stored] == [*(one.id for one in done.events), more.event.id]
    assert [event.seq for event in stored] == [1, 2, 3]


async def test_what_may_have_been_stored_is_not_said_to_be_unstored(make: Any) -> None:
    trying = make(max_retries=2)
    key = (await trying.store.sessions.create(*KEY)).key
    lost = UnknownOutcomeError("the connection was lost")
    trying.engine.fail(lost, name="events.append", after=True)
    trying.engine.fail(BusyError(BUSY), name="events.append", nth=2, times=None)

    with pytest.raises(UnknownOutcomeError):
        await trying.store.events.append(key, "stored")
    trying.engine.heal()
    trying.engine.fail(lost, name="events.append", after=True)
    trying.engine.fail(ReadOnlyError("x"), name="events.append", nth=2)
    with pytest.raises(UnknownOutcomeError):
        await trying.store.events.append(key, "stored too")

    assert [event.text for event in await trying.store.events.read(key)] == ["stored", "stored too"]


async def in_a_turn(store: Store) -> None:
    async with store.turn() as turn:
        turn.state.set(USER, {"a": 1})


@pytest.mark.parametrize(
    ("name", "write"),
    [("store.turn", in_a_turn), ("state.set", lambda store: store.state.set(USER, {"a": 1}))],
    ids=["turn", "set"],
)
async def test_any_other_write_of_which_nobody_knows_is_not_made_again(
    make: Any, name: str, write: Any
) -> None:
    trying = make()
    await trying.store.sessions.create(*KEY)
    trying.engine.fail(UnknownOutcomeError("lost"), name=name, after=True)

    with pytest.raises(UnknownOutcomeError):
        await write(trying.store)

    assert (await trying.store.state.get(USER, "a")).version == 1


async def test_the_deadline_ends_it_before_the_attempts_do(make: Any) -> None:
    trying = make(max_retries=1000, base_delay=0.05, max_delay=0.05, deadline=0.25)
    trying.engine.fail(BusyError(BUSY), name="sessions.create", times=None)

    begun = time.monotonic()
    with pytest.raises(BusyError):
        await trying.store.sessions.create(*KEY)

    assert time.monotonic() - begun < 5
    assert 2 < trying.tries("sessions.create") < 100
    assert "over after 0.25 s" in trying.lines[-1]


async def test_it_waits_between_two_attempts(make: Any) -> None:
    trying = make(max_retries=8, base_delay=0.1, max_delay=0.1)
    trying.engine.fail(BusyError(BUSY), name="sessions.create", times=8)

    begun = time.monotonic()
    await trying.store.sessions.create(*KEY)

    # Eight times a twentieth of a second on average.
    assert 0.03 < time.monotonic() - begun < 8 * 0.1 + 5
    waits = [float(line.partition("again in ")[2].partition(" s")[0]) for line in trying.lines]
    assert all(0 <= wait <= 0.1 for wait in waits)
    assert len(set(waits)) > 1


async def test_a_logger_gets_a_warning_for_each_attempt(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    trying = make(logger=logging.getLogger("of the application"))
    trying.engine.fail(BusyError(BUSY), name="sessions.create", times=2)

    with caplog.at_level(logging.WARNING, "of the application"):
        await trying.store.sessions.create(*KEY)

    mine = [record for record in caplog.records if record.name == "of the application"]
    assert [record.levelname for record in mine] == ["WARNING"] * 2
    assert "sessions.create: attempt 1 of 4 failed" in mine[0].getMessage()


async def test_a_logger_that_fails_fails_no_write(make: Any) -> None:
    def broken(_: str) -> None:
        raise ValueError

    trying = make(logger=broken)
    trying.engine.fail(BusyError(BUSY), name="sessions.create")

    assert (await trying.store.sessions.create(*KEY)).key == KEY


async def test_cancelled_between_two_attempts_it_ends_at_once_and_says_what_became_of_it(
    make: Any,
) -> None:
    # A thread that is blocked is not cancelled: this is of tasks, whatever the colour.
    trying = make(sync=False, base_delay=1000.0, max_delay=1000.0, deadline=None)
    trying.engine.fail(BusyError(BUSY), name="sessions.create", times=None)
    task = asyncio.create_task(trying.store.sessions.create(*KEY))
    end = time.monotonic() + 20
    while not trying.lines:
        assert time.monotonic() < end, "it does not try"
        await asyncio.sleep(0.01)
    assert len(trying.lines) == 1

    begun = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await task

    assert time.monotonic() - begun < 2
    [note] = cancelled.value.__notes__
    assert note.startswith("sessions.create: ended between two attempts; nothing of it is stored")
    assert trying.tries("sessions.create") == 1
    assert "ended from outside" in trying.lines[-1]
    trying.engine.heal()
    assert await trying.store.sessions.find(KEY) is None


async def test_those_who_subscribe_are_told_once(make: Any) -> None:
    trying = make()
    facts = trying.store.subscribe("session.created")
    trying.engine.fail(BusyError(BUSY), name="sessions.create", times=2)

    made = await trying.store.sessions.create(*KEY)

    found = await facts.get(within=5)
    assert found is not None
    assert found.value == made
    assert await facts.get(within=0.1) is None
