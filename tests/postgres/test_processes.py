"""Several processes on one database: nothing lost, nobody starved, nobody in anybody's way."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from typing import Any, NamedTuple

import pytest

import perdure
from perdure import AppScope, Event, NewEvent, SessionKey, StaleSessionError, SyncStore, UserScope
from tests.effort import effort
from tests.engines.processes import meet, side_by_side
from tests.engines.saving import (
    an_erasure_leaves_whole_artifacts,
    no_byte_is_lost_or_left,
    no_number_is_shared,
)
from tests.postgres.servers import fetch, wait_until

KEY = SessionKey("app", "user", "chat")
SESSIONS = [SessionKey("app", f"user {number % 2}", f"chat {number}") for number in range(3)]
SECONDS = effort(2, 10)
POPS = effort(200, 1000)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


@pytest.fixture
def url(database: str) -> str:
    """A database with a store and its session."""
    with perdure.open_sync(database) as store:
        store.sessions.create(*KEY)
    return database


def everything(url: str, key: SessionKey = KEY) -> list[Event]:
    """All events of all lines; each is where its number says."""
    with perdure.open_sync(url) as store:
        events = store.events.read(key, all_lines=True)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        return events


# -- many writers of one session -------------------------------------------------------------


class Call(NamedTuple):
    id: str
    seq: int
    version: int
    begun: float
    ended: float


def append_many(url: str, name: str, count: int) -> list[Call]:
    done = []
    with perdure.open_sync(url, pool_max=2) as store:
        meet()
        for number in range(count):
            begun = time.monotonic()
            appended = store.events.append(KEY, NewEvent(name, id=f"{name} {number}"))
            told = appended.event.id, appended.event.seq, appended.version
            done.append(Call(*told, begun, time.monotonic()))
    return done


def test_eight_processes_append_to_one_session_and_nothing_is_lost_doubled_or_reordered(
    url: str,
) -> None:
    calls = side_by_side(append_many, [(url, f"writer {n}", 250) for n in range(8)])

    stored = everything(url)
    assert len(stored) == 2000
    assert [event.prev for event in stored] == list(range(2000))
    acknowledged = sorted((call.seq, call.id, call.version) for own in calls for call in own)
    assert acknowledged == [(event.seq, event.id, event.seq + 1) for event in stored]
    assert [event.version for event in stored] == list(range(2, 2002))
    for number, own in enumerate(calls):
        in_store = [event.id for event in stored if event.content == f"writer {number}"]
        assert in_store == [call.id for call in own]
    # What had ended before another began has the smaller seq.
    latest_begin = 0.0
    for call in sorted((call for own in calls for call in own), key=lambda call: call.seq):
        assert latest_begin <= call.ended, call
        latest_begin = max(latest_begin, call.begun)


# -- state that sessions share ---------------------------------------------------------------


def share(url: str, name: str, seconds: float) -> Counter[str]:
    """Append from eight tasks; how many events a session got, and how often a key was set."""
    return asyncio.run(_share(url, name, seconds))


async def _share(url: str, name: str, seconds: float) -> Counter[str]:
    done: Counter[str] = Counter()
    async with perdure.open(url) as store:
        meet()
        end = time.monotonic() + seconds

        async def append(task: int) -> None:
            chance = random.Random(f"{name} {task}")
            while time.monotonic() < end:
                key, delta = chance.choice(SESSIONS), shared_state(chance)
                text = f"{name} {task}"
                await store.events.append(key, NewEvent(text, state_delta=delta))
                done.update([key.id, *(counted(key, full) for full in delta if ":" in full)])

        await asyncio.gather(*[append(task) for task in range(8)])
    return done


def counted(key: SessionKey, name: str) -> str:
    """A key that is shared, with whom it is shared among."""
    return name if name.startswith("app:") else f"{key.user} {name}"


def shared_state(chance: random.Random) -> dict[str, Any]:
    """For three events of ten some keys of the app and of the user, in any order."""
    if chance.random() > 0.3:
        return {"own": chance.random()} if chance.random() < 0.5 else {}
    names = [f"{scope}:{n}" for scope in ("app", "user") for n in range(3)]
    return {name: chance.random() for name in chance.sample(names, chance.randint(1, 5))}


def test_appends_that_share_keys_of_app_and_user_never_lock_each_other_out(database: str) -> None:
    with perdure.open_sync(database) as store:
        for key in SESSIONS:
            store.sessions.create(*key)

    counts = side_by_side(share, [(database, f"process {n}", SECONDS) for n in range(6)])

    done = sum(counts, Counter[str]())
    with perdure.open_sync(database) as store:
        for key in SESSIONS:
            session = store.sessions.get(key)
            assert (session.event_count, session.version) == (done[key.id], done[key.id] + 1)
            assert len(everything(database, key)) == done[key.id]
        assert versions_of(store) == {name: n for name, n in done.items() if ":" in name}
    assert sum(done[key.id] for key in SESSIONS) > 100 * SECONDS
    assert deadlocks(database) == 0


def versions_of(store: SyncStore) -> dict[str, int]:
    """How often each key that is shared was set."""
    found = {}
    for user in ("user 0", "user 1"):
        for entry in store.state.list(UserScope("app", user)):
            found[f"{user} user:{entry.name}"] = entry.version
    for entry in store.state.list(AppScope("app")):
        found[f"app:{entry.name}"] = entry.version
    return found


def deadlocks(url: str) -> int:
    """How many the server has seen in that database, once all have told it."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    wait_until(lambda: fetch(url, others)[0][0] == 1, "all others have left")
    asked = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    number: int = fetch(url, asked)[0][0]
    return number


def take_turns(url: str, name: str, seconds: float) -> int:
    """Turns that write the same sessions and keys, each in another order; how many."""
    chance = random.Random(name)
    end = time.monotonic() + seconds
    count = 0
    with perdure.open_sync(url) as store:
        meet()
        while time.monotonic() < end:
            with store.turn() as turn:
                for key in chance.sample(SESSIONS, 3):
                    turn.events.append(key, f"{name} {count}")
                for n in chance.sample(range(3), 2):
                    turn.state.set(AppScope("app"), {f"{n}": count})
            count += 1
    return count


def test_turns_that_write_the_same_rows_in_other_orders_all_end_well(database: str) -> None:
    with perdure.open_sync(database) as store:
        for key in SESSIONS:
            store.sessions.create(*key)

    counts = side_by_side(take_turns, [(database, f"process {n}", SECONDS) for n in range(4)])

    told = sorted(f"process {n} {c}" for n, count in enumerate(counts) for c in range(count))
    for key in SESSIONS:
        assert sorted(event.text for event in everything(database, key)) == told
    # Now and then one waits for a second, until the server sees that two wait for each other.
    assert min(counts) > 0


# -- two who disagree ------------------------------------------------------------------------


def append_with_version(url: str, name: str, rounds: int) -> list[int | None]:
    """By round: the seq of the stored event, None where the other one was first."""
    seqs: list[int | None] = []
    with perdure.open_sync(url) as store:
        for _ in range(rounds):
            meet()
            version = store.sessions.get(KEY).version
            meet()
            try:
                seqs.append(store.events.append(KEY, name, expected_version=version).event.seq)
            except StaleSessionError as stale:
                seqs.append(None if stale.current_version == version + 1 else -1)
    return seqs


def test_of_two_stale_writers_exactly_one_wins_each_time(url: str) -> None:
    one, two = side_by_side(append_with_version, [(url, "one", 300), (url, "two", 300)])

    assert [(a is None) + (b is None) for a, b in zip(one, two, strict=True)] == [1] * 300
    stored = [(event.seq, event.content) for event in everything(url)]
    winners = [(a, "one") if a else (b, "two") for a, b in zip(one, two, strict=True)]
    assert stored == winners


def append_or_pop(url: str, role: str, rounds: int) -> list[str]:
    """The ids that were appended, or popped."""
    ids: list[str] = []
    with perdure.open_sync(url) as store:
        meet()
        for number in range(rounds):
            if role == "append":
                event = NewEvent(number, id=f"event {number}")
                ids.append(store.events.append(KEY, event).event.id)
            else:
                ids.extend(event.id for event in store.events.pop(KEY))
    return ids


def test_pops_against_appends_lose_no_event_and_bring_none_back(url: str) -> None:
    appended, popped = side_by_side(append_or_pop, [(url, "append", POPS), (url, "pop", POPS)])

    assert len(popped) == len(set(popped)) > 0
    stored = everything(url)
    assert [event.id for event in stored] == appended == [f"event {n}" for n in range(POPS)]
    with perdure.open_sync(url) as store:
        active = [event.id for event in store.events.read(KEY)]
        heads = [branch.head_seq for branch in store.events.branches(KEY) if not branch.current]
    assert sorted([*active, *popped]) == sorted(appended)
    assert set(popped) <= line_ids(stored, heads)


def line_ids(stored: list[Event], heads: list[int]) -> set[str]:
    """The ids on the lines that end at these seqs."""
    by_seq = {event.seq: event for event in stored}
    found: set[str] = set()
    for head in heads:
        seq = head
        while seq and by_seq[seq].id not in found:
            found.add(by_seq[seq].id)
            seq = by_seq[seq].prev
    return found


# -- the first one ---------------------------------------------------------------------------


def open_first(url: str, name: str, schema: str) -> list[int]:
    meet()
    with perdure.open_sync(url, schema=schema, pool_max=2) as store:
        key = store.sessions.create("app", "user", name).key
        return [store.events.append(key, "here").event.seq]


@pytest.mark.parametrize("schema", ["public", "of its own"])
def test_twenty_processes_may_be_the_first_to_open_an_empty_database(
    empty_database: str, schema: str
) -> None:
    seqs = side_by_side(open_first, [(empty_database, f"chat {n}", schema) for n in range(20)])

    assert seqs == [[1]] * 20
    assert fetch(empty_database, f'SELECT count(*) FROM "{schema}".sessions') == [(20,)]
    ledger = f'SELECT number FROM "{schema}".perdure_migrations ORDER BY number'
    numbers = [number for (number,) in fetch(empty_database, ledger)]
    assert numbers == list(range(1, len(numbers) + 1))


# -- artifacts -------------------------------------------------------------------------------


def test_processes_that_save_one_artifact_never_share_a_number(url: str) -> None:
    no_number_is_shared(url, processes=4, count=25)


def test_processes_that_save_and_delete_the_same_bytes_lose_none_and_leave_none(url: str) -> None:
    no_byte_is_lost_or_left(url, processes=4, rounds=40)


def test_what_processes_save_beside_erasures_is_there_whole_or_not_at_all(url: str) -> None:
    an_erasure_leaves_whole_artifacts(url, processes=4, rounds=40)
