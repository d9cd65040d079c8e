"""What a model should see of a session: its summary, and the events that came after."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from perdure.features.counting import count
from perdure.features.coverage import best, mark
from perdure.features.drafts import EventRow, event_of
from perdure.features.line import NO_SEQ
from perdure.features.lookup import Target, get
from perdure.features.pruning import with_calls
from perdure.features.reading import Filter, oldest
from perdure.features.summarising import matches, summary_of
from perdure.formats import convert, fitting_start, system_text, window_start
from perdure.operation import Plan, Settings, Step
from perdure.records import Context, Event, Messages, Opaque, Summary


class Seen(NamedTuple):
    """What there is to see."""

    summary: Summary | None
    events: list[Event]


def see(at: Target, filter_key: str) -> Plan[Seen]:
    """The summary that counts for the filter, and what it does not cover of its events.

    Events it covers are among them where a later one answers a tool call of theirs.
    """
    row = yield from get(at)
    found = yield from best(row, filter_key)
    covered = found.covers_seq if found else 0
    low = max(covered, (yield from mark(row))) + 1
    low = yield from with_calls(row, low)
    rows = yield from oldest(row, Filter(low=low), NO_SEQ)
    events = [event for event in map(event_of, rows) if matches(event, filter_key)]
    return Seen(summary_of(row.key, found) if found else None, events)


def cut(
    seen: Seen, recent: int | None, max_tokens: int | None, settings: Settings
) -> Generator[Step, Any, list[Event]]:
    """The last events that are asked for, from a place where they may begin."""
    events = seen.events
    if recent is not None:
        events = events[window_start(_items(events), recent) :]
    if max_tokens is None:
        return events
    told = yield from count(settings.token_counter, [seen.summary.text] if seen.summary else [])
    sizes = yield from count(settings.token_counter, [event.text for event in events])
    return events[fitting_start(_items(events), sizes, max_tokens - sum(told)) :]


def _items(events: Sequence[Event]) -> list[tuple[str, str, Sequence[str], Sequence[str]]]:
    return [(event.kind, event.role, event.calls, event.results) for event in events]


def context(summary: Summary | None, events: Sequence[Event], format: str) -> Context:
    """The record, with the summary as what the system says first."""
    messages = in_format(events, format, summary.text if summary else None)
    return Context(summary, list(events), messages)


def in_format(events: Sequence[Event], format: str, first: str | None = None) -> Messages:
    """The events as messages of one format, behind a first one of the system."""
    said = [one for one in events if not isinstance(one.content, Opaque | None)]
    items = [(one.format, one.content, one.author) for one in said]
    converted, loss = convert(items, format, numbers=[one.seq for one in said])
    if first is not None:
        items.insert(0, ("openai.chat", {"role": "system", "content": first}, "system"))
        converted[:0], _ = convert(items[:1], format)
    system = system_text(items) if format == "anthropic" else ""
    for event in events:
        if isinstance(event.content, Opaque):
            loss.append(f"event {event.seq}: opaque bytes ({event.content.codec})")
    return Messages(converted, loss, system)


def in_chat(rows: Sequence[EventRow]) -> list[dict[str, Any]]:
    """The rows as OpenAI chat messages; those that are such come back as they were given."""
    return in_format([event_of(row) for row in rows], "openai.chat").items
