"""Processes that put, prune, erase and die over one lineage of checkpoints, and what must hold."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from string import ascii_lowercase
from typing import Any

import perdure
from perdure import ALL, ConflictError, NewWrite, SyncStore
from tests.engines.processes import in_a_process, meet, side_by_side

ADA = ("support", "ada")
PUTS = 40
FENCED = 60
#: So many that an erasure comes between them: 80 were all put before the first one had begun.
OWNED = 300
_TEXT = "what was said "


def value_of(name: str, number: int) -> list[str]:
    """What the checkpoint of that name and number holds: it says so itself."""
    return [f"{_TEXT}{n}" for n in range(number)] + [name]


def check(store: SyncStore, lineage: str) -> list[str]:
    """The ids of all checkpoints, each of which holds what it was put with."""
    ids = []
    numbers = []
    for found in store.checkpoints.iter(lineage, namespace=ALL):
        one = found.checkpoint
        name, number = one.payload["name"], one.payload["number"]
        assert one.values == {"m": value_of(name, number)}
        assert one.payload["whole"] == value_of(name, number)
        ids.append(one.id)
        numbers.append((one.key.namespace, one.number))
    assert len(set(numbers)) == len(numbers)
    return ids


def put(store: SyncStore, name: str, number: int, parent: str | None, **options: Any) -> str:
    key = f"{name}-{number}"
    value = value_of(name, number)
    store.checkpoints.put(
        "graph", {"name": name, "number": number, "whole": value}, id=key, parent=parent,
        versions={"m": f"{name}.{number}"}, values={"m": value}, **options,
    )  # fmt: skip
    return key


def grow(store: SyncStore, *, channels: bool) -> None:
    """150 turns of two messages of 300 bytes, three checkpoints a turn."""
    draw = random.Random(1)
    words = ["".join(draw.choices(ascii_lowercase, k=draw.randint(2, 9))) for _ in range(2_000)]
    messages: list[dict[str, str]] = []
    parent = None
    for number in range(450):
        turn, step = divmod(number, 3)
        if step < 2:
            text = " ".join(draw.choices(words, k=80))[:300]
            messages = [*messages, {"role": ("user", "assistant")[step], "content": text}]
        version = f"{number:032}.{draw.random():.16f}"
        options: dict[str, Any] = {"payload": {"id": f"{draw.random()}", "ts": number}}
        if channels:
            options |= {
                "versions": {"messages": f"{turn}.{min(step, 1)}", "branch": version},
                "values": {"messages": messages},
            }
        else:
            options["payload"] |= {"channels": {"messages": messages, "step": number}, "next": []}
        metadata = {"source": "loop", "step": number, "run_id": f"run-{turn}"}
        key = store.checkpoints.put("thread", parent=parent, metadata=metadata, **options)
        parent = key.id


# -- two who put to one lineage --------------------------------------------------------------


def putting(url: str, name: str) -> list[str]:
    draw = random.Random(name)
    with perdure.open_sync(url) as store:
        meet()
        parent = None
        for number in range(PUTS):
            parent = put(store, name, number, parent)
            if draw.random() < 0.3:
                # On from what the other put last: both may change the same value then.
                latest = store.checkpoints.latest("graph", channels=())
                parent = latest.id if latest else None
    return [f"{name}-{number}" for number in range(PUTS)]


def no_put_is_lost_and_each_holds_its_own(url: str) -> None:
    perdure.open_sync(url).close()
    wanted = side_by_side(putting, [(url, "one"), (url, "two"), (url, "three")])

    with perdure.open_sync(url) as store:
        ids = check(store, "graph")
        assert sorted(ids) == sorted(name for names in wanted for name in names)
        assert store.checkpoints.get("graph").number == 3 * PUTS


# -- one who prunes beside them --------------------------------------------------------------


def as_long_as_something_comes(remove: Callable[[int], int]) -> int:
    """Remove again and again what others put; how often there was something.

    Not so many times: they could be over before the others have put anything.
    """
    times = 0
    begun = last = time.monotonic()
    while time.monotonic() - last < 1 or (not times and time.monotonic() - begun < 30):
        if remove(times):
            times, last = times + 1, time.monotonic()
    return times


def met(work: Callable[..., Any], calls: Callable[[int], Sequence[tuple[str, ...]]]) -> None:
    """Let them run until the last one, who removes, has met the others in the midst of it.

    More than once, or nobody was in anybody's way; a busy machine may run one after the other.
    """
    for attempt in range(5):
        *_, times = side_by_side(work, calls(attempt))
        if times > 1:
            return
    raise AssertionError("who removes has met nobody who puts")


def pruning(url: str) -> int:
    with perdure.open_sync(url) as store:

        def prune(times: int) -> int:
            if times % 10 == 9:
                return store.checkpoints.delete_lineage("graph")
            return store.checkpoints.prune("graph", keep_last=times % 4).checkpoints

        meet()
        return as_long_as_something_comes(prune)


def _work(kind: str, url: str, name: str) -> Any:
    return pruning(url) if kind == "prune" else putting(url, name)


def what_stays_loads_while_others_prune_and_delete(url: str) -> None:
    perdure.open_sync(url).close()
    met(_work, lambda n: [("put", url, f"one{n}"), ("put", url, f"two{n}"), ("prune", url, "")])
    with perdure.open_sync(url) as store:
        check(store, "graph")
        latest = store.checkpoints.latest("graph")
        # Who prunes may have been the last one at it.
        put(store, "last", 30, latest.id if latest else None)
        store.checkpoints.prune("graph", keep_last=1)
        assert check(store, "graph") == ["last-30"]


def what_a_process_remembers_of_what_another_removed_is_not_built_on(url: str) -> None:
    with perdure.open_sync(url) as store, perdure.open_sync(url) as other:
        parent = None
        for number in range(30):
            parent = put(store, "a", number, parent)
        other.checkpoints.prune("graph", keep_last=0)
        put(store, "a", 30, parent)
        assert check(store, "graph") == ["a-30"]
        other.checkpoints.delete_lineage("graph")
        put(store, "a", 31, "a-30")
        assert check(store, "graph") == check(other, "graph") == ["a-31"]


# -- erasing ---------------------------------------------------------------------------------


def _owned(kind: str, url: str) -> int:
    with perdure.open_sync(url) as store:
        meet()
        if kind == "erase":
            return as_long_as_something_comes(
                lambda _: store.erase_user(*ADA, settle=False).removed["checkpoints"]
            )
        for number in range(OWNED):
            put(store, kind, number, None, owner=ADA, namespace=f"{kind}{number % 3}")
    return OWNED


def nothing_is_left_of_who_is_erased_while_others_put(url: str) -> None:
    perdure.open_sync(url).close()
    met(_owned, lambda n: [(f"one{n}", url), (f"two{n}", url), ("erase", url)])

    with perdure.open_sync(url) as store:
        check(store, "graph")
        store.erase_user(*ADA, settle=False)
        assert list(store.checkpoints.iter(ALL, namespace=ALL)) == []
        assert list(store.checkpoints.lineages()) == []
        left = {one.table: one.rows for one in store.du(("table",)).sizes}
        assert {name for name in left if name and name.startswith("checkpoint")} <= {
            "checkpoint_lineages"
        }


# -- the fence -------------------------------------------------------------------------------


def _fenced(url: str, name: str) -> int:
    won = 0
    with perdure.open_sync(url) as store:
        meet()
        for number in range(FENCED):
            latest = store.checkpoints.latest("graph", channels=())
            try:
                put(store, name, number, latest.id if latest else None, fence=True)
                won += 1
            except ConflictError:
                continue
    return won


def with_a_fence_there_is_one_line(url: str) -> None:
    perdure.open_sync(url).close()
    won = side_by_side(_fenced, [(url, "one"), (url, "two")])

    # Else nobody was in anybody's way.
    assert 0 < sum(won) < 2 * FENCED
    with perdure.open_sync(url) as store:
        nodes = store.checkpoints.tree("graph")
        assert len(nodes) == sum(won)
        assert [len(node.children) for node in nodes] == [1] * (len(nodes) - 1) + [0]


# -- death -----------------------------------------------------------------------------------


def _dying(url: str, after: int) -> None:
    """Fork one who puts, and kill it at some moment."""
    child = os.fork()
    if child == 0:
        try:
            _put_for_ever(url, after)
        finally:
            os._exit(1)
    time.sleep(0.3 + random.Random(after).random() * 0.5)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _put_for_ever(url: str, after: int) -> None:
    store = perdure.open_sync(url)
    parent = None
    for number in range(100_000):
        value = value_of("x", number % 50)
        key = f"{after}-{number}"
        store.checkpoints.put_full(
            "graph", {"name": "x", "number": number % 50, "whole": value}, id=key, parent=parent,
            versions={"m": f"{after}.{number}"}, values={"m": value}, task="t",
            writes=[NewWrite("a", number), NewWrite("b", number)],
        )  # fmt: skip
        parent = key


def a_killed_put_full_is_there_whole_or_not_at_all(url: str) -> None:
    perdure.open_sync(url).close()
    with perdure.open_sync(url) as store:
        for after in range(6):
            in_a_process(_dying, url, after)
            check(store, "graph")
            for found in store.checkpoints.iter("graph"):
                assert [write.channel for write in found.writes] == ["a", "b"]
        assert len(check(store, "graph")) > 1
