"""Who listens and goes away again leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from pathlib import Path

import perdure
from perdure import Fact, SyncStore


def test_looking_in_vain_again_and_again_keeps_nothing(tmp_path: Path) -> None:
    with perdure.open_sync(f"sqlite:///{tmp_path}/s.db") as store:
        facts = store.subscribe()
        for _ in range(50):
            assert facts.get(within=0) is None
        assert facts._wakers == []


def test_looking_in_vain_keeps_nothing_in_async_code_either_nor_does_a_cancelled_look() -> None:
    async def main() -> None:
        async with perdure.open("memory:") as store:
            facts = store.subscribe()
            for _ in range(50):
                assert await facts.get(within=0) is None
            waiting = asyncio.create_task(facts.get())
            await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert facts._wakers == []

    asyncio.run(main())


def test_a_store_nobody_listens_to_any_more_takes_the_short_way_again() -> None:
    store = perdure.open_sync("memory:")
    hub = store._hub
    assert not hub.active
    closed, dropped = store.subscribe(), store.subscribe()
    assert hub.active

    closed.close()
    gone = weakref.ref(dropped)
    del dropped
    gc.collect()
    store.sessions.create("a", "u")

    assert gone() is None
    assert not hub.active


def test_threads_that_write_at_once_are_told_of_in_the_order_of_their_seqs(tmp_path: Path) -> None:
    with perdure.open_sync(f"sqlite:///{tmp_path}/s.db", durability="normal") as store:
        key = store.sessions.create("a", "u").key
        facts = store.subscribe("event.appended", limit=10_000)
        threads = [
            threading.Thread(target=lambda: [store.events.append(key, "x") for _ in range(100)])
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert [fact.value.seq for fact in waiting(facts)] == list(range(1, 601))


def waiting(facts: perdure.SyncSubscription) -> list[Fact]:
    return list(iter(lambda: facts.get(within=0), None))


def test_a_subscriber_of_a_store_in_a_loops_own_thread_is_told(tmp_path: Path) -> None:
    async def main() -> list[Fact]:
        store: SyncStore = perdure.open_sync(f"sqlite:///{tmp_path}/s.db")
        facts = store.subscribe()
        store.sessions.create("a", "u")
        store.close()
        return waiting(facts)

    assert [fact.kind for fact in asyncio.run(main())] == ["session.created"]
