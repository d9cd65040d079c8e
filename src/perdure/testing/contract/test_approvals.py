"""Approvals: who asks, who answers, and what may run then, once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from perdure import (
    ALL,
    Approval,
    ConflictError,
    InvalidError,
    NotFoundError,
    Opaque,
    Principal,
    SessionKey,
    Store,
    TooLargeError,
)
from perdure.testing.clocks import FixedClock

ARGS = {"to": "bob", "n": 1}
BOSS = Principal("boss", ["approver"])
MINUTE = timedelta(minutes=1)


async def ask(store: Store, tool: str = "send", args: Any = None, **given: Any) -> Approval:
    """A request of ada's, or of whoever is given."""
    given = {"app": "shop", "user": "ada", **given}
    return await store.approvals.request(tool, ARGS if args is None else args, **given)


async def approved(store: Store, **given: Any) -> Approval:
    found = await ask(store, **given)
    return await store.approvals.approve(found.id, by=BOSS)


async def moves(store: Store, approval_id: str) -> list[tuple[str, str, str]]:
    steps = await store.approvals.audit(approval_id)
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    return [(step.by, step.from_status, step.to_status) for step in steps]


# -- asking ----------------------------------------------------------------------------------------


async def test_a_request_comes_back_with_all_that_was_given(
    store: Store, key: SessionKey, clock: FixedClock
) -> None:
    clock.step = timedelta(0)
    made = await store.approvals.request(
        "send", {"to": ["x", 2**70, -0.5]}, session=key, run_id="r1", tool_call_id="c1",
        question="Send it?", sender_context="slack:C1", agent="courier", payload={"p": [None]},
        resume=Opaque("pickle", b"\0\1"), ttl=MINUTE,
    )  # fmt: skip

    again = await store.approvals.get(made.id)
    assert again == made
    assert made.session == key
    assert (made.app, made.user, made.tenant, made.thread_id) == ("support", "ada", "", "chat")
    assert (made.kind, made.tool_name, made.args) == ("tool", "send", {"to": ["x", 2**70, -0.5]})
    assert (made.run_id, made.tool_call_id, made.agent) == ("r1", "c1", "courier")
    assert (made.question, made.sender_context) == ("Send it?", "slack:C1")
    assert (made.payload, made.resume) == ({"p": [None]}, Opaque("pickle", b"\0\1"))
    assert (made.status, made.created_by) == ("pending", "ada")
    assert made.expires_at == made.created_at + MINUTE == clock.now + MINUTE
    nothing_yet = (made.resolved_at, made.resolved_by, made.feedback, made.edited_args, made.rule)
    assert nothing_yet == (None, "", "", None, "")
    assert made.consumed_at is None
    assert await moves(store, made.id) == [("courier", "", "pending")]


async def test_half_an_hour_is_the_default_and_none_is_for_ever(store: Store) -> None:
    usual, endless = await ask(store), await ask(store, ttl=None)

    assert usual.expires_at == usual.created_at + timedelta(minutes=30)
    assert endless.expires_at is None


async def test_a_pause_that_is_no_tool_call_needs_no_tool(store: Store) -> None:
    made = await store.approvals.request(kind="interrupt", thread_id="t", payload={"node": "plan"})

    assert (made.kind, made.tool_name, made.args, made.payload) == (
        "interrupt", "", {}, {"node": "plan"},
    )  # fmt: skip
    assert (made.app, made.user, made.session, made.created_by) == ("", "", None, "")


async def test_the_same_call_is_the_same_approval(store: Store) -> None:
    first = await ask(store, thread_id="t", tool_call_id="c1", args={"a": 1, "b": [2.0]})
    again = await ask(store, thread_id="t", tool_call_id="c1", args={"b": [2], "a": 1.0})
    elsewhere = await ask(store, thread_id="u", tool_call_id="c1", args={"a": 1, "b": [2.0]})
    other = await ask(store, thread_id="t", tool_call_id="c2", args={"a": 1, "b": [2.0]})
    unnamed = [(await ask(store, thread_id="t")).id for _ in range(2)]

    assert again == first
    assert len({first.id, elsewhere.id, other.id, *unnamed}) == 5
    await store.approvals.approve(first.id, by=BOSS)
    late = await ask(store, thread_id="t", tool_call_id="c1", args={"a": 1, "b": [2]})
    assert (late.id, late.status) == (first.id, "approved")
    assert len(await moves(store, first.id)) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"args": {"a": 2}},
        {"args": {"a": True}},
        {"args": {"a": 1, "b": None}},
        {"tool": "delete"},
        {"payload": 1},
        {"kind": "external"},
    ],
)
async def test_the_same_call_with_something_else_is_a_conflict(store: Store, other: Any) -> None:
    await ask(store, thread_id="t", tool_call_id="c1", args={"a": 1})

    with pytest.raises(ConflictError, match="'c1'"):
        await ask(store, **{"thread_id": "t", "tool_call_id": "c1", "args": {"a": 1}, **other})
    assert len((await store.approvals.list(app="shop")).items) == 1


async def test_requests_of_one_call_at_the_same_moment_are_one(store: Store) -> None:
    made = await asyncio.gather(*(ask(store, thread_id="t", tool_call_id="c") for _ in range(8)))

    assert len({one.id for one in made}) == 1


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"tool": " "}, "tool_name"),
        ({"tool": 7}, "tool_name"),
        ({"args": {"x": float("nan")}}, "args.x"),
        ({"args": {"x": b"y"}}, "args.x"),
        ({"payload": {1: 2}}, "payload"),
        ({"resume": b"x"}, "resume"),
        ({"kind": "other"}, "kind"),
        ({"ttl": timedelta(0)}, "ttl"),
        ({"ttl": 30}, "ttl"),
        ({"ttl": timedelta.max}, "ttl"),
        ({"thread_id": "a\0b"}, "thread_id"),
        ({"tool_call_id": 7}, "tool_call_id"),
        ({"created_by": "system:x"}, "by"),
        ({"session": ("a", "b")}, "key"),
        ({"remembered": -MINUTE}, "remembered"),
        ({"remembered": timedelta.max}, "remembered"),
        ({"session": SessionKey("other", "ada", "chat")}, "app"),
    ],
)
async def test_what_cannot_be_stored_is_refused_before_it_is(
    store: Store, wrong: Any, path: str
) -> None:
    with pytest.raises(InvalidError) as refused:
        await ask(store, **wrong)

    assert refused.value.path == path
    assert (await store.approvals.list(app=ALL)).items == []


@pytest.mark.parametrize(
    "large",
    [{"tool": "x" * 513}, {"question": "x" * 16_385}, {"args": "x" * (16 * 2**20)}],
)
async def test_what_is_too_large_is_refused(store: Store, large: Any) -> None:
    with pytest.raises(TooLargeError):
        await ask(store, **large)


async def test_names_of_the_largest_size_that_cannot_be_compressed_are_taken(store: Store) -> None:
    import random  # noqa: PLC0415 - here alone

    rnd = random.Random(1)
    names = ["".join(rnd.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=512)) for _ in range(7)]
    app, user, thread, call, tool, run_id, agent = names
    made = await store.approvals.request(
        tool, {}, app=app, user=user, thread_id=thread, tool_call_id=call, run_id=run_id,
        agent=agent,
    )  # fmt: skip
    await store.approvals.approve(made.id, by=BOSS, remember=MINUTE)

    assert await store.approvals.consume(made.id)
    assert len((await store.approvals.remembered(app=app, user=user)).items) == 1


async def test_a_session_that_is_not_there_has_no_approvals(store: Store) -> None:
    with pytest.raises(NotFoundError, match="'gone'"):
        await store.approvals.request("send", session=SessionKey("support", "ada", "gone"))


# -- answering -------------------------------------------------------------------------------------


async def test_a_yes_says_who_and_when_and_why(store: Store) -> None:
    made = await ask(store)

    found = await store.approvals.resolve(made.id, "approve", by="ada", feedback="fine")

    assert (found.status, found.resolved_by, found.feedback) == ("approved", "ada", "fine")
    assert found.resolved_at is not None
    assert found.resolved_at > found.created_at
    assert await store.approvals.get(made.id) == found
    assert (await moves(store, made.id))[1:] == [("ada", "pending", "approved")]


async def test_of_two_answers_the_second_is_told_of_the_first(store: Store) -> None:
    made = await ask(store)
    await store.approvals.reject(made.id, by=BOSS, feedback="no")

    with pytest.raises(ConflictError, match="rejected by 'boss'"):
        await store.approvals.approve(made.id, by="ada")
    with pytest.raises(ConflictError, match="rejected by 'boss'"):
        await store.approvals.reject(made.id, by=BOSS)
    with pytest.raises(ConflictError, match="rejected by 'boss'"):
        await store.approvals.cancel(made.id)

    found = await store.approvals.get(made.id)
    assert (found.status, found.feedback) == ("rejected", "no")
    assert len(await moves(store, made.id)) == 2


async def test_of_many_answers_at_once_one_wins(store: Store) -> None:
    made = await ask(store)

    outcomes = await asyncio.gather(
        *(store.approvals.approve(made.id, by=Principal(f"p{n}", ["approver"])) for n in range(8)),
        *(store.approvals.reject(made.id, by=Principal(f"q{n}", ["approver"])) for n in range(8)),
        return_exceptions=True,
    )

    won = [one for one in outcomes if isinstance(one, Approval)]
    assert len(won) == 1
    assert sum(isinstance(one, ConflictError) for one in outcomes) == 15
    assert (await store.approvals.get(made.id)).resolved_by == won[0].resolved_by


async def test_feedback_decides_nothing(store: Store) -> None:
    made = await ask(store)
    await store.approvals.approve(made.id, by="ada", feedback="do it otherwise")

    assert await store.approvals.consume(made.id, ARGS) is True


async def test_what_is_pending_can_be_taken_back(store: Store) -> None:
    made = await ask(store)

    found = await store.approvals.cancel(made.id, by="courier", feedback="changed my mind")

    assert (found.status, found.resolved_by) == ("cancelled", "courier")
    assert await store.approvals.consume(made.id, ARGS) is False
    assert (await moves(store, made.id))[1:] == [("courier", "pending", "cancelled")]


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"decision": "yes"}, "decision"),
        ({"decision": "approved"}, "decision"),
        ({"decision": None}, "decision"),
        ({"by": ""}, "by"),
        ({"by": None}, "by"),
        ({"by": "system:boss"}, "by"),
        ({"by": Principal("x", "approver")}, "by"),
        ({"decision": "reject", "edited_args": {}}, "decision"),
        ({"decision": "reject", "remember": MINUTE}, "decision"),
        ({"remember": timedelta(0)}, "remember"),
        ({"remember": timedelta.max}, "remember"),
        ({"same_args": None}, "same_args"),
        ({"same_args": 0}, "same_args"),
        ({"remember": MINUTE}, "remember"),
        ({"edited_args": {"x": float("inf")}}, "edited_args.x"),
        ({"feedback": 7}, "feedback"),
    ],
)
async def test_an_answer_that_is_none_changes_nothing(store: Store, wrong: Any, path: str) -> None:
    made = await ask(store)

    with pytest.raises(InvalidError) as refused:
        await store.approvals.resolve(made.id, **{"decision": "approve", "by": BOSS, **wrong})

    assert refused.value.path == path
    assert await store.approvals.get(made.id) == made


async def test_an_unknown_id_is_not_found(store: Store) -> None:
    made = await ask(store)
    for unknown in ("x", made.id + "0", made.id[:-1], "rem_" + made.id[4:]):
        assert await store.approvals.find(unknown) is None
        assert await store.approvals.consume(unknown, ARGS) is False
        for method in (store.approvals.get, store.approvals.wait, store.approvals.cancel):
            with pytest.raises(NotFoundError):
                await method(unknown)
        with pytest.raises(NotFoundError):
            await store.approvals.approve(unknown, by=BOSS)
    assert await store.approvals.find(made.id) == made
    with pytest.raises(InvalidError):
        await store.approvals.get("")


# -- running ---------------------------------------------------------------------------------------


async def test_what_was_approved_may_run_once(store: Store) -> None:
    made = await approved(store)

    assert await store.approvals.consume(made.id, {"n": 1.0, "to": "bob"}, by="courier") is True
    assert await store.approvals.consume(made.id, ARGS, by="courier") is False

    found = await store.approvals.get(made.id)
    assert (found.status, found.resolved_by) == ("consumed", "boss")
    assert found.consumed_at is not None
    assert (await moves(store, made.id))[2:] == [("courier", "approved", "consumed")]


async def test_of_many_who_would_run_it_one_may(store: Store) -> None:
    made = await approved(store)

    may = await asyncio.gather(*(store.approvals.consume(made.id, ARGS) for _ in range(12)))

    assert sorted(may) == [False] * 11 + [True]


@pytest.mark.parametrize(
    "other", [{}, {"to": "bob"}, {"to": "bob", "n": True}, {"to": "Bob", "n": 1}, None, [], "x"]
)
async def test_other_arguments_may_not_run(store: Store, other: Any) -> None:
    made = await approved(store)

    assert await store.approvals.consume(made.id, other) is False
    assert await store.approvals.consume(made.id, ARGS) is True


async def test_nothing_runs_that_was_not_approved(store: Store) -> None:
    pending, rejected = await ask(store), await ask(store)
    await store.approvals.reject(rejected.id, by="ada")

    assert await store.approvals.consume(pending.id, ARGS) is False
    assert await store.approvals.consume(rejected.id, ARGS) is False
    assert (await store.approvals.get(pending.id)).status == "pending"


async def test_edited_arguments_take_the_place_of_those_that_were_asked_for(store: Store) -> None:
    made = await ask(store)
    found = await store.approvals.approve(made.id, by="ada", edited_args={"to": "eve"})

    assert (found.args, found.edited_args, found.approved_args) == (
        ARGS, {"to": "eve"}, {"to": "eve"},
    )  # fmt: skip
    assert found.args_sha256 == made.args_sha256
    assert await store.approvals.consume(made.id, ARGS) is False
    assert await store.approvals.consume(made.id, {"to": "eve"}) is True


async def test_the_digest_is_that_of_the_canonical_arguments(store: Store) -> None:
    made = await ask(store, args={"b": [1.0, 0.5, -0.0], "a": {"é": "\n", "A": None}})

    text = '{"a":{"A":null,"é":"\\n"},"b":[1,0.5,0]}'
    assert made.args_sha256 == sha256(text.encode()).hexdigest()


# -- time ------------------------------------------------------------------------------------------


async def test_an_approval_ends_at_the_moment_it_expires(store: Store, clock: FixedClock) -> None:
    clock.step = timedelta(0)
    made, yes = await ask(store, ttl=MINUTE), await ask(store, ttl=MINUTE)
    await store.approvals.approve(yes.id, by="ada")
    clock.advance(MINUTE - timedelta(microseconds=1))
    assert (await store.approvals.get(made.id)).status == "pending"
    assert (await store.approvals.get(yes.id)).status == "approved"
    clock.advance(timedelta(microseconds=1))

    assert (await store.approvals.get(made.id)).status == "expired"
    assert (await store.approvals.get(yes.id)).status == "expired"
    with pytest.raises(ConflictError, match="expired"):
        await store.approvals.approve(made.id, by="ada")
    assert await store.approvals.consume(yes.id, ARGS) is False
    assert await store.approvals.consume(made.id, ARGS) is False


async def test_a_sweep_notes_what_has_expired_and_keeps_it(store: Store, clock: FixedClock) -> None:
    made, yes, endless = await ask(store, ttl=MINUTE), await ask(store), await ask(store, ttl=None)
    await store.approvals.approve(yes.id, by="ada")
    clock.advance(timedelta(hours=1))

    planned = await store.sweep(dry_run=True)
    swept = await store.sweep()

    assert planned.kinds["approvals_expired"].count == 2
    assert swept.kinds["approvals_expired"].count == 2
    assert (await store.sweep()).kinds == {}
    found = await store.approvals.get(made.id)
    assert (found.status, found.resolved_by) == ("expired", "system:expiry")
    assert (await moves(store, made.id))[1:] == [("system:expiry", "pending", "expired")]
    late = await store.approvals.get(yes.id)
    assert (late.status, late.resolved_by) == ("expired", "ada")
    assert (await moves(store, yes.id))[2:] == [("system:expiry", "approved", "expired")]
    assert (await store.approvals.get(endless.id)).status == "pending"
