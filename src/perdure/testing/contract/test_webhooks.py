"""The outbox: which facts are told, with what they tell of, to whom, and for how long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perdure import DELETE, InvalidError, NewEvent, RetentionConfig, SessionKey, Store, Webhook
from perdure.features.outbox import id_of
from perdure.tables import TABLES
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, OpenStore

HOOK = Webhook(url="https://example.org/hook", secret="a secret of some length")
OTHER = Webhook(url="https://example.com/", secret="a secret of some length", kinds=["user.*"])
DAY = timedelta(days=1)
COLUMNS = next(table.columns for table in TABLES if table.name == "outbox")


async def with_hooks(open_store: OpenStore, *hooks: Webhook, **options: Any) -> Store:
    return await open_store(webhooks=list(hooks) or [HOOK], **options)


async def facts(dump: Dump) -> list[dict[str, Any]]:
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in (await dump())["outbox"]]
    return sorted(rows, key=lambda row: (row["created_at"], row["id"]))


async def kinds(dump: Dump) -> list[str]:
    return [row["kind"] for row in await facts(dump)]


async def test_without_webhooks_nothing_is_noted(store: Store, key: SessionKey, dump: Dump) -> None:
    await store.sessions.delete(key)
    await store.erase_user("support", "ada")

    assert await facts(dump) == []


async def test_a_fact_names_the_session_and_nothing_that_was_said(
    open_store: OpenStore, dump: Dump, clock: FixedClock
) -> None:
    clock.step = timedelta(0)
    store = await with_hooks(open_store)

    made = await store.sessions.create("support", "ada", "chat", title="said")

    [row] = await facts(dump)
    assert row["kind"] == "session.created"
    assert row["payload"] == (
        f'{{"app":"support","user":"ada","session":"chat","uid":"{made.uid}"}}'
    )
    assert row["hook"] == id_of(HOOK)
    assert "example" not in repr(row)
    assert row["due_at"] == row["created_at"] < row["expires_at"]


async def test_each_change_of_a_sessions_life_is_told_once(
    open_store: OpenStore, dump: Dump
) -> None:
    store = await with_hooks(open_store)
    key = (await store.sessions.create("support", "ada", "chat")).key
    await store.sessions.get_or_create(*key)
    await store.events.append(key, NewEvent("hi"))
    await store.sessions.update(key, title="x", metadata={"m": DELETE})
    await store.sessions.fork(key, id="fork")
    await store.sessions.delete(key)
    await store.sessions.delete(key)
    await store.sessions.restore(key)
    await store.sessions.purge(key)
    await store.sessions.purge(key)

    assert await kinds(dump) == [
        "session.created",
        "session.created",
        "session.deleted",
        "session.restored",
        "session.deleted",
    ]


async def test_purging_what_was_deleted_tells_it_no_second_time(
    open_store: OpenStore, dump: Dump
) -> None:
    store = await with_hooks(open_store)
    key = (await store.sessions.create("support", "ada", "chat")).key
    await store.sessions.delete(key)
    await store.sessions.purge(key)

    assert await kinds(dump) == ["session.created", "session.deleted"]


async def test_of_what_is_deleted_with_its_children_each_is_told(
    open_store: OpenStore, dump: Dump
) -> None:
    store = await with_hooks(open_store, deleted_grace=timedelta(0))
    key = (await store.sessions.create("support", "ada", "chat")).key
    await store.sessions.create("support", "ada", "child", parent=key)
    await store.sessions.delete(key, children=True)

    rows = [row for row in await facts(dump) if row["kind"] == "session.deleted"]
    assert {'"session":"chat"' in row["payload"] for row in rows} == {True, False}
    assert len(rows) == 2


async def test_a_sweep_tells_what_it_removes_and_why(
    open_store: OpenStore, dump: Dump, clock: FixedClock
) -> None:
    store = await with_hooks(open_store, retention=RetentionConfig())
    await store.sessions.create("support", "ada", "brief", ttl=DAY)
    await store.sessions.create("support", "ada", "idle")
    clock.advance(60 * DAY)

    await store.sweep()

    payloads = [row["payload"] for row in await facts(dump)]
    assert [("brief" in text, '"reason":"expired"' in text) for text in payloads].count(
        (True, True)
    ) == 1
    assert [("idle" in text, '"reason":"idle"' in text) for text in payloads].count(
        (True, True)
    ) == 1


async def test_a_sweep_tells_nobody_of_another_tenants_sessions(
    open_store: OpenStore, dump: Dump, clock: FixedClock
) -> None:
    store = await with_hooks(open_store)
    other = await open_store(tenant="acme")
    await other.sessions.create("support", "ada", "brief", ttl=DAY)
    clock.advance(2 * DAY)

    assert (await store.sweep()).expired == 1
    assert await facts(dump) == []


async def test_an_erasure_takes_what_was_not_yet_told_and_tells_of_itself(
    open_store: OpenStore, dump: Dump
) -> None:
    store = await with_hooks(open_store)
    await store.sessions.create("support", "ada", "chat")

    receipt = await store.erase_user("support", "ada")

    assert receipt.removed["outbox"] == 1
    [row] = await facts(dump)
    assert (row["kind"], row["payload"]) == ("user.erased", '{"app":"support","user":"ada"}')


async def half_a_turn(store: Store) -> None:
    async with store.turn() as turn:
        turn.sessions.create("support", "ada", "second")
        turn.events.append(SessionKey("support", "ada", "unknown"), "x")


async def test_nothing_is_told_of_what_was_not_stored(open_store: OpenStore, dump: Dump) -> None:
    store = await with_hooks(open_store)
    key = (await store.sessions.create("support", "ada", "chat")).key

    with pytest.raises(LookupError):
        await half_a_turn(store)
    await store.sessions.hold(key, by="legal", reason="r")
    with pytest.raises(PermissionError):
        await store.sessions.delete(key)

    assert await kinds(dump) == ["session.created"]


async def test_a_turn_tells_each_of_its_facts(open_store: OpenStore, dump: Dump) -> None:
    store = await with_hooks(open_store)
    async with store.turn() as turn:
        turn.sessions.create("support", "ada", "first")
        turn.sessions.create("support", "ada", "second")
        turn.sessions.delete(SessionKey("support", "ada", "first"))

    assert sorted(await kinds(dump)) == ["session.created"] * 2 + ["session.deleted"]


async def test_a_webhook_is_told_only_of_the_kinds_that_it_wants(
    open_store: OpenStore, dump: Dump
) -> None:
    store = await with_hooks(open_store, HOOK, OTHER)
    await store.sessions.create("support", "ada", "chat")
    await store.erase_user("support", "eve")

    rows = await facts(dump)
    assert [(row["kind"], row["hook"]) for row in rows if row["hook"] == id_of(OTHER)] == [
        ("user.erased", id_of(OTHER))
    ]
    assert len(rows) == 3


async def test_what_could_not_be_told_for_three_days_is_swept(
    open_store: OpenStore, dump: Dump, clock: FixedClock
) -> None:
    store = await with_hooks(open_store)
    await store.sessions.create("support", "ada", "chat")
    clock.advance(3 * DAY - timedelta(hours=1))
    assert (await store.sweep()).kinds == {}
    clock.advance(timedelta(hours=2))

    assert (await store.sweep()).kinds["outbox"].count == 1
    assert await facts(dump) == []


async def test_webhooks_are_a_list_of_webhooks_each_url_once(open_store: OpenStore) -> None:
    for wrong in ("https://example.org", [{"url": "x"}], [HOOK, HOOK], 7):
        with pytest.raises(InvalidError, match="webhooks"):
            await open_store(webhooks=wrong)
