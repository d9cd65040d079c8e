"""The indexer: what is said in an app is indexed behind it, and nothing is looked at twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perdure import InvalidError, SessionKey, Store
from perdure.testing.clocks import FixedClock
from perdure.testing.colours import beside
from perdure.testing.contract.test_workers import until
from perdure.testing.databases import Dump, NewKey, OpenStore
from perdure.workers import Indexer


def indexer(store: Store, *apps: str, back: timedelta = timedelta(days=1)) -> Indexer[Any]:
    target = getattr(store, "_target", store)
    return beside(store, Indexer(target, apps or ["support"], timedelta(seconds=0.02), back=back))


async def test_a_run_indexes_what_is_new_in_its_apps(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    other = (await store.sessions.create("sales", "ada")).key
    await store.events.append(key, "one parcel", "two parcels")
    await store.events.append(other, "one parcel")
    worker = indexer(store)

    assert await worker.run_once() == 2
    assert await worker.run_once() == 0

    assert sum(row[7] for row in (await dump())["search_blocks"]) == 2
    await store.events.append(key, "three parcels")
    assert await worker.run_once() == 1
    assert await store.index("support") == 0
    assert await store.index("sales") == 1


async def test_a_run_goes_through_more_than_one_transaction_takes(
    store: Store, new_key: NewKey, clock: FixedClock
) -> None:
    for number in range(60):
        session = await new_key(f"s{number}", title="a parcel")
        await store.events.append(session, *["one parcel"] * 5)
        clock.advance(timedelta(seconds=number % 3))

    assert await indexer(store).run_once() == 300
    assert await store.index() == 0


async def test_the_first_run_goes_back_so_far_and_later_ones_to_the_run_before(
    store: Store, new_key: NewKey, clock: FixedClock
) -> None:
    await store.events.append(await new_key("old"), "parcel")
    clock.advance(timedelta(hours=2))
    await store.events.append(await new_key("new"), "parcel")
    worker = indexer(store, back=timedelta(hours=1))

    assert await worker.run_once() == 1
    clock.advance(timedelta(hours=3))
    await store.events.append(await new_key("newer"), "parcel")
    clock.advance(timedelta(hours=3))
    assert await worker.run_once() == 1

    assert len(await store.search("support", "ada", "parcel")) == 3


async def test_its_thread_indexes_what_is_said_while_it_runs(store: Store, key: SessionKey) -> None:
    worker = indexer(store)
    await worker.start()

    await store.events.append(key, "parcel")
    runs = worker.runs
    await until(lambda: worker.runs > runs + 1)
    await worker.stop()

    assert worker.last_error is None
    assert await store.index() == 0


async def test_what_it_cannot_work_on_is_said(open_store: OpenStore) -> None:
    store = await open_store()
    for apps in ("support", [], ["a\0b"]):
        with pytest.raises(InvalidError):
            Indexer(getattr(store, "_target", store), apps)
    with pytest.raises(InvalidError):
        Indexer(getattr(store, "_target", store), ["a"], back=timedelta(days=-1))
