"""Search with an embedder: by meaning and by words, and what becomes of the vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from perdure import EmbedderError, InvalidError, NewEvent, SessionKey, Store
from perdure.tables import TABLES
from perdure.testing.databases import Dump, OpenStore

_MEANINGS = [
    {"car", "vehicle", "automobile"},
    {"cheap", "price", "cost", "money"},
    {"weather", "rain", "sun"},
]


class Embedder:
    """Knows three meanings, and notes what it was asked."""

    def __init__(self, model: str = "three") -> None:
        self.model = model
        self.asked: list[str] = []

    def __call__(self, texts: list[str]) -> list[list[float]]:
        self.asked += texts
        return [
            [float(len(meaning & set(text.lower().split()))) for meaning in _MEANINGS]
            for text in texts
        ]


async def talk(store: Store, key: SessionKey) -> None:
    for event_id, text in {
        "car": "my new automobile",
        "rain": "rain all day",
        "cost": "what does it cost",
    }.items():
        await store.events.append(key, NewEvent(text, id=event_id))


async def found(store: Store, query: str, **options: Any) -> list[str]:
    return [hit.key for hit in await store.search("support", "ada", query, **options)]


async def test_what_means_the_same_is_found_without_a_common_word(
    key: SessionKey, open_store: OpenStore
) -> None:
    store = await open_store(embedder=Embedder())
    await talk(store, key)

    [first, *_] = await store.search("support", "ada", "vehicle")

    assert first.key == "car"
    assert first.parts == {"words": 0.0, "near": 0.0, "meaning": pytest.approx(0.5)}
    assert first.score == pytest.approx(0.5)


async def test_words_and_meaning_add_up_by_the_weight(
    key: SessionKey, open_store: OpenStore
) -> None:
    store = await open_store(embedder=Embedder())
    await talk(store, key)

    [first, *_] = await store.search("support", "ada", "automobile", meaning=0.25)

    assert first.key == "car"
    assert first.parts["words"] + first.parts["near"] == pytest.approx(1.0)
    assert first.parts["meaning"] == pytest.approx(0.25)
    assert first.score == pytest.approx(1.25)


async def test_an_async_embedder_is_awaited(key: SessionKey, open_store: OpenStore) -> None:
    inner = Embedder()

    async def embed(texts: list[str]) -> Sequence[Sequence[float]]:
        return inner(texts)

    store = await open_store(embedder=embed)
    await talk(store, key)

    assert (await found(store, "vehicle"))[0] == "car"


async def test_a_text_is_embedded_once(key: SessionKey, open_store: OpenStore) -> None:
    embedder = Embedder()
    store = await open_store(embedder=embedder)
    await talk(store, key)
    await found(store, "vehicle")
    assert sorted(embedder.asked) == sorted(
        ["my new automobile", "rain all day", "what does it cost", "vehicle"]
    )

    embedder.asked.clear()
    await store.events.append(key, "sun again")
    await found(store, "weather")
    assert embedder.asked == ["sun again", "weather"]


async def test_another_model_makes_its_own_vectors(
    key: SessionKey, open_store: OpenStore, dump: Dump
) -> None:
    await talk(await open_store(embedder=Embedder()), key)
    await found(await open_store(embedder=Embedder("a")), "car")
    other = Embedder("b")

    assert (await found(await open_store(embedder=other), "vehicle"))[0] == "car"
    assert len(other.asked) == 4
    assert {row[5] for row in (await dump())["search_vectors"]} == {"b"}


async def test_a_weight_of_zero_asks_no_embedder(key: SessionKey, open_store: OpenStore) -> None:
    embedder = Embedder()
    store = await open_store(embedder=embedder)
    await talk(store, key)

    assert await found(store, "vehicle", meaning=0) == []
    assert await found(store, "automobile", meaning=0) == ["car"]
    assert embedder.asked == []


async def test_a_vector_goes_with_its_text(
    key: SessionKey, open_store: OpenStore, dump: Dump
) -> None:
    embedder = Embedder()
    store = await open_store(embedder=embedder)
    await talk(store, key)
    await found(store, "vehicle")

    await store.events.redact(key, "car", "withheld")
    assert len((await dump())["search_vectors"]) == 2
    await store.events.delete(key, ["rain"])
    assert len((await dump())["search_vectors"]) == 1
    await found(store, "vehicle")
    assert len((await dump())["search_vectors"]) == 2
    await store.events.clear(key)
    assert (await dump())["search_vectors"] == []
    await talk(store, key)
    await found(store, "vehicle")
    await store.erase_user("support", "ada")
    assert (await dump())["search_vectors"] == []


async def test_a_failing_embedder_is_told_or_done_without(
    key: SessionKey, open_store: OpenStore
) -> None:
    def fail(texts: list[str]) -> list[list[float]]:
        raise ConnectionError(f"no model for {len(texts)}")

    store = await open_store(embedder=fail)
    await talk(store, key)

    with pytest.raises(EmbedderError, match="no model") as raised:
        await found(store, "automobile")
    assert isinstance(raised.value.__cause__, ConnectionError)
    assert await found(store, "automobile", on_embedder_error="words") == ["car"]


@pytest.mark.parametrize(
    "given",
    [None, [], [[1.0]], [[1.0], [1.0], [1, 2]], [[]] * 3, [["x"]] * 3, [[float("nan")]] * 3],
    ids=["none", "empty", "few", "uneven", "sizeless", "text", "nan"],
)  # fmt: skip
async def test_what_is_no_vector_is_refused(
    key: SessionKey, open_store: OpenStore, given: Any
) -> None:
    store = await open_store(embedder=lambda _: given)
    await talk(store, key)

    with pytest.raises(EmbedderError):
        await found(store, "automobile")


@pytest.mark.parametrize("options", [{"meaning": -1}, {"meaning": "x"}, {"on_embedder_error": "x"}])
async def test_what_cannot_be_asked_is_said(store: Store, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        await found(store, "x", **options)


async def test_what_was_pruned_while_it_was_embedded_gets_no_vector(
    key: SessionKey, open_store: OpenStore, dump: Dump
) -> None:
    class Slow(Embedder):
        async def __call__(self, texts: list[str]) -> list[list[float]]:  # type: ignore[override]
            # A prune leaves no trace in the session's version, nor in its rewrites.
            await store.events.prune(key, keep_last=1)
            return super().__call__(texts)

    store = await open_store(embedder=Slow())
    await talk(store, key)

    await store.search("support", "ada", "vehicle")

    columns = next(table.columns for table in TABLES if table.name == "search_vectors")
    kept = [dict(zip(columns, row, strict=True)) for row in (await dump())["search_vectors"]]
    assert [(row["kind"], row["doc"]) for row in kept] == [("events", f"{3:019d}")]
