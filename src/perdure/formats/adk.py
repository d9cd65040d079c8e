"""Contents of Google's ADK, which are those of the Gemini API: a role, and a list of parts."""

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
    role_of,
    strings,
    text_in,
    unread,
)
from .projection import Projection, other, projection_of

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "adk"
_PROVIDER = "google"
_MODEL = "model"
_ROLES = frozenset({"user", _MODEL})
#: A part is what it has one of; beside it stand marks. Gemini's own JSON writes them joined up.
_KINDS = (
    "text", "function_call", "function_response", "inline_data", "file_data", "executable_code",
    "code_execution_result",
)  # fmt: skip
_JOINED = {
    "functionCall": "function_call",
    "functionResponse": "function_response",
    "inlineData": "inline_data",
    "fileData": "file_data",
    "executableCode": "executable_code",
    "codeExecutionResult": "code_execution_result",
    "thoughtSignature": "thought_signature",
    "mimeType": "mime_type",
    "fileUri": "file_uri",
}
_SAID = frozenset({"role", "parts"})
_TEXT = frozenset({"text", "thought", "thought_signature"})
_CALL = frozenset({"id", "name", "args"})
_RESULT = frozenset({"id", "name", "response"})
_BLOB = frozenset({"mime_type", "data"})
_FILE = frozenset({"mime_type", "file_uri"})
#: What a tool's answer stands under when it is no object itself.
_ANSWERS = ("result", "output", "error")
#: The Python of Google writes bytes in the alphabet for URLs, the others do not.
_TO_PLAIN = str.maketrans("-_", "+/")
_TO_URLS = str.maketrans("+/", "-_")


def recognises(content: object) -> bool:
    """True for a dict of parts, each of a kind that Gemini has, and a role of its, or none."""
    if not isinstance(content, dict) or not content.keys() <= _SAID:
        return False
    parts = content.get("parts")
    if not isinstance(parts, list) or not parts or content.get("role", "user") not in _ROLES:
        return False
    return all(isinstance(part, dict) and _kind(_spread(part)) for part in parts)


def _kind(part: dict[str, JSON]) -> str:
    return next((kind for kind in _KINDS if part.get(kind) is not None), "")


def _spread(value: dict[str, JSON]) -> dict[str, JSON]:
    """The object with the names that Python uses."""
    if value.keys().isdisjoint(_JOINED):
        return value
    return {_JOINED.get(name, name): field for name, field in value.items()}


def project(content: object) -> Projection:
    """The projection of a content; one that only answers tool calls has the role tool."""
    if type(content) is dict and (found := _plain_text(content)):
        return found
    messages = read(content) if isinstance(content, dict) else []
    return projection_of(messages, NAME) if messages else other(content, NAME)


def _plain_text(content: dict[str, JSON]) -> Projection | None:
    """The projection of what most contents are: one text. It takes a tenth of the time."""
    role, parts = content.get("role"), content.get("parts")
    if content.keys() != _SAID or type(parts) is not list or len(parts) != 1:
        return None
    speaker = "assistant" if role == _MODEL else "user" if role == "user" else None
    [part] = parts
    if speaker is None or type(part) is not dict or len(part) != 1:
        return None
    text = part.get("text")
    if type(text) is not str or "\0" in text:
        return None
    return Projection("message", speaker, text, (), (), NAME)


def read(content: object, author: str = "") -> list[Message]:
    """The content as messages; tool results apart. Without parts there is none."""
    if not isinstance(content, dict):
        return unread(content, author, NAME)
    given = content.get("parts")
    parts: list[Part] = []
    for one in given if isinstance(given, list) else [] if given is None else [given]:
        if isinstance(one, dict):
            parts += _part(_spread(one))
        else:
            parts.append(Other("a part that is no object", lines(strings(one))))
    parts += fields_left(content, _SAID)
    role = text_in(content.get("role"))
    speaker = "assistant" if role == _MODEL else role if role == "user" else role_of(author)
    return messages_of(speaker, parts) if parts else []


def _part(part: dict[str, JSON]) -> list[Part]:
    kind = _kind(part)
    inner = part.get(kind)
    marks = fields_left(part, _TEXT | {kind})
    if kind == "text":
        return [*_said(part, text_in(inner)), *marks]
    signed: list[Part] = []
    if part.get("thought_signature"):
        signed.append(Other("the signature of a thought"))
    if not isinstance(inner, dict):
        return [Other(f"a part of {kind or 'no kind'}", lines(strings(part))), *signed]
    value = _spread(inner)
    match kind:
        case "function_call":
            found = _call(value)
        case "function_response":
            found = _result(value)
        case "inline_data":
            found = _blob(value)
        case "file_data":
            found = _file(value)
        case _:
            found = [Other(f"a part of {kind}", lines(strings(value)))]
    return [*found, *signed, *marks]


def _said(part: dict[str, JSON], text: str) -> list[Part]:
    signature = text_in(part.get("thought_signature"))
    if part.get("thought"):
        return [Thinking(text, signature, _PROVIDER)]
    return [Text(text), *([Other("the signature of a thought")] if signature else [])]


def _call(call: dict[str, JSON]) -> list[Part]:
    made = ToolCall(text_in(call.get("id")), text_in(call.get("name")), call.get("args") or {})
    return [made, *fields_left(call, _CALL)]


def _result(result: dict[str, JSON]) -> list[Part]:
    response = result.get("response")
    is_error = isinstance(response, dict) and response.keys() == {"error"}
    texts = tuple(Text(text) for text in _answers(response))
    call_id, name = text_in(result.get("id")), text_in(result.get("name"))
    made = ToolResult(call_id, name, texts, is_error)
    return [made, *fields_left(result, _RESULT)]


def _answers(response: JSON) -> list[str]:
    """What a tool said: its words, where the response is no more than a wrap around them."""
    if isinstance(response, dict) and len(response) == 1:
        [(name, answer)] = response.items()
        if name in _ANSWERS:
            if isinstance(answer, str):
                return [answer] if answer else []
            if isinstance(answer, list) and all(isinstance(one, str) for one in answer):
                return answer
    return [json_text({} if response is None else response)]


def _blob(blob: dict[str, JSON]) -> list[Part]:
    media_type = text_in(blob.get("mime_type"))
    left = fields_left(blob, _BLOB)
    if media_type.startswith("image/"):
        return [Image(media_type, text_in(blob.get("data")).translate(_TO_PLAIN)), *left]
    return [Other(f"a part of type {media_type!r}"), *left]


def _file(file: dict[str, JSON]) -> list[Part]:
    media_type, uri = text_in(file.get("mime_type")), text_in(file.get("file_uri"))
    left = fields_left(file, _FILE)
    if media_type.startswith("image/") and uri:
        return [Image(url=uri), *left]
    return [Other(f"a file of type {media_type!r}", uri), *left]


def write(messages: Sequence[Message]) -> tuple[list[dict[str, JSON]], list[str]]:
    """A content for each message, and the losses.

    What the system says is the user's, since a conversation of Gemini has no third role. A tool's
    answer is ``{"result": text}``, or ``{"error": text}``; it gets the name of its call.
    """
    losses = Losses(NAME)
    names: dict[str, str] = {}
    written: list[dict[str, JSON]] = []
    for message in messages:
        if message.role in {"system", "developer"}:
            losses.add(message.event, f"system text is the user's in {NAME}")
        parts = _written(message, names, losses)
        if parts:
            role = _MODEL if message.role == "assistant" else "user"
            written.append({"role": role, "parts": parts})
    return written, losses.lines


def _written(message: Message, names: dict[str, str], losses: Losses) -> list[dict[str, JSON]]:
    kinds = (Text, Image, ToolCall, ToolResult, Thinking)
    parts: list[dict[str, JSON]] = []
    for part in losses.keep(message.event, message.parts, kinds):
        match part:
            case Text(text):
                parts.append({"text": text})
            case Image():
                parts.append(_image(part))
                if part.detail not in {"", "auto"}:
                    losses.drop(message.event, f"image detail {part.detail!r}")
            case ToolCall(call_id, name, arguments):
                names[call_id] = name
                args = json_object(arguments)
                call = {"id": call_id, "name": name}
                parts.append({"function_call": {**call, "args": _args(arguments, args)}})
            case ToolResult():
                parts.append(_answer(part, names, message.event, losses))
            case Thinking(text, signature, provider) if provider == _PROVIDER:
                signed = {"thought_signature": signature} if signature else {}
                parts.append({"text": text, "thought": True, **signed})
            case _:
                losses.drop(message.event, "thinking of another provider")
    return parts


def _args(arguments: JSON, found: dict[str, JSON] | None) -> dict[str, JSON]:
    return {"input": arguments} if found is None else found


def _image(image: Image) -> dict[str, JSON]:
    if image.url:
        # Gemini wants a type; who wrote the URL need not have known one.
        return {"file_data": {"file_uri": image.url, "mime_type": image.media_type or "image/*"}}
    data = image.data.translate(_TO_URLS)
    return {"inline_data": {"mime_type": image.media_type, "data": data}}


def _answer(
    result: ToolResult, names: dict[str, str], event: int, losses: Losses
) -> dict[str, JSON]:
    parts = losses.keep(event, result.content, (Text,), " in a tool result")
    texts = [part.text for part in parts if isinstance(part, Text)]
    answer: JSON = texts if len(texts) > 1 else "".join(texts)
    name = result.name or names.get(result.call_id, "")
    response = {"error" if result.is_error else "result": answer}
    return {"function_response": {"id": result.call_id, "name": name, "response": response}}


FORMAT = Format(name=NAME, recognises=recognises, project=project, read=read, write=write)
