"""Messages of strands-agents: what is read from them, and what moves to and from others."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.formats import convert, project
from tests.formats.samples import CONVERSATION, PNG, moved, unhurried

NAME = "strands"
PICTURE = {
    "image": {"format": "png", "source": {"bytes": {"__bytes_encoded__": True, "data": PNG}}}
}
CALL = {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Oslo"}}}


def said(role: str, *blocks: Any, **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": list(blocks), **fields}


def answer(*content: Any, status: str = "success") -> dict[str, Any]:
    return {"toolResult": {"toolUseId": "t1", "status": status, "content": list(content)}}


def thought(text: str) -> dict[str, Any]:
    return {"reasoningContent": {"reasoningText": {"text": text, "signature": "s"}}}


NATIVE = [
    said("user", {"text": "Weather?"}, PICTURE, tracking_id="x", metadata={"usage": 1}),
    said("assistant", thought("hm"), {"text": "One moment."}, CALL),
    said("user", answer({"text": "cold"}, {"json": {"t": 3}}, PICTURE)),
    said("assistant", {"text": "Cold."}),
]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (NATIVE[0], ("message", "user", "Weather?", (), ())),
        (
            NATIVE[1],
            ("tool_call", "assistant", 'One moment.\nweather({"city":"Oslo"})', ("t1",), ()),
        ),
        (NATIVE[2], ("tool_result", "tool", 'cold\n{"t":3}', (), ("t1",))),
        (said("assistant", thought("hm")), ("thinking", "assistant", "hm", (), ())),
        (said("user", {"text": "a"}, {"cachePoint": {"type": "default"}}),
         ("message", "user", "a", (), ())),
        (
            said("user", {"document": {"name": "plan", "format": "pdf", "source": {"bytes": "x"}}}),
            ("message", "user", "plan", (), ()),
        ),
        (
            said("user", {"guardContent": {"text": {"text": "guard me"}}}),
            ("message", "user", "guard me", (), ()),
        ),
        (
            said("assistant", {"citationsContent": {"content": [{"text": "so"}], "citations": []}}),
            ("message", "assistant", "so", (), ()),
        ),
    ],
)  # fmt: skip
def test_what_is_read_from_a_message(content: Any, expected: tuple[Any, ...]) -> None:
    found = project(content)

    assert (found.kind, found.role, found.text, found.calls, found.results) == expected
    assert found.format == NAME


@pytest.mark.parametrize(
    "content",
    [
        said("user", {"type": "text", "text": "Anthropic's or OpenAI's"}),
        said("system", {"text": "no role of strands"}),
        said("user"),
        said("user", {}),
        said("user", {"text": "a", "other": 1}),
        {"role": "user", "parts": [{"text": "Google's"}]},
    ],
)
def test_shapes_of_others_are_not_taken_for_it(content: Any) -> None:
    assert project(content).format != NAME


def test_its_own_messages_come_back_as_they_are() -> None:
    assert moved(NATIVE, NAME, NAME) == (NATIVE, [])


def test_text_calls_results_and_images_move_to_a_chat_and_back() -> None:
    chat, _ = moved(NATIVE, "openai.chat", NAME)
    assert [one["role"] for one in chat] == ["user", "assistant", "tool", "assistant"]
    assert json.loads(chat[1]["tool_calls"][0]["function"]["arguments"]) == {"city": "Oslo"}

    back, _ = moved(chat, NAME)

    assert back[0]["content"] == NATIVE[0]["content"]
    assert back[1]["content"] == [{"text": "One moment."}, CALL]
    assert back[2]["content"][0] == answer({"text": "cold"}, {"text": '{"t":3}'})
    assert back[-1] == NATIVE[3]


def test_a_chat_keeps_the_rules_of_converse() -> None:
    written, losses = moved(CONVERSATION, NAME)

    roles = [one["role"] for one in written]
    assert roles == ["user", "assistant"] * (len(roles) // 2)
    for calling, answering in zip(written[1::2], [*written[2::2], None], strict=True):
        calls = [one["toolUse"]["toolUseId"] for one in calling["content"] if "toolUse" in one]
        given = answering["content"] if answering else []
        results = [one["toolResult"]["toolUseId"] for one in given if "toolResult" in one]
        assert results == calls
    assert any("example.org" in line for line in losses)


def test_thinking_stays_with_its_provider_and_what_is_lost_is_told() -> None:
    foreign = {"type": "thinking", "thinking": "hm", "signature": "s"}
    items = [
        ("anthropic", {"role": "assistant", "content": [foreign]}, ""),
        ("openai.chat", {"role": "system", "content": "Be kind."}, ""),
        ("openai.chat", {"role": "user", "content": " "}, ""),
    ]

    written, losses = convert(items, NAME)

    assert written == []
    assert len(losses) == 3
    kept, lost = convert([(NAME, said("assistant", thought("hm")), "")], "anthropic")
    assert (kept, len(lost)) == ([], 1)


def test_a_failed_call_and_odd_arguments_and_an_s3_image_move() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": [1]}
    failed = {"type": "tool_result", "tool_use_id": "t1", "content": "no", "is_error": True}
    items = [
        ("anthropic", {"role": "assistant", "content": [call]}, ""),
        ("anthropic", {"role": "user", "content": [failed]}, ""),
    ]

    written, losses = convert(items, NAME)

    assert written[0]["content"][0]["toolUse"]["input"] == {"arguments": [1]}
    assert written[1]["content"] == [answer({"text": "no"}, status="error")]
    assert len(losses) == 1
    stored = {"location": {"type": "s3", "uri": "s3://b/cat.png"}}
    image = said("user", {"image": {"format": "png", "source": stored}})
    chat, _ = convert([(NAME, image, "")], "openai.chat")
    assert chat[0]["content"][0]["image_url"]["url"] == "s3://b/cat.png"
    assert convert([("openai.chat", chat[0], "")], NAME)[0] == [image]


KEYS = st.sampled_from(
    re.findall(
        r"\w+",
        """role content text json toolUse toolResult toolUseId name input status reasoningContent
        reasoningText signature redactedContent image format source bytes location uri data
        document cachePoint guardContent citationsContent citations tracking_id""",
    )
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(
    ["user", "assistant", "error", "png", "s3://x.png", "a\0", ""]
)  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)
shaped = st.fixed_dictionaries(
    {"role": scalars, "content": st.lists(st.dictionaries(KEYS, anything, max_size=2)) | anything}
)


@unhurried
@given(content=shaped | anything)
def test_no_value_makes_it_fail(content: Any) -> None:
    projected = project(content, NAME)

    assert "\0" not in projected.text
    assert all(projected.calls + projected.results)
    for target in ("openai.chat", "anthropic", "openai.responses", "plain", NAME):
        messages, losses = convert([(NAME, content, "")], target)
        assert all(isinstance(message, dict) for message in messages)
        assert all(loss.startswith("event ") for loss in losses)
    for source in ("openai.chat", "anthropic", "other"):
        convert([(source, content, "bot")], NAME)
