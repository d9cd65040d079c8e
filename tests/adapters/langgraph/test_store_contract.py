"""What LangGraph's own stores do, restated: on every engine, called and awaited."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import pytest

pytest.importorskip("langgraph.store.base", reason="needs langgraph: see .ci/adapters")

from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchItem,
    SearchOp,
)

from perdure.adapters.langgraph import PerdureStore
from tests.adapters.langgraph.keeping import COLOURS, Called, Letters, keys, namespaces

pytestmark = pytest.mark.filterwarnings("default")

Make = Callable[..., Called]


@pytest.fixture(params=COLOURS)
def make(url: str, request: pytest.FixtureRequest) -> Iterator[Make]:
    made: list[Called] = []

    def one(**options: Any) -> Called:
        # The second one is over the same store: it can be of another index.
        source: Any = made[0].store.store if made else None
        store = (
            PerdureStore(source, **options)
            if made
            else PerdureStore.from_conn_string(url, **options)
        )
        made.append(Called(store, request.param))
        return made[-1]

    yield one
    for called in made:
        called.close()
    if made:
        made[0].store.close()


@pytest.fixture
def store(make: Make) -> Called:
    return make()


# -- items ---------------------------------------------------------------------------------------


def test_an_item_comes_back_with_its_times(store: Called) -> None:
    value = {"title": "Test", "nested": {"list": [1, 2.5, None, True]}, "empty": {}}
    store.put(("user", "docs"), "one", value)

    found = store.get(("user", "docs"), "one")

    assert isinstance(found, Item)
    assert (found.namespace, found.key, found.value) == (("user", "docs"), "one", value)
    assert found.created_at == found.updated_at
    assert found.created_at.tzinfo is not None
    assert store.get(("user", "docs"), "two") is None
    assert store.get(("user", "other"), "one") is None
    assert store.get(("user",), "one") is None


def test_an_update_keeps_the_time_of_creation(store: Called) -> None:
    store.put(("ns",), "k", {"v": 1})
    first = store.get(("ns",), "k")
    store.put(("ns",), "k", {"v": 2})

    second = store.get(("ns",), "k")

    assert second.value == {"v": 2}
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at


def test_a_deleted_item_is_gone_and_deleting_nothing_is_no_error(store: Called) -> None:
    store.put(("ns",), "k", {"v": 1})
    store.delete(("ns",), "k")
    store.delete(("ns",), "k")

    assert store.get(("ns",), "k") is None
    assert store.search(("ns",)) == []
    assert store.list_namespaces() == []


@pytest.mark.parametrize("value", [MappingProxyType({"v": 1}), {"v": 1}])
def test_any_mapping_is_a_value(store: Called, value: Any) -> None:
    store.put(("ns",), "k", value)

    assert store.get(("ns",), "k").value == {"v": 1}


def test_keys_may_be_anything_and_are_texts(store: Called) -> None:
    for key in ["a.b", "ü/ü", "sp ace", "quo'te\"", "%_*?[", "line\nbreak"]:
        store.put(("ns",), key, {"key": key})
    store.put(("ns",), 7, {"key": 7})

    assert store.get(("ns",), "7").value == {"key": 7}
    for key in ["a.b", "ü/ü", "sp ace", "quo'te\"", "%_*?[", "line\nbreak"]:
        assert store.get(("ns",), key).value == {"key": key}


# -- namespaces that are none --------------------------------------------------------------------

INVALID: list[Any] = [("foo.bar",), ("foo\x00",), ("foo", ""), (123,)]
METHODS = ["get", "delete", "search", "prefix", "suffix", "put"]


@pytest.mark.parametrize("method", METHODS)
def test_methods_refuse_invalid_labels(store: Called, method: str) -> None:
    calls: dict[str, Callable[[Any], Any]] = {
        "get": lambda namespace: store.get(namespace, "key"),
        "delete": lambda namespace: store.delete(namespace, "key"),
        "search": store.search,
        "prefix": lambda namespace: store.list_namespaces(prefix=namespace),
        "suffix": lambda namespace: store.list_namespaces(suffix=namespace),
        "put": lambda namespace: store.put(namespace, "key", {}),
    }

    for namespace in INVALID:
        with pytest.raises(InvalidNamespaceError):
            calls[method](namespace)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_with_invalid_labels_does_nothing(store: Called, method: str) -> None:
    ops: dict[str, Callable[[Any], Any]] = {
        "get": lambda namespace: GetOp(namespace, "key"),
        "put": lambda namespace: PutOp(namespace, "key", {"changed": True}),
        "delete": lambda namespace: PutOp(namespace, "key", None),
        "search": SearchOp,
        "prefix": lambda namespace: ListNamespacesOp((MatchCondition("prefix", namespace),)),
        "suffix": lambda namespace: ListNamespacesOp((MatchCondition("suffix", namespace),)),
    }
    store.put(("foo", "bar"), "key", {"original": True})

    for namespace in INVALID:
        with pytest.raises(InvalidNamespaceError):
            store.batch([PutOp(("valid",), "key", {}), ops[method](namespace)])

    assert store.get(("foo", "bar"), "key").value == {"original": True}
    assert store.get(("valid",), "key") is None


@pytest.mark.parametrize("namespace", [(), ("langgraph", "foo"), ("the", "thing.about")])
def test_nothing_is_put_at_the_top_or_below_what_is_langgraphs(
    store: Called, namespace: Any
) -> None:
    with pytest.raises(InvalidNamespaceError):
        store.put(namespace, "key", {"v": 1})

    assert store.search(()) == []


def test_a_batch_may_put_what_put_refuses(store: Called) -> None:
    store.batch([PutOp(("langgraph", "foo"), "bar", {"foo": "bar"})])

    assert store.get(("langgraph", "foo"), "bar").value == {"foo": "bar"}
    assert keys(store.search(("langgraph", "foo"))) == ["bar"]
    store.delete(("langgraph", "foo"), "bar")
    assert store.get(("langgraph", "foo"), "bar") is None


# -- batches -------------------------------------------------------------------------------------


def test_the_results_of_a_batch_are_in_its_order(store: Called) -> None:
    store.put(("test", "foo"), "key1", {"data": "value1"})
    store.put(("test", "bar"), "key2", {"data": "value2"})

    one, put, search, spaces, none = store.batch(
        [
            GetOp(("test", "foo"), "key1"),
            PutOp(("test", "bar"), "key2", {"data": "value2"}),
            SearchOp(("test",), filter={"data": "value1"}, limit=10),
            ListNamespacesOp(limit=10),
            GetOp(("test",), "key3"),
        ]
    )

    assert (one.key, one.value) == ("key1", {"data": "value1"})
    assert put is None
    assert keys(search) == ["key1"]
    assert isinstance(search[0], SearchItem)
    assert set(spaces) == {("test", "foo"), ("test", "bar")}
    assert none is None


def test_in_a_batch_reads_see_what_was_there_before_it(store: Called) -> None:
    store.put(("ns",), "k", {"v": "old"})

    _, found, searched = store.batch(
        [PutOp(("ns",), "k", {"v": "new"}), GetOp(("ns",), "k"), SearchOp(("ns",))]
    )

    assert (found.value, searched[0].value) == ({"v": "old"}, {"v": "old"})
    assert store.get(("ns",), "k").value == {"v": "new"}


def test_in_order_a_read_sees_the_puts_before_it(make: Make) -> None:
    store = make(in_order=True)

    first, _, second, _, third = store.batch(
        [
            GetOp(("ns",), "k"),
            PutOp(("ns",), "k", {"v": 1}),
            GetOp(("ns",), "k"),
            PutOp(("ns",), "k", None),
            GetOp(("ns",), "k"),
        ]
    )

    assert (first, second.value, third) == (None, {"v": 1}, None)


def test_of_several_puts_of_a_key_the_last_one_counts(store: Called) -> None:
    results = store.batch(
        [
            PutOp(("ns",), "a", {"v": 1}),
            PutOp(("ns",), "a", {"v": 2}),
            PutOp(("ns",), "b", {"v": 1}),
            PutOp(("ns",), "b", None),
            PutOp(("ns",), "c", None),
            PutOp(("ns",), "c", {"v": 3}),
        ]
    )

    assert results == [None] * 6
    assert store.get(("ns",), "a").value == {"v": 2}
    assert store.get(("ns",), "b") is None
    assert store.get(("ns",), "c").value == {"v": 3}


def test_a_batch_of_gets_finds_what_is_there(store: Called) -> None:
    for number in range(30):
        store.put(("ns", str(number % 3)), f"k{number}", {"n": number})

    found = store.batch([GetOp(("ns", str(number % 3)), f"k{number}") for number in range(31)])

    assert [one and one.value["n"] for one in found] == [*range(30), None]


def test_the_puts_of_a_batch_are_stored_together_or_not_at_all(store: Called) -> None:
    with pytest.raises(ValueError, match="no such number"):
        store.batch([PutOp(("ns",), "a", {"v": 1}), PutOp(("ns",), "b", {"v": float("nan")})])

    assert store.search(()) == []


@pytest.mark.parametrize("ops", [[], [object()]])
def test_an_empty_batch_does_nothing_and_what_is_no_operation_is_refused(
    store: Called, ops: Any
) -> None:
    if not ops:
        assert store.batch(ops) == []
        return
    with pytest.raises(ValueError, match="operation"):
        store.batch(ops)


def test_a_batch_lists_namespaces_by_conditions(store: Called) -> None:
    spaces = [
        ("test", "documents", "public"),
        ("test", "documents", "private"),
        ("test", "images", "public"),
        ("prod", "documents", "public"),
    ]
    for space in spaces:
        store.put(space, "doc", {"v": 1})

    every, cut, public = store.batch(
        [
            ListNamespacesOp(limit=10),
            ListNamespacesOp(max_depth=2, limit=10),
            ListNamespacesOp((MatchCondition("suffix", ("public",)),), limit=10),
        ]
    )

    assert every == sorted(spaces)
    assert cut == [("prod", "documents"), ("test", "documents"), ("test", "images")]
    assert public == sorted(one for one in spaces if one[-1] == "public")


# -- lists of namespaces -------------------------------------------------------------------------

SPACES = [
    ("a", "b", "c"),
    ("a", "b", "d", "e"),
    ("a", "b", "d", "i"),
    ("a", "b", "f"),
    ("a", "c", "f"),
    ("admin", "users", "789"),
    ("b", "a", "f"),
    ("users", "123"),
    ("users", "456", "settings"),
]


LISTS: list[tuple[Any, Any]] = [
    ({}, SPACES),
    ({"prefix": ("a", "b")}, SPACES[:4]),
    ({"suffix": ("f",)}, [SPACES[3], SPACES[4], SPACES[6]]),
    ({"prefix": ("a",), "suffix": ("f",)}, SPACES[3:5]),
    ({"prefix": ("a", "b"), "max_depth": 3}, [("a", "b", "c"), ("a", "b", "d"), SPACES[3]]),
    ({"max_depth": 1}, [("a",), ("admin",), ("b",), ("users",)]),
    ({"max_depth": 9}, SPACES),
    ({"prefix": ("a", "b"), "limit": 2}, SPACES[:2]),
    ({"prefix": ("a", "b"), "offset": 2}, SPACES[2:4]),
    ({"prefix": ("a", "b"), "limit": 1, "offset": 1}, SPACES[1:2]),
    ({"max_depth": 1, "limit": 2, "offset": 1}, [("admin",), ("b",)]),
    ({"limit": 0}, []),
    ({"offset": 99}, []),
    ({"prefix": ("a", "*", "f")}, SPACES[3:5]),
    ({"prefix": ("*", "*", "f")}, [SPACES[3], SPACES[4], SPACES[6]]),
    ({"suffix": ("*", "f")}, [SPACES[3], SPACES[4], SPACES[6]]),
    ({"suffix": ("users", "*")}, [("admin", "users", "789"), ("users", "123")]),
    ({"prefix": ("users", "*")}, SPACES[7:]),
    ({"prefix": ("*", "users"), "suffix": ("*", "settings")}, []),
    ({"prefix": ("nonexistent",)}, []),
    ({"prefix": ("users", "123")}, [("users", "123")]),
    ({"prefix": ("users", "123", "4")}, []),
    ({"prefix": ["users"], "suffix": ["settings"]}, [("users", "456", "settings")]),
]


def test_namespaces_are_listed(store: Called) -> None:
    for number, space in enumerate(reversed(SPACES)):
        store.put(space, f"k{number}", {"n": number})
        store.put(space, "second", {"n": number})

    assert [(asked, store.list_namespaces(**asked)) for asked, _ in LISTS] == LISTS


def test_pages_of_namespaces_follow_each_other(store: Called) -> None:
    store.batch([PutOp(("namespace", f"sub_{n:02}"), f"k{n}", {"n": n}) for n in range(20)])

    pages = [store.list_namespaces(limit=6, offset=offset) for offset in range(0, 24, 6)]

    assert [one for page in pages for one in page] == [
        ("namespace", f"sub_{number:02}") for number in range(20)
    ]
    assert [len(page) for page in pages] == [6, 6, 6, 2]


LABELS = [
    ("star*", "starX"),
    ("q?m", "qXm"),
    ("br[ack]et", "brXacXket"),
    ("user_1", "userX1"),
    ("a%b", "axxb"),
    ("plus+", "plusX"),
    ("alice\n", "alice"),
    ("Foo", "foo"),
    ("foo", "foobar"),
    ('quo"te', "quo'te"),
    ("!bang", "bang"),
    ("back\\slash", "back/slash"),
]


def test_labels_are_compared_as_they_are(store: Called) -> None:
    for label, decoy in LABELS:
        for space in [(label,), (label, "child"), (decoy,), (decoy, "child")]:
            store.put((label, *space), "k", {"v": 1})
        below = (label, label)

        assert namespaces(store.search(below)) == {below, (*below, "child")}
        assert store.list_namespaces(prefix=below) == [below, (*below, "child")]
        assert store.list_namespaces(suffix=below) == [below]
        ends = store.list_namespaces(prefix=(label, "*", "child"), suffix=("child",))
        assert ends == sorted([(*below, "child"), (label, decoy, "child")])


# -- searches without a query --------------------------------------------------------------------


def test_a_search_is_of_a_namespace_and_those_below_it(store: Called) -> None:
    for space in [("foo",), ("foo", "child"), ("foo", "child", "deep"), ("foobar",), ("foo2", "x")]:
        store.put(space, "k", {"v": 1})

    assert namespaces(store.search(("foo",))) == {
        ("foo",),
        ("foo", "child"),
        ("foo", "child", "deep"),
    }
    assert namespaces(store.search(("foo", "child"))) == {
        ("foo", "child"),
        ("foo", "child", "deep"),
    }
    assert namespaces(store.search(["foobar"])) == {("foobar",)}
    assert store.search(("fo",)) == []
    assert len(store.search(())) == 5


def test_what_was_put_last_comes_first(store: Called) -> None:
    for key in ["b", "c", "a"]:
        store.put(("ns",), key, {"v": 1})
    store.put(("ns",), "b", {"v": 2})

    found = store.search(("ns",))

    assert keys(found) == ["b", "a", "c"]
    assert [one.score for one in found] == [None, None, None]


def test_the_order_may_be_that_of_the_keys(make: Make) -> None:
    store = make(order="key")
    for key in ["b", "c", "a"]:
        store.put(("ns",), key, {"v": 1})

    assert keys(store.search(("ns",))) == ["a", "b", "c"]


@pytest.mark.parametrize("filter", [None, {"even": True}])
def test_pages_of_a_search_are_the_whole_of_it(store: Called, filter: Any) -> None:
    store.batch(
        [
            PutOp(space, f"k{number}", {"n": number, "even": number % 2 == 0})
            for space in [("a",), ("a", "b"), ("ab",), ("a", "c", "d")]
            for number in range(7)
        ]
    )

    every = [(one.namespace, one.key) for one in store.search(("a",), filter=filter, limit=100)]
    paged = [
        (one.namespace, one.key)
        for offset in range(0, len(every) + 4, 4)
        for one in store.search(("a",), filter=filter, limit=4, offset=offset)
    ]

    assert paged == every
    assert len(every) == len(set(every)) == (12 if filter else 21)
    assert store.search(("a",), filter=filter, limit=0) == []


def test_ten_come_unless_another_limit_is_said(store: Called) -> None:
    store.batch([PutOp(("ns",), f"k{number}", {"n": number}) for number in range(12)])

    assert len(store.search(("ns",))) == 10
    assert len(store.search(("ns",), limit=50)) == 12
    with pytest.raises(ValueError, match="offset"):
        store.search(("ns",), offset=-1)
    with pytest.raises(ValueError, match="limit"):
        store.list_namespaces(limit=-1)


def test_without_an_index_a_query_does_not_count(store: Called) -> None:
    store.put(("ns",), "k", {"text": "apple"})

    for query in ["zebra", "", None]:
        [found] = store.search(("ns",), query=query)
        assert (found.key, found.score) == ("k", None)


# -- filters -------------------------------------------------------------------------------------

ITEMS = {
    "apple": {"price": 10, "colour": "red", "sizes": [1, 2], "of": {"shop": "Ely"}, "new": True},
    "pear": {"price": 2.5, "colour": "green", "sizes": [2, 1], "of": {"shop": "York", "aisle": 4}},
    "plum": {"price": 100, "colour": None, "of": {"aisle": 4, "shop": "York"}, "new": False},
    "sloe": {"price": -9, "123abc": "ok", "access-level": "public", "a.b": 1, "colour": "O'Brien"},
    "odd": {"price": "9", "new": 1},
}


FILTERS: list[tuple[Any, set[str]]] = [
    ({}, {"apple", "pear", "plum", "sloe", "odd"}),
    ({"price": 10}, {"apple"}),
    ({"price": 10.0}, {"apple"}),
    ({"price": "9"}, {"odd"}),
    ({"price": {"$eq": 2.5}}, {"pear"}),
    ({"price": {"$ne": 10}}, {"pear", "plum", "sloe", "odd"}),
    ({"price": {"$gt": 9}}, {"apple", "plum"}),
    ({"price": {"$gte": 10}}, {"apple", "plum"}),
    ({"price": {"$lt": 10}}, {"pear", "sloe"}),
    ({"price": {"$lte": 10}}, {"apple", "pear", "sloe"}),
    ({"price": {"$lt": -5}}, {"sloe"}),
    ({"price": {"$gte": 2.5, "$lt": 100}}, {"apple", "pear"}),
    ({"price": {"$lt": float("inf")}}, {"apple", "pear", "plum", "sloe"}),
    ({"price": {"$gt": float("-inf")}}, {"apple", "pear", "plum", "sloe"}),
    ({"price": {"$gt": float("inf")}}, set()),
    ({"price": {"$eq": float("nan")}}, set()),
    ({"price": {"$ne": float("nan")}}, {"apple", "pear", "plum", "sloe", "odd"}),
    ({"price": {"$lt": 10**100}}, {"apple", "pear", "plum", "sloe"}),
    ({"price": {"$lt": 10**400}}, {"apple", "pear", "plum", "sloe"}),
    ({"price": {"$in": [10, "9", 7]}}, {"apple", "odd"}),
    ({"price": {"$in": []}}, set()),
    ({"colour": {"$exists": True}}, {"apple", "pear", "plum", "sloe"}),
    ({"colour": {"$exists": False}}, {"odd"}),
    ({"colour": None}, {"plum"}),
    ({"colour": {"$ne": "red"}}, {"pear", "plum", "sloe", "odd"}),
    ({"colour": {"$gt": "green"}}, {"apple"}),
    ({"new": True}, {"apple"}),
    ({"new": False}, {"plum"}),
    ({"new": 1}, {"odd"}),
    ({"sizes": [1, 2]}, {"apple"}),
    ({"sizes": (2, 1)}, {"pear"}),
    ({"sizes": [1]}, set()),
    ({"of": {"shop": "Ely"}}, {"apple"}),
    ({"of": {"aisle": 4, "shop": "York"}}, {"pear", "plum"}),
    ({"of": {"$eq": {"shop": "Ely"}}}, {"apple"}),
    ({"of": {"shop": {"$in": ["Ely", "York"]}}}, {"apple", "pear", "plum"}),
    ({"colour": "red", "price": {"$lt": 50}}, {"apple"}),
    ({"colour": "red", "price": {"$lt": 5}}, set()),
    ({"123abc": "ok"}, {"sloe"}),
    ({"access-level": "public"}, {"sloe"}),
    ({"a.b": 1}, {"sloe"}),
    ({"of.shop": "Ely"}, set()),
    ({"colour": "O'Brien"}, {"sloe"}),
    ({"colour": "red' OR '1'='1"}, set()),
    ({"colour": "red\x00' OR '1'='1"}, set()),
    ({"x') = 'y' OR '1'='1' OR json_extract(value, '$.": "dummy"}, set()),
    ({"zzz": 1}, set()),
    ({"zzz": None}, set()),
    ({"zzz": {"$ne": 1}}, {"apple", "pear", "plum", "sloe", "odd"}),
    ({"zzz": {"$gt": 1}}, set()),
]


def test_a_filter_finds_what_matches(store: Called) -> None:
    store.batch([PutOp(("ns",), key, value) for key, value in ITEMS.items()])

    found = [(one, set(keys(store.search(("ns",), filter=one)))) for one, _ in FILTERS]

    # What is not a number is not equal to itself: only what was found is compared.
    wrong = [
        (asked, given)
        for (asked, given), (_, expected) in zip(found, FILTERS, strict=True)
        if given != expected
    ]
    assert wrong == []


@pytest.mark.parametrize("filter", [{"v": {"$near": 1}}, {"v": {"$gt": 1, "x": 2}}, {"$gt": 1}])
def test_what_is_no_operator_is_refused(store: Called, filter: Any) -> None:
    with pytest.raises(ValueError, match="filter"):
        store.search(("ns",), filter=filter)


# -- by meaning ----------------------------------------------------------------------------------


@pytest.fixture
def letters() -> Letters:
    return Letters()


def near(make: Make, letters: Letters, **index: Any) -> Called:
    return make(index={"dims": letters.dims, "embed": letters, **index})


def test_the_config_of_the_index_is_there_to_read(make: Make, letters: Letters) -> None:
    store = near(make, letters).store

    assert store.index_config["dims"] == letters.dims
    assert store.index_config["embed"] is letters
    assert store.embeddings.embed_documents(["x"]) == [letters.one("x")]


@pytest.mark.parametrize("distance", ["cosine", "l2", "inner_product"])
def test_the_nearest_come_first(make: Make, letters: Letters, distance: str) -> None:
    store = near(make, letters, distance_type=distance)
    for number in range(4):
        store.put(("test",), f"other{number}", {"text": f"zzz qqq {number}"})
    store.put(("test",), "match", {"text": "apple pie"})

    assert keys(store.search(("test",), query='{"text": "apple pie"}', limit=1)) == ["match"]
    every = store.search(("test",), query="apple", limit=10)
    assert [one.score for one in every] == sorted([one.score for one in every], reverse=True)
    assert len(every) == 5


@pytest.mark.parametrize(
    ("distance", "of"),
    [
        ("cosine", lambda product: product),
        ("inner_product", lambda product: product),
        ("l2", lambda product: -((2 - 2 * product) ** 0.5)),
    ],
)
def test_the_score_is_the_similarity(
    make: Make, letters: Letters, distance: str, of: Callable[[float], float]
) -> None:
    store = near(make, letters, fields=["key0"], distance_type=distance)
    store.put(("test",), "doc", {"key0": "aaa"}, index=["key0", "key1"])

    for query in ["aaa", "bbb", "ccc", "abcd", "poisson"]:
        [found] = store.search((), query=query)

        product = sum(a * b for a, b in zip(letters.one("aaa"), letters.one(query), strict=True))
        # A root makes more of what is lost by numbers of four bytes.
        assert found.score == pytest.approx(of(min(product, 1.0)), abs=2e-3)


def test_an_update_makes_new_vectors(make: Make, letters: Letters) -> None:
    store = near(make, letters)
    store.put(("test",), "doc1", {"text": "zany zebra Xerxes"})
    store.put(("test",), "doc2", {"text": "something about dogs"})
    store.put(("test",), "doc3", {"text": "text about birds"})
    first = store.search(("test",), query="Zany Xerxes")
    store.put(("test",), "doc1", {"text": "new text about dogs"})

    again = {one.key: one.score for one in store.search(("test",), query="Zany Xerxes")}
    dogs = {one.key: one.score for one in store.search(("test",), query="new text about dogs")}

    assert first[0].key == "doc1"
    assert again["doc1"] < first[0].score
    assert dogs["doc1"] > again["doc1"]


def test_what_is_not_indexed_comes_last_and_has_no_score(make: Make, letters: Letters) -> None:
    store = near(make, letters)
    store.put(("test",), "doc1", {"text": "about birds"})
    store.put(("test",), "doc2", {"text": "about dogs"}, index=False)

    found = store.search(("test",), query="about dogs")

    assert keys(found) == ["doc1", "doc2"]
    assert found[1].score is None
    assert keys(store.search(("test",), query="about dogs", limit=1)) == ["doc1"]
    assert keys(store.search(("test",), query="about dogs", offset=1)) == ["doc2"]
    assert store.get(("test",), "doc2") is not None


def test_a_query_and_a_filter_go_together(make: Make, letters: Letters) -> None:
    store = near(make, letters, fields=["text"])
    for key, text, colour, score in [
        ("doc1", "red apple", "red", 4.5),
        ("doc2", "red car", "red", 3.0),
        ("doc3", "green apple", "green", 4.0),
        ("doc4", "blue car", "blue", 3.5),
    ]:
        store.put(("test",), key, {"text": text, "color": colour, "score": score})

    def found(query: str, filter: Any) -> list[str]:
        return keys(store.search(("test",), query=query, filter=filter))

    assert found("apple", {"color": "red"}) == ["doc1", "doc2"]
    assert found("car", {"color": "red"}) == ["doc2", "doc1"]
    assert found("blue car", {"score": {"$gt": 3.2}})[0] == "doc4"
    assert len(found("blue car", {"score": {"$gt": 3.2}})) == 3
    assert found("apple", {"score": {"$gte": 4.0}, "color": "green"}) == ["doc3"]
    assert found("apple", {"color": "pink"}) == []


def test_a_query_is_of_a_namespace_and_those_below_it(make: Make, letters: Letters) -> None:
    store = near(make, letters)
    for space in [("a",), ("a", "b"), ("ab",), ("c",)]:
        store.put(space, "k", {"text": "same"})

    assert namespaces(store.search(("a",), query="same")) == {("a",), ("a", "b")}
    assert len(store.search((), query="same")) == 4
    assert store.list_namespaces() == [("a",), ("a", "b"), ("ab",), ("c",)]
    assert len(store.search(())) == 4


def test_pages_of_a_query_follow_each_other_to_the_end(make: Make, letters: Letters) -> None:
    store = near(make, letters)
    for number in range(25):
        store.put(("test",), f"doc{number}", {"text": f"test document {'x' * number}"})
    store.put(("test",), "without", {"text": "test"}, index=False)

    every = keys(store.search(("test",), query="test", limit=100))
    paged = [
        key
        for offset in range(0, 32, 4)
        for key in keys(store.search(("test",), query="test", limit=4, offset=offset))
    ]

    assert paged == every
    assert len(set(every)) == 26
    assert every[-1] == "without"


@pytest.mark.parametrize("query", ["", None, "test " * 100, "test!@#$%^&*()", "这是中文", "\n"])
def test_any_text_is_a_query(make: Make, letters: Letters, query: Any) -> None:
    store = near(make, letters)
    store.put(("test",), "doc1", {"text": "test document"})

    assert keys(store.search(("test",), query=query)) == ["doc1"]


def test_texts_of_any_script_are_found(make: Make, letters: Letters) -> None:
    texts = ["这是中文", "これは日本語です", "이건 한국어야", "Это русский", "यह रूसी है"]
    store = near(make, letters, fields=["text"])
    for number, text in enumerate(texts):
        store.put(("user_123", "memories"), str(number), {"text": text})

    for number, text in enumerate(texts):
        assert store.search(("user_123", "memories"), query=text)[0].key == str(number)


def test_an_item_has_a_vector_for_each_field_and_its_best_one_counts(
    make: Make, letters: Letters
) -> None:
    store = near(make, letters, fields=["key0", "key1", "key3"])
    store.put(("test",), "doc1", {"key1": "xxx", "key2": "yyy", "key3": "zzz"})
    store.put(("test",), "doc2", {"key0": "uuu", "key1": "vvv", "key2": "www", "key3": "xxx"})

    both = store.search(("test",), query="xxx")
    one = store.search(("test",), query="uuu")
    none = store.search(("test",), query="www")

    assert {found.key for found in both} == {"doc1", "doc2"}
    assert both[0].score == pytest.approx(both[1].score, abs=1e-5)
    assert one[0].key == "doc2"
    assert one[0].score > one[1].score
    assert one[0].score == pytest.approx(both[0].score, abs=1e-5)
    assert all(found.score < both[0].score for found in none)


def test_a_put_may_name_its_own_fields(make: Make, letters: Letters) -> None:
    store = near(make, letters, fields=["key17"])
    doc3 = {"key0": "aaa", "key1": "bbb", "key2": "ccc", "key3": "ddd"}
    doc4 = {"key0": "eee", "key1": "bbb", "key2": "fff", "key3": "ggg"}
    store.put(("test",), "doc3", doc3, index=["key0", "key1"])
    store.put(("test",), "doc4", doc4, index=["key1", "key3"])
    store.put(("test",), "doc5", {"key0": "hhh", "key1": "iii"}, index=False)

    def found(query: str) -> Any:
        return store.search(("test",), query=query)

    assert found("aaa")[0].key == "doc3"
    assert found("ggg")[0].key == "doc4"
    assert found("bbb")[0].score == pytest.approx(found("bbb")[1].score)
    assert all(one.score < 0.9 for one in found("ccc")[:2])
    assert found("hhh")[2].key == "doc5"
    assert found("hhh")[2].score is None


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        ("title", ["Late parcels"]),
        ("meta.author.name", ["Ada"]),
        ("tags[*]", ["post", "late"]),
        ("parts[0].text", ["one"]),
        ("parts[-1].text", ["two"]),
        ("parts[*].text", ["one", "two"]),
        ("missing", []),
        ("parts[9].text", []),
        ("meta.author.*", ["Ada"]),
    ],
)
def test_paths_name_texts_of_a_value(
    make: Make, letters: Letters, path: str, texts: list[str]
) -> None:
    store = near(make, letters, fields=[path])
    value = {
        "title": "Late parcels",
        "meta": {"author": {"name": "Ada"}},
        "tags": ["post", "late"],
        "parts": [{"text": "one"}, {"text": "two"}],
    }
    store.put(("test",), "doc", value)

    assert letters.asked == ([texts] if texts else [])
    [found] = store.search(("test",), query="post")
    assert (found.score is None) is (not texts)


def test_one_text_is_embedded_once_a_batch(make: Make, letters: Letters) -> None:
    store = near(make, letters, fields=["text"])

    store.batch([PutOp(("test",), f"k{number}", {"text": "same"}) for number in range(5)])

    assert letters.asked == [["same"]]
    assert [round(one.score, 4) for one in store.search((), query="same")] == [1.0] * 5


def test_searches_of_a_batch_have_each_their_query(make: Make, letters: Letters) -> None:
    store = near(make, letters, fields=["text"])
    for text in ["apple", "house", "phone"]:
        store.put(("test",), text, {"text": text})

    found = store.batch(
        [SearchOp(("test",), query=text, limit=1) for text in ["phone", "apple", "house"]]
    )

    assert [keys(some) for some in found] == [["phone"], ["apple"], ["house"]]


def test_a_deleted_item_is_found_no_more(make: Make, letters: Letters) -> None:
    store = near(make, letters)
    store.put(("test",), "doc", {"text": "apple"})
    store.delete(("test",), "doc")

    assert store.search(("test",), query="apple") == []
    store.put(("test",), "doc", {"text": "apple"}, index=False)
    assert [one.score for one in store.search(("test",), query="apple")] == [None]
