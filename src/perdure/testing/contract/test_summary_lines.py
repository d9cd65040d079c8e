"""Summaries by hand, and what they are worth when history changes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from perdure import (
    InvalidError,
    Limits,
    NewEvent,
    NotFoundError,
    SessionKey,
    Store,
    TooLargeError,
)
from perdure.testing.contract.telling import joined, say, texts
from perdure.testing.databases import NewKey, OpenStore

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
