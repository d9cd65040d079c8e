from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import perdure.formats
from perdure.formats import (
    Format,
    Losses,
    Message,
    Projection,
    Text,
    Thinking,
    convert,
    messages_of,
    project,
    projection_of,
    register,
    role_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "shout"


def read(content: object, author: str) -> Sequence[Message]:
    words = content["shout"] if isinstance(content, dict) else ""
    return messages_of(role_of(author), [Thinking("hm", "signed", "anthropic"), Text(words)])


def write(messages: Sequence[Message]) -> tuple[list[dict[str, Any]], list[str]]:
    losses = Losses(NAME)
    written: list[dict[str, Any]] = []
    for message in messages:
        kept = losses.keep(message.event, message.parts, (Text,))
        written.extend({"shout": part.text.upper()} for part in kept if isinstance(part, Text))
    return written, losses.lines


SHOUT = Format(
    name=NAME,
    recognises=lambda content: isinstance(content, dict) and "shout" in content,
    project=lambda content: projection_of(read(content, "user"), NAME),
    read=read,
    write=write,
)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perdure.formats, "_formats", dict(perdure.formats._formats))
    register(SHOUT)


def test_a_registered_format_is_recognised_and_projected() -> None:
    expected = Projection("message", "assistant", "hey", (), (), NAME)

    assert project({"shout": "hey"}) == project({"shout": "hey"}, NAME) == expected


def test_a_registered_format_is_asked_after_the_known_ones() -> None:
    both = {"role": "user", "content": "hi", "shout": "hey"}

    assert project(both).format == "openai.chat"


def test_a_registered_format_is_read_and_written() -> None:
    signed = {"type": "thinking", "thinking": "hm", "signature": "signed"}

    written, lost = convert([("plain", "hey", "user"), (NAME, {"shout": "x"}, "")], NAME)
    back, _ = convert([(NAME, {"shout": "hey"}, "bot")], "anthropic")

    assert (written, lost) == ([{"shout": "HEY"}, {"shout": "x"}], [])
    assert back[0]["content"] == [signed, {"type": "text", "text": "hey"}]


def test_registering_a_name_again_replaces_it() -> None:
    register(
        Format(
            **{field: getattr(SHOUT, field) for field in ("name", "read", "write")},
            recognises=lambda _: False,
            project=SHOUT.project,
        )
    )

    assert project({"shout": "hey"}).format == "other"
