"""A search on PostgreSQL finds the same as on SQLite, in the same order, with the same scores."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

import perdure
from perdure import NewEvent, SyncStore
from tests.effort import effort
from tests.postgres.servers import drop_database, fresh_database, server

_SYLLABLES = [
    "ka",
    "li",
    "mo",
    "nu",
    "re",
    "shi",
    "to",
    "東京",
    "都",
    "Straße",
    "🎉",
    "-",
    "_",
    "'s",
]
_QUERIES = effort(300, 1_000)


def texts(rnd: random.Random, count: int) -> list[str]:
    words = ["".join(rnd.choices(_SYLLABLES, k=rnd.randint(1, 3))) for _ in range(60)]
    weights = [1 / (n + 1) for n in range(60)]
    return [" ".join(rnd.choices(words, weights, k=rnd.randint(1, 20))) for _ in range(count)]


def fill(store: SyncStore) -> None:
    rnd = random.Random(4)
    for user in ("ada", "bob"):
        for number in range(12):
            title = texts(rnd, 1)[0]
            key = store.sessions.create("shop", user, f"s{number}", title=title).key
            for start in range(0, 40, 8):
                said = texts(rnd, 8)
                events = [NewEvent(text, id=f"{number}.{start}.{n}") for n, text in enumerate(said)]
                store.events.append(key, *events)
                store.search("shop", user, said[0])


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[SyncStore, SyncStore]]:
    url = fresh_database(server())
    with perdure.open_sync("memory:") as sqlite, perdure.open_sync(url) as postgres:
        fill(sqlite)
        fill(postgres)
        yield sqlite, postgres
    drop_database(url)


def test_all_queries_have_the_same_answers(both: tuple[SyncStore, SyncStore]) -> None:
    sqlite, postgres = both
    queries = texts(random.Random(5), _QUERIES)

    answered = 0
    for query in queries:
        one, two = (
            [(hit.kind, hit.key, hit.score) for hit in store.search("shop", "ada", query)]
            for store in (sqlite, postgres)
        )
        assert one == two, query
        answered += bool(one)

    assert answered > _QUERIES * 9 // 10
