"""What a model should see: the summary, the events it does not cover, whole tool calls."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import InvalidError, NewEvent, NotFoundError, Opaque, SessionKey, Store
from perdure.testing.databases import OpenStore


def asks(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answers(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def calls(*ids: str) -> dict[str, Any]:
    tools = [
        {"id": one, "type": "function", "function": {"name": "look", "arguments": "{}"}}
        for one in ids
    ]
    return {"role": "assistant", "content": None, "tool_calls": tools}


def result(call: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call, "content": f"found {call}"}


async def shown(store: Store, key: SessionKey, filter_key: str = "", **options: Any) -> list[Any]:
    """The context as short words: text, calls, or the answered call."""
    found = await store.events.context(key, filter_key, **options)
    words = [
        one.get("content") or "+".join(call["id"] for call in one["tool_calls"])
        for one in found.messages
    ]
    texts = [event.seq for event in found.events]
    assert len(words) == len(texts) + (found.summary is not None)
    return words


async def test_without_a_summary_the_context_is_all_events(store: Store, key: SessionKey) -> None:
    assert await shown(store, key) == []
    await store.events.append(key, asks("a"), answers("b"))

    found = await store.events.context(key)

    assert found.summary is None
    assert found.messages.items == [asks("a"), answers("b")]
    assert found.events == await store.events.read(key)


async def test_the_summary_comes_first_and_then_what_it_does_not_cover(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, asks("a"), answers("b"), asks("c"), answers("d"))
    summary = await store.summaries.set(key, "the story", covers_seq=2)

    found = await store.events.context(key)

    assert found.summary == summary
    assert [event.text for event in found.events] == ["c", "d"]
    assert found.messages.items == [
        {"role": "system", "content": "the story"}, asks("c"), answers("d"),
    ]  # fmt: skip
    assert found.messages.loss == []


async def test_the_context_comes_in_the_format_that_is_asked_for(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, asks("a"), answers("b"), NewEvent(Opaque("c", b"d")))
    await store.summaries.set(key, "the story", covers_seq=1)

    found = await store.events.context(key, format="anthropic")

    assert found.messages.system == "the story"
    said = [{"type": "text", "text": "b"}]
    assert found.messages.items == [{"role": "assistant", "content": said}]
    assert found.messages.loss == ["event 3: opaque bytes (c)"]
    with pytest.raises(InvalidError, match="nonsense"):
        await store.events.context(key, format="nonsense")


async def test_a_summary_of_another_line_is_not_seen(store: Store, key: SessionKey) -> None:
    await store.events.append(key, asks("a"), answers("b"))
    await store.summaries.set(key, "the story", covers_seq=2)
    await store.events.rewind(key, 1)
    await store.events.append(key, answers("c"))

    assert await shown(store, key) == ["a", "c"]


async def test_a_filter_sees_its_own_events_and_the_best_summary_there_is(
    store: Store, key: SessionKey
) -> None:
    for text, own in [("a", "x"), ("b", "y"), ("c", "x/1"), ("d", ""), ("e", "y")]:
        await store.events.append(key, NewEvent(asks(text), filter_key=own))

    assert await shown(store, key, "x") == ["a", "c", "d"]
    await store.summaries.set(key, "whole", covers_seq=2)
    assert await shown(store, key, "x") == ["whole", "c", "d"]
    await store.summaries.set(key, "of x", "x", covers_seq=3)

    assert await shown(store, key, "x") == ["of x", "d"]
    assert await shown(store, key, "y") == ["whole", "d", "e"]


async def test_a_covered_call_stays_with_a_result_that_is_not_covered(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, asks("a"), calls("t1", "t2"), result("t1"))
    await store.summaries.set(key, "the story", covers_seq=3)
    assert await shown(store, key) == ["the story"]

    await store.events.append(key, result("t2"), answers("b"))

    assert await shown(store, key) == ["the story", "t1+t2", "found t1", "found t2", "b"]


async def test_recent_is_a_window_of_what_is_not_covered(store: Store, key: SessionKey) -> None:
    await store.events.append(
        key, asks("a"), answers("b"), asks("c"), calls("t"), result("t"), answers("d")
    )
    await store.summaries.set(key, "the story", covers_seq=1)

    assert await shown(store, key, recent=1) == ["the story", "c", "t", "found t", "d"]
    assert await shown(store, key, recent=0) == ["the story"]
    assert await shown(store, key, recent=50) == ["the story", "b", "c", "t", "found t", "d"]
    with pytest.raises(InvalidError, match="recent"):
        await store.events.context(key, recent=-1)


async def test_max_tokens_takes_as_many_of_the_last_turns_as_fit_with_the_summary(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    counting = await open_store(token_counter=lambda _: 10)
    await store.events.append(key, asks("a"), answers("b"), asks("c"), answers("d"), asks("e"))
    assert await shown(counting, key, max_tokens=50) == ["a", "b", "c", "d", "e"]
    assert await shown(counting, key, max_tokens=49) == ["c", "d", "e"]
    assert await shown(counting, key, max_tokens=0) == ["e"]
    await store.summaries.set(key, "the story", covers_seq=0)

    assert await shown(counting, key, max_tokens=49) == ["the story", "c", "d", "e"]
    assert await shown(counting, key, max_tokens=39) == ["the story", "e"]
    with pytest.raises(InvalidError, match="max_tokens"):
        await store.events.context(key, max_tokens=-1)


async def test_max_tokens_splits_no_tool_call_even_where_no_user_has_spoken(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    counting = await open_store(token_counter=lambda _: 10)
    await store.events.append(key, answers("a"), calls("t"), answers("b"), result("t"))

    assert await shown(counting, key, max_tokens=30) == ["t", "b", "found t"]
    assert len(await shown(counting, key, max_tokens=10)) == 3


async def test_the_context_of_an_unknown_session_is_an_error(store: Store) -> None:
    with pytest.raises(NotFoundError):
        await store.events.context(SessionKey("support", "ada", "unknown"))


async def test_events_that_come_after_a_summary_are_never_lost_from_the_context(
    store: Store, key: SessionKey
) -> None:
    seen = []
    for number in range(12):
        await store.events.append(key, asks(str(number)))
        if number % 4 == 3:
            await store.summaries.summarize(
                key,
                summariser=lambda told, events: "+".join([told or "", *(e.text for e in events)]),
            )
        words = await shown(store, key)
        seen.append(sorted(int(word) for word in "+".join(words).split("+") if word))

    assert seen == [list(range(n + 1)) for n in range(12)]
