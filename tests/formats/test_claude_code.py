"""Lines of Claude Code's transcripts, read and written."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.formats import convert, project
from tests.formats.samples import CONVERSATION

NAME = "claude-code"


def line(message: Any, **fields: Any) -> dict[str, Any]:
    return {
        "parentUuid": None,
        "sessionId": "s",
        "uuid": "u",
        "cwd": "/srv/ada",
        "type": message["role"],
        "message": message,
        **fields,
    }


CALL = {"type": "tool_use", "id": "c", "name": "Read", "input": {"file": "a"}}
RESULT = {"type": "tool_result", "tool_use_id": "c", "content": "text"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (line({"role": "user", "content": "Hi"}), ("message", "user", "Hi", (), ())),
        (
            line({"role": "assistant", "content": [CALL]}),
            ("tool_call", "assistant", 'Read({"file":"a"})', ("c",), ()),
        ),
        (
            line({"role": "user", "content": [RESULT]}, toolUseResult={"stdout": "text"}),
            ("tool_result", "tool", "text", (), ("c",)),
        ),
        (
            line({"role": "user", "content": "So far: nothing."}, isCompactSummary=True),
            ("summary", "user", "So far: nothing.", (), ()),
        ),
    ],
)
def test_a_line_is_recognised_and_its_message_is_what_counts(content: Any, expected: Any) -> None:
    found = project(content)

    assert found.format == NAME
    assert (found.kind, found.role, found.text, found.calls, found.results) == expected


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        ({"type": "summary", "summary": "Cats", "leafUuid": "u"}, "summary", "Cats"),
        ({"type": "custom-title", "customTitle": "Dogs", "sessionId": "s"}, "other", "Dogs"),
        ({"type": "file-history-snapshot", "snapshot": {"a": "b"}}, "other", ""),
    ],
)
def test_what_is_no_message_shows_its_words_only(content: Any, kind: str, text: str) -> None:
    found = project(content, NAME)

    assert (found.kind, found.text) == (kind, text)
    assert convert([(NAME, content, "")], "openai.chat")[0] == []


def test_a_line_that_cannot_move_is_told_of() -> None:
    content = {"type": "custom-title", "customTitle": "Dogs"}

    _, losses = convert([(NAME, content, "")], "openai.chat")

    assert losses == [
        "event 1: a transcript line of type 'custom-title' has no counterpart in openai.chat"
    ]


def test_an_anthropic_message_without_an_envelope_is_none() -> None:
    assert project({"role": "user", "content": [RESULT]}).format == "anthropic"
    assert project({"type": "user", "message": {"role": "user", "content": "Hi"}}).format == "other"


def test_a_conversation_moves_there_and_back() -> None:
    items = [("openai.chat", message, "") for message in CONVERSATION]

    lines, losses = convert(items, NAME)
    back, _ = convert([(NAME, one, "") for one in lines], "openai.chat")
    through, expected_losses = convert(items, "anthropic")
    expected, _ = convert([("anthropic", one, "") for one in through], "openai.chat")

    assert {one["type"] for one in lines} == {"user", "assistant"}
    assert all(one["type"] == one["message"]["role"] for one in lines)
    assert [one for one in back if one["role"] == "tool"] == [
        one for one in expected if one["role"] == "tool"
    ]
    assert [one.get("tool_calls") for one in back if one["role"] == "assistant"] == [
        one.get("tool_calls") for one in expected if one["role"] == "assistant"
    ]
    assert len(losses) == len(expected_losses)
    assert all(NAME in loss or "anthropic" not in loss for loss in losses)
