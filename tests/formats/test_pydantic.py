"""Messages of pydantic-ai, read and written."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.formats import convert, project
from tests.formats.samples import CONVERSATION, image, said

NAME = "pydantic"


def request(*parts: Any, **fields: Any) -> dict[str, Any]:
    return {"kind": "request", "parts": list(parts), "instructions": None, **fields}


def response(*parts: Any, **fields: Any) -> dict[str, Any]:
    return {"kind": "response", "parts": list(parts), "model_name": "stub", **fields}


def prompt(content: Any) -> dict[str, Any]:
    return {"part_kind": "user-prompt", "content": content, "timestamp": "2026-01-01T00:00:00Z"}


SYSTEM = {"part_kind": "system-prompt", "content": "Be kind."}
TEXT = {"part_kind": "text", "content": "Hello."}
CALL = {"part_kind": "tool-call", "tool_name": "f", "args": {"a": 1}, "tool_call_id": "c"}
RESULT = {"part_kind": "tool-return", "tool_name": "f", "content": {"n": 1}, "tool_call_id": "c"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (request(prompt("Hi")), ("message", "user", "Hi", (), ())),
        (request(SYSTEM, prompt("Hi")), ("message", "system", "Be kind.\nHi", (), ())),
        (response(TEXT, CALL), ("tool_call", "assistant", 'Hello.\nf({"a":1})', ("c",), ())),
        (request(RESULT), ("tool_result", "tool", '{"n":1}', (), ("c",))),
        (
            request({"part_kind": "retry-prompt", "content": "No.", "tool_name": "f",
                     "tool_call_id": "c"}),
            ("tool_result", "tool", "No.", (), ("c",)),
        ),
        (
            response({"part_kind": "thinking", "content": "hm"}),
            ("thinking", "assistant", "hm", (), ()),
        ),
        (
            response(
                {"part_kind": "builtin-tool-call", "tool_name": "web", "args": {"q": "cats"},
                 "tool_call_id": "w"},
                {"part_kind": "builtin-tool-return", "tool_name": "web", "content": "found",
                 "tool_call_id": "w"},
            ),
            ("message", "assistant", "web\ncats\nweb\nfound", ("w",), ("w",)),
        ),
    ],
)  # fmt: skip
def test_a_message_is_recognised_and_read(content: Any, expected: Any) -> None:
    found = project(content)

    assert found.format == NAME
    assert (found.kind, found.role, found.text, found.calls, found.results) == expected


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "request"},
        {"kind": "request", "parts": [{"content": "Hi"}]},
        {"kind": "other", "parts": []},
    ],
)
def test_what_only_looks_like_one_is_none(content: Any) -> None:
    assert project(content).format == "other"


def test_pictures_move_with_their_own_spelling_of_base64() -> None:
    binary = {"kind": "binary", "data": "-_8=", "media_type": "image/png"}
    url = {"kind": "image-url", "url": "https://a.example/b.png"}

    chat, losses = convert([(NAME, request(prompt(["Look", binary, url])), "")], "openai.chat")
    back, _ = convert([("openai.chat", one, "") for one in chat], NAME)

    assert losses == []
    assert chat[0]["content"][1] == image("data:image/png;base64,+/8=")
    assert back[0]["parts"][0]["content"] == ["Look", binary, url]


def test_what_has_no_counterpart_is_told_of() -> None:
    content = request(
        prompt(["Look", {"kind": "video-url", "url": "https://a.example/b.mp4"}]),
        instructions="Be short.",
    )

    _, losses = convert([(NAME, content, "")], "openai.chat")

    assert losses == [
        "event 1: content of kind 'video-url' has no counterpart in openai.chat",
        "event 1: field 'instructions' has no counterpart in openai.chat",
    ]


def test_a_failed_result_stays_one() -> None:
    failed = {**RESULT, "content": "boom", "outcome": "failed"}

    [told], _ = convert([(NAME, request(failed), "")], "anthropic")
    [back], _ = convert([("anthropic", told, "")], NAME)

    assert told["content"][0]["is_error"] is True
    assert back["parts"][0]["outcome"] == "failed"


def test_neighbours_of_one_side_become_one_message() -> None:
    items = [("openai.chat", said(role, "x"), "") for role in ("system", "user", "assistant")]

    written, losses = convert([*items, *items[1:]], NAME)

    assert [one["kind"] for one in written] == ["request", "response"] * 2
    assert [part["part_kind"] for part in written[0]["parts"]] == ["system-prompt", "user-prompt"]
    assert losses == []


def test_thinking_moves_with_its_proof_and_its_provider() -> None:
    block = {"type": "thinking", "thinking": "hm", "signature": "s"}
    message = {"role": "assistant", "content": [block, {"type": "text", "text": "Hi"}]}

    written, losses = convert([("anthropic", message, "")], NAME)
    back, _ = convert([(NAME, one, "") for one in written], "anthropic")

    assert losses == []
    assert back == [message]


def test_a_conversation_moves_there_and_back() -> None:
    items = [("openai.chat", message, "") for message in CONVERSATION]

    written, _ = convert(items, NAME)
    back, _ = convert([(NAME, one, "") for one in written], "openai.chat")

    def calls(messages: Any) -> Any:
        made = [call for one in messages for call in one.get("tool_calls") or ()]
        return [(call["id"], call["function"]["name"]) for call in made]

    def results(messages: Any) -> Any:
        return [one["tool_call_id"] for one in messages if one["role"] == "tool"]

    assert calls(back) == calls(CONVERSATION)
    assert results(back) == results(CONVERSATION)
