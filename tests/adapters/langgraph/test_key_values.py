"""LangChain's own suite for stores of bytes and JSON, on every engine, called and awaited."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

_SUITE = "langchain_tests.integration_tests"
suite = pytest.importorskip(_SUITE, reason="needs langchain-tests: see .ci/adapters")

from langchain_core.embeddings import Embeddings
from langchain_core.stores import BaseStore

import perdure
from perdure import TooLargeError
from perdure.adapters.langgraph import PerdureKeyValueStore, PerdureStore

pytestmark = pytest.mark.filterwarnings("default")
THREE: list[tuple[Any, Any, Any]] = [
    (b"first", b"\xff\x00", b""),
    ("first", {"nested": [1, None]}, 3.5),
]
AWAITED = [name for name in dir(suite.BaseStoreAsyncTests) if name.startswith("test_")]


@pytest.fixture(params=THREE, ids=["bytes", "json"])
def three_values(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def kv_store(url: str) -> Iterator[PerdureKeyValueStore]:
    with PerdureKeyValueStore.from_conn_string(url) as one:
        yield one


class TestCalled(suite.BaseStoreSyncTests):  # type: ignore[misc, name-defined, unused-ignore]
    """The suite for what is called."""

    @pytest.fixture(params=THREE, ids=["bytes", "json"])
    def three_values(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    @pytest.fixture
    def kv_store(self, url: str) -> Iterator[Any]:
        with PerdureKeyValueStore.from_conn_string(url) as one:
            yield one


@pytest.mark.parametrize("name", [one for one in AWAITED if "override" not in one])
def test_the_suite_for_what_is_awaited(
    name: str, kv_store: PerdureKeyValueStore, three_values: Any
) -> None:
    test = getattr(suite.BaseStoreAsyncTests(), name)
    known = {"kv_store": kv_store, "three_values": three_values}
    wanted = {one: known[one] for one in inspect.signature(test).parameters}

    asyncio.run(test(**wanted))


def test_the_suite_has_what_it_had() -> None:
    assert len(AWAITED) >= 11


def test_keys_come_sorted_and_by_their_beginning(kv_store: PerdureKeyValueStore) -> None:
    assert isinstance(kv_store, BaseStore)
    kv_store.mset([("b%", b"1"), ("b1", b"2"), ("a", b"3"), ("a", b"4")])

    assert list(kv_store.yield_keys()) == ["a", "b%", "b1"]
    assert list(kv_store.yield_keys(prefix="b%")) == ["b%"]
    assert kv_store.mget(["a", "zzz", "a"]) == [b"4", None, b"4"]
    assert kv_store.mget([]) == []
    kv_store.mset([])
    kv_store.mdelete([])


def test_more_keys_than_one_call_of_the_store_takes() -> None:
    keys = [f"k{number:05}" for number in range(10_001)]
    with PerdureKeyValueStore.from_conn_string("memory:") as store:
        with pytest.raises(TooLargeError):
            store.store.kv.set_many("ns", dict.fromkeys(keys, 1))
        store.mset([(key, 1) for key in keys])

        assert store.mget(keys) == [1] * len(keys)
        assert list(store.yield_keys()) == keys
        store.mdelete(keys[1:])
        assert list(store.yield_keys()) == keys[:1]


def test_it_keeps_to_its_namespace_and_its_time(url: str) -> None:
    with perdure.open_sync(url) as base:
        one = PerdureKeyValueStore(base, namespace=("a",), ttl=timedelta(milliseconds=1))
        other = PerdureKeyValueStore(base, namespace=("a", "b"))
        one.mset([("k", b"1")])
        other.mset([("k", b"2")])

        assert list(other.yield_keys()) == ["k"]
        assert other.mget(["k"]) == [b"2"]
        while one.mget(["k"]) != [None]:
            pass
        assert list(one.yield_keys()) == []


class Counting(Embeddings):
    """Counts what it has embedded."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.texts += texts
        return [[float(len(text)), 1.0] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def test_an_embedder_of_langchain_ranks_items(url: str) -> None:
    with PerdureStore.from_conn_string(url, index={"dims": 2, "embed": Counting()}) as store:
        store.put(("ns",), "k", {"text": "x"})

        assert store.search(("ns",), query="x")[0].score is not None
