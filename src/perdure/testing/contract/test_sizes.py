"""`du`: how much is stored, whose it is, and how it grows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import (
    AppScope,
    Growth,
    InvalidError,
    NewEvent,
    Opaque,
    SessionKey,
    Size,
    Store,
    UserScope,
)
from perdure.operation import Row
from perdure.tables import TABLES
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, OpenStore

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def length(value: Any) -> int:
    """What a value of a column counts."""
    if value is None:
        return 0
    return len(value) if isinstance(value, bytes) else len(str(value).encode())


def amounts(rows: list[Row]) -> tuple[int, int]:
    return len(rows), sum(length(value) for row in rows for value in row)


async def fill(store: Store) -> SessionKey:
    state = {"own": "\u00e9", "user:name": "Ada", "app:mode": 2**40}
    key = (await store.sessions.create("support", "ada", "chat", state=state, tags=["t"])).key
    await store.events.append(key, "hello \U0001f600", NewEvent(Opaque("c", b"\0\xff" * 50)))
    await store.artifacts.save(key, "f", b"\0" * 1_500_000)
    eve = (await store.sessions.create("support", "eve")).key
    await store.events.append(eve, "hi", NewEvent("x", metadata={"a": None}))
    await store.sessions.create("sales", "ada")
    return key


async def test_the_bytes_are_those_of_the_columns_in_every_table(store: Store, dump: Dump) -> None:
    await fill(store)
    stored = await dump()

    use = await store.du(by="table")

    told = {size.table: (size.rows, size.bytes) for size in use.sizes}
    assert told == {name: amounts(rows) for name, rows in stored.items() if rows}
    assert use.bytes == sum(size.bytes for size in use.sizes)
    assert use.stored >= 0
    assert [size.bytes for size in use.sizes] == sorted(
        (size.bytes for size in use.sizes), reverse=True
    )


async def test_they_are_told_by_app_user_and_table(store: Store, dump: Dump) -> None:
    await fill(store)
    stored = await dump()
    columns = next(table.columns for table in TABLES if table.name == "sessions")
    names = {row[0]: (row[4], row[5]) for row in stored["sessions"]}
    assert columns[4:6] == ("app", "user_id")

    use = await store.du(by=("app", "user", "table"))

    by_owner: dict[tuple[Any, ...], list[Row]] = {}
    for table, rows in stored.items():
        for row in rows:
            owner = names.get(row[0], ("support", None))
            by_owner.setdefault((*owner, table), []).append(row)
    told = {(size.app, size.user, size.table): (size.rows, size.bytes) for size in use.sizes}
    assert told == {group: amounts(rows) for group, rows in by_owner.items()}
    assert ("support", None, "state") in told
    [whole] = (await store.du(by=())).sizes
    assert whole == Size(None, None, None, sum(s.rows for s in use.sizes), use.bytes)
    assert {size.user for size in (await store.du(by="user")).sizes} == {"ada", "eve", None}


async def test_another_tenants_rows_are_not_told_and_the_nameless_have_no_name(
    store: Store, open_store: OpenStore
) -> None:
    acme = await open_store(tenant="acme")
    await fill(acme)
    assert (await store.du()).sizes == []

    await store.state.set(UserScope("support", "without a session"), {"a": 1})
    await store.state.set(AppScope("unknown"), {"a": 1})

    [size] = (await store.du()).sizes
    assert (size.app, size.user, size.table, size.rows) == (None, None, "state", 2)


async def test_growth_is_by_the_day_on_which_rows_were_made(
    store: Store, clock: FixedClock, dump: Dump
) -> None:
    clock.set(START)
    key = (await store.sessions.create("support", "ada")).key
    for day in (0, 1, 1, 5):
        clock.set(START + day * DAY)
        await store.events.append(key, "hi")
    events = (await dump())["events"]
    clock.set(START + 5 * DAY)

    growth = (await store.du(days=5)).growth

    assert growth == [
        Growth("2026-01-02", *amounts(events[1:3])),
        Growth("2026-01-06", *amounts(events[3:])),
    ]
    assert (await store.du(days=30)).growth[0].day == "2026-01-01"
    assert (await store.du(days=0)).growth == []


async def test_more_users_than_one_transaction_looks_at_are_all_told(store: Store) -> None:
    async with store.turn() as turn:
        for number in range(1_100):
            turn.sessions.create("support", f"user {number}")

    use = await store.du(by=("user", "table"), days=0)

    sizes = [size for size in use.sizes if size.table == "sessions"]
    assert len(sizes) == len({size.user for size in sizes}) == 1_100
    assert {size.rows for size in sizes} == {1}


async def test_what_cannot_be_asked_is_refused(store: Store) -> None:
    wrong: list[dict[str, Any]] = [{"by": "day"}, {"by": ("app", "app")}, {"days": -1}]
    for asked in wrong:
        with pytest.raises(InvalidError):
            await store.du(**asked)
