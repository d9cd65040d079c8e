"""``perdure tail``: the latest events, of one session or of all, and those to come."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from heapq import nlargest
from typing import Any

import click

from perdure.cli import when
from perdure.cli.commands import Command
from perdure.cli.describing import event_document
from perdure.cli.drawing import Span, cells, cut, cut_spans, painted, style_of
from perdure.cli.finding import SessionId, any_or, find_session, whose
from perdure.cli.invocation import Invocation
from perdure.cli.outline import compact
from perdure.cli.parts import Text, ToolCall, arguments_of, parts_of
from perdure.cli.tables import separated
from perdure.errors import NotFoundError
from perdure.records import ALL, Event, Rewritten, Session, SessionKey
from perdure.store import SyncStore

_PAUSE = 0.2
_LATEST = 10
_ID_WIDTH = 20
_LONGEST = 2_000
_LOOK_BACK = timedelta(seconds=2)


@click.command("tail", cls=Command)
@click.argument("session", metavar="[ID]", required=False, type=SessionId())
@click.option("-f", "--follow", is_flag=True, help="Go on with what is stored from now on.")
@click.option(
    "-n", "--last", type=click.IntRange(min=0), default=_LATEST, show_default=True,
    metavar="N", help="How many events that are there already.",
)  # fmt: skip
@whose
@click.pass_obj
def tail(
    invocation: Invocation,
    session: str | None,
    follow: bool,
    last: int,
    app: str | None,
    user: str | None,
) -> None:
    """Show the latest events, one a line: of a session, or of all sessions.

    In a pipe: tab-separated time, session id, seq, role, kind and text. --json and --jsonl
    both give one JSON document a line.
    """
    with invocation.store() as store:
        if session is not None:
            found = find_session(store, session, app, user)
            _tail_one(invocation, store, found.key, last, follow)
        else:
            _tail_all(invocation, store, _Owners(app, user), last, follow)


class _Owners:
    """Among whose sessions to look."""

    def __init__(self, app: str | None, user: str | None) -> None:
        self._app, self._user = app, user

    def sessions(self, store: SyncStore, after: datetime | None) -> Iterator[Session]:
        """Those changed later, the latest first."""
        app = any_or(self._app)
        user = ALL if app is ALL else any_or(self._user)
        for session in store.sessions.iter(app, user, updated_after=after):
            if self._user in {None, session.key.user}:
                yield session


def _tail_one(
    invocation: Invocation, store: SyncStore, key: SessionKey, last: int, follow: bool
) -> None:
    # What is stored between the two reads comes with the second.
    begin = store.sessions.get(key).last_seq
    there = store.events.read(key, recent=last, all_lines=True, before_seq=begin + 1)
    for event in there:
        _show(invocation, key, event, alone=True)
    if not follow:
        return
    sys.stdout.flush()
    for item in store.events.tail(key, begin):
        if isinstance(item, Rewritten):
            invocation.note(f"history was changed from event {item.from_seq} on")
        else:
            _show(invocation, key, item, alone=True)
            sys.stdout.flush()


def _tail_all(
    invocation: Invocation, store: SyncStore, owners: _Owners, last: int, follow: bool
) -> None:
    begin = next((one.updated_at for one in owners.sessions(store, None)), invocation.now)
    seen: dict[str, int] = {}
    for session, event in _latest(store, owners, last):
        seen[session.uid] = max(event.seq, seen.get(session.uid, 0))
        _show(invocation, session.key, event, alone=False)
    if follow:
        _follow_all(invocation, store, owners, begin, seen)


def _latest(store: SyncStore, owners: _Owners, last: int) -> list[tuple[Session, Event]]:
    """The events stored last, oldest first, whatever session they are in."""
    found: list[tuple[Session, Event]] = []
    for session in owners.sessions(store, None):
        # No event of this session, or of one after it, is younger than the session's change.
        if len(found) >= last and (not last or session.updated_at < found[-1][1].created_at):
            break
        events = store.events.read(session.key, recent=last, all_lines=True)
        found = nlargest(last, [*found, *((session, event) for event in events)], key=_stored)
    return found[::-1]


def _stored(item: tuple[Session, Event]) -> tuple[datetime, str, int]:
    session, event = item
    return event.created_at, session.uid, event.seq


def _follow_all(
    invocation: Invocation,
    store: SyncStore,
    owners: _Owners,
    begin: datetime,
    seen: dict[str, int],
) -> None:
    """Look for changed sessions again and again; each event is shown once.

    Looks back a little each time: several processes write, and their clocks may differ.
    """
    latest = begin
    took = 0.0
    while True:
        sys.stdout.flush()
        # A tenth of the time at most, however many sessions there are to look through.
        time.sleep(max(_PAUSE, 9 * took))
        started = time.monotonic()
        fresh: list[tuple[Session, Event]] = []
        for session in owners.sessions(store, latest - _LOOK_BACK):
            fresh += _fresh(store, session, begin, seen)
            latest = max(latest, session.updated_at)
        took = time.monotonic() - started
        for session, event in sorted(fresh, key=_stored):
            _show(invocation, session.key, event, alone=False)


def _fresh(
    store: SyncStore, session: Session, begin: datetime, seen: dict[str, int]
) -> list[tuple[Session, Event]]:
    """The events of a session that were not shown yet, and are not older than the beginning."""
    known = seen.get(session.uid)
    if known is not None and session.last_seq <= known:
        return []
    found = []
    try:
        for event in store.events.iter(session.key, all_lines=True, newest_first=True):
            if event.seq <= known if known is not None else event.created_at <= begin:
                break
            found.append((session, event))
    except NotFoundError:
        return []  # Deleted meanwhile.
    seen[session.uid] = max([session.last_seq, *(event.seq for _, event in found)])
    return found


# -- one event -----------------------------------------------------------------------------------


def _show(invocation: Invocation, key: SessionKey, event: Event, *, alone: bool) -> None:
    if invocation.form != "text":
        document: dict[str, Any] = {"session": key._asdict(), **event_document(event)}
        invocation.form = "jsonl"
        invocation.document(document)
    elif invocation.look.laid_out:
        print(_line(invocation, key, event, alone=alone))
    else:
        words = "".join(text for text, _ in headline(event)).strip()
        values = [when.iso(event.timestamp), key.id, str(event.seq), event.role, event.kind, words]
        invocation.lines(separated([values]))


def _line(invocation: Invocation, key: SessionKey, event: Event, *, alone: bool) -> str:
    look = invocation.look
    shown = cut(key.id, _ID_WIDTH)
    spans: list[Span] = [(f"{when.second(event.timestamp, invocation.zone)} ", "dim")]
    if not alone:
        spans.append((shown + " " * (_ID_WIDTH - cells(shown) + 1), "id"))
    spans.append((f"{event.seq:>4} ", "dim"))
    spans.append((f"{event.role or event.kind:<9} ", style_of(event.role)))
    return painted(cut_spans([*spans, *headline(event)], look.columns), look)


def headline(event: Event) -> list[Span]:
    """An event in a line: what was said, called, answered, changed."""
    spans: list[Span] = []
    for part in parts_of(event):
        if isinstance(part, ToolCall):
            given = compact(arguments_of(part))[:_LONGEST]
            spans += [("→ ", "call"), (part.name, "call"), (f" {given} ", "")]
        elif isinstance(part, Text):
            spans.append((" ".join(part.text[:_LONGEST].split()) + " ", ""))
    if not spans and event.error is None and (event.text or event.results):
        arrow = "← " if event.results else ""
        words = " ".join(event.text[:_LONGEST].split()) or "nothing"
        spans += [(arrow, "call"), (f"{words} ", "")]
    if event.error is not None:
        spans += [("✗ ", "bad"), (event.error.message[:_LONGEST] + " ", "bad")]
    for name, value in (event.state_delta or {}).items():
        spans += [("± ", "state"), (f"{name} = {compact(value)[:_LONGEST]} ", "state")]
    return spans
