"""Approvals across tenants, restarts, deleted sessions and turns."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    ALL,
    Approval,
    DeniedError,
    InvalidError,
    NotFoundError,
    Opaque,
    Principal,
    SessionKey,
    Store,
)
from perdure.testing.databases import OpenStore, Reopen

ARGS = {"to": "bob", "n": 1}
HOUR = timedelta(hours=1)
BOSS = Principal("boss", ["approver"])


async def ask(store: Store, tool: str = "send", args: Any = None, **given: Any) -> Approval:
    """A request of ada's, or of whoever is given."""
    given = {"app": "shop", "user": "ada", **given}
    return await store.approvals.request(tool, ARGS if args is None else args, **given)


async def approved(store: Store, **given: Any) -> Approval:
    found = await ask(store, **given)
    return await store.approvals.approve(found.id, by=BOSS)


# -- across tenants, restarts and sessions ---------------------------------------------------------


async def test_an_id_of_another_tenant_is_not_found(open_store: OpenStore) -> None:
    ours, theirs = await open_store(tenant="a"), await open_store(tenant="b")
    made = await approved(ours)

    assert await theirs.approvals.find(made.id) is None
    assert await theirs.approvals.consume(made.id, ARGS) is False
    for method in (theirs.approvals.get, theirs.approvals.audit, theirs.approvals.cancel):
        with pytest.raises(NotFoundError):
            await method(made.id)
    with pytest.raises(NotFoundError):
        await theirs.approvals.reject(made.id, by=BOSS)
    assert (await theirs.approvals.list(app=ALL)).items == []
    assert (await theirs.approvals.recover_pending()).pending == ()
    assert (await ours.approvals.get(made.id)).tenant == "a"


async def test_an_approval_outlives_the_store(store: Store, reopen: Reopen) -> None:
    made = await ask(store, tool_call_id="c1", resume=Opaque("x", b"y"))
    again = await reopen()

    assert await again.approvals.get(made.id) == made
    await again.approvals.approve(made.id, by="ada")
    last = await reopen()
    assert await last.approvals.consume(made.id, ARGS) is True


async def test_approvals_of_a_deleted_session_are_not_there_until_it_is_restored(
    store: Store, key: SessionKey
) -> None:
    made = await store.approvals.request("send", ARGS, session=key, tool_call_id="c")
    yes = await store.approvals.request("send", ARGS, session=key)
    await store.approvals.approve(yes.id, by="ada")
    await store.sessions.delete(key)

    assert await store.approvals.find(made.id) is None
    assert await store.approvals.consume(yes.id, ARGS) is False
    assert (await store.approvals.list(app=ALL)).items == []
    with pytest.raises(NotFoundError):
        await store.approvals.approve(made.id, by="ada")
    await store.sessions.create(*key)
    again = await store.approvals.request("send", ARGS, session=key, tool_call_id="c")
    assert again.id != made.id
    await store.sessions.purge(key)
    assert await store.approvals.find(again.id) is None


async def test_restoring_a_session_brings_its_approvals_back(store: Store, key: SessionKey) -> None:
    yes = await store.approvals.request("send", ARGS, session=key)
    await store.approvals.approve(yes.id, by="ada")
    await store.sessions.delete(key)
    await store.sessions.restore(key)

    assert await store.approvals.consume(yes.id, ARGS) is True


async def half_a_turn(store: Store, key: SessionKey) -> None:
    async with store.turn() as turn:
        turn.events.append(key, "May I?")
        turn.approvals.request("send", ARGS, session=key)
        turn.events.append(SessionKey("support", "ada", "unknown"), "x")


async def test_a_fork_has_none_of_the_approvals(store: Store, key: SessionKey) -> None:
    made = await store.approvals.request("send", ARGS, session=key, tool_call_id="c")
    await store.approvals.approve(made.id, by=key.user, remember=HOUR)

    fork = (await store.sessions.fork(key)).key

    assert (await store.approvals.list(session=fork)).items == []
    again = await store.approvals.request(
        "send",
        ARGS,
        session=fork,
        tool_call_id="c",
        thread_id=key.id,
        remembered=HOUR,
    )
    assert again.status == "pending"


async def test_a_turn_asks_together_with_what_it_says(store: Store, key: SessionKey) -> None:
    async with store.turn() as turn:
        fresh = turn.sessions.create("support", "ada", "fresh")
        said = turn.events.append(key, "May I?")
        asked = turn.approvals.request("send", ARGS, session=key, tool_call_id="c")
        also = turn.approvals.request("send", ARGS, session=SessionKey("support", "ada", "fresh"))

    assert (await store.approvals.get(asked.value.id)).session == key
    assert (await store.approvals.get(also.value.id)).session == fresh.value.key
    assert said.value.event.seq == 1


async def test_a_turn_that_fails_asks_for_nothing(store: Store, key: SessionKey) -> None:
    with pytest.raises(NotFoundError):
        await half_a_turn(store, key)

    assert (await store.approvals.list(app=ALL)).items == []
    assert await store.events.count(key) == 0


async def test_a_turn_can_take_back_and_use(store: Store) -> None:
    made, yes = await ask(store), await approved(store)

    async with store.turn() as turn:
        taken = turn.approvals.cancel(made.id)
        used = turn.approvals.consume(yes.id, ARGS)
        twice = turn.approvals.consume(yes.id, ARGS)

    assert (taken.value.status, used.value, twice.value) == ("cancelled", True, False)


async def test_who_may_answer_is_not_asked_inside_a_turn(store: Store) -> None:
    made = await ask(store)

    async with store.turn() as turn:
        gated: Any = turn.approvals.required()(lambda: None)
        with pytest.raises(InvalidError, match="turn"):
            gated()
        with pytest.raises(InvalidError, match="turn"):
            turn.approvals.approve(made.id, by=BOSS)  # type: ignore[arg-type, unused-coroutine]


async def test_after_a_denial_nothing_is_changed(store: Store) -> None:
    made = await ask(store)

    with pytest.raises(DeniedError, match="'eve'"):
        await store.approvals.approve(made.id, by="eve")

    assert await store.approvals.get(made.id) == made
