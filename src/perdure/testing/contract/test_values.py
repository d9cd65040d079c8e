"""Values: what goes in comes out equal, or is refused before anything is written."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest

from perdure import (
    DELETE,
    AppScope,
    EventError,
    InvalidError,
    NewEvent,
    Opaque,
    SessionKey,
    Store,
    UserScope,
)
from perdure.testing.databases import Dump, Reopen
from perdure.values import parse

APP, USER = AppScope("support"), UserScope("support", "ada")


class _Text(StrEnum):
    A = "a"


class _Number(IntEnum):
    ONE = 1


def nested(depth: int) -> Any:
    value: Any = "deep"
    for level in range(depth):
        value = {"k": value} if level % 2 else [value]
    return value


KEPT: dict[str, Any] = {
    "null": None,
    "booleans": [True, False],
    "zero": 0,
    "minus zero": -0.0,
    "NUL": "a\0b",
    "only NUL": "\0",
    "emoji": "\U0001f468\u200d\U0001f469 \u00e9",
    "highest character": "\U0010ffff",
    "non-character": "\uffff\ufdd0",
    "direction": "\u202eabc\u202c",
    "line separators": "\u2028\u2029\x85\r\n",
    "escapes": '\\u0000 \\ " / \x7f \x1f',
    "2**53+1": 2**53 + 1,
    "2**63": 2**63,
    "-2**63": -(2**63),
    "2**64": 2**64,
    "2**70": 2**70,
    "10**400": 10**400,
    "1e16": 1e16,
    "1e22": 1e22,
    "1e308": 1e308,
    "5e-324": 5e-324,
    "0.1": 0.1,
    "-1.5e-7": -1.5e-7,
    "depth 200": nested(200),
    "empty object": {},
    "empty list": [],
    "empty containers": {"a": {}, "b": [], "c": [[], {}], "d": ""},
    "blank key": {"": 1, " ": 2},
    "keys that look special": {"$type": 1, "__class__": 2, "codec": 3, "data": 4, "app:": 5},
    "order": {"z": 1, "a": 2, "m": {"y": 1, "b": 2}},
    "SQL": "'; DROP TABLE events; --",
    "JSON in text": '{"a": 1}',
    "NFC and NFD": ["\u00e9", "e\u0301"],
    "number-like keys": {"1": 1, "01": 2, "1.0": 3},
    "long": "x" * 100_000,
}

Put = Callable[[Store, SessionKey, Any], Awaitable[Any]]


async def as_content(store: Store, key: SessionKey, value: Any) -> Any:
    await store.events.append(key, NewEvent(value, id="e", metadata={"m": 1}))
    return (await store.events.get(key, "e")).content


async def in_content(store: Store, key: SessionKey, value: Any) -> Any:
    await store.events.append(key, NewEvent({"role": "user", "x": [value]}, id="e"))
    found: Any = (await store.events.get(key, "e")).content
    return found["x"][0]


async def in_metadata(store: Store, key: SessionKey, value: Any) -> Any:
    await store.events.append(key, NewEvent(id="e", metadata={"m": value}))
    return ((await store.events.get(key, "e")).metadata or {})["m"]


async def in_extra(store: Store, key: SessionKey, value: Any) -> Any:
    await store.events.append(key, NewEvent(id="e", extra={"x": value}))
    return ((await store.events.get(key, "e")).extra or {})["x"]


async def in_usage(store: Store, key: SessionKey, value: Any) -> Any:
    await store.events.append(key, NewEvent(id="e", usage={"u": value}))
    return (await store.events.get(key, "e")).usage["u"]


async def in_delta(store: Store, key: SessionKey, value: Any) -> Any:
    await store.events.append(key, NewEvent(id="e", state_delta={"user:s": value}))
    event = await store.events.get(key, "e")
    assert (await store.state.get(USER, "s")).value == (event.state_delta or {})["user:s"]
    return (event.state_delta or {})["user:s"]


async def in_created_state(store: Store, key: SessionKey, value: Any) -> Any:
    made = await store.sessions.create(key.app, key.user, f"made {key.id}", state={"s": value})
    return (await store.state.at(made.key, 0))["s"]


async def in_session_state(store: Store, key: SessionKey, value: Any) -> Any:
    await store.state.set(key, {"s": value})
    merged = (await store.state.merged(key))["s"]
    assert (await store.state.history(key, "s"))[-1].value == merged
    return merged


async def in_app_state(store: Store, key: SessionKey, value: Any) -> Any:
    del key
    await store.state.set(APP, {"s": value})
    return (await store.state.get(APP, "s")).value


async def in_session_metadata(store: Store, key: SessionKey, value: Any) -> Any:
    await store.sessions.update(key, metadata={"m": value})
    found = {one.key: one.metadata for one in await store.sessions.list(metadata={"m": value})}
    return found[key]["m"]


async def in_note(store: Store, key: SessionKey, value: Any) -> Any:
    await store.events.annotate(key, "n", value)
    return (await store.events.annotations(key))[0].value


async def in_redaction(store: Store, key: SessionKey, value: Any) -> Any:
    await store.events.append(key, NewEvent("before", id="e"))
    await store.events.redact(key, "e", [value])
    found: Any = (await store.events.get(key, "e")).content
    return found[0]


PLACES: dict[str, Put] = {
    "content": as_content,
    "inside content": in_content,
    "event metadata": in_metadata,
    "extra": in_extra,
    "usage": in_usage,
    "state delta": in_delta,
    "created state": in_created_state,
    "session state": in_session_state,
    "app state": in_app_state,
    "session metadata": in_session_metadata,
    "note": in_note,
    "redaction": in_redaction,
}
#: Where the value stands as a whole, and not inside another.
WHOLE = [as_content, in_delta, in_created_state, in_session_state, in_app_state, in_note]
every_place = pytest.mark.parametrize("put", PLACES.values(), ids=PLACES.keys())


def exactly(value: Any) -> str:
    """A text that tells 1 from 1.0, 0.0 from -0.0, and shows the order of keys."""
    return repr(value)


@every_place
async def test_every_json_value_comes_back_equal_from_wherever_it_is_stored(
    store: Store, put: Put
) -> None:
    wrong = []
    async with store.turn() as turn:
        for name in KEPT:
            turn.sessions.create("support", "ada", name, metadata={"name": name})
    for name, value in KEPT.items():
        if value is None and put is as_content:
            continue
        given = nested(190) if name == "depth 200" and put not in WHOLE else value
        found = await put(store, SessionKey("support", "ada", name), given)
        if exactly(found) != exactly(given):
            wrong.append((name, exactly(found)[:60]))

    assert wrong == []


async def test_values_outlive_the_store_object(
    store: Store, key: SessionKey, reopen: Reopen
) -> None:
    values = {name: value for name, value in KEPT.items() if name != "depth 200"}
    await store.events.append(key, NewEvent(values, id="e"))
    await store.state.set(APP, {"s": values})

    store = await reopen()

    assert exactly((await store.events.get(key, "e")).content) == exactly(values)
    assert exactly((await store.state.get(APP, "s")).value) == exactly(values)


REFUSED: dict[str, Any] = {
    "NaN": math.nan,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
    "lone surrogate": "a\ud800b",
    "low surrogate first": "\udc00\ud800",
    "surrogate in a key": {"\udfff": 1},
    "10**5000": 10**5000,
    "depth 5000": nested(5000),
    "depth 100000": nested(100_000),
    "number as key": {1: "a"},
    "None as key": {None: "a"},
    "bool as key": {True: "a"},
    "bytes as key": {b"a": 1},
    "bytes": b"bytes",
    "bytearray": bytearray(b"x"),
    "datetime": datetime(2026, 1, 1, tzinfo=UTC),
    "date": date(2026, 1, 1),
    "set": {1, 2},
    "frozenset": frozenset({1}),
    "complex": 1j,
    "Decimal": Decimal("1.5"),
    "UUID": UUID(int=1),
    "object": object(),
    "class": int,
    "generator": (n for n in range(3)),
    "marker": DELETE,
    "Opaque inside": [Opaque("raw", b"x")],
}


@every_place
async def test_what_is_not_json_is_refused_with_its_path_and_nothing_is_written(
    store: Store, key: SessionKey, dump: Dump, put: Put
) -> None:
    before = await dump()
    wrong = []
    for name, value in REFUSED.items():
        given = [value] if name == "marker" else value
        # The redacted event is written first, in a session of its own.
        target = key
        if put is in_redaction:
            target = (await store.sessions.create("support", "ada", f"r-{name}")).key
        try:
            await put(store, target, given)
        except InvalidError as error:
            if not error.path:
                wrong.append(f"{name}: no path")
        except Exception as error:  # noqa: BLE001 - any other error is what is looked for
            wrong.append(f"{name}: {type(error).__name__}")
        else:
            wrong.append(f"{name}: accepted")
        if target is not key:
            [kept] = await store.events.read(target)
            assert kept.content == "before"
            await store.sessions.purge(target)

    assert wrong == []
    assert await dump() == before


async def test_a_whole_value_is_nested_at_most_200_deep(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    before = await dump()
    wrong = []
    for put in WHOLE:
        try:
            await put(store, key, nested(201))
        except InvalidError:
            continue
        wrong.append(put)

    assert wrong == []
    assert await dump() == before


async def test_an_error_names_the_place_of_the_value(store: Store, key: SessionKey) -> None:
    with pytest.raises(InvalidError) as refused:
        await store.events.append(key, {"role": "user", "parts": [{"n": math.nan}]})

    assert refused.value.path == "content.parts[0].n"
    assert "nan" in str(refused.value)


async def test_a_tuple_is_taken_as_a_list_and_subclasses_as_what_they_are(
    store: Store, key: SessionKey
) -> None:
    given = {
        "tuple": (1, (2,)),
        _Text.A: _Text.A,
        "number": _Number.ONE,
        "dict": OrderedDict(b=1, a=2),
        "key": SessionKey("a", "b", "c"),
    }

    await store.events.append(key, NewEvent(given, id="e"))

    assert exactly((await store.events.get(key, "e")).content) == exactly(
        {"tuple": [1, [2]], "a": "a", "number": 1, "dict": {"b": 1, "a": 2}, "key": ["a", "b", "c"]}
    )


async def test_what_the_caller_passed_in_is_not_changed(store: Store, key: SessionKey) -> None:
    content = {"role": "user", "content": "hi", "t": (1,)}
    delta = {"temp:a": 1, "b": [1], "user:c": 2}

    await store.events.append(key, NewEvent(content, state_delta=delta))

    assert content == {"role": "user", "content": "hi", "t": (1,)}
    assert delta == {"temp:a": 1, "b": [1], "user:c": 2}


async def test_json_text_from_outside_is_refused_where_it_is_none_or_ambiguous(
    store: Store, key: SessionKey
) -> None:
    texts: list[str | bytes] = [
        '{"a": 1, "a": 2}',
        '[{"x": {"a": 1, "b": 2, "a": 1}}]',
        '{"a": 1, "\\u0061": 2}',
        "NaN",
        "[Infinity]",
        '{"a": -Infinity}',
        "1e999",
        "",
        "{",
        "'a'",
        "[1,]",
        "1" * 5000,
        "[" * 100_000,
        '"\\ud800"',
        b"\xff\xfe\xfd",
        b'"\xed\xa0\x80"',
    ]

    for text in texts:
        with pytest.raises(InvalidError):
            await store.events.append(key, NewEvent(parse(text)))
    assert await store.events.count(key) == 0


def test_json_text_from_outside_keeps_its_values() -> None:
    assert exactly(
        parse('{"b": [1, 1.0, -0.0, "\\u0000", 1e22], "a": 1180591620717411303424}')
    ) == (exactly({"b": [1, 1.0, -0.0, "\0", 1e22], "a": 2**70}))


@pytest.mark.parametrize("data", [b"", bytes(range(256)) * 300, b"\0", b'{"a": 1}'])
async def test_opaque_bytes_come_back_from_every_place_they_may_stand(
    store: Store, key: SessionKey, reopen: Reopen, data: bytes
) -> None:
    value = Opaque("codec é", data)
    made = await store.sessions.create("support", "ada", "made", state={"s": value})
    await store.events.append(
        key, NewEvent(value, id="e", state_delta={"d": value, "app:a": value})
    )
    await store.state.set(USER, {"u": value})
    await store.events.append(key, NewEvent("before", id="r"))
    await store.events.redact(key, "r", value)
    fork = await store.sessions.fork(key)

    store = await reopen()

    event = await store.events.get(key, "e")
    assert event.content == value == (await store.events.get(key, "r")).content
    assert event.state_delta == {"d": value, "app:a": value}
    assert await store.state.merged(key) == {"d": value, "app:a": value, "user:u": value}
    assert await store.state.at(key, 1) == {"d": value}
    assert (await store.state.history(key, "d"))[0].value == value
    assert (await store.state.at(made.key, 0))["s"] == value
    assert (await store.events.read(fork.key))[0].content == value
    assert (await store.state.merged(fork.key))["d"] == value


@pytest.mark.parametrize(
    "value", [Opaque("", b"x"), Opaque("c", "text"), Opaque("c" * 513, b""), Opaque("a\0", b"")]  # type: ignore[arg-type]
)  # fmt: skip
async def test_an_opaque_has_the_name_of_a_codec_and_bytes(
    store: Store, key: SessionKey, dump: Dump, value: Opaque
) -> None:
    before = await dump()

    with pytest.raises(InvalidError):
        await store.events.append(key, NewEvent(value))
    with pytest.raises(InvalidError):
        await store.state.set(APP, {"a": value})
    assert await dump() == before


@pytest.mark.parametrize("error", ["a\0b", "", EventError("é\0", "code\0")])
async def test_error_texts_are_kept_as_they_are(
    store: Store, key: SessionKey, error: EventError | str
) -> None:
    await store.events.append(key, NewEvent(id="e", error=error))

    found = (await store.events.get(key, "e")).error
    assert found == (EventError(error) if isinstance(error, str) else error)


async def test_times_keep_their_microseconds_and_come_back_in_utc(
    store: Store, key: SessionKey
) -> None:
    given = [
        datetime.fromisoformat("2026-02-03T04:05:06.789012+05:30"),
        datetime.fromisoformat("1969-12-31T23:59:59.999999+00:00"),
        datetime.fromisoformat("0001-01-01T00:00:00.000001+00:00"),
        datetime.fromisoformat("9999-12-31T23:59:59.999999+00:00"),
    ]

    await store.events.append(key, *(NewEvent("x", timestamp=moment) for moment in given))

    found = [event.timestamp for event in await store.events.read(key)]
    assert found == given
    assert {moment.tzinfo for moment in found} == {UTC}


@pytest.mark.parametrize(
    "text",
    [
        "9999-12-31T23:00:00-05:00",
        "0001-01-01T01:00:00+05:00",
        "2026-01-01T00:00:00",
    ],
)
async def test_a_time_that_is_none_in_utc_is_refused(
    store: Store, key: SessionKey, dump: Dump, text: str
) -> None:
    moment = datetime.fromisoformat(text)
    before = await dump()

    with pytest.raises(InvalidError, match="timestamp"):
        await store.events.append(key, NewEvent("x", timestamp=moment))
    with pytest.raises(InvalidError, match="created_at"):
        await store.sessions.create("support", "ada", created_at=moment)
    with pytest.raises(InvalidError, match="updated_after"):
        await store.sessions.list(updated_after=moment)
    assert await dump() == before


@pytest.mark.parametrize("value", ["a\0b", "\ud800", 7])
async def test_what_no_text_can_be_is_not_looked_for(
    store: Store, key: SessionKey, value: Any
) -> None:
    for call in (
        lambda: store.events.read(key, branch=value),
        lambda: store.events.read(key, run_id=value),
        lambda: store.events.delete(key, [value]),
        lambda: store.events.delete(key, run_id=value),
        lambda: store.events.annotations(key, value),
        lambda: store.sessions.restore(key, uid=value),
    ):
        with pytest.raises(InvalidError):
            await call()
