"""Who may answer, what is remembered, what is listed, and who is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    ALL,
    Approval,
    DeniedError,
    InvalidError,
    NotFoundError,
    Page,
    Principal,
    RememberedApproval,
    SessionKey,
    Store,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import OpenStore

ARGS = {"to": "bob"}
BOSS = Principal("boss", ["approver"])
HOUR = timedelta(hours=1)


async def ask(store: Store, tool: str = "send", args: Any = None, **given: Any) -> Approval:
    given = {"app": "shop", "user": "ada", "thread_id": "t", **given}
    return await store.approvals.request(tool, ARGS if args is None else args, **given)


async def ids(store: Store, **given: Any) -> list[str]:
    return [one.id for one in (await store.approvals.list(**given)).items]


# -- who may answer --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "given", "may"),
    [
        ("ada", {}, True),
        ("eve", {}, False),
        ("eve", {"created_by": "eve"}, True),
        ("ada", {"created_by": "eve"}, False),
        ("ADA", {}, False),
        (Principal("boss", ["approver"]), {}, True),
        (Principal("boss", {"other", "approver"}), {"created_by": ""}, True),
        (Principal("boss", ["admin"]), {}, False),
        ("ada", {"created_by": ""}, False),
        ("ada", {"agent": "ada"}, False),
        (Principal("courier", ["approver"]), {"agent": "courier"}, False),
        ("courier", {"agent": "courier", "created_by": "courier"}, False),
    ],
)
async def test_without_a_rule_the_creator_or_an_approver_answers_and_never_the_agent(
    store: Store, by: Any, given: Any, may: bool
) -> None:
    made = await ask(store, **given)

    for decision in ("reject", "approve"):
        if may:
            continue
        with pytest.raises(DeniedError):
            await store.approvals.resolve(made.id, decision, by=by)
    if may:
        assert (await store.approvals.reject(made.id, by=by)).status == "rejected"
    else:
        assert await store.approvals.get(made.id) == made


def rule(answers: Sequence[Any], asked: list[tuple[Principal, Approval]]) -> Any:
    left = list(answers)

    def can_resolve(who: Principal, approval: Approval) -> Any:
        asked.append((who, approval))
        return left.pop(0)

    return can_resolve


async def test_the_stores_rule_is_asked_on_every_path(open_store: OpenStore) -> None:
    asked: list[tuple[Principal, Approval]] = []
    store = await open_store(can_resolve=rule([False, False, False, True], asked))
    made = await ask(store)

    with pytest.raises(DeniedError, match="can_resolve"):
        await store.approvals.resolve(made.id, "approve", by="ada")
    with pytest.raises(DeniedError):
        await store.approvals.approve(made.id, by="ada")
    with pytest.raises(DeniedError):
        await store.approvals.reject(made.id, by=BOSS)
    found = await store.approvals.approve(made.id, by="eve")

    assert found.resolved_by == "eve"
    assert [who for who, _ in asked] == [
        Principal("ada"), Principal("ada"), BOSS, Principal("eve"),
    ]  # fmt: skip
    assert {approval.id for _, approval in asked} == {made.id}


@pytest.mark.parametrize("answer", [None, 1, "yes", [True]])
async def test_whatever_a_rule_says_that_is_not_true_is_no(
    open_store: OpenStore, answer: object
) -> None:
    store = await open_store(can_resolve=rule([answer], []))
    made = await ask(store)

    with pytest.raises(DeniedError):
        await store.approvals.approve(made.id, by=BOSS)


async def test_a_rule_may_be_async_and_its_error_is_the_callers(open_store: OpenStore) -> None:
    async def slowly(who: Principal, approval: Approval) -> bool:
        await asyncio.sleep(0.001)
        if who.id == "nobody":
            raise RuntimeError(approval.tool_name)
        return who.id == "eve"

    store = await open_store(can_resolve=slowly)
    made = await ask(store)

    with pytest.raises(RuntimeError, match="send"):
        await store.approvals.approve(made.id, by="nobody")
    assert (await store.approvals.get(made.id)).status == "pending"
    assert (await store.approvals.approve(made.id, by="eve")).status == "approved"


async def test_no_rule_lets_an_agent_answer_itself(open_store: OpenStore) -> None:
    store = await open_store(can_resolve=lambda *_: True)
    made = await ask(store, agent="courier")

    with pytest.raises(DeniedError, match="has asked"):
        await store.approvals.approve(made.id, by="courier")


async def test_options_that_are_none_are_refused(open_store: OpenStore) -> None:
    for wrong in ({"can_resolve": True}, {"approval_policy": ["send"]}):
        with pytest.raises(InvalidError):
            await open_store(**wrong)


# -- remembered ------------------------------------------------------------------------------------


async def remembering(store: Store, **given: Any) -> Approval:
    made = await ask(store)
    return await store.approvals.approve(made.id, by="ada", **{"remember": HOUR, **given})


async def test_a_remembered_approval_covers_the_same_call_of_the_thread(store: Store) -> None:
    first = await remembering(store)
    [kept] = (await store.approvals.remembered(app="shop")).items

    again = await ask(store, remembered=HOUR)

    assert (again.status, again.resolved_by) == ("approved", "system:remembered")
    assert again.rule == kept.id
    assert (kept.approval_id, kept.created_by, kept.tool_name) == (first.id, "ada", "send")
    assert (kept.thread_id, kept.args_sha256) == ("t", first.args_sha256)
    assert kept.expires_at - kept.created_at == HOUR
    assert [step.to_status for step in await store.approvals.audit(again.id)] == [
        "pending", "approved",
    ]  # fmt: skip
    assert (await store.approvals.audit(again.id))[-1].rule == kept.id
    assert (await store.approvals.audit(first.id))[-1].rule == "remembered for 3600 s"
    assert await store.approvals.consume(again.id, ARGS) is True


@pytest.mark.parametrize(
    "other",
    [
        {"user": "bob"},
        {"app": "lab"},
        {"thread_id": "u"},
        {"thread_id": ""},
        {"tool": "Send"},
        {"tool": "delete"},
        {"args": {"to": "eve"}},
        {"remembered": None},
    ],
)
async def test_it_covers_nothing_else(store: Store, other: Any) -> None:
    await remembering(store)

    assert (await ask(store, **{"remembered": HOUR, **other})).status == "pending"


async def test_it_covers_no_other_tenant(open_store: OpenStore) -> None:
    await remembering(await open_store(tenant="a"))

    assert (await ask(await open_store(tenant="b"), remembered=HOUR)).status == "pending"


async def test_a_pause_that_is_no_call_is_neither_remembered_nor_covered(store: Store) -> None:
    await remembering(store, same_args=False)

    asked = await ask(store, kind="interrupt", payload={"wipe": "all"}, remembered=HOUR)

    assert asked.status == "pending"
    with pytest.raises(InvalidError, match="cannot be remembered"):
        await store.approvals.approve(asked.id, by="ada", remember=HOUR)


async def test_what_an_agent_has_approved_covers_nothing_that_it_asks_itself(store: Store) -> None:
    made = await ask(store, agent="courier")
    robot = Principal("robot", ["approver"])
    await store.approvals.approve(made.id, by=robot, remember=HOUR, same_args=False)

    assert (await ask(store, agent="courier", remembered=HOUR)).status == "approved"
    assert (await ask(store, agent="robot", remembered=HOUR)).status == "pending"


async def test_for_any_arguments_only_where_that_was_said(store: Store) -> None:
    await remembering(store, same_args=False)

    assert (await ask(store, args={"to": "eve"}, remembered=HOUR)).status == "approved"
    [kept] = (await store.approvals.remembered(app=ALL)).items
    assert kept.args_sha256 is None


async def test_of_an_edited_call_what_it_became_is_remembered(store: Store) -> None:
    await remembering(store, edited_args={"to": "eve"})

    assert (await ask(store, remembered=HOUR)).status == "pending"
    assert (await ask(store, args={"to": "eve"}, remembered=HOUR)).status == "approved"


async def test_it_ends_with_its_time_and_when_it_is_too_old_for_who_asks(
    store: Store, clock: FixedClock
) -> None:
    clock.step = timedelta(0)
    await remembering(store)
    clock.advance(HOUR / 2)
    assert (await ask(store, remembered=HOUR / 2)).status == "pending"
    assert (await ask(store, remembered=HOUR)).status == "approved"
    clock.advance(HOUR / 2)

    assert (await ask(store, remembered=2 * HOUR)).status == "pending"
    assert (await store.approvals.remembered(app=ALL)).items == []
    assert (await store.sweep()).kinds["approvals_remembered"].count == 1


async def test_a_refused_answer_remembers_nothing(store: Store) -> None:
    made = await ask(store)
    with pytest.raises(DeniedError):
        await store.approvals.approve(made.id, by="eve", remember=HOUR)
    await store.approvals.reject(made.id, by="ada")
    with pytest.raises(Exception, match="rejected"):
        await store.approvals.approve(made.id, by="ada", remember=HOUR)

    assert (await store.approvals.remembered(app=ALL)).items == []


async def test_what_is_forgotten_counts_no_more(open_store: OpenStore) -> None:
    store, other = await open_store(tenant="a"), await open_store(tenant="b")
    await remembering(store)
    [kept] = (await store.approvals.remembered(app="shop", user="ada")).items

    assert await other.approvals.forget(kept.id) is False
    assert await store.approvals.forget(kept.id) is True
    assert await store.approvals.forget(kept.id) is False
    assert (await ask(store, remembered=HOUR)).status == "pending"
    with pytest.raises(NotFoundError):
        await store.approvals.forget("rem_x")


async def test_forgetting_what_a_session_remembers_leaves_what_was_said_without_it(
    store: Store, key: SessionKey
) -> None:
    about: dict[str, Any] = {"app": key.app, "user": key.user, "thread_id": key.id}
    ways: list[dict[str, Any]] = [{"session": key}, about]
    for given in ways:
        made = await store.approvals.request("send", ARGS, **given)
        await store.approvals.approve(made.id, by=key.user, remember=HOUR)
    of_session, without = sorted(
        (await store.approvals.remembered(app=key.app)).items, key=lambda one: one.session is None
    )

    assert await store.approvals.forget(of_session.id) is True

    assert (await store.approvals.remembered(app=key.app)).items == [without]
    again = await store.approvals.request("send", ARGS, remembered=HOUR, **about)
    assert again.status == "approved"


async def test_a_session_made_anew_remembers_nothing(store: Store, key: SessionKey) -> None:
    made = await store.approvals.request("send", ARGS, session=key)
    await store.approvals.approve(made.id, by="ada", remember=HOUR)
    again = await store.approvals.request("send", ARGS, session=key, remembered=HOUR)
    assert again.status == "approved"
    await store.sessions.delete(key)
    await store.sessions.create(*key)

    fresh = await store.approvals.request("send", ARGS, session=key, remembered=HOUR)

    assert fresh.status == "pending"


async def test_what_is_remembered_is_listed_page_by_page(store: Store) -> None:
    for user in ("ada", "bob"):
        for thread in ("t", "u", "v"):
            made = await ask(store, user=user, thread_id=thread)
            await store.approvals.approve(made.id, by=BOSS, remember=HOUR)

    found: list[RememberedApproval] = []
    cursor = None
    while True:
        page = await store.approvals.remembered(app="shop", cursor=cursor, limit=4)
        found += page.items
        if (cursor := page.next_cursor) is None:
            break

    assert len({one.id for one in found}) == 6
    assert {(one.user, one.thread_id) for one in found} == {
        (user, thread) for user in ("ada", "bob") for thread in "tuv"
    }
    assert len((await store.approvals.remembered(app="shop", user="bob")).items) == 3
    assert (await store.approvals.remembered(app="lab")).items == []


# -- lists -----------------------------------------------------------------------------------------


async def test_a_list_is_newest_first_and_narrowed_by_whatever_is_given(
    store: Store, key: SessionKey
) -> None:
    one = await ask(store, run_id="r1")
    two = await ask(store, user="bob", thread_id="u")
    three = await store.approvals.request("send", session=key)
    four = await store.approvals.request("send")

    assert await ids(store, app=ALL) == [four.id, three.id, two.id, one.id]
    assert await ids(store) == [four.id]
    assert await ids(store, app="shop") == [two.id, one.id]
    assert await ids(store, app="shop", user="bob") == [two.id]
    assert await ids(store, app="support", user="ada") == [three.id]
    assert await ids(store, session=key) == [three.id]
    assert await ids(store, app=ALL, thread="u") == [two.id]
    assert await ids(store, app=ALL, thread="chat") == [three.id]
    assert await ids(store, app=ALL, run_id="r1") == [one.id]
    assert [one.id async for one in store.approvals.iter(app="shop")] == [two.id, one.id]
    with pytest.raises(NotFoundError):
        await store.approvals.list(session=SessionKey("support", "ada", "gone"))


async def test_a_list_by_status_goes_by_the_clock(store: Store, clock: FixedClock) -> None:
    brief, brief_yes, yes, no, back, used, pending = [
        await ask(store, ttl=ttl) for ttl in (HOUR, HOUR, None, None, None, None, None)
    ]
    for made in (brief_yes, yes, used):
        await store.approvals.approve(made.id, by="ada")
    await store.approvals.reject(no.id, by="ada")
    await store.approvals.cancel(back.id)
    await store.approvals.consume(used.id, ARGS)
    clock.advance(2 * HOUR)
    expected = {
        "pending": [pending.id],
        "approved": [yes.id],
        "rejected": [no.id],
        "cancelled": [back.id],
        "consumed": [used.id],
        "expired": [brief_yes.id, brief.id],
    }

    for _ in range(2):
        found = {status: await ids(store, app="shop", status=status) for status in expected}
        assert found == expected
        # Noted or not, it is the same.
        await store.sweep()


async def test_a_list_comes_in_pages_that_miss_and_repeat_nothing(store: Store) -> None:
    made = [(await ask(store, user=f"u{n % 3}")).id for n in range(11)]

    found: list[str] = []
    cursor = None
    while True:
        page: Page[Approval] = await store.approvals.list(app="shop", limit=4, cursor=cursor)
        found += [one.id for one in page.items]
        if (cursor := page.next_cursor) is None:
            break
        await ask(store)

    assert found == made[::-1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "open"},
        {"status": ["pending"]},
        {"limit": 0},
        {"cursor": "x"},
        {"app": ALL, "user": "ada"},
        {"thread": 7},
        {"session": "chat"},
    ],
)
async def test_a_list_of_what_cannot_be_is_refused(store: Store, wrong: Any) -> None:
    with pytest.raises(InvalidError):
        await store.approvals.list(**wrong)
