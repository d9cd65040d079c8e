"""The text of an event, wherever it is stored: what is read, found and shown of it."""

from __future__ import annotations

from typing import Any

from perdure import ALL, Event, NewEvent, Opaque, SessionKey, Store
from perdure.records import EventInput
from perdure.testing.databases import Dump

_PICTURE = {
    "role": "user",
    "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}],
}
_SECOND = {"role": "user", "content": "second"}
_CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    ],
}
#: Contents, with the text of each.
TEXTS: dict[str, tuple[EventInput, str]] = {
    "chat": ({"role": "user", "content": "heron"}, "heron"),
    "no-words": ({"role": "user", "content": ""}, ""),
    "long": ({"role": "user", "content": "heron " * 4000}, "heron " * 4000),
    "just-long": ({"role": "user", "content": "h" * 16_400}, "h" * 16_400),
    "nul": ({"role": "user", "content": "a\0heron"}, "aheron"),
    "nothing-but-nul": ({"role": "user", "content": "\0"}, ""),
    "escapes": ({"role": "assistant", "content": 'a "heron"\n\\ é 🦩'}, 'a "heron"\n\\ é 🦩'),
    "a-field-more": ({"role": "user", "content": "heron", "name": "Ada"}, "heron"),
    "parts": ({"role": "user", "content": [{"type": "text", "text": "heron"}]}, "heron"),
    "picture": (_PICTURE, ""),
    "call": (_CALL, "look({})"),
    "plain": ("heron", "heron"),
    "of-another-format": (NewEvent(_SECOND, format="mine"), "second"),
    "of-the-responses-api": (
        NewEvent({"role": "user", "content": "heron"}, format="openai.responses"),
        "heron",
    ),
    "opaque": (NewEvent(Opaque("raw", b"heron")), ""),
}


async def said(store: Store, key: SessionKey, content: EventInput) -> Event:
    return (await store.events.append(key, content)).event


async def test_the_text_is_the_same_in_what_is_returned_and_in_what_is_read(
    store: Store, key: SessionKey
) -> None:
    made = await store.events.append(key, *(content for content, _ in TEXTS.values()))
    fork = await store.sessions.fork(key)

    texts = [text for _, text in TEXTS.values()]
    assert [event.text for event in made.events] == texts
    assert [event.text for event in await store.events.read(key)] == texts
    assert [event.text for event in await store.events.read(fork.key)] == texts


async def test_an_event_is_found_by_its_text_and_shown_with_it(
    store: Store, key: SessionKey
) -> None:
    made = await store.events.append(key, *(content for content, _ in TEXTS.values()))

    hits = await store.search(key.app, ALL, "heron aheron", limit=20)

    assert {hit.seq for hit in hits} == {one.seq for one in made.events if "heron" in one.text}
    assert all("heron" in hit.snippet for hit in hits)


async def test_the_preview_passes_over_messages_without_words(
    store: Store, key: SessionKey
) -> None:
    for content in ("first", _SECOND, _PICTURE, _PICTURE, "last"):
        await said(store, key, content)

    await store.events.pop(key)

    assert (await store.sessions.get(key)).preview == "second"


async def test_what_was_redacted_has_the_new_text(store: Store, key: SessionKey) -> None:
    made = await said(store, key, {"role": "user", "content": "heron"})
    await store.search(key.app, ALL, "heron")

    await store.events.redact(key, made.id, {"role": "user", "content": "stork"})

    [event] = await store.events.read(key)
    assert event.text == "stork"
    assert await store.search(key.app, ALL, "heron") == []
    assert len(await store.search(key.app, ALL, "stork")) == 1


async def test_the_words_of_a_chat_message_are_stored_once(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await said(store, key, {"role": "user", "content": "a grey heron"})

    [row] = (await dump())["events"]

    assert sum("a grey heron" in str(value) for value in row) == 1


async def test_an_event_with_words_of_its_own_is_the_same_however_often_it_is_given(
    store: Store, key: SessionKey
) -> None:
    event: Any = NewEvent({"role": "user", "content": "heron"}, id="e1")

    first = await store.events.append(key, event)
    again = await store.events.append(key, event)

    assert (again.duplicate, again.event) == (True, first.event)
