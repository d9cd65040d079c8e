"""Lines: going back, starting again from an older event, and switching between what was left."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import (
    Branch,
    ConflictError,
    InvalidError,
    NewEvent,
    NotFoundError,
    SessionKey,
    Store,
)
from perdure.testing.databases import Dump


def numbered(*numbers: int) -> list[NewEvent]:
    return [NewEvent(n, id=f"e{n}", state_delta={"a": n, f"k{n}": n}) for n in numbers]


async def five(store: Store, key: SessionKey) -> SessionKey:
    """Events 1 to 5 in one append: the session is at version 2."""
    await store.events.append(key, *numbered(1, 2, 3, 4, 5))
    return key


async def two_lines(store: Store, key: SessionKey) -> SessionKey:
    """Left is the line 1 2 3 4 5, active is 1 2 6 7."""
    await five(store, key)
    await store.events.append(key, *numbered(6, 7), after=2)
    return key


def state(*numbers: int) -> dict[str, int]:
    """The state after the events of these seqs."""
    return {**{f"k{n}": n for n in numbers}, **({"a": numbers[-1]} if numbers else {})}


async def seqs(store: Store, key: SessionKey, **filters: Any) -> list[int]:
    return [event.seq for event in await store.events.read(key, **filters)]


async def heads(store: Store, key: SessionKey) -> dict[str, int]:
    """The lines that were left: their name and their last event."""
    return {one.name: one.head_seq for one in await store.events.branches(key) if not one.current}


# -- rewind, pop, replace_suffix -------------------------------------------------------------


@pytest.mark.parametrize("to", [0, 1, 3, 4])
async def test_a_rewind_makes_an_older_event_the_end_and_deletes_nothing(
    store: Store, key: SessionKey, to: int
) -> None:
    await five(store, key)

    session = await store.events.rewind(key, to)

    assert session == await store.sessions.get(key)
    assert (session.version, session.event_count) == (3, to)
    assert (session.head_seq, session.last_seq) == (to, 5)
    assert await seqs(store, key) == list(range(1, to + 1))
    assert await seqs(store, key, all_lines=True) == [1, 2, 3, 4, 5]
    assert await store.state.merged(key) == state(*range(1, to + 1))
    assert await heads(store, key) == {"line-5": 5}
    done = await store.events.append(key, "next")
    assert (done.event.seq, done.event.prev) == (6, to)


async def test_a_rewind_to_the_end_is_a_no_op(store: Store, key: SessionKey, dump: Dump) -> None:
    await five(store, key)
    before = await dump()

    assert await store.events.rewind(key, 5) == await store.sessions.get(key)
    assert await dump() == before


@pytest.mark.parametrize("seq", [6, 99, 2**40])
async def test_a_rewind_to_an_event_that_is_not_there_changes_nothing(
    store: Store, key: SessionKey, dump: Dump, seq: int
) -> None:
    await five(store, key)
    before = await dump()

    for call in (
        lambda: store.events.rewind(key, seq),
        lambda: store.events.append(key, "x", after=seq),
        lambda: store.events.replace_suffix(key, seq, ["x"]),
        lambda: store.events.replace_suffix(key, seq, []),
    ):
        with pytest.raises(NotFoundError, match=f"{seq}"):
            await call()
    with pytest.raises(InvalidError, match="to_seq"):
        await store.events.rewind(key, -1)
    assert await dump() == before


@pytest.mark.parametrize(("n", "taken"), [(1, 1), (2, 2), (5, 5), (9, 5)])
async def test_popped_events_come_back_newest_first(
    store: Store, key: SessionKey, n: int, taken: int
) -> None:
    await five(store, key)
    events = await store.events.read(key)

    popped = await store.events.pop(key, n)

    kept = 5 - taken
    assert popped == events[::-1][:taken]
    assert await store.events.read(key) == events[:kept]
    assert await store.state.merged(key) == state(*range(1, kept + 1))
    session = await store.sessions.get(key)
    assert (session.version, session.event_count, session.head_seq) == (3, kept, kept)


async def test_a_pop_of_one_format_takes_no_event_of_another(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    item = {"role": "user", "content": "item"}
    await store.events.append(key, "text", NewEvent(item, format="openai.responses"))
    before = await dump()

    with pytest.raises(ConflictError, match=r"is of format 'openai.responses', not 'plain'"):
        await store.events.pop(key, format="plain")
    with pytest.raises(ConflictError, match=r"is of format 'plain'"):
        await store.events.pop(key, 2, format="openai.responses")
    assert await dump() == before

    [popped] = await store.events.pop(key, format="openai.responses")
    assert popped.content == item
    assert [event.text for event in await store.events.pop(key, 5, format="plain")] == ["text"]


async def test_popping_nothing_changes_nothing(store: Store, key: SessionKey, dump: Dump) -> None:
    empty = await dump()
    assert await store.events.pop(key) == []
    assert await dump() == empty

    await five(store, key)
    before = await dump()
    assert await store.events.pop(key, 0) == []
    assert await dump() == before


async def test_popping_one_after_the_other_passes_a_jump(store: Store, key: SessionKey) -> None:
    await two_lines(store, key)

    popped = [[event.seq for event in await store.events.pop(key)] for _ in range(5)]

    assert popped == [[7], [6], [2], [1], []]
    assert await heads(store, key) == {"line-5": 5, "line-7": 7}


@pytest.mark.parametrize("after", [0, 2, 5])
async def test_a_suffix_is_replaced_in_one_version(
    store: Store, key: SessionKey, after: int
) -> None:
    await five(store, key)

    done = await store.events.replace_suffix(key, after, numbered(6, 7), expected_version=2)

    assert (done.version, [event.prev for event in done]) == (3, [after, 6])
    assert await seqs(store, key) == [*range(1, after + 1), 6, 7]
    assert await store.state.merged(key) == state(*range(1, after + 1), 6, 7)
    assert await heads(store, key) == ({} if after == 5 else {"line-5": 5})


async def test_a_suffix_replaced_by_nothing_is_a_rewind(store: Store, key: SessionKey) -> None:
    await five(store, key)

    for given in ([], [NewEvent("partial", partial=True)]):
        done = await store.events.replace_suffix(key, 2, given)
        assert len(done.events) == len(given)

    assert (await seqs(store, key), done.version) == ([1, 2], 3)


async def test_retrying_a_replaced_suffix_gives_what_is_stored(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await five(store, key)
    first = await store.events.replace_suffix(key, 2, numbered(6), expected_version=2)
    before = await dump()

    again = await store.events.replace_suffix(key, 2, numbered(6), expected_version=2)
    with pytest.raises(ConflictError):
        await store.events.replace_suffix(key, 2, [NewEvent("other", id="e6")])

    assert (again.events, again.duplicate) == (first.events, True)
    assert await dump() == before


# -- lines -----------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 2, 5])
async def test_an_append_behind_an_older_event_starts_a_line_in_one_version(
    store: Store, key: SessionKey, after: int
) -> None:
    await five(store, key)

    done = await store.events.append(key, *numbered(6, 7), after=after, expected_version=2)

    assert (done.version, [(e.seq, e.prev) for e in done]) == (3, [(6, after), (7, 6)])
    assert await seqs(store, key) == [*range(1, after + 1), 6, 7]
    assert await store.state.merged(key) == state(*range(1, after + 1), 6, 7)
    assert (await store.sessions.get(key)).event_count == after + 2


async def test_every_way_to_read_follows_the_active_line(store: Store, key: SessionKey) -> None:
    await two_lines(store, key)

    assert await seqs(store, key) == [1, 2, 6, 7]
    assert await seqs(store, key, recent=3) == [2, 6, 7]
    assert await seqs(store, key, after_seq=1, before_seq=7) == [2, 6]
    assert await seqs(store, key, after_seq=2, before_seq=6) == []
    assert await seqs(store, key, after_seq=2, before_seq=6, all_lines=True) == [3, 4, 5]
    assert await store.events.count(key) == 4
    assert await store.events.count(key, all_lines=True) == 7
    assert [event.seq async for event in store.events.iter(key)] == [1, 2, 6, 7]
    for newest_first in (False, True):
        found: list[int] = []
        cursor = None
        while cursor is not None or not found:
            page = await store.events.list(key, newest_first=newest_first, cursor=cursor, limit=1)
            found += [event.seq for event in page]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert found == sorted([1, 2, 6, 7], reverse=newest_first)


async def test_branches_are_the_active_line_and_those_that_were_left(
    store: Store, key: SessionKey
) -> None:
    [only] = await store.events.branches(key)
    assert (only.head_seq, only.current) == (0, True)
    await two_lines(store, key)

    active, left = await store.events.branches(key)

    assert (active.name, active.head_seq, active.current) == ("line-7", 7, True)
    assert left == Branch("line-5", 5, left.created_at)


async def test_switching_goes_to_a_line_and_back(store: Store, key: SessionKey) -> None:
    await two_lines(store, key)

    session = await store.events.switch(key, "line-5", expected_version=3)
    assert session == await store.sessions.get(key)
    assert (session.version, session.head_seq, session.event_count) == (4, 5, 5)
    assert await seqs(store, key) == [1, 2, 3, 4, 5]
    assert await store.state.merged(key) == state(1, 2, 3, 4, 5)
    assert await heads(store, key) == {"line-7": 7}

    await store.events.switch(key, "line-7")
    assert await seqs(store, key) == [1, 2, 6, 7]
    assert await store.state.merged(key) == state(1, 2, 6, 7)
    assert await heads(store, key) == {"line-5": 5}
    assert (await store.events.append(key, "8")).event.prev == 7


async def test_a_rewind_to_another_line_is_a_switch(store: Store, key: SessionKey) -> None:
    await two_lines(store, key)

    await store.events.rewind(key, 4)

    assert await seqs(store, key) == [1, 2, 3, 4]
    assert await store.state.merged(key) == state(1, 2, 3, 4)
    assert await heads(store, key) == {"line-5": 5, "line-7": 7}


async def test_a_line_that_is_not_there_cannot_be_switched_to(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await two_lines(store, key)
    before = await dump()

    for name in ("line-4", "", "LINE-5", "line-5 "):
        with pytest.raises(NotFoundError, match="line-5"):
            await store.events.switch(key, name)
        assert await store.events.drop_branch(key, name) is False
    assert await dump() == before


async def test_a_dropped_line_is_forgotten_and_a_prune_deletes_its_events(
    store: Store, key: SessionKey
) -> None:
    await two_lines(store, key)

    assert await store.events.drop_branch(key, "line-5") is True
    assert await store.events.drop_branch(key, "line-5") is False

    assert await heads(store, key) == {}
    assert await store.events.count(key, all_lines=True) == 7
    assert await store.events.prune(key, before_seq=0) == 3
    assert await seqs(store, key, all_lines=True) == [1, 2, 6, 7]
    assert await store.state.merged(key) == state(1, 2, 6, 7)


async def test_a_prune_keeps_the_own_part_of_a_line_that_was_left(
    store: Store, key: SessionKey
) -> None:
    await two_lines(store, key)

    assert await store.events.prune(key, keep_last=1) == 3

    assert await seqs(store, key, all_lines=True) == [3, 4, 5, 7]
    assert await store.state.merged(key) == state(1, 2, 6, 7)
    await store.events.switch(key, "line-5")
    assert await seqs(store, key) == [3, 4, 5]
    assert await store.state.merged(key) == state(1, 2, 3, 4, 5)


async def test_a_line_that_ends_in_the_pruned_part_goes_with_it(
    store: Store, key: SessionKey
) -> None:
    await five(store, key)
    await store.events.rewind(key, 3)
    await store.events.switch(key, "line-5")
    await store.events.rewind(key, 2)
    await store.events.append(key, *numbered(6, 7))
    await store.events.prune(key, keep_last=1, branches=True)

    assert await seqs(store, key, all_lines=True) == [7]
    assert await heads(store, key) == {}


async def test_deleting_the_end_of_a_left_line_shortens_it(store: Store, key: SessionKey) -> None:
    await two_lines(store, key)

    assert await store.events.delete(key, ["e5"]) == 1
    assert await heads(store, key) == {"line-5": 4}
    await store.events.switch(key, "line-5")
    assert await seqs(store, key) == [1, 2, 3, 4]


async def test_deleting_where_lines_part_keeps_both(store: Store, key: SessionKey) -> None:
    await two_lines(store, key)

    await store.events.delete(key, ["e2"])

    assert await seqs(store, key) == [1, 6, 7]
    assert await store.state.merged(key) == state(1, 2, 6, 7)
    await store.events.switch(key, "line-5")
    assert await seqs(store, key) == [1, 3, 4, 5]
    assert await store.state.merged(key) == state(1, 2, 3, 4, 5)
    await store.events.delete(key, ["e1"])
    assert await store.state.merged(key) == state(1, 2, 3, 4, 5)


@pytest.mark.parametrize(("at", "taken"), [(None, [1, 2, 6, 7]), (6, [1, 2, 6]), (2, [1, 2])])
async def test_a_fork_of_a_branched_session_takes_the_line_alone(
    store: Store, key: SessionKey, at: int | None, taken: list[int]
) -> None:
    await two_lines(store, key)

    fork = await store.sessions.fork(key, at=at, id="fork")

    events = await store.events.read(fork.key)
    assert [event.content for event in events] == taken
    assert await store.events.count(fork.key, all_lines=True) == len(taken)
    assert await store.state.merged(fork.key) == state(*taken)
    assert await heads(store, fork.key) == {}
    assert fork.event_count == len(taken)
    done = await store.events.append(fork.key, "more")
    assert done.event.prev == events[-1].seq
    assert await seqs(store, key) == [1, 2, 6, 7]


async def test_many_lines_each_have_their_events_and_their_state(
    store: Store, key: SessionKey
) -> None:
    lines: dict[int, list[int]] = {0: []}
    parents = [0, 1, 2, 1, 4, 2, 0, 7, 5, 3, 9, 10]
    for seq, parent in enumerate(parents, 1):
        await store.events.append(key, *numbered(seq), after=parent)
        lines[seq] = [*lines[parent], seq]

    for seq, line in lines.items():
        await store.events.rewind(key, seq)
        session = await store.sessions.get(key)
        assert (await seqs(store, key), session.event_count) == (line, len(line))
        assert await store.state.merged(key) == state(*line)
        assert await store.state.at(key, seq) == state(*line)
    tips = set(lines) - set(parents)
    left = {branch.head_seq for branch in await store.events.branches(key)}
    assert left == tips


# -- lines whose beginning was pruned --------------------------------------------------------


@pytest.mark.parametrize("how", ["rewind", "pop", "replace_suffix"])
async def test_going_back_before_the_first_kept_event_keeps_the_state_that_stood_there(
    store: Store, key: SessionKey, how: str
) -> None:
    await five(store, key)
    await store.events.prune(key, keep_last=2)

    if how == "rewind":
        await store.events.rewind(key, 0)
    elif how == "pop":
        assert [event.seq for event in await store.events.pop(key, 9)] == [5, 4]
    else:
        await store.events.replace_suffix(key, 0, [])

    assert await seqs(store, key) == []
    assert await store.state.merged(key) == state(1, 2, 3)
    assert await heads(store, key) == {"line-5": 5}
    await store.events.append(key, *numbered(6))
    assert await store.state.at(key, 6) == state(1, 2, 3, 6)
    await store.events.switch(key, "line-5")
    assert await seqs(store, key) == [4, 5]
    assert await store.state.merged(key) == state(1, 2, 3, 4, 5)


async def test_a_pruned_event_cannot_be_gone_back_to(store: Store, key: SessionKey) -> None:
    await five(store, key)
    await store.events.prune(key, keep_last=2)

    with pytest.raises(NotFoundError, match="3"):
        await store.events.rewind(key, 3)
    with pytest.raises(NotFoundError, match="3"):
        await store.sessions.fork(key, at=3)
    fork = await store.sessions.fork(key)
    assert [event.content for event in await store.events.read(fork.key)] == [4, 5]
    assert await store.state.merged(fork.key) == state(1, 2, 3, 4, 5)
    assert fork.event_count == 2


async def test_deleting_the_first_kept_event_keeps_the_state(store: Store, key: SessionKey) -> None:
    await five(store, key)
    await store.events.prune(key, keep_last=3)

    await store.events.delete(key, ["e3"])
    assert await store.state.merged(key) == state(1, 2, 3, 4, 5)
    assert await store.state.at(key, 4) == state(1, 2, 3, 4)
    await store.events.delete(key, ["e4", "e5"])
    assert await store.state.merged(key) == state(1, 2, 3, 4, 5)
    assert (await store.events.append(key, "6")).event.seq == 6
    assert await store.state.at(key, 6) == state(1, 2, 3, 4, 5)
