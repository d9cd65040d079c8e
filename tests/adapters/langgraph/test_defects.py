"""What users of LangGraph's own savers have met, and do not meet here."""

from __future__ import annotations

import asyncio
import enum
import inspect
import math
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langgraph.checkpoint.base", reason="needs langgraph: see .ci/adapters")
sqlite = pytest.importorskip("langgraph.checkpoint.sqlite", reason="needs LangGraph's own savers")

from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

import perdure
from perdure import (
    ALL,
    AlreadyExistsError,
    ClosedError,
    ConflictError,
    InvalidError,
    NewTaskWrites,
)
from perdure.adapters.langgraph import PerdureKeyValueStore, PerdureSaver, PerdureStore
from tests.adapters.langgraph.keeping import COLOURS, Called
from tests.adapters.langgraph.making import config, ids, put
from tests.engines.processes import meet, side_by_side

pytestmark = pytest.mark.filterwarnings("default")
SPECIAL = "__resume__"


@pytest.fixture
def saver(url: str) -> Iterator[PerdureSaver]:
    with PerdureSaver.from_conn_string(url) as one:
        yield one


@pytest.fixture
def theirs() -> Iterator[Any]:
    with sqlite.SqliteSaver.from_conn_string(":memory:") as one:
        yield one


@dataclass
class Order:
    item: str


class Colour(enum.StrEnum):
    RED = "red"


class Cipher:
    """No cipher to use: it only makes bytes unlike themselves."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "turned", bytes(255 - byte for byte in plaintext)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        assert ciphername == "turned"
        return bytes(255 - byte for byte in ciphertext)


def values_of(saver: Any, thread: str = "t") -> Any:
    return saver.get_tuple(config(thread)).checkpoint["channel_values"]


# -- reading while a list is open ------------------------------------------------------------


def test_put_and_get_work_inside_the_loop_over_a_list(saver: PerdureSaver) -> None:
    for number in range(3):
        put(saver, "t", {"n": number})

    for one in saver.list(config("t")):
        assert saver.get_tuple(one.config) is not None
        put(saver, "other", {"n": 1})

    async def awaited() -> int:
        count = 0
        async for one in saver.alist(config("t")):
            assert await saver.aget_tuple(one.config) is not None
            await saver.aput_writes(one.config, [("n", 1)], "task")
            count += 1
        return count

    assert asyncio.run(awaited()) == 3
    assert len(ids(saver.list(config("other")))) == 3


def test_both_colours_of_one_saver_share_what_they_store_on_any_loop(saver: PerdureSaver) -> None:
    first = put(saver, "t", {"n": 1})

    async def inside() -> Any:
        # The methods that do not await, where a loop runs.
        saver.put_writes(first, [("n", 2)], "task")
        found = await saver.aget_tuple(config("t"))
        assert found == saver.get_tuple(config("t"))
        many = await asyncio.gather(*[saver.aget_tuple(config("t")) for _ in range(50)])
        assert many == [found] * 50
        return found

    assert asyncio.run(inside()) == asyncio.run(inside())


# -- closing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PerdureSaver, PerdureStore, PerdureKeyValueStore])
def test_who_is_given_a_store_leaves_it_open(url: str, kind: Any) -> None:
    with perdure.open_sync(url) as store:
        with kind(store):
            pass
        asyncio.run(kind(store).aclose())

        store.kv.set(("a",), "k", 1)

    with kind.from_conn_string(url) as own:
        pass
    with pytest.raises(ClosedError):
        own._sync.kv.find(("a",), "k")


# -- writes of tasks -------------------------------------------------------------------------


def resumed_twice(saver: Any) -> list[tuple[str, Any]]:
    at = put(saver, "t")
    saver.put_writes(at, [(SPECIAL, 5), ("m", "a")], "task")
    saver.put_writes(at, [(SPECIAL, 6), ("m", "b")], "task")
    return sorted((one[1], one[2]) for one in saver.get_tuple(at).pending_writes)


def test_of_mixed_writes_each_is_decided_by_itself(saver: PerdureSaver) -> None:
    assert resumed_twice(saver) == [(SPECIAL, 6), ("m", "a")]


def test_theirs_keeps_the_old_answer(theirs: Any) -> None:
    assert resumed_twice(theirs) == [(SPECIAL, 5), ("m", "a")]


def test_writes_come_by_path_task_and_place_and_may_be_there_first(saver: PerdureSaver) -> None:
    assert "task_path" in inspect.signature(saver.put_writes).parameters
    assert "task_path" in inspect.signature(saver.aput_writes).parameters
    early = config("t", "zzz")
    saver.put_writes(early, [("c", 3)], "b", "~2")
    saver.put_writes(early, [("c", 1), ("c", 2)], "z", "~1")
    saver.put_writes(early, [("c", 0)], "a")

    put(saver, "t", id="zzz")

    found = saver.get_tuple(config("t"))
    assert found is not None
    assert [value for _, _, value in found.pending_writes or ()] == [0, 1, 2, 3]


def test_more_writes_than_one_call_of_the_store_takes(saver: PerdureSaver) -> None:
    at = put(saver, "t")

    saver.put_writes(at, [("c", number) for number in range(10_001)], "task")

    found = saver.get_tuple(at)
    assert found is not None
    assert [value for _, _, value in found.pending_writes or ()] == list(range(10_001))


@pytest.mark.parametrize("colour", COLOURS)
def test_of_many_writes_all_are_stored_or_none(url: str, colour: str) -> None:
    told: list[int] = []

    def failing(new: Any) -> Any:
        if isinstance(new, NewTaskWrites):
            told.append(len(new.writes))
            if len(told) > 1:
                raise OSError("no more room")
        return new

    with perdure.open_sync(url, on_write=failing) as store:
        saver = Called(PerdureSaver(store), colour)
        at = put(saver, "t")
        with pytest.raises(OSError, match="room"):
            saver.put_writes(at, [("c", number) for number in range(10_001)], "task")

        assert told == [10_000, 1]
        assert saver.get_tuple(at).pending_writes == []
        saver.close()


# -- filters ---------------------------------------------------------------------------------

METADATA = {
    "a": {"b": 1, "c": 2},
    "l": [1, 2, 3],
    "t": True,
    "n": None,
    "dotted.key": 5,
    "sp ace": 1,
    "quo'te\"": 1,
}


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ({"a": {"b": 1}}, False),
        ({"a": {"c": 2, "b": 1}}, True),
        ({"l": [2]}, False),
        ({"l": [1, 2, 3]}, True),
        ({"t": 1}, False),
        ({"t": True}, True),
        ({"zzz": None}, False),
        ({"n": None}, True),
        ({"dotted.key": 5}, True),
        ({"a.b": 1}, False),
        ({"sp ace": 1}, True),
        ({"quo'te\"": 1}, True),
        ({"source": "loop", "l": [1, 2, 3]}, True),
        ({"source": "input", "l": [1, 2, 3]}, False),
    ],
)
def test_a_filter_means_the_same_on_every_engine_encrypted_or_not(
    saver: PerdureSaver, filter: Any, found: bool
) -> None:
    put(saver, "t", metadata=METADATA)
    assert bool(ids(saver.list(config("t"), filter=filter))) is found

    hidden = PerdureSaver(saver.store, serde=encrypting(), clear_metadata=["l"])
    put(hidden, "hidden", metadata=METADATA)
    assert bool(ids(hidden.list(config("hidden"), filter=filter, limit=1))) is found


def test_theirs_refuses_a_key_with_a_quote(theirs: Any) -> None:
    put(theirs, "t", metadata=METADATA)

    with pytest.raises(ValueError, match=r"[Ii]nvalid"):
        ids(theirs.list(config("t"), filter={"quo'te\"": 1}))


def test_before_compares_ids_and_the_limit_may_be_none_at_all(saver: PerdureSaver) -> None:
    for number in range(5):
        put(saver, "t", id=f"{number}")

    assert ids(saver.list(config("t"), before=config("t", "3"), limit=2)) == ["2", "1"]
    # Nothing has that id: it is compared with those that are there.
    assert ids(saver.list(config("t"), before=config("t", "25"))) == ["2", "1", "0"]
    assert ids(saver.list(config("t"), limit=0)) == []
    assert ids(saver.list(config("t", "2"))) == ["2"]
    assert ids(saver.list(None)) == ["4", "3", "2", "1", "0"]


# -- values ----------------------------------------------------------------------------------


def test_legal_values_are_not_refused_or_changed(saver: PerdureSaver) -> None:
    values = {
        "nul": "a\0b",
        "inf": math.inf,
        "none": None,
        "bytes": b"\xff",
        "empty": b"",
        "nested": {"nul": "\0", "set": {1, 2}, "id": uuid.UUID(int=1)},
        "big": 2**63,
    }

    put(saver, "t", {**values, "nan": math.nan}, metadata={"nan": math.nan, "set": {1}})

    found = saver.get_tuple(config("t"))
    assert found is not None
    told = dict(found.checkpoint["channel_values"])
    assert math.isnan(told.pop("nan"))
    assert told == values
    assert math.isnan(found.metadata["nan"])
    assert found.metadata["set"] == {1}


def test_an_enum_keeps_its_type_if_it_is_allowed(saver: PerdureSaver) -> None:
    allowing = PerdureSaver(saver.store, allowlist=[Colour])
    put(allowing, "t", {"colour": Colour.RED})

    assert type(values_of(allowing)["colour"]) is Colour


def test_types_that_nobody_allowed_are_not_made(saver: PerdureSaver) -> None:
    put(saver, "t", {"order": Order("tea")})

    assert not isinstance(values_of(saver)["order"], Order)
    clone = saver.with_allowlist([(Order.__module__, Order.__name__)])
    assert clone is not saver
    assert values_of(clone)["order"] == Order("tea")
    put(clone, "t", {"order": Order("milk")})
    assert "milk" in str(values_of(saver)["order"])


def test_theirs_makes_any_type_that_a_checkpoint_names(theirs: Any) -> None:
    put(theirs, "t", {"order": Order("tea")})

    assert values_of(theirs)["order"] == Order("tea")


def test_a_serializer_may_be_set_later(saver: PerdureSaver) -> None:
    saver.serde = JsonPlusSerializer(allowed_msgpack_modules=[Order])
    put(saver, "t", {"order": Order("tea")})

    assert values_of(saver)["order"] == Order("tea")


def encrypting() -> EncryptedSerializer:
    return EncryptedSerializer(Cipher(), JsonPlusSerializer(allowed_msgpack_modules=None))


def filled(saver: Any) -> None:
    with saver:
        at = put(saver, "t", {"text": "secret one", "n": 1}, metadata={"user": "secret two"})
        saver.put_writes(at, [("text", "secret three")], "task")
        assert values_of(saver)["text"] == "secret one"


def test_nothing_of_an_encrypted_thread_is_readable_in_the_file(tmp_path: Path) -> None:
    options = {"serde": encrypting(), "clear_metadata": ()}
    filled(PerdureSaver.from_conn_string(f"sqlite:///{tmp_path}/store.db", **options))

    assert b"secret" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_metadata_of_an_encrypted_thread_is_encrypted_unless_you_say_otherwise(
    saver: PerdureSaver,
) -> None:
    told = {"user": "ada", "run_id": "7"}
    hidden = PerdureSaver(saver.store, serde=encrypting())
    put(hidden, "t", metadata=told)
    saver.serde = encrypting()
    put(saver, "set later", metadata=told)
    named = PerdureSaver(saver.store, serde=encrypting(), clear_metadata=["user"])
    put(named, "named", metadata=told)

    readable = {one.key.lineage: dict(one.metadata) for one in saver._sync.checkpoints.list(ALL)}
    plain = {"source": "loop", "step": 1, "run_id": "7"}
    assert readable == {"t": plain, "set later": plain, "named": {**plain, "user": "ada"}}
    for thread in readable:
        assert ids(hidden.list(config(thread), filter={"user": "ada", "step": 1}))
        assert not ids(hidden.list(config(thread), filter={"user": "bob"}))


def test_theirs_leaves_the_metadata_readable(tmp_path: Path) -> None:
    path = tmp_path / "their.db"
    with sqlite.SqliteSaver.from_conn_string(str(path)) as saver:
        saver.serde = encrypting()
        put(saver, "t", {"text": "secret one"}, metadata={"user": "secret two"})

    assert b"secret two" in b"".join(path.read_bytes() for path in tmp_path.iterdir())


# -- threads ---------------------------------------------------------------------------------


def test_a_deleted_thread_begins_anew_under_its_old_id(saver: PerdureSaver) -> None:
    old = put(saver, "t", {"n": "old"}, id="same")
    saver.put_writes(old, [("n", "old write")], "task")
    saver.delete_thread("t")
    assert saver.get_tuple(config("t")) is None

    put(saver, "t", {"other": 1}, id="same")

    found = saver.get_tuple(config("t"))
    assert found is not None
    assert found.checkpoint["channel_values"] == {"other": 1}
    assert found.pending_writes == []


def test_with_a_fence_no_late_write_brings_a_thread_back_and_no_fork_is_silent(
    saver: PerdureSaver,
) -> None:
    fenced = PerdureSaver(saver.store, fenced=True)
    first = put(fenced, "t", {"n": 1})
    put(fenced, "t", {"n": 2}, first)
    with pytest.raises(ConflictError):
        put(fenced, "t", {"n": 3}, first)
    fenced.delete_thread("t")
    with pytest.raises(ConflictError):
        fenced.put_writes(first, [("n", 1)], "late")

    assert saver.get_tuple(config("t")) is None


def test_the_latest_can_be_what_was_put_last_whatever_the_clock_of_its_id(
    saver: PerdureSaver,
) -> None:
    put(saver, "t", {"n": 1}, id="9 from a clock ahead")
    put(saver, "t", {"n": 2}, id="5 from a clock behind")

    assert values_of(saver) == {"n": 1}
    by_put = PerdureSaver(saver.store, order="put")
    assert values_of(by_put) == {"n": 2}
    by_put.prune(["t"])
    assert values_of(saver) == {"n": 2}


def test_threads_are_listed_copied_and_named_by_numbers(saver: PerdureSaver) -> None:
    put(saver, 7, {"n": 1})  # type: ignore[arg-type]
    put(saver, "8", {"n": 1})
    saver.copy_thread("7", "9")

    assert [one.lineage for one in saver.list_threads(limit=2)] == ["7", "8"]
    page = asyncio.run(saver.alist_threads())
    assert [one.checkpoints for one in page] == [1, 1, 1]
    with pytest.raises(AlreadyExistsError):
        saver.copy_thread("7", "8")


@pytest.mark.parametrize("bad", [{}, {"configurable": {}}])
def test_a_config_without_a_thread_is_refused(saver: PerdureSaver, bad: Any) -> None:
    with pytest.raises(InvalidError, match="thread"):
        saver.get_tuple(bad)
    with pytest.raises(InvalidError, match="keep_latest"):
        saver.prune(["t"], strategy="keep_some")


def test_erasing_a_person_removes_their_threads(saver: PerdureSaver) -> None:
    owned = PerdureSaver(
        saver.store, owner=lambda config: ("app", config["configurable"]["thread_id"])
    )
    put(owned, "ada", {"n": 1})
    put(owned, "bob", {"n": 1})

    owned._sync.erase_user("app", "ada")

    assert [one.lineage for one in saver.list_threads()] == ["bob"]


def test_no_id_is_drawn_with_uuid4(saver: PerdureSaver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uuid, "uuid4", lambda: pytest.fail("uuid4 was called"))

    at = put(saver, "t", {"n": 1})
    saver.put_writes(at, [("n", 1)], "task")
    saver.copy_thread("t", "copy")


def set_up(url: str) -> bool:
    with PerdureSaver.from_conn_string(url) as saver:
        saver.setup()
        asyncio.run(saver.asetup())
        return saver.get_tuple(config("t")) is None


def set_up_with_all(url: str) -> bool:
    meet()
    return set_up(url)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes that are forked")
def test_twenty_processes_may_set_up_at_once(shared_url: str) -> None:
    assert side_by_side(set_up_with_all, [(shared_url,)] * 20) == [True] * 20


def test_twenty_may_set_up_at_once(url: str) -> None:
    with ThreadPoolExecutor(20) as pool:
        times = 20 if url.startswith(("sqlite", "postgres")) else 1
        assert all(pool.map(set_up, [url] * times))

    async def awaited() -> None:
        async with PerdureSaver.from_conn_string(url) as saver:
            await saver.setup()

    asyncio.run(awaited())


def test_150_turns_take_less_than_a_megabyte(tmp_path: Path) -> None:
    words = [f"{number * 7919 % 100_003:x}" for number in range(20_000)]
    with PerdureSaver.from_conn_string(str(tmp_path / "store.db")) as saver:
        messages: list[str] = []
        parent = None
        for turn in range(150):
            for step in range(3):
                if step < 2:
                    at = (turn * 2 + step) * 60
                    messages = [*messages, " ".join(words[at : at + 60])[:300]]
                parent = put(saver, "t", {"messages": messages, "step": step}, parent)
        size = saver.list_threads().items[0].bytes

    assert size < 1_000_000
