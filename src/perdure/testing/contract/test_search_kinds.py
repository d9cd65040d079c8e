"""What a search finds beside events and titles: summaries, and key-values that were indexed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from perdure import NewEvent, SessionKey, Store
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump


async def found(store: Store, query: str, kind: str) -> list[str]:
    hits = await store.search("support", "ada", query, kinds=[kind])
    return [hit.key for hit in hits]


async def summaries(store: Store, query: str) -> list[str]:
    return await found(store, query, "summaries")


async def test_a_summary_is_found_by_its_text_and_its_topics(
    store: Store, key: SessionKey
) -> None:
    summary = await store.summaries.set(key, 'A "red"\nparcel to Lyon', topics=["post"])
    await store.summaries.set(key, "nothing", "billing")

    [hit] = await store.search("support", "ada", "parcels")

    assert (hit.kind, hit.key, hit.session, hit.seq) == ("summaries", "", key, None)
    assert (hit.at, hit.app, hit.user) == (summary.updated_at, "support", "ada")
    assert 'A "red"' in hit.snippet
    [(low, high)] = hit.marks
    assert hit.snippet[low:high] == "parcel"
    assert await summaries(store, "post") == [""]
    assert await summaries(store, "nothing") == ["billing"]


async def test_a_summary_that_was_overwritten_or_deleted_leaves_no_word(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await store.summaries.set(key, "zebra1")
    await store.summaries.set(key, "zebra2")
    assert await summaries(store, "zebra1") == []
    assert await summaries(store, "zebra2") == [""]
    assert "zebra1" not in str(await dump())

    await store.summaries.delete(key)

    assert await summaries(store, "zebra2") == []
    assert "zebra2" not in str(await dump())


async def test_a_summary_goes_from_the_index_with_an_event_that_it_tells_of(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await store.events.append(key, *(NewEvent(f"said {n}", id=f"e{n}") for n in range(1, 5)))
    for number in range(1, 5):
        await store.summaries.set(key, f"zebra{number}", f"f{number}", covers_seq=number)

    await store.events.redact(key, "e4", "withheld")
    await store.events.delete(key, ["e3"])

    assert sorted(await summaries(store, "zebra1 zebra2 zebra3 zebra4")) == ["f1", "f2"]
    kept = str((await dump())["search_blocks"])
    assert [f"zebra{n}" in kept for n in range(1, 5)] == [True, True, False, False]
    await store.events.clear(key)
    assert "zebra" not in str((await dump())["search_blocks"])


async def test_a_summary_of_a_line_that_was_left_is_hidden(store: Store, key: SessionKey) -> None:
    await store.events.append(key, "one", "two", "three")
    await store.summaries.set(key, "parcel", covers_seq=3)
    await store.summaries.set(key, "parcel before", "f", covers_seq=1)
    assert sorted(await summaries(store, "parcel")) == ["", "f"]

    await store.events.rewind(key, 1)

    assert await summaries(store, "parcel") == ["f"]
    left = next(line for line in await store.events.branches(key) if not line.current)
    await store.events.switch(key, left.name)
    assert sorted(await summaries(store, "parcel")) == ["", "f"]


async def test_a_summary_is_found_after_what_it_tells_of_was_pruned(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, "one", "two", "three")
    await store.summaries.set(key, "parcel", covers_seq=2)

    await store.events.prune(key, keep_last=1)

    assert await summaries(store, "parcel") == [""]


async def test_a_fork_has_its_summaries_found_too(store: Store, key: SessionKey) -> None:
    await store.events.append(key, "one", "two")
    await store.summaries.set(key, "parcel", covers_seq=1)
    await store.summaries.set(key, "parcel after", "f", covers_seq=2)

    fork = await store.sessions.fork(key, id="fork", at=1)

    hits = await store.search("support", "ada", "parcel", session=fork.key)
    assert [(hit.kind, hit.key) for hit in hits] == [("summaries", "")]


async def test_a_summary_that_is_made_is_found(store: Store, key: SessionKey) -> None:
    await store.events.append(key, "one")

    await store.summaries.summarize(key, summariser=lambda *_: "a parcel")

    assert await summaries(store, "parcel") == [""]


async def test_a_summary_goes_with_its_session_and_its_person(
    store: Store, key: SessionKey, clock: FixedClock, dump: Dump
) -> None:
    await store.summaries.set(key, "canary81")
    await store.sessions.delete(key)
    assert await summaries(store, "canary81") == []
    await store.sessions.restore(key)
    assert await summaries(store, "canary81") == [""]
    await store.sessions.delete(key)
    clock.advance(timedelta(days=60))
    await store.sweep()
    assert (await dump())["search_blocks"] == []

    again = (await store.sessions.create("support", "ada")).key
    await store.summaries.set(again, "canary82")
    await store.erase_user("support", "ada")
    assert "canary82" not in str(await dump())
