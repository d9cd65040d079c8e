"""Messages of strands-agents, which are those of Bedrock's Converse API: blocks of one key each.

Bytes stand as strands writes them into JSON: ``{"__bytes_encoded__": true, "data": base64}``.
"""

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
    json_text,
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

NAME = "strands"

_BLOCKS = frozenset(
    {"text", "toolUse", "toolResult", "reasoningContent", "image", "document", "video", "audio"}
    | {"cachePoint", "guardContent", "citationsContent"}
)
# What strands notes beside a message says nothing to a model.
_ENVELOPE = frozenset({"role", "content", "tracking_id", "metadata"})
_IMAGES = ("png", "jpeg", "gif", "webp")
_CALL = frozenset({"toolUseId", "name", "input"})
_RESULT = frozenset({"toolUseId", "status", "content"})
_REASONING = frozenset({"reasoningText", "redactedContent"})
_CODES = frozenset({"format", "source", "type", "__bytes_encoded__", "data"})
_USER_PARTS: tuple[type, ...] = (Text, Image, ToolResult)
_ASSISTANT_PARTS: tuple[type, ...] = (Text, ToolCall, Thinking)


def recognises(content: object) -> bool:
    """True for a dict of the role user or assistant and a list of blocks of its keys."""
    if not isinstance(content, dict) or content.get("role") not in ("user", "assistant"):
        return False
    blocks = content.get("content")
    return isinstance(blocks, list) and bool(blocks) and all(map(_is_block, blocks))


def _is_block(block: object) -> bool:
    return isinstance(block, dict) and len(block) > 0 and block.keys() <= _BLOCKS


def project(content: object) -> Projection:
    """The projection of a message; one that only answers tool calls has the role tool."""
    return projection_of(read(content), NAME) if isinstance(content, dict) else other(content, NAME)


def read(content: object, author: str = "") -> list[Message]:
    """The message, its tool results apart from what the user says beside them."""
    if not isinstance(content, dict):
        return unread(content, author, NAME)
    role = text_in(content.get("role"))
    parts = [*parts_of(content.get("content"), _parts), *fields_left(content, _ENVELOPE)]
    return messages_of(role if role in ("user", "assistant") else role_of(author), parts)


def _parts(block: dict[str, JSON]) -> list[Part]:
    return [part for key, value in block.items() for part in _part(key, value)]


def _part(key: str, value: JSON) -> list[Part]:
    match key, value:
        case "toolUse", dict():
            call_id, name = text_in(value.get("toolUseId")), text_in(value.get("name"))
            return [ToolCall(call_id, name, value.get("input", {})), *fields_left(value, _CALL)]
        case "toolResult", dict():
            return _result(value)
        case "reasoningContent", dict():
            return _reasoning(value)
        case _:
            return _shown(key, value)


def _shown(key: str, value: JSON) -> list[Part]:
    match key, value:
        case "text", str():
            return [Text(value)]
        case "json", _:
            return [Text(json_text(value))]
        case "image", dict():
            return [_image(value)]
        case "citationsContent", dict():
            said = lines(strings(value.get("content")))
            return [Text(said), *fields_left(value, frozenset({"content"}))]
        case "cachePoint", _:
            return []
        case _:
            return [Other(f"a block {key!r}", lines(strings(value, _CODES)))]


def _image(image: dict[str, JSON]) -> Part:
    kind = text_in(image.get("format"))
    match image.get("source"):
        case {"bytes": {"data": str(data)}}:
            return Image(media_type=f"image/{kind}", data=data)
        case {"location": {"uri": str(uri)}}:
            return Image(url=uri)
        case _:
            return Other("an image that is neither bytes nor a location")


def _result(result: dict[str, JSON]) -> list[Part]:
    content = tuple(parts_of(result.get("content"), _result_parts))
    failed = result.get("status") == "error"
    answer = ToolResult(text_in(result.get("toolUseId")), content=content, is_error=failed)
    return [answer, *fields_left(result, _RESULT)]


def _result_parts(block: dict[str, JSON]) -> list[Part]:
    return [part for key, value in block.items() for part in _shown(key, value)]


def _reasoning(block: dict[str, JSON]) -> list[Part]:
    told = block.get("reasoningText")
    parts: list[Part] = []
    if isinstance(told, dict):
        parts.append(Thinking(text_in(told.get("text")), text_in(told.get("signature")), NAME))
    if block.get("redactedContent"):
        parts.append(Other("redacted reasoning"))
    return [*parts, *fields_left(block, _REASONING)]


def write(messages: Sequence[Message]) -> tuple[list[dict[str, JSON]], list[str]]:
    """Messages of the roles user and assistant, and the losses.

    Neighbours of one role become one message, and all results of a turn's calls stand in one
    user message, before its text. System and developer text goes: an agent has its own system
    prompt. Blank text goes too, which Bedrock refuses. Arguments that are no JSON object stand
    under "arguments".
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
            one["content"].sort(key=lambda block: "toolResult" not in block)
    return written, losses.lines


def _spelled(message: Message, losses: Losses) -> list[dict[str, JSON]]:
    event = message.event
    if message.role in ("system", "developer"):
        losses.add(
            event, f"{message.role} text belongs in the agent's system_prompt, not in {NAME}"
        )
        return []
    if not message.parts:
        losses.drop(event, "an empty message")
    assistant = message.role == "assistant"
    kinds = _ASSISTANT_PARTS if assistant else _USER_PARTS
    parts = losses.keep(event, message.parts, kinds, " from the assistant" if assistant else "")
    blocks = [_block(part, event, losses) for part in parts]
    return [block for block in blocks if block]


def _block(part: Part, event: int, losses: Losses) -> dict[str, JSON] | None:
    match part:
        case Text(text) if text.strip():
            return {"text": text}
        case Text():
            losses.drop(event, "blank text")
        case Image():
            return _image_block(part, event, losses)
        case ToolCall():
            return {"toolUse": _call(part, event, losses)}
        case ToolResult():
            return {"toolResult": _answer(part, event, losses)}
        case Thinking(text, signature, provider) if provider == NAME:
            told = {"text": text} | ({"signature": signature} if signature else {})
            return {"reasoningContent": {"reasoningText": told}}
        case _:
            losses.drop(event, "thinking of another provider")
    return None


def _image_block(image: Image, event: int, losses: Losses) -> dict[str, JSON] | None:
    kind = image.media_type.removeprefix("image/")
    if image.data and kind in _IMAGES:
        source = {"bytes": {"__bytes_encoded__": True, "data": image.data}}
        return {"image": {"format": kind, "source": source}}
    ending = image.url.rpartition(".")[2].lower().replace("jpg", "jpeg")
    if image.url.startswith("s3://") and ending in _IMAGES:
        location = {"type": "s3", "uri": image.url}
        return {"image": {"format": ending, "source": {"location": location}}}
    losses.drop(event, f"an image of type {image.media_type or image.url[:40]!r}")
    return None


def _call(call: ToolCall, event: int, losses: Losses) -> dict[str, JSON]:
    given = json_object(call.arguments)
    if given is None:
        losses.add(event, f"the arguments of tool call {call.id!r} are no JSON object for {NAME}")
        given = {"arguments": call.arguments}
    return {"toolUseId": call.id, "name": call.name, "input": given}


def _answer(result: ToolResult, event: int, losses: Losses) -> dict[str, JSON]:
    parts = losses.keep(event, result.content, (Text, Image), " in a tool result")
    blocks = [_block(part, event, losses) for part in parts]
    content = [block for block in blocks if block]
    status = "error" if result.is_error else "success"
    return {"toolUseId": result.call_id, "status": status, "content": content}


FORMAT = Format(name=NAME, recognises=recognises, project=project, read=read, write=write)
