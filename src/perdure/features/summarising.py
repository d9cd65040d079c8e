"""Making a summary: what is not covered yet, the summariser's text, and storing it safely."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from perdure.errors import ConflictError, InvalidError, NotFoundError
from perdure.features.counting import count
from perdure.features.coverage import SUMMARIES, SummaryRow, anchor_of, counts, index
from perdure.features.drafts import event_of
from perdure.features.line import EVENTS, NO_SEQ, first_of, holds, runs
from perdure.features.lookup import SessionRow, Target, get, hold
from perdure.features.reading import Filter, oldest, positive
from perdure.operation import Bumps, Operation, Plan, Settings, Step
from perdure.records import Event, SessionKey, Summary, SummaryTrigger
from perdure.values import Limits, check_text, decode, encode, encode_trusted, from_micros


class Uncovered(NamedTuple):
    """What a summary would be made of."""

    row: SessionRow
    stored: SummaryRow | None
    """The row that stands there, whether it counts or not: it must not change meanwhile."""
    previous: SummaryRow | None
    events: list[Event]

    @property
    def boundary(self) -> int:
        """The last event that a summary made of this covers."""
        if self.events:
            return self.events[-1].seq
        return self.previous.covers_seq if self.previous else 0


class Told(NamedTuple):
    """What a summariser gave, as columns; the text alone as it was."""

    text: str
    topics: str


def matches(event: Event, filter_key: str) -> bool:
    """Whether a filter selects the event: it is its own, above it, below it, or it has none."""
    own = event.filter_key or event.branch
    if not own or not filter_key or own == filter_key:
        return True
    return own.startswith(f"{filter_key}/") or filter_key.startswith(f"{own}/")


def uncovered(at: Target, filter_key: str) -> Plan[Uncovered]:
    """The summary of that filter, and the events of the active line after its boundary."""
    row = yield from get(at)
    line = yield from runs(row.part, row.uid, row.head)
    found = yield SUMMARIES.find(part=row.part, uid=row.uid, filter_key=filter_key)
    stored = SummaryRow._make(found[0]) if found else None
    previous = stored if stored and counts(line, stored) else None
    low = previous.covers_seq + 1 if previous else 1
    rows = yield from oldest(row, Filter(low=low), NO_SEQ)
    events = [event for event in map(event_of, rows) if matches(event, filter_key)]
    return Uncovered(row, stored, previous, events)


def is_due(
    found: Uncovered, trigger: SummaryTrigger, settings: Settings
) -> Generator[Step, Any, bool]:
    """Whether the trigger says so."""
    met = []
    if trigger.events is not None:
        met.append(len(found.events) > trigger.events)
    if trigger.idle is not None:
        since = from_micros(settings.clock()) - found.events[-1].timestamp
        met.append(since > trigger.idle)
    if trigger.tokens is not None:
        texts = [event.text for event in found.events]
        met.append(sum((yield from count(settings.token_counter, texts))) > trigger.tokens)
    return any(met) if trigger.match == "any" else all(met)


def check_trigger(trigger: SummaryTrigger | None) -> SummaryTrigger | None:
    """The trigger, if it is one."""
    if trigger is None:
        return None
    if not isinstance(trigger, SummaryTrigger):
        raise InvalidError(f"trigger must be a SummaryTrigger, not {trigger!r}", "trigger")
    positive(trigger.events, "trigger.events")
    positive(trigger.tokens, "trigger.tokens")
    if trigger.idle is not None and (
        not isinstance(trigger.idle, timedelta) or trigger.idle < timedelta(0)
    ):
        message = f"trigger.idle must be a timedelta, 0 or more, not {trigger.idle!r}"
        raise InvalidError(message, "trigger")
    if trigger.match not in {"any", "all"}:
        raise InvalidError(f"trigger.match is 'any' or 'all', not {trigger.match!r}", "trigger")
    if trigger.events is None and trigger.tokens is None and trigger.idle is None:
        raise InvalidError("say what to wait for: events, tokens or idle", "trigger")
    return trigger


def check_summariser(given: Callable[..., Any] | None, settings: Settings) -> Callable[..., Any]:
    """The callable to use."""
    chosen = settings.summariser if given is None else given
    if chosen is None:
        hint = "open the store with summariser=, or pass one"
        raise InvalidError(f"there is no summariser: {hint}", "summariser")
    if not callable(chosen):
        raise InvalidError(f"summariser must be callable, not {chosen!r}", "summariser")
    return chosen


def told(given: object, limits: Limits) -> Told | None:
    """What a summariser gave: a text, (text, topics), or a record that has both; None for blank."""
    topics: object = ()
    if isinstance(given, tuple) and len(given) == 2:  # noqa: PLR2004 - a pair
        given, topics = given
    elif hasattr(given, "text"):
        given, topics = given.text, getattr(given, "topics", ())
    if given is None or (isinstance(given, str) and not given.strip()):
        return None
    return columns(given, topics, limits)


def columns(text: object, topics: object, limits: Limits) -> Told:
    """The checked columns of a text and its topics."""
    if not isinstance(text, str):
        raise InvalidError(f"a summary is text, not {text!r}", "text")
    if isinstance(topics, str) or not isinstance(topics, Sequence):
        raise InvalidError(f"topics is a list of texts, not {topics!r}", "topics")
    names = [check_text(topic, "topic", limits.text, blank=False) for topic in topics]
    return Told(encode(text, "text", limits.event), encode_trusted(list(dict.fromkeys(names))))


def store(
    at: Target, found: Uncovered, filter_key: str, made: Told, block: str
) -> Operation[Summary]:
    """Store what was made of that, unless something else was stored meanwhile."""

    def work(_: Bumps) -> Plan[Summary]:
        row = yield from hold(at, None, {})
        if row.uid != found.row.uid:
            raise NotFoundError(f"session {row.id!r} was deleted while it was summarised")
        yield from _same_history(row, found)
        rows = yield SUMMARIES.find(part=row.part, uid=row.uid, filter_key=filter_key)
        stored = SummaryRow._make(rows[0]) if rows else None
        if _text_of(stored) != _text_of(found.stored) and stored is not None:
            return summary_of(row.key, stored)
        return (yield from put(row, filter_key, made, found.boundary, at.now, block))

    return Operation("summaries.summarize", (at.key,), {}, work)


def _text_of(row: SummaryRow | None) -> tuple[object, ...] | None:
    """All but the anchor, which a prune moves."""
    return None if row is None else (row.version, row.covers_seq, row.text, row.updated_at)


def _same_history(row: SessionRow, found: Uncovered) -> Plan[None]:
    rewrites = yield EVENTS.rewrites_after(part=row.part, uid=row.uid, version=found.row.version)
    if any(from_seq <= found.boundary for _, from_seq in rewrites):
        raise ConflictError(
            f"the history of session {row.id!r} was changed while it was summarised, and nothing "
            "was stored: summarise it again"
        )


def put(
    row: SessionRow, filter_key: str, made: Told, boundary: int, now: int, block: str
) -> Plan[Summary]:
    """Write a summary of the held session; a boundary that was pruned gets its anchor.

    ``block`` is a new id, for the full-text index.
    """
    line = yield from runs(row.part, row.uid, row.head)
    first = None
    if boundary and not holds(line, boundary):
        kept, _ = yield from first_of(row.part, row.uid, line)
        first = anchor_of(row, kept)
    rows = yield SUMMARIES.put(
        part=row.part,
        uid=row.uid,
        filter_key=filter_key,
        summary=made.text,
        topics=made.topics,
        covers_seq=boundary,
        anchor=first,
        now=now,
    )
    yield from index(row, filter_key, made.text, made.topics, block)
    stored = SummaryRow(filter_key, made.text, made.topics, boundary, first, rows[0][0], now)
    return summary_of(row.key, stored)


def summary_of(key: SessionKey, row: SummaryRow) -> Summary:
    """The record of a row."""
    what = f"the summary {row.filter_key!r} of session {key.id!r}"
    return Summary(
        key=key,
        filter_key=row.filter_key,
        text=decode(row.text, what),
        topics=tuple(decode(row.topics, what)),
        covers_seq=row.covers_seq,
        version=row.version,
        updated_at=from_micros(row.updated_at),
    )
