"""Lists that grow are decoded once: nobody can tell but by the time it takes."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("langgraph.checkpoint.base", reason="needs langgraph: see .ci/adapters")

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from perdure.adapters.langgraph import PerdureSaver
from perdure.adapters.langgraph.decoding import Grown
from perdure.records import Opaque
from tests.adapters.langgraph.making import config, ids, put

pytestmark = pytest.mark.filterwarnings("default")
SERDE = JsonPlusSerializer()


@pytest.fixture
def saver(url: str) -> Iterator[PerdureSaver]:
    with PerdureSaver.from_conn_string(url) as one:
        yield one


@dataclass
class Order:
    item: str


class Counting(JsonPlusSerializer):
    """A serializer of somebody's own, which counts what it decodes."""

    lists = 0

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        value = super().loads_typed(data)
        self.lists += isinstance(value, list) and value[:1] == ["counted"]
        return value


def _packed(value: Any) -> bytes:
    _, data = SERDE.dumps_typed(value)
    return bytes(data)


def _plain(data: bytes) -> Any:
    return SERDE.loads_typed(("msgpack", data))


def _message(number: int) -> dict[str, Any]:
    return {"role": "user", "content": f"message {number}"}


def _told(saver: PerdureSaver, lists: list[list[Any]]) -> list[list[Any]]:
    """What a list gives of checkpoints with these values, in the order of their puts."""
    parent = None
    for number, messages in enumerate(lists):
        parent = put(saver, "t", {"messages": messages}, parent, id=f"{number:05}")
    found = list(saver.list(config("t")))
    assert ids(found) == [f"{number:05}" for number in reversed(range(len(lists)))]
    return [one.checkpoint["channel_values"]["messages"] for one in reversed(found)]


def _latest(saver: PerdureSaver) -> list[Any]:
    found = saver.get_tuple(config("t"))
    assert found is not None
    messages: list[Any] = found.checkpoint["channel_values"]["messages"]
    return messages


def test_every_list_of_a_growing_channel_is_the_callers_own(saver: PerdureSaver) -> None:
    lists = [[{"a": number, "b": [{"c": []}]} for number in range(size)] for size in range(20)]

    found = _told(saver, lists)
    assert found == lists

    for size in range(1, 20):
        found[size][0]["a"] = "changed"
        found[size][0]["b"][0]["c"].append("changed")
        found[size].append("changed")
        assert found[size + 1 :] == lists[size + 1 :]
    assert [one.checkpoint["channel_values"]["messages"] for one in saver.list(config("t"))] == (
        lists[::-1]
    )


def test_what_a_reader_changes_no_other_reader_sees(saver: PerdureSaver) -> None:
    parts = [{"type": "text", "text": "hi"}]
    lists = [
        [_message(number) | {"parts": parts} for number in range(size)] for size in range(1, 6)
    ]
    for size, messages in enumerate(lists, 1):
        put(saver, "t", {"messages": messages}, id=f"{size:05}")
        for _ in range(3):
            found = _latest(saver)
            assert found == messages

            found[0]["content"] = "changed"
            found[0]["parts"][0]["text"] = "changed"
            found.append("changed")


def test_a_list_may_shrink_change_and_fork(saver: PerdureSaver) -> None:
    a, b, c, d = map(_message, range(4))
    lists: list[list[Any]] = [
        [a],
        [a, b],
        [a, c],
        [a, c, d],
        [a],
        [],
        [b],
        [[b]],
        [[b, c], d],
        [a, b, c, d],
        [a, b],
    ]

    found = _told(saver, lists)

    assert found == lists
    assert _latest(saver) == _latest(saver) == lists[-1]


def test_checkpoints_of_other_namespaces_and_threads_are_told_apart(saver: PerdureSaver) -> None:
    for number in range(4):
        for place, (thread, ns) in enumerate([("t", ""), ("t", "inner"), ("u", "")]):
            messages = [_message(place * number) for _ in range(number)]
            put(saver, thread, {"messages": messages, "log": [*messages, place]}, ns=ns)

    for one in [*saver.list(None), *saver.list(None)]:
        at = one.config["configurable"]
        place = [("t", ""), ("t", "inner"), ("u", "")].index((at["thread_id"], at["checkpoint_ns"]))
        messages = one.checkpoint["channel_values"]["messages"]
        number = len(messages)
        assert messages == [_message(place * number)] * number
        assert one.checkpoint["channel_values"]["log"] == [*messages, place]


def test_objects_are_made_anew_for_each_reader(saver: PerdureSaver) -> None:
    saver.serde = JsonPlusSerializer(allowed_msgpack_modules=[Order])
    lists: list[list[Any]] = [
        [{"plain": [number]} for number in range(size)]
        + [HumanMessage("hi", id="1"), AIMessage("ho", id="2"), Order("book"), {3}, deque([[4]])]
        for size in range(5)
    ]

    found = [*_told(saver, lists), _latest(saver), _latest(saver), _latest(saver)]

    assert found == [*lists, lists[-1], lists[-1], lists[-1]]
    for place in range(1, 6):
        assert len({id(one[-place]) for one in found}) == len(found)
    found[0][-5].content = "changed"
    found[0][-3].item = "changed"
    found[0][-1][0].append("changed")
    assert found[1:] == [*lists[1:], lists[-1], lists[-1], lists[-1]]


def test_an_object_behind_plain_items_is_made_anew_too(saver: PerdureSaver) -> None:
    plain = [_message(number) for number in range(3)]
    message = HumanMessage("hi", id="1")
    lists = [plain[:2], plain, [*plain, message], [*plain, message, message], plain]

    found = _told(saver, lists)

    assert found == lists
    assert len({id(one) for messages in found for one in messages[3:]}) == 3


def test_what_no_allowlist_names_stays_plain_at_every_read(saver: PerdureSaver) -> None:
    saver.serde = JsonPlusSerializer(allowed_msgpack_modules=True)
    lists: list[list[Any]] = [[Order(f"book {size}")] * size for size in range(1, 4)]
    assert _told(saver, lists) == lists
    assert _latest(saver) == _latest(saver) == lists[-1]

    saver.serde = JsonPlusSerializer(allowed_msgpack_modules=None)
    for _ in range(3):
        assert _latest(saver) == [{"item": "book 3"}] * 3
    saver.serde = JsonPlusSerializer(allowed_msgpack_modules=[Order])
    assert _latest(saver) == _latest(saver) == lists[-1]


def test_a_serializer_of_somebodys_own_decodes_every_value(saver: PerdureSaver) -> None:
    lists = [["counted", *map(_message, range(size))] for size in range(5)]
    assert _told(saver, lists) == lists

    saver.serde = Counting()
    assert _told(saver, lists) == lists
    assert saver.serde.lists == len(lists)
    assert _latest(saver) == _latest(saver) == lists[-1]
    assert saver.serde.lists == len(lists) + 2


def test_bytes_behind_a_list_are_no_items_of_the_next_one(saver: PerdureSaver) -> None:
    # No serializer writes that, but a caller of the store can.
    first, second = _packed(["a", "b"]), _packed(["a", "b", "c", "d"])
    odd = [first + _packed("c"), second, first, second, first + _packed("c"), second[:-1]]

    # Three items, and a fourth one behind them.
    third = b"\x93" + second[1:]
    for datas in (
        odd[:3], odd[1:5], [odd[0]] * 3 + odd, [odd[0], odd[0], third, third],
        [third, third, second],
    ):  # fmt: skip
        grown = Grown()
        for data in datas:
            found = grown.look(data)
            if found is not None:
                assert found == _plain(data)

    for number, data in enumerate(odd[:2]):
        saver._sync.checkpoints.put(
            "odd",
            Opaque(*SERDE.dumps_typed([{"id": str(number)}, {}])),
            id=str(number),
            versions={"messages": number},
            values={"messages": Opaque("msgpack", data)},
        )
    assert [one.checkpoint["channel_values"]["messages"] for one in saver.list(config("odd"))] == [
        ["a", "b", "c", "d"],
        ["a", "b"],
    ]


@pytest.mark.parametrize("size", [15, 16, 65_535, 65_536])
def test_the_head_of_a_list_may_get_longer(size: int) -> None:
    grown = Grown()
    for length in (size - 1, size, size, size + 1, size + 1):
        value = list(range(length))
        assert grown.look(_packed(value)) in (None, value)

    assert grown.look(_packed([*range(size + 2)])) == [*range(size + 2)]


def test_what_the_serializer_gives_a_copy_gives_too() -> None:
    items: list[Any] = [
        None, True, -1, 2**63, 1.5, float("inf"), "text \N{EURO SIGN}", b"bytes \xff", "", [], {},
        {"a": b"x", "b": [b"y"]}, {1: 2, None: 3, 1.5: 4, False: 5, b"k": 6, (1, "t"): 7}, [[[{}]]],
    ]  # fmt: skip
    for size in range(len(items)):
        grown = Grown()
        data = _packed(items[: size + 1])
        whole = _plain(data)
        looks = [grown.look(data) for _ in range(3)]
        assert looks == [None, whole, whole]
        assert repr(looks[1]) == repr(whole)


@pytest.mark.parametrize("depth", [900, 1_000])
def test_the_deepest_list_is_read_as_ever(depth: int) -> None:
    data = b"\x91" * depth + b"\x90"
    grown = Grown()

    for found in [grown.look(data) or _plain(data) for _ in range(3)]:
        inner = found
        for _ in range(depth):
            [inner] = inner
        assert inner == []


def test_threads_that_read_while_others_write_get_what_was_stored() -> None:
    datas = [_packed([_message(number) for number in range(size)]) for size in range(200)]
    grown = Grown()

    def look(seed: int) -> None:
        order = random.Random(seed)
        for place in range(2, 200):
            data = datas[place - order.randrange(3)]
            assert grown.look(data) in (None, _plain(data))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(look, range(8)))


def test_no_more_is_decoded_than_a_list_has_grown_by(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = 0
    loads = JsonPlusSerializer.loads_typed

    def counted(self: Any, data: tuple[str, bytes]) -> Any:
        nonlocal decoded
        decoded += len(data[1])
        return loads(self, data)

    grown = Grown()
    datas = [_packed([_message(number) for number in range(size)]) for size in range(100, 200)]
    assert grown.look(datas[0]) is None
    assert grown.look(datas[0]) is not None
    monkeypatch.setattr(JsonPlusSerializer, "loads_typed", counted)

    for data in datas:
        assert grown.look(data) is not None

    assert decoded < 2 * len(datas[-1])
