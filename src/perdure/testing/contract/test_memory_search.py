"""Finding memories by their words: ranked, of one owner, the same on every engine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import ALL, EmbedderError, InvalidError, Store
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, OpenStore, Reopen

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ADA = ("support", "ada")


async def found(store: Store, query: str, **how: Any) -> list[str]:
    return [hit.memory.content for hit in await store.memory.search(*ADA, query, **how)]


async def know(store: Store, *contents: str) -> None:
    for content in contents:
        await store.memory.add(*ADA, content)


async def test_the_memories_that_hold_the_words_are_found_best_first(
    store: Store, reopen: Reopen
) -> None:
    await know(
        store,
        "Drinks green tea in the morning.",
        "Works as a gardener in Bonn.",
        "Is allergic to peanuts.",
        "Has tea, and only tea, at work.",
    )
    store = await reopen()

    assert await found(store, "peanut allergies") == ["Is allergic to peanuts."]
    assert await found(store, "WORKING") == [
        "Works as a gardener in Bonn.", "Has tea, and only tea, at work.",
    ]  # fmt: skip
    assert (await found(store, "tea"))[0] == "Has tea, and only tea, at work."
    assert await found(store, "green tea", limit=1) == ["Drinks green tea in the morning."]
    assert await found(store, "coffee") == []


async def test_a_hit_has_its_memory_and_the_parts_of_its_score(store: Store) -> None:
    memory = await store.memory.add(*ADA, "Drinks green tea.")
    await know(store, "Drinks milk.", "Sleeps late.")

    [hit, other] = await store.memory.search(*ADA, "drinking tea")

    assert hit.memory == memory
    assert hit.score == pytest.approx(sum(hit.words.values()))
    assert set(hit.words) == {"drink", "tea"}
    assert set(other.words) == {"drink"}
    assert hit.words["tea"] > hit.words["drink"] > 0
    assert hit.score > other.score


async def test_the_topics_are_words_too(store: Store) -> None:
    tea = await store.memory.add(*ADA, "Likes it green.", ["tea"])
    await store.memory.add(*ADA, "Likes it green.", ["breakfast"])
    await store.memory.ingest(*ADA, [{"content": "Likes it green.", "topics": ["habits"]}])

    for word in ("tea", "breakfast", "habit"):
        assert await found(store, word) == ["Likes it green."]
    await store.memory.update(*ADA, tea.id, topics=["drinks"])
    assert await found(store, "tea breakfast") == []
    assert await found(store, "drink") == ["Likes it green."]


@pytest.mark.parametrize("query", ["", " \n", "%", "_", "*", '"', "!?", "' OR 1=1 --", "AND("])
async def test_nothing_in_a_query_is_a_wildcard_or_an_operator(store: Store, query: str) -> None:
    await know(store, "Likes tea.", "100% sure", "a_b")

    assert await found(store, query) == []


async def test_han_and_kana_are_found_without_spaces(store: Store) -> None:
    await know(store, "彼女は東京に住んでいます", "京都が好きです", "北京烤鸭很好吃")

    assert await found(store, "東京") == ["彼女は東京に住んでいます"]
    assert await found(store, "烤鸭") == ["北京烤鸭很好吃"]


async def test_a_search_is_of_one_owner_and_their_numbers(
    store: Store, open_store: OpenStore
) -> None:
    other = await open_store(tenant="acme")
    await know(store, "Likes tea.", "Likes cake.")
    [before] = await store.memory.search(*ADA, "tea")
    for n in range(20):
        await store.memory.add("support", "eve", f"tea {n}")
        await store.memory.add("support", "", f"tea {n}")
        await other.memory.add(*ADA, f"tea {n}")

    assert await store.memory.search(*ADA, "tea") == [before]
    assert len(await store.memory.search("support", "eve", "tea", limit=50)) == 20


async def test_a_changed_memory_is_found_by_what_it_says_now(store: Store, dump: Dump) -> None:
    memory = await store.memory.add(*ADA, "Likes oolong.")
    await store.memory.update(*ADA, memory.id, content="Likes sencha.")

    assert await found(store, "oolong") == []
    assert await found(store, "sencha") == ["Likes sencha."]
    assert "oolong" not in repr((await dump())["search_blocks"])


async def test_what_is_gone_leaves_no_word_in_the_index(
    open_store: OpenStore, clock: FixedClock, dump: Dump
) -> None:
    store = await open_store(memory_limit_per_user=4)
    clock.set(START)
    deleted = await store.memory.add(*ADA, "oolong deleted")
    await store.memory.add(*ADA, "oolong expired", expires_at=START + DAY)
    await store.memory.ingest(*ADA, ["oolong replaced", "oolong crowded"])
    await store.memory.replace_session(*ADA, "s", ["oolong replaced too"])
    await store.memory.replace_session(*ADA, "s", [])
    await store.memory.delete(*ADA, deleted.id)
    clock.set(START + 2 * DAY)
    await store.memory.cleanup()
    for n in range(4):
        await store.memory.add(*ADA, f"kept {n}")

    assert "oolong" not in repr((await dump())["search_blocks"])
    assert len(await found(store, "kept")) == 4
    await store.memory.clear(*ADA)
    assert (await dump())["search_blocks"] == []
    assert await found(store, "kept") == []


async def test_only_those_that_hold_and_are_asked_for_are_found(
    store: Store, clock: FixedClock
) -> None:
    clock.set(START)
    bonn = await store.memory.add(*ADA, "Lives in Bonn.", ["home"], session="s1", agent="a")
    paris = await store.memory.add(*ADA, "Lives in Paris.", ["home", "new"], session="s2")
    await store.memory.add(*ADA, "Lives well.", expires_at=START + DAY / 2)
    clock.set(START + DAY)
    await store.memory.supersede(*ADA, bonn.id, paris.id)

    assert await found(store, "lives") == ["Lives in Paris."]
    assert await found(store, "lives", as_of=START + DAY / 2) == ["Lives in Bonn."]
    assert set(await found(store, "lives", as_of=ALL)) == {"Lives in Paris.", "Lives in Bonn."}
    assert await found(store, "lives", as_of=ALL, topics=["new"]) == ["Lives in Paris."]
    assert await found(store, "lives", as_of=ALL, session="s1") == ["Lives in Bonn."]
    assert await found(store, "lives", as_of=ALL, agent="a") == ["Lives in Bonn."]


async def test_many_are_looked_through_for_the_few_that_are_asked_for(store: Store) -> None:
    for n in range(60):
        await store.memory.add(*ADA, f"tea number {n}", ["rare"] if n == 7 else [])

    assert await found(store, "tea", topics=["rare"]) == ["tea number 7"]
    assert len(await found(store, "tea", limit=45)) == 45
    # A search of many small blocks puts them together; it finds the same afterwards.
    assert await found(store, "tea number 31", limit=1) == ["tea number 31"]


async def test_a_search_that_puts_the_index_in_order_loses_nothing(
    store: Store, dump: Dump
) -> None:
    added = [await store.memory.add(*ADA, f"tea number {n}") for n in range(70)]
    first = await store.memory.search(*ADA, "tea", limit=100)
    blocks = len((await dump())["search_blocks"])
    second = await store.memory.search(*ADA, "tea", limit=100)
    await store.memory.delete(*ADA, added[5].id)
    await store.memory.update(*ADA, added[6].id, content="coffee")

    assert (len(first), blocks) == (70, 1)
    assert second == first
    assert len(await found(store, "tea", limit=100)) == 68
    assert await found(store, "coffee") == ["coffee"]


async def test_equal_ones_come_the_later_first(store: Store) -> None:
    for n in range(5):
        await store.memory.add(*ADA, "Likes tea.", author=f"a{n}")

    hits = await store.memory.search(*ADA, "tea")
    assert [hit.memory.author for hit in hits] == ["a4", "a3", "a2", "a1", "a0"]
    assert len({round(hit.score, 9) for hit in hits}) == 1


async def test_only_those_of_the_least_score_are_found(store: Store) -> None:
    await know(store, "tea", "tea and a lot of other things that are of no interest here")
    [best, worst] = await store.memory.search(*ADA, "tea")

    assert await found(store, "tea", min_score=best.score) == [best.memory.content]
    assert len(await found(store, "tea", min_score=worst.score)) == 2
    assert await found(store, "tea", min_score=best.score + 0.01) == []


async def test_memories_of_one_turn_and_of_a_session_are_found(store: Store) -> None:
    key = (await store.sessions.create(*ADA)).key
    async with store.turn() as turn:
        turn.memory.add(*ADA, "tea one")
        turn.memory.add(*ADA, "tea two")
        turn.events.append(key, "I have tea three.")
    await store.memory.remember(key)

    assert set(await found(store, "tea")) == {"tea one", "tea two", "I have tea three."}


async def test_a_model_searches(store: Store) -> None:
    await know(store, "Likes tea.", "Likes cake.")
    tools = store.memory.tools(*ADA)

    [hit] = (await tools.call("memory_search", {"query": "tea"}))["memories"]

    assert (hit["content"], hit["score"] > 0) == ("Likes tea.", True)
    assert "error" in await tools.call("memory_search", {"query": ""})


async def test_a_search_that_makes_no_sense_is_refused(store: Store) -> None:
    options: list[dict[str, Any]] = [
        {"query": 7}, {"limit": 0}, {"min_score": -1}, {"min_score": "x"},
        {"min_score": float("nan")}, {"topics": "a"}, {"as_of": 5},
    ]  # fmt: skip
    for wrong in options:
        with pytest.raises(InvalidError, match=next(iter(wrong))):
            await store.memory.search(**{"app": "a", "user": "u", "query": "tea", **wrong})


# -- by meaning --------------------------------------------------------------------------------


class Embedder:
    """Knows two meanings, and notes what it was asked."""

    model = "two"

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, texts: list[str]) -> list[list[float]]:
        self.asked += texts
        meanings = [{"car", "vehicle", "automobile"}, {"tea", "drink", "beverage"}]
        return [[float(len(m & set(text.lower().split()))) for m in meanings] for text in texts]


async def test_with_an_embedder_what_means_the_same_is_found_too(open_store: OpenStore) -> None:
    embedder = Embedder()
    store = await open_store(embedder=embedder)
    await know(store, "has an automobile", "likes tea", "likes a vehicle")

    [car, vehicle] = await store.memory.search(*ADA, "car")
    hits = await store.memory.search(*ADA, "vehicle")

    assert {car.memory.content, vehicle.memory.content} == {"has an automobile", "likes a vehicle"}
    assert car.words == {}
    assert car.meaning == pytest.approx(0.5)
    assert [hit.memory.content for hit in hits] == ["likes a vehicle", "has an automobile"]
    assert hits[0].score == pytest.approx(1.5)
    assert sum(hits[0].words.values()) == pytest.approx(1.0)
    assert hits[0].meaning == pytest.approx(0.5)
    assert await found(store, "car", meaning=0) == []
    assert embedder.asked.count("likes tea") == 1


async def test_a_changed_memory_means_what_it_says_now(open_store: OpenStore, dump: Dump) -> None:
    store = await open_store(embedder=Embedder())
    memory = await store.memory.add(*ADA, "has an automobile")
    assert await found(store, "car") == ["has an automobile"]
    await store.memory.update(*ADA, memory.id, content="drinks a beverage")

    assert await found(store, "car") == []
    assert await found(store, "tea") == ["drinks a beverage"]
    await store.memory.delete(*ADA, memory.id)
    assert (await dump())["search_vectors"] == []


async def test_what_changes_while_it_is_embedded_keeps_no_old_vector(
    open_store: OpenStore, store: Store, dump: Dump
) -> None:
    changed = await store.memory.add(*ADA, "has an automobile")
    deleted = await store.memory.add(*ADA, "has a vehicle")
    inner = Embedder()

    async def slow(texts: list[str]) -> list[list[float]]:
        if "has a vehicle" in texts:
            await store.memory.update(*ADA, changed.id, content="drinks tea")
            await store.memory.delete(*ADA, deleted.id)
        return await inner(texts)

    slow.model = "two"  # type: ignore[attr-defined]
    other = await open_store(embedder=slow)

    await other.memory.search(*ADA, "car")
    assert (await dump())["search_vectors"] == []
    assert await found(other, "car") == []
    assert await found(other, "beverage") == ["drinks tea"]


async def test_an_embedder_that_fails_is_an_error_or_a_search_by_words(
    open_store: OpenStore,
) -> None:
    def down(_: list[str]) -> list[list[float]]:
        raise OSError("down")

    store = await open_store(embedder=down)
    await know(store, "likes tea")

    with pytest.raises(EmbedderError, match="down"):
        await store.memory.search(*ADA, "tea")
    assert await found(store, "tea", on_embedder_error="words") == ["likes tea"]
    with pytest.raises(InvalidError, match="on_embedder_error"):
        await store.memory.search(*ADA, "tea", on_embedder_error="ignore")
    answer = await store.memory.tools(*ADA).call("memory_search", {"query": "tea"})
    assert len(answer["memories"]) == 1


async def test_a_search_over_everything_finds_memories_that_hold(
    store: Store, clock: FixedClock
) -> None:
    clock.set(START)
    bonn = await store.memory.add(*ADA, "Lives in Bonn.", timestamp=START - DAY)
    paris = await store.memory.add(*ADA, "Lives in Paris.", session="s1")
    clock.set(START + DAY)
    [first, second] = await store.search(*ADA, "lives", kinds=["memories"])
    await store.memory.supersede(*ADA, bonn.id, paris.id)

    assert {first.key, second.key} == {bonn.id, paris.id}
    assert {hit.kind for hit in (first, second)} == {"memories"}
    [hit] = await store.search(*ADA, "lives")
    assert (hit.key, hit.app, hit.user, hit.snippet) == (paris.id, *ADA, "Lives in Paris.")
    assert hit.session is not None
    assert hit.session.id == "s1"
    assert await store.search("support", "eve", "lives") == []
