"""Messages of pydantic-ai: requests and responses, a list of parts in each."""

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
    json_text,
    lines,
    messages_of,
    parts_of,
    strings,
    text_in,
    unread,
)
from .projection import Projection, other, projection_of

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "pydantic"

_KINDS = frozenset({"request", "response"})
#: What a message says of itself says nothing to another framework.
_ENVELOPE = frozenset(
    {"parts", "kind", "timestamp", "run_id", "conversation_id", "metadata", "state", "usage"}
    | {"model_name", "model_id", "provider_name", "provider_url", "provider_details"}
    | {"provider_response_id", "finish_reason", "canonical_system", "workspace_ref"}
    | {"history_digest", "failed_attempts", "vendor_id", "vendor_details"}
)
_CODES = frozenset(
    {"part_kind", "kind", "id", "tool_call_id", "timestamp", "provider_name", "provider_details"}
    | {"tool_kind", "metadata", "dynamic_ref", "context_id", "scope", "data", "media_type"}
    | {"identifier", "signature", "outcome", "retry"}
)
_FAILED = frozenset({"failed", "denied", "interrupted", "retried"})
_SAYS_WITHOUT = frozenset({"system", "developer"})


def recognises(content: object) -> bool:
    """True for a dict of the kind request or response whose parts each name their kind."""
    if not isinstance(content, dict) or text_in(content.get("kind")) not in _KINDS:
        return False
    parts = content.get("parts")
    return isinstance(parts, list) and all(
        isinstance(part, dict) and isinstance(part.get("part_kind"), str) for part in parts
    )


def project(content: object) -> Projection:
    """The projection of a message; one that only answers tool calls has the role tool."""
    if not isinstance(content, dict):
        return other(content, NAME)
    return projection_of(read(content), NAME)


def read(content: object, author: str = "") -> list[Message]:
    """The messages of a request, one for each role that speaks in it, or that of a response."""
    if not isinstance(content, dict) or not isinstance(content.get("parts"), list):
        return unread(content, author, NAME)
    responds = content.get("kind") == "response"
    role = "assistant" if responds else "user"
    messages: list[Message] = []
    said: list[Part] = []
    for part in content["parts"]:
        if isinstance(part, dict) and part.get("part_kind") == "system-prompt":
            messages += messages_of(role, said) if said else []
            messages.append(Message("system", (Text(text_in(part.get("content"))),)))
            said = []
        else:
            said += _part(part, responds)
    said += fields_left(content, _ENVELOPE)
    return messages + (messages_of(role, said) if said or not messages else [])


def _part(part: JSON, responds: bool) -> list[Part]:
    if not isinstance(part, dict):
        return [Other("a part that is no object", lines(strings(part)))]
    match part.get("part_kind"):
        case "user-prompt":
            return _prompt(part.get("content"))
        case "tool-return":
            return [_result(part, failed=text_in(part.get("outcome")) in _FAILED)]
        case "retry-prompt" if part.get("tool_name"):
            return [_result(part, failed=True)]
        case "file" if responds:
            return [_shown(part.get("content"))]
        case kind:
            return [_spoken(text_in(kind), part)]


def _spoken(kind: str, part: dict[str, JSON]) -> Part:
    if kind == "text":
        return Text(text_in(part.get("content")))
    if kind == "tool-call":
        args, name = part.get("args"), text_in(part.get("tool_name"))
        return ToolCall(text_in(part.get("tool_call_id")), name, "" if args is None else args)
    if kind == "thinking":
        words, proof = text_in(part.get("content")), text_in(part.get("signature"))
        return Thinking(words, proof, text_in(part.get("provider_name")))
    return _unknown(kind, part)


def _prompt(content: JSON) -> list[Part]:
    if not isinstance(content, list):
        return parts_of(content, lambda part: [_shown(part)])
    return [Text(part) if isinstance(part, str) else _shown(part) for part in content]


def _shown(part: JSON) -> Part:
    if not isinstance(part, dict):
        return Other("a part that is no object", lines(strings(part)))
    kind, media_type = text_in(part.get("kind")), text_in(part.get("media_type"))
    if kind == "text-content":
        return Text(text_in(part.get("content")))
    if kind == "image-url":
        return Image(url=text_in(part.get("url")))
    if kind == "binary" and media_type.startswith("image/"):
        # Their base64 is that of URLs.
        data = text_in(part.get("data")).replace("-", "+").replace("_", "/")
        return Image(media_type=media_type, data=data)
    return Other(f"content of kind {kind!r}", text_in(part.get("content")))


def _result(part: dict[str, JSON], *, failed: bool) -> Part:
    content = part.get("content")
    words = "" if content is None else json_text(content)
    call_id, name = text_in(part.get("tool_call_id")), text_in(part.get("tool_name"))
    return ToolResult(call_id, name, (Text(words),) if words else (), failed)


def _unknown(kind: str, part: dict[str, JSON]) -> Part:
    what = f"a part of kind {kind!r}"
    text = lines(strings(part, _CODES))
    call_id = text_in(part.get("tool_call_id"))
    ids = (call_id,) if call_id else ()
    if kind == "builtin-tool-call":
        return Other(what, text, calls=ids)
    if kind == "builtin-tool-return":
        return Other(what, text, results=ids)
    return Other(what, text)


def write(messages: Sequence[Message]) -> tuple[list[dict[str, JSON]], list[str]]:
    """Requests and responses in turn, and the losses.

    Neighbours that are not the assistant's become one request, those that are one response.
    Images from the assistant stay as files where their data is there. Pictures in a tool's result
    go, and so does a detail.
    """
    losses = Losses(NAME)
    written: list[dict[str, JSON]] = []
    for message in messages:
        responds = message.role == "assistant"
        parts = _spelled(message, losses)
        kind = "response" if responds else "request"
        if parts and written and written[-1]["kind"] == kind:
            written[-1]["parts"].extend(parts)
        elif parts:
            written.append({"kind": kind, "parts": parts})
    return written, losses.lines


def _spelled(message: Message, losses: Losses) -> list[dict[str, JSON]]:
    if message.role == "assistant":
        kinds: tuple[type, ...] = (Text, ToolCall, Thinking, Image)
        parts = losses.keep(message.event, message.parts, kinds)
        spelled = [_answered(part, message.event, losses) for part in parts]
        return [part for part in spelled if part]
    kinds = (Text, ToolResult) if message.role in _SAYS_WITHOUT else (Text, ToolResult, Image)
    parts = losses.keep(message.event, message.parts, kinds, f" from the {message.role}")
    return _asked(message, parts, losses)


def _answered(part: Part, event: int, losses: Losses) -> dict[str, JSON] | None:
    match part:
        case Text(text):
            return {"part_kind": "text", "content": text}
        case ToolCall(call_id, name, arguments):
            args = arguments if isinstance(arguments, dict) else json_text(arguments)
            call = {"part_kind": "tool-call", "tool_name": name, "args": args}
            return {**call, "tool_call_id": call_id}
        case Thinking(text, signature, provider) if signature and provider:
            proof = {"signature": signature, "provider_name": provider}
            return {"part_kind": "thinking", "content": text, **proof}
        case Thinking(text):
            return {"part_kind": "thinking", "content": text}
        case Image(media_type, data) if data:
            return {"part_kind": "file", "content": _binary(media_type, data)}
        case _:
            losses.drop(event, "an image from the assistant that is not data")
            return None


def _asked(message: Message, parts: Sequence[Part], losses: Losses) -> list[dict[str, JSON]]:
    spelled: list[dict[str, JSON]] = []
    said: list[JSON] = []
    for part in parts:
        if isinstance(part, ToolResult):
            spelled += [_prompted(message.role, said)] if said else []
            spelled.append(_returned(part, message.event, losses))
            said = []
        elif isinstance(part, Image):
            said.append(_pictured(part, message.event, losses))
        elif isinstance(part, Text):
            said.append(part.text)
    return spelled + ([_prompted(message.role, said)] if said else [])


def _prompted(role: str, said: list[JSON]) -> dict[str, JSON]:
    if role in _SAYS_WITHOUT:
        return {"part_kind": "system-prompt", "content": "\n".join(map(str, said))}
    plain = len(said) == 1 and isinstance(said[0], str)
    return {"part_kind": "user-prompt", "content": said[0] if plain else said}


def _pictured(image: Image, event: int, losses: Losses) -> dict[str, JSON]:
    if image.detail not in ("", "auto"):
        losses.drop(event, f"image detail {image.detail!r}")
    if image.url:
        return {"kind": "image-url", "url": image.url}
    return _binary(image.media_type, image.data)


def _binary(media_type: str, data: str) -> dict[str, JSON]:
    kept = data.replace("+", "-").replace("/", "_")
    return {"kind": "binary", "data": kept, "media_type": media_type or "image/png"}


def _returned(result: ToolResult, event: int, losses: Losses) -> dict[str, JSON]:
    parts = losses.keep(event, result.content, (Text,), " in a tool result")
    content = "\n".join(part.text for part in parts if isinstance(part, Text))
    returned = {"part_kind": "tool-return", "tool_name": result.name, "content": content}
    outcome = {"outcome": "failed"} if result.is_error else {}
    return {**returned, "tool_call_id": result.call_id, **outcome}


FORMAT = Format(name=NAME, recognises=recognises, project=project, read=read, write=write)
