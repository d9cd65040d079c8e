"""What becomes of questions: in turns, with their session, in hooks and facts, in sweeps."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    ConflictError,
    InvalidError,
    NewAnswer,
    NewClarification,
    NewEvent,
    NotFoundError,
    RetentionConfig,
    SessionKey,
    Store,
    Webhook,
)
from perdure.facts import KINDS
from perdure.testing.clocks import FixedClock
from perdure.testing.contract.test_clarifications import ADA, HOUR, QUESTION, ids
from perdure.testing.contract.test_subscribe import rest
from perdure.testing.databases import Dump, OpenStore

# -- with others -----------------------------------------------------------------------------


async def test_in_a_turn_a_question_is_stored_with_the_event_or_not_at_all(
    store: Store, key: SessionKey
) -> None:
    async with store.turn() as turn:
        turn.events.append(key, "I have to ask.")
        asked = turn.clarifications.ask(key, QUESTION)
        again = turn.clarifications.ask(key, QUESTION)
    with pytest.raises(ConflictError):  # noqa: PT012 - nothing of the turn is stored
        async with store.turn() as turn:
            turn.clarifications.ask(key, "another")
            turn.clarifications.answer(asked.value.id, "GX5")
            turn.events.append(key, NewEvent("stale"), expected_version=99)

    assert again.value == asked.value
    assert await store.events.count(key) == 1
    assert await store.clarifications.get(asked.value.id) == asked.value
    assert await ids(store, session=key) == [asked.value.id]


async def test_the_version_of_the_session_stays(store: Store, key: SessionKey) -> None:
    before = await store.sessions.get(key)

    asked = await store.clarifications.ask(key, QUESTION)
    await store.clarifications.answer(asked.id, "GX5")

    assert await store.sessions.get(key) == before


async def test_what_a_deleted_session_asked_is_not_there_until_it_is_restored(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    asked = await store.clarifications.ask(key, QUESTION)
    await store.sessions.delete(key)
    recreated = (await store.sessions.create(*key)).key

    assert await store.clarifications.find(asked.id) is None
    assert await ids(store) == []
    with pytest.raises(NotFoundError):
        await store.clarifications.answer(asked.id, "GX5")
    assert await store.clarifications.find_pending(recreated, QUESTION) is None
    await store.sessions.purge(recreated)
    assert (await dump())["clarifications"] == []


async def test_a_restored_session_has_its_questions_again(store: Store, key: SessionKey) -> None:
    asked = await store.clarifications.ask(key, QUESTION)
    await store.sessions.delete(key)
    await store.sessions.restore(key)

    assert await store.clarifications.get(asked.id) == asked


async def test_a_fork_does_not_copy_questions(store: Store, key: SessionKey) -> None:
    await store.clarifications.ask(key, QUESTION)
    fork = (await store.sessions.fork(key)).key

    assert await ids(store, session=fork) == []


async def test_the_hook_sees_questions_and_answers_before_they_are_stored(
    open_store: OpenStore, dump: Dump
) -> None:
    seen: list[Any] = []

    def on_write(record: Any) -> Any:
        seen.append(record)
        if isinstance(record, NewClarification):
            return replace(record, question=record.question.replace("sk-1", "[key]"))
        if isinstance(record, NewAnswer):
            return replace(record, answer=record.answer.replace("sk-2", "[key]"))
        return record

    store = await open_store(on_write=on_write)
    asked = await store.clarifications.ask(ADA, "Is it sk-1?", options=["a"])
    again = await store.clarifications.ask(ADA, "Is it sk-1?")
    answered = await store.clarifications.answer(asked.id, "No, sk-2.")

    assert again == asked
    assert (asked.question, answered.answer) == ("Is it [key]?", "No, [key].")
    assert seen[0] == NewClarification(ADA, "Is it sk-1?", "", ["a"], "")
    assert seen[2] == NewAnswer(asked.id, "No, sk-2.")
    assert "sk-" not in str((await dump())["clarifications"])


async def test_those_who_subscribe_are_told_of_each_step_once(
    store: Store, key: SessionKey, clock: FixedClock
) -> None:
    clock.step = timedelta(microseconds=1)
    facts = store.subscribe([kind for kind in KINDS if kind.startswith("clarification.")])
    asked = await store.clarifications.ask(key, QUESTION)
    await store.clarifications.ask(key, QUESTION)
    answered = await store.clarifications.answer(asked.id, "GX5")
    await store.clarifications.answer(asked.id, "GX5")
    other = await store.clarifications.ask(ADA, "1")
    cancelled = await store.clarifications.cancel(other.id)
    await store.clarifications.cancel(other.id)
    third = await store.clarifications.ask(ADA, "2", ttl=HOUR)
    clock.advance(2 * HOUR)
    await store.clarifications.expire()
    async with store.turn() as turn:
        fourth = turn.clarifications.ask(ADA, "3")

    assert [(fact.kind, fact.value) for fact in await rest(facts)] == [
        ("clarification.asked", asked),
        ("clarification.answered", answered),
        ("clarification.asked", other),
        ("clarification.cancelled", cancelled),
        ("clarification.asked", third),
        ("clarification.expired", await store.clarifications.get(third.id)),
        ("clarification.asked", fourth.value),
    ]


async def test_webhooks_are_told_that_something_was_asked_and_answered_and_not_what(
    open_store: OpenStore, dump: Dump, key: SessionKey
) -> None:
    store = await open_store(
        webhooks=[Webhook(url="https://example.org/", secret="s" * 16, kinds=["clarification.*"])]
    )
    asked = await store.clarifications.ask(key, QUESTION)
    await store.clarifications.ask(key, QUESTION)
    await store.clarifications.answer(asked.id, "GX5")
    await store.clarifications.answer(asked.id, "GX5")
    await store.clarifications.ask(ADA, QUESTION)

    outbox = sorted((await dump())["outbox"], key=lambda row: (row[6], row[3]))
    assert [(row[3], row[5]) for row in outbox][:2] == [
        (kind, f'{{"app":"support","user":"ada","session":"chat","id":"{asked.id}"}}')
        for kind in ("clarification.asked", "clarification.answered")
    ]
    assert len(outbox) == 3
    assert "GX5" not in str(outbox)


# -- ends ------------------------------------------------------------------------------------


async def test_a_sweep_notes_what_is_overdue_and_removes_nothing_by_itself(
    store: Store, clock: FixedClock, dump: Dump
) -> None:
    asked = await store.clarifications.ask(ADA, QUESTION, ttl=HOUR)
    answered = await store.clarifications.ask(ADA, "2")
    await store.clarifications.answer(answered.id, "x")
    clock.advance(timedelta(days=4000))
    expired = await store.clarifications.get(asked.id)

    looked = await store.sweep(dry_run=True)
    swept = await store.sweep()

    assert looked.kinds == swept.kinds
    assert swept.kinds["overdue clarifications"].count == 1
    assert "expired" in {row[13] for row in (await dump())["clarifications"]}
    assert await store.clarifications.get(asked.id) == expired
    assert (await store.sweep()).kinds == {}


async def test_a_sweep_removes_what_ended_longer_ago_than_the_retention_says(
    open_store: OpenStore, clock: FixedClock, key: SessionKey
) -> None:
    store = await open_store(
        retention=RetentionConfig(retention_days=None, clarifications=timedelta(days=7))
    )
    acme = await open_store(tenant="acme")
    old = await store.clarifications.ask(key, "old")
    await store.clarifications.answer(old.id, "x")
    pending = await store.clarifications.ask(key, "pending")
    theirs = await acme.clarifications.ask(ADA, "theirs")
    await acme.clarifications.cancel(theirs.id)
    clock.advance(timedelta(days=6))
    young = await store.clarifications.ask(ADA, "young")
    await store.clarifications.cancel(young.id)
    clock.advance(timedelta(days=2))

    looked = await store.sweep(dry_run=True)
    swept = await store.sweep()

    assert looked == swept
    assert swept.kinds["clarifications"].count == 1
    assert swept.kinds["clarifications"].bytes > 0
    assert await ids(store) == [young.id, pending.id]
    assert await ids(acme) == [theirs.id]


@pytest.mark.parametrize("whole", [False, True], ids=["session", "user"])
async def test_a_sweep_passes_over_what_is_held(
    open_store: OpenStore, clock: FixedClock, key: SessionKey, whole: bool
) -> None:
    config = RetentionConfig(retention_days=None, clarifications=timedelta(days=7))
    store = await open_store(retention=config)
    asked = await store.clarifications.ask(key, QUESTION)
    await store.clarifications.answer(asked.id, "x")
    await store.sessions.hold(ADA if whole else key, by="legal", reason="case")
    clock.advance(timedelta(days=8))

    await store.sweep()
    assert await ids(store) == [asked.id]

    await store.sessions.release(ADA if whole else key)
    await store.sweep()
    assert await ids(store) == []


@pytest.mark.parametrize("value", [timedelta(0), -HOUR, 7])
def test_a_retention_of_nothing_is_refused(value: Any) -> None:
    with pytest.raises(InvalidError, match="clarifications"):
        RetentionConfig(clarifications=value)
