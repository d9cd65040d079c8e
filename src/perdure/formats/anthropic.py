"""Messages of Anthropic's Messages API: two roles, and a list of blocks in each message."""

from __future__ import annotations

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
    json_object,
    lines,
    messages_of,
    parts_of,
    role_of,
    strings,
    text_in,
    unread,
)
from .projection import Projection, other, projection_of

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "anthropic"

_ROLES = frozenset({"user", "assistant", "system"})
_BLOCKS = frozenset(
    {"text", "image", "document", "search_result", "container_upload", "compaction"}
    | {"thinking", "redacted_thinking", "tool_use", "tool_result"}
    | {"server_tool_use", "mcp_tool_use", "mcp_tool_result"}
)
_CHAT_FIELDS = frozenset(
    {"name", "tool_calls", "tool_call_id", "function_call", "refusal", "audio", "annotations"}
)
_SERVER_RESULT = "_tool_result"
# What a response wraps around its message says nothing to the next request.
_ENVELOPE = frozenset(
    {"id", "type", "role", "content", "model", "stop_reason", "stop_sequence", "usage"}
    | {"stop_details", "container", "context_management"}
)
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_CODES = frozenset(
    {"type", "id", "tool_use_id", "encrypted_content", "data", "source", "citations"}
)
_SYSTEM = ("system", "developer")
_ASSISTANT_PARTS: tuple[type, ...] = (Text, ToolCall, Thinking)
_USER_PARTS: tuple[type, ...] = (Text, Image, ToolResult)
_TEXT = frozenset({"type", "text"})
_IMAGE = frozenset({"type", "source"})
_CALL = frozenset({"type", "id", "name", "input", "caller"})
_RESULT = frozenset({"type", "tool_use_id", "content", "is_error"})


def recognises(content: object) -> bool:
    """True for a dict of the role user or assistant and a list of blocks of its types.

    A list of nothing but text blocks could be OpenAI's too; it is taken to be Anthropic's,
    whose users write such lists most, unless fields say otherwise.
    """
    if not isinstance(content, dict) or content.get("role") not in ("user", "assistant"):
        return False
    blocks = content.get("content")
    if not isinstance(blocks, list) or not blocks or not _CHAT_FIELDS.isdisjoint(content):
        return False
    return all(
        isinstance(block, dict) and _is_block(text_in(block.get("type"))) for block in blocks
    )


def _is_block(kind: str) -> bool:
    return kind in _BLOCKS or kind.endswith(_SERVER_RESULT)


def project(content: object) -> Projection:
    """The projection of a message; one that only answers tool calls has the role tool."""
    return projection_of(read(content), NAME) if isinstance(content, dict) else other(content, NAME)


def read(content: object, author: str = "") -> list[Message]:
    """The message, its tool results apart from what the user says beside them."""
    if not isinstance(content, dict):
        return unread(content, author, NAME)
    role = text_in(content.get("role"))
    parts = parts_of(content.get("content"), _part)
    return messages_of(
        role if role in _ROLES else role_of(author), [*parts, *fields_left(content, _ENVELOPE)]
    )


def _part(block: dict[str, JSON]) -> list[Part]:
    match block.get("type"):
        case "thinking":
            text, signature = text_in(block.get("thinking")), text_in(block.get("signature"))
            return [Thinking(text, signature, NAME)]
        case "tool_use":
            call_id, name = text_in(block.get("id")), text_in(block.get("name"))
            return [ToolCall(call_id, name, block.get("input", {})), *fields_left(block, _CALL)]
        case "tool_result":
            return _result(block)
        case _:
            return _shown(block)


def _shown(block: dict[str, JSON]) -> list[Part]:
    match block.get("type"):
        case "text":
            return [Text(text_in(block.get("text"))), *fields_left(block, _TEXT)]
        case "image":
            return [_image(block.get("source")), *fields_left(block, _IMAGE)]
        case kind:
            return [_unknown(text_in(kind), block)]


def _image(source: JSON) -> Part:
    match source:
        case {"type": "base64", "data": str(data)}:
            return Image(media_type=text_in(source.get("media_type")), data=data)
        case {"type": "url", "url": str(url)}:
            return Image(url=url)
        case _:
            return Other("an image that is neither data nor a URL")


def _result(block: dict[str, JSON]) -> list[Part]:
    content = tuple(parts_of(block.get("content"), _shown))
    failed = block.get("is_error") is True
    result = ToolResult(text_in(block.get("tool_use_id")), content=content, is_error=failed)
    return [result, *fields_left(block, _RESULT)]


def _unknown(kind: str, block: dict[str, JSON]) -> Part:
    what = f"a block of type {kind!r}"
    if kind == "document":
        return Other(what, lines([text_in(block.get("title")), _document_text(block)]))
    text = "" if kind == "redacted_thinking" else lines(strings(block, _CODES))
    if kind in ("server_tool_use", "mcp_tool_use"):
        return Other(what, text, calls=_ids(block.get("id")))
    if kind.endswith(_SERVER_RESULT):
        return Other(what, text, results=_ids(block.get("tool_use_id")))
    return Other(what, text)


def _ids(value: JSON) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) and value else ()


def _document_text(block: dict[str, JSON]) -> str:
    match block.get("source"):
        case {"type": "text", "data": str(text)}:
            return text
        case {"type": "content", "content": inner}:
            return lines(strings(inner, _CODES))
        case _:
            return ""


def write(messages: Sequence[Message]) -> tuple[list[dict[str, JSON]], list[str]]:
    """Messages of the roles user and assistant, and the losses.

    Neighbours of one role become one message, so that the roles alternate; all results of a
    turn's calls stand in one user message, before its text. System and developer text goes: it
    belongs in the request's ``system`` field, for which `system_text` gives it. Blank text,
    which the API refuses, goes too. Arguments that are no JSON object stand under "arguments".
    """
    losses = Losses(NAME)
    written: list[dict[str, JSON]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _spelled(message, losses)
        if blocks and written and written[-1]["role"] == role:
            written[-1]["content"].extend(blocks)
        elif blocks:
            written.append({"role": role, "content": blocks})
    for one in written:
        if one["role"] == "user":
            one["content"].sort(key=lambda block: block["type"] != "tool_result")
    return written, losses.lines


def system_text(messages: Sequence[Message]) -> str:
    """The system and developer texts that `write` leaves out, a blank line between two."""
    said = [
        lines(part.text for part in message.parts if isinstance(part, Text | Other))
        for message in messages
        if message.role in _SYSTEM
    ]
    return "\n\n".join(text for text in said if text)


def _spelled(message: Message, losses: Losses) -> list[dict[str, JSON]]:
    if message.role in _SYSTEM:
        where = "belongs in the request's system field, not among the messages"
        losses.add(message.event, f"{message.role} text {where} of {NAME}")
        return []
    if not message.parts:
        losses.drop(message.event, "an empty message")
    assistant = message.role == "assistant"
    kinds = _ASSISTANT_PARTS if assistant else _USER_PARTS
    place = " from the assistant" if assistant else ""
    parts = losses.keep(message.event, message.parts, kinds, place)
    blocks = [_block(part, message.event, losses) for part in parts]
    return [block for block in blocks if block]


def _block(part: Part, event: int, losses: Losses) -> dict[str, JSON] | None:
    match part:
        case Text():
            return _text_block(part, event, losses)
        case Image():
            return _image_block(part, event, losses)
        case ToolCall():
            return _call_block(part, event, losses)
        case ToolResult():
            return _result_block(part, event, losses)
        case Thinking(text, signature, provider) if signature and provider == NAME:
            return {"type": "thinking", "thinking": text, "signature": signature}
        case _:
            losses.drop(event, "thinking that Anthropic has not signed")
            return None


def _text_block(text: Text, event: int, losses: Losses) -> dict[str, JSON] | None:
    if text.text.strip():
        return {"type": "text", "text": text.text}
    losses.drop(event, "blank text")
    return None


def _image_block(image: Image, event: int, losses: Losses) -> dict[str, JSON] | None:
    if image.detail not in ("", "auto"):
        losses.drop(event, f"image detail {image.detail!r}")
    if image.url.startswith(("https:", "http:")):
        return {"type": "image", "source": {"type": "url", "url": image.url}}
    if image.url or image.media_type not in _IMAGES:
        losses.drop(event, f"an image of type {image.media_type or image.url[:40]!r}")
        return None
    source = {"type": "base64", "media_type": image.media_type, "data": image.data}
    return {"type": "image", "source": source}


def _call_block(call: ToolCall, event: int, losses: Losses) -> dict[str, JSON]:
    given = json_object(call.arguments)
    if given is None:
        losses.add(event, f"the arguments of tool call {call.id!r} are no JSON object for {NAME}")
        given = {"arguments": call.arguments}
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": given}


def _result_block(result: ToolResult, event: int, losses: Losses) -> dict[str, JSON]:
    parts = losses.keep(event, result.content, (Text, Image), " in a tool result")
    blocks = [_block(part, event, losses) for part in parts]
    content: JSON = [block for block in blocks if block]
    if len(parts) == 1 and isinstance(parts[0], Text):
        content = parts[0].text
    written = {"type": "tool_result", "tool_use_id": result.call_id, "content": content}
    return written | ({"is_error": True} if result.is_error else {})


FORMAT = Format(name=NAME, recognises=recognises, project=project, read=read, write=write)
