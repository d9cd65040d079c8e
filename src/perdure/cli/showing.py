"""``perdure sessions show``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from perdure.cli import when
from perdure.cli.describing import (
    annotation_document,
    branch_document,
    event_document,
    hold_document,
    lease_document,
    session_document,
    value_document,
)
from perdure.cli.drawing import WIDEST_TEXT, Row, Span, cells, draw
from perdure.cli.invocation import Invocation
from perdure.cli.outline import compact
from perdure.cli.timeline import View, note_row, timeline
from perdure.records import Annotation, Branch, Event, Hold, LeaseHolder, Session
from perdure.store import SyncStore

_LONG_STATE = 300
_APART = timedelta(hours=1)


class Extent(NamedTuple):
    """How much of a session."""

    last: int | None
    all_lines: bool
    full: bool


class _Found(NamedTuple):
    session: Session
    events: list[Event]
    branches: list[Branch]
    notes: Sequence[Annotation]
    state: dict[str, object]
    active: frozenset[int] | None
    hold: Hold | None
    lease: LeaseHolder | None


def show_session(
    invocation: Invocation, store: SyncStore, session: Session, extent: Extent
) -> None:
    """Print a session and its events."""
    found = _read(store, session, extent)
    match invocation.form:
        case "json":
            invocation.document(_document(found))
        case "jsonl":
            invocation.documents(event_document(event) for event in found.events)
        case _:
            invocation.pages(_lines(invocation, found, extent))


def _read(store: SyncStore, session: Session, extent: Extent) -> _Found:
    key = session.key
    branches = store.events.branches(key)
    active = None
    if extent.all_lines and len(branches) > 1:
        active = frozenset(event.seq for event in store.events.iter(key))
    return _Found(
        session,
        store.events.read(key, recent=extent.last, all_lines=extent.all_lines),
        branches,
        store.events.annotations(key),
        store.state.merged(key),
        active,
        store.sessions.find_hold(key),
        store.sessions.find_lease(key),
    )


def _document(found: _Found) -> dict[str, object]:
    return {
        "session": session_document(found.session),
        "state": {name: value_document(value) for name, value in found.state.items()},
        "branches": [branch_document(branch) for branch in found.branches],
        "annotations": [annotation_document(note) for note in found.notes],
        "hold": found.hold and hold_document(found.hold),
        "lease": found.lease and lease_document(found.lease),
        "events": [event_document(event) for event in found.events],
    }


def _lines(invocation: Invocation, found: _Found, extent: Extent) -> Iterator[str]:
    look = invocation.look
    yield from draw(_heading(invocation, found, extent), look)
    yield ""
    notes: dict[str, list[Annotation]] = {}
    for note in found.notes:
        notes.setdefault(note.event_id or "", []).append(note)
    margin = len(str(found.session.last_seq)) + 3
    view = View(
        width=min(look.columns - margin, WIDEST_TEXT),
        edge=min(look.columns, WIDEST_TEXT + margin),
        brief=look.laid_out and not extent.full,
        rules=look.laid_out,
        zone=invocation.zone,
        verbose=invocation.verbose,
        active=found.active,
        notes=notes,
    )
    yield from draw(timeline(found.events, view), look)


# -- the heading ---------------------------------------------------------------------------------


def _heading(invocation: Invocation, found: _Found, extent: Extent) -> Iterator[Row]:
    session = found.session
    yield Row([(session.id, "id"), ("  ", ""), (session.title, "heading")])
    for line in _filled(_facts(invocation, found, extent), invocation.look.width):
        yield Row([(line, "dim")])
    if session.tags:
        yield _fact("tags", ", ".join(session.tags))
    if session.metadata:
        pairs = [f"{name} {compact(value)}" for name, value in session.metadata.items()]
        yield _fact("metadata", " · ".join(pairs))
    if session.parent is not None:
        yield _fact("opened by", session.parent.id)
    if session.origin is not None:
        yield _fact("forked from", f"{session.origin.key.id} at event {session.origin.seq}")
    if found.state:
        yield _fact("state", compact(found.state)[:_LONG_STATE])
    if found.hold is not None:
        yield _fact("held by", f"{found.hold.by}: {found.hold.reason}")
    if found.lease is not None:
        yield _fact("leased to", f"run {found.lease.run_id} until {when.iso(found.lease.until)}")
    if len(found.branches) > 1:
        yield _fact("branches", " · ".join(_branch(branch) for branch in found.branches))
    yield from (note_row(note) for note in found.notes if note.event_id is None)


def _fact(name: str, value: str) -> Row:
    words: list[Span] = [(f"{name} ", "dim"), (value, "")]
    return Row(words, hang=len(name) + 1)


def _filled(facts: Iterable[str], width: int | None) -> Iterator[str]:
    """The facts on as few lines as they fit on, none of them broken."""
    line = ""
    for fact in facts:
        longer = f"{line} · {fact}" if line else fact
        if line and width is not None and cells(longer) > width:
            yield line
            longer = fact
        line = longer
    yield line


def _branch(branch: Branch) -> str:
    return f"{branch.name} to {branch.head_seq}{' (active)' if branch.current else ''}"


def _facts(invocation: Invocation, found: _Found, extent: Extent) -> Iterator[str]:
    session = found.session
    if session.key.app:
        yield f"app {session.key.app}"
    if session.key.user:
        yield f"user {session.key.user}"
    shown = len(found.events)
    events = f"{session.event_count:,} event{'s' * (session.event_count != 1)}"
    yield f"last {shown:,} of {events}" if extent.last is not None and shown else events
    yield f"version {session.version}"
    yield f"created {_moment(invocation, session.created_at)}"
    if session.last_event_at and abs(session.last_event_at - session.created_at) >= _APART:
        yield f"last event {_moment(invocation, session.last_event_at)}"
    if session.expires_at:
        yield f"expires {_moment(invocation, session.expires_at)}"


def _moment(invocation: Invocation, moment: datetime) -> str:
    if not invocation.look.laid_out:
        return when.iso(moment)
    return f"{when.ago(moment, invocation.now)} ({when.minute(moment, invocation.zone)})"
