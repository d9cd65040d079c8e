"""Checkpoints over time: pruned, branched, copied, deleted, and all that stays still loads."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    ALL,
    AlreadyExistsError,
    CheckpointKey,
    ConflictError,
    InvalidError,
    NewEvent,
    NotFoundError,
    Opaque,
    SessionKey,
    Store,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump

HOUR = timedelta(hours=1)


async def put_line(store: Store, count: int, lineage: str = "graph", **options: Any) -> None:
    """So many checkpoints, each behind the one before, with a value that grows."""
    for number in range(count):
        await store.checkpoints.put(
            lineage,
            {"n": number},
            id=f"{number:03}",
            parent=f"{number - 1:03}" if number else None,
            versions={"m": number, "same": 0},
            values={"m": ["text"] * number, **({} if number else {"same": "s"})},
            metadata={"source": "loop", "step": number, "run_id": f"run-{number // 2}"},
            **options,
        )
        await store.checkpoints.put_writes(lineage, f"{number:03}", "t", [("m", number)])


def complete(found: Any, number: int) -> bool:
    values = {"m": ["text"] * number, "same": "s"}
    return (found.checkpoint.payload, found.checkpoint.values) == ({"n": number}, values)


async def test_prune_keeps_the_last_ones_whole(store: Store, dump: Dump) -> None:
    await put_line(store, 60)
    before = await dump()
    dry = await store.checkpoints.prune("graph", keep_last=2, dry_run=True)
    assert await dump() == before

    done = await store.checkpoints.prune("graph", keep_last=2)

    assert done == dry
    assert (done.checkpoints, done.writes) == (58, 58)
    assert done.values > 60
    assert done.keys[0] == CheckpointKey("graph", "", "057")
    assert done.bytes > 1_000
    page = await store.checkpoints.list("graph")
    assert [one.key.id for one in page] == ["059", "058"]
    assert complete(page.items[0], 59)
    assert complete(page.items[1], 58)
    assert page.items[1].parent is None
    assert len((await dump())["checkpoint_writes"]) == 2
    again = await store.checkpoints.prune("graph", keep_last=2)
    assert again.checkpoints == again.values == again.bytes == 0


async def test_prune_by_age_keeps_the_last_of_each_namespace(
    store: Store, clock: FixedClock
) -> None:
    await put_line(store, 3)
    await store.checkpoints.put("graph", id="sub", namespace="sub")
    clock.advance(2 * HOUR)
    await store.checkpoints.put("graph", id="new", parent="002", versions={"same": 0})

    await store.checkpoints.prune("graph", older_than=HOUR, namespace="sub")
    assert len(await store.checkpoints.list("graph")) == 4
    done = await store.checkpoints.prune("graph", older_than=HOUR)

    assert done.checkpoints == 3
    found = await store.checkpoints.list("graph", namespace=ALL)
    assert [one.key.id for one in found] == ["new", "sub"]
    assert found.items[0].checkpoint.values == {"same": "s"}
    both = await store.checkpoints.prune("graph", keep_last=0, older_than=timedelta(seconds=1))
    assert both.checkpoints == 1


async def test_a_prune_of_named_checkpoints_meets_no_others(store: Store) -> None:
    await put_line(store, 5)
    named = [CheckpointKey("graph", "", one) for one in ("001", "002", "004")]

    done = await store.checkpoints.prune("graph", keep_last=1, only=named)

    assert done.checkpoints == 2
    found = await store.checkpoints.list("graph")
    assert [one.key.id for one in found] == ["004", "003", "000"]
    assert found.items[1].parent == CheckpointKey("graph", "", "000")
    assert complete(found.items[1], 3)


async def test_what_is_to_be_kept_stays_and_is_followed(store: Store) -> None:
    await put_line(store, 10)

    await store.checkpoints.prune("graph", keep_last=1, keep=[CheckpointKey("graph", "", "004")])

    last, kept = (await store.checkpoints.list("graph")).items
    assert complete(last, 9)
    assert complete(kept, 4)
    assert last.parent == kept.key
    assert kept.parent is None


@pytest.mark.parametrize(
    "options",
    [{}, {"keep_last": -1}, {"keep_last": True}, {"keep_last": 1.5}, {"older_than": 5},
     {"older_than": timedelta(0)}],
)  # fmt: skip
async def test_a_prune_that_says_nothing_is_refused(store: Store, options: Any) -> None:
    with pytest.raises(InvalidError):
        await store.checkpoints.prune("graph", **options)


async def test_a_put_behind_a_pruned_checkpoint_is_right(store: Store) -> None:
    await put_line(store, 5)
    await store.checkpoints.put("graph", id="fork", parent="001", versions={"same": 0})
    await store.checkpoints.prune("graph", keep_last=1)

    await store.checkpoints.put(
        "graph", id="late", parent="004", versions={"same": 0, "m": 4, "x": 0}, values={"x": 1}
    )

    late = await store.checkpoints.get("graph", "late")
    assert late.values == {"same": "s", "x": 1}
    assert (await store.checkpoints.get("graph", "fork")).values == {"same": "s"}


async def test_deleting_a_lineage_removes_every_row(store: Store, dump: Dump) -> None:
    await put_line(store, 3, owner=("support", "ada"))
    await store.checkpoints.put("graph", id="x", namespace="sub")
    await store.checkpoints.put_writes("graph", "early", "t", [("m", 1)], namespace="other")
    await store.checkpoints.put("stays", 1, id="x")

    assert await store.checkpoints.delete_lineage("graph") is True
    assert await store.checkpoints.delete_lineage("graph") is False
    assert await store.checkpoints.delete_lineage("unknown") is False

    dumped = await dump()
    assert "graph" not in repr([rows for name, rows in dumped.items() if "checkpoint" in name])
    assert dumped["checkpoint_links"] == dumped["checkpoint_owners"] == []
    assert len(dumped["checkpoints"]) == 1
    assert (await store.checkpoints.get("stays")).payload == 1
    await store.checkpoints.put("graph", 2, id="000", parent="000", versions={"same": 0})
    again = await store.checkpoints.get("graph")
    assert (again.payload, again.number, again.values) == (2, 1, {})


async def test_checkpoints_of_runs_go_from_every_lineage(store: Store) -> None:
    await put_line(store, 6)
    await put_line(store, 4, "other")

    removed = await store.checkpoints.delete_for_runs(["run-1", "run-9"])

    assert removed == 4
    found = (await store.checkpoints.list("graph")).items
    assert [one.key.id for one in found] == ["005", "004", "001", "000"]
    assert found[1].parent == found[2].key
    assert all(complete(one, int(one.key.id)) for one in found)
    assert len(await store.checkpoints.list("other")) == 2
    assert await store.checkpoints.delete_for_runs([]) == 0
    with pytest.raises(InvalidError, match="run_ids"):
        await store.checkpoints.delete_for_runs("run-2")


async def test_a_copy_is_the_whole_lineage_and_lives_by_itself(store: Store) -> None:
    await put_line(store, 5)
    await store.checkpoints.put("graph", 1, id="sub", namespace="sub")
    await store.checkpoints.put_writes("graph", "early", "t", [("m", 1)])

    assert await store.checkpoints.copy_lineage("graph", "copy") == 6

    originals = [one async for one in store.checkpoints.iter("graph", namespace=ALL)]
    copies = [one async for one in store.checkpoints.iter("copy", namespace=ALL)]
    for one, other in zip(originals, copies, strict=True):
        assert one.key[1:] == other.key[1:]
        assert one.writes == other.writes
        assert one.checkpoint.payload == other.checkpoint.payload
        assert one.checkpoint.values == other.checkpoint.values
    with pytest.raises(AlreadyExistsError, match="'copy'"):
        await store.checkpoints.copy_lineage("graph", "copy")
    with pytest.raises(NotFoundError, match="'nothing'"):
        await store.checkpoints.copy_lineage("nothing", "new")
    await store.checkpoints.delete_lineage("graph")
    await store.checkpoints.put("copy", id="next", parent="004", versions={"same": 0})
    assert (await store.checkpoints.get("copy")).values == {"same": "s"}
    assert complete(await store.checkpoints.get_tuple("copy", "004"), 4)


async def test_a_branch_goes_on_from_an_older_checkpoint(store: Store) -> None:
    await put_line(store, 4)

    key = await store.checkpoints.branch("graph", "001", new_id="again")
    await store.checkpoints.put(
        "graph", id="on", parent=key.id, versions={"m": "fork", "same": 0}, values={"m": ["other"]}
    )

    branch = await store.checkpoints.get("graph", "again")
    older = await store.checkpoints.get("graph", "001")
    assert (branch.payload, branch.values, branch.versions) == (
        older.payload, older.values, older.versions
    )  # fmt: skip
    assert branch.metadata == {**older.metadata, "source": "fork"}
    assert branch.parent == older.key
    assert (await store.checkpoints.get("graph")).values == {"m": ["other"], "same": "s"}
    assert complete(await store.checkpoints.get_tuple("graph", "003"), 3)
    with pytest.raises(NotFoundError, match="'nope'"):
        await store.checkpoints.branch("graph", "nope")


async def test_a_branch_takes_the_place_of_no_other_checkpoint(store: Store) -> None:
    await put_line(store, 3)
    key = await store.checkpoints.branch("graph", "000", new_id="again")

    # What nobody has acknowledged may be said once more.
    assert await store.checkpoints.branch("graph", "000", new_id="again") == key
    for new_id in ("000", "001", "002"):
        with pytest.raises(AlreadyExistsError, match=f"there is a checkpoint '{new_id}'"):
            await store.checkpoints.branch("graph", "000", new_id=new_id)
    with pytest.raises(AlreadyExistsError):
        await store.checkpoints.branch("graph", "001", new_id="again")

    assert complete(await store.checkpoints.get_tuple("graph", "001"), 1)
    assert (await store.checkpoints.get("graph")).id == "again"


async def test_the_tree_has_parents_and_children_whatever_they_are(store: Store) -> None:
    outer = await store.checkpoints.put("graph", id="a")
    await store.checkpoints.put("graph", id="b", parent="a", metadata={"m": 1})
    await store.checkpoints.put("graph", id="c", parent="a")
    await store.checkpoints.put("graph", id="d", parent="gone")
    await store.checkpoints.put("graph", id="e", namespace="sub", parent=outer)
    await store.checkpoints.put("graph", id="loop", parent="pool")
    await store.checkpoints.put("graph", id="pool", parent="loop")
    await store.checkpoints.put("graph", id="self", parent="self")

    nodes = {node.key.id: node for node in await store.checkpoints.tree("graph")}

    assert [*nodes] == ["a", "b", "c", "d", "loop", "pool", "self", "e"]
    assert [key.id for key in nodes["a"].children] == ["b", "c", "e"]
    assert nodes["b"].metadata == {"m": 1}
    assert nodes["d"].parent == CheckpointKey("graph", "", "gone")
    assert [key.id for key in nodes["loop"].children] == ["pool"]
    assert [key.id for key in nodes["self"].children] == ["self"]
    assert len(await store.checkpoints.tree("graph", namespace="sub")) == 1
    await store.checkpoints.prune("graph", keep_last=1)
    assert (await store.checkpoints.get("graph", "self")).parent is not None


async def test_lineages_are_listed_with_what_they_hold(store: Store, clock: FixedClock) -> None:
    for name in ("c", "a", "b"):
        await put_line(store, 2, name)
    await store.checkpoints.put("a", namespace="sub")
    await store.checkpoints.delete_lineage("b")

    page = await store.checkpoints.lineages(limit=1)
    rest = await store.checkpoints.lineages(limit=1, cursor=page.next_cursor)

    [first] = page.items
    assert (first.lineage, first.checkpoints, first.namespaces) == ("a", 3, 2)
    assert first.bytes > 100
    assert first.created_at < first.updated_at < clock.now
    assert ([one.lineage for one in rest], rest.next_cursor) == (["c"], None)
    assert await store.checkpoints.get_lineage("a") == first
    with pytest.raises(NotFoundError, match="'b'"):
        await store.checkpoints.get_lineage("b")


async def test_a_fence_lets_only_the_next_one_through(store: Store) -> None:
    put = store.checkpoints.put
    await put("graph", id="a", fence=True)
    await put("graph", id="b", parent="a", fence=True)
    for parent in ("a", "unknown", None):
        with pytest.raises(ConflictError, match="'b'"):
            await put("graph", id="c", parent=parent, fence=True)
    await put("graph", id="b", parent="a", fence=True)
    await put("graph", id="c", parent="b", fence=True)
    await store.checkpoints.delete_lineage("graph")

    for call in (
        put("graph", id="d", parent="c", fence=True),
        put("graph", id="d", fence=True),
        store.checkpoints.put_writes("graph", "c", "t", [("m", 1)], fence=True),
    ):
        with pytest.raises(ConflictError, match="deleted"):
            await call
    assert await store.checkpoints.latest("graph") is None
    await put("graph", id="d", parent="c")
    await put("graph", id="e", parent="d", fence=True)


async def test_checkpoints_of_a_turn_are_stored_with_it_or_not_at_all(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    before = await dump()
    with pytest.raises(NotFoundError):  # noqa: PT012 - the block is what fails
        async with store.turn() as turn:
            turn.events.append(key, NewEvent("hello"))
            turn.checkpoints.put("graph", 1, id="a", values={"m": ["x"] * 99})
            turn.checkpoints.put("graph", 1, id="b", parent="a", versions={"m": "1"})
            turn.events.append(key._replace(id="unknown"), NewEvent("hello"))
    assert await dump() == before

    async with store.turn() as turn:
        turn.events.append(key, NewEvent("hello"))
        first = turn.checkpoints.put(
            "graph", 1, id="a", versions={"m": 1}, values={"m": ["x"] * 99}
        )
        turn.checkpoints.put(
            "graph", 2, id="b", parent="a", versions={"m": 2}, values={"m": ["x"] * 98}
        )
        turn.checkpoints.put_writes("graph", "b", "t", [("m", 1)])

    assert first.value == CheckpointKey("graph", "", "a")
    found = await store.checkpoints.get_tuple("graph")
    assert (found.checkpoint.values, len(found.writes)) == ({"m": ["x"] * 98}, 1)
    assert await store.events.count(key) == 1


async def test_a_turn_that_failed_leaves_nothing_that_later_puts_build_on(
    store: Store, key: SessionKey
) -> None:
    await store.checkpoints.put("graph", id="a", versions={"m": 1}, values={"m": ["x"] * 50})
    with pytest.raises(NotFoundError):  # noqa: PT012 - the block is what fails
        async with store.turn() as turn:
            turn.checkpoints.put(
                "graph", id="b", parent="a", versions={"m": 2}, values={"m": ["x"] * 51}
            )
            turn.events.append(key._replace(id="unknown"), NewEvent("hello"))

    for number, parent in enumerate(["b", "a"]):
        await store.checkpoints.put(
            "graph", id=f"c{number}", parent=parent, versions={"m": 3 + number},
            values={"m": ["x"] * 49 + [number]},
        )  # fmt: skip
        found = await store.checkpoints.get("graph")
        assert found.values == {"m": ["x"] * 49 + [number]}


async def test_replacing_again_and_again_does_not_pile_up(store: Store, dump: Dump) -> None:
    draw = random.Random(1)
    for number in range(160):
        await store.checkpoints.put("graph", [number, draw.random()], id="same")

    assert (await store.checkpoints.get("graph")).payload[0] == 159
    assert len((await dump())["checkpoint_values"]) < 120


@dataclass
class Model:
    """What checkpoints are to be, in plain Python."""

    #: By lineage and namespace: id, and what it holds, in the order of the puts.
    rows: dict[tuple[str, str], dict[str, dict[str, Any]]] = field(default_factory=dict)

    def put(self, where: tuple[str, str], id: str, row: dict[str, Any]) -> None:
        there = self.rows.setdefault(where, {})
        there.pop(id, None)
        there[id] = row

    def remove(self, where: tuple[str, str], ids: list[str]) -> None:
        there = self.rows[where]
        parents = {name: row["parent"] for name, row in there.items()}
        for row in there.values():
            parent, seen = row["parent"], set()
            while parent in ids and parent not in seen:
                seen.add(parent)
                parent = parents.get(parent)
            row["parent"] = parent
        for name in ids:
            del there[name]


class Walk:
    """Random calls, of the store and of the model alike."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self.draw = random.Random(seed)
        self.model = Model()
        self.count = 0

    def content(self, before: Any) -> Any:
        draw = self.draw
        kind = draw.randint(0, 5)
        if kind == 0:
            return Opaque("bytes", draw.randbytes(draw.choice([0, 10, 3_000])))
        if kind == 1 or not isinstance(before, list):
            return [f"message {n}" for n in range(draw.randint(0, 300))]
        if kind == 2:
            return before[: len(before) // 2]
        return [*before, f"more {draw.random()}"]

    def place(self) -> tuple[str, str]:
        return self.draw.choice(["g1", "g2"]), self.draw.choice(["", "sub"])

    async def step(self) -> None:
        action = self.draw.choice(["put"] * 12 + ["prune", "branch", "runs", "copy", "delete"])
        await getattr(self, action)(self.place())

    async def put(self, where: tuple[str, str]) -> None:
        draw, there = self.draw, self.model.rows.get(where, {})
        self.count += 1
        parent = draw.choice([*there][-3:]) if there and draw.random() < 0.9 else None
        before = there[parent] if parent else {"versions": {}, "values": {}, "payload": None}
        versions = dict(before["versions"])
        values = dict(before["values"])
        new = {}
        for name in draw.sample("abc", draw.randint(0, 3)):
            versions[name] = f"{self.count}.{draw.random()}"
            values.pop(name, None)
            if draw.random() < 0.8:
                new[name] = values[name] = self.content(before["values"].get(name))
        row = {
            "payload": self.content(before["payload"]), "versions": versions, "values": values,
            "parent": parent, "run": f"run-{draw.randint(0, 9)}",
        }  # fmt: skip
        name = draw.choice([*there]) if there and draw.random() < 0.1 else f"id {self.count}"
        await self.store.checkpoints.put(
            where[0], row["payload"], id=name, namespace=where[1], parent=parent,
            metadata={"run_id": row["run"]}, versions=versions, values=new,
        )  # fmt: skip
        self.model.put(where, name, row)

    async def prune(self, where: tuple[str, str]) -> None:
        there = [*self.model.rows.get(where, {})]
        keep = self.draw.randint(0, 8)
        await self.store.checkpoints.prune(where[0], keep_last=keep, namespace=where[1])
        if there:
            self.model.remove(where, there[: max(0, len(there) - keep)])

    async def branch(self, where: tuple[str, str]) -> None:
        there = self.model.rows.get(where)
        if there:
            self.count += 1
            of, new = self.draw.choice([*there]), f"id {self.count}"
            await self.store.checkpoints.branch(where[0], of, new_id=new, namespace=where[1])
            self.model.put(where, new, {**there[of], "parent": of})

    async def runs(self, _: tuple[str, str]) -> None:
        run = f"run-{self.draw.randint(0, 9)}"
        await self.store.checkpoints.delete_for_runs([run])
        for where, rows in self.model.rows.items():
            self.model.remove(where, [name for name, row in rows.items() if row["run"] == run])

    async def copy(self, where: tuple[str, str]) -> None:
        target = "g2" if where[0] == "g1" else "g1"
        if any(self.model.rows.get((where[0], ns)) for ns in ("", "sub")):
            await self.delete((target, ""))
            await self.store.checkpoints.copy_lineage(where[0], target)
            for ns in ("", "sub"):
                rows = self.model.rows.get((where[0], ns), {})
                self.model.rows[target, ns] = {name: dict(row) for name, row in rows.items()}

    async def delete(self, where: tuple[str, str]) -> None:
        await self.store.checkpoints.delete_lineage(where[0])
        for ns in ("", "sub"):
            self.model.rows.pop((where[0], ns), None)

    async def compare(self) -> None:
        for (lineage, ns), rows in self.model.rows.items():
            found = [one async for one in self.store.checkpoints.iter(lineage, namespace=ns)]
            assert [one.key.id for one in found] == [*rows][::-1]
            for one, row in zip(found, reversed(rows.values()), strict=True):
                checkpoint = one.checkpoint
                assert checkpoint.payload == row["payload"]
                assert checkpoint.values == row["values"]
                assert checkpoint.versions == row["versions"]
                assert (one.parent.id if one.parent else None) == row["parent"]


@pytest.mark.parametrize("seed", range(4 if "PERDURE_LONG" in os.environ else 2))
async def test_what_stays_is_what_was_put_whatever_was_done_around_it(
    store: Store, seed: int
) -> None:
    walk = Walk(store, seed)
    for turn in range(120):
        await walk.step()
        if turn % 20 == 19:
            await walk.compare()
