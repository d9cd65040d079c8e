"""A handle on one session: the only mutable object of perdure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from perdure.errors import StateKeyError
from perdure.features.drafts import as_event
from perdure.features.events import Events
from perdure.features.scopes import TEMP_PREFIX
from perdure.features.sessions import Sessions
from perdure.features.state import State
from perdure.operation import Feature, Flow, M, Operation, Plan, Runner, Settings, flow, run
from perdure.records import (
    DELETE,
    JSON,
    Appended,
    Event,
    EventInput,
    Marker,
    NewEvent,
    Session,
    SessionKey,
)


class HandleState(MutableMapping[str, JSON]):
    """The merged state of a session as a mapping, with ``app:``, ``user:`` and ``temp:`` keys.

    What is set or deleted here goes into the delta of the next append of its handle. A
    missing key is a `StateKeyError`, which is a `KeyError`.
    """

    def __init__(self, values: Mapping[str, JSON]) -> None:
        self._values = dict(values)
        self._changes: dict[str, JSON | Marker] = {}

    def __getitem__(self, key: str) -> JSON:
        try:
            return self._values[key]
        except KeyError:
            raise StateKeyError(f"no state {key!r}") from None

    def __setitem__(self, key: str, value: JSON) -> None:
        if value is DELETE:
            self._values.pop(key, None)
        else:
            self._values[key] = value
        self._changes[key] = value

    def __delitem__(self, key: str) -> None:
        self[key]
        self[key] = DELETE

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._values!r})"

    def pending(self) -> dict[str, JSON | Marker]:
        """What was changed since the last append."""
        return dict(self._changes)

    def stored(
        self,
        deltas: Mapping[str, JSON | Marker],
        values: Mapping[str, JSON],
        sent: Mapping[str, JSON | Marker],
    ) -> None:
        """Take over what a commit has made of the state; ``temp:`` keys are only here.

        What was set again while the commit was under way still waits for the next one.
        """
        for key, value in sent.items():
            if key in self._changes and self._changes[key] is value:
                del self._changes[key]
        temp = {k: v for k, v in self._values.items() if k.startswith(TEMP_PREFIX)}
        temp |= {k: v for k, v in deltas.items() if k.startswith(TEMP_PREFIX)}
        kept = {key: value for key, value in temp.items() if value is not DELETE}
        waiting = {k: v for k, v in self._changes.items() if v is not DELETE}
        gone = [key for key, value in self._changes.items() if value is DELETE]
        self._values = {**values, **kept, **waiting}
        for key in gone:
            self._values.pop(key, None)


class Loaded(NamedTuple):
    """What a handle is made of, read from one snapshot each."""

    session: Session
    state: dict[str, JSON]
    events: list[Event]


class SessionHandle(Feature[M]):
    """One session, to be read and appended to: made by `store.session(app, user, id)`.

    The handle remembers the version it was read at and appends with it, so two handles on one
    session never overwrite each other: the later one gets `StaleSessionError`, changes
    nothing, and may `refresh`.
    """

    name = "handle"

    def __init__(
        self,
        runner: Runner,
        settings: Settings,
        loaded: Loaded,
        recent: int | None,
        fence: int | None = None,
    ) -> None:
        super().__init__(runner, settings)
        self.key: SessionKey = loaded.session.key
        self._recent = recent
        #: That of the run lease it was made with: each append gives it.
        self.fence = fence
        self.state = HandleState(loaded.state)
        self._take(loaded)

    def _take(self, loaded: Loaded) -> None:
        self.version = loaded.session.version
        self.last_update_time: datetime = loaded.session.updated_at
        self.events = loaded.events

    @property
    def app(self) -> str:
        """The app of the session's key."""
        return self.key.app

    @property
    def user(self) -> str:
        """The user of the session's key."""
        return self.key.user

    @property
    def id(self) -> str:
        """The id of the session's key."""
        return self.key.id

    @flow
    def append(self, *events: EventInput) -> Flow[Appended]:
        """Append with what was set in `state`, if nobody else has written since it was read.

        Raises `StaleSessionError` and stays as it was; else version, state, events and
        last_update_time advance. With no event, and something set, the state alone is stored.
        What was set is part of the first event: a retry with that event's id must carry it
        again, in its ``state_delta``.
        """
        given = [as_event(event) for event in events]
        pending = self.state.pending()
        if not given and all(key.startswith(TEMP_PREFIX) for key in pending):
            yield from run(Operation("handle.append", (), {}, lambda _: _nothing(), reads=True))
            return Appended((), self.version)
        sent = _with_delta(given, pending)
        done = yield from run(
            Events.append.of(
                self._events(), self.key, *sent, expected_version=self.version, fence=self.fence
            )
        )
        if done.duplicate and not self._next(done):
            # Stored before this handle was read: its state has that already, and what followed.
            self.state.stored({}, {**self.state}, pending)
            return done
        deltas = _deltas(sent)
        # As it was stored: what `on_write` has taken out is not here either.
        kept = _deltas(done.events)
        values = {k: v for k, v in {**self.state}.items() if k not in kept}
        values |= {key: value for key, value in kept.items() if value is not DELETE}
        self.state.stored(deltas, values, pending)
        self._advance(done)
        return done

    def _advance(self, done: Appended) -> None:
        stored = [event for event in done.events if not event.partial]
        if stored:
            self.version = stored[-1].version
            self.last_update_time = stored[-1].created_at
        self.events.extend(stored)
        limit = self._settings.event_limit
        if limit and len(self.events) > limit * 11 // 10:
            del self.events[:-limit]

    def _next(self, done: Appended) -> bool:
        """Whether what is stored already came right after what this handle has read.

        Then an earlier call of its own, cancelled while it waited, has stored it.
        """
        stored = [event for event in done.events if not event.partial]
        return bool(stored) and stored[-1].version == self.version + 1

    @flow
    def refresh(self) -> Flow[None]:
        """Read again what others have written; what was set and not appended is kept."""
        loaded = yield from load(self._runner, self._settings, self.key, self._recent)
        self._take(loaded)
        self.state.stored({}, loaded.state, {})

    def _events(self) -> Events[Any]:
        return Events(self._runner, self._settings)


def _nothing() -> Plan[None]:
    """Nothing to store; but a closed store says so."""
    yield from ()


def _deltas(events: Iterable[NewEvent | Event]) -> dict[str, JSON | Marker]:
    """What the whole ones bring to the state, the last value of each key."""
    deltas: dict[str, JSON | Marker] = {}
    for event in events:
        if not event.partial:
            deltas |= event.state_delta or {}
    return deltas


def _with_delta(given: list[NewEvent], pending: dict[str, JSON | Marker]) -> list[NewEvent]:
    """The events, the first whole one with what was set in the handle's state before."""
    whole = [event for event in given if not event.partial]
    if not pending:
        return given
    if not whole:
        return [*given, NewEvent(state_delta=pending)]
    first = whole[0]
    merged = replace(first, state_delta={**pending, **(first.state_delta or {})})
    return [merged if event is first else event for event in given]


def load(
    runner: Runner,
    settings: Settings,
    key: SessionKey,
    recent: int | None,
    after_time: datetime | None = None,
) -> Flow[Loaded]:
    """What a handle needs: the session, its merged state, its events as `events.read` has them."""
    op: Operation[Loaded] = _loading(runner, settings, key, recent, after_time)
    return (yield from run(op))


def _loading(
    runner: Runner,
    settings: Settings,
    key: SessionKey,
    recent: int | None,
    after_time: datetime | None,
) -> Operation[Loaded]:
    # One operation, so that version, state and events are of one snapshot.
    session = Sessions.get.of(Sessions(runner, settings), key)
    state = State.merged.of(State(runner, settings), key)
    events = Events.read.of(Events(runner, settings), key, recent=recent, after_time=after_time)

    def work(bumps: Any) -> Any:
        return Loaded(
            (yield from session.work(bumps)),
            (yield from state.work(bumps)),
            (yield from events.work(bumps)),
        )

    return Operation("handle.load", (key,), {}, work, reads=True)
