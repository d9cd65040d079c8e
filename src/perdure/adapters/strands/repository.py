"""`PerdureSessionRepository`: sessions, agents and messages of strands in a perdure store."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from strands.session import SessionRepository
from strands.types.exceptions import SessionException
from strands.types.session import Session, SessionAgent, SessionMessage, SessionType

from perdure.adapters.opened import opened
from perdure.adapters.strands.encoding import (
    Change,
    Seen,
    as_now,
    digest_of,
    event_id,
    event_of,
    found,
    makers,
    messages_of,
    number_of,
    stored,
    text_of,
)
from perdure.errors import AlreadyExistsError, ConflictError, InvalidError, NotFoundError
from perdure.records import SessionKey
from perdure.store import Store, SyncStore

#: In the session's metadata, and before the names of what strands keeps in its state.
_STRANDS = "strands"
#: Where a number is looked for first: among the last so many events.
_RECENT = 50
#: How often others may be quicker, one after the other.
_TRIES = 100


class PerdureSessionRepository(SessionRepository):
    """A `strands.session.SessionRepository` over the sessions of a store.

    A session of strands is the store's session of that id (of ``app`` and ``user``), each message
    an event of it, and what an agent is stands in its state; so it forks, rewinds, expires and is
    erased with the session. Takes a `Store` or a `SyncStore`, which stays the caller's to close,
    or a URL: a store of its own then, closed by `close`. With ``soft_delete=True`` a deleted
    session can be brought back with ``store.sessions.restore`` until a sweep, after the store's
    ``deleted_grace``.

    For any thread and process. A message whose number another process has taken meanwhile keeps
    its place behind: it gets the next number, in ``session_message.message_id`` too.
    """

    def __init__(
        self,
        store: Store | SyncStore | str,
        *,
        app: str = "",
        user: str = "",
        soft_delete: bool = False,
    ) -> None:
        self._opened = opened(store)
        self._soft_delete = soft_delete
        self._store = self._opened.sync
        self._app, self._user = app, user
        # When each agent that is known to be there was made.
        self._made: dict[tuple[str, str], str] = {}

    @property
    def store(self) -> SyncStore:
        """The store below."""
        return self._store

    def key(self, session_id: str) -> SessionKey:
        """The key of a session in the store."""
        return SessionKey(self._app, self._user, session_id)

    def close(self) -> None:
        """Close the store, if it is the repository's own."""
        if self._opened.own:
            self._store.close()

    # -- sessions ----------------------------------------------------------------------------

    def create_session(self, session: Session, **_: Any) -> Session:
        """Make a session; `SessionException` if it is there."""
        told = {**session.to_dict(), "session_type": SessionType(session.session_type).value}
        try:
            self._store.sessions.create(
                *self.key(session.session_id), agent_type=_STRANDS, metadata={_STRANDS: told}
            )
        except AlreadyExistsError as error:
            raise SessionException(f"Session {session.session_id} already exists") from error
        return session

    def read_session(self, session_id: str, **_: Any) -> Session | None:
        """The session, whoever made it, or None."""
        there = self._store.sessions.find(self.key(session_id))
        if there is None:
            return None
        told = there.metadata.get(_STRANDS)
        if isinstance(told, dict):
            return Session.from_dict({**told, "session_id": session_id})
        times = there.created_at.isoformat(), there.updated_at.isoformat()
        return Session(session_id, SessionType.AGENT, *times)

    def delete_session(self, session_id: str, **_: Any) -> None:
        """Remove the session and all that hangs on it; `SessionException` if it is not there."""
        key = self.key(session_id)
        if not self._store.sessions.delete(key, soft=self._soft_delete):
            raise SessionException(f"Session {session_id} does not exist")
        for known in [one for one in self._made if one[0] == session_id]:
            del self._made[known]

    # -- agents ------------------------------------------------------------------------------

    def create_agent(self, session_id: str, session_agent: SessionAgent, **_: Any) -> None:
        """Store an agent; `SessionException` if there is no such session."""
        agent_id = session_agent.agent_id
        self._put(session_id, _name("agent", agent_id), session_agent.to_dict())
        self._made[session_id, agent_id] = session_agent.created_at

    def read_agent(self, session_id: str, agent_id: str, **_: Any) -> SessionAgent | None:
        """The agent, or None."""
        told = self._get(session_id, _name("agent", agent_id))
        if told is None:
            return None
        agent = SessionAgent.from_dict(found(told))
        self._made[session_id, agent_id] = agent.created_at
        return agent

    def update_agent(self, session_id: str, session_agent: SessionAgent, **_: Any) -> None:
        """Store the agent anew, made when it was; `SessionException` if it is not there."""
        self._see(session_id, session_agent.agent_id)
        session_agent.created_at = self._made[session_id, session_agent.agent_id]
        self._put(session_id, _name("agent", session_agent.agent_id), session_agent.to_dict())

    # -- messages ----------------------------------------------------------------------------

    def create_message(
        self, session_id: str, agent_id: str, session_message: SessionMessage, **_: Any
    ) -> None:
        """Store a message behind all others of the session.

        If its number is taken by another message, it gets the next one, and
        ``session_message.message_id`` says so. The same message again is stored once.
        """
        _check_number(session_message.message_id)
        self._see(session_id, agent_id)
        message = session_message.to_message()
        with _told(f"Session {session_id} does not exist"):
            while True:
                try:
                    return stored(
                        lambda content: self._append(
                            session_id, agent_id, session_message, content
                        ),
                        message,
                    )
                except ConflictError:
                    # Not all events of such an id are messages of the agent.
                    last = self._last(session_id, agent_id)
                    session_message.message_id = max(last, session_message.message_id) + 1

    def _append(self, session_id: str, agent_id: str, message: SessionMessage, said: Any) -> None:
        self._store.events.append(self.key(session_id), event_of(agent_id, message, said))

    def _last(self, session_id: str, agent_id: str) -> int:
        """The highest number of a message of the agent, on whatever branch."""
        for recent in (_RECENT, None):
            events = self._store.events.read(self.key(session_id), recent=recent, all_lines=True)
            numbers = [number_of(event, agent_id) for event in events]
            if known := [number for number in numbers if number is not None]:
                return max(known)
        return -1

    def read_message(
        self, session_id: str, agent_id: str, message_id: int, **_: Any
    ) -> SessionMessage | None:
        """The message of that number, or None."""
        _check_number(message_id)
        messages = self._messages(session_id, agent_id)
        return next((one for one in messages if one.message_id == message_id), None)

    def update_message(
        self, session_id: str, agent_id: str, session_message: SessionMessage, **_: Any
    ) -> None:
        """Put the message, or what redacts it, in the place of what is stored under its number.

        What was there is gone, in forks of the session as well. One that was made from several
        events of another framework is gone from all of them. `SessionException` if there is none
        of that number.
        """
        number = _check_number(session_message.message_id)
        key = self.key(session_id)
        missing = f"Message {number} does not exist"
        with _told(missing):
            at = [event_id(agent_id, number)]
            if self._store.events.find(key, at[0]) is None:
                at = self._foreign(session_id, agent_id, number)
            name = _name("changed", agent_id)

            def put(content: Any) -> None:
                changed, version = self._versioned(key, name)
                changed.pop(str(number), None)
                with self._store.turn() as turn:
                    turn.events.redact(key, at[0], content)
                    for other in at[1:]:
                        turn.events.redact(key, other, None)
                    # Written also where nothing goes: who is about to store what was made from
                    # the message as it was has to look again.
                    turn.state.set(key, {name: changed}, expected_versions={name: version})

            _again(lambda: stored(put, session_message.to_message()))

    def _foreign(self, session_id: str, agent_id: str, number: int) -> list[str]:
        """The events behind a message that another framework wrote."""
        for one in self._seen(session_id, agent_id):
            if one.message.message_id == number:
                return makers(one)
        raise SessionException(f"Message {number} does not exist")

    def list_messages(
        self,
        session_id: str,
        agent_id: str,
        limit: int | None = None,
        offset: int = 0,
        **_: Any,
    ) -> list[SessionMessage]:
        """What the agent sees of the session, oldest first.

        Its own messages, and what other frameworks have added to the session, converted.
        `SessionException` if there is no such agent.
        """
        messages = self._messages(session_id, agent_id)
        if not messages:
            self._see(session_id, agent_id)
        end = None if limit is None else offset + limit
        return messages[offset:end]

    def has_messages(self, session_id: str) -> bool:
        """Whether a new agent would find messages in the session: those of other frameworks."""
        return bool(self._seen(session_id, ""))

    def _messages(self, session_id: str, agent_id: str) -> list[SessionMessage]:
        seen = self._seen(session_id, agent_id)
        told = self._get(session_id, _name("changed", agent_id)) if seen else None
        changed = found(told or {})
        return [as_now(one.message, changed) for one in seen]

    def _seen(self, session_id: str, agent_id: str) -> list[Seen]:
        """What the agent sees, as the events say it."""
        try:
            events = self._store.events.read(self.key(session_id))
        except NotFoundError:
            return []
        return messages_of(events, agent_id)

    # -- what agents have changed of their messages ------------------------------------------

    def changed(self, session_id: str, agent_id: str) -> dict[str, Any]:
        """The messages, by number, that the agent has shortened or marked for itself."""
        told = self._get(session_id, _name("changed", agent_id))
        return {number: one["message"] for number, one in found(told or {}).items()}

    def keep_changed(
        self, session_id: str, agent_id: str, changes: Sequence[Change], *, first: int = 0
    ) -> None:
        """Store them: they come back with the agent, and the events stay what they were.

        What another process has kept of other messages stays, from the number ``first`` on.
        Nothing is kept of a message that was redacted since.
        """
        key, name = self.key(session_id), _name("changed", agent_id)

        def put() -> None:
            there, version = self._versioned(key, name)
            new = {str(one.number): _change(one) for one in changes}
            kept = {**found(there), **new}
            # Looked at behind the version: a redaction that comes later makes that an old one.
            said = self._said(session_id, agent_id, kept)
            kept = {
                number: one
                for number, one in kept.items()
                if (number, one["of"]) in said and (int(number) >= first or number in new)
            }
            expected = {name: version}
            stored(
                lambda told: self._store.state.set(key, {name: told}, expected_versions=expected),
                kept,
            )

        with _told(f"Session {session_id} does not exist"):
            _again(put)

    def _said(
        self, session_id: str, agent_id: str, numbers: Container[str]
    ) -> set[tuple[str, str]]:
        """What the messages of these numbers say in the store, as digests."""
        messages = [one.message for one in self._seen(session_id, agent_id)]
        return {
            (str(one.message_id), digest_of(text_of(one.to_message())))
            for one in messages
            if str(one.message_id) in numbers
        }

    def _versioned(self, key: SessionKey, name: str) -> tuple[dict[str, Any], int]:
        """A mapping in the session's state, with the version that a write of it has to name."""
        entry = self._store.state.find(key, name)
        return (dict(entry.value), entry.version) if entry else ({}, 0)

    # -- graphs and swarms -------------------------------------------------------------------

    def create_multi_agent(self, session_id: str, multi_agent: Any, **_: Any) -> None:
        """Store the state of a graph or swarm; `SessionException` if there is no session."""
        self._put(session_id, _name("multi_agent", multi_agent.id), multi_agent.serialize_state())

    def read_multi_agent(
        self, session_id: str, multi_agent_id: str, **_: Any
    ) -> dict[str, Any] | None:
        """The state of a graph or swarm, or None."""
        told = self._get(session_id, _name("multi_agent", multi_agent_id))
        return None if told is None else dict(found(told))

    def update_multi_agent(self, session_id: str, multi_agent: Any, **_: Any) -> None:
        """Store its state anew; `SessionException` if it is not there."""
        name = _name("multi_agent", multi_agent.id)
        if (session_id, name) not in self._made:
            if self._get(session_id, name) is None:
                message = (
                    f"MultiAgent state {multi_agent.id} in session {session_id} does not exist"
                )
                raise SessionException(message)
            self._made[session_id, name] = ""
        self._put(session_id, name, multi_agent.serialize_state())

    # -- below -------------------------------------------------------------------------------

    def _see(self, session_id: str, agent_id: str) -> None:
        """`SessionException` unless the agent is there; looked up once."""
        if (session_id, agent_id) not in self._made and not self.read_agent(session_id, agent_id):
            message = f"Agent {agent_id} in session {session_id} does not exist"
            raise SessionException(message)

    def _get(self, session_id: str, name: str) -> Any:
        try:
            entry = self._store.state.find(self.key(session_id), name)
        except NotFoundError:
            return None
        return None if entry is None else entry.value

    def _put(self, session_id: str, name: str, value: Any) -> None:
        with _told(f"Session {session_id} does not exist"):
            stored(lambda told: self._store.state.set(self.key(session_id), {name: told}), value)


def _change(change: Change) -> dict[str, Any]:
    return {"of": digest_of(change.whole), "message": change.message}


def _name(kind: str, id: str) -> str:
    return f"{_STRANDS}:{kind}:{id}"


def _again(put: Callable[[], None]) -> None:
    """Read and write until nobody was quicker; `ConflictError` if that never ends."""
    for _ in range(_TRIES):
        with suppress(ConflictError):
            return put()
    return put()


def _check_number(number: Any) -> int:
    if not isinstance(number, int):
        raise InvalidError(f"message id must be an integer, not {number!r}", "message_id")
    return number


@contextmanager
def _told(what: str) -> Iterator[None]:
    """That something is not there, as strands' own error."""
    try:
        yield
    except NotFoundError as error:
        raise SessionException(what) from error
