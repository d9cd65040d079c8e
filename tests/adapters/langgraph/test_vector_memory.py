"""How much memory a search by meaning takes."""

from __future__ import annotations

import tracemalloc

import pytest

pytest.importorskip("langgraph.store.base", reason="needs langgraph: see .ci/adapters")

from langgraph.store.base import PutOp

from perdure.adapters.langgraph import PerdureStore
from tests.adapters.langgraph.keeping import keys

pytestmark = pytest.mark.filterwarnings("default")
DIMS, ITEMS = 300, 5_000
VECTORS = DIMS * ITEMS * 4


def embed(texts: list[str]) -> list[list[float]]:
    return [[float(int(text) >> place % 13 & 1) for place in range(DIMS)] for text in texts]


def test_a_search_holds_a_page_of_vectors_and_not_all_that_it_compares() -> None:
    index = {"embed": embed, "fields": ["n"]}
    with PerdureStore.from_conn_string("memory:", index=index) as store:
        store.batch([PutOp(("ns",), f"{n}", {"n": f"{n}"}) for n in range(ITEMS)])
        query = {"query": "4095", "limit": 1}
        assert keys(store.search(("ns",), **query)) == ["4095"]

        tracemalloc.start()
        found = store.search(("ns",), **query)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert keys(found) == ["4095"]
    # All of them would be there several times over: as they are stored, joined, and as numbers.
    assert most < 3 * VECTORS
