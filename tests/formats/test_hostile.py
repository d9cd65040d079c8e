"""Nothing a JSON value can be makes projecting or converting fail."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.formats import convert, project, system_text
from tests.formats.samples import unhurried

NAMES = [
    "openai.chat",
    "openai.responses",
    "anthropic",
    "adk",
    "claude-code",
    "langchain",
    "pydantic",
    "strands",
    "plain",
]
KINDS = {"message", "tool_call", "tool_result", "thinking", "summary", "other"}
ROLES = {"user", "assistant", "system", "developer", "tool", ""}

# The words these formats use, so that the fuzz gets past their first question.
KEYS = st.sampled_from(
    re.findall(
        r"\w+",
        """role content type text tool_calls tool_call_id function function_call id call_id name
        arguments input output image_url url source data media_type detail thinking signature
        summary encrypted_content tool_use_id is_error refusal custom reasoning_content action
        title data args additional_kwargs status invalid_tool_calls base64 reasoning
        parts function_response response inline_data mime_type file_data file_uri thought
        thought_signature functionCall""",
    )
)
VALUES = st.sampled_from(
    re.findall(
        r"\S+",
        """user assistant system tool function text input_text output_text tool_use tool_result
        thinking redacted_thinking image document base64 function_call function_call_output
        reasoning custom_tool_call message url computer_call computer_call_output compaction
        human ai chat AIMessageChunk error
        image_url input_image refusal server_tool_use web_search_tool_result {} [ 1e999
        data:;base64, data:a/b;base64,AA""",
    )
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.just("a\0")
    | VALUES
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=25,
)
shaped = st.fixed_dictionaries(
    {"role": VALUES | anything, "content": anything},
    optional={
        "parts": anything,
        "type": VALUES,
        "tool_calls": anything,
        "call_id": anything,
        "output": anything,
    },
)
contents = shaped | anything


def checked(content: Any, format: str | None) -> None:
    projected = project(content, format)

    assert projected.kind in KINDS
    assert projected.role in ROLES
    assert "\0" not in projected.text
    assert all(one for one in projected.calls + projected.results)
    assert isinstance(projected.format, str)


@unhurried
@given(content=contents, name=st.sampled_from([None, "other", "desk", *NAMES]))
def test_any_value_has_a_projection(content: Any, name: str | None) -> None:
    checked(content, name)


@unhurried
@given(
    items=st.lists(
        st.tuples(st.sampled_from(["other", "desk", *NAMES]), contents, st.text(max_size=3))
    ),
    target=st.sampled_from(NAMES),
)
def test_any_values_convert(items: list[tuple[str, Any, str]], target: str) -> None:
    messages, losses = convert(items, target)

    assert all(isinstance(message, dict) for message in messages)
    assert all(loss.startswith("event ") for loss in losses)
    assert isinstance(system_text(items), str)


@unhurried
@given(content=contents, name=st.sampled_from(NAMES), target=st.sampled_from(NAMES))
def test_converting_changes_nothing_it_is_given(content: Any, name: str, target: str) -> None:
    before = json.dumps(content)

    convert([(name, content, "")], target)

    assert json.dumps(content) == before


def nested(leaf: Any, depth: int, key: str | None) -> Any:
    for _ in range(depth):
        leaf = [leaf] if key is None else {key: leaf}
    return leaf


DEEP: list[Any] = [
    nested("leaf", 199, None),
    nested("leaf", 199, "content"),
    {"role": "user", "content": nested("leaf", 198, None)},
    {"role": "tool", "tool_call_id": "c", "content": nested("leaf", 198, "content")},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": nested(1, 198, "x")},
]


def nested_results(depth: int) -> Any:
    block: Any = {"type": "text", "text": "leaf"}
    for _ in range(depth):
        block = {"type": "tool_result", "tool_use_id": "t", "content": [block]}
    return {"role": "user", "content": [block]}


@pytest.mark.parametrize("content", [*DEEP, nested_results(98)])
@pytest.mark.parametrize("name", [None, *NAMES])
def test_depth_does_no_harm(content: Any, name: str | None) -> None:
    checked(content, name)
    for target in NAMES:
        convert([(name or "other", content, "")], target)


def test_depth_far_beyond_the_limit_does_no_harm_either() -> None:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": nested(1, 50_000, "x")}

    checked(nested("leaf", 50_000, None), None)
    checked({"role": "assistant", "content": [block]}, None)


def test_megabytes_are_projected_whole() -> None:
    words = "word " * 2_000_000

    assert project({"role": "user", "content": words}).text == words
    assert project({"role": "user", "content": [{"type": "text", "text": words}]}).text == words
    assert project({"x": ["a"] * 100_000}).text.count("a") == 100_000
