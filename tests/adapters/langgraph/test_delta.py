"""Channels that are stored as what was written to them: their history, and what a prune keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

import pytest

pytest.importorskip("langgraph.checkpoint.base", reason="needs langgraph: see .ci/adapters")
pytest.importorskip("langgraph.graph", reason="needs langgraph: see .ci/adapters")

from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

import perdure
from perdure import KeepCheckpoints, RetentionConfig
from perdure.adapters.langgraph import PerdureSaver
from tests.adapters.langgraph.making import config, ids, made, put

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def saver(url: str) -> Iterator[PerdureSaver]:
    with PerdureSaver.from_conn_string(url) as one:
        yield one


def line(saver: Any, count: int, seeds: dict[int, Any]) -> list[Any]:
    """A thread of so many checkpoints; each has a write, and some a value of the channel."""
    configs: list[Any] = []
    for number in range(count):
        values = {"m": seeds[number]} if number in seeds else {}
        parent = configs[-1] if configs else None
        at = config("t", parent and parent["configurable"]["checkpoint_id"])
        checkpoint = made(values, f"{number:04}", m=number + 1)
        told = {"source": "loop", "step": number, "counters_since_delta_snapshot": {"m": (1, 1)}}
        configs.append(saver.put(at, checkpoint, told, {"m": number + 1}))
        saver.put_writes(configs[-1], [("m", f"a{number}"), ("other", 0)], "task", "path")
    return configs


def told(history: Any) -> tuple[Any, list[Any]]:
    return history["m"].get("seed"), [value for _, _, value in history["m"]["writes"]]


def test_the_history_begins_with_the_nearest_value_and_its_writes_oldest_first(
    saver: PerdureSaver,
) -> None:
    configs = line(saver, 6, {0: "far", 2: "near"})

    history = saver.get_delta_channel_history(config=configs[-1], channels=["m"])

    assert told(history) == ("near", ["a2", "a3", "a4"])
    awaited = saver.aget_delta_channel_history(config=config("t"), channels=["m", "none"])
    assert asyncio.run(awaited) == {**history, "none": {"writes": []}}


def test_without_a_stored_value_it_goes_back_to_the_root_and_has_no_seed(
    saver: PerdureSaver,
) -> None:
    configs = line(saver, 250, {})

    history = saver.get_delta_channel_history(config=configs[-1], channels=["m"])

    assert "seed" not in history["m"]
    assert told(history)[1] == [f"a{number}" for number in range(249)]
    assert saver.get_delta_channel_history(config=configs[-1], channels=[]) == {}
    missing = saver.get_delta_channel_history(config=config("nowhere"), channels=["m"])
    assert missing == {"m": {"writes": []}}


def test_the_history_follows_parents_and_not_ids(saver: PerdureSaver) -> None:
    configs = line(saver, 4, {0: "seed"})
    fork = put(saver, "t", {}, configs[1], id="9999")

    history = saver.get_delta_channel_history(config=fork, channels=["m"])

    assert told(history) == ("seed", ["a0", "a1"])


def test_the_history_is_that_of_the_default_which_reads_checkpoint_by_checkpoint(
    saver: PerdureSaver,
) -> None:
    configs = line(saver, 120, {3: "seed"})

    for at in (configs[0], configs[4], configs[119]):
        ours = saver.get_delta_channel_history(config=at, channels=["m", "other"])
        theirs = BaseCheckpointSaver.get_delta_channel_history(
            saver, config=at, channels=["m", "other"]
        )
        assert ours == theirs


def test_a_prune_keeps_what_the_newest_checkpoint_is_made_of(saver: PerdureSaver) -> None:
    line(saver, 8, {1: "old", 4: "near"})
    before = saver.get_delta_channel_history(config=config("t"), channels=["m"])

    saver.prune(["t"])

    assert ids(saver.list(config("t"))) == ["0007", "0006", "0005", "0004"]
    assert saver.get_delta_channel_history(config=config("t"), channels=["m"]) == before


class State(TypedDict):
    log: Annotated[list[str], DeltaChannel(lambda old, new: [*old, *[x for n in new for x in n]])]


def graph(saver: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node("node", lambda state: {"log": [f"did {len(state['log'])}"]})
    builder.add_edge(START, "node")
    return builder.compile(checkpointer=saver)


def test_a_graph_with_such_a_channel_goes_on_after_a_prune(saver: PerdureSaver) -> None:
    ours, theirs = graph(saver), graph(InMemorySaver())
    for turn in range(4):
        for one in (ours, theirs):
            one.invoke({"log": [f"turn {turn}"]}, config("t"))
        saver.prune(["t"])

        assert ours.get_state(config("t")).values == theirs.get_state(config("t")).values
    assert len(ours.get_state(config("t")).values["log"]) == 8


def test_such_a_graph_goes_on_after_a_sweep_and_after_a_prune_of_the_store(url: str) -> None:
    # Whoever sweeps knows nothing of LangGraph: `perdure worker` has an address, and no saver.
    keep = RetentionConfig(retention_days=None, checkpoints=KeepCheckpoints(keep_last=2))
    with perdure.open_sync(url, retention=keep) as store:
        ours, theirs = graph(PerdureSaver(store)), graph(InMemorySaver())
        for turn in range(4):
            for one in (ours, theirs):
                one.invoke({"log": [f"turn {turn}"]}, config("t"))
            store.sweep()
            assert ours.get_state(config("t")).values == theirs.get_state(config("t")).values
            store.checkpoints.prune("t", keep_last=1)
            assert ours.get_state(config("t")).values == theirs.get_state(config("t")).values
        assert len(ours.get_state(config("t")).values["log"]) == 8
        ours.update_state(config("t"), {"log": ["by hand"]})
        ours.update_state(config("t"), {"log": ["and again"]})
        swept = store.sweep()

        assert ours.get_state(config("t")).values["log"][-2:] == ["by hand", "and again"]
        assert "checkpoints" not in swept.kinds
