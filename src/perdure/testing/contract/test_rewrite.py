"""Changing history: prune, delete, clear, redact, replace_suffix, event_limit, annotations."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest

from perdure import (
    DELETE,
    ConflictError,
    Event,
    InvalidError,
    NewEvent,
    NotFoundError,
    Opaque,
    SessionKey,
    StaleSessionError,
    Store,
)
from perdure.testing.clocks import START, FixedClock
from perdure.testing.databases import Dump, NewKey, OpenStore


async def five(store: Store, key: SessionKey) -> SessionKey:
    """Events e1 to e5, one version each, each an hour after the one before; state k1 to k5."""
    for n in range(1, 6):
        delta = {f"k{n}": n, "last": n}
        event = NewEvent(
            f"text {n}",
            id=f"e{n}",
            timestamp=START + timedelta(hours=n),
            state_delta=delta,
            run_id="odd" if n % 2 else "even",
            branch="main" if n < 4 else "side",
        )
        await store.events.append(key, event)
    return key


STATE = {"k1": 1, "k2": 2, "k3": 3, "k4": 4, "k5": 5, "last": 5}


def ids(events: Sequence[Event]) -> list[str]:
    return [event.id for event in events]


# -- prune -----------------------------------------------------------------------------------

CUTS: list[tuple[dict[str, Any], int]] = [
    ({"keep_last": 2}, 3),
    ({"keep_last": 0}, 5),
    ({"keep_last": 5}, 0),
    ({"keep_last": 99}, 0),
    ({"before_seq": 3}, 2),
    ({"before_seq": 1}, 0),
    ({"before_seq": 0}, 0),
    ({"before_seq": 99}, 5),
    ({"older_than": START + timedelta(hours=3)}, 2),
    ({"older_than": START + timedelta(hours=99)}, 5),
    ({"older_than": START}, 0),
    ({"keep_last": 1, "before_seq": 3}, 2),
    ({"keep_last": 4, "before_seq": 3}, 1),
    ({"keep_last": 1, "older_than": START + timedelta(hours=99)}, 4),
]


@pytest.mark.parametrize(("cut", "removed"), CUTS)
async def test_a_prune_removes_the_oldest_and_keeps_version_and_state(
    store: Store, key: SessionKey, cut: dict[str, Any], removed: int
) -> None:
    await five(store, key)
    before = await store.sessions.get(key)

    assert await store.events.prune(key, **cut) == removed

    after = await store.sessions.get(key)
    assert ids(await store.events.read(key)) == [f"e{n}" for n in range(removed + 1, 6)]
    assert (after.version, after.event_count, after.last_seq) == (before.version, 5 - removed, 5)
    assert await store.state.merged(key) == STATE
    done = await store.events.append(key, "six", expected_version=before.version)
    assert done.event.seq == 6
    assert await store.state.at(key, 6) == STATE


async def test_older_than_an_age_is_counted_from_now(
    store: Store, key: SessionKey, clock: FixedClock
) -> None:
    await five(store, key)
    clock.set(START + timedelta(hours=6))

    assert await store.events.prune(key, older_than=timedelta(hours=2, minutes=30)) == 3


@pytest.mark.parametrize(
    "wrong",
    [timedelta(days=-3), datetime(2020, 1, 1), 30],  # noqa: DTZ001 - no zone is an error
)
async def test_an_age_that_would_delete_everything_by_mistake_is_refused(
    store: Store, key: SessionKey, wrong: Any
) -> None:
    await store.events.append(key, "one", "two")

    with pytest.raises(InvalidError, match="older_than"):
        await store.events.prune(key, older_than=wrong)

    assert await store.events.count(key) == 2


async def test_a_prune_says_what_to_keep(store: Store, key: SessionKey) -> None:
    with pytest.raises(InvalidError, match="keep_last"):
        await store.events.prune(key)
    with pytest.raises(InvalidError, match="keep_last"):
        await store.events.prune(key, keep_last=-1)


async def test_the_first_kept_event_says_that_what_was_before_it_is_gone(
    store: Store, key: SessionKey
) -> None:
    await five(store, key)
    await store.events.prune(key, keep_last=2)

    assert [(event.seq, event.prev) for event in await store.events.read(key)] == [(4, -1), (5, 4)]
    for seq in (0, 1, 3):
        with pytest.raises(NotFoundError, match=r"\b4\b"):
            await store.state.at(key, seq)
    assert await store.state.at(key, 4) == {"k1": 1, "k2": 2, "k3": 3, "k4": 4, "last": 4}


async def test_an_event_limit_keeps_the_last_ones_after_each_append(
    open_store: OpenStore, key: SessionKey
) -> None:
    store = await open_store(event_limit=3)
    await five(store, key)

    assert ids(await store.events.read(key)) == ["e3", "e4", "e5"]
    session = await store.sessions.get(key)
    assert (session.event_count, session.version) == (3, 6)
    assert await store.state.merged(key) == STATE
    done = await store.events.append(key, *(f"{n}" for n in range(5)), expected_version=6)
    assert [event.seq for event in await store.events.read(key)] == [8, 9, 10]
    assert (done.version, len(done.events)) == (7, 5)


async def test_an_event_limit_splits_no_call_from_its_result(
    open_store: OpenStore, key: SessionKey
) -> None:
    store = await open_store(event_limit=2)
    function = {"name": "f", "arguments": "{}"}
    call = {"id": "c1", "type": "function", "function": function}
    await store.events.append(key, {"role": "user", "content": "?"})
    await store.events.append(key, {"role": "assistant", "content": None, "tool_calls": [call]})
    await store.events.append(key, {"role": "assistant", "content": "wait"})
    await store.events.append(key, {"role": "tool", "tool_call_id": "c1", "content": "r"})

    assert [event.seq for event in await store.events.read(key)] == [2, 3, 4]


# -- delete and clear ------------------------------------------------------------------------

DOOMED: list[tuple[dict[str, Any], list[int]]] = [
    ({"ids": ["e2"]}, [2]),
    ({"ids": ["e5", "e1", "e5", "never"]}, [1, 5]),
    ({"ids": []}, []),
    ({"ids": ["never"]}, []),
    ({"run_id": "odd"}, [1, 3, 5]),
    ({"branch": "side"}, [4, 5]),
    ({"run_id": "odd", "branch": "side"}, [5]),
    ({"seqs": (2, 4)}, [2, 3, 4]),
    ({"seqs": (4, 2)}, []),
    ({"seqs": (1, 99)}, [1, 2, 3, 4, 5]),
    ({"ids": ["e1", "e4"], "seqs": (2, 5)}, [4]),
]


@pytest.mark.parametrize(("doomed", "gone"), DOOMED)
async def test_what_is_deleted_is_gone_and_its_state_stays(
    store: Store, key: SessionKey, dump: Dump, doomed: dict[str, Any], gone: list[int]
) -> None:
    await five(store, key)
    before = await dump()

    assert await store.events.delete(key, **doomed) == len(gone)

    kept = [n for n in range(1, 6) if n not in gone]
    events = await store.events.read(key)
    assert [event.seq for event in events] == kept
    assert [event.prev for event in events] == [0, *kept][: len(kept)]
    assert await store.state.merged(key) == STATE
    session = await store.sessions.get(key)
    assert (session.event_count, session.head_seq) == (len(kept), max(kept, default=0))
    assert (session.version, session.last_seq) == (6 + bool(gone), 5)
    assert session.preview == (f"text {kept[-1]}" if kept else "")
    for n in gone:
        assert f"text {n}" not in repr((await dump())["events"])
    if not gone:
        assert await dump() == before


async def test_a_delete_says_which(store: Store, key: SessionKey) -> None:
    await five(store, key)
    wrong: Any = "e1"

    with pytest.raises(InvalidError, match="which"):
        await store.events.delete(key)
    with pytest.raises(InvalidError, match="list"):
        await store.events.delete(key, wrong)
    assert await store.events.count(key) == 5


async def test_the_past_of_the_kept_events_is_what_it_was(store: Store, key: SessionKey) -> None:
    await five(store, key)
    past = [await store.state.at(key, seq) for seq in (1, 3, 5)]

    await store.events.delete(key, ["e2", "e4"])

    assert [await store.state.at(key, seq) for seq in (1, 3, 5)] == past


async def test_clearing_removes_every_event_of_every_line(store: Store, key: SessionKey) -> None:
    await five(store, key)
    await store.events.rewind(key, 3)
    await store.events.append(key, "other")
    merged = await store.state.merged(key)

    assert await store.events.clear(key) == 6

    session = await store.sessions.get(key)
    assert await store.events.read(key, all_lines=True) == []
    assert (session.event_count, session.head_seq, session.last_seq) == (0, 0, 6)
    assert (session.version, session.preview) == (9, "")
    assert await store.state.merged(key) == merged
    assert [branch.head_seq for branch in await store.events.branches(key)] == [0]
    assert (await store.events.append(key, "seven")).event.seq == 7


async def test_clearing_nothing_changes_nothing(store: Store, key: SessionKey, dump: Dump) -> None:
    before = await dump()

    assert await store.events.clear(key) == 0
    assert await dump() == before


# -- redact ----------------------------------------------------------------------------------


async def test_a_redacted_event_keeps_all_but_its_content(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await five(store, key)
    before = await store.events.get(key, "e5")

    event = await store.events.redact(key, "e5")

    assert event == await store.events.get(key, "e5")
    assert (event.content, event.text) == ("[redacted]", "[redacted]")
    for name in ("id", "seq", "prev", "version", "author", "run_id", "role", "timestamp",
                 "state_delta", "created_at", "branch"):  # fmt: skip
        assert getattr(event, name) == getattr(before, name), name
    session = await store.sessions.get(key)
    assert (session.version, session.preview) == (7, "[redacted]")
    assert "text 5" not in repr(await dump())


async def test_a_retry_finds_the_redacted_event(store: Store, key: SessionKey) -> None:
    given = NewEvent({"role": "user", "content": "secret"}, id="e1", metadata={"m": 1})
    await store.events.append(key, given, expected_version=1)
    redacted = await store.events.redact(key, "e1", {"role": "user", "content": "…"})

    again = await store.events.append(key, given, expected_version=1)

    assert (again.duplicate, again.event) == (True, redacted)
    with pytest.raises(ConflictError):
        await store.events.append(key, NewEvent(redacted.content, id="e1", metadata={"m": 1}))


async def test_the_copies_of_forks_and_of_their_forks_are_redacted_too(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await five(store, key)
    fork = (await store.sessions.fork(key, id="fork")).key
    second = (await store.sessions.fork(fork, id="second", at=3)).key
    without = (await store.sessions.fork(key, id="without", at=2)).key
    untouched = await store.sessions.get(without)

    await store.events.redact(fork, "e3", Opaque("raw", b"\0"))

    for one in (key, fork, second):
        assert (await store.events.get(one, "e3")).content == Opaque("raw", b"\0")
        assert (await store.sessions.get(one)).version == (7 if one == key else 2)
    assert "text 3" not in repr(await dump())
    assert await store.sessions.get(without) == untouched


async def test_an_event_of_the_same_id_that_is_no_copy_stays(
    store: Store, key: SessionKey, new_key: NewKey
) -> None:
    other = await new_key("other")
    await store.events.append(key, NewEvent("mine", id="e1"))
    await store.events.append(other, NewEvent("theirs", id="e1"))

    await store.events.redact(key, "e1")

    assert (await store.events.get(other, "e1")).content == "theirs"


async def test_what_is_not_there_cannot_be_redacted(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    before = await dump()

    with pytest.raises(NotFoundError, match="'e1'"):
        await store.events.redact(key, "e1")
    assert await dump() == before


# -- every change of history -----------------------------------------------------------------

CHANGES: dict[str, Any] = {
    "rewind": lambda events, key, **version: events.rewind(key, 2, **version),
    "pop": lambda events, key, **version: events.pop(key, **version),
    "replace_suffix": lambda events, key, **version: events.replace_suffix(
        key, 2, ["x"], **version
    ),
    "clear": lambda events, key, **version: events.clear(key, **version),
    "delete": lambda events, key, **version: events.delete(key, ["e1"], **version),
    "redact": lambda events, key, **version: events.redact(key, "e1", **version),
    "append": lambda events, key, **version: events.append(key, "x", after=2, **version),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_stale_change_changes_nothing_and_a_fresh_one_is_one_version(
    store: Store, key: SessionKey, dump: Dump, name: str
) -> None:
    await five(store, key)
    before = await dump()

    for expected in (1, 7):
        with pytest.raises(StaleSessionError) as stale:
            await CHANGES[name](store.events, key, expected_version=expected)
        assert stale.value.current_version == 6
    assert await dump() == before
    await CHANGES[name](store.events, key, expected_version=6)
    assert (await store.sessions.get(key)).version == 7


@pytest.mark.parametrize("name", [*CHANGES, "prune", "switch", "drop_branch"])
async def test_a_session_that_is_not_there_is_not_found(
    store: Store, key: SessionKey, name: str
) -> None:
    await store.sessions.delete(key)
    others: dict[str, Any] = {
        "prune": lambda events, key: events.prune(key, keep_last=1),
        "switch": lambda events, key: events.switch(key, "line-1"),
        "drop_branch": lambda events, key: events.drop_branch(key, "line-1"),
    }

    for missing in (key, key._replace(id="never")):
        with pytest.raises(NotFoundError, match=missing.id):
            await {**CHANGES, **others}[name](store.events, missing)


# -- annotations -----------------------------------------------------------------------------


async def test_notes_come_in_the_order_they_were_made_and_touch_nothing(
    store: Store, key: SessionKey
) -> None:
    await five(store, key)
    before = (await store.sessions.get(key), await store.events.read(key))

    pinned = await store.events.annotate(key, "pinned")
    score = await store.events.annotate(key, "score", {"n": 0.5}, event_id="e2", by="bob")
    again = await store.events.annotate(key, "score", None, event_id="e2", by="eve")

    assert (pinned.value, pinned.by, pinned.event_id) == (True, "", None)
    assert (score.name, score.value, score.by, score.event_id) == ("score", {"n": 0.5}, "bob", "e2")
    assert list(await store.events.annotations(key)) == [pinned, score, again]
    assert list(await store.events.annotations(key, "e2")) == [score, again]
    assert list(await store.events.annotations(key, "e1")) == []
    assert (await store.sessions.get(key), await store.events.read(key)) == before


async def test_a_note_needs_a_name_and_something_to_stand_on(store: Store, key: SessionKey) -> None:
    with pytest.raises(NotFoundError, match="'e9'"):
        await store.events.annotate(key, "score", event_id="e9")
    with pytest.raises(NotFoundError):
        await store.events.annotate(key._replace(id="never"), "score")
    with pytest.raises(InvalidError, match="name"):
        await store.events.annotate(key, " ")
    with pytest.raises(InvalidError, match="value"):
        await store.events.annotate(key, "score", float("nan"))
    assert list(await store.events.annotations(key)) == []


@pytest.mark.parametrize("how", ["delete", "clear", "prune"])
async def test_the_notes_of_an_event_go_with_it_and_those_of_the_session_stay(
    store: Store, key: SessionKey, how: str
) -> None:
    await five(store, key)
    await store.events.annotate(key, "secret", event_id="e1")
    kept = await store.events.annotate(key, "kept")
    calls: dict[str, Any] = {
        "delete": lambda: store.events.delete(key, ["e1"]),
        "clear": lambda: store.events.clear(key),
        "prune": lambda: store.events.prune(key, keep_last=4),
    }

    await calls[how]()

    assert list(await store.events.annotations(key)) == [kept]
    await store.events.append(key, NewEvent("new", id="e1"))
    assert list(await store.events.annotations(key, "e1")) == []


async def test_a_retry_of_an_append_of_which_the_limit_left_a_part_stores_nothing_twice(
    open_store: OpenStore, key: SessionKey
) -> None:
    store = await open_store(event_limit=3)
    events = [NewEvent(n, id=f"e{n}") for n in range(5)]
    await store.events.append(key, *events, expected_version=1)

    with suppress(ConflictError):
        await store.events.append(key, *events, expected_version=1)

    assert ids(await store.events.read(key)) == ["e2", "e3", "e4"]
    assert (await store.sessions.get(key)).last_seq == 5


@pytest.mark.parametrize("after", [0, 3, 4])
@pytest.mark.parametrize("pruned", [0, 3])
@pytest.mark.parametrize("brings", [True, False])
async def test_a_replaced_end_leaves_the_state_if_that_is_to_be_kept(
    store: Store, key: SessionKey, after: int, pruned: int, brings: bool
) -> None:
    await five(store, key)
    await store.state.set(key, {"own": 1, "last": "set"})
    await store.state.delete(key, "k1")
    before = await store.state.merged(key)
    await store.events.prune(key, before_seq=pruned)
    delta = {"k2": DELETE, "new": 6} if brings else None

    done = await store.events.replace_suffix(
        key, after, [NewEvent("shorter", state_delta=delta)], keep_state=True
    )

    now = dict(before)
    if brings:
        del now["k2"]
        now["new"] = 6
    assert await store.state.merged(key) == now
    assert await store.state.at(key, done.event.seq) == now
    await store.events.switch(key, "line-5")
    assert await store.state.merged(key) == before
    await store.events.switch(key, f"line-{done.event.seq}")
    assert await store.state.merged(key) == now
    await store.events.append(key, NewEvent("on", state_delta={"on": 1}))
    await store.events.pop(key)
    assert await store.state.merged(key) == now
    await store.events.prune(key, keep_last=1, branches=True)
    assert await store.state.at(key, done.event.seq) == now


async def test_with_nothing_in_its_place_an_end_leaves_the_state_too(
    store: Store, key: SessionKey
) -> None:
    await five(store, key)

    await store.events.replace_suffix(key, 0, [], keep_state=True)

    assert await store.events.read(key) == []
    assert await store.state.merged(key) == STATE == await store.state.at(key, 0)
