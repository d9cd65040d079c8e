"""Reading: the last events, ranges, pages, one event, and windows for a model."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from copy import copy, deepcopy
from dataclasses import FrozenInstanceError, fields, replace
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    DELETE,
    Content,
    Event,
    InvalidError,
    NewEvent,
    NotFoundError,
    Opaque,
    Page,
    SessionKey,
    Store,
)
from perdure.testing.clocks import START
from perdure.testing.databases import NewKey

BRANCHES = ["main", "main", "side", "main", "side", "main", "side", "main", "main", "side"]


async def ten(store: Store, key: SessionKey) -> SessionKey:
    """Ten events: each an hour after the one before it, two runs, two branches."""
    events = [
        NewEvent(
            n,
            id=f"e{n}",
            branch=branch,
            run_id="odd" if n % 2 else "even",
            timestamp=START + timedelta(hours=n),
        )
        for n, branch in enumerate(BRANCHES, 1)
    ]
    await store.events.append(key, *events)
    return key


def contents(events: Sequence[Event] | Page[Event]) -> list[Any]:
    return [event.content for event in events]


@pytest.mark.parametrize(
    ("recent", "found"),
    [(None, list(range(1, 11))), (0, []), (1, [10]), (3, [8, 9, 10]), (99, list(range(1, 11)))],
)
async def test_the_recent_events_come_oldest_first(
    store: Store, key: SessionKey, recent: int | None, found: list[int]
) -> None:
    await ten(store, key)

    assert contents(await store.events.read(key, recent=recent)) == found


@pytest.mark.parametrize("recent", [None, 0, 1, 3, 99])
@pytest.mark.parametrize("seqs", [{}, {"after_seq": 7}, {"after_seq": 3, "before_seq": 6}])
async def test_contents_are_those_of_the_events_that_are_read(
    store: Store, key: SessionKey, recent: int | None, seqs: dict[str, Any]
) -> None:
    await ten(store, key)
    others = ["text", None, {"role": "user", "content": "\0"}, Opaque("codec", b"\x00\xff"), [1.5]]
    extra = {"some": "thing"}
    given = [NewEvent(value, author="ann", extra=extra, format="x") for value in others]
    await store.events.append(key, *given)
    await store.events.rewind(key, 12)
    await store.events.append(key, {"role": "user", "content": "again"})

    found = await store.events.contents(key, recent=recent, **seqs)

    events = await store.events.read(key, recent=recent, **seqs)
    assert found == [
        Content(event.seq, event.id, event.author, event.format, event.content) for event in events
    ]
    assert [type(said) for said in found] == [Content] * len(events)


async def test_contents_of_every_kind_come_as_they_were_given(
    store: Store, key: SessionKey
) -> None:
    given = ["text", {"role": "user", "content": "\0"}, Opaque("codec", b"\x00\xff"), [1.5], 0]
    await store.events.append(key, *[NewEvent(value, format="x") for value in given])
    await store.events.append(key, NewEvent(error="late"))

    assert [said.content for said in await store.events.contents(key)] == [*given, None]
    with pytest.raises(NotFoundError, match="nowhere"):
        await store.events.contents(SessionKey("a", "u", "nowhere"))


async def test_an_event_that_was_read_is_a_value_as_any_other(
    store: Store, key: SessionKey
) -> None:
    delta = {"count": 1, "gone": DELETE, "raw": Opaque("bytes", b"1")}
    event = NewEvent(
        {"role": "user", "content": "hello"}, error="late", usage={"input": 3}, state_delta=delta
    )
    made = (await store.events.append(key, event, NewEvent("other"))).events[0]

    [read] = await store.events.read(key, before_seq=2)

    whole = {field.name: getattr(made, field.name) for field in fields(Event)}
    for same in (
        read,
        copy(read),
        deepcopy(read),
        pickle.loads(pickle.dumps(read)),
        Event(**whole),
    ):
        assert same == made
        assert repr(same) == repr(made)
    assert replace(read, text="x") == replace(made, text="x") != made
    assert not hasattr(read, "colour")
    with pytest.raises(FrozenInstanceError):
        read.seq = 2  # type: ignore[misc]


@pytest.mark.parametrize("name", ["recent", "after_seq", "before_seq"])
@pytest.mark.parametrize("wrong", [-1, 1.5, "1"])
async def test_a_number_that_makes_no_sense_is_refused(
    store: Store, key: SessionKey, name: str, wrong: Any
) -> None:
    with pytest.raises(InvalidError, match=name):
        await store.events.read(key, **{name: wrong})


FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({"after_seq": 0}, list(range(1, 11))),
    ({"after_seq": 7}, [8, 9, 10]),
    ({"after_seq": 10}, []),
    ({"after_seq": 2**40}, []),
    ({"before_seq": 3}, [1, 2]),
    ({"before_seq": 1}, []),
    ({"before_seq": 0}, []),
    ({"after_seq": 3, "before_seq": 6}, [4, 5]),
    ({"after_seq": 5, "before_seq": 6}, []),
    ({"after_seq": 6, "before_seq": 3}, []),
    ({"after_time": START + timedelta(hours=9)}, [9, 10]),
    ({"after_time": START + timedelta(hours=9, microseconds=1)}, [10]),
    ({"after_time": START - timedelta(days=999)}, list(range(1, 11))),
    ({"branch": "side"}, [3, 5, 7, 10]),
    ({"branch": "sid"}, []),
    ({"branch": ""}, []),
    ({"run_id": "odd"}, [1, 3, 5, 7, 9]),
    ({"run_id": "odd", "branch": "side"}, [3, 5, 7]),
    ({"run_id": "odd", "branch": "side", "after_seq": 3, "before_seq": 7}, [5]),
    ({"all_lines": True, "branch": "side"}, [3, 5, 7, 10]),
]


@pytest.mark.parametrize(("filters", "found"), FILTERS)
async def test_filters_come_first_and_then_the_tail_whatever_the_way_to_read(
    store: Store, key: SessionKey, filters: dict[str, Any], found: list[int]
) -> None:
    await ten(store, key)
    down = found[::-1]

    assert contents(await store.events.read(key, **filters)) == found
    assert contents(await store.events.read(key, **filters, recent=2)) == found[-2:]
    assert contents(await store.events.read(key, **filters, recent=0)) == []
    assert contents(await store.events.list(key, **filters)) == found
    assert contents(await store.events.list(key, **filters, newest_first=True)) == down
    assert await store.events.count(key, **filters) == len(found)
    assert [event.content async for event in store.events.iter(key, **filters)] == found
    iterated = store.events.iter(key, **filters, newest_first=True)
    assert [event.content async for event in iterated] == down


async def test_after_time_goes_by_the_timestamp_and_keeps_the_order_of_seqs(
    store: Store, key: SessionKey
) -> None:
    for n, hours in enumerate([5, 1, 9, 5, 0, 6]):
        await store.events.append(key, NewEvent(n, timestamp=START + timedelta(hours=hours)))

    after = START + timedelta(hours=5)
    assert contents(await store.events.read(key, after_time=after)) == [0, 2, 3, 5]
    assert contents(await store.events.read(key, after_time=after, recent=2)) == [3, 5]
    with pytest.raises(InvalidError, match="after_time"):
        await store.events.read(key, after_time=after.replace(tzinfo=None))


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("limit", [1, 3, 5, 10, 11])
async def test_pages_have_every_event_once_in_both_ways(
    store: Store, key: SessionKey, limit: int, newest_first: bool
) -> None:
    await ten(store, key)
    pages: list[list[Any]] = []
    cursor = None
    while True:
        page = await store.events.list(key, newest_first=newest_first, cursor=cursor, limit=limit)
        pages.append(contents(page))
        cursor = page.next_cursor
        if cursor is None:
            break

    found = [content for page in pages for content in page]
    assert found == sorted(range(1, 11), reverse=newest_first)
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert pages[-1]


async def test_a_page_goes_on_with_the_filters_and_is_undisturbed_by_new_events(
    store: Store, key: SessionKey
) -> None:
    await ten(store, key)
    wanted: dict[str, Any] = {"branch": "side", "after_seq": 3, "limit": 2}
    up = await store.events.list(key, **wanted)
    down = await store.events.list(key, **wanted, newest_first=True)
    await store.events.append(key, NewEvent(11, branch="side"))

    more_up = await store.events.list(key, **wanted, cursor=up.next_cursor)
    more_down = await store.events.list(key, **wanted, newest_first=True, cursor=down.next_cursor)

    assert (contents(up), contents(more_up)) == ([5, 7], [10, 11])
    assert (contents(down), contents(more_down)) == ([10, 7], [5])
    assert (more_up.next_cursor, more_down.next_cursor) == (None, None)


async def test_a_cursor_that_is_not_of_this_list_is_refused(store: Store, key: SessionKey) -> None:
    await ten(store, key)
    up = (await store.events.list(key, limit=1)).next_cursor

    with pytest.raises(InvalidError, match="cursor"):
        await store.events.list(key, newest_first=True, cursor=up)
    for wrong in ("", "x", "é", f"{up}x"):
        with pytest.raises(InvalidError, match="cursor"):
            await store.events.list(key, cursor=wrong)


@pytest.mark.parametrize("limit", [0, -1, 10_001])
async def test_a_page_has_at_least_one_event_and_at_most_ten_thousand(
    store: Store, key: SessionKey, limit: int
) -> None:
    with pytest.raises(InvalidError, match="limit"):
        await store.events.list(key, limit=limit)


async def test_iterating_passes_the_pages_without_a_gap(store: Store, key: SessionKey) -> None:
    await store.events.append(key, *map(NewEvent, range(1203)))

    assert [event.content async for event in store.events.iter(key)] == list(range(1203))
    down = [event.content async for event in store.events.iter(key, newest_first=True)]
    assert down == list(range(1202, -1, -1))


async def test_one_event_by_its_id(store: Store, key: SessionKey, new_key: NewKey) -> None:
    await ten(store, key)
    other = await new_key("other")
    event = (await store.events.read(key))[4]

    assert await store.events.get(key, "e5") == event
    assert await store.events.find(key, "e5") == event
    assert await store.events.locate("support", "e5") == (key, event)
    assert await store.events.find(key, "E5") is None
    assert await store.events.find(other, "e5") is None
    assert await store.events.locate("other", "e5") is None
    assert await store.events.locate("support", "e99") is None
    for missing in ("e99", "", "e"):
        with pytest.raises(NotFoundError, match="chat"):
            await store.events.get(key, missing)
    with pytest.raises(NotFoundError, match="e5"):
        await store.events.get(other, "e5")


async def test_an_event_of_a_line_that_was_left_is_found_by_its_id(
    store: Store, key: SessionKey
) -> None:
    await ten(store, key)
    event = await store.events.get(key, "e9")
    await store.events.rewind(key, 2)

    assert await store.events.get(key, "e9") == event
    assert await store.events.locate("support", "e9") == (key, event)


async def test_a_deleted_session_has_no_events_to_read(store: Store, key: SessionKey) -> None:
    await ten(store, key)
    await store.sessions.delete(key)

    assert await store.events.find(key, "e5") is None
    assert await store.events.locate("support", "e5") is None
    for missing in (key, key._replace(id="never"), key._replace(app="other")):
        for call in (
            store.events.read(missing),
            store.events.list(missing),
            store.events.count(missing),
            store.events.get(missing, "e5"),
            store.events.window(missing),
            store.events.messages(missing),
            store.events.annotations(missing),
            store.events.branches(missing),
        ):
            with pytest.raises(NotFoundError, match=missing.id):
                await call
        with pytest.raises(NotFoundError, match=missing.id):
            _ = [event async for event in store.events.iter(missing)]


# -- windows ---------------------------------------------------------------------------------


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def said(part: str, role: str, text: str) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [{"type": part, "text": text}]}


def block(role: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


def text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


CALLS = [
    {"id": call, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    for call in ("c1", "c2")
]
#: In each format the same talk: 1 user, 2 assistant, 3 user, calls, results, the last answer.
TALKS: dict[str, list[Any]] = {
    "openai.chat": [
        user("one"), assistant("two"), user("three"),
        {"role": "assistant", "content": None, "tool_calls": CALLS},
        {"role": "tool", "tool_call_id": "c1", "content": "r1"},
        {"role": "tool", "tool_call_id": "c2", "content": "r2"},
        assistant("last"),
    ],
    "openai.responses": [
        said("input_text", "user", "one"), said("output_text", "assistant", "two"),
        said("input_text", "user", "three"),
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "r1"},
        {"type": "function_call_output", "call_id": "c2", "output": "r2"},
        said("output_text", "assistant", "last"),
    ],
    "anthropic": [
        block("user", text_block("one")), block("assistant", text_block("two")),
        block("user", text_block("three")),
        block(
            "assistant",
            {"type": "tool_use", "id": "c1", "name": "f", "input": {}},
            {"type": "tool_use", "id": "c2", "name": "f", "input": {}},
        ),
        block(
            "user",
            {"type": "tool_result", "tool_use_id": "c1", "content": "r1"},
            {"type": "tool_result", "tool_use_id": "c2", "content": "r2"},
        ),
        block("assistant", text_block("last")),
    ],
    "plain": [
        NewEvent("one", author="user"), NewEvent("two", author="assistant"),
        NewEvent("three", author="user"), NewEvent("four", author="assistant"),
        NewEvent("last", author="assistant"),
    ],
}  # fmt: skip

every_format = pytest.mark.parametrize("format", TALKS)


def whole(events: Sequence[Event]) -> bool:
    """Whether each tool result has its call before it, and each call its result."""
    opened: set[str] = set()
    for event in events:
        opened |= set(event.calls)
        if not opened.issuperset(event.results):
            return False
        opened -= set(event.results)
    return not opened


@every_format
async def test_a_window_starts_at_a_user_message_and_splits_no_call_from_its_result(
    store: Store, key: SessionKey, format: str
) -> None:
    await store.events.append(key, *TALKS[format])
    events = await store.events.read(key)
    assert {event.format for event in events} == {format}

    for last in range(1, len(events) + 3):
        window = await store.events.window(key, last)
        assert window == events[-len(window) :]
        assert len(window) >= min(last, len(events))
        assert (window[0].kind, window[0].role) == ("message", "user")
        assert window[0].content == events[0 if last > len(events) - 2 else 2].content
        assert whole(window)
    assert await store.events.count(key) == len(events)


@every_format
async def test_a_prune_splits_no_call_from_its_result(
    store: Store, new_key: NewKey, format: str
) -> None:
    for keep in range(len(TALKS[format]) + 2):
        key = await new_key()
        await store.events.append(key, *TALKS[format])
        before = await store.events.read(key)

        removed = await store.events.prune(key, keep_last=keep)

        kept = await store.events.read(key)
        assert removed == len(before) - len(kept)
        assert [event.id for event in kept] == [event.id for event in before[removed:]]
        assert len(kept) >= min(keep, len(before))
        assert whole(kept)
        # No more is kept than what it takes: the cut lies at the call, or where it was asked.
        first_call = next((n for n, event in enumerate(before) if event.calls), len(before))
        last_result = max((n for n, event in enumerate(before) if event.results), default=-1)
        asked = max(len(before) - keep, 0)
        assert removed == (first_call if first_call < asked <= last_result else asked)


async def test_a_window_of_nothing_and_of_a_session_without_events(
    store: Store, key: SessionKey
) -> None:
    assert await store.events.window(key) == []
    await store.events.append(key, user("one"))
    assert await store.events.window(key, 0) == []
    assert len(await store.events.window(key)) == 1
    with pytest.raises(InvalidError, match="last"):
        await store.events.window(key, -1)


async def test_a_window_without_a_user_message_is_everything(store: Store, key: SessionKey) -> None:
    await store.events.append(key, assistant("one"), assistant("two"), NewEvent(Opaque("raw", b"")))

    assert len(await store.events.window(key, 1)) == 3


async def test_a_window_reaches_over_hundreds_of_events_to_a_call(
    store: Store, key: SessionKey
) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": CALLS[:1]}
    result = {"role": "tool", "tool_call_id": "c1", "content": "r"}
    talk = [user("far"), call, *[user(f"{n}") for n in range(450)], result, assistant("end")]
    await store.events.append(key, user("older"), assistant("older"), *talk)

    window = await store.events.window(key, 1)

    assert (window[0].text, len(window)) == ("far", len(talk))
    assert await store.events.prune(key, keep_last=2) == 3
    assert (await store.events.read(key))[0].calls == ("c1",)
