"""Several processes on one SQLite file: nothing lost, nobody starved, nobody stuck."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import apsw

import perdure
from perdure import Event, SessionKey, StaleSessionError
from tests.engines.processes import meet, side_by_side
from tests.engines.saving import (
    an_erasure_leaves_whole_artifacts,
    no_byte_is_lost_or_left,
    no_number_is_shared,
)

KEY = SessionKey("app", "user", "chat")


def new_store(folder: Path, *ids: str) -> str:
    """The URL of a new store with these sessions."""
    url = f"sqlite:///{folder}/store.db"
    with perdure.open_sync(url) as store:
        for session_id in ids or (KEY.id,):
            store.sessions.create(KEY.app, KEY.user, session_id)
    return url


def everything(url: str, key: SessionKey = KEY) -> list[Event]:
    """All events of all lines, after a look at the whole file."""
    connection = apsw.Connection(url.removeprefix("sqlite:///"))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
    with perdure.open_sync(url) as store:
        return store.events.read(key, all_lines=True)


# -- many writers of one session -------------------------------------------------------------


class Call(NamedTuple):
    id: str
    seq: int
    begun: float
    ended: float


def append_many(url: str, name: str, count: int) -> list[Call]:
    done = []
    with perdure.open_sync(url) as store:
        meet()
        for number in range(count):
            begun = time.monotonic()
            event = store.events.append(KEY, perdure.NewEvent(name, id=f"{name} {number}")).event
            done.append(Call(event.id, event.seq, begun, time.monotonic()))
    return done


def test_eight_processes_append_to_one_session_and_nothing_is_lost_doubled_or_reordered(
    tmp_path: Path,
) -> None:
    url = new_store(tmp_path)

    calls = side_by_side(append_many, [(url, f"writer {n}", 250) for n in range(8)])

    stored = everything(url)
    assert [event.seq for event in stored] == list(range(1, 2001))
    assert [event.prev for event in stored] == list(range(2000))
    acknowledged = sorted((call.seq, call.id) for own in calls for call in own)
    assert acknowledged == [(event.seq, event.id) for event in stored]
    for number, own in enumerate(calls):
        in_store = [event.id for event in stored if event.content == f"writer {number}"]
        assert in_store == [call.id for call in own]


def test_an_append_that_ended_before_another_began_has_the_smaller_seq(tmp_path: Path) -> None:
    url = new_store(tmp_path)

    calls = side_by_side(append_many, [(url, f"writer {n}", 100) for n in range(4)])

    latest_begin = 0.0
    for call in sorted((call for own in calls for call in own), key=lambda call: call.seq):
        assert latest_begin <= call.ended, call
        latest_begin = max(latest_begin, call.begun)


# -- two who disagree ------------------------------------------------------------------------


def append_with_version(url: str, name: str, rounds: int) -> list[int | None]:
    """By round: the seq of the stored event, None where the other one was first."""
    seqs: list[int | None] = []
    with perdure.open_sync(url, durability="normal") as store:
        for _ in range(rounds):
            meet()
            version = store.sessions.get(KEY).version
            meet()
            try:
                seqs.append(store.events.append(KEY, name, expected_version=version).event.seq)
            except StaleSessionError as stale:
                seqs.append(None if stale.current_version == version + 1 else -1)
    return seqs


def test_of_two_stale_writers_in_two_processes_exactly_one_wins_each_time(tmp_path: Path) -> None:
    url = new_store(tmp_path)

    one, two = side_by_side(append_with_version, [(url, "one", 1000), (url, "two", 1000)])

    assert [(a is None) + (b is None) for a, b in zip(one, two, strict=True)] == [1] * 1000
    stored = [(event.seq, event.content) for event in everything(url)]
    winners = [(a, "one") if a else (b, "two") for a, b in zip(one, two, strict=True)]
    assert stored == winners


def append_or_pop(url: str, role: str, rounds: int) -> list[str]:
    """The ids that were appended, or popped."""
    ids: list[str] = []
    # No power is cut here, so nobody has to wait for the disk.
    with perdure.open_sync(url, durability="normal") as store:
        meet()
        for number in range(rounds):
            if role == "append":
                event = perdure.NewEvent(number, id=f"event {number}")
                ids.append(store.events.append(KEY, event).event.id)
            else:
                ids.extend(event.id for event in store.events.pop(KEY))
    return ids


def test_a_thousand_pops_against_appends_lose_no_event_and_bring_none_back(tmp_path: Path) -> None:
    url = new_store(tmp_path)

    appended, popped = side_by_side(append_or_pop, [(url, "append", 1000), (url, "pop", 1000)])

    assert len(popped) == len(set(popped)) > 0
    stored = everything(url)
    assert [event.id for event in stored] == appended == [f"event {n}" for n in range(1000)]
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


def open_first(folder: str, name: str, times: int) -> list[int]:
    seqs = []
    for number in range(times):
        meet()
        with perdure.open_sync(f"sqlite:///{folder}/{number}/store.db") as store:
            key = store.sessions.create("app", "user", name).key
            seqs.append(store.events.append(key, "here").event.seq)
    return seqs


def test_twenty_processes_may_be_the_first_to_open_a_file(tmp_path: Path) -> None:
    calls = [(str(tmp_path), f"chat {n}", 4) for n in range(20)]

    seqs = side_by_side(open_first, calls)

    assert seqs == [[1] * 4] * 20
    for path in tmp_path.glob("*/store.db"):
        connection = apsw.Connection(str(path))
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT COUNT(*) FROM sessions").fetchall() == [(20,)]
        ledger = connection.execute("SELECT number FROM perdure_migrations").fetchall()
        assert [number for (number,) in ledger] == list(range(1, len(ledger) + 1))
        connection.close()


# -- who follows -----------------------------------------------------------------------------


def write_or_follow(url: str, role: str, count: int) -> list[str]:
    """What a follower saw: the ids of events."""
    seen: list[str] = []
    with perdure.open_sync(url) as store:
        meet()
        if role == "follow":
            for news in store.events.tail(KEY, after_seq=0):
                seen.append(news.id if isinstance(news, Event) else "rewritten")
                if len(seen) == count:
                    break
        for number in range(count if role != "follow" else 0):
            store.events.append(KEY, perdure.NewEvent(role, id=f"{role} {number}"))
    return seen


def test_followers_in_other_processes_see_every_event_once_and_in_order(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    roles = [("one", 150), ("two", 150), ("follow", 300), ("follow", 300)]

    *_, first, second = side_by_side(write_or_follow, [(url, *role) for role in roles])

    assert first == second == [event.id for event in everything(url)]


def pop_or_follow(url: str, role: str) -> list[str]:
    seen: list[str] = []
    with perdure.open_sync(url) as store:
        if role == "follow":
            for news in store.events.tail(KEY, after_seq=0):
                seen.append(str(news.content) if isinstance(news, Event) else "rewritten")
                if len(seen) == 1:
                    # Now it follows: what comes from here on is news.
                    meet()
                if seen[-1] == "the end":
                    break
        else:
            meet()
            store.events.append(KEY, "before")
            store.events.pop(KEY)
            store.events.append(KEY, "after")
            store.events.append(KEY, "the end")
    return seen


def test_a_follower_in_another_process_is_told_when_history_changes(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    with perdure.open_sync(url) as store:
        store.events.append(KEY, "first")

    seen, _ = side_by_side(pop_or_follow, [(url, "follow"), (url, "write")])

    assert seen == ["first", "before", "rewritten", "after", "the end"]


# -- artifacts -------------------------------------------------------------------------------


def test_processes_that_save_one_artifact_never_share_a_number(tmp_path: Path) -> None:
    no_number_is_shared(new_store(tmp_path), processes=4, count=25)


def test_processes_that_save_and_delete_the_same_bytes_lose_none_and_leave_none(
    tmp_path: Path,
) -> None:
    no_byte_is_lost_or_left(new_store(tmp_path), processes=4, rounds=40)


def test_what_processes_save_beside_erasures_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    an_erasure_leaves_whole_artifacts(new_store(tmp_path), processes=4, rounds=40)
