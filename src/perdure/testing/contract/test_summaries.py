"""Summaries: made of what is not covered yet, by filter, when it is time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import (
    Event,
    InvalidError,
    NotFoundError,
    SessionKey,
    Store,
    Summary,
    SummaryTrigger,
)
from perdure.features.counting import estimate
from perdure.testing.clocks import FixedClock
from perdure.testing.contract.telling import joined, say, texts
from perdure.testing.databases import Dump, OpenStore, Reopen

START = datetime(2026, 1, 1, tzinfo=UTC)


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
