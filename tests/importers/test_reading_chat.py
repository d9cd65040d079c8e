"""What a line of a chat file is read into, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from perdure.importers import Conversation, Skipped, read_chat
from tests.importers.importing import assistant, lines, read, read_one, reason, talk, user

HELLO = user("Where is my parcel?")
REPLY = assistant("On its way.")


def test_a_conversation_has_its_id_messages_and_metadata() -> None:
    one = read_one(talk("c-1", HELLO, REPLY, task_id=7, reward=0.5, tags=["a"]))

    assert one.id == "c-1"
    assert [message.content for message in one.messages] == [HELLO, REPLY]
    assert one.metadata == {"task_id": 7, "reward": 0.5, "tags": ["a"]}


@pytest.mark.parametrize("name", ["conversation", "conversation_id", "session_id", "id"])
def test_the_id_stands_in_one_of_four_fields(name: str) -> None:
    one = read_one({name: "c-1", "messages": [HELLO]})

    assert one.id == "c-1"
    assert one.metadata == {}


def test_the_first_id_counts_and_the_others_are_metadata() -> None:
    one = read_one({"id": 4, "conversation_id": "c-1", "messages": [HELLO]})

    assert one.id == "c-1"
    assert one.metadata == {"id": 4}


def test_a_whole_number_is_an_id() -> None:
    assert read_one({"id": 42, "messages": [HELLO]}).id == "42"


@pytest.mark.parametrize("value", [True, 1.5, ["a"], {"a": 1}])
def test_anything_else_is_no_id(value: Any) -> None:
    assert "id must be a text or a whole number" in reason({"id": value, "messages": [HELLO]})


def test_a_system_text_becomes_the_first_message() -> None:
    one = read_one(talk("c-1", HELLO, system="Be brief."))

    assert [message.content["role"] for message in one.messages] == ["system", "user"]
    assert [message.position for message in one.messages] == [0, 1]
    assert one.metadata == {}


def test_a_system_text_that_is_the_first_message_already_stands_there_once() -> None:
    system = {"role": "system", "content": "Be brief."}

    one = read_one(talk("c-1", system, HELLO, system="Be brief."))

    assert [message.content for message in one.messages] == [system, HELLO]


def test_without_a_title_it_is_how_the_user_begins() -> None:
    long = "I would like to know where my parcel is, it was sent\n ten days ago and nothing came"

    assert read_one(talk("c-1", REPLY, user(long))).title == (
        "I would like to know where my parcel is, it was sent ten days ago and…"
    )
    assert read_one(talk("c-1", HELLO, title=" A  late\nparcel ")).title == "A late parcel"
    assert read_one(talk("c-1", REPLY)).title == ""


def test_tool_calls_and_results_stay_as_they_are() -> None:
    call = {"id": "x", "type": "function", "function": {"name": "find", "arguments": '{"a": 1}'}}
    messages = [
        assistant(None, tool_calls=[call]),
        {"role": "tool", "tool_call_id": "x", "content": '{"found": true}', "name": "find"},
        {"role": "function", "name": "old", "content": "1"},
        {"role": "user", "content": [{"type": "text", "text": "Look"}]},
    ]

    one = read_one(talk("c-1", *messages))

    assert [message.content for message in one.messages] == messages


def test_a_name_is_the_author_unless_it_is_a_tool_s() -> None:
    one = read_one(
        talk(
            "c-1",
            assistant("Hi", name="billing"),
            {"role": "tool", "name": "find", "tool_call_id": "x", "content": ""},
        )
    )

    assert [message.author for message in one.messages] == ["billing", ""]


def test_a_list_of_messages_is_a_conversation() -> None:
    one = read_one([HELLO, REPLY])

    assert [message.content for message in one.messages] == [HELLO, REPLY]
    assert one.id.startswith("chat-")


def test_a_made_id_is_the_same_everywhere_and_when_the_conversation_grows() -> None:
    [short] = read_chat([("here.jsonl", lines([HELLO]))])
    [long] = read_chat([("elsewhere.jsonl", lines([HELLO, REPLY]))])

    assert isinstance(short, Conversation)
    assert isinstance(long, Conversation)
    assert short.id == long.id


def test_made_ids_of_conversations_that_begin_alike_are_numbered() -> None:
    found = read([HELLO], [HELLO, REPLY], [user("Hello")])

    ids = [one.id for one in found if isinstance(one, Conversation)]
    assert ids[1] == f"{ids[0]}-2"
    assert len(set(ids)) == 3


def test_a_made_id_looks_at_the_first_words_of_the_user_not_only_at_the_system_text() -> None:
    system = {"role": "system", "content": "Be brief."}

    found = read([system, HELLO], [system, user("Hello")])

    assert len({one.id for one in found if isinstance(one, Conversation)}) == 2
    assert not any(one.id.endswith("-2") for one in found if isinstance(one, Conversation))


@pytest.mark.parametrize("name", ["session_id", "session", "conversation_id", "thread_id"])
def test_messages_a_line_are_gathered_by_their_session(name: str) -> None:
    found = read({name: "a", **HELLO}, {name: "b", **HELLO}, {name: "a", **REPLY})

    assert [
        (one.id, [message.content for message in one.messages])
        for one in found
        if isinstance(one, Conversation)
    ] == [("a", [HELLO, REPLY]), ("b", [HELLO])]


def test_lines_of_one_session_go_on_in_the_next_file() -> None:
    found = list(
        read_chat(
            [
                ("1.jsonl", lines({"session": "a", **HELLO})),
                ("2.jsonl", lines({"session": "a", **REPLY})),
            ]
        )
    )

    assert [len(one.messages) for one in found if isinstance(one, Conversation)] == [2]


def test_the_fields_around_a_message_of_a_line_become_its_metadata() -> None:
    one = read_one({"session": "a", "message": HELLO, "ts": 1_700_000_000, "model": "m"})

    [message] = one.messages
    assert message.content == HELLO
    assert message.metadata == {"model": "m"}
    assert message.timestamp == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "not JSON"),
        ("nonsense", "not JSON"),
        ("7", "neither a conversation nor a message"),
        ('"text"', "neither a conversation nor a message"),
        ('{"id": "a", "id": "b", "messages": []}', "'id' stands twice"),
        ('{"id": "a", "messages": [], "x": NaN}', "NaN is not JSON"),
        ('{"id": "a", "messages": [], "x": 1e999}', "inf"),
        ('{"id": "a", "messages": [], "x": "\\ud800"}', "surrogate"),
        ('{"id": "a", "messages": [], "x": ' + "[" * 300 + "]" * 300 + "}", "nested deeper"),
        ('{"id": "a", "messages": [], "x": ' + "9" * 5000 + "}", "JSON"),
        ('{"id": "a", "messages": 5}', "messages is no list"),
        ('{"id": "a", "messages": []}', "it has no messages"),
        ('{"role": "user", "content": "hi"}', "says whose message it is"),
        ("{}", "says whose message it is"),
    ],
)
def test_a_line_that_is_nothing_is_skipped_with_the_reason(line: str, why: str) -> None:
    [bad, good] = read(line, talk("c-1", HELLO))

    assert isinstance(bad, Skipped)
    assert (bad.source, bad.line) == ("chats.jsonl", 1)
    assert why in bad.reason
    assert isinstance(good, Conversation)


def test_a_line_that_is_not_utf_8_is_skipped() -> None:
    [bad] = read_chat([("chats.jsonl", [b'{"id": "\xff"}\n'])])

    assert isinstance(bad, Skipped)
    assert "UTF-8" in bad.reason


def test_blank_lines_and_a_byte_order_mark_are_nothing() -> None:
    text = lines(talk("c-1", HELLO))[0].encode()

    found = list(read_chat([("chats.jsonl", [b"\xef\xbb\xbf" + text + b"\r\n", b"\n", b"  \n"])]))

    assert [type(one) for one in found] == [Conversation]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("hello", "no object but 'hello'"),
        ({"content": "hi"}, "the role is None"),
        ({"role": "human", "content": "hi"}, "the role is 'human'"),
        ({"role": "user"}, "neither a text nor a list of parts"),
        ({"role": "user", "content": 5}, "neither a text nor a list of parts"),
        ({"role": "user", "content": ["hi"]}, "neither a text nor a list of parts"),
        ({"role": "assistant", "content": None, "tool_calls": "x"}, "tool_calls is no list"),
        ({"role": ["user"], "content": "hi"}, "the role is ['user']"),
    ],
)
def test_a_conversation_with_a_bad_message_is_skipped_whole(message: Any, why: str) -> None:
    [bad] = read({"id": "a", "messages": [HELLO, message]})

    assert isinstance(bad, Skipped)
    assert bad.conversation == "a"
    assert bad.reason.startswith("message 2: ")
    assert why in bad.reason


def test_a_bad_line_of_a_session_skips_the_session_and_names_the_line() -> None:
    [good, bad] = read(
        {"session": "b", **HELLO}, {"session": "a", **HELLO}, {"session": "a", "role": "ai"}
    )

    assert isinstance(good, Conversation)
    assert isinstance(bad, Skipped)
    assert (bad.line, bad.conversation) == (3, "a")


def test_the_sizes_of_all_that_was_read_are_the_size_of_the_file() -> None:
    text = lines(talk("a", HELLO), "{", {"session": "b", **HELLO}, {"session": "b", "role": "ai"})

    found = list(read_chat([("chats.jsonl", text)]))

    assert sum(one.size for one in found) == sum(map(len, text))
