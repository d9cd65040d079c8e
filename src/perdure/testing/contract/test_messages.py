"""A session in the format of another framework: images, thinking, errors, windows, edits."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import InvalidError, Messages, NewEvent, SessionKey, Store
from perdure.testing.databases import OpenStore, Reopen

PNG = "iVBORw0KGgo="
DATA_URL = f"data:image/png;base64,{PNG}"
CHAT, RESPONSES, CLAUDE = "openai.chat", "openai.responses", "anthropic"


def said(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def text(words: str, kind: str = "text") -> dict[str, Any]:
    return {"type": kind, "text": words}


def call(call_id: str) -> dict[str, Any]:
    function = {"name": "look", "arguments": '{"at":1}'}
    return {"id": call_id, "type": "function", "function": function}


def calling(*ids: str) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [call(one) for one in ids]}


def result(call_id: str, content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def parts(messages: Messages) -> list[dict[str, Any]]:
    """The parts of all messages, one after the other."""
    bodies = [message["content"] for message in messages]
    return [part for body in bodies for part in (body if isinstance(body, list) else [])]


IMAGES: dict[str, dict[str, Any]] = {
    CHAT: said("user", [text("see"), {"type": "image_url", "image_url": {"url": DATA_URL}}]),
    RESPONSES: {
        "type": "message",
        **said("user", [text("see", "input_text"), {"type": "input_image", "image_url": DATA_URL}]),
    },
    CLAUDE: said(
        "user",
        [
            text("see"),
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": PNG},
            },
        ],
    ),
}


@pytest.mark.parametrize("target", IMAGES)
@pytest.mark.parametrize("source", IMAGES)
async def test_an_image_moves_between_the_formats(
    store: Store, key: SessionKey, source: str, target: str
) -> None:
    await store.events.append(key, IMAGES[source])

    messages = await store.events.messages(key, target)

    assert messages.items == [IMAGES[target]]
    assert messages.loss == []


@pytest.mark.parametrize("source", IMAGES)
async def test_plain_text_loses_images_and_says_so(
    store: Store, key: SessionKey, source: str
) -> None:
    await store.events.append(key, "before", IMAGES[source])

    messages = await store.events.messages(key, "plain")

    assert messages.items == [said("user", "before"), said("user", "see")]
    assert messages.loss == ["event 2: an image has no counterpart in plain"]


async def test_all_results_of_a_turn_stand_in_one_message_for_anthropic(
    store: Store, key: SessionKey
) -> None:
    events = [calling("a", "b"), result("b", "2"), result("a", "1"), said("user", "go on")]
    await store.events.append(key, said("user", "look"), *events)

    messages = await store.events.messages(key, CLAUDE)

    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    blocks = messages.items[2]["content"]
    assert [block["type"] for block in blocks] == ["tool_result", "tool_result", "text"]
    assert [block["tool_use_id"] for block in blocks[:2]] == ["b", "a"]


async def test_thinking_goes_only_where_it_can_be_read(store: Store, key: SessionKey) -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "signed"}
    await store.events.append(key, said("user", "why?"), said("assistant", [thought, text("so")]))

    own = await store.events.messages(key, CLAUDE)
    chat = await store.events.messages(key, CHAT)

    assert own.items[1]["content"] == [thought, text("so")]
    assert own.loss == []
    assert chat.items == [said("user", "why?"), said("assistant", "so")]
    assert chat.loss == ["event 2: thinking has no counterpart in openai.chat"]


async def test_the_error_mark_of_a_result_is_named_where_it_is_lost(
    store: Store, key: SessionKey
) -> None:
    use = {"type": "tool_use", "id": "a", "name": "look", "input": {"at": 1}}
    failed = {"type": "tool_result", "tool_use_id": "a", "content": "no", "is_error": True}
    await store.events.append(key, said("assistant", [use]), said("user", [failed]))

    chat = await store.events.messages(key, CHAT)

    assert chat.items == [calling("a"), result("a", "no")]
    assert [("event 2" in line, "error mark" in line) for line in chat.loss] == [(True, True)]


async def test_system_text_stands_beside_the_messages_for_anthropic(
    store: Store, key: SessionKey
) -> None:
    developer = said("developer", "And kind.")
    await store.events.append(key, said("system", "Be brief."), "hi", developer, "bye")

    claude = await store.events.messages(key, CLAUDE)
    chat = await store.events.messages(key, CHAT)

    assert claude.system == "Be brief.\n\nAnd kind."
    assert [message["role"] for message in claude] == ["user"]
    assert [block["text"] for block in parts(claude)] == ["hi", "bye"]
    assert ["event 1" in claude.loss[0], "event 3" in claude.loss[1]] == [True, True]
    assert chat.system == ""
    assert [message["content"] for message in chat] == ["Be brief.", "hi", "And kind.", "bye"]


async def test_a_window_of_messages_splits_no_call_from_its_result(
    store: Store, key: SessionKey
) -> None:
    talk = [said("user", "look"), calling("a"), result("a", "1"), said("assistant", "seen")]
    await store.events.append(key, said("user", "old"), said("assistant", "older"), *talk)

    for target in (CHAT, RESPONSES, CLAUDE):
        messages = await store.events.messages(key, target, last=2)
        whole = await store.events.messages(key, target, after_seq=2)
        assert messages == whole
    assert (await store.events.messages(key, last=2)).items == talk
    assert (await store.events.messages(key, last=2, after_seq=5)).items == talk[3:]


async def test_messages_follow_the_active_line_and_what_was_redacted(
    store: Store, key: SessionKey, reopen: Reopen
) -> None:
    await store.events.append(key, NewEvent("one", id="e1"), "two", "three")
    await store.events.append(key, said("assistant", "other"), after=1)
    await store.events.redact(key, "e1", said("user", "…"))
    store = await reopen()

    messages = await store.events.messages(key)

    assert messages.items == [said("user", "…"), said("assistant", "other")]
    assert messages.loss == []


async def test_a_format_that_nobody_knows_moves_as_its_words(store: Store, key: SessionKey) -> None:
    mine = NewEvent({"kind": "note", "words": ["red", "blue"]}, format="mine", author="planner")
    await store.events.append(key, mine)

    messages = await store.events.messages(key)

    [message] = messages.items
    assert message["role"] == "assistant"
    assert message["content"].split("\n")[-2:] == ["red", "blue"]
    assert [("event 1" in line, "'mine'" in line) for line in messages.loss] == [(True, True)]
    for unknown in ("mine", "morse", ""):
        with pytest.raises(InvalidError, match=CHAT):
            await store.events.messages(key, unknown)


async def test_messages_that_were_changed_by_the_caller_are_not_changed_in_the_store(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    await store.events.append(key, IMAGES[CHAT])
    messages = await store.events.messages(key)

    messages.items[0]["content"].clear()
    messages.items.append(said("user", "more"))

    assert (await (await open_store()).events.messages(key)).items == [IMAGES[CHAT]]


@pytest.mark.parametrize("target", [CHAT, RESPONSES, CLAUDE])
async def test_one_framework_goes_on_with_the_session_of_another(
    store: Store, key: SessionKey, new_key: Any, target: str
) -> None:
    talk = [said("user", "look"), calling("a"), result("a", "1"), said("assistant", "seen")]
    await store.events.append(key, *talk)
    moved = await store.events.messages(key, target)

    other = await new_key("other")
    await store.events.append(other, *moved)

    assert {event.format for event in await store.events.read(other)} == {target}
    assert (await store.events.messages(other, CHAT)).items == talk
    assert [event.kind for event in await store.events.read(other)] == [
        "message", "tool_call", "tool_result", "message",
    ]  # fmt: skip
