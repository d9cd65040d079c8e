"""Each framework as somebody who writes a conversation, reads one, and goes on with it."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from google.adk.events import Event
from google.genai import types
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from pydantic_ai.conversation import Conversation
from pydantic_ai.messages import (
    BinaryContent,
    ModelRequest,
    ModelResponse,
    RetryPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from perdure import Store
from perdure.adapters.adk import PerdureSessionService
from perdure.adapters.claude import PerdureSessionStore
from perdure.adapters.langgraph import aadd_messages, aload_messages
from perdure.adapters.openai_agents import PerdureSession
from perdure.adapters.pydantic_ai import PerdureConversationStore
from perdure.records import SessionKey

APP, USER = "shop", "ada"
#: Claude's transcripts are known by UUIDs.
ID = "7b1d7a52-6c0e-4f0e-9d2f-3a3f0a5f3c11"
KEY = SessionKey(APP, USER, ID)

QUESTION, LOOKING, PLACE, ANSWER = "Where is order 7?", "I look.", "In London.", "It is in London."
ARGS = {"order": 7}
THANKS, WELCOME = "Thanks.", "You are welcome."

#: What everybody reads of a conversation, whatever their objects look like.
Seen = list[tuple[Any, ...]]
TALK: Seen = [
    ("user", QUESTION),
    ("assistant", LOOKING),
    ("call", "c1", "track", ARGS),
    ("result", "c1", PLACE),
    ("assistant", ANSWER),
]
MORE: Seen = [("user", THANKS), ("assistant", WELCOME)]


class Framework(NamedTuple):
    """What a framework does with the session, through its adapter alone."""

    name: str
    write: Callable[[Store], Awaitable[None]]
    read: Callable[[Store], Awaitable[Seen]]
    go_on: Callable[[Store], Awaitable[None]]
    write_more: Callable[[Store], Awaitable[None]]
    """What is hard to move: a picture, thinking, and a call that failed."""
    format: str


PNG = "iVBORw0KGgo="
DATA_URL = f"data:image/png;base64,{PNG}"
THOUGHT, FAILED = "Seven is a parcel.", "No such order."

# -- Google ADK ----------------------------------------------------------------------------------


def _said(author: str, *parts: types.Part) -> Event:
    role = "user" if author == "user" else "model"
    return Event(
        author=author, invocation_id="run-1", content=types.Content(role=role, parts=parts)
    )


async def _adk_write(store: Store) -> None:
    service = PerdureSessionService(store, agent="clerk")
    session = await service.create_session(app_name=APP, user_id=USER, session_id=ID)
    call = types.FunctionCall(id="c1", name="track", args=ARGS)
    answer = types.FunctionResponse(id="c1", name="track", response={"result": PLACE})
    for event in (
        _said("user", types.Part(text=QUESTION)),
        _said("clerk", types.Part(text=LOOKING), types.Part(function_call=call)),
        _said("clerk", types.Part(function_response=answer)),
        _said("clerk", types.Part(text=ANSWER)),
    ):
        await service.append_event(session, event)


async def _adk_session(store: Store) -> tuple[Any, Any]:
    service = PerdureSessionService(store, agent="clerk")
    return service, await service.get_session(app_name=APP, user_id=USER, session_id=ID)


async def _adk_read(store: Store) -> Seen:
    _, session = await _adk_session(store)
    seen: Seen = []
    for event in session.events:
        for part in event.content.parts:
            if part.text:
                seen.append(("user" if event.author == "user" else "assistant", part.text))
            elif part.function_call:
                call = part.function_call
                seen.append(("call", call.id, call.name, call.args))
            elif part.function_response:
                answer = part.function_response
                seen.append(("result", answer.id, answer.response["result"]))
    return seen


async def _adk_go_on(store: Store) -> None:
    service, session = await _adk_session(store)
    await service.append_event(session, _said("user", types.Part(text=THANKS)))
    await service.append_event(session, _said("clerk", types.Part(text=WELCOME)))


async def _adk_more(store: Store) -> None:
    service, _ = await _adk_session(store)
    session = await service.create_session(app_name=APP, user_id=USER, session_id=ID)
    call = types.FunctionCall(id="c1", name="track", args=ARGS)
    answer = types.FunctionResponse(id="c1", name="track", response={"error": FAILED})
    picture = types.Blob(mime_type="image/png", data=base64.b64decode(PNG))
    for event in (
        _said("user", types.Part(text=QUESTION), types.Part(inline_data=picture)),
        _said(
            "clerk",
            types.Part(text=THOUGHT, thought=True, thought_signature=b"signed"),
            types.Part(function_call=call),
        ),
        _said("clerk", types.Part(function_response=answer)),
    ):
        await service.append_event(session, event)


# -- OpenAI Agents SDK ---------------------------------------------------------------------------


def _openai(store: Store) -> PerdureSession:
    return PerdureSession(ID, store, app=APP, user=USER)


def _told(text: str) -> Any:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "role": "assistant", "status": "completed", "content": [part]}


async def _openai_write(store: Store) -> None:
    items: list[Any] = [
        {"role": "user", "content": QUESTION},
        _told(LOOKING),
        {"type": "function_call", "call_id": "c1", "name": "track", "arguments": '{"order":7}'},
        {"type": "function_call_output", "call_id": "c1", "output": PLACE},
        _told(ANSWER),
    ]
    await _openai(store).add_items(items)


async def _openai_read(store: Store) -> Seen:
    items: list[Any] = await _openai(store).get_items()
    seen: Seen = []
    for item in items:
        match item.get("type", "message"):
            case "function_call":
                args = json.loads(item["arguments"])
                seen.append(("call", item["call_id"], item["name"], args))
            case "function_call_output":
                seen.append(("result", item["call_id"], item["output"]))
            case _:
                content = item["content"]
                texts = content if isinstance(content, str) else content[0]["text"]
                seen.append((item["role"], texts))
    return seen


async def _openai_go_on(store: Store) -> None:
    await _openai(store).add_items([{"role": "user", "content": THANKS}, _told(WELCOME)])


async def _openai_more(store: Store) -> None:
    reasoning = {"type": "summary_text", "text": THOUGHT}
    items: list[Any] = [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": QUESTION},
                {"type": "input_image", "image_url": DATA_URL, "detail": "high"},
            ],
        },
        {"type": "reasoning", "id": "r1", "summary": [reasoning], "encrypted_content": "signed"},
        {"type": "function_call", "call_id": "c1", "name": "track", "arguments": '{"order":7}'},
        {"type": "function_call_output", "call_id": "c1", "output": FAILED},
    ]
    await _openai(store).add_items(items)


# -- LangGraph -----------------------------------------------------------------------------------


async def _langchain_write(store: Store) -> None:
    await store.sessions.create(*KEY)
    call: Any = {"name": "track", "args": ARGS, "id": "c1"}
    messages = [
        HumanMessage(QUESTION),
        AIMessage(LOOKING, tool_calls=[call]),
        ToolMessage(PLACE, tool_call_id="c1", name="track"),
        AIMessage(ANSWER),
    ]
    await aadd_messages(store, KEY, messages)


async def _langchain_read(store: Store) -> Seen:
    seen: Seen = []
    for message in await aload_messages(store, KEY):
        if isinstance(message, ToolMessage):
            seen.append(("result", message.tool_call_id, message.content))
            continue
        if message.text:
            seen.append(("user" if message.type == "human" else "assistant", str(message.text)))
        calls = message.tool_calls if isinstance(message, AIMessage) else []
        seen += [("call", call["id"], call["name"], call["args"]) for call in calls]
    return seen


async def _langchain_go_on(store: Store) -> None:
    await aadd_messages(store, KEY, [HumanMessage(THANKS), AIMessage(WELCOME)])


async def _langchain_more(store: Store) -> None:
    await store.sessions.create(*KEY)
    call: Any = {"name": "track", "args": ARGS, "id": "c1"}
    picture = {"type": "image_url", "image_url": {"url": DATA_URL}}
    messages = [
        HumanMessage([{"type": "text", "text": QUESTION}, picture]),
        AIMessage([{"type": "reasoning", "reasoning": THOUGHT}], tool_calls=[call]),
        ToolMessage(FAILED, tool_call_id="c1", name="track", status="error"),
    ]
    await aadd_messages(store, KEY, messages)


# -- pydantic-ai ---------------------------------------------------------------------------------


def _pydantic(store: Store) -> PerdureConversationStore:
    return PerdureConversationStore(store, app=APP, user=USER)


async def _pydantic_write(store: Store) -> None:
    messages = [
        ModelRequest([UserPromptPart(QUESTION)]),
        ModelResponse([TextPart(LOOKING), ToolCallPart("track", ARGS, "c1")]),
        ModelRequest([ToolReturnPart("track", PLACE, "c1")]),
        ModelResponse([TextPart(ANSWER)]),
    ]
    await _pydantic(store).save(Conversation(messages=messages, conversation_id=ID))


async def _pydantic_read(store: Store) -> Seen:
    conversation = await _pydantic(store).load(ID)
    assert conversation is not None
    seen: Seen = []
    for part in [part for message in conversation.messages for part in message.parts]:
        match part:
            case UserPromptPart():
                seen.append(("user", part.content))
            case TextPart():
                seen.append(("assistant", part.content))
            case ToolCallPart():
                seen.append(("call", part.tool_call_id, part.tool_name, part.args_as_dict()))
            case ToolReturnPart():
                seen.append(("result", part.tool_call_id, part.content))
    return seen


async def _pydantic_go_on(store: Store) -> None:
    conversations = _pydantic(store)
    conversation = await conversations.load(ID)
    assert conversation is not None
    conversation.messages += [
        ModelRequest([UserPromptPart(THANKS)]),
        ModelResponse([TextPart(WELCOME)]),
    ]
    await conversations.save(conversation)


async def _pydantic_more(store: Store) -> None:
    picture = BinaryContent(base64.b64decode(PNG), media_type="image/png")
    thinking = ThinkingPart(THOUGHT, signature="signed", provider_name="anthropic")
    failed = RetryPromptPart(FAILED, tool_name="track", tool_call_id="c1")
    messages = [
        ModelRequest([UserPromptPart([QUESTION, picture])]),
        ModelResponse([thinking, ToolCallPart("track", ARGS, "c1")]),
        ModelRequest([failed]),
    ]
    await _pydantic(store).save(Conversation(messages=messages, conversation_id=ID))


# -- Claude Agent SDK ----------------------------------------------------------------------------

_PLACE: Any = {"project_key": "-home-ada-shop", "session_id": ID}


def _claude(store: Store) -> PerdureSessionStore:
    return PerdureSessionStore(store, owner=lambda _: (APP, USER))


def _line(role: str, content: Any) -> Any:
    message = {"role": role, "content": content}
    return {"type": role, "uuid": str(uuid.uuid4()), "sessionId": ID, "message": message}


async def _claude_write(store: Store) -> None:
    use = {"type": "tool_use", "id": "c1", "name": "track", "input": ARGS}
    lines = [
        _line("user", QUESTION),
        _line("assistant", [{"type": "text", "text": LOOKING}, use]),
        _line("user", [{"type": "tool_result", "tool_use_id": "c1", "content": PLACE}]),
        _line("assistant", [{"type": "text", "text": ANSWER}]),
    ]
    await _claude(store).append(_PLACE, lines)


async def _claude_read(store: Store) -> Seen:
    entries: list[Any] = await _claude(store).load(_PLACE) or []
    seen: Seen = []
    for role, content in [(one["type"], one["message"]["content"]) for one in entries]:
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for block in blocks:
            match block["type"]:
                case "tool_use":
                    seen.append(("call", block["id"], block["name"], block["input"]))
                case "tool_result":
                    seen.append(("result", block["tool_use_id"], _text(block["content"])))
                case _:
                    seen.append((role, block["text"]))
    return seen


def _text(content: Any) -> Any:
    return content if isinstance(content, str) else content[0]["text"]


async def _claude_go_on(store: Store) -> None:
    lines = [_line("user", THANKS), _line("assistant", [{"type": "text", "text": WELCOME}])]
    await _claude(store).append(_PLACE, lines)


async def _claude_more(store: Store) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    use = {"type": "tool_use", "id": "c1", "name": "track", "input": ARGS}
    failed = {"type": "tool_result", "tool_use_id": "c1", "content": FAILED, "is_error": True}
    lines = [
        _line("user", [{"type": "text", "text": QUESTION}, {"type": "image", "source": source}]),
        _line("assistant", [{"type": "thinking", "thinking": THOUGHT, "signature": "s"}, use]),
        _line("user", [failed]),
    ]
    await _claude(store).append(_PLACE, lines)


FRAMEWORKS = [
    Framework("Google ADK", _adk_write, _adk_read, _adk_go_on, _adk_more, "adk"),
    Framework(
        "OpenAI Agents",
        _openai_write,
        _openai_read,
        _openai_go_on,
        _openai_more,
        "openai.responses",
    ),
    Framework(
        "LangGraph messages",
        _langchain_write,
        _langchain_read,
        _langchain_go_on,
        _langchain_more,
        "langchain",
    ),
    Framework(
        "pydantic-ai", _pydantic_write, _pydantic_read, _pydantic_go_on, _pydantic_more, "pydantic"
    ),
    Framework(
        "Claude Agent SDK", _claude_write, _claude_read, _claude_go_on, _claude_more, "claude-code"
    ),
]
