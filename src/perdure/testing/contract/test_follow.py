"""Following a session as others write to it, and its messages in every format."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure import (
    Event,
    InvalidError,
    NewEvent,
    NotFoundError,
    Opaque,
    Rewritten,
    SessionKey,
    Store,
)
from perdure.testing.databases import NewKey, OpenStore

Tail = AsyncIterator[Event | Rewritten]


async def take(tail: Tail, n: int) -> list[Event | Rewritten]:
    """The next n of it."""

    async def some() -> list[Event | Rewritten]:
        return [await anext(tail) for _ in range(n)]

    return await asyncio.wait_for(some(), 5)


def brief(items: list[Event | Rewritten]) -> list[Any]:
    """Seqs of events, and ("rewritten", from_seq)."""
    return [item.seq if isinstance(item, Event) else ("rewritten", item.from_seq) for item in items]


async def test_the_events_of_another_writer_come_in_order_and_once(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    other = await open_store()
    tail = store.events.tail(key, 0)
    await other.events.append(key, "1", "2")
    first = await take(tail, 2)
    await other.events.append(key, "3")
    second = await take(tail, 1)
    await other.events.append(key, "4", "5")
    await other.events.append(key, "6")
    third = await take(tail, 3)

    assert first + second + third == await store.events.read(key)


async def test_a_tail_waits_for_what_is_written_later(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    other = await open_store()
    tail = store.events.tail(key, 0)
    waiting = asyncio.create_task(take(tail, 3))

    for n in range(3):
        await other.events.append(key, f"{n}")

    assert brief(await waiting) == [1, 2, 3]


@pytest.mark.parametrize(("after", "seen"), [(0, [1, 2, 3, 4]), (2, [3, 4]), (3, [4])])
async def test_a_tail_starts_behind_a_seq(
    store: Store, key: SessionKey, after: int, seen: list[int]
) -> None:
    await store.events.append(key, "1", "2", "3")
    tail = store.events.tail(key, after)
    await store.events.append(key, "4")

    assert brief(await take(tail, len(seen))) == seen


async def test_a_tail_without_a_seq_starts_behind_what_is_there(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, "1", "2")
    tail = store.events.tail(key)
    waiting = asyncio.create_task(take(tail, 1))
    while not waiting.done():
        # The first look may come after some of these: what comes then is the next one.
        await store.events.append(key, "more")

    [event] = await waiting
    assert isinstance(event, Event)
    assert event.seq > 2
    assert brief(await take(store.events.tail(key, event.seq - 1), 1)) == [event.seq]


async def test_a_tail_passes_its_pages_without_a_gap(store: Store, key: SessionKey) -> None:
    await store.events.append(key, *map(NewEvent, range(1203)))

    found = await take(store.events.tail(key, 0), 1203)

    assert brief(found) == list(range(1, 1204))


async def test_two_writers_at_once_are_seen_in_one_order(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    others = [await open_store(), await open_store()]
    waiting = asyncio.create_task(take(store.events.tail(key, 0), 40))

    async def write(other: Store) -> None:
        for n in range(20):
            await other.events.append(key, f"{n}")

    await asyncio.gather(*map(write, others))

    assert brief(await waiting) == list(range(1, 41))


CHANGES: dict[str, tuple[Any, int]] = {
    "rewind": (lambda store, key: store.events.rewind(key, 2), 3),
    "pop": (lambda store, key: store.events.pop(key, 2), 2),
    "clear": (lambda store, key: store.events.clear(key), 1),
    "delete": (lambda store, key: store.events.delete(key, ["e2", "e3"]), 2),
    "redact": (lambda store, key: store.events.redact(key, "e2"), 2),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_of_history_comes_once_and_says_from_where_on(
    store: Store, key: SessionKey, name: str, open_store: OpenStore
) -> None:
    change, from_seq = CHANGES[name]
    await store.events.append(key, *(NewEvent(n, id=f"e{n}") for n in (1, 2, 3)))
    tail = store.events.tail(key, 0)
    assert brief(await take(tail, 3)) == [1, 2, 3]
    other = await open_store()

    await change(other, key)
    version = (await store.sessions.get(key)).version
    [rewritten] = await take(tail, 1)
    await other.events.append(key, "next")
    await other.events.append(key, "and next")
    after = await take(tail, 2)

    assert rewritten == Rewritten(from_seq, version)
    assert brief(after) == [4, 5]


async def test_a_replaced_suffix_comes_before_the_events_that_replace_it(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, "1", "2", "3")
    tail = store.events.tail(key, 0)
    await take(tail, 3)

    await store.events.replace_suffix(key, 1, ["4", "5"])
    await store.events.append(key, "6", after=4)
    await store.events.append(key, "7")

    assert brief(await take(tail, 6)) == [("rewritten", 2), 4, 5, ("rewritten", 5), 6, 7]


async def test_switching_between_lines_is_a_change_of_history(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, "1", "2", "3")
    await store.events.append(key, "4", after=1)
    tail = store.events.tail(key, 0)
    await take(tail, 4)

    await store.events.switch(key, "line-3")
    await store.events.append(key, "5")

    assert brief(await take(tail, 2)) == [("rewritten", 2), 5]


async def test_what_changes_no_history_is_not_told(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    await store.events.append(key, "1", "2")
    tail = store.events.tail(key, 0)
    await take(tail, 2)
    other = await open_store()

    await other.sessions.update(key, title="T")
    await other.state.set(key, {"a": 1})
    await other.events.annotate(key, "pinned")
    await other.events.append(key, NewEvent("partial", partial=True))
    await other.events.rewind(key, 2)
    await other.events.append(key, "3")

    assert brief(await take(tail, 1)) == [3]


async def test_a_redaction_reaches_those_who_follow_a_fork(store: Store, key: SessionKey) -> None:
    await store.events.append(key, "0", NewEvent("secret", id="e1"))
    fork = (await store.sessions.fork(key)).key
    tail = store.events.tail(fork, 0)
    await take(tail, 2)

    await store.events.redact(key, "e1")

    assert brief(await take(tail, 1)) == [("rewritten", 2)]


async def test_a_deleted_session_ends_its_tails(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    await store.events.append(key, "1")
    other = await open_store()
    for again in (False, True):
        tail = store.events.tail(key, 0)
        await take(tail, 1)
        await other.sessions.delete(key)
        if again:
            await other.sessions.purge(key)
            await other.sessions.create(*key)
        with pytest.raises(NotFoundError, match="chat"):
            await take(tail, 1)
        if not again:
            await other.sessions.restore(key)


async def test_a_session_that_is_not_there_cannot_be_followed(
    store: Store, key: SessionKey
) -> None:
    with pytest.raises(NotFoundError, match="never"):
        await take(store.events.tail(key._replace(id="never")), 1)
    with pytest.raises(InvalidError, match="after_seq"):
        await take(store.events.tail(key, -1), 1)


async def test_a_tail_that_is_given_up_lets_the_store_close(store: Store, key: SessionKey) -> None:
    await store.events.append(key, "1", "2")
    async for item in store.events.tail(key, 0):
        assert brief([item]) == [1]
        break

    assert await store.events.count(key) == 2


# -- messages --------------------------------------------------------------------------------

ARGUMENTS = {"city": "Bonn"}
TALKS: dict[str, list[Any]] = {
    "openai.chat": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "look", "arguments": json.dumps(ARGUMENTS)},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sun"},
        {"role": "assistant", "content": "Sunny."},
    ],
    "openai.responses": [
        {"type": "message", "role": "system", "content": "Be brief."},
        {"type": "message", "role": "user", "content": "Weather?"},
        {
            "type": "function_call",
            "call_id": "c1",
            "name": "look",
            "arguments": json.dumps(ARGUMENTS),
        },
        {"type": "function_call_output", "call_id": "c1", "output": "sun"},
        {"type": "message", "role": "assistant", "content": "Sunny."},
    ],
    "anthropic": [
        NewEvent("Be brief.", author="system"),
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "c1", "name": "look", "input": ARGUMENTS}],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "sun"}],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "Sunny."}]},
    ],
}


def essence(message: Any) -> list[tuple[str, ...]]:
    """What a message says, whatever its format: texts, calls and results."""
    if "call_id" in message:
        if "output" in message:
            return [("result", message["call_id"], message["output"])]
        return [("call", message["call_id"], json.loads(message["arguments"])["city"])]
    said: list[tuple[str, ...]] = []
    body: Any = message["content"]
    if message["role"] == "tool":
        return [("result", message["tool_call_id"], body)]
    parts: list[Any] = [{"type": "text", "text": body}] if isinstance(body, str) else body or []
    for part in parts:
        match part["type"]:
            case "tool_use":
                said.append(("call", part["id"], part["input"]["city"]))
            case "tool_result":
                said.append(("result", part["tool_use_id"], part["content"]))
            case _:
                said.append((message["role"], part["text"]))
    calls = [(call["id"], call["function"]["arguments"]) for call in message.get("tool_calls", [])]
    return [*said, *(("call", name, json.loads(given)["city"]) for name, given in calls)]


@pytest.mark.parametrize("target", TALKS)
@pytest.mark.parametrize("source", TALKS)
async def test_a_talk_says_the_same_in_every_format(
    store: Store, key: SessionKey, source: str, target: str
) -> None:
    await store.events.append(key, *TALKS[source])

    messages = await store.events.messages(key, target)

    said = [one for message in messages for one in essence(message)]
    system = [] if target == "anthropic" else [("system", "Be brief.")]
    assert said == [
        *system,
        ("user", "Weather?"),
        ("call", "c1", "Bonn"),
        ("result", "c1", "sun"),
        ("assistant", "Sunny."),
    ]
    assert messages.system == ("Be brief." if target == "anthropic" else "")
    if source == target != "anthropic":
        assert (messages.items, messages.loss) == (TALKS[source], [])
    elif target == "anthropic":
        assert ["event 1" in line for line in messages.loss] == [True]
    else:
        assert messages.loss == []


@pytest.mark.parametrize("source", TALKS)
async def test_plain_messages_keep_calls_as_text_and_say_so(
    store: Store, key: SessionKey, source: str
) -> None:
    await store.events.append(key, *TALKS[source])

    messages = await store.events.messages(key, "plain")

    assert [(one["role"], one["content"]) for one in messages][:2] == [
        ("system", "Be brief."), ("user", "Weather?"),
    ]  # fmt: skip
    assert messages.items[-1] == {"role": "assistant", "content": "Sunny."}
    assert all(isinstance(one["content"], str) for one in messages)
    assert [line for line in messages.loss if "'c1'" in line] == messages.loss
    assert [("event 3" in line, "event 4" in line) for line in messages.loss] == [
        (True, False), (False, True),
    ]  # fmt: skip


async def test_messages_of_mixed_formats_filters_and_windows(
    store: Store, key: SessionKey, new_key: NewKey
) -> None:
    await store.events.append(key, "hi", NewEvent("hello", author="assistant"))
    await store.events.append(key, *TALKS["anthropic"][1:], NewEvent("bye", run_id="r"))

    chat = await store.events.messages(key)
    assert [one for message in chat for one in essence(message)] == [
        ("user", "hi"), ("assistant", "hello"), ("user", "Weather?"), ("call", "c1", "Bonn"),
        ("result", "c1", "sun"), ("assistant", "Sunny."), ("user", "bye"),
    ]  # fmt: skip
    last = await store.events.messages(key, last=3)
    assert essence(last.items[0]) == [("user", "Weather?")]
    assert len(await store.events.messages(key, last=0)) == 0
    assert len(await store.events.messages(key, after_seq=0, before_seq=3)) == 2
    assert [m["content"] for m in await store.events.messages(key, run_id="r")] == ["bye"]
    assert len(await store.events.messages(await new_key("empty"))) == 0
    with pytest.raises(InvalidError, match="anthropic"):
        await store.events.messages(key, "morse")


async def test_what_has_no_counterpart_is_named_by_its_seq(store: Store, key: SessionKey) -> None:
    await store.events.append(key, "1", "2")
    await store.events.append(
        key,
        NewEvent(Opaque("pickle", b"x")),
        NewEvent(error="boom"),
        NewEvent(state_delta={"a": 1}),
        "6",
    )
    image = {"type": "image_url", "image_url": {"url": "https://a.b/c.png"}}
    await store.events.append(key, {"role": "user", "content": [image]}, after=2)

    plain = await store.events.messages(key, "plain")
    await store.events.switch(key, "line-6")
    chat = await store.events.messages(key)

    assert [one["content"] for one in plain][:2] == ["1", "2"]
    assert [("event 7" in line, "image" in line) for line in plain.loss] == [(True, True)]
    assert [one["content"] for one in chat if one["content"]] == ["1", "2", "6"]
    assert ["event 3" in line for line in chat.loss] == [True] * len(chat.loss)
    assert any("pickle" in line for line in chat.loss)
