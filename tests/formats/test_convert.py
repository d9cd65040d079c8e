from __future__ import annotations

from typing import Any

import pytest

from perdure.errors import InvalidError
from perdure.formats import convert, system_text
from tests.formats.samples import (
    CONVERSATION,
    DATA_URL,
    PNG,
    call,
    calling,
    image,
    moved,
    result,
    said,
    text,
)

FORMATS = ["openai.chat", "openai.responses", "anthropic"]
WORDS = [said("user", "hi"), said("assistant", "ho"), said("user", "you")]


def tool_use(call_id: str, name: str, given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


def tool_result(call_id: str, content: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content}


def base64_image(media_type: str = "image/png") -> dict[str, Any]:
    source = {"type": "base64", "media_type": media_type, "data": PNG}
    return {"type": "image", "source": source}


def test_the_conversation_in_anthropics_words() -> None:
    messages, losses = moved(CONVERSATION, "anthropic")

    assert messages == [
        said("user", [text("Weather in Oslo, and what is this?\n  ")]),
        said(
            "assistant",
            [
                tool_use("c1", "weather", {"city": "Oslo"}),
                tool_use("c2", "time", {"zone": "Europe/Oslo", "n": 1.5}),
            ],
        ),
        said("user", [tool_result("c1", "3 °C"), tool_result("c2", [])]),
        said("assistant", [text("Cold. Show me the picture.")]),
        said(
            "user",
            [
                text("Here:"),
                base64_image(),
                {"type": "image", "source": {"type": "url", "url": "https://example.org/cat.webp"}},
            ],
        ),
        said("assistant", [text("I look closer."), tool_use("c3", "look", {})]),
        said("user", [tool_result("c3", [text("a cat"), text("on a roof")])]),
        said("assistant", [text("A cat.")]),
    ]
    assert losses == []


def test_the_conversation_as_flat_items() -> None:
    items, losses = moved(CONVERSATION[:8], "openai.responses")

    assert [item["type"] for item in items] == [
        "message",
        *("function_call", "function_call", "function_call_output", "function_call_output"),
        *("message", "message", "message", "function_call", "function_call_output"),
    ]
    assert items[1] == {
        "type": "function_call",
        "call_id": "c1",
        "name": "weather",
        "arguments": '{"city":"Oslo"}',
    }
    assert items[3] == {"type": "function_call_output", "call_id": "c1", "output": "3 °C"}
    said_last = {"type": "output_text", "text": "Cold. Show me the picture.", "annotations": []}
    assert items[5] == {"type": "message", "role": "assistant", "content": [said_last]}
    assert items[6]["content"] == [
        {"type": "input_text", "text": "Here:"},
        {"type": "input_image", "image_url": DATA_URL},
        {"type": "input_image", "image_url": "https://example.org/cat.webp"},
    ]
    assert losses == []


def test_plain_messages_hold_nothing_but_a_text() -> None:
    messages, losses = moved(CONVERSATION[:4], "plain")

    assert messages == [
        said("user", "Weather in Oslo, and what is this?\n  "),
        said("assistant", 'weather({"city":"Oslo"})\ntime({"zone":"Europe/Oslo","n":1.5})'),
        said("tool", "3 °C"),
        said("tool", ""),
    ]
    assert losses == [
        "event 2: tool call 'c1' is only text in plain",
        "event 2: tool call 'c2' is only text in plain",
        "event 3: the result of tool call 'c1' is only text in plain",
        "event 4: the result of tool call 'c2' is only text in plain",
    ]


def test_plain_text_speaks_in_its_authors_role() -> None:
    items = [("plain", "be brief", "system"), ("plain", "hi", "user"), ("plain", "ho", "sales")]

    messages, losses = convert([*items, ("plain", "you", "")], "plain")

    assert messages == [
        said("system", "be brief"),
        said("user", "hi"),
        said("assistant", "ho"),
        said("user", "you"),
    ]
    assert losses == []


def test_plain_messages_come_back_as_they_were_written() -> None:
    written, _ = moved(WORDS, "plain")

    assert moved(written, "openai.chat", "plain") == (WORDS, [])


@pytest.mark.parametrize("target", FORMATS)
def test_what_is_in_the_target_format_already_comes_back_unchanged(target: str) -> None:
    odd = [said("user", "hi"), {"role": "user", "content": [{"type": "new"}], "x": [None]}, {}]

    assert convert([(target, message, "") for message in odd], target) == (odd, [])


def test_native_messages_stand_unchanged_between_converted_ones() -> None:
    native = said("assistant", [text(""), {"type": "new"}])
    items = [
        ("plain", "a", "user"),
        ("anthropic", native, ""),
        ("plain", "b", "user"),
        ("openai.chat", said("user", "c"), ""),
    ]

    assert convert(items, "anthropic") == (
        [said("user", [text("a")]), native, said("user", [text("b"), text("c")])],
        [],
    )


def test_an_unknown_target_is_invalid_and_the_known_ones_are_named() -> None:
    with pytest.raises(InvalidError, match=r"'latin'.*anthropic, .*openai\.chat"):
        convert([], "latin")


@pytest.mark.parametrize("target", [*FORMATS, "plain"])
def test_an_empty_history_is_empty(target: str) -> None:
    assert convert([], target) == ([], [])


def test_the_caller_may_number_the_events() -> None:
    _, losses = convert([("desk", {"text": "hi"}, "bot")], "openai.chat", numbers=[41])

    assert losses == ["event 41: a value of format 'desk' is only text in openai.chat"]


@pytest.mark.parametrize("name", ["other", "desk"])
def test_values_of_unknown_formats_move_as_their_text(name: str) -> None:
    content = {"role": "model", "parts": [{"text": "hi"}, {"text": "ho"}]}
    nothing = f"event 2: a value of format {name!r} has no counterpart in openai.chat"

    messages, losses = convert([(name, content, "bot"), (name, {"n": 1}, "")], "openai.chat")

    assert messages == [said("assistant", "hi\nho")]
    assert losses == [f"event 1: a value of format {name!r} is only text in openai.chat", nothing]


def test_neighbours_of_one_role_become_one_message_for_anthropic() -> None:
    messages, _ = moved([said("user", "a"), said("user", "b"), said("assistant", "c")], "anthropic")

    assert messages == [said("user", [text("a"), text("b")]), said("assistant", [text("c")])]


def test_results_come_before_the_text_of_their_turn() -> None:
    late = [calling(call("c1", "f")), said("user", "hurry"), result("c1", "x")]

    anthropic, _ = moved(late, "anthropic")
    flat, _ = moved(late, "openai.responses")
    chat, _ = moved(flat, "openai.chat", "openai.responses")

    assert anthropic[1] == said("user", [tool_result("c1", "x"), text("hurry")])
    assert chat == [late[0], late[2], late[1]]


def test_what_the_assistant_says_and_calls_before_an_answer_is_one_chat_message() -> None:
    expected = calling(call("c1", "f"), call("c2", "g"), content="Let me see.")
    flat, _ = moved([expected], "openai.responses")

    assert len(flat) == 3
    assert moved(flat, "openai.chat", "openai.responses") == ([expected], [])


def test_two_answers_of_the_assistant_stay_two_chat_messages() -> None:
    flat, _ = moved([said("assistant", "a"), said("assistant", "b")], "openai.responses")

    assert moved(flat, "openai.chat", "openai.responses") == (
        [said("assistant", "a"), said("assistant", "b")],
        [],
    )


def test_text_after_calls_joins_their_chat_message() -> None:
    blocks = [text("a"), tool_use("c1", "f", {"city": "Oslo"}), text("b")]
    later = [said("assistant", blocks), said("assistant", [text("c")])]

    messages, _ = moved(later, "openai.chat", "anthropic")

    joined = {"content": [text("a"), text("b"), text("c")]}
    assert messages == [calling(call("c1", "f")) | joined]


def test_results_and_words_of_one_anthropic_message_are_separate_chat_messages() -> None:
    mixed = said("user", [tool_result("c1", "x"), tool_result("c2", [text("y")]), text("and?")])

    assert moved([mixed], "openai.chat", "anthropic") == (
        [result("c1", "x"), result("c2", "y"), said("user", "and?")],
        [],
    )


@pytest.mark.parametrize("role", ["system", "developer"])
def test_system_text_is_not_among_anthropics_messages_but_can_be_had(role: str) -> None:
    history = [said(role, "Be brief."), *WORDS, said(role, "Be briefer.")]
    items = [("openai.chat", message, "") for message in history]

    messages, losses = convert(items, "anthropic")

    where = f"{role} text belongs in the request's system field, not among the messages"
    assert {message["role"] for message in messages} == {"user", "assistant"}
    assert losses == [f"event 1: {where} of anthropic", f"event 5: {where} of anthropic"]
    assert system_text(items) == "Be brief.\n\nBe briefer."


def test_system_messages_anthropic_holds_already_are_not_repeated_in_the_system_text() -> None:
    items = [("anthropic", said("system", "Be brief."), ""), ("plain", "Be kind.", "system")]

    assert system_text(items) == "Be kind."
    assert convert(items, "anthropic")[0] == [said("system", "Be brief.")]


def test_roles_other_than_anthropics_move_between_the_others() -> None:
    history = [said("system", "a"), said("developer", "b"), *WORDS]
    flat, _ = moved(history, "openai.responses")

    assert [item["role"] for item in flat[:2]] == ["system", "developer"]
    assert moved(flat, "openai.chat", "openai.responses") == (history, [])


@pytest.mark.parametrize("arguments", ["not json", "[1]", '"x"', "NaN", '{"a":1e400}', '{"a":'])
def test_arguments_that_are_no_object_stand_under_arguments(arguments: str) -> None:
    messages, losses = moved([calling(call("c1", "f", arguments))], "anthropic")

    assert messages[0]["content"] == [tool_use("c1", "f", {"arguments": arguments})]
    assert losses == ["event 1: the arguments of tool call 'c1' are no JSON object for anthropic"]


def test_no_arguments_are_an_empty_object() -> None:
    messages, losses = moved([calling(call("c1", "f", ""))], "anthropic")

    assert messages[0]["content"][0]["input"] == {}
    assert losses == []


def test_arguments_keep_their_numbers_and_letters() -> None:
    given = {"n": 2**70, "x": -0.0, "y": 1e308, "s": "é\0😀", "": []}
    history = [said("assistant", [tool_use("c1", "f", given)])]

    for through in ("openai.chat", "openai.responses"):
        there, _ = moved(history, through, "anthropic")
        assert moved(there, "anthropic", through) == (history, [])


def test_errors_of_tools_stay_errors_only_with_anthropic() -> None:
    failed = [said("user", [tool_result("c1", "boom") | {"is_error": True}])]

    for target in ("openai.chat", "openai.responses", "plain"):
        _, losses = moved(failed, target, "anthropic")
        assert f"event 1: the error mark of a tool result has no counterpart in {target}" in losses


def test_thinking_stays_with_the_provider_that_signed_it() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "x"}
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "y"}

    to_openai = moved([said("assistant", [thought, text("4")])], "openai.responses", "anthropic")
    to_anthropic = moved([reasoning], "anthropic", "openai.responses")
    to_chat = moved([reasoning], "openai.chat", "openai.responses")

    lost = "thinking that OpenAI has not encrypted"
    assert to_openai[1] == [f"event 1: {lost} has no counterpart in openai.responses"]
    assert [item["type"] for item in to_openai[0]] == ["message"]
    lost = "thinking that Anthropic has not signed"
    assert to_anthropic == ([], [f"event 1: {lost} has no counterpart in anthropic"])
    assert to_chat == ([], ["event 1: thinking has no counterpart in openai.chat"])


def test_the_name_of_an_image_type_decides_whether_anthropic_takes_it() -> None:
    svg = "data:image/svg+xml;base64,AAAA"
    history = [said("user", [image(svg), image("data:,x"), image(DATA_URL)])]

    messages, losses = moved(history, "anthropic")

    assert messages == [said("user", [base64_image()])]
    assert losses == [
        "event 1: an image of type 'image/svg+xml' has no counterpart in anthropic",
        "event 1: an image of type 'data:,x' has no counterpart in anthropic",
    ]


# What has no counterpart: the message, its format, the target, the sentence.
LOST: list[tuple[Any, str, str, str]] = [
    (
        said("user", [image(DATA_URL, detail="high")]),
        "openai.chat",
        "anthropic",
        "image detail 'high' has no counterpart in anthropic",
    ),
    (
        said("user", [text("a")]) | {"name": "ann"},
        "openai.chat",
        "openai.responses",
        "field 'name' has no counterpart in openai.responses",
    ),
    (
        said("user", [text("a") | {"cache_control": {"type": "ephemeral"}}]),
        "anthropic",
        "openai.chat",
        "field 'cache_control' has no counterpart in openai.chat",
    ),
    (
        said("user", [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}]),
        "openai.chat",
        "anthropic",
        "a part of type 'input_audio' has no counterpart in anthropic",
    ),
    (
        said("user", [{"type": "document", "source": {"type": "text", "data": "D"}}]),
        "anthropic",
        "openai.chat",
        "a block of type 'document' is only text in openai.chat",
    ),
    (
        said("assistant", None) | {"refusal": "No."},
        "openai.chat",
        "anthropic",
        "a refusal is only text in anthropic",
    ),
    (
        said("assistant", [text("a"), base64_image()]),
        "anthropic",
        "openai.chat",
        "an image from the assistant has no counterpart in openai.chat",
    ),
    (
        said("user", [tool_result("c1", [base64_image()])]),
        "anthropic",
        "openai.chat",
        "an image in a tool result has no counterpart in openai.chat",
    ),
    (
        said("assistant", [{"type": "server_tool_use", "id": "s", "name": "web", "input": {}}]),
        "anthropic",
        "openai.chat",
        "a block of type 'server_tool_use' has no counterpart in openai.chat",
    ),
    (
        {"type": "computer_call", "call_id": "c1", "action": {"type": "type", "text": "x"}},
        "openai.responses",
        "openai.chat",
        "an item of type 'computer_call' has no counterpart in openai.chat",
    ),
    (
        {"type": "custom_tool_call", "call_id": "c1", "name": "sh", "input": "ls"},
        "openai.responses",
        "anthropic",
        "the free-form kind of tool call 'c1' has no counterpart in anthropic",
    ),
    (
        said("user", [{"type": "input_image", "file_id": "file-1"}]),
        "openai.responses",
        "anthropic",
        "an image without a URL has no counterpart in anthropic",
    ),
    (
        said("user", [{"type": "image", "source": {"type": "file", "file_id": "f"}}]),
        "anthropic",
        "openai.chat",
        "an image that is neither data nor a URL has no counterpart in openai.chat",
    ),
    (
        said("user", [image(DATA_URL)]),
        "openai.chat",
        "plain",
        "an image has no counterpart in plain",
    ),
    (said("user", ""), "openai.chat", "anthropic", "an empty message has no counterpart in"),
    (said("user", " \n"), "openai.chat", "anthropic", "blank text has no counterpart in anthropic"),
]


@pytest.mark.parametrize(("message", "source", "target", "sentence"), LOST)
def test_every_loss_is_named(message: Any, source: str, target: str, sentence: str) -> None:
    _, losses = moved([message], target, source)

    assert len(losses) == 1
    assert losses[0].startswith(f"event 1: {sentence}")


def test_fields_that_say_nothing_are_no_loss() -> None:
    dumped: dict[str, Any] = {
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": None,
    }

    assert moved([said("assistant", "hi") | dumped], "anthropic")[1] == []
