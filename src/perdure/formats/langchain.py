"""Messages of LangChain, as ``message_to_dict`` writes them and ``messages_from_dict`` reads them.

They are what LangGraph's graphs keep in their state.
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

NAME = "langchain"

_TYPES = {
    "human": "user",
    "ai": "assistant",
    "system": "system",
    "tool": "tool",
    "function": "tool",  # The type of tool before there were tools.
}
_CHUNKS = {
    "HumanMessageChunk": "human",
    "AIMessageChunk": "ai",
    "SystemMessageChunk": "system",
    "ToolMessageChunk": "tool",
    "FunctionMessageChunk": "function",
    "ChatMessageChunk": "chat",
}
_SPOKEN = {"user": "human", "assistant": "ai", "system": "system", "developer": "system"}
#: Where LangChain notes that a system message is a developer's.
_ROLE = "__openai_role__"
# What a model and its run say of a message says nothing to the next request.
_ENVELOPE = frozenset(
    {"type", "role", "content", "id", "additional_kwargs", "response_metadata", "usage_metadata"}
    | {"tool_calls", "invalid_tool_calls", "tool_call_chunks", "chunk_position", "example"}
)
_RESULT = _ENVELOPE | {"name", "tool_call_id", "status"}
_EXTRA = frozenset({_ROLE, "tool_calls", "function_call", "reasoning_content", "refusal"})
_BLOCK = frozenset({"type", "id", "index", "extras"})
_TEXT = _BLOCK | {"text"}
_CALLS = frozenset({"tool_call", "tool_use", "tool_call_chunk", "function_call"})
_SIGNED_BY = "anthropic"


def recognises(content: object) -> bool:
    """True for a dict of a message's type and its ``data``, which has content."""
    if not isinstance(content, dict) or content.keys() != {"type", "data"}:
        return False
    kind, data = text_in(content["type"]), content["data"]
    known = kind in _TYPES or kind in _CHUNKS or kind == "chat"
    return known and isinstance(data, dict) and "content" in data


def project(content: object) -> Projection:
    """The projection of a message."""
    return projection_of(read(content), NAME) if isinstance(content, dict) else other(content, NAME)


def read(content: object, author: str = "") -> list[Message]:
    """The message; calls that stand in its content too are read once."""
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(data, dict):
        return unread(content, author, NAME)
    role = _role(text_in(content.get("type")), data) or role_of(author)
    return messages_of(role, _result(data) if role == "tool" else _said(data))


def _role(kind: str, data: dict[str, JSON]) -> str:
    kind = _CHUNKS.get(kind, kind)
    if kind == "chat":
        return role_of(text_in(data.get("role")))
    if kind == "system" and _extra(data).get(_ROLE) == "developer":
        return "developer"
    return _TYPES.get(kind, "")


def _extra(data: dict[str, JSON]) -> dict[str, JSON]:
    extra = data.get("additional_kwargs")
    return extra if isinstance(extra, dict) else {}


def _result(data: dict[str, JSON]) -> list[Part]:
    name = text_in(data.get("name"))
    call_id = text_in(data.get("tool_call_id")) or name
    failed = data.get("status") == "error"
    result = ToolResult(call_id, name, tuple(_body(data)), failed)
    return [result, *fields_left(data, _RESULT)]


def _said(data: dict[str, JSON]) -> list[Part]:
    extra = _extra(data)
    calls = [part for name in _LISTS for part in _calls(data.get(name))]
    known = {part.id for part in calls if isinstance(part, ToolCall)}
    body = [one for one in _body(data) if not (isinstance(one, ToolCall) and one.id in known)]
    thoughts, refusal = text_in(extra.get("reasoning_content")), text_in(extra.get("refusal"))
    return [
        *([Thinking(thoughts)] if thoughts else []),
        *body,
        *([Other("a refusal", refusal)] if refusal else []),
        *(calls or _older_call(extra)),
        *fields_left(extra, _EXTRA),
        *fields_left(data, _ENVELOPE),
    ]


_LISTS = ("tool_calls", "invalid_tool_calls")


def _calls(calls: JSON) -> list[Part]:
    return [_call(call) for call in calls] if isinstance(calls, list) else []


def _call(call: JSON) -> Part:
    if not isinstance(call, dict):
        return Other("a tool call that is no object", lines(strings(call)))
    arguments = call.get("args", call.get("input", call.get("arguments", "")))
    given = "" if arguments is None else arguments
    call_id = text_in(call.get("id")) or text_in(call.get("call_id"))
    return ToolCall(call_id, text_in(call.get("name")), given)


def _older_call(extra: dict[str, JSON]) -> list[Part]:
    function = extra.get("function_call")
    if not isinstance(function, dict):
        return []
    name = text_in(function.get("name"))
    return [ToolCall(name, name, function.get("arguments", ""))]


def _body(data: dict[str, JSON]) -> list[Part]:
    body = data.get("content")
    if isinstance(body, list):
        # A list may have bare texts among its blocks.
        body = [{"type": "text", "text": one} if isinstance(one, str) else one for one in body]
    return parts_of(body, _part)


def _part(block: dict[str, JSON]) -> list[Part]:
    kind = text_in(block.get("type"))
    match kind:
        case "text":
            return [Text(text_in(block.get("text"))), *fields_left(block, _TEXT)]
        case "image_url" | "image":
            return [_image(block)]
        case "thinking":
            signature = text_in(block.get("signature"))
            return [Thinking(text_in(block.get("thinking")), signature, _SIGNED_BY)]
        case "reasoning":
            return [Thinking(text_in(block.get("reasoning")) or lines(strings(block)))]
        case _ if kind in _CALLS:
            return [_call(block)]
        case _:
            return [Other(f"a block of type {kind!r}", text_in(block.get("text")))]


def _image(block: dict[str, JSON]) -> Part:
    match block:
        case {"image_url": {"url": str(url)} as image}:
            return image_of(url, text_in(image.get("detail")))
        case {"image_url": str(url)} | {"url": str(url)} | {"source": {"url": str(url)}}:
            return image_of(url)
        case {"base64": str(data)} | {"data": str(data)}:
            return Image(media_type=text_in(block.get("mime_type")), data=data)
        case {"source": {"data": str(data)} as source}:
            return Image(media_type=text_in(source.get("media_type")), data=data)
        case _:
            return Other("an image that is neither data nor a URL")


def write(messages: Sequence[Message]) -> tuple[list[dict[str, JSON]], list[str]]:
    """Messages as ``messages_from_dict`` reads them, and the losses.

    Each tool result is a message of its own, before anything else that follows the calls. A
    single text is a str, several parts are a list. Arguments that are no JSON object stand
    among ``invalid_tool_calls``. Thinking goes, unless Anthropic has signed it.
    """
    losses = Losses(NAME)
    ordered = results_first(messages, lambda message: message.role)
    return [one for message in ordered for one in _spelled(message, losses)], losses.lines


def _spelled(message: Message, losses: Losses) -> list[dict[str, JSON]]:
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    said = [part for part in message.parts if not isinstance(part, ToolResult)]
    written = [_result_message(result, message.event, losses) for result in results]
    if said or not message.parts:
        written.extend(_said_message(message, said, losses))
    return written


def _result_message(result: ToolResult, event: int, losses: Losses) -> dict[str, JSON]:
    parts = losses.keep(event, result.content, (Text, Image), " in a tool result")
    data = {
        "tool_call_id": result.call_id,
        "name": result.name or None,
        "status": "error" if result.is_error else "success",
    }
    return _message("tool", parts, **data)


def _said_message(message: Message, said: Sequence[Part], losses: Losses) -> list[dict[str, JSON]]:
    # A message needs a call to answer to be the tool's.
    kind = _SPOKEN.get(message.role, "human")
    kinds = (Text, ToolCall, Thinking, Image) if kind == "ai" else (Text, Image)
    parts = losses.keep(message.event, said, kinds, "")
    calls = [part for part in parts if isinstance(part, ToolCall)]
    body = [part for part in parts if not isinstance(part, ToolCall) and _can_go(part)]
    if len(body) + len(calls) < len(parts):
        losses.drop(message.event, "thinking that Anthropic has not signed")
    if said and not body and not calls:
        return []
    data: dict[str, JSON] = {}
    if message.role == "developer":
        data["additional_kwargs"] = {_ROLE: "developer"}
    if kind == "ai":
        data |= _called(calls)
    return [_message(kind, body, **data)]


def _can_go(part: Part) -> bool:
    return not isinstance(part, Thinking) or bool(part.signature and part.provider == _SIGNED_BY)


def _called(calls: Sequence[ToolCall]) -> dict[str, JSON]:
    valid: list[JSON] = []
    invalid: list[JSON] = []
    for call in calls:
        one: dict[str, JSON] = {"name": call.name, "id": call.id}
        given = json_object(call.arguments)
        if given is None:
            one |= {"args": json_text(call.arguments), "error": None}
            invalid.append({**one, "type": "invalid_tool_call"})
        else:
            valid.append({**one, "args": given, "type": "tool_call"})
    return {"tool_calls": valid, "invalid_tool_calls": invalid}


def _message(kind: str, parts: Sequence[Part], **data: JSON) -> dict[str, JSON]:
    return {"type": kind, "data": {"content": _content(parts), "type": kind, **data}}


def _content(parts: Sequence[Part]) -> JSON:
    match parts:
        case []:
            return ""
        case [Text(text)]:
            return text
        case _:
            return [_block(part) for part in parts]


def _block(part: Part) -> dict[str, JSON]:
    match part:
        case Image():
            detail = {"detail": part.detail} if part.detail else {}
            image: JSON = {"url": url_of(part), **detail}
            return {"type": "image_url", "image_url": image}
        case Thinking(text=text, signature=signature):
            return {"type": "thinking", "thinking": text, "signature": signature}
        case _:
            return {"type": "text", "text": part.text if isinstance(part, Text) else ""}


FORMAT = Format(name=NAME, recognises=recognises, project=project, read=read, write=write)
