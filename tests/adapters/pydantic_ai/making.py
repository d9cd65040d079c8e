"""Messages, entries and records as pydantic-ai makes them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationEntry, ConversationRecord
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.usage import RequestUsage

from perdure.adapters.pydantic_ai import PerdureConversationStore


@asynccontextmanager
async def stored(url: str = "memory:", **options: Any) -> AsyncIterator[PerdureConversationStore]:
    """A store with an engine of its own."""
    async with PerdureConversationStore(url, **options) as store:
        yield store


def asked(text: str) -> Any:
    """A request with a prompt."""
    return ModelRequest(parts=[UserPromptPart(text)])


def answered(text: str) -> Any:
    """A response with a text."""
    usage = RequestUsage(input_tokens=10, output_tokens=2)
    return ModelResponse(parts=[TextPart(text)], usage=usage, model_name="stub")


def talk(turns: int, id: str = "c") -> Conversation:
    """A conversation of so many turns."""
    messages = []
    for turn in range(turns):
        messages += [asked(f"question {turn}"), answered(f"answer {turn}")]
    return Conversation(messages=messages, conversation_id=id)


def chain(*texts: str, parent: str | None = None, prefix: str = "e") -> list[ConversationEntry]:
    """Entries that follow each other; their ids are made of their texts."""
    entries = []
    for text in texts:
        entry = ConversationEntry(id=f"{prefix}-{text}", parent_id=parent, message=asked(text))
        entries.append(entry)
        parent = entry.id
    return entries


def record(id: str = "c", head: str | None = None, **fields: Any) -> ConversationRecord:
    """A record."""
    return ConversationRecord(conversation_id=id, head_id=head, **fields)


def texts(messages: Any) -> list[str]:
    """What messages or entries say."""
    return [str(part.content) for one in messages for part in getattr(one, "message", one).parts]


def counted(store: PerdureConversationStore) -> list[str]:
    """The names of what the store is asked for from now on; before its first use."""
    calls: list[str] = []
    runner: Any = store.store._runner
    operate = runner.operate

    def told(op: Any) -> Any:
        calls.append(op.name)
        return operate(op)

    runner.operate = told
    return calls
