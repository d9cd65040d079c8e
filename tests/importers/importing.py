"""What the tests of importers share: files in memory, and an import in both colours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from datetime import tzinfo
from typing import Any

import perdure
from perdure.importers import Conversation, ImportReport, Skipped, load, load_sync, read_chat

Load = Callable[..., ImportReport]


def user(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": text, **more}


def assistant(text: str | None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def talk(name: str, *messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"conversation": name, "messages": list(messages), **more}


def lines(*records: Any) -> list[str]:
    """Each record as a line; text stays as it is."""
    return [one if isinstance(one, str) else json.dumps(one) for one in records]


def read(*records: Any, zone: tzinfo | None = None) -> list[Conversation | Skipped]:
    return list(read_chat([("chats.jsonl", lines(*records))], zone=zone))


def read_one(record: Any, zone: tzinfo | None = None) -> Conversation:
    [one] = read(record, zone=zone)
    assert isinstance(one, Conversation), one
    return one


def reason(*records: Any, zone: tzinfo | None = None) -> str:
    """Why the only thing read was skipped."""
    [one] = read(*records, zone=zone)
    assert isinstance(one, Skipped), one
    return one.reason


def in_sync(url: str, items: Iterable[Conversation | Skipped], **options: Any) -> ImportReport:
    with perdure.open_sync(url) as store:
        return load_sync(store, items, **options)


def in_async(url: str, items: Iterable[Conversation | Skipped], **options: Any) -> ImportReport:
    async def importing() -> ImportReport:
        async with perdure.open(url) as store:
            return await load(store, items, **options)

    return asyncio.run(importing())
