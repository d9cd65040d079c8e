"""Summaries: made of what is not covered yet, and worth only as much as their boundary."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import (
    ConflictError,
    Event,
    InvalidError,
    Limits,
    NewEvent,
    NotFoundError,
    SessionKey,
    Store,
    Summary,
    SummaryTrigger,
    TooLargeError,
)
from perdure.features.tokens import estimate
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, NewKey, OpenStore, Reopen

START = datetime(2026, 1, 1, tzinfo=UTC)


def joined(previous: str | None, events: Sequence[Event]) -> str:
    """A summariser whose text shows what it was given."""
    return "+".join([*([previous] if previous else []), *(event.text for event in events)])


async def say(store: Store, key: SessionKey, *texts: str, **fields: Any) -> list[int]:
    done = await store.events.append(key, *(NewEvent(text, **fields) for text in texts))
    return [event.seq for event in done]


async def texts(store: Store, key: SessionKey) -> dict[str, str]:
    return {found.filter_key: found.text for found in (await store.summaries.list(key)).items}


# -- making ----------------------------------------------------------------------------------------


async def test_a_summary_tells_of_all_events_and_then_of_those_that_came_since(
    store: Store, key: SessionKey, clock: FixedClock
) -> None:
    await say(store, key, "a", "b")
    clock.step = timedelta(0)
    clock.set(START + timedelta(hours=1))

    first = await store.summaries.summarize(key, summariser=joined)
    await say(store, key, "c")
    second = await store.summaries.summarize(key, summariser=joined)

    assert first == Summary(
        key=key, filter_key="", text="a+b", topics=(), covers_seq=2, version=1,
        updated_at=START + timedelta(hours=1),
    )  # fmt: skip
    assert second == replace(first, text="a+b+c", covers_seq=3, version=2)
    assert await store.summaries.get(key) == second
    assert await store.summaries.find(key) == second


async def test_nothing_new_and_nothing_at_all_is_not_summarised(
    store: Store, key: SessionKey
) -> None:
    assert await store.summaries.summarize(key, summariser=joined) is None
    assert await store.summaries.summarize(key, summariser=joined, force=True) is None
    await say(store, key, "a")
    await store.summaries.summarize(key, summariser=joined)

    assert await store.summaries.summarize(key, summariser=joined) is None
    again = await store.summaries.summarize(key, summariser=joined, force=True)

    assert again is not None
    assert (again.text, again.covers_seq, again.version) == ("a", 1, 2)


async def test_the_stores_summariser_may_be_async_and_another_may_be_given(
    open_store: OpenStore, key: SessionKey
) -> None:
    async def slow(previous: str | None, events: Sequence[Event]) -> tuple[str, list[str]]:
        await asyncio.sleep(0.01)
        return joined(previous, events), ["parcels", "parcels", "money"]

    store = await open_store(summariser=slow)
    await say(store, key, "a")

    made = await store.summaries.summarize(key)
    await say(store, key, "b")
    other = await store.summaries.summarize(key, summariser=lambda *_: "mine")

    assert made is not None
    assert made.topics == ("parcels", "money")
    assert other is not None
    assert (other.text, other.topics) == ("mine", ())


async def test_a_summariser_may_give_a_record(store: Store, key: SessionKey) -> None:
    await say(store, key, "a")
    made = await store.summaries.summarize(key, summariser=joined)
    assert made is not None
    record = replace(made, text="by record", topics=("t",))

    stored = await store.summaries.summarize(key, force=True, summariser=lambda *_: record)

    assert stored is not None
    assert (stored.text, stored.topics) == ("by record", ("t",))


@pytest.mark.parametrize("nothing", [None, "", " \n", ("", ["topic"]), (None, [])])
async def test_an_empty_result_stores_nothing(
    store: Store, key: SessionKey, nothing: object, dump: Dump
) -> None:
    await say(store, key, "a")
    await store.summaries.set(key, "before", covers_seq=0)
    before = await dump()

    assert await store.summaries.summarize(key, summariser=lambda *_: nothing) is None
    assert await dump() == before


@pytest.mark.parametrize("wrong", [1, b"bytes", ("a", "topic"), ("a", [1]), ("a", [""]), ["a"]])
async def test_what_is_no_summary_is_refused_and_nothing_stored(
    store: Store, key: SessionKey, wrong: object, dump: Dump
) -> None:
    await say(store, key, "a")
    before = await dump()

    with pytest.raises(InvalidError):
        await store.summaries.summarize(key, summariser=lambda *_: wrong)
    assert await dump() == before


async def test_an_error_of_the_summariser_comes_out_and_stores_nothing(
    store: Store, key: SessionKey
) -> None:
    def fails(*_: Any) -> str:
        raise RuntimeError("no answer from the model")

    await say(store, key, "a")

    with pytest.raises(RuntimeError, match="no answer"):
        await store.summaries.summarize(key, summariser=fails)
    assert await store.summaries.find(key) is None


async def test_without_a_summariser_there_is_no_summary(store: Store, key: SessionKey) -> None:
    with pytest.raises(InvalidError, match="summariser"):
        await store.summaries.summarize(key)
    with pytest.raises(InvalidError, match="callable"):
        await store.summaries.summarize(key, summariser="text")  # type: ignore[arg-type]


async def test_the_session_keeps_its_version(store: Store, key: SessionKey) -> None:
    await say(store, key, "a")
    before = await store.sessions.get(key)

    await store.summaries.summarize(key, summariser=joined)
    await store.summaries.set(key, "by hand")
    await store.summaries.delete(key)

    assert await store.sessions.get(key) == before


async def test_a_summary_survives_a_restart(store: Store, key: SessionKey, reopen: Reopen) -> None:
    await say(store, key, "a")
    made = await store.summaries.summarize(key, summariser=joined)

    store = await reopen()

    assert await store.summaries.get(key) == made


# -- what happens meanwhile ------------------------------------------------------------------------


Meanwhile = Callable[[Store, SessionKey], Any]


async def summarised_while(
    store: Store, other: Store, key: SessionKey, meanwhile: Meanwhile
) -> Summary | None:
    """The outcome of a summariser that waits for something else to have happened."""
    done: list[bool] = []

    def told(previous: str | None, events: Sequence[Event]) -> Any:
        async def slow() -> str:
            if not done:
                done.append(True)
                await meanwhile(other, key)
            return joined(previous, events)

        return slow()

    return await store.summaries.summarize(key, summariser=told)


async def test_what_is_appended_meanwhile_stays_uncovered(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    await say(store, key, "a", "b")

    made = await summarised_while(
        store, await open_store(), key, lambda other, key: say(other, key, "c")
    )

    assert made is not None
    assert (made.text, made.covers_seq) == ("a+b", 2)
    later = await store.summaries.summarize(key, summariser=joined)
    assert later is not None
    assert later.text == "a+b+c"


async def test_of_two_at_once_one_is_stored_and_the_boundary_does_not_go_back(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    async def another(other: Store, key: SessionKey) -> None:
        await say(other, key, "c")
        await other.summaries.summarize(key, summariser=lambda *_: "the other one")

    await say(store, key, "a", "b")

    made = await summarised_while(store, await open_store(), key, another)

    assert made is not None
    assert (made.text, made.covers_seq) == ("the other one", 3)
    assert await store.summaries.get(key) == made


async def test_a_summary_by_hand_meanwhile_stays(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    await say(store, key, "a", "b")

    made = await summarised_while(
        store, await open_store(), key, lambda other, key: other.summaries.set(key, "by hand")
    )

    assert made is not None
    assert (made.text, made.covers_seq) == ("by hand", 0)


async def test_many_at_once_leave_one_that_covers_what_it_says(
    store: Store, key: SessionKey
) -> None:
    await say(store, key, *"abcdef")

    made = await asyncio.gather(
        *(store.summaries.summarize(key, summariser=joined) for _ in range(8))
    )

    stored = await store.summaries.get(key)
    assert (stored.text, stored.covers_seq) == ("a+b+c+d+e+f", 6)
    assert {found.text for found in made if found} == {"a+b+c+d+e+f"}


@pytest.mark.parametrize(
    "change",
    [
        lambda store, key: store.events.rewind(key, 1),
        lambda store, key: store.events.redact(key, "second"),
        lambda store, key: store.events.delete(key, ["second"]),
        lambda store, key: store.events.clear(key),
        lambda store, key: store.events.replace_suffix(key, 0, ["other"]),
    ],
    ids=["rewind", "redact", "delete", "clear", "replace_suffix"],
)
async def test_a_change_of_what_is_told_of_stores_nothing(
    store: Store, key: SessionKey, open_store: OpenStore, change: Meanwhile
) -> None:
    await say(store, key, "a")
    await store.events.append(key, NewEvent("b", id="second"), NewEvent("c"))

    with pytest.raises(ConflictError, match="changed while"):
        await summarised_while(store, await open_store(), key, change)

    assert await store.summaries.find(key) is None


async def test_a_change_behind_what_is_told_of_does_not_matter(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    async def redacted(other: Store, key: SessionKey) -> None:
        await other.events.append(key, NewEvent("c", id="third"))
        await other.events.redact(key, "third")

    await say(store, key, "a", "b")

    made = await summarised_while(store, await open_store(), key, redacted)

    assert made is not None
    assert made.covers_seq == 2


async def test_a_session_deleted_meanwhile_gets_none_and_its_follower_neither(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    async def recreated(other: Store, key: SessionKey) -> None:
        await other.sessions.delete(key)
        await other.sessions.create(*key)

    await say(store, key, "a")

    with pytest.raises(NotFoundError, match="deleted"):
        await summarised_while(store, await open_store(), key, recreated)
    assert await store.summaries.find(key) is None


async def test_a_prune_meanwhile_loses_nothing(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    await say(store, key, "a", "b", "c")
    made = await summarised_while(
        store,
        await open_store(),
        key,
        lambda other, key: other.events.prune(key, keep_last=0),
    )

    assert made is not None
    assert await store.summaries.get(key) == made


# -- filters ---------------------------------------------------------------------------------------


async def test_a_filter_selects_its_own_what_is_above_and_below_and_what_has_none(
    store: Store, key: SessionKey
) -> None:
    for own in ["", "a", "a/b", "a/b/c", "ab", "b"]:
        await say(store, key, own or "-", filter_key=own)
    await say(store, key, "by branch", branch="a/b")
    await say(store, key, "key wins", branch="a/b", filter_key="x")

    for wanted in ["a", "a/b", "a/b/c", "ab", "x/y", "a/"]:
        await store.summaries.summarize(key, wanted, summariser=joined)

    assert await texts(store, key) == {
        "a": "-+a+a/b+a/b/c+by branch",
        "a/": "-+a",
        "a/b": "-+a+a/b+a/b/c+by branch",
        "a/b/c": "-+a+a/b+a/b/c+by branch",
        "ab": "-+ab",
        "x/y": "-+key wins",
    }


async def test_the_boundary_of_a_filter_is_the_last_event_that_it_selects(
    store: Store, key: SessionKey
) -> None:
    await say(store, key, "one", filter_key="a")
    await say(store, key, "two", filter_key="b")

    made = await store.summaries.summarize(key, "a", summariser=joined)
    assert made is not None
    assert made.covers_seq == 1
    assert await store.summaries.summarize(key, "a", summariser=joined) is None


async def test_the_text_of_a_filter_falls_back_to_the_whole_session_and_then_to_none(
    store: Store, key: SessionKey
) -> None:
    assert await store.summaries.summary_text(key, "a") is None
    await store.summaries.set(key, "whole")
    assert await store.summaries.summary_text(key, "a") == "whole"
    await store.summaries.set(key, "of a", "a")

    assert await store.summaries.summary_text(key, "a") == "of a"
    assert await store.summaries.summary_text(key) == "whole"
    with pytest.raises(NotFoundError, match="'b'"):
        await store.summaries.get(key, "b")


async def test_summaries_are_listed_by_filter_page_after_page(
    store: Store, key: SessionKey
) -> None:
    names = ["", "B", "a", "a/b", "é"]
    for name in reversed(names):
        await store.summaries.set(key, f"of {name}", name)
    found: list[str] = []
    cursor = None

    while True:
        page = await store.summaries.list(key, cursor=cursor, limit=2)
        found += [summary.filter_key for summary in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert found == names
    with pytest.raises(InvalidError, match="cursor"):
        await store.summaries.list(key, cursor="nonsense")


# -- triggers --------------------------------------------------------------------------------------


async def test_a_trigger_waits_for_more_events_than_it_says(store: Store, key: SessionKey) -> None:
    trigger = SummaryTrigger(events=2)
    await say(store, key, "a", "b")
    assert await store.summaries.summarize(key, summariser=joined, trigger=trigger) is None
    await say(store, key, "c")

    made = await store.summaries.summarize(key, summariser=joined, trigger=trigger)

    assert made is not None
    assert made.covers_seq == 3
    await say(store, key, "d", "e")
    assert await store.summaries.summarize(key, summariser=joined, trigger=trigger) is None
    forced = await store.summaries.summarize(key, summariser=joined, trigger=trigger, force=True)
    assert forced is not None
    assert forced.covers_seq == 5


async def test_a_trigger_waits_for_tokens_by_the_stores_counter(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    async def words(text: str) -> int:
        return len(text.split())

    counting = await open_store(token_counter=words)
    await say(store, key, "one two three", "four five")

    for asked in (store, counting):
        assert not await asked.summaries.summarize(
            key, summariser=joined, trigger=SummaryTrigger(tokens=7)
        )
    assert await counting.summaries.summarize(
        key, summariser=joined, trigger=SummaryTrigger(tokens=4)
    )


async def test_a_trigger_waits_until_the_session_is_idle(
    store: Store, key: SessionKey, clock: FixedClock
) -> None:
    trigger = SummaryTrigger(idle=timedelta(minutes=5))
    await say(store, key, "a")
    assert await store.summaries.summarize(key, summariser=joined, trigger=trigger) is None

    clock.advance(timedelta(minutes=6))

    assert await store.summaries.summarize(key, summariser=joined, trigger=trigger)


async def test_of_several_conditions_any_is_enough_or_all_must_hold(
    store: Store, key: SessionKey
) -> None:
    await say(store, key, "a", "b")
    both = SummaryTrigger(events=1, tokens=1000, match="all")

    assert await store.summaries.summarize(key, summariser=joined, trigger=both) is None
    assert await store.summaries.summarize(
        key, summariser=joined, trigger=replace(both, match="any")
    )


@pytest.mark.parametrize(
    "trigger",
    [
        SummaryTrigger(),
        SummaryTrigger(events=-1),
        SummaryTrigger(tokens="1"),  # type: ignore[arg-type]
        SummaryTrigger(idle=timedelta(seconds=-1)),
        SummaryTrigger(idle=5),  # type: ignore[arg-type]
        SummaryTrigger(events=1, match="some"),  # type: ignore[arg-type]
        "always",
    ],
)
async def test_what_is_no_trigger_is_refused(store: Store, key: SessionKey, trigger: Any) -> None:
    with pytest.raises(InvalidError):
        await store.summaries.summarize(key, summariser=joined, trigger=trigger)


@pytest.mark.parametrize("number", [-1, "2", 1.5, None])
async def test_a_counter_that_gives_no_number_is_refused(
    open_store: OpenStore, key: SessionKey, number: object
) -> None:
    store = await open_store(token_counter=lambda _: number)
    await say(store, key, "a")

    with pytest.raises(InvalidError, match="token_counter"):
        await store.summaries.summarize(key, summariser=joined, trigger=SummaryTrigger(tokens=1))


def test_tokens_are_estimated_by_bytes_and_by_cjk_characters() -> None:
    assert estimate("") == 0
    assert estimate("word") == 1
    assert estimate("words") == 2
    assert estimate("日本語") == 3
    assert estimate("カナ한글𠀀") == 5
    assert estimate("日本 and more") == 2 + 3
    assert estimate("größe") == 2


# -- by hand ---------------------------------------------------------------------------------------


async def test_a_summary_by_hand_keeps_the_boundary_or_says_its_own(
    store: Store, key: SessionKey
) -> None:
    await say(store, key, "a", "b", "c")

    assert (await store.summaries.set(key, "new")).covers_seq == 0
    assert (await store.summaries.set(key, "more", covers_seq=2, topics=["t"])).covers_seq == 2
    kept = await store.summaries.set(key, "kept")

    assert (kept.covers_seq, kept.topics, kept.version) == (2, (), 3)
    assert (await store.summaries.set(key, "back", covers_seq=0)).covers_seq == 0


async def test_a_boundary_must_be_on_the_active_line(store: Store, key: SessionKey) -> None:
    await say(store, key, "a", "b", "c")
    await store.events.rewind(key, 1)

    for seq in (2, 4):
        with pytest.raises(NotFoundError, match=str(seq)):
            await store.summaries.set(key, "text", covers_seq=seq)
    with pytest.raises(InvalidError, match="covers_seq"):
        await store.summaries.set(key, "text", covers_seq=-1)


async def test_bad_texts_are_refused(open_store: OpenStore, key: SessionKey) -> None:
    store = await open_store(limits=Limits(event=100))

    with pytest.raises(InvalidError, match="blank"):
        await store.summaries.set(key, " ")
    with pytest.raises(InvalidError):
        await store.summaries.set(key, None)  # type: ignore[arg-type]
    with pytest.raises(InvalidError):
        await store.summaries.set(key, "lone \ud800")
    with pytest.raises(TooLargeError):
        await store.summaries.set(key, "x" * 101)
    with pytest.raises(TooLargeError):
        await store.summaries.set(key, "x", "f" * 513)
    with pytest.raises(InvalidError):
        await store.summaries.set(key, "x", "nul \0")


async def test_a_text_comes_back_as_it_was(store: Store, key: SessionKey) -> None:
    text = 'quotes " and \\, NUL \0, 日本語 🎈\n'

    await store.summaries.set(key, text, "f" * 512)

    assert (await store.summaries.get(key, "f" * 512)).text == text


async def test_a_summary_is_removed_once_and_the_events_stay(store: Store, key: SessionKey) -> None:
    await say(store, key, "a")
    await store.summaries.set(key, "text")

    assert await store.summaries.delete(key) is True
    assert await store.summaries.delete(key) is False
    assert await store.summaries.find(key) is None
    assert await store.events.count(key) == 1


async def test_an_unknown_session_has_none(store: Store) -> None:
    nobody = SessionKey("support", "ada", "unknown")

    assert await store.summaries.find(nobody) is None
    assert await store.summaries.summary_text(nobody) is None
    assert await store.summaries.delete(nobody) is False
    with pytest.raises(NotFoundError):
        await store.summaries.get(nobody)
    with pytest.raises(NotFoundError):
        await store.summaries.list(nobody)
    with pytest.raises(NotFoundError):
        await store.summaries.set(nobody, "text")
    with pytest.raises(NotFoundError):
        await store.summaries.summarize(nobody, summariser=joined)


async def test_a_later_session_of_the_id_has_none_and_a_restored_one_its_own(
    store: Store, key: SessionKey
) -> None:
    await say(store, key, "a")
    made = await store.summaries.summarize(key, summariser=joined)
    await store.sessions.delete(key)

    await store.sessions.create(*key)
    assert await store.summaries.summary_text(key) is None
    await store.sessions.purge(key, uid=(await store.sessions.get(key)).uid)
    await store.sessions.restore(key)

    assert await store.summaries.get(key) == made


async def test_a_turn_stores_summaries_with_the_rest(store: Store, key: SessionKey) -> None:
    async with store.turn() as turn:
        turn.events.append(key, "a")
        made = turn.summaries.set(key, "text", covers_seq=1)
        turn.summaries.delete(key, "other")

    assert made.value == await store.summaries.get(key)


# -- the line --------------------------------------------------------------------------------------


async def test_a_summary_counts_where_its_boundary_is_on_the_active_line(
    store: Store, key: SessionKey
) -> None:
    await say(store, key, "a", "b", "c")
    await store.summaries.summarize(key, summariser=joined)
    await store.summaries.set(key, "of two", "f", covers_seq=2)

    await store.events.rewind(key, 2)
    assert await texts(store, key) == {"f": "of two"}
    await say(store, key, "d")
    assert await store.summaries.summary_text(key) is None
    await store.events.rewind(key, 1)
    assert await texts(store, key) == {}
    await store.events.switch(key, "line-3")

    assert await texts(store, key) == {"": "a+b+c", "f": "of two"}


async def test_a_new_line_is_summarised_from_its_beginning(store: Store, key: SessionKey) -> None:
    await say(store, key, "a", "b", "c")
    await store.summaries.summarize(key, summariser=joined)
    await store.events.rewind(key, 1)
    await say(store, key, "d")

    made = await store.summaries.summarize(key, summariser=joined)

    assert made is not None
    assert (made.text, made.covers_seq) == ("a+d", 4)


async def test_a_fork_takes_along_what_tells_of_the_events_it_has(
    store: Store, key: SessionKey
) -> None:
    await say(store, key, "a", "b", "c", "d")
    await store.events.rewind(key, 2)
    await say(store, key, "e", "f")
    await store.summaries.set(key, "of three", covers_seq=5, topics=["t"])
    await store.summaries.set(key, "of all", "all", covers_seq=6)
    await store.summaries.set(key, "of none", "none", covers_seq=0)

    fork = (await store.sessions.fork(key, at=5)).key

    found = {one.filter_key: one for one in (await store.summaries.list(fork)).items}
    assert {name: (one.text, one.covers_seq) for name, one in found.items()} == {
        "": ("of three", 3),
        "none": ("of none", 0),
    }
    assert found[""].topics == ("t",)
    await store.summaries.set(fork, "its own")
    assert (await store.summaries.get(key)).text == "of three"


async def test_a_fork_of_a_pruned_session_keeps_what_is_told_of_the_pruned(
    store: Store, key: SessionKey
) -> None:
    await say(store, key, *"abcde")
    await store.summaries.set(key, "of two", covers_seq=2)
    await store.events.prune(key, before_seq=4)

    fork = (await store.sessions.fork(key)).key

    assert (await store.summaries.get(fork)).covers_seq == 0
    assert [event.text for event in await store.events.read(fork)] == ["c", "d", "e"]


async def test_clear_removes_the_summaries_too(store: Store, new_key: NewKey) -> None:
    for events in ((), ("a",)):
        key = await new_key()
        await store.events.append(key, *events)
        await store.summaries.set(key, "text")
        await store.summaries.set(key, "text", "f")

        assert await store.events.clear(key) == len(events)
        assert await texts(store, key) == {}


async def test_what_is_redacted_or_deleted_is_told_by_no_summary(
    store: Store, key: SessionKey
) -> None:
    for name in "abcd":
        await store.events.append(key, NewEvent(f"text {name}", id=name))
    fork = (await store.sessions.fork(key)).key
    for where in (key, fork):
        await store.summaries.set(where, "before", "early", covers_seq=1)
        await store.summaries.summarize(where, summariser=joined)

    await store.events.redact(key, "c")
    assert await texts(store, key) == await texts(store, fork) == {"early": "before"}
    await store.events.delete(key, ["a"])

    assert await texts(store, key) == {}
    assert await texts(store, fork) == {"early": "before"}


# -- pruning ---------------------------------------------------------------------------------------


async def test_a_prune_stops_at_what_the_summary_covers_unless_it_is_told(
    store: Store, key: SessionKey
) -> None:
    await say(store, key, *"abcdef")
    await store.summaries.set(key, "of two", covers_seq=2)

    assert await store.events.prune(key, keep_last=1) == 2
    assert await store.events.prune(key, before_seq=6) == 0
    assert await store.events.prune(key, older_than=timedelta(0)) == 0
    assert (await store.summaries.get(key)).text == "of two"
    assert await store.events.prune(key, keep_last=1, beyond_summary=True) == 3

    assert (await store.summaries.get(key)).covers_seq == 2
    assert [event.text for event in await store.events.read(key)] == ["f"]


async def test_a_summary_that_says_nothing_of_its_boundary_keeps_every_event(
    store: Store, key: SessionKey
) -> None:
    await say(store, key, *"abc")
    await store.summaries.set(key, "by hand")

    assert await store.events.prune(key, keep_last=0) == 0
    assert await store.events.prune(key, keep_last=0, beyond_summary=True) == 3


async def test_without_a_summary_a_prune_goes_as_far_as_it_says(
    store: Store, key: SessionKey
) -> None:
    await say(store, key, *"abc")
    await store.summaries.set(key, "of a filter", "f", covers_seq=1)

    assert await store.events.prune(key, keep_last=1) == 2


async def test_an_event_limit_counts_as_being_told(open_store: OpenStore, key: SessionKey) -> None:
    store = await open_store(event_limit=10)
    await say(store, key, "a", "b")
    await store.summaries.summarize(key, summariser=joined)

    await say(store, key, *(str(n) for n in range(20)))

    assert await store.events.count(key) == 10
    assert await store.summaries.summary_text(key) == "a+b"


async def test_a_summary_counts_on_after_all_it_covers_was_pruned(
    store: Store, key: SessionKey
) -> None:
    await say(store, key, *"abcd")
    await store.summaries.summarize(key, summariser=joined)
    assert await store.events.prune(key, keep_last=0) == 4
    assert await store.summaries.summary_text(key) == "a+b+c+d"

    await say(store, key, "e")
    assert await store.summaries.summary_text(key) == "a+b+c+d"
    made = await store.summaries.summarize(key, summariser=joined)

    assert made is not None
    assert (made.text, made.covers_seq) == ("a+b+c+d+e", 5)


async def test_a_summary_counts_on_after_prune_upon_prune_and_a_deleted_first_event(
    store: Store, key: SessionKey
) -> None:
    for name in "abcdef":
        await store.events.append(key, NewEvent(name, id=name))
    await store.summaries.set(key, "of three", covers_seq=3)
    await store.events.prune(key, before_seq=3)
    await store.events.prune(key, before_seq=5, beyond_summary=True)

    await store.events.delete(key, ["e"])
    assert await store.summaries.summary_text(key) == "of three"
    await store.events.delete(key, ["f"])

    assert await store.events.read(key) == []
    assert await store.summaries.summary_text(key) == "of three"


async def test_a_prune_of_a_shared_past_does_not_give_a_branch_another_lines_summary(
    store: Store, key: SessionKey
) -> None:
    await say(store, key, *"abcd")
    await store.events.rewind(key, 1)
    await say(store, key, *"xyz")
    await store.summaries.set(key, "of x and y", covers_seq=6)

    await store.events.prune(key, before_seq=7)
    assert await store.summaries.summary_text(key) == "of x and y"
    await store.events.switch(key, "line-4")

    assert await store.summaries.summary_text(key) is None
