"""`PerdureSessions`: the sessions of one store, and what the SDK has no word for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from perdure.adapters.openai_agents.items import Told
from perdure.adapters.openai_agents.opened import Opened
from perdure.adapters.openai_agents.session import PerdureSession
from perdure.records import JSON, Page, SearchHit, Session, SessionKey
from perdure.store import Store, SyncStore


class PerdureSessions(Opened):
    """Every session of a person in an app: made, listed, searched and removed.

    ``url_or_store`` is that of `PerdureSession`; the store is opened once for all of them.
    ``session_settings`` and ``about`` are given to each session.
    """

    def __init__(
        self,
        url_or_store: str | Path | Store | SyncStore,
        *,
        app: str = "",
        user: str = "",
        session_settings: Any = None,
        about: Callable[[Any], Told] | None = None,
        soft_delete: bool = False,
    ) -> None:
        self.app = app
        self.user = user
        self._soft_delete = soft_delete
        self._given = {"session_settings": session_settings, "about": about}
        super().__init__(url_or_store)

    def __repr__(self) -> str:
        return f"<PerdureSessions of {self.user!r} in {self._store.display_url}>"

    def session(
        self,
        session_id: str,
        *,
        user: str | None = None,
        title: str = "",
        metadata: Mapping[str, JSON] | None = None,
        ttl: timedelta | None = None,
    ) -> PerdureSession:
        """The session of that id, of another user if one is named; nothing is read or written."""
        self._check_open()
        user = self.user if user is None else user
        return PerdureSession(
            session_id, self._store, app=self.app, user=user, title=title, metadata=metadata,
            ttl=ttl, **self._given,
        )  # fmt: skip

    async def list(
        self,
        *,
        text: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, JSON] | None = None,
        order: str = "-updated_at",
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Session]:
        """A page of the person's sessions, those written to last first, without their items.

        ``text`` must occur in the title, the id or the last message; all ``tags`` and pairs of
        ``metadata`` must be there. A page's ``next_cursor`` is the ``cursor`` of the next one.
        """
        self._check_open()
        return await self._store.sessions.list(
            self.app, self.user, text=text, tags=tags, metadata=metadata, order=order,
            cursor=cursor, limit=limit,
        )  # fmt: skip

    async def search(self, query: str, *, limit: int = 10) -> Sequence[SearchHit]:
        """What answers the query best in all that is kept of the person, best first."""
        self._check_open()
        return await self._store.search(self.app, self.user, query, limit=limit)

    async def delete(self, session_id: str) -> bool:
        """Delete a session; whether there was one.

        For good, or with ``soft_delete`` so that ``store.sessions.restore`` brings it back until a
        sweep, after the store's ``deleted_grace``.
        """
        self._check_open()
        key = SessionKey(self.app, self.user, session_id)
        return await self._store.sessions.delete(key, soft=self._soft_delete)


__all__ = ["PerdureSessions"]
