"""Waiting for an answer, and taking up after a restart what nobody waits for."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    ClosedError,
    InvalidError,
    NotFoundError,
    RecoveredClarifications,
    SessionKey,
    Store,
    UserScope,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Database, Dump, OpenStore

ADA = UserScope("support", "ada")
HOUR = timedelta(hours=1)
QUESTION = "Which parcel do you mean?"
SOON = 0.1


async def waited(store: Store, id: str, then: Any) -> Any:
    """What `wait` gives when this is done while it waits."""
    waiting = asyncio.create_task(store.clarifications.wait(id, timeout=20))
    await asyncio.sleep(SOON)
    assert not waiting.done()
    await then
    return await waiting


async def waits(dump: Dump, count: int) -> None:
    """Return when so many wait, each under a lease of its own."""
    end = time.monotonic() + 20
    while await leases(dump) < count:
        assert time.monotonic() < end, "they do not wait"
        await asyncio.sleep(0.02)


async def leases(dump: Dump) -> int:
    return sum(row[1].startswith("clarification ") for row in (await dump())["leases"])


async def test_an_answer_before_the_wait_is_given_at_once(store: Store) -> None:
    asked = await store.clarifications.ask(ADA, QUESTION)
    answered = await store.clarifications.answer(asked.id, "GX5")

    assert await store.clarifications.wait(asked.id) == answered


async def test_an_answer_through_another_store_ends_the_wait(
    store: Store, open_store: OpenStore, dump: Dump
) -> None:
    other = await open_store()
    asked = await store.clarifications.ask(ADA, QUESTION)

    found = await waited(store, asked.id, other.clarifications.answer(asked.id, "", by="eve"))

    assert (found.status, found.answer, found.answered_by) == ("answered", "", "eve")
    assert await leases(dump) == 0


async def test_a_wait_sees_that_a_question_was_cancelled(store: Store) -> None:
    asked = await store.clarifications.ask(ADA, QUESTION)

    found = await waited(store, asked.id, store.clarifications.cancel(asked.id))

    assert found.status == "cancelled"


async def test_a_wait_sees_that_a_question_has_expired_though_nobody_notes_it(
    store: Store, clock: FixedClock
) -> None:
    asked = await store.clarifications.ask(ADA, QUESTION, ttl=HOUR)

    found = await waited(store, asked.id, asyncio.to_thread(clock.advance, 2 * HOUR))

    assert (found.status, found.answer) == ("expired", None)


async def test_a_wait_whose_time_is_over_gives_the_pending_question_and_no_answer(
    store: Store, dump: Dump
) -> None:
    asked = await store.clarifications.ask(ADA, QUESTION)

    begun = time.monotonic()
    found = await store.clarifications.wait(asked.id, timeout=0.3)

    assert 0.3 <= time.monotonic() - begun < 5
    assert found == asked
    assert await store.clarifications.wait(asked.id, timeout=0) == asked
    assert await leases(dump) == 0


async def test_a_wait_for_what_is_removed_raises(store: Store, key: SessionKey) -> None:
    asked = await store.clarifications.ask(key, QUESTION)

    with pytest.raises(NotFoundError):
        await waited(store, asked.id, store.sessions.delete(key))


@pytest.mark.own_engine
async def test_a_wait_ends_with_its_store_and_makes_no_answer_up(
    store: Store, open_store: OpenStore
) -> None:
    other = await open_store()
    asked = await other.clarifications.ask(ADA, QUESTION)

    with pytest.raises(ClosedError):
        await waited(store, asked.id, store.close())

    assert await other.clarifications.get(asked.id) == asked


async def test_a_cancelled_wait_changes_nothing(store: Store) -> None:
    asked = await store.clarifications.ask(ADA, QUESTION)
    waiting = asyncio.create_task(store.clarifications.wait(asked.id, timeout=1))
    await asyncio.sleep(SOON)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert (await store.clarifications.answer(asked.id, "GX5")).answer == "GX5"


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "1", True, HOUR])
async def test_a_timeout_that_is_none_is_refused(store: Store, seconds: Any) -> None:
    with pytest.raises(InvalidError, match="timeout"):
        await store.clarifications.wait("clr_", timeout=seconds)


async def test_several_may_wait_for_one_answer(store: Store, dump: Dump) -> None:
    asked = await store.clarifications.ask(ADA, QUESTION)
    waiting = [asyncio.create_task(store.clarifications.wait(asked.id)) for _ in range(3)]
    await waits(dump, 3)
    answered = await store.clarifications.answer(asked.id, "GX5")

    assert await asyncio.gather(*waiting) == [answered] * 3
    assert await leases(dump) == 0


async def test_five_pairs_of_asking_and_answering_do_not_mix(
    store: Store, open_store: OpenStore, key: SessionKey
) -> None:
    other = await open_store()

    async def ask(number: int) -> str | None:
        asked = await store.clarifications.ask(key, f"question {number}")
        return (await store.clarifications.wait(asked.id, timeout=20)).answer

    async def answer(number: int) -> None:
        found = None
        while found is None:
            await asyncio.sleep(0.01)
            found = await other.clarifications.find_pending(key, f"question {number}")
        await other.clarifications.answer(found.id, f"answer {number}")

    asks = [asyncio.create_task(ask(number)) for number in range(5)]
    await asyncio.gather(*(answer(number) for number in reversed(range(5))))

    assert await asyncio.gather(*asks) == [f"answer {number}" for number in range(5)]


# -- after a restart -------------------------------------------------------------------------


async def test_recovery_ends_what_is_too_old_and_gives_the_rest(
    store: Store, clock: FixedClock, key: SessionKey
) -> None:
    old = await store.clarifications.ask(key, "old")
    clock.advance(HOUR)
    young = await store.clarifications.ask(key, "young")
    done = await store.clarifications.ask(key, "done")
    await store.clarifications.answer(done.id, "x")
    over = await store.clarifications.ask(key, "over", ttl=timedelta(minutes=1))
    clock.advance(timedelta(minutes=2))

    found = await store.clarifications.recover_pending(max_age=HOUR / 2)

    assert found.pending == (young,)
    assert [one.id for one in found.expired] == [old.id]
    assert found.expired[0].status == "expired"
    assert found.expired[0].answered_at is not None
    assert found.waited_for == ()
    assert await store.clarifications.get(old.id) == found.expired[0]
    assert (await store.clarifications.get(over.id)).status == "expired"
    again = await store.clarifications.recover_pending()
    assert again == RecoveredClarifications((young,), (), ())


async def test_recovery_leaves_alone_what_a_live_wait_is_for(
    store: Store, open_store: OpenStore, dump: Dump
) -> None:
    other = await open_store()
    awaited_one = await store.clarifications.ask(ADA, "awaited")
    left = await store.clarifications.ask(ADA, "left")
    waiting = asyncio.create_task(store.clarifications.wait(awaited_one.id))
    await waits(dump, 1)

    found = await other.clarifications.recover_pending(max_age=timedelta(0))

    assert found.waited_for == (awaited_one,)
    assert [one.id for one in found.expired] == [left.id]
    answered = await other.clarifications.answer(awaited_one.id, "GX5")
    assert await waiting == answered


async def test_recovery_is_of_the_tenant_the_app_or_the_user_that_is_named(
    store: Store, open_store: OpenStore
) -> None:
    acme = await open_store(tenant="acme")
    mine = await store.clarifications.ask(ADA, QUESTION)
    hers = await store.clarifications.ask(UserScope("support", "eve"), QUESTION)
    theirs = await acme.clarifications.ask(ADA, QUESTION)

    of_eve = await store.clarifications.recover_pending(app="support", user="eve")
    of_all = await store.clarifications.recover_pending(max_age=timedelta(0))

    assert of_eve.pending == (hers,)
    assert {one.id for one in of_all.expired} == {mine.id, hers.id}
    assert await acme.clarifications.get(theirs.id) == theirs


async def test_recoveries_at_once_end_a_question_once(store: Store) -> None:
    asked = [(await store.clarifications.ask(ADA, f"{n}")).id for n in range(10)]

    found = await asyncio.gather(
        *(store.clarifications.recover_pending(max_age=timedelta(0)) for _ in range(4))
    )

    assert sorted(one.id for each in found for one in each.expired) == sorted(asked)


@pytest.mark.parametrize("age", [-HOUR, 600])
async def test_an_age_that_is_none_is_refused(store: Store, age: Any) -> None:
    with pytest.raises(InvalidError, match="max_age"):
        await store.clarifications.recover_pending(max_age=age)


@pytest.mark.own_engine
async def test_the_lease_of_a_wait_that_was_cut_off_ends_by_itself(
    database: Database, store: Store, clock: FixedClock, dump: Dump
) -> None:
    asked = await store.clarifications.ask(ADA, QUESTION)
    cut = database.open()
    waiting = asyncio.create_task(cut.clarifications.wait(asked.id, timeout=60))
    await waits(dump, 1)
    # The store goes, and cannot take its lease away.
    await asyncio.to_thread(cut._engine.close)
    with pytest.raises(ClosedError):
        await waiting

    before = await store.clarifications.recover_pending(max_age=timedelta(0))
    clock.advance(timedelta(seconds=11))
    after = await store.clarifications.recover_pending(max_age=timedelta(0))

    assert [one.id for one in before.waited_for] == [asked.id]
    assert [one.id for one in after.expired] == [asked.id]
