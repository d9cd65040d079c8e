"""`PerdureSessionManager`: a session manager of strands-agents that does not block its loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from strands.hooks import (
    AfterInvocationEvent,
    AfterMultiAgentInvocationEvent,
    AfterNodeCallEvent,
    AgentInitializedEvent,
    MessageAddedEvent,
    MultiAgentInitializedEvent,
)
from strands.session import RepositorySessionManager
from strands.types.exceptions import SessionException
from strands.types.session import SessionAgent, SessionMessage

from perdure.adapters.strands.encoding import Change, Changed, text_of
from perdure.adapters.strands.repository import PerdureSessionRepository
from perdure.store import Store, SyncStore


@dataclass(frozen=True, slots=True)
class _Taken:
    """The state of a graph or swarm as it was at one moment of its loop."""

    id: str
    state: dict[str, Any]

    def serialize_state(self) -> dict[str, Any]:
        return self.state


class PerdureSessionManager(RepositorySessionManager):
    """Strands' `RepositorySessionManager` over a `PerdureSessionRepository`, and a little more.

    Messages and state are stored beside the loop: other tasks go on meanwhile, and the agent only
    goes on when it is on disk. What the conversation manager shortens in a message, and pins, come
    back after a restart. A session that another framework has written is continued.

    Options as of `PerdureSessionRepository`.
    """

    def __init__(
        self,
        session_id: str,
        store: Store | SyncStore | str,
        *,
        app: str = "",
        user: str = "",
        soft_delete: bool = False,
    ) -> None:
        repository = PerdureSessionRepository(store, app=app, user=user, soft_delete=soft_delete)
        # Of each agent the messages that are stored and held, by the record's own id: numbers may
        # be of two, if another framework has written meanwhile.
        self._known: dict[str, dict[int, _Known]] = {}
        try:
            super().__init__(session_id, repository)
        except SessionException:
            # Another process made it between the look and the making.
            super().__init__(session_id, repository)
        self._repository = repository

    def close(self) -> None:
        """Close the store, if it is the manager's own."""
        self._repository.close()

    # -- hooks -------------------------------------------------------------------------------

    def register_hooks(self, registry: Any, **_: Any) -> None:
        """Strands' own, those that write as coroutines."""
        registry.add_callback(AgentInitializedEvent, lambda event: self.initialize(event.agent))
        registry.add_callback(MessageAddedEvent, self._on_message)
        registry.add_callback(AfterInvocationEvent, self._on_end)
        registry.add_callback(
            MultiAgentInitializedEvent, lambda event: self.initialize_multi_agent(event.source)
        )
        registry.add_callback(AfterNodeCallEvent, self._on_node)
        registry.add_callback(AfterMultiAgentInvocationEvent, self._on_node)

    async def _on_message(self, event: Any) -> None:
        await _aside(self._added, event.message, event.agent)

    def _added(self, message: Any, agent: Any) -> None:
        self.append_message(message, agent)
        self.sync_agent(agent)

    async def _on_end(self, event: Any) -> None:
        await _aside(self._ended, event.agent)

    def _ended(self, agent: Any) -> None:
        self.sync_agent(agent)
        self.sync_changes(agent)

    async def _on_node(self, event: Any) -> None:
        # Taken in the loop: other nodes may be running.
        taken = _Taken(event.source.id, event.source.serialize_state())
        await _aside(self.sync_multi_agent, taken)

    # -- agents ------------------------------------------------------------------------------

    def initialize(self, agent: Any, **kwargs: Any) -> None:
        """Restore the agent; one that is new to a session with messages goes on with those."""
        if not self._is_new_session:
            known = self._repository.read_agent(self.session_id, agent.agent_id)
            if known is None and self._repository.has_messages(self.session_id):
                self._repository.create_agent(self.session_id, SessionAgent.from_agent(agent))
        super().initialize(agent, **kwargs)
        records = self._held_records.get(agent.agent_id, [])
        self._known[agent.agent_id] = {id(record): _known(record) for record in records}

    def append_message(self, message: Any, agent: Any, **kwargs: Any) -> None:
        """Store the message."""
        super().append_message(message, agent, **kwargs)
        record = self._latest_agent_message[agent.agent_id]
        if record is not None:
            self._known.setdefault(agent.agent_id, {})[id(record)] = _known(record)

    def redact_latest_message(self, redact_message: Any, agent: Any, **kwargs: Any) -> None:
        """Put the redaction in the place of the latest message: what it was is gone."""
        super().redact_latest_message(redact_message, agent, **kwargs)
        known = self._known.setdefault(agent.agent_id, {})
        for record in self._held_records.get(agent.agent_id, []):
            if record.to_message() is redact_message:
                known[id(record)] = _known(record)

    def sync_changes(self, agent: Any) -> None:
        """Store what was changed in messages that are stored: results cut short, pins."""
        known = self._known.get(agent.agent_id, {})
        held = self._held_records.get(agent.agent_id, [])
        left: dict[int, _Known] = {}
        changes: list[Change] = []
        for record in held:
            if (before := known.get(id(record))) is None:
                continue
            message = record.to_message()
            now = before._replace(text=text_of(message))
            left[id(record)] = now
            if now.text != before.text:
                changes.append(Change(record.message_id, message, before.whole))
        if changes:
            # What lies before the first is gone from the agent's view.
            first = min(record.message_id for record in held)
            self._repository.keep_changed(self.session_id, agent.agent_id, changes, first=first)
        self._known[agent.agent_id] = left


class _Known(NamedTuple):
    """A message as it was stored last, and as it was before its agent changed it."""

    record: SessionMessage
    text: str
    whole: str


def _known(record: SessionMessage) -> _Known:
    text = text_of(record.to_message())
    return _Known(record, text, text_of(record.whole) if isinstance(record, Changed) else text)


async def _aside(work: Callable[..., None], *given: Any) -> None:
    """Do it beside the loop and to its end, however often the caller is cancelled meanwhile.

    What follows would else overtake it, or what is not begun would never be.
    """
    done = asyncio.ensure_future(asyncio.to_thread(work, *given))
    cancelled: asyncio.CancelledError | None = None
    while not done.done():
        try:
            await asyncio.wait([done])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled from done.exception()
    done.result()
