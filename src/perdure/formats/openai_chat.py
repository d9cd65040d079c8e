"""Messages of OpenAI's Chat Completions API, which most other providers speak too."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from .format import Format
from .message import (
    JSON,
    Image,
    Losses,
    Message,
    Other,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    fields_left,
    json_text,
    lines,
    messages_of,
    parts_of,
    results_first,
    role_of,
    strings,
    text_in,
    unread,
)
from .picture import image_of, url_of
from .projection import Projection, other, projection_of

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "openai.chat"

_ROLES = {role: role for role in ("user", "assistant", "system", "developer", "tool")}
_ROLES["function"] = "tool"  # The role of tool before there were tools.
_BODIES = frozenset({"content", "tool_calls", "tool_call_id", "function_call", "refusal", "audio"})
_FIELDS = frozenset(
    {"role", "content", "tool_calls", "tool_call_id", "function_call", "refusal"}
    | {"reasoning", "reasoning_content"}
)
_RESULT = _FIELDS | {"name"}
_CALL = frozenset({"id", "type", "function", "index"})
_TEXT = frozenset({"type", "text"})
_IMAGE = frozenset({"type", "image_url"})


def recognises(content: object) -> bool:
    """True for a dict of a known role whose content is text, None or a list of typed parts."""
    if not isinstance(content, dict) or text_in(content.get("role")) not in _ROLES:
        return False
    body = content.get("content")
    if isinstance(body, list):
        return all(isinstance(part, dict) and text_in(part.get("type")) for part in body)
    return (body is None or isinstance(body, str)) and not _BODIES.isdisjoint(content)


def project(content: object) -> Projection:
    """The projection of a chat message."""
    return projection_of(read(content), NAME) if isinstance(content, dict) else other(content, NAME)


def read(content: object, author: str = "") -> list[Message]:
    """The message, in the author's role if it names none it could have.

    The older ``function_call`` and role function are read too; the function's name stands for
    the id they lack. ``reasoning_content`` and ``reasoning``, of other providers, are thinking.
    """
    if not isinstance(content, dict):
        return unread(content, author, NAME)
    role = _ROLES.get(text_in(content.get("role"))) or role_of(author)
    return messages_of(role, _result(content) if role == "tool" else _said(content))


def _result(content: dict[str, JSON]) -> list[Part]:
    name = text_in(content.get("name"))
    call_id = text_in(content.get("tool_call_id")) or name
    result = ToolResult(call_id, name, tuple(parts_of(content.get("content"), _part)))
    return [result, *fields_left(content, _RESULT)]


def _said(content: dict[str, JSON]) -> list[Part]:
    refusal = text_in(content.get("refusal"))
    thoughts = text_in(content.get("reasoning_content")) or text_in(content.get("reasoning"))
    return [
        *([Thinking(thoughts)] if thoughts else []),
        *parts_of(content.get("content"), _part),
        *([Other("a refusal", refusal)] if refusal else []),
        *_calls(content),
        *fields_left(content, _FIELDS),
    ]


def _calls(content: dict[str, JSON]) -> list[Part]:
    calls = content.get("tool_calls")
    parts = [part for call in calls for part in _call(call)] if isinstance(calls, list) else []
    if isinstance(content.get("function_call"), dict):
        function = content["function_call"]
        name = text_in(function.get("name"))
        parts.append(ToolCall(name, name, function.get("arguments", "")))
    return parts


def _call(call: JSON) -> list[Part]:
    if not isinstance(call, dict):
        return [Other("a tool call that is no object", lines(strings(call)))]
    call_id = text_in(call.get("id"))
    if isinstance(custom := call.get("custom"), dict):
        given = {"input": custom.get("input", "")}
        kind = Other(f"the free-form kind of tool call {call_id!r}")
        return [ToolCall(call_id, text_in(custom.get("name")), given), kind]
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    arguments = function.get("arguments", "")
    return [
        ToolCall(call_id, text_in(function.get("name")), arguments),
        *fields_left(call, _CALL),
    ]


def _part(part: dict[str, JSON]) -> list[Part]:
    match part.get("type"):
        case "text":
            return [Text(text_in(part.get("text"))), *fields_left(part, _TEXT)]
        case "image_url":
            return [_image(part), *fields_left(part, _IMAGE)]
        case "refusal":
            return [Other("a refusal", text_in(part.get("refusal")))]
        case kind:
            return [Other(f"a part of type {text_in(kind)!r}", text_in(part.get("text")))]


def _image(part: dict[str, JSON]) -> Part:
    image = part.get("image_url")
    if isinstance(image, dict):
        return image_of(text_in(image.get("url")), text_in(image.get("detail")))
    return image_of(text_in(image))


def write(messages: Sequence[Message]) -> tuple[list[dict[str, JSON]], list[str]]:
    """Chat messages and the losses.

    Each tool result is a message of its own, before anything else that follows the calls; what
    the assistant says and calls between two answers is one message, because all results must
    follow the message that holds their calls. A single text is a str, several are a list.
    Images outside user messages and error marks of results go.
    """
    losses = Losses(NAME)
    written: list[dict[str, JSON]] = []
    for message in messages:
        for one in _spelled(message, losses):
            if written and _continues(written[-1], one):
                written[-1] = _joined(written[-1], one)
            else:
                written.append(one)
    return results_first(written, lambda one: one["role"]), losses.lines


def _spelled(message: Message, losses: Losses) -> list[dict[str, JSON]]:
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    said = [part for part in message.parts if not isinstance(part, ToolResult)]
    written = [_result_message(result, message.event, losses) for result in results]
    if said or not message.parts:
        written.extend(_said_message(message, said, losses))
    return written


def _result_message(result: ToolResult, event: int, losses: Losses) -> dict[str, JSON]:
    parts = losses.keep(event, result.content, (Text,), " in a tool result")
    if result.is_error:
        losses.drop(event, "the error mark of a tool result")
    written: dict[str, JSON] = {"role": "tool", "tool_call_id": result.call_id}
    if result.name:
        written["name"] = result.name
    return {**written, "content": _content(parts)}


def _said_message(message: Message, said: Sequence[Part], losses: Losses) -> list[dict[str, JSON]]:
    # A message needs a call to answer to be the tool's.
    role = "user" if message.role == "tool" else message.role
    place = "" if role == "user" else f" from the {role}"
    kinds = (Text, Image) if role == "user" else (Text, ToolCall)
    parts = losses.keep(message.event, said, kinds, place)
    calls = [_call_of(part) for part in parts if isinstance(part, ToolCall)]
    content = _content([part for part in parts if not isinstance(part, ToolCall)])
    if calls:
        return [{"role": role, "content": content or None, "tool_calls": calls}]
    return [] if said and not parts else [{"role": role, "content": content}]


def _call_of(call: ToolCall) -> dict[str, JSON]:
    function = {"name": call.name, "arguments": json_text(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def _content(parts: Sequence[Part]) -> JSON:
    match parts:
        case []:
            return ""
        case [Text(text)]:
            return text
        case _:
            return [_part_of(part) for part in parts]


def _part_of(part: Part) -> dict[str, JSON]:
    if isinstance(part, Image):
        image = {"url": url_of(part)} | ({"detail": part.detail} if part.detail else {})
        return {"type": "image_url", "image_url": image}
    return {"type": "text", "text": part.text if isinstance(part, Text) else ""}


def _continues(last: dict[str, JSON], new: dict[str, JSON]) -> bool:
    if not last["role"] == new["role"] == "assistant":
        return False
    return "tool_calls" in last or ("tool_calls" in new and new["content"] is None)


def _joined(last: dict[str, JSON], new: dict[str, JSON]) -> dict[str, JSON]:
    contents = [one["content"] for one in (last, new) if one["content"]]
    content: JSON = list(chain.from_iterable(map(_as_parts, contents)))
    if len(contents) <= 1:
        content = contents[0] if contents else None
    calls = [*last.get("tool_calls", ()), *new.get("tool_calls", ())]
    return {"role": "assistant", "content": content, "tool_calls": calls}


def _as_parts(content: JSON) -> list[JSON]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


FORMAT = Format(name=NAME, recognises=recognises, project=project, read=read, write=write)
