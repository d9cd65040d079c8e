"""``perdure demo``."""

from __future__ import annotations

import json
import re
import sys
from importlib.resources import files
from pathlib import Path

import pytest

import perdure as library
from perdure import ALL
from perdure.importers import Conversation, read_chat
from tests.cli.command import on_terminal, spawn


def file_in(shown: str) -> str:
    found = re.search(r"export PERDURE_URL=(sqlite:\S+)", shown)
    assert found is not None
    return found[1]


def widest(shown: str) -> int:
    """The longest line; paths are not cut, for they are to be copied."""
    return max(len(line) for line in shown.splitlines() if "sqlite:" not in line)


def test_the_demo_shows_and_proves_without_a_terminal(url: str, tmp_path: Path) -> None:
    result = spawn(url, "demo", more={"TMPDIR": str(tmp_path)}, cwd=tmp_path)

    assert (result.code, result.err) == (0, "")
    assert result.out.count("✓") == 4
    assert "imported 3 new sessions, 24 new events" in result.out
    assert widest(result.out) <= 80
    with library.open_sync(file_in(result.out)) as store:
        assert store.sessions.count(ALL) == 3
        assert sum(session.event_count for session in store.sessions.iter(ALL)) == 26
    assert not Path(url.removeprefix("sqlite:///")).exists()


def test_what_the_demo_says_to_try_next_works(url: str, tmp_path: Path) -> None:
    shown = spawn(url, "demo", more={"TMPDIR": str(tmp_path)}).out
    demo = file_in(shown)
    commands = re.findall(r"^perdure (show .*?|ls)  ", shown, re.MULTILINE)

    assert len(commands) >= 3
    for command in commands:
        assert spawn(demo, *command.split()).code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_demo_fits_the_terminal(url: str, tmp_path: Path, columns: int) -> None:
    result = on_terminal(url, "demo", columns=columns, more={"TMPDIR": str(tmp_path)})

    plain = re.sub(r"\x1b\[[0-9;]*m", "", result.out)
    assert result.code == 0
    assert "\x1b[" in result.out
    assert widest(plain) <= max(columns, 80)


def test_the_sample_is_three_whole_conversations_with_times_and_tools() -> None:
    text = files("perdure.cli").joinpath("sample.jsonl").read_text(encoding="utf-8")

    found = list(read_chat([("sample.jsonl", text.splitlines())]))

    conversations = [one for one in found if isinstance(one, Conversation)]
    assert len(conversations) == len(found) == 3
    for one in conversations:
        assert one.created_at is not None
        messages = [message.content for message in one.messages]
        calls = [call["id"] for message in messages for call in message.get("tool_calls", ())]
        answers = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
        assert calls
        assert calls == answers
        for message in messages:
            for call in message.get("tool_calls", ()):
                assert isinstance(json.loads(call["function"]["arguments"]), dict)
