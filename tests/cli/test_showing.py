"""``perdure sessions show``."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

import perdure as library
from perdure import NewEvent, Opaque, SessionKey
from tests.cli.command import Perdure

LATE = SessionKey("shop", "ada", "late-parcel")
LAB = SessionKey("lab", "ada", "empty")


def show(perdure: Perdure, *arguments: str) -> list[str]:
    """The lines, without times."""
    result = perdure("show", *arguments)
    assert result.code == 0, result.err
    return re.sub(r"  \d{4}-\d\d-\d\dT\S+Z", "", result.out).splitlines()


def test_a_session_is_a_timeline_of_what_was_said_called_answered_and_changed(
    shop: Perdure,
) -> None:
    lines = show(shop, "late-parcel")

    assert lines[0] == "late-parcel  Late parcel"
    assert lines[1].startswith("app shop · user ada · 5 events · version 2 · created ")
    assert lines[2:] == [
        "tags vip",
        'state {"parcel": "GX5"}',
        "",
        "1   user",
        "    Where is my parcel?",
        "",
        "2   assistant · courier",
        '    → track(parcel="GX5")',
        '3   ← {"state": "at the depot"}',
        "",
        "4   assistant",
        "    It is at the depot.",
        '    ± parcel = "GX5"',
        "    ± old removed",
        "",
        "5   error",
        "    ✗ error 529: model overloaded",
        "",
    ]


def test_only_the_last_events_on_demand(shop: Perdure) -> None:
    lines = show(shop, "late-parcel", "--last", "3")

    assert "last 3 of 5 events" in lines[1]
    assert lines[5:8] == ["3   tool", "    answer of call-1", '    ← {"state": "at the depot"}']


def test_calls_side_by_side_each_have_their_own_answer(filled: str, perdure: Perdure) -> None:
    calls = [
        {"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}}
        for name in ("first", "second", "third")
    ]
    with library.open_sync(filled) as store:
        store.events.append(
            LAB,
            {"role": "assistant", "content": "Both.", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "second", "content": "two"},
            {"role": "tool", "tool_call_id": "first", "content": ""},
        )

    assert show(perdure, "empty")[3:] == [
        "1   assistant",
        "    Both.",
        "    → first()",
        "3   ← nothing",
        "    → second()",
        "2   ← two",
        "    → third()",
        "    ← no answer yet",
        "",
    ]


def test_the_same_call_id_used_twice_is_two_calls(filled: str, perdure: Perdure) -> None:
    call = {"id": "x", "type": "function", "function": {"name": "add", "arguments": '{"n": 1}'}}
    with library.open_sync(filled) as store:
        for answer in ("1", "2"):
            store.events.append(
                LAB,
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "x", "content": answer},
            )

    lines = show(perdure, "empty")

    assert [line for line in lines if "←" in line] == ["2   ← 1", "4   ← 2"]


def test_an_answer_that_comes_late_stands_where_it_came(filled: str, perdure: Perdure) -> None:
    call = {"id": "x", "type": "function", "function": {"name": "add", "arguments": "oops"}}
    with library.open_sync(filled) as store:
        store.events.append(
            LAB,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "user", "content": "Hurry up"},
            {"role": "tool", "tool_call_id": "x", "content": "3"},
        )

    assert show(perdure, "empty")[3:] == [
        "1   assistant",
        "    → add(oops)",
        "",
        "2   user",
        "    Hurry up",
        "",
        "3   tool",
        "    answer of add (1)",
        "    ← 3",
        "",
    ]


def test_arguments_and_results_that_do_not_fit_are_laid_out(filled: str, perdure: Perdure) -> None:
    given = {
        "code": "import os\nprint(os.getcwd())\n",
        "options": {"timeout": 5, "flags": ["a" * 50, "b" * 50]},
        "when": "2024-05-20",
        "number": "7",
    }
    call = {"id": "x", "function": {"name": "run", "arguments": json.dumps(given)}}
    with library.open_sync(filled) as store:
        store.events.append(LAB, {"role": "assistant", "content": None, "tool_calls": [call]})

    assert show(perdure, "empty")[4:15] == [
        "    → run",
        "        code:",
        "          import os",
        "          print(os.getcwd())",
        "        options:",
        "          timeout: 5",
        "          flags:",
        "            - " + "a" * 50,
        "            - " + "b" * 50,
        "        when: 2024-05-20",
        '        number: "7"',
    ]


def test_other_formats_are_read_part_by_part(filled: str, perdure: Perdure) -> None:
    with library.open_sync(filled) as store:
        store.events.append(
            LAB,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.\nWell.", "signature": "s"},
                    {"type": "tool_use", "id": "t", "name": "look", "input": {"at": "it"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t",
                        "is_error": True,
                        "content": [{"type": "text", "text": "boom"}],
                    }
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="},
                    }
                ],
            },
            NewEvent(Opaque("msgpack", b"123"), author="agent"),
            NewEvent({"odd": [1, {"a": None}]}, author="agent", format="elsewhere"),
        )

    assert show(perdure, "empty")[3:] == [
        "1   assistant",
        "    thinking: Hm.",
        "    Well.",
        '    → look(at="it")',
        "2   ✗ boom",
        "",
        "3   user",
        "    [image image/png, 6 bytes]",
        "",
        "4   other · agent",
        "    <3 bytes of msgpack>",
        "",
        "5   other · agent",
        '    odd: [1, {"a": null}]',
        "",
    ]


#: A question and a call, as a framework writes them.
KEPT: dict[str, tuple[Any, Any]] = {
    "adk": (
        {"role": "user", "parts": [{"text": "Hi"}]},
        {"role": "model", "parts": [
            {"function_call": {"id": "t", "name": "look", "args": {"at": 1}}}]},
    ),
    "claude-code": (
        {"type": "user", "message": {"role": "user", "content": "Hi"}},
        {"type": "assistant", "message": {"role": "assistant", "content": [
            {"type": "tool_use", "id": "t", "name": "look", "input": {"at": 1}}]}},
    ),
    "langchain": (
        {"type": "human", "data": {"content": "Hi"}},
        {"type": "ai", "data": {
            "content": "", "tool_calls": [{"name": "look", "args": {"at": 1}, "id": "t"}]}},
    ),
    "pydantic": (
        {"kind": "request", "parts": [{"part_kind": "user-prompt", "content": "Hi"}]},
        {"kind": "response", "parts": [
            {"part_kind": "tool-call", "tool_name": "look", "args": {"at": 1},
             "tool_call_id": "t"}]},
    ),
    "strands": (
        {"role": "user", "content": [{"text": "Hi"}]},
        {"role": "assistant", "content": [
            {"toolUse": {"toolUseId": "t", "name": "look", "input": {"at": 1}}}]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("format", KEPT)
def test_what_a_framework_has_kept_is_a_timeline_too(
    filled: str, perdure: Perdure, format: str
) -> None:
    with library.open_sync(filled) as store:
        store.events.append(LAB, *[NewEvent(one, format=format) for one in KEPT[format]])

    assert show(perdure, "empty")[3:] == [
        "1   user", "    Hi", "", "2   assistant", "    → look(at=1)", "    ← no answer yet", "",
    ]  # fmt: skip


def test_a_line_that_is_no_message_is_shown_as_it_is(filled: str, perdure: Perdure) -> None:
    with library.open_sync(filled) as store:
        title = NewEvent({"type": "custom-title", "customTitle": "Tea"}, format="claude-code")
        store.events.append(LAB, title)

    assert "    customTitle: Tea" in show(perdure, "empty")


def test_branches_are_noted_and_shown_on_demand(filled: str, perdure: Perdure) -> None:
    with library.open_sync(filled) as store:
        store.events.append(LAB, "one", "wrong")
        store.events.annotate(LAB, "score", 0.5, by="ada", event_id=store.events.read(LAB)[1].id)
        store.events.annotate(LAB, "pinned")
        store.events.rewind(LAB, 1)
        store.events.append(LAB, "right")

    active, every = show(perdure, "empty"), show(perdure, "empty", "--all-lines")

    assert "branches line-3 to 3 (active) · line-2 to 2" in active
    assert "✎ pinned" in active
    assert "    wrong" not in active
    assert every[every.index("2   user · not on the active line") :] == [
        "2   user · not on the active line",
        "    wrong",
        "    ✎ score = 0.5 by ada",
        "",
        "another line goes on after 1",
        "",
        "3   user",
        "    right",
        "",
    ]


def test_json_is_one_document_with_everything(shop: Perdure) -> None:
    document = json.loads(shop("show", "late-p", "--json").out)

    assert document["session"]["id"] == "late-parcel"
    assert document["state"] == {"parcel": "GX5"}
    assert [event["seq"] for event in document["events"]] == [1, 2, 3, 4, 5]
    assert document["events"][3]["state_delta"] == {"parcel": "GX5"}
    assert document["events"][3]["state_removed"] == ["old"]
    assert document["events"][4]["error"] == {"code": "529", "message": "model overloaded"}
    assert [branch["current"] for branch in document["branches"]] == [True]


def test_jsonl_are_the_events(shop: Perdure) -> None:
    lines = shop("show", "late-p", "--jsonl").out.splitlines()

    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3, 4, 5]


def test_a_fork_says_where_it_comes_from(shop: Perdure) -> None:
    copy = shop("sessions", "fork", "late-p", "--at", "3", "--id", "copy")

    assert (copy.code, copy.out) == (0, "copy\n")
    assert "forked from late-parcel at event 3" in show(shop, "copy")


def test_verbose_names_the_store_and_every_field(filled: str, perdure: Perdure) -> None:
    result = perdure("show", "late-parcel", "-v")

    assert "format openai.chat · version 2 · stored " in result.out
    assert result.err.startswith(f"store {filled}\n")
    assert result.err.endswith(" s\n")


def test_a_pipe_is_wrapped_only_where_columns_says_how(
    filled: str, perdure: Perdure, monkeypatch: pytest.MonkeyPatch
) -> None:
    with library.open_sync(filled) as store:
        store.events.append(LAB, "word " * 60 + "\n- an item " + "that goes on " * 8)
    whole = perdure("show", "empty").out.splitlines()
    monkeypatch.setenv("COLUMNS", "60")

    wrapped = perdure("show", "empty").out.splitlines()

    assert max(map(len, whole)) > 250
    assert max(map(len, wrapped)) <= 60
    assert wrapped[-4].startswith("    - an item that")
    assert [line[:7].strip() for line in wrapped[-3:-1]] == ["g", "g"]


def test_the_run_that_has_a_session_is_shown(url: str, perdure: Perdure) -> None:
    with library.open_sync(url) as store:
        key = store.sessions.create("shop", "ada", "busy").key
        with store.sessions.lease(key, "run-7") as lease:
            shown = json.loads(perdure("show", "busy", "--json").out)
            lines = perdure("show", "busy").out

    assert shown["lease"]["run_id"] == "run-7"
    assert "leased to run run-7 until 20" in lines
    assert json.loads(perdure("show", "busy", "--json").out)["lease"] is None
    assert lease.lost is False
