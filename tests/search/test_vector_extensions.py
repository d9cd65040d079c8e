"""Vectors are compared by the database where it can: the same hits as where it cannot."""

from __future__ import annotations

import random
import sys
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import perdure
from perdure import MemoryHit, SyncStore
from perdure.engines.sqlite_connection import vector_library
from perdure.features import meaning
from perdure.features.indexing import SEARCH
from perdure.operation import Plan, Statement
from tests.engines.plans import engine_of, operation
from tests.postgres.servers import drop_database, fetch, fresh_database, server
from tests.postgres.vectors import stand_in_for_pgvector

_DIMENSION = 24


class Embedder:
    """Vectors that look random and are the same for the same text; of zeros for ``nothing``."""

    model = "dice"

    def __init__(self, dimension: int = _DIMENSION) -> None:
        self._dimension = dimension

    def __call__(self, texts: list[str]) -> list[list[float]]:
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        if text == "nothing":
            return [0.0] * self._dimension
        rnd = random.Random(text)
        return [rnd.gauss(0, 1) for _ in range(self._dimension)]


def hits(url: str) -> list[Sequence[MemoryHit]]:
    with perdure.open_sync(url, embedder=Embedder(7)) as store:
        store.memory.add("shop", "ada", "of another dimension")
        store.memory.search("shop", "ada", "first")
    with perdure.open_sync(url, embedder=Embedder()) as store:
        for number in range(120):
            store.memory.add("shop", "ada", f"memory {number}")
        store.memory.add("shop", "ada", "nothing")
        queries = [f"query {number}" for number in range(20)]
        return [store.memory.search("shop", "ada", query, limit=20) for query in queries]


def alike(found: Sequence[Sequence[MemoryHit]], wanted: Sequence[Sequence[MemoryHit]]) -> bool:
    """The same memories in the same order, with scores that differ by rounding alone."""
    return [[hit.memory.content for hit in one] for one in found] == [
        [hit.memory.content for hit in one] for one in wanted
    ] and all(
        hit.score == pytest.approx(other.score, abs=1e-5)
        for one, two in zip(found, wanted, strict=True)
        for hit, other in zip(one, two, strict=True)
    )


@pytest.fixture(autouse=True)
def _looked_for_again() -> Iterator[None]:
    """Whether sqlite-vec is there is asked once in a process; here it comes and goes."""
    vector_library.cache_clear()
    yield
    vector_library.cache_clear()


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[MemoryHit]]:
    """What a store finds that has neither extension nor numpy."""
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "sqlite_vec", None)
        patched.setitem(sys.modules, "numpy", None)
        with perdure.open_sync("memory:") as store:
            assert not compares(store)
        found = hits("memory:")
    vector_library.cache_clear()
    return found


def compares(store: SyncStore) -> bool:
    def plan() -> Plan[bool]:
        return bool((yield SEARCH.compares()))

    return bool(engine_of(store).run(operation(plan, reads=True)))


def test_sqlite_vec_finds_what_an_exact_scan_finds(
    exact: list[Sequence[MemoryHit]], tmp_path: Path
) -> None:
    pytest.importorskip("sqlite_vec", reason="sqlite-vec is not installed")
    url = f"sqlite:///{tmp_path}/store.db"
    with perdure.open_sync(url) as store:
        assert compares(store)

    assert alike(hits(url), exact)


def test_numpy_finds_what_python_finds(
    exact: list[Sequence[MemoryHit]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numpy", reason="numpy is not installed")
    monkeypatch.setitem(sys.modules, "sqlite_vec", None)

    assert alike(hits("memory:"), exact)


@pytest.fixture
def url() -> Iterator[str]:
    url = fresh_database(server())
    yield url
    drop_database(url)


def test_postgresql_without_an_extension_finds_what_sqlite_finds(
    exact: list[Sequence[MemoryHit]], url: str
) -> None:
    assert alike(hits(url), exact)


def test_pgvector_finds_what_an_exact_scan_finds(
    exact: list[Sequence[MemoryHit]], url: str
) -> None:
    if fetch(url, "SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"):
        fetch(url, "CREATE EXTENSION vector")
    else:  # what it has of the same names, so that the statement at least is run
        stand_in_for_pgvector(url)
    with perdure.open_sync(url) as store:
        assert compares(store)

    assert alike(hits(url), exact)


def test_a_type_of_that_name_that_is_not_of_pgvector_is_left_alone(
    exact: list[Sequence[MemoryHit]], url: str
) -> None:
    fetch(url, "CREATE DOMAIN vector AS TEXT")

    assert alike(hits(url), exact)


def test_where_the_database_compares_no_vector_is_read() -> None:
    owner = meaning.Owner("part", ("memories",), None, 0)
    plan = meaning.near(owner, "dice", array("f", [1, 0]))

    assert next(plan) == SEARCH.compares()
    asked = plan.send([(1,)])
    with pytest.raises(StopIteration) as ended:
        plan.send([("", "memories", "m1", 0.5), ("", "memories", "m2", None)])

    assert isinstance(asked, Statement)
    assert asked.query is SEARCH.compared
    assert ended.value.value == {("", "memories", "m1"): 0.5, ("", "memories", "m2"): 0.0}


def test_a_file_of_sqlite_vec_that_does_not_load_is_as_none(
    exact: list[Sequence[MemoryHit]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "sqlite_vec"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "vec0.so").write_text("no library")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert alike(hits("memory:"), exact)
