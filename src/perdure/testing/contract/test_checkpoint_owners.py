"""Whose checkpoints are: erased, purged, exported, held, counted and swept with their people."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    DeniedError,
    InvalidError,
    KeepCheckpoints,
    NotFoundError,
    Opaque,
    RetentionConfig,
    SessionKey,
    Store,
    UserScope,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, OpenStore

ADA = ("support", "ada")
HOUR = timedelta(hours=1)


async def lineages(store: Store) -> list[str]:
    return [one.lineage for one in await store.checkpoints.lineages()]


def rows_about(dumped: dict[str, Any]) -> int:
    """How many rows there are of checkpoints, but for what remembers deleted lineages."""
    return sum(
        len(rows)
        for name, rows in dumped.items()
        if name.startswith("checkpoint") and name != "checkpoint_lineages"
    )


async def test_erasing_a_person_removes_their_lineages_and_nobody_elses(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await store.checkpoints.put("theirs", 1, owner=ADA)
    await store.checkpoints.put("theirs", 2, namespace="sub")
    await store.checkpoints.put("session", 1, session=key)
    await store.checkpoints.put_writes("early", "c", "t", [("m", 1)], owner=ADA)
    await store.checkpoints.put("eve", 1, owner=("support", "eve"))
    await store.checkpoints.put("nobody", 1)
    await store.checkpoints.put("both", 1, owner=ADA)
    await store.checkpoints.put("both", 1, owner=("support", "eve"))

    receipt = await store.erase_user(*ADA)

    assert await lineages(store) == ["eve", "nobody"]
    assert (receipt.removed["checkpoints"], receipt.removed["checkpoint_writes"]) == (5, 1)
    assert receipt.removed["checkpoint_links"] == 4
    dumped = await dump()
    assert len(dumped["checkpoints"]) == len(dumped["checkpoint_values"]) == 2
    assert len(dumped["checkpoint_owners"]) == len(dumped["checkpoint_links"]) == 1
    assert "theirs" not in repr(dumped)


async def test_a_put_after_the_erasure_is_found_by_the_next_one(store: Store, dump: Dump) -> None:
    for number in range(3):
        for name in ("a", "b"):
            await store.checkpoints.put("theirs", number, id=name, owner=ADA)
        receipt = await store.erase_user(*ADA)
        assert receipt.removed["checkpoints"] == 2
    assert rows_about(await dump()) == 0


async def test_purging_a_session_takes_its_lineages(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await store.checkpoints.put("of session", 1, session=key)
    await store.checkpoints.put("of ada", 1, owner=ADA)
    await store.sessions.delete(key)
    assert await lineages(store) == ["of ada", "of session"]

    await store.sessions.purge(key, uid=(await dump())["sessions"][0][1])

    assert await lineages(store) == ["of ada"]
    assert rows_about(await dump()) == 5


async def test_a_session_that_is_not_there_has_no_lineages(store: Store, dump: Dump) -> None:
    unknown = SessionKey("support", "ada", "unknown")
    before = await dump()
    with pytest.raises(NotFoundError, match="'unknown'"):
        await store.checkpoints.put("graph", session=unknown)
    with pytest.raises(NotFoundError, match="'unknown'"):
        await store.checkpoints.put_writes("graph", "c", "t", [("m", 1)], session=unknown)
    with pytest.raises(InvalidError, match="owner"):
        await store.checkpoints.put("graph", session=unknown, owner=("support", "eve"))
    assert await dump() == before


async def test_what_is_held_is_neither_pruned_nor_deleted(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    for number in range(3):
        await store.checkpoints.put(
            "graph", number, id=str(number), metadata={"run_id": "run-1"}, session=key
        )
    await store.sessions.hold(key, by="law", reason="case 7")
    before = await dump()

    for call in (
        store.checkpoints.prune("graph", keep_last=1),
        store.checkpoints.delete_lineage("graph"),
        store.checkpoints.delete_for_runs(["run-1"]),
    ):
        with pytest.raises(DeniedError, match="case 7") as refused:
            await call
        assert "lineage 'graph'" in str(refused.value)
    assert await dump() == before
    await store.sessions.release(key)
    await store.sessions.hold(UserScope(*ADA), by="law", reason="case 8")
    with pytest.raises(DeniedError, match="case 8"):
        await store.checkpoints.delete_lineage("graph")
    await store.sessions.release(UserScope(*ADA))
    assert await store.checkpoints.delete_lineage("graph") is True


async def test_du_tells_whose_checkpoints_take_the_room(
    store: Store, open_store: OpenStore, key: SessionKey
) -> None:
    other = await open_store(tenant="acme")
    assert key[:2] == ADA
    await store.checkpoints.put("graph", "x" * 50_000, owner=ADA)
    await store.checkpoints.put("nobody", 1)
    await other.checkpoints.put("graph", 1, owner=ADA)

    sizes = (await store.du(("user", "table"))).sizes

    found = {(one.user, one.table): one.rows for one in sizes}
    assert found["ada", "checkpoints"] == found[None, "checkpoints"] == 1
    assert found["ada", "checkpoint_links"] == 1


async def test_an_export_has_values_as_they_were_put(store: Store) -> None:
    for number in range(45):
        await store.checkpoints.put(
            "graph", {"n": number}, owner=ADA, values={"m": ["x"] * number, "o": Opaque("c", b"o")}
        )

    lines = [line async for line in store.export_user(*ADA)]

    assert len([line for line in lines if '"table":"checkpoints"' in line]) == 45
    assert all('{"codec":"c","data":"bw=="}' in line for line in lines if '"payload"' in line)


async def test_a_sweep_keeps_what_retention_says(
    open_store: OpenStore, clock: FixedClock, key: SessionKey
) -> None:
    rule = KeepCheckpoints(keep_last=2, older_than=HOUR)
    store = await open_store(retention=RetentionConfig(retention_days=None, checkpoints=rule))
    other = await open_store(tenant="acme")
    for name in ("graph", "held"):
        for number in range(5):
            await store.checkpoints.put(name, id=str(number), namespace="sub")
    await store.checkpoints.put("held", session=key)
    await store.sessions.hold(key, by="law", reason="case 7")
    for number in range(5):
        await other.checkpoints.put("graph", id=str(number))
    assert "checkpoints" not in (await store.sweep()).kinds
    clock.advance(2 * HOUR)

    dry = await store.sweep(dry_run=True)
    swept = await store.sweep()

    assert swept.kinds == dry.kinds
    assert swept.kinds["checkpoints"].count == 3
    assert swept.held == 1
    page = await store.checkpoints.list("graph", namespace="sub")
    assert [one.key.id for one in page] == ["4", "3"]
    assert len(await store.checkpoints.list("held", namespace="sub")) == 5
    assert len(await other.checkpoints.list("graph")) == 5
    assert "checkpoints" not in (await store.sweep()).kinds


@pytest.mark.parametrize(
    "wrong",
    [{"keep_last": 0}, {"keep_last": -1}, {"keep_last": True}, {"older_than": timedelta(0)}],
)
def test_a_rule_that_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidError):
        KeepCheckpoints(**wrong)
    with pytest.raises(InvalidError, match="checkpoints"):
        RetentionConfig(checkpoints=5)  # type: ignore[arg-type]
