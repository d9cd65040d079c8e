from __future__ import annotations

import timeit
from typing import Any

import pytest

from perdure.formats import Projection, project
from tests.formats.samples import DATA_URL, PNG, call, calling, image, result, said, text

CHAT, RESPONSES, ANTHROPIC = "openai.chat", "openai.responses", "anthropic"


def item(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


def spoken(role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(parts)}


SOURCE = {"type": "base64", "media_type": "image/png", "data": PNG}
TOOL_USE = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}}
TOOL_RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "cold"}
SEARCH = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "Oslo"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}

SHAPES: list[tuple[Any, tuple[Any, ...]]] = [
    ("hello", ("message", "", "hello", (), (), "plain")),
    ("", ("message", "", "", (), (), "plain")),
    (said("user", "hi"), ("message", "user", "hi", (), (), CHAT)),
    (said("developer", "rules"), ("message", "developer", "rules", (), (), CHAT)),
    (said("assistant", None), ("message", "assistant", "", (), (), CHAT)),
    (
        said("user", [text("a"), image(DATA_URL), text("b")]),
        ("message", "user", "a\nb", (), (), CHAT),
    ),
    (
        calling(call("c1", "f", "{}"), call("c2", "g", "")),
        ("tool_call", "assistant", "f({})\ng()", ("c1", "c2"), (), CHAT),
    ),
    (
        {"role": "assistant", "tool_calls": [call("c1", "f", "{}")]},
        ("tool_call", "assistant", "f({})", ("c1",), (), CHAT),
    ),
    (
        calling(call("c1", "f", "{}"), content="one moment"),
        ("tool_call", "assistant", "one moment\nf({})", ("c1",), (), CHAT),
    ),
    (result("c1", "cold"), ("tool_result", "tool", "cold", (), ("c1",), CHAT)),
    (
        result("c1", [text("cold"), text("dark")]),
        ("tool_result", "tool", "cold\ndark", (), ("c1",), CHAT),
    ),
    (
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        ("tool_call", "assistant", "f({})", ("f",), (), CHAT),
    ),
    (
        {"role": "function", "name": "f", "content": "1"},
        ("tool_result", "tool", "1", (), ("f",), CHAT),
    ),
    (
        said("assistant", None) | {"refusal": "No."},
        ("message", "assistant", "No.", (), (), CHAT),
    ),
    (
        said("assistant", "4") | {"reasoning_content": "2+2"},
        ("message", "assistant", "4", (), (), CHAT),
    ),
    (
        said("assistant", "") | {"reasoning_content": "2+2"},
        ("thinking", "assistant", "2+2", (), (), CHAT),
    ),
    (said("system", [text("rules")]), ("message", "system", "rules", (), (), CHAT)),
    (
        spoken("user", item("input_text", text="hi"), item("input_image", image_url=DATA_URL)),
        ("message", "user", "hi", (), (), RESPONSES),
    ),
    (
        spoken("assistant", item("output_text", text="ho", annotations=[])),
        ("message", "assistant", "ho", (), (), RESPONSES),
    ),
    (
        spoken("assistant", item("refusal", refusal="No.")),
        ("message", "assistant", "No.", (), (), RESPONSES),
    ),
    (
        said("user", [item("input_text", text="hi")]),
        ("message", "user", "hi", (), (), RESPONSES),
    ),
    (
        item("message", role="user", content="hi"),
        ("message", "user", "hi", (), (), RESPONSES),
    ),
    (
        item("function_call", call_id="c1", name="f", arguments="{}", id="fc_1"),
        ("tool_call", "assistant", "f({})", ("c1",), (), RESPONSES),
    ),
    (
        item("function_call_output", call_id="c1", output="cold"),
        ("tool_result", "tool", "cold", (), ("c1",), RESPONSES),
    ),
    (
        item("function_call_output", call_id="c1", output=[item("input_text", text="cold")]),
        ("tool_result", "tool", "cold", (), ("c1",), RESPONSES),
    ),
    (
        item("custom_tool_call", call_id="c1", name="sh", input="ls"),
        ("tool_call", "assistant", 'sh({"input":"ls"})', ("c1",), (), RESPONSES),
    ),
    (
        item("reasoning", id="rs_1", summary=[item("summary_text", text="hm")]),
        ("thinking", "assistant", "hm", (), (), RESPONSES),
    ),
    (
        item("computer_call", id="x", call_id="c1", action={"type": "click"}),
        ("tool_call", "assistant", "", ("c1",), (), RESPONSES),
    ),
    (
        item("computer_call_output", call_id="c1", output={"image_url": DATA_URL}),
        ("tool_result", "tool", "", (), ("c1",), RESPONSES),
    ),
    (
        item("web_search_call", id="ws_1", status="completed", action={"query": "Oslo"}),
        ("tool_call", "assistant", "Oslo", ("ws_1",), ("ws_1",), RESPONSES),
    ),
    (
        item("compaction", id="cmp_1", encrypted_content="gAAA"),
        ("summary", "assistant", "", (), (), RESPONSES),
    ),
    (said("user", [text("a"), text("b")]), ("message", "user", "a\nb", (), (), ANTHROPIC)),
    (
        said("user", [text("what is it?"), {"type": "image", "source": SOURCE}]),
        ("message", "user", "what is it?", (), (), ANTHROPIC),
    ),
    (
        said("assistant", [text("I look."), TOOL_USE]),
        ("tool_call", "assistant", 'I look.\nweather({"city":"Oslo"})', ("t1",), (), ANTHROPIC),
    ),
    (said("user", [TOOL_RESULT]), ("tool_result", "tool", "cold", (), ("t1",), ANTHROPIC)),
    (
        said("user", [TOOL_RESULT, text("and?")]),
        ("tool_result", "user", "cold\nand?", (), ("t1",), ANTHROPIC),
    ),
    (
        said("assistant", [{"type": "thinking", "thinking": "hm", "signature": "x"}]),
        ("thinking", "assistant", "hm", (), (), ANTHROPIC),
    ),
    (
        said("assistant", [{"type": "thinking", "thinking": "hm"}, text("4")]),
        ("message", "assistant", "4", (), (), ANTHROPIC),
    ),
    (
        said("assistant", [SEARCH, FOUND, text("cold")]),
        ("message", "assistant", "web_search\nOslo\ncold", ("s1",), ("s1",), ANTHROPIC),
    ),
    (
        said("user", [{"type": "document", "title": "T", "source": {"type": "text", "data": "D"}}]),
        ("message", "user", "T\nD", (), (), ANTHROPIC),
    ),
    (
        said("assistant", [text("hi")]) | {"type": "message", "id": "msg_1", "model": "claude"},
        ("message", "assistant", "hi", (), (), ANTHROPIC),
    ),
    (
        {"role": "model", "parts": [{"text": "hi"}, {"text": "ho"}]},
        ("message", "assistant", "hi\nho", (), (), "adk"),
    ),
    ({"a": ["x", {"b": "y"}], "n": 1}, ("other", "", "x\ny", (), (), "other")),
    (["x", ["y"]], ("other", "", "x\ny", (), (), "other")),
    (said("critic", "no"), ("other", "", "no", (), (), "other")),
    ({"role": "user"}, ("other", "", "", (), (), "other")),
    (said("user", [1, 2]), ("other", "", "", (), (), "other")),
    ({}, ("other", "", "", (), (), "other")),
    ([], ("other", "", "", (), (), "other")),
    (None, ("other", "", "", (), (), "other")),
    (7, ("other", "", "", (), (), "other")),
]


@pytest.mark.parametrize(("content", "expected"), SHAPES)
def test_a_shape_is_recognised_and_projected(content: Any, expected: tuple[Any, ...]) -> None:
    assert project(content, None) == Projection(*expected)


@pytest.mark.parametrize(("content", "expected"), SHAPES)
def test_naming_the_recognised_format_changes_nothing(
    content: Any, expected: tuple[Any, ...]
) -> None:
    assert project(content, expected[-1]) == Projection(*expected)


def test_an_unknown_name_is_kept_and_projected_like_other() -> None:
    projected = project({"role": "model", "parts": [{"text": "hi"}]}, "desk")

    assert projected == Projection("other", "", "hi", (), (), "desk")


def test_a_name_wins_over_the_shape() -> None:
    assert project(said("user", "hi"), "anthropic").format == "anthropic"
    assert project(said("user", "hi"), "mine").kind == "other"


def test_a_content_that_is_not_of_its_named_format_keeps_its_words() -> None:
    for name in (CHAT, RESPONSES, ANTHROPIC):
        assert project(["a", "b"], name) == Projection("other", "", "a\nb", (), (), name)
    assert project({"x": "a"}, "plain") == Projection("other", "", "a", (), (), "plain")


@pytest.mark.parametrize("role", ["user", "assistant", "system", "developer"])
@pytest.mark.parametrize("words", ["hello", ""])
def test_a_role_and_a_text_are_the_same_message_in_both_formats_of_openai(
    role: str, words: str
) -> None:
    of_chat = project(said(role, words), CHAT)
    of_responses = project(said(role, words), RESPONSES)

    assert of_chat == Projection("message", role, words, (), (), CHAT)
    assert of_responses == Projection("message", role, words, (), (), RESPONSES)
    # With a type it is read at length, and is the same.
    assert project(item("message", **said(role, words)), RESPONSES) == of_responses


def test_nul_goes_from_text_and_nothing_else_does() -> None:
    words = " \t\n\0 a\0b\x01\u200b\ufeff \r\n"

    for content in (words, said("user", words), said("user", [text(words)]), {"x": words}):
        assert project(content).text == words.replace("\0", "")


def test_calls_without_a_usable_id_open_nothing() -> None:
    broken: list[Any] = [{"id": ""}, {"id": 7}, {}, None, "x"]

    projected = project({"role": "assistant", "content": None, "tool_calls": broken})

    assert (projected.kind, projected.calls) == ("tool_call", ())


def test_a_plain_chat_message_is_projected_in_a_few_microseconds() -> None:
    message = said("user", "hello there, I want to book a flight")

    best = min(timeit.repeat(lambda: project(message), number=2000, repeat=20)) / 2000

    assert best < 8e-6  # Four times the aim, for machines under load.
