"""Messages of LangChain as events of a session, so that other frameworks can go on with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage, messages_from_dict

from perdure.adapters.colours import both
from perdure.errors import ConflictError
from perdure.formats import langchain
from perdure.records import JSON, Messages, NewEvent, SessionKey
from perdure.store import Store, SyncStore


def add_messages(
    store: Store | SyncStore, key: SessionKey, messages: Sequence[BaseMessage], *, run_id: str = ""
) -> int:
    """Append messages to a session, in their order; how many of them were new.

    A message with an id is stored once, however often it is given: a node that runs again may
    give all messages of its state again. `ConflictError`: one is stored under its id with other
    content. All are stored in one transaction, or none, unless some were there already: then
    each by itself. What a model has used is in `store.usage`.
    """
    sync, _ = both(store)
    events = _events(messages, run_id)
    try:
        done = [sync.events.append(key, *events)] if events else []
    except ConflictError:
        done = [sync.events.append(key, event) for event in events]
    return sum(len(one.events) for one in done if not one.duplicate)


async def aadd_messages(
    store: Store | SyncStore, key: SessionKey, messages: Sequence[BaseMessage], *, run_id: str = ""
) -> int:
    """See `add_messages`."""
    _, opened = both(store)
    events = _events(messages, run_id)
    try:
        done = [await opened.events.append(key, *events)] if events else []
    except ConflictError:
        done = [await opened.events.append(key, event) for event in events]
    return sum(len(one.events) for one in done if not one.duplicate)


def load_messages(
    store: Store | SyncStore, key: SessionKey, *, last: int | None = None
) -> list[BaseMessage]:
    """The messages of a session, whichever framework has written them, oldest first.

    ``last``: a window of as many events, see `events.window`; None: all of them.
    """
    return _made(both(store)[0].events.messages(key, langchain.NAME, last=last))


async def aload_messages(
    store: Store | SyncStore, key: SessionKey, *, last: int | None = None
) -> list[BaseMessage]:
    """See `load_messages`."""
    return _made(await both(store)[1].events.messages(key, langchain.NAME, last=last))


def _events(messages: Sequence[BaseMessage], run_id: str) -> list[NewEvent]:
    return [
        NewEvent(
            {"type": one.type, "data": one.model_dump(mode="json", fallback=str)},
            id=one.id or None,
            run_id=run_id,
            format=langchain.NAME,
            usage=_usage(one),
        )
        for one in messages
    ]


def _usage(message: BaseMessage) -> JSON:
    spent = getattr(message, "usage_metadata", None)
    if not spent:
        return None
    return {**spent, "model": message.response_metadata.get("model_name")}


def _made(messages: Messages) -> list[BaseMessage]:
    found: Any = messages_from_dict(messages.items)
    return list(found)
