"""Messages of LangChain: what is read from each kind, and how the others' are spelt there."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.formats import Projection, project
from tests.formats.samples import CONVERSATION, DATA_URL, PNG, call, calling, moved, result, said


def lc(kind: str, content: Any, **data: Any) -> dict[str, Any]:
    return {"type": kind, "data": {"content": content, "type": kind, **data}}


def use(call_id: str = "c1", **args: Any) -> dict[str, Any]:
    return {"name": "track", "args": args, "id": call_id, "type": "tool_call"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (lc("human", "hi"), ("message", "user", "hi", (), ())),
        (lc("ai", "hi"), ("message", "assistant", "hi", (), ())),
        (lc("AIMessageChunk", "hi"), ("message", "assistant", "hi", (), ())),
        (lc("system", "hi"), ("message", "system", "hi", (), ())),
        (lc("chat", "hi", role="critic"), ("message", "assistant", "hi", (), ())),
        (lc("chat", "hi", role="user"), ("message", "user", "hi", (), ())),
        (
            lc("system", "hi", additional_kwargs={"__openai_role__": "developer"}),
            ("message", "developer", "hi", (), ()),
        ),
        (
            lc("ai", "", tool_calls=[use(n=1)]),
            ("tool_call", "assistant", 'track({"n":1})', ("c1",), ()),
        ),
        (
            lc("tool", "Oslo", tool_call_id="c1", name="track"),
            ("tool_result", "tool", "Oslo", (), ("c1",)),
        ),
        (lc("human", ["a", {"type": "text", "text": "b"}]), ("message", "user", "a\nb", (), ())),
        (
            lc("ai", [{"type": "reasoning", "reasoning": "hm"}]),
            ("thinking", "assistant", "hm", (), ()),
        ),
    ],
)
def test_a_message_is_recognised_and_projected(given: Any, expected: tuple[Any, ...]) -> None:
    assert project(given) == Projection(*(*expected, "langchain"))


@pytest.mark.parametrize(
    "given",
    [
        {"type": "human"},
        {"type": "human", "data": "hi"},
        {"type": "human", "data": {}},
        {"type": "click", "data": {"content": "hi"}},
        {"type": "human", "data": {"content": "hi"}, "more": 1},
    ],
)
def test_what_only_looks_like_one_is_not_taken_for_it(given: Any) -> None:
    assert project(given).format == "other"


def test_a_call_that_stands_in_the_content_too_is_one_call() -> None:
    block = {"type": "tool_use", "id": "c1", "name": "track", "input": {"n": 1}}
    message = lc("ai", [{"type": "text", "text": "Let me see."}, block], tool_calls=[use(n=1)])

    [chat], lost = moved([message], "openai.chat", "langchain")

    assert (chat, lost) == (calling(call("c1", "track", '{"n":1}'), content="Let me see."), [])


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image_url", "image_url": {"url": DATA_URL}},
        {"type": "image_url", "image_url": DATA_URL},
        {"type": "image", "base64": PNG, "mime_type": "image/png"},
        {"type": "image", "source_type": "base64", "data": PNG, "mime_type": "image/png"},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": PNG},
        },
    ],
)
def test_an_image_is_read_however_it_is_spelt(block: Any) -> None:
    [chat], lost = moved([lc("human", [block])], "openai.chat", "langchain")

    assert chat["content"] == [{"type": "image_url", "image_url": {"url": DATA_URL}}]
    assert lost == []


def test_arguments_that_are_no_object_are_an_invalid_call_and_come_back() -> None:
    chat = [calling(call("c1", "track", '{"n":')), result("c1", "no")]

    [asked, answered], lost = moved(chat, "langchain")

    assert asked["data"]["invalid_tool_calls"][0]["args"] == '{"n":'
    assert answered["data"]["tool_call_id"] == "c1"
    assert (moved([asked, answered], "openai.chat", "langchain"), lost) == ((chat, []), [])


def test_the_error_of_a_result_is_kept() -> None:
    block = {"type": "tool_result", "tool_use_id": "c1", "content": "no", "is_error": True}

    [message], lost = moved([said("user", [block])], "langchain", "anthropic")

    assert (message["data"]["status"], lost) == ("error", [])


def test_thinking_goes_unless_anthropic_has_signed_it() -> None:
    signed = {"type": "thinking", "thinking": "hm", "signature": "s"}
    [one], lost = moved([said("assistant", [signed])], "langchain", "anthropic")
    assert (one["data"]["content"], lost) == ([signed], [])

    none, lost = moved([{"role": "assistant", "content": "", "reasoning": "hm"}], "langchain")
    assert (none, lost) == (
        [],
        ["event 1: thinking that Anthropic has not signed has no counterpart in langchain"],
    )


def test_fields_that_have_no_place_elsewhere_are_told() -> None:
    message = lc("human", "hi", name="Ada", additional_kwargs={"mood": "good"}, id="run-1")

    _, lost = moved([message], "openai.chat", "langchain")

    assert [line.partition(": ")[2] for line in lost] == [
        "field 'mood' has no counterpart in openai.chat",
        "field 'name' has no counterpart in openai.chat",
    ]


def test_a_conversation_comes_back_as_it_was() -> None:
    there, lost = moved(CONVERSATION, "langchain")
    back, lost_again = moved(there, "openai.chat", "langchain")

    assert (back, lost, lost_again) == (CONVERSATION, [], [])
