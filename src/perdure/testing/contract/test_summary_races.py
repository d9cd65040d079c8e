"""What happens while a summariser works."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from perdure import (
    ConflictError,
    Event,
    NewEvent,
    NotFoundError,
    SessionKey,
    Store,
    Summary,
)
from perdure.testing.contract.telling import joined, say
from perdure.testing.databases import OpenStore

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
