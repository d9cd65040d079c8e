"""The connection is lost at COMMIT: what the caller is told is what became of the write."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple

import pytest

import perdure
from perdure import (
    BusyError,
    EmbeddedPostgres,
    NewEvent,
    SessionKey,
    SyncStore,
    UserScope,
)
from perdure.errors import UnknownOutcomeError
from tests.engines.patience import begun, outcome
from tests.postgres.proxy import FaultProxy, When, is_commit, is_sync
from tests.postgres.servers import fetch, reachable_folder, wait_until

KEY = SessionKey("app", "user", "chat")
OTHER = SessionKey("app", "user", "other")
WARM = SessionKey("app", "user", "warm")
USER = UserScope("app", "user")

pytestmark = pytest.mark.faults

IDLE = """SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND state LIKE 'idle in transaction%'"""


class Write(NamedTuple):
    """A write, and what of it can be seen: as much as there are of it."""

    make: Callable[[SyncStore], Any]
    seen: Callable[[SyncStore], list[Any]]
    #: The message that commits it.
    commit: Callable[[bytes], bool]


def turn(store: SyncStore) -> None:
    with store.turn() as turn:
        turn.events.append(KEY, "in a turn")
        turn.events.append(OTHER, NewEvent("in a turn", state_delta={"x": 1}))
        turn.state.set(USER, {"turns": 1})


def seen_of_turn(store: SyncStore) -> list[Any]:
    """Its parts; a list of one only if it was stored once, and whole."""
    one = [event.text for event in store.events.read(KEY)].count("in a turn")
    two = [event.text for event in store.events.read(OTHER)].count("in a turn")
    kept = store.state.find(USER, "turns")
    parts = {one, two, len(store.state.merged(OTHER)) // 2, kept.version if kept else 0}
    return ["turn"] * one if len(parts) == 1 else [parts]


def three(store: SyncStore) -> list[Any]:
    """Those of the last three events that were popped."""
    left = {event.text for event in store.events.read(KEY)}
    return [text for text in ("event 0", "event 1", "event 2") if text not in left]


def texts_of(text: str) -> Callable[[SyncStore], list[Any]]:
    def seen(store: SyncStore) -> list[Any]:
        events = store.events.read(KEY, all_lines=True)
        return [event.text for event in events if event.text == text]

    return seen


def set_state(store: SyncStore) -> int:
    return store.state.set(USER, {"count": 1}, expected_versions={"count": 0})


def count(store: SyncStore) -> list[Any]:
    entry = store.state.find(USER, "count")
    return ["count"] * entry.version if entry else []


WRITES = {
    "append": Write(lambda s: s.events.append(KEY, "plain"), texts_of("plain"), is_sync),
    "append with id": Write(
        lambda s: s.events.append(KEY, NewEvent("named", id="named")), texts_of("named"), is_sync
    ),
    "append of many": Write(
        lambda s: s.events.append(KEY, "m", NewEvent("m2", state_delta={"user:x": 1})),
        texts_of("m"),
        is_sync,
    ),
    # Behind another event: a plan of several statements.
    "branching append": Write(
        lambda s: s.events.append(KEY, "aside", after=1), texts_of("aside"), is_commit
    ),
    "turn": Write(turn, seen_of_turn, is_commit),
    "pop": Write(lambda s: s.events.pop(KEY), three, is_commit),
    "create": Write(
        lambda s: s.sessions.create("app", "user", "new"),
        lambda s: [found.key.id for found in s.sessions.iter("app") if found.key.id == "new"],
        is_commit,
    ),
    "set": Write(set_state, count, is_commit),
    "title": Write(
        lambda s: s.sessions.update(OTHER, title="t", expected_version=1),
        lambda s: ["t"] if s.sessions.get(OTHER).title == "t" else [],
        is_commit,
    ),
}


@pytest.fixture
def proxy(database: str) -> Iterator[FaultProxy]:
    with FaultProxy.to(database) as made:
        yield made


def filled(url: str, **options: Any) -> SyncStore:
    store = perdure.open_sync(url, **options)
    for key in (KEY, OTHER, WARM):
        store.sessions.create(*key)
    for number in range(3):
        store.events.append(KEY, f"event {number}")
    # So that its statement is known, and its first message is the one that stores it.
    store.events.append(WARM, "w", NewEvent("w", state_delta={"user:w": 1}))
    return store


@pytest.mark.parametrize("prepared", [True, False], ids=["prepared", "unprepared"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", WRITES)
def test_a_write_whose_commit_is_cut_off_is_made_once(
    database: str, proxy: FaultProxy, name: str, when: When, prepared: bool
) -> None:
    make, seen, commit = WRITES[name]
    with filled(proxy.url(database), prepared_statements=prepared) as store:
        # Behind a pooler every statement is in a transaction, which ends with a COMMIT.
        proxy.cut_at(when, commit if prepared else is_commit)

        outcome(begun(make, store), 10)

        assert proxy.cuts == {when: 1}
        assert len(seen(store)) == 1
        wait_until(lambda: fetch(database, IDLE) == [(0,)], "no transaction is left open")


@pytest.mark.parametrize("name", WRITES)
def test_a_commit_that_is_cut_off_again_and_again_is_made_once(
    database: str, proxy: FaultProxy, name: str
) -> None:
    make, seen, _ = WRITES[name]
    with filled(proxy.url(database)) as store:
        proxy.cut_at("after", lambda message: is_commit(message) or is_sync(message), times=8)

        outcome(begun(make, store), 10)

        assert proxy.cuts == {"after": 8}
        assert len(seen(store)) == 1


@pytest.mark.parametrize("name", WRITES)
def test_who_cannot_be_told_in_time_what_became_of_a_commit_is_told_that(
    database: str, proxy: FaultProxy, name: str
) -> None:
    make, seen, commit = WRITES[name]
    with filled(proxy.url(database), busy_timeout=0.5, pool_max=1) as store:
        proxy.cut_at("after", commit)
        proxy.refuse()

        with pytest.raises(UnknownOutcomeError):
            outcome(begun(make, store), 10)

        assert proxy.cuts == {"after": 1}
        proxy.refuse(refusing=False)
        assert len(seen(store)) == 1


@pytest.mark.parametrize("name", WRITES)
def test_a_server_that_is_away_for_too_long_is_busy_and_nothing_was_written(
    database: str, proxy: FaultProxy, name: str
) -> None:
    make, seen, _ = WRITES[name]
    with filled(proxy.url(database), busy_timeout=0.3) as store:
        proxy.refuse()
        proxy.cut_all()
        # What goes out before the end of the connection is heard of may have arrived.
        time.sleep(0.1)

        with pytest.raises(BusyError):
            outcome(begun(make, store), 5)

        proxy.refuse(refusing=False)
        assert seen(store) == []
        make(store)
        assert len(seen(store)) == 1


# -- a server that dies before it has written the commit ---------------------------------------


@pytest.fixture(scope="module")
def node() -> Iterator[EmbeddedPostgres]:
    """A durable server that may be killed."""
    with reachable_folder() as home, EmbeddedPostgres(home / "node") as made:
        yield made


def killed_at_commit(node: EmbeddedPostgres, proxy: FaultProxy, call: Callable[[], Any]) -> Any:
    """The outcome of a write whose server dies when it should commit, and comes back."""
    dead: Future[None] = Future()

    def deadly(message: bytes) -> bool:
        if is_commit(message) and not dead.done():
            node.kill()
            dead.set_result(None)
            return True
        return False

    proxy.cut_at("before", deadly)
    making = begun(call)
    dead.result(10)
    node.start()
    return outcome(making, 15)


@pytest.mark.parametrize("name", ["turn", "pop", "create", "set", "title"])
def test_a_transaction_that_a_crash_has_undone_is_not_taken_for_the_next_one(
    node: EmbeddedPostgres, name: str
) -> None:
    make, seen, _ = WRITES[name]
    database = fresh(node)
    with FaultProxy.to(database) as proxy, filled(proxy.url(database)) as store:
        fetch(database, "CHECKPOINT")

        try:
            killed_at_commit(node, proxy, lambda: make(store))
        except UnknownOutcomeError:
            # The truth, if not all of it.
            assert len(seen(store)) <= 1
        else:
            assert len(seen(store)) == 1


def fresh(node: EmbeddedPostgres) -> str:
    name = f"test_{node.pid}"
    fetch(node.url(), f"CREATE DATABASE {name}")
    wait_until(lambda: fetch(node.url(name), "SELECT 1") == [(1,)], "the database is there")
    return node.url(name)
