"""A session as a story: who said what when, each tool call with its answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo

from perdure.cli import when
from perdure.cli.drawing import Row, Span, cells, length, style_of
from perdure.cli.outline import compact, first_rows, outline, scalar
from perdure.cli.parts import (
    Image,
    Other,
    Part,
    Raw,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    arguments_of,
    parts_of,
    value_in,
    words_of,
)
from perdure.records import DELETE, Annotation, Event

_ROLES_CUT = {"system", "developer"}
_LINES = 8
_ARGUMENTS = 16
_THOUGHTS = 4
_HANG = 2
_BULLET = re.compile(r" *(?:[-*•] |\d{1,3}[.)] )?")
_DEEPEST = 20


@dataclass(frozen=True, slots=True)
class View:
    """How much to tell, and for whom.

    ``width`` is that of the words, ``edge`` that of the page. ``brief`` cuts long results,
    ``rules`` marks where a day begins and shows times in the ``zone``; without it they are ISO
    times in UTC. ``active`` are the seqs of the active line, None where nothing else is shown.
    ``notes`` are the annotations by event id.
    """

    width: int
    edge: int
    brief: bool
    rules: bool
    zone: tzinfo | None = None
    verbose: bool = False
    active: frozenset[int] | None = None
    notes: Mapping[str, Sequence[Annotation]] = field(default_factory=dict)


def timeline(events: Sequence[Event], view: View) -> Iterator[Row]:
    """The rows of some events, oldest first."""
    return _Story(events, view).rows()


class _Story:
    def __init__(self, events: Sequence[Event], view: View) -> None:
        self._events = events
        self._view = view
        self._called: dict[str, tuple[str, int]] = {}
        self._answered_at = {call: event.seq for event in events for call in event.results}
        self._shown_at: datetime | None = None
        self._run = ""

    def rows(self) -> Iterator[Row]:
        index, previous = 0, None
        while index < len(self._events):
            event = self._events[index]
            answers = self._answers(index)
            yield from self._between(previous, event)
            yield from self._event(event, answers, last=index + len(answers) + 1)
            yield Row()
            index += 1 + len(answers)
            previous = self._events[index - 1]

    def _answers(self, index: int) -> list[Event]:
        """The events right behind a call that answer it and nothing else."""
        calls = set(self._events[index].calls)
        found: list[Event] = []
        for event in self._events[index + 1 :]:
            if not event.results or not calls.issuperset(event.results) or event.calls:
                break
            calls -= set(event.results)
            found.append(event)
        return found

    # -- around an event -----------------------------------------------------------------------

    def _between(self, previous: Event | None, event: Event) -> Iterator[Row]:
        view = self._view
        if view.rules and (previous is None or self._day(previous) != self._day(event)):
            rule = f"── {self._day(event)} "
            yield Row([(rule + "─" * max(view.edge - cells(rule), 0), "dim")])
            yield Row()
        if previous is not None and event.prev != previous.seq:
            place = f"after {event.prev}" if event.prev else "from the beginning"
            yield Row([(f"another line goes on {place}", "dim")])
            yield Row()

    def _day(self, event: Event) -> str:
        return when.day(event.timestamp, self._view.zone)

    def _time(self, event: Event) -> str:
        view = self._view
        if not view.rules:
            return when.iso(event.timestamp)
        moment = when.local(event.timestamp, view.zone).replace(microsecond=0)
        shown, self._shown_at = self._shown_at, moment
        return "" if shown == moment else when.second(moment, view.zone)

    # -- one event -----------------------------------------------------------------------------

    def _event(self, event: Event, answers: Sequence[Event], last: int) -> Iterator[Row]:
        bar = style_of(event.role)
        body = list(self._body(event, answers, pending=last >= len(self._events)))
        yield Row(self._heading(event, bar), str(event.seq), bar, right=self._time(event))
        for row in body:
            yield replace(row, bar=row.bar or bar)

    def _heading(self, event: Event, style: str) -> list[Span]:
        spans: list[Span] = [(event.role or event.kind, style)]
        about = []
        if event.author and event.author != event.role:
            about.append(event.author)
        if event.branch:
            about.append(f"branch {event.branch}")
        if event.run_id and event.run_id != self._run:
            about.append(f"run {event.run_id}")
        self._run = event.run_id
        if self._view.active is not None and event.seq not in self._view.active:
            about.append("not on the active line")
        return spans + [(f" · {words}", "dim") for words in about]

    def _body(self, event: Event, answers: Sequence[Event], *, pending: bool) -> Iterator[Row]:
        waiting = list(answers)
        for part in parts_of(event):
            yield from self._part(event, part)
            if isinstance(part, ToolCall):
                self._called[part.id] = (part.name, event.seq)
                answer = next((one for one in waiting if part.id in one.results), None)
                if answer is not None:
                    waiting.remove(answer)
                    yield from self._answer(answer)
                elif part.id and not self._answered(event, part.id):
                    words = "no answer yet" if pending else "never answered"
                    yield Row([("← ", "call"), (words, "dim")])
        for answer in waiting:
            yield from self._answer(answer)
        yield from self._besides(event)

    def _answered(self, event: Event, call_id: str) -> bool:
        return self._answered_at.get(call_id, 0) > event.seq

    def _part(self, event: Event, part: Part | Raw) -> Iterator[Row]:
        match part:
            case Text(text):
                most = _LINES if event.role in _ROLES_CUT else None
                yield from self._text(text, "", most)
            case Other(_, text):
                yield from self._text(text, "dim", _LINES)
            case Thinking(text):
                yield from self._text(text, "dim", _THOUGHTS, "thinking: ")
            case Image():
                yield Row([(_picture(part), "dim")])
            case Raw(value):
                yield from self._first(outline(value, self._view.width), _ARGUMENTS)
            case ToolCall():
                yield from self._call(part)
            case ToolResult():
                name, seq = self._called.get(part.call_id, (part.name, 0))
                label = f"answer of {name or part.call_id}" + (f" ({seq})" if seq else "")
                yield Row([(label, "dim")])
                yield from self._result(part, "")

    def _text(self, text: str, style: str, most: int | None, lead: str = "") -> Iterator[Row]:
        lines = (lead + text).replace("\r\n", "\n").rstrip("\n").split("\n")
        return self._first([_line(line, style) for line in lines], most)

    def _first(self, rows: Iterable[Row], most: int | None, indent: int = 0) -> Iterator[Row]:
        return first_rows(rows, most if self._view.brief else None, self._view.width, indent)

    def _call(self, call: ToolCall) -> Iterator[Row]:
        given = arguments_of(call)
        head: list[Span] = [("→ ", "call"), (call.name, "call")]
        if not isinstance(given, dict):
            yield Row([*head, (f"({given})" if given else "()", "")], hang=_HANG)
            return
        spelled = _spelled(given)
        broken = any(isinstance(value, str) and "\n" in value for value in given.values())
        if not broken and length([*head, *spelled]) <= self._view.width:
            yield Row([*head, *spelled], hang=_HANG)
            return
        yield Row(head)
        rows = outline(given, self._view.width - 4, 4)
        yield from self._first(rows, _ARGUMENTS, 4)

    def _answer(self, event: Event) -> Iterator[Row]:
        """An event that answers a call, below the call."""
        label = str(event.seq)
        for part in parts_of(event):
            if isinstance(part, ToolResult):
                yield from self._result(part, label)
            else:
                yield from self._part(event, part)
            label = ""
        yield from self._besides(event)

    def _result(self, result: ToolResult, label: str) -> Iterator[Row]:
        arrow: Span = ("✗ ", "bad") if result.is_error else ("← ", "call")
        value = value_in(words_of(result))
        width = self._view.width - _HANG
        rows = [Row([(_picture(part), "dim")]) for part in result.content if type(part) is Image]
        if value == "":
            rows = rows or [Row([("nothing", "dim")])]
        elif isinstance(value, str):
            rows = [*map(_line, value.rstrip("\n").split("\n")), *rows]
        elif cells(inline := compact(value)) <= width:
            rows = [Row([(inline, "")]), *rows]
        else:
            rows = [*outline(value, width), *rows]
        cut = self._first(rows, _LINES)
        for index, row in enumerate(cut):
            spans = [arrow, *row.spans] if index == 0 else row.spans
            indent = row.indent + (_HANG if index else 0)
            hang = row.hang + (0 if index else _HANG)
            yield Row(spans, label if index == 0 else "", "tool", indent, hang)

    # -- what an event carries besides what it says --------------------------------------------

    def _besides(self, event: Event) -> Iterator[Row]:
        if event.error is not None:
            code = f"{event.error.code}: " if event.error.code else ""
            lines = event.error.message.split("\n")
            yield Row([("✗ error ", "bad"), (code, "bad"), (lines[0], "")], hang=_HANG)
            yield from (Row([(line, "")], indent=_HANG) for line in lines[1:])
        for key, value in (event.state_delta or {}).items():
            yield Row([("± ", "state"), *_assigned(key, value)], hang=_HANG)
        for note in self._view.notes.get(event.id, ()):
            yield note_row(note)
        if self._view.verbose:
            yield _details(event)


def _line(text: str, style: str = "") -> Row:
    """A line of text; what is wrapped of a list's item stands below its words."""
    shown = text.expandtabs(4)
    start = _BULLET.match(shown)
    return Row([(shown, style)], hang=min(start.end(), _DEEPEST) if start else 0)


def note_row(note: Annotation) -> Row:
    """A note on a session or an event."""
    by = f" by {note.by}" if note.by else ""
    value = "" if note.value is True else f" = {compact(note.value)}"
    return Row([("✎ ", "state"), (note.name, "state"), (value, ""), (by, "dim")], hang=_HANG)


def _details(event: Event) -> Row:
    about = {
        "id": event.id,
        "format": event.format,
        "version": event.version,
        "stored": when.iso(event.created_at),
        "usage": event.usage,
        "metadata": event.metadata,
        "extra": event.extra,
    }
    given = [(name, value) for name, value in about.items() if value not in (None, "")]
    return Row([(" · ".join(f"{name} {scalar(value)[0]}" for name, value in given), "dim")])


def _assigned(key: str, value: object) -> list[Span]:
    if value is DELETE:
        return [(key, "state"), (" removed", "dim")]
    return [(key, "state"), (" = ", ""), (compact(value), "")]


def _spelled(given: dict[str, object]) -> list[Span]:
    """The arguments as a call in Python has them."""
    spans: list[Span] = [("(", "")]
    for index, (name, value) in enumerate(given.items()):
        spans += [(", " if index else "", ""), (f"{name}=", "key"), (compact(value), "")]
    return [*spans, (")", "")]


def _picture(image: Image) -> str:
    if image.url:
        return f"[image {image.url}]"
    return f"[image {image.media_type}, {len(image.data) * 3 // 4:,} bytes]"
