"""What the tests of summaries share: a summariser that shows what it was given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure import Event, NewEvent, SessionKey, Store


def joined(previous: str | None, events: Sequence[Event]) -> str:
    """A summariser whose text is what was said, joined."""
    return "+".join([*([previous] if previous else []), *(event.text for event in events)])


async def say(store: Store, key: SessionKey, *texts: str, **fields: Any) -> list[int]:
    """Append an event for each text; their seqs."""
    done = await store.events.append(key, *(NewEvent(text, **fields) for text in texts))
    return [event.seq for event in done]


async def texts(store: Store, key: SessionKey) -> dict[str, str]:
    """The texts of the session's summaries by their filter key."""
    return {found.filter_key: found.text for found in (await store.summaries.list(key)).items}
