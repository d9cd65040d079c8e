"""`PerdureSession`: a conversation of the OpenAI Agents SDK in a perdure store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agents.memory.session_settings import (
    SessionSettings,
    coerce_session_settings,
    resolve_session_limit,
)

from perdure.adapters.openai_agents import branches
from perdure.adapters.openai_agents.items import Told, all_items, items_in, written
from perdure.adapters.openai_agents.opened import Opened, settled
from perdure.adapters.openai_agents.tails import Prune, Snapshot, popped, snapshot
from perdure.errors import InvalidError, NotFoundError
from perdure.records import JSON, Content, NewEvent, SearchHit, Session, SessionKey
from perdure.records.basics import Marker
from perdure.store import Store, SyncStore

#: Events of one append; more are stored in one transaction as well.
_AT_ONCE = 10_000


class PerdureSession(Opened):
    """A session for ``Runner.run(agent, input, session=…)``, kept in a perdure store.

    ``url_or_store``: a `Store` or `SyncStore`, which stays the caller's to close; or a URL of
    perdure, the path of an SQLite file, or ``:memory:``, opened for this object alone and closed
    with it: for many sessions take `PerdureSessions`. The session is the store's session
    (``app``, ``user``, ``session_id``), made with the first item, with ``title``, ``metadata``
    and ``ttl`` if they are given. ``about`` is asked at each write of a run, with the run's
    context, for fields of the events: ``run_id``, ``author``, ``metadata``.

    One object may be used from any number of tasks, threads and event loops. What a method has
    written is on disk when it returns. If its task is cancelled meanwhile it still ends as one
    or the other: all is written, or nothing; only then the cancellation goes on.
    """

    session_settings: SessionSettings | None = None

    def __init__(
        self,
        session_id: str,
        url_or_store: str | Path | Store | SyncStore = ":memory:",
        *,
        app: str = "",
        user: str = "",
        session_settings: SessionSettings | Mapping[str, Any] | None = None,
        title: str = "",
        metadata: Mapping[str, JSON] | None = None,
        ttl: timedelta | None = None,
        about: Callable[[Any], Told] | None = None,
    ) -> None:
        self.session_id = session_id
        self.session_settings = (
            SessionSettings()
            if session_settings is None
            else coerce_session_settings(session_settings)
        )
        self.key = SessionKey(app, user, session_id)
        self._made: dict[str, Any] = {"title": title, "metadata": metadata, "ttl": ttl}
        self._about = about
        super().__init__(url_or_store)

    def __repr__(self) -> str:
        return f"<PerdureSession {self.session_id!r} in {self._store.display_url}>"

    # -- the SDK's protocol ------------------------------------------------------------------

    async def get_items(
        self,
        limit: int | None = None,
        branch_id: str | None = None,
        *,
        wrapper: Any = None,  # noqa: ARG002 - the SDK looks for the word on all four
    ) -> list[Any]:
        """The last ``limit`` items in the order in which they were added.

        None is ``session_settings.limit``, and if that is None too, or below 0, all of them.
        What another framework has said in this session is among them, as items. Of another
        branch than the active one if ``branch_id`` names it.
        """
        self._check_open()
        limit = resolve_session_limit(limit, self.session_settings)
        if limit is None or limit < 0:
            limit = None
        if branch_id is None:
            return await self._last(limit)
        found = await branches.seen(self._store, self.key)
        items = [] if found is None else all_items(found.of(branch_id))
        return items if limit is None else items[len(items) - min(limit, len(items)) :]

    async def _last(self, limit: int | None) -> list[Any]:
        window = limit
        while True:
            said = await self._contents(window)
            items = items_in(said)
            if limit is None or window is None:
                return items
            if len(items) >= limit or len(said) < window:
                return items[len(items) - min(limit, len(items)) :]
            # Events of others may be no items at all.
            window *= 2

    async def _contents(self, recent: int | None) -> Sequence[Content]:
        try:
            return await self._store.events.contents(self.key, recent=recent)
        except NotFoundError:
            return []

    async def add_items(self, items: list[Any], *, wrapper: Any = None) -> None:
        """Add items behind what is there, all or none of them."""
        self._check_open()
        items = list(items)
        if not items:
            await self._store.sessions.find(self.key)  # it fails on a store that is closed
            return
        told = {} if self._about is None or wrapper is None else dict(self._about(wrapper))
        await settled(written(items, told, self._stored))

    async def _stored(self, events: Sequence[NewEvent]) -> None:
        try:
            await self._append(events)
        except NotFoundError:
            await self._make()
            await self._append(events)

    async def _append(self, events: Sequence[NewEvent]) -> None:
        if len(events) <= _AT_ONCE:
            await self._store.events.append(self.key, *events)
            return
        async with self._store.turn() as turn:
            for start in range(0, len(events), _AT_ONCE):
                turn.events.append(self.key, *events[start : start + _AT_ONCE])

    async def _make(self) -> Session:
        return await self._store.sessions.get_or_create(*self.key, **self._made)

    async def pop_item(self, *, wrapper: Any = None) -> Any:  # noqa: ARG002
        """Take the newest item off and return it; None if there is none.

        Of many who do so at once each gets another one. It is kept in the store's `branches`
        until these are pruned.
        """
        self._check_open()
        return await settled(popped(self._store, self.key))

    async def clear_session(self, *, wrapper: Any = None) -> None:  # noqa: ARG002
        """Remove every item of every branch, for good; title and metadata stay."""
        self._check_open()
        await settled(self._cleared())

    async def _cleared(self) -> None:
        session = await self._store.sessions.find(self.key)
        if session is None:
            return
        metadata = branches.cleared(session)
        try:
            async with self._store.turn() as turn:
                turn.events.clear(self.key)
                if metadata is not None:
                    turn.sessions.update(self.key, metadata=metadata)
        except NotFoundError:
            return

    # -- what the SDK looks for in its own sessions --------------------------------------------

    async def _get_compaction_snapshot(
        self, limit: int, *, prune_prefix: Prune | None = None
    ) -> Snapshot | None:
        """The last items, with a way to replace some of them if nobody has written since.

        None for a subclass that changes what is read or written.
        """
        self._check_open()
        if not self._is_plain():
            return None
        seen = await snapshot(self._store, self.key, limit, prune_prefix)

        async def replace_suffix(start: int, output: list[JSON]) -> bool:
            return await settled(seen.replace_suffix(start, output))

        return Snapshot(seen.items, seen.complete, replace_suffix)

    async def _atomic_replace_items(self, items: list[Any]) -> bool:
        """Put these items in the place of all, in one transaction; False as above."""
        self._check_open()
        if not self._is_plain():
            return False
        await settled(written(list(items), {}, self._replaced))
        return True

    async def _replaced(self, events: Sequence[NewEvent]) -> None:
        replace = self._store.events.replace_suffix
        try:
            await replace(self.key, 0, events, keep_state=True)
        except NotFoundError:
            await self._make()
            await replace(self.key, 0, events, keep_state=True)

    def _is_plain(self) -> bool:
        kind = type(self)
        return (
            kind.get_items is PerdureSession.get_items
            and kind.add_items is PerdureSession.add_items
        )

    # -- branches ----------------------------------------------------------------------------

    async def create_branch_from_turn(
        self, turn_number: int, branch_name: str | None = None
    ) -> str:
        """A new branch from before a message of the user, active from now on; its name.

        Turns are counted from 1 on the active branch. A name is used once in a session.
        Raises `InvalidError`, a ValueError.
        """
        self._check_open()
        now = datetime.now(UTC).isoformat()
        made = branches.create(self._store, self.key, turn_number, branch_name, now)
        return await settled(made)

    async def create_branch_from_content(
        self, search_term: str, branch_name: str | None = None
    ) -> str:
        """The same from before the first turn in which the user said that."""
        found = await self.find_turns_by_content(search_term)
        if not found:
            raise InvalidError(f"no turn of the user contains {search_term!r}", "search_term")
        return await self.create_branch_from_turn(found[0]["turn"], branch_name)

    async def switch_to_branch(self, branch_id: str) -> None:
        """Make a branch the active one, for all who use the session, until another switch."""
        self._check_open()
        await settled(branches.switch(self._store, self.key, branch_id))

    async def delete_branch(self, branch_id: str, force: bool = False) -> None:
        """Remove a branch, and for good the items that belong to no other.

        The active one only with ``force``, which makes ``main`` active; ``main`` stays.
        """
        self._check_open()
        await settled(branches.delete(self._store, self.key, branch_id, force=force))

    async def list_branches(self) -> list[dict[str, Any]]:
        """The branches: branch_id, message_count, user_turns, is_current, created_at."""
        self._check_open()
        return await branches.listed(self._store, self.key)

    async def get_conversation_turns(self, branch_id: str | None = None) -> list[dict[str, Any]]:
        """What the user said on a branch: turn, content, full_content, timestamp, can_branch."""
        self._check_open()
        return await branches.turns(self._store, self.key, branch_id)

    async def find_turns_by_content(
        self, search_term: str, branch_id: str | None = None
    ) -> list[dict[str, Any]]:
        """The turns in which the user said that, as `get_conversation_turns` tells them."""
        self._check_open()
        return await branches.finding(self._store, self.key, search_term, branch_id)

    # -- what the protocol has no word for -------------------------------------------------------

    async def info(self) -> Session | None:
        """The store's record of the session: title, metadata, tags, times; None if not there."""
        self._check_open()
        return await self._store.sessions.find(self.key)

    async def describe(
        self,
        *,
        title: str | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, JSON | Marker] | None = None,
    ) -> Session:
        """Change what is given of the description, and make the session if it is not there."""
        self._check_open()
        return await settled(self._described({"title": title, "tags": tags, "metadata": metadata}))

    async def _described(self, given: Mapping[str, Any]) -> Session:
        try:
            return await self._store.sessions.update(self.key, **given)
        except NotFoundError:
            await self._make()
            return await self._store.sessions.update(self.key, **given)

    async def search(self, query: str, *, limit: int = 10) -> list[SearchHit]:
        """What answers the query best in this conversation, best first."""
        self._check_open()
        app, user, _ = self.key
        try:
            return await self._store.search(app, user, query, session=self.key, limit=limit)
        except NotFoundError:
            return []


__all__ = ["PerdureSession"]
