"""Retention: what goes when it has had its time, what stays, and what the report says of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest

from perdure import InvalidError, NewEvent, RetentionConfig, SessionKey, Store, Tally
from perdure.features.leases import release, take
from perdure.features.sweeping import BYTES, ROWS, quick
from perdure.testing.clocks import FixedClock
from perdure.testing.colours import beside
from perdure.testing.databases import Dump, OpenStore
from perdure.values import digest, to_micros
from perdure.workers import Sweeper

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


async def say(store: Store, name: str, *texts: str, **fields: Any) -> SessionKey:
    key = (await store.sessions.create("support", "ada", name, **fields)).key
    for text in texts:
        await store.events.append(key, text)
    return key


async def ids(store: Store) -> set[str]:
    return {session.id async for session in store.sessions.iter(include_deleted=True)}


def sweeper_of(store: Store, config: RetentionConfig | None = None) -> Sweeper[Any]:
    return beside(store, Sweeper(store, config))


async def test_sessions_that_were_not_written_to_for_the_days_go(
    store: Store, clock: FixedClock, dump: Dump
) -> None:
    await say(store, "old", "hi")
    clock.advance(29 * DAY)
    await say(store, "young", "hi")
    clock.advance(DAY + HOUR)

    swept = await sweeper_of(store, RetentionConfig()).run_once()

    assert (swept.idle, swept.expired, swept.deleted, swept.finished) == (1, 0, 0, True)
    assert await ids(store) == {"young"}
    assert len((await dump())["events"]) == 1


async def test_a_write_makes_a_session_young_again(store: Store, clock: FixedClock) -> None:
    key = await say(store, "old", "hi")
    clock.advance(29 * DAY)
    await store.events.append(key, "hi again")
    clock.advance(29 * DAY)

    assert (await sweeper_of(store, RetentionConfig()).run_once()).idle == 0


async def test_without_a_config_no_session_goes_for_its_age(
    store: Store, clock: FixedClock
) -> None:
    await say(store, "old", "hi")
    clock.advance(3650 * DAY)

    swept = await sweeper_of(store).run_once()

    assert swept.kinds == {}
    assert await ids(store) == {"old"}


async def test_the_config_of_the_store_is_that_of_its_sweeper_and_of_sweep(
    open_store: OpenStore, clock: FixedClock
) -> None:
    store = await open_store(retention=RetentionConfig(retention_days=1))
    await say(store, "old", "hi")
    clock.advance(2 * DAY)

    assert (await sweeper_of(store).run_once(dry_run=True)).idle == 1
    assert (await store.sweep()).idle == 1


async def test_sessions_of_another_tenant_do_not_age_by_this_ones_days(
    store: Store, open_store: OpenStore, clock: FixedClock
) -> None:
    other = await open_store(tenant="acme")
    await say(other, "theirs", "hi")
    clock.advance(60 * DAY)

    await sweeper_of(store, RetentionConfig()).run_once()

    assert await ids(other) == {"theirs"}


async def test_what_another_tenant_has_deleted_has_that_tenants_grace(
    store: Store, open_store: OpenStore, clock: FixedClock
) -> None:
    other = await open_store(tenant="acme")
    key = await say(other, "theirs", "hi")
    await other.sessions.delete(key)
    clock.advance(2 * DAY)

    await sweeper_of(store, RetentionConfig(deleted_grace=HOUR)).run_once()

    assert (await other.sessions.restore(key)).id == "theirs"


async def test_the_grace_of_the_config_goes_before_that_of_the_store(
    store: Store, clock: FixedClock
) -> None:
    key = await say(store, "gone", "hi")
    await store.sessions.delete(key)
    clock.advance(2 * DAY)

    assert (await sweeper_of(store, RetentionConfig()).run_once()).deleted == 0
    config = RetentionConfig(deleted_grace=DAY)
    assert (await sweeper_of(store, config).run_once()).deleted == 1


async def test_a_report_has_counts_and_bytes_and_a_dry_run_the_same(
    store: Store, clock: FixedClock, dump: Dump
) -> None:
    await say(store, "brief", "x" * 1000, ttl=HOUR)
    await store.sessions.delete(await say(store, "gone", "x" * 10_000))
    await say(store, "idle", "x" * 100_000)
    clock.advance(40 * DAY)
    sweeper = sweeper_of(store, RetentionConfig())
    before = await dump()

    dry = await sweeper.run_once(dry_run=True)
    assert await dump() == before
    swept = await sweeper.run_once()

    assert swept.kinds.keys() == {"expired", "deleted", "idle"}
    for kind, size in (("expired", 1000), ("deleted", 10_000), ("idle", 100_000)):
        # The text of an event stands in its content and in its projection.
        assert swept.kinds[kind].count == 1
        assert 2 * size <= swept.kinds[kind].bytes <= 2 * size + 1500
    assert dry == swept
    assert swept.bytes == sum(tally.bytes for tally in swept.kinds.values())
    assert (await sweeper.run_once()).kinds == {}


async def test_bytes_are_those_of_utf_8(
    store: Store, clock: FixedClock, open_store: OpenStore
) -> None:
    sizes = []
    for tenant, text in (("a", "a"), ("b", "\U0001f600")):
        other = await open_store(tenant=tenant, retention=RetentionConfig())
        key = (await other.sessions.create("support", "ada", "s")).key
        await other.events.append(key, NewEvent(text * 100, id="e1"))
    clock.advance(60 * DAY)
    for tenant in ("a", "b"):
        other = await open_store(tenant=tenant, retention=RetentionConfig())
        sizes.append((await other.sweep()).bytes)

    # In the content, the projection and the preview.
    assert sizes[1] - sizes[0] == 3 * 300
    assert await store.sessions.count() == 0


async def test_old_events_go_and_their_session_stays(store: Store, clock: FixedClock) -> None:
    key = await say(store, "long", *[f"old {n}" for n in range(5)])
    clock.advance(10 * DAY)
    await store.events.append(key, "new")
    config = RetentionConfig(retention_days=None, events=7 * DAY)

    dry = await sweeper_of(store, config).run_once(dry_run=True)
    swept = await sweeper_of(store, config).run_once()

    assert swept.kinds.keys() == {"events"}
    assert swept.kinds["events"].count == 5
    assert dry == swept
    assert [event.text for event in await store.events.read(key)] == ["new"]
    assert (await store.sessions.get(key)).event_count == 1


async def test_many_old_events_go_piece_by_piece_and_a_tool_call_stays_with_its_result(
    store: Store, clock: FixedClock
) -> None:
    key = await say(store, "long")
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    await store.events.append(key, *[f"old {n}" for n in range(3 * ROWS)])
    await store.events.append(
        key, {"role": "assistant", "content": None, "tool_calls": [call]}, "old too"
    )
    clock.advance(10 * DAY)
    await store.events.append(key, {"role": "tool", "tool_call_id": "c1", "content": "done"})
    config = RetentionConfig(retention_days=None, events=7 * DAY)

    swept = await sweeper_of(store, config).run_once()

    assert swept.kinds["events"].count == 3 * ROWS
    assert await store.events.count(key) == 3


async def test_a_session_too_large_for_one_transaction_is_swept_whole(
    store: Store, clock: FixedClock, dump: Dump
) -> None:
    key = await say(store, "large", ttl=HOUR, tags=["t"], state={"a": 1})
    await store.events.append(key, *[f"event {n}" for n in range(2 * ROWS + 3)])
    for n in range(3):
        await store.events.append(key, "x" * (BYTES // 2 + n))
        await store.events.annotate(key, "note", n)
    small = await say(store, "small", "hi", ttl=HOUR)
    clock.advance(2 * HOUR)

    swept = await sweeper_of(store).run_once()

    assert swept.expired == 2
    assert swept.bytes > 3 * BYTES
    assert {name: rows for name, rows in (await dump()).items() if rows and name != "leases"} == {}
    assert await store.sessions.find(small) is None


async def test_what_a_killed_sweep_has_begun_cannot_be_restored_and_is_ended_by_the_next(
    store: Store, clock: FixedClock, dump: Dump
) -> None:
    key = await say(store, "large", ttl=HOUR)
    await store.events.append(key, *[f"event {n}" for n in range(2 * ROWS)])
    clock.advance(2 * HOUR)
    sweeper = Sweeper(store)
    steps = sweeper._sweep(dry_run=False, keep=_never)
    # Carried out until the first of the large session's events are gone.
    ran, result = 0, None
    while not ran or len((await dump())["events"]) == 2 * ROWS:
        result = await asyncio.to_thread(store._engine.run, cast("Any", steps.send(result)))
        ran += 1
    steps.close()

    with pytest.raises(LookupError):
        await store.sessions.restore(key)
    swept = await store.sweep()

    assert swept.deleted == 1
    assert (await dump())["sessions"] == (await dump())["events"] == []


def _never() -> Any:
    yield from ()
    return True


def test_as_many_rows_go_at_once_as_are_quick_to_remove() -> None:
    assert quick([10, 10, 10]) == 3
    assert quick([BYTES, 1, 1]) == 1
    assert quick([BYTES // 2, BYTES // 2, 1]) == 2
    assert quick([5 * BYTES, 1]) == 1


async def test_leases_that_ended_a_day_ago_go_and_later_tokens_are_higher(
    store: Store, clock: FixedClock, dump: Dump
) -> None:
    part = digest("bucket", "", "test")

    def micros() -> int:
        return to_micros(clock.now, "now")

    run = store._engine.run
    until = micros() + 1000
    first = await asyncio.to_thread(run, take(part, "a", "me", now=micros(), ttl=1000))
    clock.advance(DAY - HOUR)
    assert (await store.sweep()).kinds == {}
    clock.advance(2 * HOUR)

    swept = await store.sweep()

    row = [part, "a", "me", first.token, until]
    assert swept.kinds == {"leases": Tally(1, len("".join(map(str, row))))}
    assert (await dump())["leases"] == []
    second = await asyncio.to_thread(run, take(part, "a", "you", now=micros(), ttl=1000))
    await asyncio.to_thread(run, release(second))
    third = await asyncio.to_thread(run, take(part, "a", "you", now=micros(), ttl=1000))
    assert first.token < second.token < third.token


async def test_a_tombstone_is_never_swept(store: Store, clock: FixedClock, dump: Dump) -> None:
    await store.erase_user("support", "ada")
    clock.advance(3650 * DAY)

    await sweeper_of(store, RetentionConfig(retention_days=1)).run_once()

    assert len((await dump())["erasures"]) == 1


async def test_a_sweep_that_is_stopped_says_so_and_leaves_the_rest(
    store: Store, clock: FixedClock
) -> None:
    for n in range(3):
        await say(store, f"s{n}", "x" * BYTES, ttl=HOUR)
    clock.advance(2 * HOUR)
    sweeper = Sweeper(store)
    answers = iter([True, False])

    def keep() -> Any:
        yield from ()
        return next(answers)

    swept = await asyncio.to_thread(
        sweeper._in_thread.flow, sweeper._sweep(dry_run=False, keep=keep)
    )

    assert swept.finished is False
    assert swept.expired < 3
    assert (await store.sweep()).expired == 3 - swept.expired


async def test_a_started_sweeper_sweeps_at_once(store: Store, clock: FixedClock) -> None:
    await say(store, "old", "hi")
    clock.advance(60 * DAY)
    sweeper = Sweeper(store, RetentionConfig())
    await beside(store, sweeper).start()
    async with asyncio.timeout(20):
        while not sweeper.runs:  # noqa: ASYNC110 - a thread does it
            await asyncio.sleep(0.002)

    assert sweeper.is_running
    assert await ids(store) == set()
    assert await beside(store, sweeper).stop() is True


async def test_a_config_refuses_what_makes_no_sense() -> None:
    for days in (0, -1, 1.5, True, "30"):
        with pytest.raises(InvalidError, match="retention_days"):
            RetentionConfig(retention_days=days)  # type: ignore[arg-type]
    for name in ("interval", "deleted_grace", "events"):
        for value in (timedelta(0), -DAY, 30):
            with pytest.raises(InvalidError, match=name):
                RetentionConfig(**{name: value})  # type: ignore[arg-type]


async def test_a_config_is_a_config(store: Store, open_store: OpenStore) -> None:
    with pytest.raises(InvalidError, match="config"):
        Sweeper(store, 30)  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="retention"):
        await open_store(retention={"retention_days": 30})


def test_the_defaults_are_thirty_days_and_a_day() -> None:
    config = RetentionConfig()

    assert (config.retention_days, config.interval) == (30, 24 * HOUR)
    assert (config.deleted_grace, config.events) == (None, None)


async def test_memories_that_have_expired_go_with_what_they_are_found_by(
    store: Store, clock: FixedClock, dump: Dump
) -> None:
    at = clock.now + DAY
    gone = await store.memory.add("support", "ada", "Likes tea.", expires_at=at)
    await store.memory.update("support", "ada", gone.id, content="Likes green tea.")
    for number in range(30):
        await store.memory.add("support", "bob", f"Says {number}.", expires_at=at)
    kept = await store.memory.add("support", "ada", "Likes milk.")
    clock.advance(2 * DAY)

    told = (await store.sweep(dry_run=True)).kinds
    swept = (await store.sweep()).kinds

    assert told == swept
    assert swept["memories"].count == 31
    rows = await dump()
    assert len(rows["memories"]) == 1
    assert rows["memory_log"] == []
    assert len(rows["search_blocks"]) == 1
    assert "tea" not in str(rows["search_blocks"])
    assert [one.id for one in (await store.memory.read("support", "ada")).items] == [kept.id]
    assert (await store.sweep()).kinds == {}
