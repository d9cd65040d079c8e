"""Items of OpenAI's Responses API: messages, calls and results side by side in a flat list."""

from __future__ import annotations

from dataclasses import replace
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
    role_of,
    strings,
    text_in,
    unread,
)
from .picture import image_of, url_of
from .projection import Projection, other, projection_of

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "openai.responses"
_PROVIDER = "openai"

_ROLES = frozenset({"user", "assistant", "system", "developer"})
_PARTS = frozenset({"input_text", "output_text", "input_image", "input_file"})
_ITEMS = frozenset(
    {"function_call", "custom_tool_call", "computer_call", "local_shell_call", "shell_call"}
    | {"function_call_output", "custom_tool_call_output", "computer_call_output"}
    | {"local_shell_call_output", "shell_call_output", "apply_patch_call"}
    | {"apply_patch_call_output", "web_search_call", "file_search_call"}
    | {"code_interpreter_call", "image_generation_call", "mcp_call", "mcp_list_tools"}
    | {"tool_search_call", "tool_search_output", "mcp_approval_request", "mcp_approval_response"}
    | {"reasoning", "compaction", "item_reference"}
)
_MESSAGE = frozenset({"type", "role", "content", "id", "status"})
_CALL = frozenset({"type", "id", "call_id", "name", "arguments", "input", "status"})
_OUTPUT = frozenset({"type", "id", "call_id", "output", "status", "name"})
_TEXT = frozenset({"type", "text"})
_IMAGE = frozenset({"type", "image_url", "file_id", "detail"})
_MARKS = ("id", "call_id", "summary", "approval_request_id")
_CODES = frozenset(
    {"type", "role", "id", "call_id", "status", "encrypted_content", "result", "image_url"}
    | {"file_id", "file_data", "approval_request_id", "container_id", "server_label"}
)


def recognises(content: object) -> bool:
    """True for an input or output item: a message of typed parts, a call, an output, reasoning.

    A dict of a role and a plain text is a legal item too, but a chat message first.
    """
    if not isinstance(content, dict):
        return False
    kind, body = content.get("type"), content.get("content")
    if kind in (None, "message") and text_in(content.get("role")) in _ROLES:
        if isinstance(body, list) and body:
            known = _PARTS | {"refusal"} if kind else _PARTS
            return any(isinstance(one, dict) and text_in(one.get("type")) in known for one in body)
        return kind == "message" and isinstance(body, str | list) and "model" not in content
    return text_in(kind) in _ITEMS and not content.keys().isdisjoint(_MARKS)


def project(content: object) -> Projection:
    """The projection of an item; tools that OpenAI runs are tool calls with their result."""
    if not isinstance(content, dict):
        return other(content, NAME)
    projected = projection_of(read(content), NAME)
    kind = text_in(content.get("type"))
    if kind == "compaction":
        return replace(projected, kind="summary")
    if kind.endswith("_call"):
        return replace(projected, kind="tool_call")
    return replace(projected, kind="tool_result") if kind.endswith("_output") else projected


def read(content: object, author: str = "") -> list[Message]:
    """The item as messages; a call is the assistant's, an output the tool's."""
    if not isinstance(content, dict):
        return unread(content, author, NAME)
    call_id = text_in(content.get("call_id")) or text_in(content.get("id"))
    match content.get("type"):
        case "function_call" | "custom_tool_call" as kind:
            return messages_of("assistant", _call(call_id, kind, content))
        case "function_call_output" | "custom_tool_call_output":
            output = tuple(parts_of(content.get("output"), _part))
            left = fields_left(content, _OUTPUT)
            name = text_in(content.get("name"))
            return messages_of("tool", [ToolResult(call_id, name, output), *left])
        case "reasoning":
            return messages_of("assistant", [_thinking(content)])
        case None | "message":
            return _message(content, author)
        case kind:
            return [_unknown(text_in(kind), call_id, content)]


def _message(content: dict[str, JSON], author: str) -> list[Message]:
    role = text_in(content.get("role"))
    parts = parts_of(content.get("content"), _part)
    left = fields_left(content, _MESSAGE)
    return messages_of(role if role in _ROLES else role_of(author), [*parts, *left])


def _call(call_id: str, kind: str, content: dict[str, JSON]) -> list[Part]:
    name = text_in(content.get("name"))
    left = fields_left(content, _CALL)
    if kind == "function_call":
        return [ToolCall(call_id, name, content.get("arguments", "")), *left]
    given = {"input": content.get("input", "")}
    kept = Other(f"the free-form kind of tool call {call_id!r}")
    return [ToolCall(call_id, name, given), kept, *left]


def _thinking(content: dict[str, JSON]) -> Part:
    text = lines(strings([content.get("summary"), content.get("content")]))
    return Thinking(text, text_in(content.get("encrypted_content")), _PROVIDER)


def _unknown(kind: str, call_id: str, content: dict[str, JSON]) -> Message:
    what = f"an item of type {kind!r}"
    text = lines(strings(content, _CODES))
    ids = (call_id,) if call_id else ()
    if kind.endswith("_output"):
        return Message("tool", (Other(what, text, results=ids),))
    if kind.endswith("_call"):
        # Without a call_id OpenAI runs the tool itself: no other item answers.
        answered = () if "call_id" in content else ids
        return Message("assistant", (Other(what, text, calls=ids, results=answered),))
    return Message("assistant", (Other(what, text),))


def _part(part: dict[str, JSON]) -> list[Part]:
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return [Text(text_in(part.get("text"))), *fields_left(part, _TEXT)]
        case "input_image":
            return [_image(part), *fields_left(part, _IMAGE)]
        case "refusal":
            return [Other("a refusal", text_in(part.get("refusal")))]
        case kind:
            return [Other(f"a part of type {text_in(kind)!r}", text_in(part.get("text")))]


def _image(part: dict[str, JSON]) -> Part:
    if url := text_in(part.get("image_url")):
        return image_of(url, text_in(part.get("detail")))
    return Other("an image without a URL")


def write(messages: Sequence[Message]) -> tuple[list[dict[str, JSON]], list[str]]:
    """Input items and the losses.

    Each call and each result is an item of its own, in order, its arguments JSON text; what is
    said between them is a message, output_text from the assistant and input_text from the
    others. Images from the assistant and error marks of results go.
    """
    losses = Losses(NAME)
    items = [_spelled(message, losses) for message in messages]
    return list(chain.from_iterable(items)), losses.lines


def _spelled(message: Message, losses: Losses) -> list[dict[str, JSON]]:
    # There is no role tool: what a tool says that answers no call is input.
    role = "user" if message.role == "tool" else message.role
    kinds = (Text, ToolCall, ToolResult, Thinking) + ((Image,) if role != "assistant" else ())
    place = " from the assistant" if role == "assistant" else ""
    parts = losses.keep(message.event, message.parts, kinds, place)
    items: list[dict[str, JSON]] = [] if message.parts else [_said(role, [])]
    said: list[dict[str, JSON]] = []
    for part in parts:
        if isinstance(part, Text | Image):
            said.append(_part_of(part, role))
            continue
        items += [_said(role, said)] if said else []
        said = []
        items += _item(part, message.event, losses)
    return items + ([_said(role, said)] if said else [])


def _said(role: str, parts: list[dict[str, JSON]]) -> dict[str, JSON]:
    return {"type": "message", "role": role, "content": parts}


def _part_of(part: Text | Image, role: str) -> dict[str, JSON]:
    if isinstance(part, Image):
        return {"type": "input_image", "image_url": url_of(part)} | (
            {"detail": part.detail} if part.detail else {}
        )
    if role == "assistant":
        # The API does without annotations, other servers that speak it do not.
        return {"type": "output_text", "text": part.text, "annotations": []}
    return {"type": "input_text", "text": part.text}


def _item(part: Part, event: int, losses: Losses) -> list[dict[str, JSON]]:
    match part:
        case ToolCall(call_id, name, arguments):
            call = {"type": "function_call", "call_id": call_id, "name": name}
            return [{**call, "arguments": json_text(arguments)}]
        case ToolResult():
            return [_output(part, event, losses)]
        case Thinking(text, signature, provider) if signature and provider == _PROVIDER:
            summary = [{"type": "summary_text", "text": text}] if text else []
            return [{"type": "reasoning", "summary": summary, "encrypted_content": signature}]
        case _:
            losses.drop(event, "thinking that OpenAI has not encrypted")
            return []


def _output(result: ToolResult, event: int, losses: Losses) -> dict[str, JSON]:
    parts = losses.keep(event, result.content, (Text, Image), " in a tool result")
    if result.is_error:
        losses.drop(event, "the error mark of a tool result")
    output: JSON = [_part_of(part, "user") for part in parts if isinstance(part, Text | Image)]
    if not parts:
        output = ""
    elif len(parts) == 1 and isinstance(parts[0], Text):
        output = parts[0].text
    return {"type": "function_call_output", "call_id": result.call_id, "output": output}


FORMAT = Format(name=NAME, recognises=recognises, project=project, read=read, write=write)
