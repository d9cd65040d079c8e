"""Text of events is shown, and nothing in it is obeyed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

import perdure as library
from perdure.cli.clean import clean, clean_json, clean_lines
from tests.cli.command import Perdure, on_terminal

EVIL = "\x1b[2J\x1b]0;owned\x07 \x9b31m \u202egpj.exe [bold red]markup[/] :boom: \r gone \x00\x7f"
SHOWN = r"\x1b[2J\x1b]0;owned\x07 \x9b31m \u202egpj.exe [bold red]markup[/] :boom: \r gone \x00\x7f"
DANGEROUS = "\x1b\x07\x9b\u202e\x00\x7f\u2066\u2028\x85"


@pytest.fixture
def hostile(url: str) -> str:
    name = EVIL.replace("\x00", "")
    with library.open_sync(url) as store:
        one = store.sessions.create(
            f"app {name}", f"user {name}", f"id {name}", title=name, tags=[name],
            metadata={name: name}, state={name: name},
        )  # fmt: skip
        call = {"id": name, "function": {"name": name, "arguments": json.dumps({name: EVIL})}}
        store.events.append(
            one.key,
            library.NewEvent(
                {"role": "user", "content": EVIL}, author=name, run_id=name, branch=name
            ),
            {"role": "assistant", "content": EVIL, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": name, "content": EVIL},
            library.NewEvent(error=library.EventError(EVIL, EVIL), state_delta={name: EVIL}),
        )
        store.events.annotate(one.key, name, EVIL, by=name)
    return url


def test_what_is_dangerous_is_spelled_out() -> None:
    assert clean(EVIL) == SHOWN
    assert clean("a\tb\nc") == r"a\tb\nc"
    assert clean("äöü 日本 👩\u200d👧 \u200f") == "äöü 日本 👩\u200d👧 \u200f"


def test_lines_stay_lines() -> None:
    assert clean_lines("a\r\nb\n\tc\u2028d") == ["a", "b", "    c\\u2028d"]


def test_json_made_safe_is_the_same_value() -> None:
    text = json.dumps({EVIL: [EVIL, DANGEROUS]}, ensure_ascii=False)

    safe = clean_json(text)

    assert json.loads(safe) == {EVIL: [EVIL, DANGEROUS]}
    assert not set(safe) & set(DANGEROUS)


@pytest.mark.parametrize(
    "arguments",
    [
        ("ls",),
        ("ls", "--json"),
        ("show", "id"),
        ("show", "id", "--json"),
        ("show", "id", "-v"),
        ("show", "nope \x1b[31m"),
        ("tail",),
        ("tail", "id", "--json"),
        ("sessions", "tag", "id"),
        ("sessions", "rename", "id", EVIL.replace("\x00", "")),
        ("sessions", "rm", "id", "--dry-run"),
        ("export", "app " + EVIL.replace("\x00", ""), "user " + EVIL.replace("\x00", "")),
        ("erase", "app " + EVIL.replace("\x00", ""), "user \x1b", "--dry-run"),
    ],
)
@pytest.mark.usefixtures("hostile")
def test_no_command_passes_it_on(perdure: Perdure, arguments: tuple[str, ...]) -> None:
    result = perdure(*arguments)

    assert result.code in {0, 3}
    assert result.out or result.err
    assert not set(result.out + result.err) & set(DANGEROUS)


@pytest.mark.usefixtures("hostile")
def test_the_text_itself_can_still_be_read(perdure: Perdure) -> None:
    assert SHOWN in perdure("show", "id").out


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_on_a_terminal_the_only_escapes_are_our_colours(hostile: str) -> None:
    for arguments in (("show", "id", "--no-pager"), ("ls",), ("tail",)):
        shown = on_terminal(hostile, *arguments).out

        assert "\x1b[" in shown
        assert not set(re.sub(r"\x1b\[[0-9;]*m", "", shown)) & set(DANGEROUS)


def test_a_file_name_in_a_report_is_cleaned_too(perdure: Perdure, tmp_path: Path) -> None:
    file = tmp_path / "evil\x1b[31m.jsonl"
    file.write_text('{"\\u001b\n', encoding="utf-8")

    result = perdure("import", "chat", str(file))

    assert result.code == 5
    assert "\x1b" not in result.out + result.err
