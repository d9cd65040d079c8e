"""What goes through everything: erasing a person, exporting one, sweeping what had its time."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from inspect import isawaitable
from typing import Any

import pytest

from perdure import (
    AppScope,
    DeniedError,
    ErasureReceipt,
    NewEvent,
    Opaque,
    SessionKey,
    Store,
    Swept,
    UserScope,
)
from perdure.features.leases import take
from perdure.features.outbox import Notes
from perdure.features.search import Search
from perdure.operation import Operation, Row
from perdure.parts import place
from perdure.tables import TABLES
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, OpenStore, Reopen
from perdure.values import to_micros
from perdure.webhooks import Webhook

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
OWNED = [table.name for table in TABLES if table.person]


async def live_a_life(store: Store, user: str, *, mark: str = "") -> list[SessionKey]:
    """Rows of a user in every table: a live, a forked, a deleted and an expired session."""
    mark = mark or f"<{user}>"
    state = {"own": mark, "user:name": mark}
    key = (
        await store.sessions.create(
            "support", user, "live", title=mark, tags=[mark], metadata={"m": mark}, state=state
        )
    ).key
    said = await store.events.append(key, NewEvent(mark, id="e1"), NewEvent("x", error=mark))
    await store.events.append(key, NewEvent(Opaque("c", mark.encode()), usage={"u": mark}))
    await store.events.annotate(key, mark, mark, event_id=said.event.id, by=mark)
    await store.state.set(key, {"opaque": Opaque("c", mark.encode())})
    await store.summaries.set(key, mark, topics=[mark], covers_seq=2)
    await store.summaries.enqueue_summary(key, mark)
    await store.history("support", user).truncate_history("live", 1)
    await store.events.rewind(key, 2)
    await store.events.append(key, NewEvent(mark, state_delta={"user:more": mark}))
    await store.memory.remember(key)
    noted = await store.memory.add("support", user, f"About {mark}.", [mark])
    await store.memory.update("support", user, noted.id, content=f"More about {mark}.")
    await store.artifacts.save(key, "file", mark.encode(), metadata={"m": mark})
    await store.artifacts.save(UserScope("support", user), "file", mark.encode())
    fork = (await store.sessions.fork(key, id="fork")).key
    gone = (await store.sessions.create("support", user, "gone", state=state)).key
    await store.events.append(gone, mark)
    await store.sessions.delete(gone)
    await store.kv.set((mark, "notes"), mark, {"m": mark}, app="support", user=user, index=["m"])
    await store.kv.set(mark, "raw", mark.encode(), app="support", user=user)
    brief = (await store.sessions.create("support", user, "brief", ttl=timedelta(minutes=1))).key
    await store.events.append(brief, mark)
    await store.sessions.hold(key, by=mark, reason=mark)
    await store.sessions.release(key, by=mark)
    # As it is while a run is under way; one that is released leaves no row.
    part = place(store.tenant, "support", user, 512).part
    lease = take(part, mark, mark, now=to_micros(START, "now"), ttl=1)
    await asyncio.to_thread(store._engine.run, lease)
    await store.step(mark, mark, lambda: mark, owner=key)
    for lineage, whose in ((f"{mark} 1", key), (f"{mark} 2", None)):
        await store.checkpoints.put_full(
            lineage, {"m": mark}, task=mark, writes=[(mark, mark)], metadata={"m": mark},
            values={mark: mark}, owner=("support", user), session=whose,
        )  # fmt: skip
    await search(store, user, mark)
    # What a store with webhooks writes beside each of the above.
    telling = Notes([Webhook(url="https://example.org/", secret="s" * 16)], "", mark, 1)
    tell = Operation("test", (), {}, lambda _: telling.tell(part, "session.created", user=user))
    await asyncio.to_thread(store._engine.run, tell)
    return [key, fork, gone, brief]


async def search(store: Store, user: str, query: str) -> None:
    """A search by words and meaning, which makes the rows of the index."""
    settings = replace(store._settings, embedder=lambda texts: [[1.0, 2.0]] * len(texts))
    feature: Any = Search(store._runner, settings)
    found = feature.search("support", user, query)
    assert await found if isawaitable(found) else found


def rows_of(dumped: dict[str, list[Row]], part: str) -> dict[str, int]:
    return {name: sum(row[0] == part for row in dumped[name]) for name in OWNED}


def part_of(dumped: dict[str, list[Row]], user: str) -> str:
    columns = next(table.columns for table in TABLES if table.name == "sessions")
    place = columns.index("user_id")
    [part] = {row[0] for row in dumped["sessions"] if row[place] == user}
    return str(part)


async def test_the_receipt_counts_every_row_that_was_there(
    store: Store, clock: FixedClock, dump: Dump
) -> None:
    await live_a_life(store, "ada")
    before = await dump()
    clock.step = timedelta(0)

    receipt = await store.erase_user("support", "ada")

    there = rows_of(before, part_of(before, "ada"))
    assert receipt == ErasureReceipt(
        "", "support", "ada", clock.now, receipt.removed, receipt.remains
    )
    assert {name: receipt.removed.get(name, 0) for name in there} == there
    assert min(there.values()) > 0, "the test has a row in every table"


async def test_a_receipt_says_what_remains_on_the_disk(store: Store) -> None:
    receipt = await store.erase_user("support", "ada")
    hasty = await store.erase_user("support", "ada", settle=False)

    assert receipt.final is (receipt.remains == ())
    assert hasty.final is False
    assert "settle=True" in hasty.remains[0]


async def test_nothing_of_an_erased_person_is_left_in_any_table(store: Store, dump: Dump) -> None:
    await live_a_life(store, "ada", mark="remember-me-not")
    part = part_of(await dump(), "ada")

    await store.erase_user("support", "ada")

    after = await dump()
    assert set(rows_of(after, part).values()) == {0}
    assert "remember-me-not" not in repr(after)
    assert "'ada'" not in repr(after)
    assert len(after["erasures"]) == 1


async def test_an_erased_person_is_gone_for_every_call(store: Store, reopen: Reopen) -> None:
    keys = await live_a_life(store, "ada")
    await store.erase_user("support", "ada")

    store = await reopen()

    assert [await store.sessions.find(key) for key in keys] == [None] * 4
    assert await store.sessions.count(include_deleted=True) == 0
    assert await store.state.find(UserScope("support", "ada"), "name") is None
    assert await store.events.locate("support", "e1") is None
    assert [line async for line in store.export_user("support", "ada")] == []


async def test_others_are_untouched_by_an_erasure(
    store: Store, open_store: OpenStore, dump: Dump
) -> None:
    other = await open_store(tenant="acme")
    await live_a_life(store, "eve")
    await live_a_life(other, "ada")
    await store.sessions.create("sales", "ada", "s1", state={"user:name": "Ada"})
    await store.state.set(AppScope("support"), {"shared": 1})
    before = await dump()
    await live_a_life(store, "ada")

    await store.erase_user("support", "ada")

    after = await dump()
    for name in OWNED:
        assert sorted(after[name], key=repr) == sorted(before[name], key=repr), name


async def test_erasing_somebody_unknown_is_no_error(store: Store) -> None:
    receipt = await store.erase_user("support", "nobody")

    assert set(receipt.removed.values()) == {0}


async def test_an_import_does_not_bring_an_erased_person_back(
    store: Store, dump: Dump, open_store: OpenStore
) -> None:
    await store.erase_user("support", "ada")
    before = await dump()

    with pytest.raises(DeniedError, match="'ada'"):
        await store.sessions.create("support", "ada", "s1", imported=True, state={"app:x": 1})
    with pytest.raises(DeniedError, match="'ada'"):
        await store.sessions.get_or_create("support", "ada", "s1", imported=True)
    assert await dump() == before
    await store.sessions.create("support", "eve", "s1", imported=True)
    await store.sessions.create("sales", "ada", "s1", imported=True)
    await (await open_store(tenant="acme")).sessions.create("support", "ada", imported=True)


async def test_the_person_may_come_back_and_be_erased_again(
    store: Store, clock: FixedClock
) -> None:
    first = await store.erase_user("support", "ada")
    await store.sessions.create("support", "ada", "s1")
    clock.advance(DAY)

    second = await store.erase_user("support", "ada")

    assert second.removed["sessions"] == 1
    assert second.erased_at > first.erased_at + DAY
    with pytest.raises(DeniedError):
        await store.sessions.create("support", "ada", "s2", imported=True)


def stored_form(name: str, row: Row) -> dict[str, Any]:
    """What a line of the export says of a row."""
    table = next(table for table in TABLES if table.name == name)
    values = {}
    for column, value in zip(table.columns, row, strict=True):
        if isinstance(value, bytes):
            values[column] = base64.b64encode(value).decode()
        elif value is not None and column in table.json:
            values[column] = json.loads(value)
        else:
            values[column] = value
    return {"table": name, "row": values}


async def test_an_export_has_every_row_of_a_person_and_of_nobody_else(
    store: Store, dump: Dump
) -> None:
    await live_a_life(store, "ada")
    await live_a_life(store, "eve")
    stored = await dump()
    part = part_of(stored, "ada")

    lines = [json.loads(line) async for line in store.export_user("support", "ada")]

    steps = [line["row"] for line in lines if line["table"] == "checkpoints"]
    assert [step["lineage"] for step in steps] == ["<ada> 1", "<ada> 2"]
    assert steps[0]["values"] == {"<ada>": "<ada>"}
    assert steps[0]["writes"][0]["value"] == "<ada>"
    lines = [line for line in lines if line["table"] != "checkpoints"]
    wanted = [stored_form(name, row) for name in OWNED for row in stored[name] if row[0] == part]
    assert sorted(lines, key=repr) == sorted(wanted, key=repr)
    assert {line["table"] for line in lines} == set(OWNED)


async def test_an_exported_line_is_one_line_of_json_whatever_was_stored(
    store: Store, key: SessionKey
) -> None:
    text = 'a\nb\r\u2028\0"\\\U0001f600'
    await store.events.append(key, NewEvent(text, id="e", metadata={"m": 2**70}))

    lines = [line async for line in store.export_user("support", "ada")]

    events = [json.loads(line)["row"] for line in lines if json.loads(line)["table"] == "events"]
    assert [(event["content"], event["metadata"]) for event in events] == [(text, {"m": 2**70})]
    assert [line for line in lines if "\n" in line or "\r" in line] == []


async def test_an_export_of_nobody_is_empty(store: Store, key: SessionKey) -> None:
    del key

    assert [line async for line in store.export_user("support", "nobody")] == []


def fates(swept: Swept) -> tuple[int, int]:
    return (swept.expired, swept.deleted)


async def ages(store: Store, clock: FixedClock) -> None:
    """Of each fate two sessions, one that is due on January 31 and one that is not."""
    clock.step = timedelta(0)
    for session_id, ttl, deleted in [
        ("expired", DAY, None),
        ("expiring", 31 * DAY, None),
        ("deleted long ago", None, START),
        ("deleted lately", None, START + DAY),
        ("live", None, None),
    ]:
        clock.set(START)
        key = (await store.sessions.create("support", "ada", session_id, ttl=ttl)).key
        await store.events.append(key, "hi")
        if deleted is not None:
            clock.set(deleted)
            await store.sessions.delete(key)
    clock.set(START + 30 * DAY)


async def test_a_sweep_purges_what_has_expired_and_what_was_deleted_long_enough_ago(
    store: Store, clock: FixedClock, dump: Dump
) -> None:
    await ages(store, clock)

    swept = await store.sweep()

    left = {session.id async for session in store.sessions.iter(include_deleted=True)}
    assert fates(swept) == (1, 1)
    assert left == {"expiring", "deleted lately", "live"}
    assert len((await dump())["events"]) == 3
    assert fates(await store.sweep()) == (0, 0)


async def test_a_dry_run_only_counts(store: Store, clock: FixedClock, dump: Dump) -> None:
    await ages(store, clock)
    before = await dump()

    assert fates(await store.sweep(dry_run=True)) == (1, 1)
    assert await dump() == before


async def test_a_sweep_goes_by_the_grace_of_its_store(
    store: Store, clock: FixedClock, open_store: OpenStore
) -> None:
    await ages(store, clock)
    impatient = await open_store(deleted_grace=DAY)

    assert fates(await impatient.sweep(dry_run=True)) == (1, 2)


async def test_a_deleted_session_has_its_grace_also_when_its_ttl_is_over(
    store: Store, clock: FixedClock
) -> None:
    key = (await store.sessions.create("support", "ada", ttl=DAY)).key
    await store.sessions.delete(key)
    clock.advance(2 * DAY)

    assert fates(await store.sweep()) == (0, 0)
    assert (await store.sessions.restore(key)).key == key


async def test_the_longest_grace_keeps_what_was_deleted(
    open_store: OpenStore, key: SessionKey, clock: FixedClock
) -> None:
    store = await open_store(deleted_grace=timedelta.max)
    await store.sessions.delete(key)
    clock.advance(1000 * DAY)

    assert fates(await store.sweep()) == (0, 0)
    assert (await store.sessions.restore(key)).key == key


async def test_a_sweep_of_many_leaves_none(store: Store, clock: FixedClock, dump: Dump) -> None:
    async with store.turn() as turn:
        for n in range(50):
            turn.sessions.create("support", "ada", f"s{n}", ttl=DAY, tags=["t"])
            turn.events.append(SessionKey("support", "ada", f"s{n}"), "hi")
    clock.advance(2 * DAY)

    assert fates(await store.sweep()) == (50, 0)
    assert {name: rows for name, rows in (await dump()).items() if rows} == {}


async def test_a_sweep_keeps_the_state_of_app_and_user(
    store: Store, clock: FixedClock, dump: Dump
) -> None:
    state = {"own": 1, "user:name": "Ada", "app:mode": "x"}
    await store.sessions.create("support", "ada", ttl=DAY, state=state)
    clock.advance(2 * DAY)

    await store.sweep()

    assert (await store.state.get(UserScope("support", "ada"), "name")).value == "Ada"
    assert (await store.state.get(AppScope("support"), "mode")).value == "x"
    assert len((await dump())["state"]) == 2


async def test_a_swept_session_can_never_be_restored(store: Store, clock: FixedClock) -> None:
    await ages(store, clock)
    await store.sweep()

    for session_id in ("deleted long ago", "expired"):
        assert await store.sessions.purge(SessionKey("support", "ada", session_id)) is False


async def test_a_sweep_in_the_middle_of_the_grace_repeats_no_version_of_a_key(
    store: Store, clock: FixedClock
) -> None:
    scope = UserScope("support", "ada")
    await store.state.set(scope, {"a": 1})
    await store.state.delete(scope, "a")
    clock.advance(DAY)
    await store.sweep()

    await store.state.set(scope, {"a": 2})

    assert (await store.state.get(scope, "a")).version > 1
