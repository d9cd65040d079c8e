"""Contents of ADK: what is read from each kind of part, and how the others' are spelt there."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.formats import Projection, convert, project
from tests.formats.samples import DATA_URL, call, calling, image, result, said


def content(*parts: dict[str, Any], role: str = "model") -> dict[str, Any]:
    return {"role": role, "parts": list(parts)}


def calls(name: str = "track", id: str = "c1", **args: Any) -> dict[str, Any]:
    return {"function_call": {"id": id, "name": name, "args": args}}


def answers(response: Any, id: str = "c1", name: str = "track") -> dict[str, Any]:
    return {"function_response": {"id": id, "name": name, "response": response}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (content({"text": "hi"}), ("message", "assistant", "hi", (), ())),
        (content({"text": "hi"}, role="user"), ("message", "user", "hi", (), ())),
        (content(calls(n=1)), ("tool_call", "assistant", 'track({"n":1})', ("c1",), ())),
        (content(answers({"result": "Oslo"})), ("tool_result", "tool", "Oslo", (), ("c1",))),
        (content(answers({"a": 1, "b": 2})), ("tool_result", "tool", '{"a":1,"b":2}', (), ("c1",))),
        (content({"text": "hm", "thought": True}), ("thinking", "assistant", "hm", (), ())),
        (
            {"parts": [{"functionCall": {"name": "f", "args": {}}}]},
            ("tool_call", "assistant", "f({})", (), ()),
        ),
    ],
)
def test_a_content_is_recognised_and_projected(given: Any, expected: tuple[Any, ...]) -> None:
    assert project(given) == Projection(*[*expected, "adk"])


@pytest.mark.parametrize(
    "given",
    [
        {"parts": []},
        {"parts": [{"text": "hi"}], "role": "assistant"},
        {"parts": [{"text": "hi"}], "model": "x"},
        {"parts": [{"words": "hi"}]},
        {"parts": "hi"},
    ],
)
def test_what_may_be_something_else_is_not_recognised(given: Any) -> None:
    assert project(given).format == "other"


def test_a_conversation_of_adk_moves_to_chat_messages() -> None:
    told = [
        content({"text": "Where?"}, role="user"),
        content({"text": "I look."}, calls(order=7)),
        content(answers({"result": "London"}), role="user"),
        content({"text": "In London."}),
    ]

    moved, lost = convert([("adk", one, "") for one in told], "openai.chat")

    assert moved == [
        said("user", "Where?"),
        calling(call("c1", "track", '{"order":7}'), content="I look."),
        result("c1", "London") | {"name": "track"},
        said("assistant", "In London."),
    ]
    assert lost == []


def test_an_answer_gets_the_name_of_its_call() -> None:
    told = [calling(call("c1", "weather", "{}")), result("c1", "cold")]

    moved, lost = convert([("openai.chat", one, "") for one in told], "adk")

    assert moved[1] == content(answers({"result": "cold"}, name="weather"), role="user")
    assert lost == []


def test_pictures_change_their_alphabet() -> None:
    url = "data:image/png;base64,+/+/"

    [moved], _ = convert([("openai.chat", said("user", [image(url)]), "")], "adk")
    [back], _ = convert([("adk", moved, "")], "openai.chat")

    assert moved["parts"] == [{"inline_data": {"mime_type": "image/png", "data": "-_-_"}}]
    assert back == said("user", [image(url)])
    assert DATA_URL.startswith("data:image/png")


def test_an_error_stays_one() -> None:
    told = content(answers({"error": "no such order"}), role="user")

    [moved], _ = convert([("adk", told, "")], "anthropic")
    [back], _ = convert([("anthropic", moved, "")], "adk")

    assert moved["content"][0]["is_error"] is True
    # Without its call nobody knows the name.
    assert back == content(answers({"error": "no such order"}, name=""), role="user")


def test_what_cannot_move_is_named() -> None:
    told = content(
        {"text": "Listen:", "thought_signature": "x"},
        {"inline_data": {"mime_type": "audio/wav", "data": "AA=="}},
        {"executable_code": {"code": "1 + 1", "language": "PYTHON"}},
    )

    [moved], lost = convert([("adk", told, "")], "openai.chat")

    assert moved["content"] is not None
    assert lost == [
        "event 1: the signature of a thought has no counterpart in openai.chat",
        "event 1: a part of type 'audio/wav' has no counterpart in openai.chat",
        "event 1: a part of executable_code is only text in openai.chat",
    ]


def test_system_text_is_the_users_and_that_is_said() -> None:
    moved, lost = convert([("openai.chat", said("system", "Be kind."), "")], "adk")

    assert moved == [content({"text": "Be kind."}, role="user")]
    assert lost == ["event 1: system text is the user's in adk"]


def test_a_content_without_parts_says_nothing() -> None:
    moved, lost = convert([("adk", {"role": "model"}, "bot")], "openai.chat")

    assert (moved, lost) == ([], [])
    assert project({"role": "model"}, "adk").kind == "other"


@pytest.mark.parametrize("role", ["user", "model"])
def test_one_text_is_read_as_any_text_is(role: str) -> None:
    one = content({"text": " hi\n"}, role=role)
    two = content({"text": " hi\n"}, {"text": ""}, role=role)

    assert project(one) == project(two)
    assert project(content({"text": "a\0b"}, role=role)).text == "ab"
