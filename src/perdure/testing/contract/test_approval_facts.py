"""Who is told of approvals, what on_write does to them, and how long they are kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    Approval,
    InvalidError,
    NewApproval,
    NewResolution,
    RetentionConfig,
    SessionKey,
    Store,
    Webhook,
)
from perdure.tables import TABLES
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, OpenStore

ARGS = {"to": "bob"}
HOUR = timedelta(hours=1)
HOOK = Webhook(url="https://example.org/hook", secret="a secret of some length")
OUTBOX = next(table.columns for table in TABLES if table.name == "outbox")


async def ask(store: Store, tool: str = "send", args: Any = None, **given: Any) -> Approval:
    given = {"app": "shop", "user": "ada", "thread_id": "t", **given}
    return await store.approvals.request(tool, ARGS if args is None else args, **given)


# -- who is told -----------------------------------------------------------------------------------


async def told(dump: Dump) -> list[tuple[str, str]]:
    found = [dict(zip(OUTBOX, row, strict=True)) for row in (await dump())["outbox"]]
    found.sort(key=lambda row: (row["created_at"], row["kind"]))
    return [(row["kind"], row["payload"]) for row in found]


async def test_webhooks_are_told_in_the_same_transaction_and_of_no_arguments(
    open_store: OpenStore, dump: Dump, clock: FixedClock
) -> None:
    store = await open_store(webhooks=[HOOK])
    made = await ask(store, args={"to": "secret"}, question="secret?", tool_call_id="c")
    await ask(store, args={"to": "secret"}, question="secret?", tool_call_id="c")
    await store.approvals.approve(made.id, by="ada", feedback="secret", remember=HOUR)
    await store.approvals.consume(made.id, {"to": "secret"})
    covered = await ask(store, args={"to": "secret"}, remembered=HOUR)
    taken = await ask(store)
    await store.approvals.cancel(taken.id)
    late = await ask(store)
    clock.advance(HOUR)
    await store.sweep()

    facts = await told(dump)
    assert [(kind, text.rpartition('"status":')[2]) for kind, text in facts] == [
        ("approval.requested", '"pending"}'),
        ("approval.resolved", '"approved"}'),
        ("approval.resolved", '"approved"}'),
        ("approval.requested", '"pending"}'),
        ("approval.resolved", '"cancelled"}'),
        ("approval.requested", '"pending"}'),
        ("approval.resolved", '"expired"}'),
        ("approval.resolved", '"expired"}'),
    ]
    assert "secret" not in repr(facts)
    assert made.id in facts[0][1]
    assert {covered.id in text for _, text in facts[-2:]} == {True, False}
    assert {late.id in text for _, text in facts[-2:]} == {True, False}


async def test_who_subscribes_hears_of_requests_and_answers(store: Store, key: SessionKey) -> None:
    facts = store.subscribe(["approval.requested", "approval.resolved"])
    made = await store.approvals.request("send", ARGS, session=key, tool_call_id="c")
    await store.approvals.request("send", ARGS, session=key, tool_call_id="c")
    done = await store.approvals.reject(made.id, by="ada")
    async with store.turn() as turn:
        asked = turn.approvals.request("send", app="shop")

    found = [await facts.get(within=5) for _ in range(3)]
    assert [(one.kind, one.app, one.user, one.session, one.value) for one in found if one] == [
        ("approval.requested", "support", "ada", "chat", made),
        ("approval.resolved", "support", "ada", "chat", done),
        ("approval.requested", "shop", "", None, asked.value),
    ]


# -- what is kept ----------------------------------------------------------------------------------


async def test_on_write_sees_what_is_asked_and_answered_and_the_digest_is_of_what_was_given(
    open_store: OpenStore,
) -> None:
    def hide(record: Any) -> Any:
        if isinstance(record, NewApproval):
            return replace(record, args={"to": "***"}, question="***")
        if isinstance(record, NewResolution):
            return replace(record, feedback="***")
        return record

    store = await open_store(on_write=hide)
    made = await ask(store, question="To bob?")
    found = await store.approvals.approve(made.id, by="ada", feedback="Yes, to bob.")

    assert (made.args, made.question, found.feedback) == ({"to": "***"}, "***", "***")
    assert await store.approvals.consume(made.id, {"to": "***"}) is False
    assert await store.approvals.consume(made.id, ARGS) is True


async def test_on_write_cannot_change_whom_or_what_it_is_about(open_store: OpenStore) -> None:
    def twist(record: Any) -> Any:
        if isinstance(record, NewApproval):
            return replace(record, tool_name=record.tool_name.removeprefix("x"))
        return replace(record, decision="approve")

    store = await open_store(on_write=twist)
    with pytest.raises(InvalidError, match="on_write"):
        await ask(store, tool="xsend")
    made = await ask(store)
    with pytest.raises(InvalidError, match="on_write"):
        await store.approvals.reject(made.id, by="ada")
    assert (await store.approvals.get(made.id)).status == "pending"


async def test_a_sweep_removes_what_was_closed_long_ago_if_it_is_told_to(
    open_store: OpenStore, dump: Dump, clock: FixedClock
) -> None:
    store = await open_store(retention=RetentionConfig(retention_days=None, approvals=HOUR))
    no, yes, pending = [await ask(store, ttl=None) for _ in range(3)]
    await store.approvals.reject(no.id, by="ada")
    await store.approvals.approve(yes.id, by="ada")
    clock.advance(2 * HOUR)

    assert (await store.sweep(dry_run=True)).kinds["approvals"].count == 1
    swept = await store.sweep()

    assert swept.kinds["approvals"].count == 1
    assert swept.kinds["approvals"].bytes > 0
    assert await store.approvals.find(no.id) is None
    assert no.id not in repr(await dump())
    assert (await store.approvals.get(yes.id)).status == "approved"
    assert (await store.approvals.get(pending.id)).status == "pending"


async def test_without_being_told_a_sweep_keeps_every_approval(
    open_store: OpenStore, clock: FixedClock
) -> None:
    store = await open_store(retention=RetentionConfig())
    made = await ask(store)
    await store.approvals.reject(made.id, by="ada")
    clock.advance(timedelta(days=1000))

    assert (await store.sweep()).kinds == {}
    assert (await store.approvals.get(made.id)).status == "rejected"


async def test_what_is_held_stays(
    open_store: OpenStore, key: SessionKey, clock: FixedClock
) -> None:
    store = await open_store(retention=RetentionConfig(retention_days=None, approvals=HOUR))
    made = await store.approvals.request("send", session=key)
    await store.approvals.reject(made.id, by="ada")
    await store.sessions.hold(key, by="legal", reason="case")
    clock.advance(2 * HOUR)

    assert (await store.sweep()).kinds == {}
    await store.sessions.release(key)
    assert (await store.sweep()).kinds["approvals"].count == 1
