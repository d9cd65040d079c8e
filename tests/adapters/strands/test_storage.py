"""What strands-agents expects of a storage, on every engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

pytest.importorskip("strands", reason="needs strands-agents: see .ci/adapters")

from strands.session import SnapshotSessionManager
from strands.storage import InMemoryStorage, Storage
from strands.types.exceptions import StorageError

import perdure
from perdure.adapters.strands import PerdureStorage
from tests.adapters.strands.making import agent, texts

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def storage(url: str) -> AsyncIterator[PerdureStorage]:
    async with PerdureStorage(url, app="shop", user="ada") as made:
        yield made


class Strategy:
    """A search strategy that notes what it is told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.told: list[Any] = []
        self.error = error

    async def index(self, storage: Any, key: str, data: bytes) -> None:
        self.told.append((storage, key, data))
        if self.error:
            raise self.error

    async def search(self, storage: Any, query: str) -> list[Any]:
        self.told.append((storage, query))
        return []


# -- values ----------------------------------------------------------------------------------


async def test_it_is_a_storage(storage: PerdureStorage) -> None:
    assert isinstance(storage, Storage)


@pytest.mark.parametrize("data", [b"hello", b"", bytes(range(256)), b"\x00" * 100_000])
async def test_bytes_come_back_as_they_are(storage: PerdureStorage, data: bytes) -> None:
    await storage.write("key", data)

    found = await storage.read("key")

    assert (found, type(found)) == (data, bytes)


async def test_a_missing_key_is_none(storage: PerdureStorage) -> None:
    assert await storage.read("nothing") is None


async def test_a_write_replaces(storage: PerdureStorage) -> None:
    await storage.write("key", b"first")
    await storage.write("key", b"second")

    assert await storage.read("key") == b"second"
    assert await storage.list("") == ["key"]


async def test_a_delete_removes_and_may_find_nothing(storage: PerdureStorage) -> None:
    await storage.write("key", b"data")

    await storage.delete("key")
    await storage.delete("key")

    assert await storage.read("key") is None
    assert await storage.list("") == []


async def test_bytes_are_copied(storage: PerdureStorage) -> None:
    data: Any = bytearray(b"mutable")
    await storage.write("key", data)

    data[0] = 0xFF

    assert await storage.read("key") == b"mutable"


async def test_many_at_once(storage: PerdureStorage) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(50):
            group.create_task(storage.write(f"n/{number:02}", str(number).encode()))

    assert await storage.list("n/") == [f"n/{number:02}" for number in range(50)]
    assert await storage.read("n/07") == b"7"


# -- keys ------------------------------------------------------------------------------------


async def test_slashes_more_than_needed_do_not_count(storage: PerdureStorage) -> None:
    await storage.write("//foo///bar//", b"data")

    assert await storage.read("/foo/bar/") == b"data"
    assert await storage.list("//foo//") == ["foo/bar"]


@pytest.mark.parametrize("key", ["", "/", "///"])
async def test_an_empty_key_is_refused(storage: PerdureStorage, key: str) -> None:
    for call in (storage.read(key), storage.delete(key), storage.write(key, b"")):
        with pytest.raises(StorageError, match="must not be empty"):
            await call


@pytest.mark.parametrize("key", ["../etc/passwd", "foo/../bar", "foo/..", "a\\b", "a\\..\\b"])
async def test_keys_that_lead_out_are_refused(storage: PerdureStorage, key: str) -> None:
    for call in (
        storage.read(key), storage.delete(key), storage.write(key, b""), storage.list(key)
    ):  # fmt: skip
        with pytest.raises(StorageError, match="not allowed"):
            await call


@pytest.mark.parametrize("key", ["foo/bar.txt", "foo/...bar", ".", "é/🦜", 'a b!"c', "%_*"])
async def test_other_keys_are_taken_as_they_are(storage: PerdureStorage, key: str) -> None:
    await storage.write(key, b"data")

    assert await storage.list("") == [key]
    assert await storage.read(key) == b"data"


async def test_a_key_that_is_too_long_is_an_error_of_storage(storage: PerdureStorage) -> None:
    with pytest.raises(StorageError, match="bytes"):
        await storage.write("x" * 2_000, b"")


async def test_a_key_may_be_the_beginning_of_another(storage: PerdureStorage) -> None:
    for key in ("a", "a/b", "a/b/c", "ab"):
        await storage.write(key, key.encode())

    assert await storage.list("") == ["a", "a/b", "a/b/c", "ab"]
    assert await storage.list("a/") == ["a/b", "a/b/c"]
    assert await storage.list("a/b") == ["a/b", "a/b/c"]
    assert await storage.read("a/b") == b"a/b"


# -- lists -----------------------------------------------------------------------------------


async def test_a_list_is_sorted(storage: PerdureStorage) -> None:
    keys = ["b/2", "a/1", "c/3", "a-b", "a b", "Z", "é", "a/1/x", "a!"]
    for key in keys:
        await storage.write(key, b"")

    assert await storage.list("") == sorted(keys)


async def test_a_prefix_may_end_anywhere(storage: PerdureStorage) -> None:
    for key in ("sessions/a", "sessions/b", "offloader/x"):
        await storage.write(key, b"")

    assert await storage.list("sessions/") == ["sessions/a", "sessions/b"]
    assert await storage.list("sess") == ["sessions/a", "sessions/b"]
    assert await storage.list("sessions/b") == ["sessions/b"]
    assert await storage.list("sessions/bb") == []


async def test_an_empty_storage_lists_nothing(storage: PerdureStorage) -> None:
    assert await storage.list("") == []
    assert await storage.search("word") == []


# -- namespaces ------------------------------------------------------------------------------


async def test_a_namespace_is_a_view_of_what_is_below(storage: PerdureStorage) -> None:
    below = storage.namespace("memory/agent")
    await below.write("notes.md", b"hello")

    assert await storage.list("") == ["memory/agent/notes.md"]
    assert await below.list("") == ["notes.md"]
    assert await below.read("notes.md") == b"hello"
    await below.delete("notes.md")
    assert await storage.list("") == []


async def test_namespaces_nest(storage: PerdureStorage) -> None:
    await storage.namespace("a").namespace("b/").write("k", b"v")

    assert await storage.list("") == ["a/b/k"]
    assert await storage.namespace("").list("a") == ["a/b/k"]


async def test_a_search_stays_in_its_namespace_and_its_name_is_no_word(
    storage: PerdureStorage,
) -> None:
    await storage.write("other/memory-agent-notes.md", b"unrelated")
    below = storage.namespace("memory/agent")
    await below.write("deploy.md", b"blue green deploys")
    await below.write("theme.md", b"dark mode")

    found = await below.search("memory agent deploy")

    assert [one.key for one in found] == ["deploy.md"]


# -- search ----------------------------------------------------------------------------------


async def test_a_search_finds_what_strands_own_finds_in_the_same_order(
    storage: PerdureStorage,
) -> None:
    theirs = InMemoryStorage()
    for number in range(45):
        text = f"note {number} dark {'mode' * (number % 2)} {'toggle' if number % 7 == 0 else ''}"
        for one in (storage, theirs):
            await one.write(f"notes/{number:02}.md", text.encode())
    for query in ("dark mode toggle", "the", "", "17", "nothing here"):
        found = [(one.key, one.score, one.data) for one in await storage.search(query)]
        assert found == [(one.key, one.score, one.data) for one in await theirs.search(query)]


async def test_a_strategy_is_told_of_writes_and_asked(url: str) -> None:
    strategy = Strategy()
    async with PerdureStorage(url, search_strategy=strategy) as storage:
        below = storage.namespace("memory")
        await below.write("/deploy.md", b"x")
        await below.search("query")

    assert strategy.told == [(below, "deploy.md", b"x"), (below, "query")]


async def test_a_strategy_that_fails_is_an_error_of_storage(url: str) -> None:
    async with PerdureStorage(url, search_strategy=Strategy(OSError("full"))) as storage:
        with pytest.raises(StorageError, match="index"):
            await storage.write("key", b"data")
        assert await storage.read("key") == b"data"


# -- whose, and whose store ------------------------------------------------------------------


async def test_what_is_a_users_goes_with_the_user(storage: PerdureStorage) -> None:
    await storage.write("session/s/latest", b"{}")
    store = storage._opened.store

    assert await PerdureStorage(store, app="shop", user="bob").list("") == []
    await store.erase_user("shop", "ada")

    assert await storage.list("") == []


async def test_a_store_of_the_callers_stays_open(url: str) -> None:
    async with perdure.open(url) as store:
        async with PerdureStorage(store) as storage:
            await storage.write("key", b"data")
        assert await PerdureStorage(store).read("key") == b"data"


async def test_errors_of_the_store_are_errors_of_storage(url: str) -> None:
    storage = PerdureStorage(url)
    await storage.aclose()

    with pytest.raises(StorageError, match="closed"):
        await storage.read("key")


# -- behind strands' own manager -------------------------------------------------------------


async def test_an_agent_comes_back_from_its_snapshot(storage: PerdureStorage) -> None:
    first = agent(SnapshotSessionManager("s", storage=storage), "Hello, Ada.", state={"n": 1})
    await first.invoke_async("Hi.")

    second = agent(SnapshotSessionManager("s", storage=storage), "Still here.")

    assert texts(second.messages) == ["Hi.", "Hello, Ada."]
    assert second.state.get("n") == 1
    assert await storage.list("session/s/") == [
        "session/s/scopes/agent/a/snapshots/snapshot_latest.json"
    ]


async def test_snapshots_of_the_past_are_listed_and_restored(storage: PerdureStorage) -> None:
    manager = SnapshotSessionManager("s", storage=storage, snapshot_trigger=lambda **_: True)
    one = agent(manager, "one", "two", "three")
    for word in ("1", "2", "3"):
        await one.invoke_async(word)

    ids = await manager.list_snapshot_ids(one)
    assert await manager.restore_snapshot(one, snapshot_id=ids[1])

    assert len(ids) == 3
    assert texts(one.messages) == ["1", "one", "2", "two"]
    await manager.delete_session()
    assert await storage.list("") == []


async def test_the_snapshot_manager_works_from_code_that_does_not_await(url: str) -> None:
    storage = PerdureStorage(url)

    def run() -> list[str]:
        agent(SnapshotSessionManager("s", storage=storage), "Hello.")("Hi.")
        return texts(agent(SnapshotSessionManager("s", storage=storage)).messages)

    assert await asyncio.to_thread(run) == ["Hi.", "Hello."]
    await storage.aclose()
