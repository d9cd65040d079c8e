"""One short conversation with everything that moves between the formats, as chat messages."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

from perdure.formats import convert
from tests.effort import effort

# The first draw of text builds tables of Unicode, and the machine may be busy.
unhurried = settings(
    max_examples=effort(50, 200),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

PNG = "iVBORw0KGgo="
DATA_URL = f"data:image/png;base64,{PNG}"


def call(call_id: str, name: str, arguments: str = '{"city":"Oslo"}') -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def said(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def calling(*calls: dict[str, Any], content: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def result(call_id: str, content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def image(url: str, **detail: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **detail}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


CONVERSATION: list[dict[str, Any]] = [
    said("user", "Weather in Oslo, and what is this?\n  "),
    calling(call("c1", "weather"), call("c2", "time", '{"zone":"Europe/Oslo","n":1.5}')),
    result("c1", "3 °C"),
    result("c2", ""),
    said("assistant", "Cold. Show me the picture."),
    said("user", [text("Here:"), image(DATA_URL), image("https://example.org/cat.webp")]),
    calling(call("c3", "look", "{}"), content="I look closer."),
    result("c3", [text("a cat"), text("on a roof")]),
    said("assistant", "A cat."),
]


def moved(
    messages: list[Any], target: str, source: str = "openai.chat", author: str = ""
) -> tuple[list[dict[str, Any]], list[str]]:
    return convert([(source, message, author) for message in messages], target)
