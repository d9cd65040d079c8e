"""What a search finds beside events and titles: summaries, and key-values that were indexed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    ALL,
    InvalidError,
    Namespace,
    NewEvent,
    SessionKey,
    Store,
    TooLargeError,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, OpenStore


async def found(store: Store, query: str, kind: str) -> list[str]:
    hits = await store.search("support", "ada", query, kinds=[kind])
    return [hit.key for hit in hits]


async def summaries(store: Store, query: str) -> list[str]:
    return await found(store, query, "summaries")


async def test_a_summary_is_found_by_its_text_and_its_topics(store: Store, key: SessionKey) -> None:
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


WHERE: dict[str, Any] = {"app": "support", "user": "ada"}
DOCS = ("docs", "de")


async def put(store: Store, key: str, title: str, **options: Any) -> None:
    await store.kv.set(DOCS, key, {"title": title}, **WHERE, index=["title"], **options)


async def documents(store: Store, query: str) -> list[str]:
    return await found(store, query, "documents")


async def test_a_key_value_is_found_by_the_texts_that_it_was_indexed_with(store: Store) -> None:
    value = {"title": "Late parcels", "secret": "zebra", "tags": ["post", "money back"]}
    kept = await store.kv.set(DOCS, "a", value, **WHERE, index=["title", "tags[*]"])
    await store.kv.set(DOCS, "b", value, **WHERE)

    [hit] = await store.search("support", "ada", "parcel")

    assert (hit.kind, hit.key, hit.namespace, hit.session) == ("documents", "a", DOCS, None)
    assert (hit.app, hit.user, hit.at) == ("support", "ada", kept.updated_at)
    assert [hit.snippet[low:high] for low, high in hit.marks] == ["parcels"]
    assert await documents(store, "money") == ["a"]
    assert await documents(store, "zebra") == []


async def test_a_key_value_that_was_overwritten_is_found_by_its_new_text_alone(
    store: Store, dump: Dump
) -> None:
    await put(store, "a", "zebra1")
    kept = await store.kv.get(DOCS, "a", **WHERE)
    await put(store, "a", "zebra2", expected_version=kept.version)
    assert await documents(store, "zebra1") == []
    assert await documents(store, "zebra2") == ["a"]

    await store.kv.set(DOCS, "a", {"title": "zebra3"}, **WHERE)

    assert await documents(store, "zebra1 zebra2 zebra3") == []
    tables = await dump()
    assert tables["search_blocks"] == []
    assert "zebra2" not in str(tables)
    await put(store, "a", "zebra3")
    await put(store, "a", "zebra3")
    assert await documents(store, "zebra3") == ["a"]


async def test_a_key_value_that_was_deleted_leaves_no_word(store: Store, dump: Dump) -> None:
    for number in range(4):
        await put(store, f"k{number}", f"zebra{number}")

    await store.kv.delete(DOCS, "k0", **WHERE)
    await store.kv.delete_many(DOCS, ["k1", "k2", "none"], **WHERE)

    assert await documents(store, "zebra0 zebra1 zebra2 zebra3") == ["k3"]
    kept = str(await dump())
    assert [f"zebra{number}" in kept for number in range(4)] == [False, False, False, True]


async def test_what_has_expired_is_not_found_and_a_sweep_leaves_no_word(
    store: Store, clock: FixedClock, dump: Dump
) -> None:
    brief = timedelta(minutes=1)
    for number in range(4):
        await put(store, f"k{number}", f"zebra{number}", ttl=brief)
    await put(store, "long", "zebra", ttl=2 * brief)
    clock.advance(brief)

    assert await documents(store, "zebra zebra0 zebra1") == ["long"]
    assert [h.item.key for h in await store.kv.search("zebra zebra0", **WHERE)] == ["long"]
    await put(store, "k0", "lion0")
    assert await store.kv.add(DOCS, "k1", {"title": "lion1"}, **WHERE, index=["title"])
    await store.kv.set_many(DOCS, {"k2": {"title": "lion2"}}, **WHERE, index=["title"])
    assert sorted(await documents(store, "lion0 lion1 lion2")) == ["k0", "k1", "k2"]
    left = str((await dump())["search_blocks"])
    assert [f"zebra{number}" in left for number in range(4)] == [False, False, False, True]
    assert await store.kv.cleanup() == 1
    assert "zebra3" not in str(await dump())
    clock.advance(brief)
    await store.sweep()
    assert "zebra" not in str(await dump())


async def test_several_that_are_set_at_once_are_found_and_forgotten_at_once(
    store: Store, dump: Dump
) -> None:
    values = {f"k{number}": {"title": f"zebra{number}"} for number in range(300)}
    await put(store, "k7", "before")
    await store.kv.set_many(DOCS, values, **WHERE, index=["title"])
    assert await documents(store, "zebra7 before") == ["k7"]
    assert await documents(store, "zebra299") == ["k299"]

    await store.kv.set_many(DOCS, dict.fromkeys(list(values)[:299], 1), **WHERE)

    assert await documents(store, "zebra7 zebra8") == []
    assert await documents(store, "zebra299") == ["k299"]
    assert sum(row[7] for row in (await dump())["search_blocks"]) == 1


async def test_documents_of_an_app_are_nobodys_and_found_by_the_app(store: Store) -> None:
    await store.kv.set("help", "late", "parcels that are late", app="support", index=["$"])
    await put(store, "mine", "my parcel")
    await store.kv.set("help", "other", "parcel", app="sales", index=["$"])

    assert await documents(store, "parcel") == ["mine"]
    hits = await store.search("support", ALL, "parcel")
    assert sorted((hit.user, hit.key) for hit in hits) == [("", "late"), ("ada", "mine")]
    [hit] = await store.kv.search("late parcel", app="support")
    assert hit.item.key == "late"


async def test_nothing_is_left_of_the_documents_of_who_is_erased(store: Store, dump: Dump) -> None:
    await put(store, "a", "canary81")

    await store.erase_user("support", "ada")

    assert "canary81" not in str(await dump())
    assert await documents(store, "canary81") == []


async def test_a_search_of_key_values_gives_them_with_scores_best_first(store: Store) -> None:
    await put(store, "both", "late parcel")
    await put(store, "one", "parcel")
    await put(store, "none", "invoice")

    hits = await store.kv.search("late parcels", **WHERE)

    assert [hit.item.key for hit in hits] == ["both", "one"]
    assert hits[0].score > hits[1].score > 0
    assert hits[0].item == await store.kv.get(DOCS, "both", **WHERE)
    assert [hits[0].snippet[low:high] for low, high in hits[0].marks] == ["late", "parcel"]
    assert len(await store.kv.search("late parcels", **WHERE, limit=1)) == 1
    assert await store.kv.search("?!", **WHERE) == []


async def test_a_search_of_key_values_stays_in_its_namespace_and_heeds_its_filter(
    store: Store,
) -> None:
    for namespace in (("docs",), ("docs", "de"), ("docsx",), "docs"):
        for number in (1, 2):
            value = {"title": "parcel", "page": number}
            key = f"{namespace}{number}"
            await store.kv.set(namespace, key, value, **WHERE, index=["title"])

    async def keys(namespace: Namespace, **options: Any) -> set[str]:
        hits = await store.kv.search("parcel", **WHERE, namespace=namespace, limit=20, **options)
        return {hit.item.key for hit in hits}

    assert len(await keys(())) == 8
    assert await keys(("docs",)) == {
        "('docs',)1", "('docs',)2", "('docs', 'de')1", "('docs', 'de')2",
    }  # fmt: skip
    assert await keys("docs") == {"docs1", "docs2"}
    assert await keys(("docs",), filter={"page": {"$gt": 1}}) == {"('docs',)2", "('docs', 'de')2"}


async def test_a_document_that_is_set_in_a_turn_is_found_after_it(store: Store) -> None:
    async with store.turn() as turn:
        turn.kv.set(DOCS, "a", "parcel", **WHERE, index=["$"])
        turn.kv.set(DOCS, "b", "parcel", **WHERE, index=["$"])
        turn.kv.delete(DOCS, "b", **WHERE)

    assert await documents(store, "parcel") == ["a"]


async def test_an_index_of_many_documents_stays_whole(store: Store, dump: Dump) -> None:
    for number in range(70):
        await put(store, f"k{number}", f"parcel {number}")

    assert len(await store.kv.search("parcel", **WHERE, limit=100)) == 70
    assert len((await dump())["search_blocks"]) < 10
    for number in range(69):
        await store.kv.delete(DOCS, f"k{number}", **WHERE)
    assert await documents(store, "parcel") == ["k69"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"query": 5}, InvalidError),
        ({"query": "x" * 16_385}, TooLargeError),
        ({"limit": 0}, InvalidError),
        ({"namespace": 5}, InvalidError),
        ({"filter": {"a": {"$near": 1}}}, InvalidError),
    ],
)
async def test_what_cannot_be_asked_of_key_values_is_said(
    store: Store, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await store.kv.search(**{"query": "x"} | options)


async def test_documents_and_summaries_are_found_by_their_meaning_as_it_is_now(
    open_store: OpenStore,
) -> None:
    def embedder(texts: list[str]) -> list[list[float]]:
        return [[float("parcel" in text or "package" in text), 0.01] for text in texts]

    store = await open_store(embedder=embedder)
    key = (await store.sessions.create("support", "ada")).key
    await put(store, "a", "a package")
    await store.summaries.set(key, "one package")
    hits = await store.search("support", "ada", "parcel")
    assert {hit.kind for hit in hits if hit.parts["meaning"] > 0.9 * 0.5} == {
        "documents", "summaries",
    }  # fmt: skip

    await put(store, "a", "an invoice")
    await store.summaries.set(key, "one invoice")

    hits = await store.search("support", "ada", "parcel")
    assert not [hit for hit in hits if hit.parts["meaning"] > 0.9 * 0.5]
