"""Clarifications: asked once, answered once, and gone with whoever asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import (
    Clarification,
    ConflictError,
    InvalidError,
    Limits,
    NotFoundError,
    SessionKey,
    Store,
    TooLargeError,
    UserScope,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, OpenStore, Reopen

START = datetime(2026, 1, 1, tzinfo=UTC)
ADA = UserScope("support", "ada")
HOUR = timedelta(hours=1)
QUESTION = "Which parcel do you mean?"


async def ids(store: Store, **wanted: Any) -> list[str]:
    return [one.id async for one in store.clarifications.iter(**wanted)]


# -- asking ----------------------------------------------------------------------------------


async def test_a_question_has_every_field(
    store: Store, key: SessionKey, clock: FixedClock, reopen: Reopen
) -> None:
    clock.step = timedelta(0)
    clock.set(START)

    asked = await store.clarifications.ask(
        key,
        QUESTION,
        context="There are two.",
        options=["GX5", "GX6"],
        sender_context="slack:C1:ada",
        ttl=HOUR,
    )

    assert asked == Clarification(
        id=asked.id,
        app="support",
        user="ada",
        session=key,
        question=QUESTION,
        context="There are two.",
        options=("GX5", "GX6"),
        sender_context="slack:C1:ada",
        status="pending",
        answer=None,
        answered_by="",
        created_at=START,
        answered_at=None,
        expires_at=START + HOUR,
    )
    store = await reopen()
    assert await store.clarifications.get(asked.id) == asked
    assert await store.clarifications.find(asked.id) == asked


async def test_a_question_of_no_session_has_none(store: Store) -> None:
    asked = await store.clarifications.ask(ADA, QUESTION)

    assert (asked.app, asked.user, asked.session) == ("support", "ada", None)
    assert (asked.context, asked.options, asked.sender_context) == ("", (), "")
    assert asked.expires_at is None
    assert await store.clarifications.get(asked.id) == asked


async def test_the_same_pending_question_is_the_same_clarification(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    first = await store.clarifications.ask(key, QUESTION, context="first")
    again = await store.clarifications.ask(key, QUESTION, context="again", options=["a"])

    assert again == first
    assert await store.clarifications.find_pending(key, QUESTION) == first
    assert len((await dump())["clarifications"]) == 1


async def test_the_same_question_of_another_session_or_user_is_another(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    sibling = (await store.sessions.create("support", "ada")).key
    colleague = (await store.sessions.create("support", "eve", "chat")).key
    acme = await open_store(tenant="acme")
    stranger = (await acme.sessions.create("support", "ada", "chat")).key

    asked = [
        await store.clarifications.ask(key, QUESTION),
        await store.clarifications.ask(sibling, QUESTION),
        await store.clarifications.ask(colleague, QUESTION),
        await store.clarifications.ask(ADA, QUESTION),
        await store.clarifications.ask(UserScope("support", "eve"), QUESTION),
        await acme.clarifications.ask(stranger, QUESTION),
    ]

    assert len({one.id for one in asked}) == 6
    assert await store.clarifications.find_pending(sibling, QUESTION) == asked[1]
    assert await store.clarifications.find_pending(ADA, QUESTION) == asked[3]


async def test_a_question_that_has_ended_can_be_asked_anew(
    store: Store, key: SessionKey, clock: FixedClock
) -> None:
    answered = await store.clarifications.ask(key, QUESTION)
    await store.clarifications.answer(answered.id, "GX5")
    cancelled = await store.clarifications.ask(key, QUESTION)
    await store.clarifications.cancel(cancelled.id)
    expired = await store.clarifications.ask(key, QUESTION, ttl=HOUR)
    clock.advance(2 * HOUR)
    assert await store.clarifications.find_pending(key, QUESTION) is None
    new = await store.clarifications.ask(key, QUESTION)

    assert len({answered.id, cancelled.id, expired.id, new.id}) == 4
    assert await store.clarifications.find_pending(key, QUESTION) == new
    assert (await store.clarifications.get(expired.id)).status == "expired"


async def test_asked_at_once_by_many_it_is_stored_once(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    of_session = await asyncio.gather(*(store.clarifications.ask(key, QUESTION) for _ in range(12)))
    of_person = await asyncio.gather(*(store.clarifications.ask(ADA, QUESTION) for _ in range(12)))

    assert len({one.id for one in of_session}) == len({one.id for one in of_person}) == 1
    assert len((await dump())["clarifications"]) == 2


async def test_a_session_that_is_not_there_asks_nothing(store: Store, dump: Dump) -> None:
    with pytest.raises(NotFoundError, match="'nowhere'"):
        await store.clarifications.ask(SessionKey("support", "ada", "nowhere"), QUESTION)

    assert (await dump())["clarifications"] == []
    missing = SessionKey("support", "ada", "nowhere")
    assert await store.clarifications.find_pending(missing, QUESTION) is None
    assert await ids(store, session=missing) == []


@pytest.mark.parametrize(
    ("of", "options", "path"),
    [
        ("ada", {}, "of"),
        (ADA, {"question": " "}, "question"),
        (ADA, {"question": 7}, "question"),
        (ADA, {"question": "a\0b"}, "question"),
        (ADA, {"context": "\ud800"}, "context"),
        (ADA, {"sender_context": None}, "sender_context"),
        (ADA, {"options": "ab"}, "options"),
        (ADA, {"options": ["a", "a"]}, "options"),
        (ADA, {"options": ["a", ""]}, "an option"),
        (ADA, {"options": [str(n) for n in range(101)]}, "options"),
        (ADA, {"ttl": timedelta(0)}, "ttl"),
        (ADA, {"ttl": -HOUR}, "ttl"),
        (ADA, {"ttl": 60}, "ttl"),
        (ADA, {"ttl": timedelta.max}, "ttl"),
    ],
)
async def test_what_cannot_be_asked_is_refused_before_anything_is_written(
    store: Store, dump: Dump, of: Any, options: dict[str, Any], path: str
) -> None:
    with pytest.raises(InvalidError) as refused:
        await store.clarifications.ask(of, **{"question": QUESTION, **options})

    assert refused.value.path == path
    assert (await dump())["clarifications"] == []


async def test_long_texts_come_back_whole_and_longer_ones_are_refused(
    open_store: OpenStore,
) -> None:
    store = await open_store(limits=Limits(event=100_000))
    long = "é" * 50_000

    asked = await store.clarifications.ask(ADA, long, context=long, sender_context=long)
    answered = await store.clarifications.answer(asked.id, long)

    assert (asked.question, asked.context, answered.answer) == (long, long, long)
    assert await store.clarifications.find_pending(ADA, long) is None
    with pytest.raises(TooLargeError, match="'event'"):
        await store.clarifications.ask(ADA, long + "x")
    with pytest.raises(TooLargeError, match="'event'"):
        await store.clarifications.answer(asked.id, long + "x")


# -- answering -------------------------------------------------------------------------------


async def test_an_answer_is_stored_with_who_gave_it_and_when(
    store: Store, key: SessionKey, clock: FixedClock, reopen: Reopen
) -> None:
    asked = await store.clarifications.ask(key, QUESTION, ttl=HOUR)
    clock.step = timedelta(0)
    clock.set(START + HOUR / 2)

    answered = await store.clarifications.answer(asked.id, "GX5", by="eve")

    assert answered == replace(
        asked, status="answered", answer="GX5", answered_by="eve", answered_at=START + HOUR / 2
    )
    store = await reopen()
    assert await store.clarifications.get(asked.id) == answered


async def test_an_empty_answer_is_an_answer(store: Store) -> None:
    asked = await store.clarifications.ask(ADA, QUESTION, options=["a", "b"])

    answered = await store.clarifications.answer(asked.id, "")

    assert (answered.status, answered.answer) == ("answered", "")
    with pytest.raises(ConflictError, match="was answered"):
        await store.clarifications.answer(asked.id, "a")


async def test_a_second_answer_is_a_conflict_and_changes_nothing(store: Store) -> None:
    asked = await store.clarifications.ask(ADA, QUESTION)
    first = await store.clarifications.answer(asked.id, "GX5", by="eve")

    for answer, by in (("GX6", "eve"), ("GX5", "bob"), ("GX5", "")):
        with pytest.raises(ConflictError, match="was answered by 'eve'"):
            await store.clarifications.answer(asked.id, answer, by=by)

    assert await store.clarifications.get(asked.id) == first


async def test_the_same_answer_by_the_same_person_once_more_is_no_error(
    store: Store, clock: FixedClock
) -> None:
    asked = await store.clarifications.ask(ADA, QUESTION, ttl=HOUR)
    first = await store.clarifications.answer(asked.id, "GX5", by="eve")
    clock.advance(2 * HOUR)

    assert await store.clarifications.answer(asked.id, "GX5", by="eve") == first


async def test_of_many_who_answer_at_once_exactly_one_does(store: Store) -> None:
    asked = [await store.clarifications.ask(ADA, f"{QUESTION} {n}") for n in range(10)]

    outcomes = await asyncio.gather(
        *(
            store.clarifications.answer(one.id, by, by=by)
            for one in asked
            for by in ("eve", "bob", "cat")
        ),
        return_exceptions=True,
    )

    winners = [one for one in outcomes if isinstance(one, Clarification)]
    losers = [one for one in outcomes if isinstance(one, ConflictError)]
    assert (len(winners), len(losers)) == (10, 20)
    for winner in winners:
        assert await store.clarifications.get(winner.id) == winner
        assert winner.answer == winner.answered_by


async def test_what_has_expired_cannot_be_answered_nor_cancelled(
    store: Store, clock: FixedClock
) -> None:
    clock.step = timedelta(0)
    asked = await store.clarifications.ask(ADA, QUESTION, ttl=HOUR)
    clock.advance(HOUR)

    with pytest.raises(ConflictError, match="was expired"):
        await store.clarifications.answer(asked.id, "GX5")
    with pytest.raises(ConflictError, match="was expired"):
        await store.clarifications.cancel(asked.id)

    expired = await store.clarifications.get(asked.id)
    assert (expired.status, expired.answer) == ("expired", None)
    assert expired.answered_at == asked.expires_at


async def test_a_cancelled_question_cannot_be_answered(store: Store) -> None:
    asked = await store.clarifications.ask(ADA, QUESTION)

    cancelled = await store.clarifications.cancel(asked.id, by="agent")

    assert (cancelled.status, cancelled.answered_by) == ("cancelled", "agent")
    assert cancelled.answered_at is not None
    assert await store.clarifications.cancel(asked.id, by="other") == cancelled
    with pytest.raises(ConflictError, match="was cancelled by 'agent'"):
        await store.clarifications.answer(asked.id, "GX5")


async def test_an_answered_question_cannot_be_cancelled(store: Store) -> None:
    asked = await store.clarifications.ask(ADA, QUESTION)
    answered = await store.clarifications.answer(asked.id, "GX5")

    with pytest.raises(ConflictError, match="cannot be cancelled"):
        await store.clarifications.cancel(asked.id)

    assert await store.clarifications.get(asked.id) == answered


@pytest.mark.parametrize("id", ["nothing", "clr_", "clr_" + "0" * 68])
async def test_an_unknown_id_is_not_found(store: Store, id: str) -> None:
    assert await store.clarifications.find(id) is None
    for call in (
        store.clarifications.get(id),
        store.clarifications.answer(id, "x"),
        store.clarifications.cancel(id),
        store.clarifications.wait(id, timeout=0),
        store.clarifications.wait(id),
    ):
        with pytest.raises(NotFoundError, match="no clarification"):
            await call
    with pytest.raises(InvalidError, match="blank"):
        await store.clarifications.get(" ")


async def test_the_id_of_another_tenant_is_not_found(store: Store, open_store: OpenStore) -> None:
    acme = await open_store(tenant="acme")
    asked = await acme.clarifications.ask(ADA, QUESTION)

    assert await store.clarifications.find(asked.id) is None
    with pytest.raises(NotFoundError):
        await store.clarifications.answer(asked.id, "GX5")
    assert await ids(store) == []
    assert await ids(acme) == [asked.id]


# -- lists -----------------------------------------------------------------------------------


async def test_lists_are_of_a_session_a_user_an_app_or_the_tenant_newest_first(
    store: Store, key: SessionKey
) -> None:
    sibling = (await store.sessions.create("support", "ada")).key
    asked = [
        await store.clarifications.ask(key, "1"),
        await store.clarifications.ask(sibling, "2"),
        await store.clarifications.ask(ADA, "3"),
        await store.clarifications.ask(UserScope("support", "eve"), "4"),
        await store.clarifications.ask(UserScope("sales", "ada"), "5"),
    ]
    one, two, three, four, five = [found.id for found in asked]

    assert await ids(store) == [five, four, three, two, one]
    assert await ids(store, app="support") == [four, three, two, one]
    assert await ids(store, app="support", user="ada") == [three, two, one]
    assert await ids(store, session=key) == [one]
    assert (await store.clarifications.list(session=sibling)).items == [asked[1]]


async def test_a_status_is_what_it_is_now_noted_or_not(store: Store, clock: FixedClock) -> None:
    clock.step = timedelta(seconds=1)
    asked = {
        name: await store.clarifications.ask(ADA, name, ttl=HOUR)
        for name in ("answered", "cancelled", "expired")
    }
    asked["pending"] = await store.clarifications.ask(ADA, "pending")
    await store.clarifications.answer(asked["answered"].id, "")
    await store.clarifications.cancel(asked["cancelled"].id)
    clock.advance(HOUR)

    async def by_status() -> dict[str, list[str]]:
        return {name: await ids(store, status=name) for name in asked}

    before = await by_status()
    everything = (await store.clarifications.list()).items
    assert await store.clarifications.expire() == 1
    assert await store.clarifications.expire() == 0

    assert before == {name: [one.id] for name, one in asked.items()}
    assert await by_status() == before
    assert (await store.clarifications.list()).items == everything


async def test_pages_follow_each_other_without_a_gap(store: Store, clock: FixedClock) -> None:
    clock.step = timedelta(0)
    asked = [(await store.clarifications.ask(ADA, f"{n}")).id for n in range(7)]

    found: list[str] = []
    cursor = None
    while True:
        page = await store.clarifications.list(status="pending", cursor=cursor, limit=3)
        found += [one.id for one in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert found == sorted(asked, reverse=True)


async def test_a_list_that_cannot_be_is_refused(store: Store, key: SessionKey) -> None:
    clarifications: Any = store.clarifications
    for wanted in (
        {"status": "open"},
        {"user": "ada"},
        {"session": "chat"},
        {"session": ADA},
        {"session": key, "user": "eve"},
        {"limit": 0},
        {"cursor": "x"},
    ):
        with pytest.raises(InvalidError):
            await clarifications.list(**wanted)
