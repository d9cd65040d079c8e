"""`PerdureSessionService`: sessions of trpc-agent-py in a perdure store."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import PrivateAttr
from trpc_agent_sdk.abc import ListSessionsResponse
from trpc_agent_sdk.log import logger
from trpc_agent_sdk.sessions import BaseSessionService, Session, SessionServiceConfig
from trpc_agent_sdk.utils import user_key

from perdure import records
from perdure.adapters.opened import opened
from perdure.adapters.snapshots import snapshot
from perdure.adapters.trpc.encoding import (
    each,
    new_event,
    numbers,
    same,
    shared,
    split,
    stored_delta,
    tame,
    tamed,
    temporary,
)
from perdure.adapters.trpc.window import Window, window_for, window_of
from perdure.errors import AlreadyExistsError, InvalidError, NotFoundError, StaleSessionError
from perdure.handles import Loaded
from perdure.records import ALL, AppScope, NewEvent, SessionKey, UserScope
from perdure.store import Store, SyncStore
from perdure.values import from_micros

if TYPE_CHECKING:
    from trpc_agent_sdk.events import Event

T = TypeVar("T")

#: In the session's metadata.
_WINDOW, _COUNT = "trpc:window", "trpc:conversation_count"
#: A session that was read is given its time anew when this part of it is left, or less.
_FRESH = 0.9


class _Session(Session):
    """A session that knows what its reader has seen of the store."""

    _seen: int = PrivateAttr(default=0)
    _count: int = PrivateAttr(default=0)
    #: The session's own state as it was read or written last.
    _known: dict[str, Any] = PrivateAttr(default_factory=dict)


class PerdureSessionService(BaseSessionService):
    """A trpc-agent session service over the sessions, events and state of a store.

    Takes a `Store` or a `SyncStore`, which stays the caller's to close, or a URL: a store of its
    own then, closed by `close`. The configuration is trpc-agent's; without one what falls out of
    the window is kept as historical events. An append to a session that is not there (deleted,
    expired) is a warning, as with trpc-agent's own services, and with ``strict=True`` a
    `NotFoundError`. With ``soft_delete=True`` a deleted session can be brought back with
    ``store.sessions.restore`` until a sweep, after the store's ``deleted_grace``.

    Events come back in the order in which they were stored, whatever their timestamps. Of a
    session that an update gives a new window, all events stay in the store.
    """

    def __init__(
        self,
        store: Store | SyncStore | str,
        *,
        summarizer_manager: Any = None,
        session_config: SessionServiceConfig | None = None,
        strict: bool = False,
        soft_delete: bool = False,
    ) -> None:
        super().__init__(summarizer_manager=summarizer_manager, session_config=session_config)
        if session_config is None:
            self._session_config.store_historical_events = True
        self._opened = opened(store)
        self.store = self._opened.store
        self._strict = strict
        self._soft_delete = soft_delete
        ttl = self._session_config.ttl
        self._ttl = timedelta(seconds=ttl.ttl_seconds) if ttl.need_ttl_expire() else None

    # -- sessions ----------------------------------------------------------------------------

    async def create_session(
        self,
        *,
        app_name: str,
        user_id: str,
        state: dict[str, Any] | None = None,
        session_id: str | None = None,
        agent_context: Any = None,  # noqa: ARG002 - trpc-agent's
    ) -> Session:
        """The new session; one that is there keeps its events, and the state is put into its own.

        A blank id is made here; blanks around one do not count.
        """
        key = SessionKey(app_name, user_id, (session_id or "").strip() or str(uuid.uuid4()))
        given = {name: value for name, value in (state or {}).items() if not temporary(name)}
        try:
            await _taking(
                lambda told: self.store.sessions.create(*key, state=told, ttl=self._ttl), given
            )
        except AlreadyExistsError:
            if given:
                await self._set_state(key, given)
        return self._session(await snapshot(self.store, key))

    async def get_session(
        self,
        *,
        app_name: str,
        user_id: str,
        session_id: str,
        agent_context: Any = None,  # noqa: ARG002 - trpc-agent's
    ) -> Session | None:
        """The session with what the configuration lets its agents see, or None."""
        try:
            loaded = await snapshot(self.store, SessionKey(app_name, user_id, session_id))
            await self._renew(loaded.session)
        except (NotFoundError, InvalidError):
            return None
        return self.filter_events(self._session(loaded))  # type: ignore[no-any-return, unused-ignore]

    async def _renew(self, session: records.Session) -> None:
        if self._ttl is None or session.expires_at is None:
            return
        left = session.expires_at - from_micros(self.store._settings.clock())
        if left < self._ttl * _FRESH:
            await self.store.sessions.update(session.key, ttl=self._ttl)

    async def list_sessions(
        self, *, app_name: str, user_id: str | None = None
    ) -> ListSessionsResponse:
        """The sessions of a user, or of all of the app, without their events, oldest first."""
        whose: Any = ALL if user_id is None else user_id
        found = self.store.sessions.iter(app_name, whose, order="created_at", with_state=True)
        return ListSessionsResponse(
            sessions=[self._session(Loaded(one, one.state or {}, [])) async for one in found]
        )

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Remove the session, if it is there."""
        # What cannot be an id is the id of none.
        with suppress(InvalidError):
            key = SessionKey(app_name, user_id, session_id)
            await self.store.sessions.delete(key, soft=self._soft_delete)

    async def close(self) -> None:
        """Close the summariser, and the store if it is the service's own."""
        await super().close()
        if self._opened.own:
            await asyncio.to_thread(self._opened.sync.close)

    def _session(self, loaded: Loaded) -> _Session:
        stored = loaded.session
        window = window_of(stored.metadata.get(_WINDOW))
        events = dict(each(loaded.events))
        keeps = self._session_config.store_historical_events
        made = _Session(
            id=stored.id,
            app_name=stored.key.app,
            user_id=stored.key.user,
            state=dict(loaded.state),
            events=_flat(events, window.active(events)),
            historical_events=_flat(events, window.historical) if keeps else [],
            conversation_count=stored.metadata.get(_COUNT, 0),
            last_update_time=stored.updated_at.timestamp(),
            save_key=user_key(stored.key.app, stored.key.user),
        )
        made._seen, made._count = stored.last_seq, made.conversation_count
        made._known = split(tame(loaded.state))[0]
        return made

    # -- events ------------------------------------------------------------------------------

    async def append_event(self, session: Session, event: Event) -> Event:
        """Store the event and what it does to the state; a partial one is only handed back.

        It is on disk when this returns. If it cannot be stored, the session is as it was.
        """
        if event.partial:
            return event
        before = _Before(session)
        try:
            event, fallen = self._append_event_to_session(session, event)
            done = await _storing(lambda new: self._append(session, new, fallen), new_event(event))
        except BaseException as error:
            before.restore(session)
            if not isinstance(error, NotFoundError):
                raise
            self._missing(session, error)
            return event
        session.last_update_time = done.created_at.timestamp()
        if isinstance(session, _Session):
            session._seen, session._count = done.seq, session.conversation_count
            session._known |= split(tame(stored_delta(event) or {}))[0]
        return event

    async def _append(self, session: Session, new: NewEvent, fallen: list[Event]) -> records.Event:
        key = _key(session)
        if fallen:
            return await self._shift(session, new, [one.id for one in fallen])
        if session.conversation_count == getattr(session, "_count", None):
            return (await self.store.events.append(key, new)).event
        async with self.store.turn() as turn:
            done = turn.events.append(key, new)
            turn.sessions.update(key, metadata={_COUNT: session.conversation_count})
        return done.value.event

    async def _shift(self, session: Session, new: NewEvent, fallen: list[str]) -> records.Event:
        """Append, and let some events fall out of the window, in one transaction."""
        key = _key(session)
        while True:
            loaded = await snapshot(self.store, key)
            window = window_of(loaded.session.metadata.get(_WINDOW))
            seqs = [one.seq for one in loaded.events]
            by_id = numbers(loaded.events)
            own = loaded.session.last_seq + 1
            by_id.setdefault(str(new.id), own)
            gone = [
                by_id[one] for one in fallen if by_id.get(one, 0) not in (0, *window.historical)
            ]
            active = [seq for seq in (*window.active(seqs), own) if seq not in gone]
            moved = window_for([*seqs, own], active, [*window.historical, *gone])
            try:
                async with self.store.turn() as turn:
                    done = turn.events.append(key, new, expected_version=loaded.session.version)
                    turn.sessions.update(key, metadata=_told(session, moved))
            except StaleSessionError:
                continue
            return done.value.event

    # -- the whole session, and its state ----------------------------------------------------

    async def update_session(self, session: Session) -> None:
        """Make the stored session what this one is: its events, their order, and its own state.

        Events that are new or changed are stored; those that are seen no more stay in the store,
        and those that others have appended since this session was read stay seen. So it is with
        state: what was changed or removed in this session is stored. One transaction.
        """
        while True:
            try:
                loaded = await snapshot(self.store, _key(session))
            except NotFoundError as error:
                return self._missing(session, error)
            try:
                return await self._replace(session, loaded)
            except StaleSessionError:
                continue

    async def _replace(self, session: Session, loaded: Loaded) -> None:
        key, seen = _key(session), getattr(session, "_seen", loaded.session.last_seq)
        placing = _Placing(loaded)
        keeps = self._session_config.store_historical_events
        historical = placing.of(session.historical_events) if keeps else []
        active = placing.of(session.events)
        news = [seq for seq in placing.seqs if seq > seen and seq not in {*active, *historical}]
        unseen = [seq for seq in news if seq <= loaded.session.last_seq]
        window = window_for(placing.seqs, active + unseen, historical)
        own = split(tame(session.state))[0]
        values, gone = _changes(getattr(session, "_known", loaded.state), own)
        version = loaded.session.version
        async with self.store.turn() as turn:
            turn.sessions.update(key, metadata=_told(session, window), expected_version=version)
            if placing.new:
                turn.events.append(key, *map(tamed, placing.new))
            if values:
                turn.state.set(key, values)
            for name in gone:
                turn.state.delete(key, name)
        if isinstance(session, _Session):
            session._known = own
            session._seen, session._count = max(placing.seqs, default=0), session.conversation_count

    async def update_session_state(self, session: Session, state_delta: dict[str, Any]) -> None:
        """Store the delta, each name where its prefix says; events are left alone."""
        if not state_delta:
            return
        session.state.update(state_delta)
        try:
            await self._set_state(_key(session), state_delta)
        except NotFoundError as error:
            self._missing(session, error)
        else:
            if isinstance(session, _Session):
                session._known |= split(tame(state_delta))[0]

    async def _set_state(self, key: SessionKey, state: dict[str, Any]) -> None:
        own, user, app = split(tame(state))
        scopes = (key, own), (UserScope(key.app, key.user), user), (AppScope(key.app), app)
        async with self.store.turn() as turn:
            turn.sessions.update(key)
            for scope, values in scopes:
                if values:
                    turn.state.set(scope, values)

    # -- summaries ---------------------------------------------------------------------------

    async def get_session_summary(self, session: Session) -> str | None:
        """The summary; after a restart that which stands at the head of the session."""
        told: str | None = await super().get_session_summary(session)
        if told is None:
            heads = [event for event in session.events if event.is_summary_event()]
            told = heads[-1].get_text() or None if heads else None
        return told

    def _missing(self, session: Session, error: NotFoundError) -> None:
        if self._strict:
            raise error
        logger.warning("session %s is not in the store: nothing was stored", session.id)


class _Before:
    """A session as it was, in the same lists."""

    def __init__(self, session: Session) -> None:
        self._lists = [(one, [*one]) for one in (session.events, session.historical_events)]
        self._state = session.state, {**session.state}
        self._updated = session.last_update_time

    def restore(self, session: Session) -> None:
        """Make the session that again."""
        for one, values in self._lists:
            one[:] = values
        session.events, session.historical_events = (one for one, _ in self._lists)
        session.state, as_it_was = self._state
        session.state.clear()
        session.state.update(as_it_was)
        session.last_update_time = self._updated


class _Placing:
    """Where the events of a session stand in the store; those that do not yet are to be stored."""

    def __init__(self, loaded: Loaded) -> None:
        self.seqs = [one.seq for one in loaded.events]
        self.new: list[NewEvent] = []
        self._last = loaded.session.last_seq
        self._known: dict[str, list[tuple[int, Event]]] = {}
        for seq, events in each(loaded.events):
            for one in events:
                self._known.setdefault(one.id, []).append((seq, one))

    def of(self, events: list[Event]) -> list[int]:
        """Their seqs, in order; what says several things is one."""
        return list(dict.fromkeys(self._of(event) for event in events))

    def _of(self, event: Event) -> int:
        known = self._known.setdefault(event.id, [])
        for seq, one in known:
            if one is event or same(one, event):
                return seq
        self.new.append(new_event(event, again=bool(known)))
        seq = self._last + len(self.new)
        self.seqs.append(seq)
        known.append((seq, event))
        return seq


def _changes(known: Any, own: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What to set and what to remove, that the session's own state be what is wanted."""
    values = {name: value for name, value in own.items() if known.get(name, _changes) != value}
    return values, [name for name in known if not shared(name) and name not in own]


def _told(session: Session, window: Window) -> dict[str, Any]:
    return {_WINDOW: window.to_json(), _COUNT: session.conversation_count}


def _flat(events: dict[int, list[Event]], seqs: Any) -> list[Event]:
    return [one for seq in seqs for one in events.get(seq, ())]


def _key(session: Session) -> SessionKey:
    return SessionKey(session.app_name, session.user_id, session.id)


async def _storing(put: Callable[[NewEvent], Any], new: NewEvent) -> Any:
    """What is stored of the event; what JSON cannot hold of it is stored as text."""
    try:
        return await put(new)
    except InvalidError:
        return await put(tamed(new))


async def _taking(put: Callable[[Any], Any], value: Any) -> Any:
    try:
        return await put(value)
    except InvalidError:
        return await put(tame(value))
