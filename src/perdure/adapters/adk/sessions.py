"""`PerdureSessionService`: ADK's sessions in a perdure store."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from google.adk.errors._stale_session_error import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.sessions.base_session_service import (
    BaseSessionService,
    GetSessionConfig,
    ListSessionsResponse,
)
from google.adk.sessions.session import Session

from perdure import errors, records
from perdure.adapters.adk.encoding import (
    events_of,
    moment,
    new_event,
    plain_state,
    tidied,
)
from perdure.adapters.adk.placeholders import adopted, is_placeholder
from perdure.adapters.service import Service
from perdure.adapters.snapshots import snapshot
from perdure.handles import Loaded
from perdure.records import ALL, DELETE, Appended, NewEvent, SessionKey, UserScope
from perdure.store import Store, SyncStore

if TYPE_CHECKING:
    from google.adk.events.event import Event

_STALE = (
    "The session has been modified in storage since it was loaded: get it again before you "
    "append more events"
)
_PAGE = 1_000


class PerdureSessionService(Service, BaseSessionService):
    """An ADK session service over a perdure store.

    ``store`` is a `Store` or a `SyncStore`, which stays the caller's to close, or a URL: then the
    service has a store of its own, which `close` closes. Sessions are those of the store:
    ``app_name``, ``user_id`` and the id are their key. What another framework has written to one
    is read as events of ADK; ``agent`` names the agent that is then taken to have said what the
    other's assistant said (None: the author that is stored). ``soft_delete``: what is deleted can
    be brought back with ``store.sessions.restore`` until a sweep, after the store's
    ``deleted_grace``.
    """

    def __init__(
        self,
        store: Store | SyncStore | str,
        *,
        agent: str | None = None,
        soft_delete: bool = False,
    ) -> None:
        super().__init__(store)
        self._agent = agent
        self._soft_delete = soft_delete
        self._order: dict[int, _Order] = {}

    # -- sessions ----------------------------------------------------------------------------

    async def create_session(
        self,
        *,
        app_name: str,
        user_id: str,
        state: dict[str, Any] | None = None,
        session_id: str | None = None,
    ) -> Session:
        """A new session, with the state of its app and its user merged in.

        A blank id is made up, blanks around one are not part of it. `AlreadyExistsError` if the id
        is in use; of several that create it at the same moment one succeeds.
        """
        key = SessionKey(app_name, user_id, (session_id or "").strip())
        try:
            made = await self._create(key, state)
        except errors.AlreadyExistsError as error:
            raise AlreadyExistsError(f"Session with id {key.id} already exists.") from error
        return self._session(await snapshot(self.store, made.key, recent=0), [])

    async def _create(self, key: SessionKey, state: Mapping[str, Any] | None) -> records.Session:
        try:
            return await self._put(key, state)
        except errors.TooLargeError:
            raise
        except errors.InvalidError:
            # Some value is no JSON, if it is not a name that is wrong: then it is again.
            return await self._put(key, plain_state(state or {}))

    async def _put(self, key: SessionKey, state: Mapping[str, Any] | None) -> records.Session:
        try:
            return await self.store.sessions.create(key.app, key.user, key.id, state=state)
        except errors.AlreadyExistsError:
            made = await adopted(self.store, key, state)
            if made is None:
                raise
            return made

    async def get_session(
        self,
        *,
        app_name: str,
        user_id: str,
        session_id: str,
        config: GetSessionConfig | None = None,
    ) -> Session | None:
        """The session with its events in the order they were appended, or None.

        Everything in it is a copy, read from one snapshot.
        """
        session_id = session_id.strip() if session_id else ""
        if not session_id:
            return None
        recent = None if config is None else config.num_recent_events
        after = None if config is None else config.after_timestamp
        try:
            loaded = await snapshot(
                self.store,
                SessionKey(app_name, user_id, session_id),
                recent=recent,
                after_time=None if after is None else moment(after),
            )
        except errors.NotFoundError:
            return None
        if is_placeholder(loaded.session):
            return None
        events = events_of(loaded.events, self._agent)
        if after is not None:
            # The store looks at microseconds, this at all of the number.
            events = [event for event in events if event.timestamp >= after]
        return self._session(loaded, events)

    def _session(self, loaded: Loaded, events: list[Event]) -> Session:
        return _session(loaded.session, loaded.state, events)

    async def list_sessions(
        self, *, app_name: str, user_id: str | None = None
    ) -> ListSessionsResponse:
        """Sessions without their events, those that were updated last at the end.

        Of one user, be the id an empty text, or of all.
        """
        found: list[records.Session] = []
        cursor = None
        while True:
            page = await self.store.sessions.list(
                app_name,
                ALL if user_id is None else user_id,
                order="id",
                with_state=True,
                cursor=cursor,
                limit=_PAGE,
            )
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        sessions = [_session(one, one.state or {}, []) for one in found if not is_placeholder(one)]
        sessions.sort(key=lambda one: (one.last_update_time, one.user_id, one.id))
        return ListSessionsResponse(sessions=sessions)

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Delete the session with its events and artifacts; nothing happens if there is none."""
        session_id = session_id.strip() if session_id else ""
        if session_id:
            key = SessionKey(app_name, user_id, session_id)
            await self.store.sessions.delete(key, soft=self._soft_delete)

    async def get_user_state(self, *, app_name: str, user_id: str) -> dict[str, Any]:
        """What all sessions of the user share, without the prefix; there before any of them."""
        scope = UserScope(app_name, user_id)
        return {entry.name: entry.value async for entry in self.store.state.iter(scope)}

    # -- events ------------------------------------------------------------------------------

    async def append_event(self, session: Session, event: Event) -> Event:
        """Store the event with what it changes of the state, in one transaction.

        Then ``session`` has both, too; before that it is as it was. `StaleSessionError` if
        anybody else has written to the session since it was loaded, `SessionNotFoundError` if it
        is gone. The same event again is stored once; another one with its id is an
        `AlreadyExistsError`. A partial event is handed back as it is.
        """
        if event.partial:
            return event
        # Of one object the appends go one after the other: each goes by what the last one left.
        mine = self._order.setdefault(id(session), _Order())
        mine.waiting += 1
        try:
            async with mine.lock:
                return await self._append(session, event)
        finally:
            mine.waiting -= 1
            if not mine.waiting:
                del self._order[id(session)]

    async def _append(self, session: Session, event: Event) -> Event:
        key = SessionKey(session.app_name, session.user_id, session.id)
        expected = await self._expected(session, key)
        new = new_event(event)
        try:
            done = await self._stored(key, new, expected)
        except errors.StaleSessionError as error:
            raise StaleSessionError(_STALE) from error
        except errors.NotFoundError as error:
            raise SessionNotFoundError(f"Session {session.id} not found.") from error
        except errors.ConflictError as error:
            message = f"Event with id {event.id} already exists, with other content."
            raise AlreadyExistsError(message) from error
        version = done.version
        if done.duplicate:
            if not _comes_next(session, done, expected):
                return event
            version = done.event.version
        session.last_update_time = (new.timestamp or done.event.timestamp).timestamp()
        session._storage_update_marker = str(version)
        self._apply_temp_state(session, event)
        self._trim_temp_delta_state(event)
        return self._commit_event_to_session(session, event)

    def _update_session_state(self, session: Session, event: Event) -> None:
        for key, value in event.actions.state_delta.items():
            if value is DELETE:
                session.state.pop(key, None)
            else:
                session.state[key] = value

    async def _stored(self, key: SessionKey, new: NewEvent, expected: int) -> Appended:
        append = self.store.events.append
        try:
            return await append(key, new, expected_version=expected)
        except errors.TooLargeError:
            raise
        except errors.InvalidError:
            # Nothing was written. If it is not a value, it is refused again.
            return await append(key, tidied(new), expected_version=expected)

    async def _expected(self, session: Session, key: SessionKey) -> int:
        """The version that the caller has seen."""
        marker = session._storage_update_marker
        if marker is not None and marker.isdecimal():
            return int(marker)
        return await self._guessed(session, key)

    async def _guessed(self, session: Session, key: SessionKey) -> int:
        """The same for a session that was made by hand, or has been through JSON."""
        try:
            loaded = await snapshot(self.store, key, recent=1)
        except errors.NotFoundError as error:
            raise SessionNotFoundError(f"Session {session.id} not found.") from error
        last = loaded.events[-1].id if loaded.events else None
        if last != (session.events[-1].id if session.events else None):
            ahead = _last_update(loaded.session) - session.last_update_time
            if ahead > 0 or (ahead == 0 and session.events):
                raise StaleSessionError(_STALE)
        return loaded.session.version

    async def flush(self) -> None:
        """Nothing is held back: what `append_event` has returned for is on disk."""


class _Order:
    """Who appends through one session object, one after the other."""

    __slots__ = ("lock", "waiting")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0


def _comes_next(session: Session, done: Appended, expected: int) -> bool:
    """Whether what is stored already came right after what the caller has seen.

    Then an earlier try of this call has stored it, and nobody has told the caller.
    """
    seen = any(event.id == done.event.id for event in session.events)
    return done.event.version == expected + 1 and not seen


def _session(found: records.Session, state: Mapping[str, Any], events: list[Event]) -> Session:
    session = Session(
        id=found.id,
        app_name=found.key.app,
        user_id=found.key.user,
        state=dict(state),
        events=events,
        last_update_time=_last_update(found),
    )
    session._storage_update_marker = str(found.version)
    return session


def _last_update(found: records.Session) -> float:
    return (found.last_event_at or found.created_at).timestamp()


__all__ = ["PerdureSessionService"]
