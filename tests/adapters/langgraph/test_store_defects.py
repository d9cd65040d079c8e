"""What users of LangGraph's own stores have met, and do not meet here."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langgraph.store.base", reason="needs langgraph: see .ci/adapters")
sqlite = pytest.importorskip("langgraph.store.sqlite", reason="needs LangGraph's own stores")

from langgraph.store.base import GetOp, PutOp
from langgraph.store.memory import InMemoryStore

import perdure
from perdure import EmbedderError, InvalidError
from perdure.adapters.langgraph import PerdureStore
from tests.adapters.langgraph.keeping import Letters, keys, namespaces

pytestmark = pytest.mark.filterwarnings("default")
NS = ("ns",)
MINUTE = timedelta(minutes=1)


class Clock:
    """Says what time it is."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        # Each time a little later.
        self.now += timedelta(microseconds=1)
        return self.now

    def on(self, **options: float) -> None:
        self.now += timedelta(**options)


class Failing(Clock):
    """A clock of the application's that fails for a while, in the sweeper's thread."""

    failing = False

    def __call__(self) -> datetime:
        if self.failing and threading.current_thread().name == "perdure-langgraph-sweeper":
            raise RuntimeError("the clock was set by hand")
        return super().__call__()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def base(url: str, clock: Clock) -> Iterator[perdure.SyncStore]:
    with perdure.open_sync(url, clock=clock) as one:
        yield one


@pytest.fixture
def store(base: perdure.SyncStore) -> PerdureStore:
    return PerdureStore(base)


@pytest.fixture
def theirs() -> Iterator[Any]:
    with sqlite.SqliteStore.from_conn_string(":memory:") as one:
        one.setup()
        yield one


# -- filters -------------------------------------------------------------------------------------


def put_values(store: Any) -> None:
    store.put(NS, "with", {"v": 9, "d": {"x": 9}, "s": "s2", "a b": 1})
    store.put(NS, "without", {"w": 1})


def test_missing_keys_texts_and_objects_are_filtered(store: PerdureStore) -> None:
    put_values(store)

    assert keys(store.search(NS, filter={"v": {"$gt": 1}})) == ["with"]
    assert keys(store.search(NS, filter={"s": {"$gt": "s1"}})) == ["with"]
    assert keys(store.search(NS, filter={"d": {"x": 9}})) == ["with"]
    assert keys(store.search(NS, filter={"d": {"$eq": {"x": 9}}})) == ["with"]
    assert keys(store.search(NS, filter={"v": {"$ne": 1}})) == ["without", "with"]
    assert keys(store.search(NS, filter={"v": {"$in": [9]}})) == ["with"]
    assert keys(store.search(NS, filter={"v": {"$exists": False}})) == ["without"]
    assert keys(store.search(NS, filter={"a b": 1})) == ["with"]


def test_in_memory_theirs_fails_where_a_key_is_missing_or_a_text() -> None:
    theirs = InMemoryStore()
    put_values(theirs)

    with pytest.raises(TypeError):
        theirs.search(NS, filter={"v": {"$gt": 1}})
    with pytest.raises(ValueError, match="float"):
        theirs.search(NS, filter={"s": {"$gt": "s1"}})


def test_on_sqlite_theirs_refuses_objects_and_blanks_and_loses_missing_keys(theirs: Any) -> None:
    put_values(theirs)

    with pytest.raises(ValueError, match="operator"):
        theirs.search(NS, filter={"d": {"x": 9}})
    assert theirs.search(NS, filter={"d": {"$eq": {"x": 9}}}) == []
    assert keys(theirs.search(NS, filter={"v": {"$ne": 1}})) == ["with"]
    with pytest.raises(ValueError, match="key"):
        theirs.search(NS, filter={"a b": 1})
    with pytest.raises(ValueError, match="operator"):
        theirs.search(NS, filter={"v": {"$in": [9]}})


@pytest.mark.xfail(
    strict=True,
    reason="a key is taken as it is: LangGraph's store on SQLite takes a dot for a path, which its "
    "stores in memory and on PostgreSQL do not",
)
def test_a_key_with_a_dot_is_a_path(store: PerdureStore) -> None:
    store.put(NS, "k", {"user": {"access-level": "nested"}})

    assert keys(store.search(NS, filter={"user.access-level": "nested"})) == ["k"]


@pytest.mark.xfail(
    strict=True,
    reason="an object is compared whole: LangGraph's store in memory takes one for a part of it, "
    "which its stores on a database do not",
)
def test_an_object_in_a_filter_may_be_a_part_of_what_is_there(store: PerdureStore) -> None:
    store.put(NS, "k", {"d": {"x": 9, "y": 1}})

    assert keys(store.search(NS, filter={"d": {"x": 9}})) == ["k"]


def test_the_fields_may_be_called_as_on_sqlite(base: perdure.SyncStore) -> None:
    store = PerdureStore(base, index={"embed": Letters(50), "text_fields": ["a"]})
    store.put(NS, "k", {"a": "xxx", "b": "yyy"})

    assert round(store.search(NS, query="xxx")[0].score or 0, 4) == 1.0


# -- values --------------------------------------------------------------------------------------


def changed(store: Any) -> Any:
    value = {"list": [1]}
    store.put(NS, "k", value)
    value["list"].append(2)
    store.get(NS, "k").value["list"].append(3)
    store.search(NS)[0].value["list"].append(4)
    return store.get(NS, "k").value


def test_what_the_caller_does_to_a_value_changes_nothing_stored(store: PerdureStore) -> None:
    assert changed(store) == {"list": [1]}


def test_in_memory_theirs_gives_away_what_it_stores() -> None:
    assert changed(InMemoryStore()) == {"list": [1, 2, 3, 4]}


def created(store: Any) -> bool:
    store.put(NS, "k", {"v": 1})
    first = store.get(NS, "k").created_at
    time.sleep(1.1)
    store.put(NS, "k", {"v": 2})
    return bool(store.get(NS, "k").created_at == first)


def test_an_update_keeps_created_at(store: PerdureStore) -> None:
    assert created(store)


def test_theirs_forgets_when_an_item_was_created(theirs: Any) -> None:
    assert not created(theirs)
    assert not created(InMemoryStore())


def test_nul_and_every_script_are_stored_and_what_json_lacks_is_refused(
    store: PerdureStore,
) -> None:
    value = {"nul": "a\0b", "big": 2**63, "text": "𝔘ñí", "": {"deep": [[[]]]}}
    store.put(NS, "k", value)
    assert store.get(NS, "k").value == value

    for bad in [float("nan"), float("inf"), "\ud800", datetime(2026, 1, 1, tzinfo=UTC), {1: 2}]:
        with pytest.raises(InvalidError, match="value"):
            store.put(NS, "k", {"v": bad})
    assert store.get(NS, "k").value == value


def test_theirs_stores_something_else_instead(theirs: Any) -> None:
    theirs.put(NS, "k", {"nan": float("nan"), "when": datetime(2026, 1, 1, tzinfo=UTC)})

    found = theirs.get(NS, "k").value
    assert found["nan"] is None
    assert isinstance(found["when"], str)


def test_other_values_of_the_store_are_no_items(base: perdure.SyncStore) -> None:
    store = PerdureStore(base)
    base.kv.set("text", "k", {"v": 1})
    base.kv.set(("with.dot",), "k", {"v": 1})
    base.kv.set(NS, "list", [1, 2])
    base.kv.set(NS, "bytes", b"\xff")
    store.put(NS, "k", {"v": 1})

    assert keys(store.search(())) == ["k"]
    assert store.get(NS, "list") is None
    assert store.list_namespaces() == [NS]
    assert base.kv.get(NS, "k").value == {"v": 1}


# -- time to live --------------------------------------------------------------------------------


def test_a_time_to_live_may_be_part_of_a_minute(base: perdure.SyncStore, clock: Clock) -> None:
    store = PerdureStore(base, ttl={"refresh_on_read": False})
    store.put(NS, "short", {"v": 1}, ttl=0.4)
    store.put(NS, "long", {"v": 1}, ttl=1.5)
    store.put(NS, "ever", {"v": 1})

    clock.on(seconds=23)
    assert keys(store.search(NS)) == ["ever", "long", "short"]
    clock.on(seconds=2)
    assert keys(store.search(NS)) == ["ever", "long"]
    assert store.get(NS, "short") is None
    clock.on(seconds=66)
    assert keys(store.search(NS)) == ["ever"]
    assert store.sweep_ttl() == 2
    assert store.sweep_ttl() == 0


def test_the_config_has_a_default_that_a_put_may_change(
    base: perdure.SyncStore, clock: Clock
) -> None:
    store = PerdureStore(base, ttl={"default_ttl": 5.0, "refresh_on_read": False})
    store.put(NS, "default", {"v": 1})
    store.put(NS, "short", {"v": 1}, ttl=1)
    store.put(NS, "ever", {"v": 1}, ttl=None)
    asyncio.run(store.aput(NS, "awaited", {"v": 1}))

    clock.on(minutes=2)
    assert set(keys(store.search(NS))) == {"awaited", "ever", "default"}
    clock.on(minutes=4)
    assert keys(store.search(NS)) == ["ever"]


def test_without_a_config_a_put_may_have_a_time_to_live(store: PerdureStore, clock: Clock) -> None:
    assert store.supports_ttl
    store.put(NS, "k", {"v": 1}, ttl=1)

    clock.on(minutes=2)
    assert store.get(NS, "k") is None
    with pytest.raises(InvalidError):
        store.put(NS, "k", {"v": 1}, ttl=0)
    with pytest.raises(InvalidError, match="sweep_interval"):
        PerdureStore(store.store, ttl={"default": 5})


@pytest.mark.parametrize(
    ("config", "asked", "lives"),
    [
        ({}, None, True),
        ({"refresh_on_read": True}, None, True),
        ({"refresh_on_read": False}, None, False),
        ({"refresh_on_read": False}, True, True),
        ({"refresh_on_read": True}, False, False),
        (None, None, True),
        (None, False, False),
    ],
)
@pytest.mark.parametrize("read", ["get", "search", "near"])
def test_a_read_begins_the_time_to_live_again_if_it_is_to(
    base: perdure.SyncStore, clock: Clock, config: Any, asked: Any, lives: bool, read: str
) -> None:
    letters = Letters(8)
    store = PerdureStore(base, ttl=config, index={"embed": letters} if read == "near" else None)
    store.put(NS, "k", {"v": 1}, ttl=1)
    store.put(NS, "other", {"w": 1}, ttl=1)

    def look() -> list[Any]:
        if read == "get":
            return [store.get(NS, "k", refresh_ttl=asked)]
        query = "v" if read == "near" else None
        return list(store.search(NS, filter={"v": 1}, query=query, refresh_ttl=asked))

    clock.on(seconds=40)
    assert keys(look()) == ["k"]
    clock.on(seconds=40)
    assert (store.get(NS, "k", refresh_ttl=False) is not None) is lives
    assert store.get(NS, "other") is None
    if read == "near" and lives:
        # The vectors have lived on with it.
        assert store.search(NS, query="v", refresh_ttl=False)[0].score is not None


def test_what_has_expired_is_not_found_swept_or_not(base: perdure.SyncStore, clock: Clock) -> None:
    letters = Letters(8)
    store = PerdureStore(base, ttl={"omit_expired": True}, index={"embed": letters})
    for number in range(4):
        store.put(("page", str(number)), f"k{number}", {"v": number}, ttl=1 if number == 2 else 9)
    clock.on(minutes=2)

    assert keys(store.search(("page",), limit=2)) == ["k3", "k1"]
    assert keys(store.search(("page",), limit=2, offset=2)) == ["k0"]
    assert set(keys(store.search(("page",), query="v"))) == {"k0", "k1", "k3"}
    assert ("page", "2") not in store.list_namespaces()
    assert store.get(("page", "2"), "k2", refresh_ttl=True) is None
    # The item, and what it is found by.
    assert store.sweep_ttl() == 2


@pytest.mark.xfail(
    strict=True,
    reason="what has expired is there for no call of perdure: LangGraph's stores on a database "
    "give it until it is swept, unless omit_expired is set",
)
def test_without_omit_expired_what_has_expired_is_found_until_it_is_swept(
    base: perdure.SyncStore, clock: Clock
) -> None:
    store = PerdureStore(base, ttl={"omit_expired": False})
    store.put(NS, "k", {"v": 1}, ttl=1)
    clock.on(minutes=2)

    assert store.get(NS, "k", refresh_ttl=False) is not None


def test_theirs_finds_what_has_expired_although_it_is_to_omit_it() -> None:
    config = {"omit_expired": True, "refresh_on_read": False}
    with sqlite.SqliteStore.from_conn_string(":memory:", ttl=config) as theirs:
        theirs.setup()
        theirs.put(NS, "k", {"v": 1}, ttl=0.01)
        time.sleep(2.2)

        assert theirs.get(NS, "k") is not None


def test_a_sweeper_removes_what_has_expired_until_it_is_stopped(
    base: perdure.SyncStore, clock: Clock
) -> None:
    store = PerdureStore(base, ttl={"sweep_interval_minutes": 0.001})
    store.put(NS, "k", {"v": 1}, ttl=1)
    clock.on(minutes=2)
    running = store.start_ttl_sweeper()
    assert store.start_ttl_sweeper() is running

    deadline = time.monotonic() + 20
    while base.kv.cleanup(dry_run=True) and time.monotonic() < deadline:
        time.sleep(0.01)

    assert base.kv.cleanup(dry_run=True) == 0
    assert store.stop_ttl_sweeper(timeout=10)
    assert running.done()
    again = store.start_ttl_sweeper()
    again.cancel()
    assert store.stop_ttl_sweeper(timeout=10)
    assert not [one for one in threading.enumerate() if one.name == "perdure-langgraph-sweeper"]


def test_a_sweeper_tells_what_it_did_not_expect_and_goes_on(caplog: Any) -> None:
    clock = Failing()
    with perdure.open_sync("memory:", clock=clock) as base:
        store = PerdureStore(base, ttl={"sweep_interval_minutes": 0.0002})
        store.put(NS, "k", {"v": 1}, ttl=1)
        clock.on(minutes=2)
        clock.failing = True
        running = store.start_ttl_sweeper()
        wait_until(lambda: "set by hand" in caplog.text)
        assert not running.done()

        clock.failing = False
        wait_until(lambda: base.kv.cleanup(dry_run=True) == 0)
        assert store.stop_ttl_sweeper(timeout=10)
        assert running.done()
    told = [one for one in caplog.records if one.exc_info]
    assert {(one.name.partition(".")[0], one.levelname) for one in told} == {("perdure", "ERROR")}


def wait_until(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_sweeper_can_be_awaited_and_ends_with_the_store(url: str) -> None:
    async def awaited() -> Any:
        async with PerdureStore.from_conn_string(url, ttl={"default_ttl": 1}) as store:
            await store.setup()
            await store.asetup()
            running = await store.start_ttl_sweeper(sweep_interval_minutes=60)
            await store.aput(NS, "k", {"v": 1})
            assert await store.sweep_ttl() == await store.asweep_ttl() == 0
            return running

    assert asyncio.run(awaited()).done()
    with PerdureStore.from_conn_string("memory:") as store:
        assert store.start_ttl_sweeper().done()
        assert store.stop_ttl_sweeper()


# -- vectors -------------------------------------------------------------------------------------


def test_vectors_of_vanished_fields_find_nothing(base: perdure.SyncStore) -> None:
    store = PerdureStore(base, index={"embed": Letters(50), "fields": ["a", "b"]})
    store.put(NS, "k", {"a": "xxx", "b": "yyy"})
    store.put(NS, "k", {"a": "xxx"})

    [found] = store.search(NS, query="yyy")

    assert found.score < 0.9


def test_an_item_that_was_put_without_the_index_has_no_old_vectors(
    base: perdure.SyncStore,
) -> None:
    letters = Letters(50)
    store = PerdureStore(base, index={"embed": letters, "fields": ["a"]})
    store.put(NS, "k", {"a": "xxx"})
    PerdureStore(base).put(NS, "k", {"a": "yyy"})

    assert [one.score for one in store.search(NS, query="xxx")] == [None]
    PerdureStore(base).delete(NS, "k")
    assert base.kv.count(()) == 0


class Back(Clock):
    """A clock that is set back, a second each time it is asked."""

    def __call__(self) -> datetime:
        self.now -= timedelta(seconds=1)
        return self.now


class Still(Clock):
    """A clock that says the same for ever."""

    def __call__(self) -> datetime:
        return self.now


@pytest.mark.parametrize("kind", [Back, Still])
def test_vectors_are_of_their_item_whatever_the_clock_says(url: str, kind: type[Clock]) -> None:
    with perdure.open_sync(url, clock=kind()) as base:
        letters = Letters(50)
        store = PerdureStore(base, index={"embed": letters, "fields": ["a"]})
        store.put(NS, "k", {"a": "xxx"})
        store.batch([PutOp(NS, "k", {"a": "zzz"}), PutOp(NS, "other", {"a": "yyy"})])
        found = {one.key: one.score for one in store.search(NS, query="zzz")}
        assert found["k"] == pytest.approx(1.0)
        assert found["other"] < 0.9

        PerdureStore(base).put(NS, "k", {"a": "yyy"})
        found = {one.key: one.score for one in store.search(NS, query="zzz", filter={"a": "yyy"})}
        assert found["k"] is None
        assert {one.key: one.score for one in store.search(NS, query="zzz")}["k"] is None


def test_pages_behind_many_vectors_are_not_empty(base: perdure.SyncStore) -> None:
    letters = Letters(8)
    store = PerdureStore(base, index={"embed": letters, "fields": ["t[*]"]})
    store.batch([PutOp(NS, f"k{n:03}", {"t": ["a" * n, "b"]}) for n in range(1, 61)])

    paged = [key for at in range(0, 60, 10) for key in keys(store.search(NS, query="b", offset=at))]

    assert len(set(paged)) == 60
    [one] = store.search(NS, query="b", filter={"t": ["a" * 59, "b"]}, limit=1)
    assert one.key == "k059"


@pytest.mark.parametrize("index", [{"dims": 4}, {}])
def test_what_an_embedder_gives_is_checked(base: perdure.SyncStore, index: Any) -> None:
    for bad in [[[1.0, 2.0]] * 3, [[1.0], [1.0, 2.0]], [[]], [[float("nan")] * 4]]:
        store = PerdureStore(base, index={**index, "embed": lambda _, given=bad: given})
        with pytest.raises(EmbedderError, match="embedder"):
            store.put(NS, "k", {"text": "x"})
    assert store.search(()) == []
    with pytest.raises(InvalidError, match="distance_type"):
        PerdureStore(base, index={**index, "embed": Letters(4), "distance_type": "hamming"})


def test_an_embedder_may_be_a_coroutine_function(base: perdure.SyncStore) -> None:
    letters = Letters(50)

    async def embed(texts: list[str]) -> list[list[float]]:
        return letters(texts)

    async def awaited() -> Any:
        store = PerdureStore(base, index={"embed": embed, "fields": ["t"]})
        await store.aput(NS, "a", {"t": "apple"})
        await store.aput(NS, "b", {"t": "zebra"})
        return await store.asearch(NS, query="apple", limit=1)

    assert keys(asyncio.run(awaited())) == ["a"]


def test_words_of_values_that_are_no_items_keep_no_item_from_being_found(
    base: perdure.SyncStore,
) -> None:
    store = PerdureStore(base, index={"fields": ["text"]})
    store.put(("a",), "k", {"text": "hello there, my dear old friend"})
    for number in range(5):
        base.kv.set(("a", "x.y"), f"f{number}", {"text": "hello"}, index=["text"])

    found = store.search(("a",), query="hello", limit=2)

    assert [one.key for one in found] == ["k"]


def test_an_index_without_an_embedder_looks_for_words(base: perdure.SyncStore) -> None:
    store = PerdureStore(base, index={"fields": ["title", "tags[*]"]})
    store.put(NS, "parcels", {"title": "Late parcels", "tags": ["post"], "open": True})
    store.put(("ns", "old"), "other", {"title": "A parcel of land", "tags": [], "open": False})
    store.put(("else",), "parcel", {"title": "parcel"})
    store.put(NS, "hidden", {"title": "parcels"}, index=False)
    store.put(NS, "own", {"title": "nothing", "body": "parcel"}, index=["body"])

    found = store.search(NS, query="parcel")

    assert set(keys(found)) == {"parcels", "other", "own"}
    assert all(one.score > 0 for one in found)
    assert namespaces(store.search(NS, query="parcel", filter={"open": False})) == {("ns", "old")}
    assert len(store.search(NS, query="parcel", limit=1, offset=1)) == 1
    assert asyncio.run(store.asearch((), query="zebra")) == []
    assert len(store.search(())) == 5


def test_without_numpy_the_scores_are_the_same(
    base: perdure.SyncStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PerdureStore(base, index={"embed": Letters(50), "fields": ["t[*]"]})
    for number in range(5):
        store.put(NS, f"k{number}", {"t": ["apple" * number + "pie", "zebra"]})

    with_it = [(one.key, one.score) for one in store.search(NS, query="apple")]
    monkeypatch.setitem(sys.modules, "numpy", None)
    without = [(one.key, one.score) for one in store.search(NS, query="apple")]

    assert [key for key, _ in with_it] == [key for key, _ in without]
    for (_, one), (_, other) in zip(with_it, without, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


# -- everything at once --------------------------------------------------------------------------


def test_both_colours_share_what_they_store_on_any_loop(store: PerdureStore) -> None:
    async def inside(number: int) -> Any:
        # The methods that do not await, where a loop runs.
        store.put(NS, "called", {"n": number})
        await asyncio.gather(*[store.aput(NS, f"k{one}", {"n": number}) for one in range(20)])
        found = await asyncio.gather(*[store.aget(NS, f"k{one}") for one in range(20)])
        assert store.get(NS, "called").value == (await store.aget(NS, "called")).value
        return {one.value["n"] for one in found}

    for number in range(2):
        assert asyncio.run(inside(number)) == {number}


def test_theirs_refuses_what_is_called_where_a_loop_runs(tmp_path: Path) -> None:
    async def inside() -> None:
        path = str(tmp_path / "their.db")
        async with sqlite.aio.AsyncSqliteStore.from_conn_string(path) as theirs:
            await theirs.setup()
            with pytest.raises(asyncio.InvalidStateError):
                theirs.get(NS, "k")

    pytest.importorskip("langgraph.store.sqlite.aio")
    asyncio.run(inside())


def test_batches_of_many_threads_are_each_all_or_nothing(base: perdure.SyncStore) -> None:
    store = PerdureStore(base, index={"embed": Letters(4), "fields": ["by"]})
    many = [f"k{number}" for number in range(8)]

    def put(number: int) -> None:
        order = many if number % 2 else many[::-1]
        store.batch([PutOp(NS, key, {"by": str(number)}) for key in order])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(24)))

    found = store.batch([GetOp(NS, key) for key in many])
    assert len({one.value["by"] for one in found}) == 1
    query = found[0].value["by"]
    assert [round(one.score, 4) for one in store.search(NS, query=query)] == [1.0] * 8


def test_items_of_a_person_go_with_the_person(base: perdure.SyncStore) -> None:
    ada = PerdureStore(base, app="shop", user="ada", index={"embed": Letters(4)})
    bob = PerdureStore(base, app="shop", user="bob")
    for store in (ada, bob):
        store.put(NS, "k", {"text": "private"})
    assert PerdureStore(base).search(()) == []

    base.erase_user("shop", "ada")

    assert ada.search(()) == []
    assert base.kv.count((), app="shop", user="ada") == 0
    assert keys(bob.search(())) == ["k"]


def test_no_id_is_drawn_with_uuid4(store: PerdureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uuid, "uuid4", lambda: pytest.fail("uuid4 was called"))

    store.put(NS, "k", {"v": 1})
    store.batch([PutOp(NS, "a", {"v": 1}), PutOp(NS, "b", {"v": 1})])
    assert len(store.search(NS)) == 3
