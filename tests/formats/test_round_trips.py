"""There and back: what moves between two formats comes back equal."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.formats import convert, project
from tests.formats.samples import (
    CONVERSATION,
    DATA_URL,
    call,
    calling,
    image,
    moved,
    result,
    said,
    text,
    unhurried,
)

AIRLINE = Path(__file__).parents[3] / "shared" / "data" / "airline-conversations.jsonl"
THROUGH = ["openai.responses", "anthropic", "adk", "langchain"]

words = st.text(min_size=1).filter(str.strip)
ids = st.text("abcdefghij_-0123456789", min_size=1)
arguments = st.dictionaries(words, st.none() | st.booleans() | st.integers() | words, max_size=3)
images = st.sampled_from([image(DATA_URL), image("https://example.org/a.png")])
users = st.one_of(
    words.map(lambda one: said("user", one)),
    st.lists(words.map(text) | images, min_size=2, max_size=4).map(lambda one: said("user", one)),
    images.map(lambda one: said("user", [one])),
)


@st.composite
def calls(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = [
        call(one, draw(words), json.dumps(draw(arguments), ensure_ascii=False))
        for one in draw(st.lists(ids, min_size=1, max_size=3, unique=True))
    ]
    contents = words | st.just("") | st.lists(words.map(text), min_size=2, max_size=3)
    answers = [result(one["id"], draw(contents)) for one in made]
    return [calling(*made, content=draw(st.none() | words)), *answers]


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(0, 4))):
        history.append(draw(users))
        history.extend(draw(calls()) if draw(st.booleans()) else [])
        history.append(said("assistant", draw(words)))
    return history


def meaning(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with arguments as values, and without what any reader leaves out."""
    read = []
    for message in messages:
        one = {"content": None} | {key: value for key, value in message.items() if key != "name"}
        for made in (one := json.loads(json.dumps(one))).get("tool_calls", ()):
            made["function"]["arguments"] = json.loads(made["function"]["arguments"])
        read.append(one)
    return read


def tool_ids(messages: list[dict[str, Any]], format: str) -> list[tuple[str, ...]]:
    projected = [project(message, format) for message in messages]
    return [one for p in projected for one in (p.calls, p.results) if one]


@pytest.mark.parametrize("through", THROUGH)
def test_the_sample_comes_back_equal(through: str) -> None:
    there, lost = moved(CONVERSATION, through)
    back, lost_too = moved(there, "openai.chat", through)

    # Through ADK a result comes back with the name of its tool.
    assert [{k: v for k, v in one.items() if k != "name"} for one in back] == CONVERSATION
    assert lost + lost_too == []


@pytest.mark.parametrize("through", THROUGH)
@unhurried
@given(history=conversations())
def test_any_conversation_comes_back_equal(through: str, history: list[dict[str, Any]]) -> None:
    there, lost = moved(history, through)
    back, lost_too = moved(there, "openai.chat", through)

    assert meaning(back) == meaning(history)
    assert lost + lost_too == []


@unhurried
@given(history=conversations())
def test_anthropics_roles_alternate_and_answers_follow_their_calls(
    history: list[dict[str, Any]],
) -> None:
    messages, _ = moved(history, "anthropic")

    roles = [message["role"] for message in messages]
    assert all(one != other for one, other in pairwise(roles))
    for asked, answered in pairwise(messages):
        asking = [block["id"] for block in asked["content"] if block["type"] == "tool_use"]
        answers = [block["tool_use_id"] for block in answered["content"] if "tool_use_id" in block]
        assert answers == asking


@unhurried
@given(history=conversations())
def test_what_is_written_is_recognised_as_what_it_is(history: list[dict[str, Any]]) -> None:
    for target in THROUGH:
        messages, _ = moved(history, target)
        assert {project(message).format for message in messages} <= {target}


@pytest.mark.parametrize("detail", ["low", "high", "auto"])
def test_image_detail_moves_between_openais_formats(detail: str) -> None:
    history = [said("user", [image(DATA_URL, detail=detail)])]
    there, lost = moved(history, "openai.responses")

    assert moved(there, "openai.chat", "openai.responses") == (history, [])
    assert lost == []


@pytest.mark.parametrize(
    "url",
    ["data:,a", "data:image/png,a", "data:image/svg+xml;charset=utf-8;base64,AA", "file:x", ""],
)
def test_unusual_urls_come_back_letter_by_letter(url: str) -> None:
    history = [said("user", [image("data:;base64,"), image(url or "x")])]
    there, _ = moved(history, "openai.responses")

    assert moved(there, "openai.chat", "openai.responses") == (history, [])


@pytest.mark.skipif(not AIRLINE.exists(), reason="the sample conversations are not on this machine")
@pytest.mark.parametrize("through", [*THROUGH, "plain"])
def test_real_conversations_keep_every_tool_id(through: str) -> None:
    for line in AIRLINE.read_text(encoding="utf-8").splitlines():
        history = json.loads(line)["messages"]

        there, lost = moved(history, through)
        back, lost_too = moved(there, "openai.chat", through)

        if through == "plain":
            assert len(there) == len(back) == len(history)
            continue
        assert meaning(back) == meaning(history)
        assert tool_ids(back, "openai.chat") == tool_ids(history, "openai.chat")
        assert {i for ids in tool_ids(there, through) for i in ids} == {
            i for ids in tool_ids(history, "openai.chat") for i in ids
        }
        assert lost + lost_too == []


@pytest.mark.skipif(not AIRLINE.exists(), reason="the sample conversations are not on this machine")
def test_every_real_message_moves_alone_and_keeps_its_tool_ids() -> None:
    for line in AIRLINE.read_text(encoding="utf-8").splitlines():
        for message in json.loads(line)["messages"]:
            for through in THROUGH:
                there, _ = convert([("openai.chat", message, "")], through)
                back, _ = moved(there, "openai.chat", through)
                assert tool_ids(back, "openai.chat") == tool_ids([message], "openai.chat")
