"""`PerdureSessionStore`: transcripts of the Claude Agent SDK in a perdure store."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from claude_agent_sdk import SessionStore, fold_session_summary

from perdure.adapters.claude.transcripts import (
    FORMAT,
    SUMMARY,
    Entry,
    Key,
    entries_of,
    event_of,
    id_of,
    is_main,
    key_of,
    main_id,
    once,
    session_of,
)
from perdure.adapters.packing import packed, unpacked
from perdure.adapters.service import Service
from perdure.adapters.snapshots import snapshot
from perdure.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    StaleSessionError,
    TooLargeError,
)
from perdure.records import JSON, Session, SessionKey
from perdure.store import Store, SyncStore
from perdure.values import Limits

#: Events of one call of the store.
_BATCH = Limits().records
#: Sessions of which version and summary are remembered, so that nothing is read before a write.
_REMEMBERED = 1_024


class _Known(NamedTuple):
    """A session as it was last seen: its version, what was folded of it, and of which life."""

    version: int
    uid: str
    summary: JSON
    #: Whether the summary is what stands in the state.
    kept: bool = True


class PerdureSessionStore(Service, SessionStore):
    """A session store for ``ClaudeAgentOptions(session_store=…)``: transcripts as sessions.

    ``PerdureSessionStore(store)`` takes a `Store` or a `SyncStore`, which stays the caller's to
    close, or a URL, and closes what it has opened with `close` or ``async with``. ``owner`` gives
    (app, user) of a project key, by default ``("claude", project_key)``: erasing that person
    removes the transcripts. Two project keys must not have the same owner. With a ``ttl`` a
    transcript expires that long after its last entry; the SDK deletes nothing by itself.

    A transcript is a session of the store, that of a subagent a session whose parent is the main
    one, an entry is an event of the format ``claude-code``.
    """

    def __init__(
        self,
        store: Store | SyncStore | str,
        *,
        owner: Callable[[str], tuple[str, str]] | None = None,
        ttl: timedelta | None = None,
        soft_delete: bool = False,
    ) -> None:
        super().__init__(store)
        self._soft_delete = soft_delete
        self._owner = owner or _owner
        self._ttl = ttl
        self._known: OrderedDict[SessionKey, _Known] = OrderedDict()
        self._queues: WeakValueDictionary[tuple[int, SessionKey], asyncio.Lock] = (
            WeakValueDictionary()
        )

    def session_key(self, key: Key) -> SessionKey:
        """The session of the store that holds the transcript of an SDK key."""
        return key_of(key, self._owner(key["project_key"]))

    # -- writing -----------------------------------------------------------------------------

    async def append(self, key: Key, entries: Sequence[Entry]) -> None:
        """Store a batch behind what is there: one transaction, the summary with it.

        A batch of more than 10,000 entries is one for each 10,000: if it fails in between, the
        first of them are stored, and the same batch again adds the rest. An entry whose uuid is
        stored already is skipped; those without one are always new. Calls
        on one transcript are stored in the order in which they were made.
        """
        at = self.session_key(key)
        queue = self._queues.setdefault((id(asyncio.get_running_loop()), at), asyncio.Lock())
        async with queue:
            for start in range(0, len(entries), _BATCH):
                batch = once(entries[start : start + _BATCH])
                if is_main(key):
                    await self._append_main(key, at, batch)
                else:
                    await self._append_beside(key, at, batch)

    async def _append_main(self, key: Key, at: SessionKey, entries: list[Entry]) -> None:
        looked = pack = False
        tries = 0
        while True:
            try:
                known = self._known.pop(at, None) or await self._look(key, at)
                new = await self._unseen(at, entries) if looked else entries
                if not new:
                    return
                await self._add(key, at, known, new, pack=pack)
            except (StaleSessionError, NotFoundError):
                # Somebody else has written, or deleted it: fold anew what is there now.
                tries += 1
                await _pause(tries)
            except ConflictError:
                if looked:
                    raise
                looked = True
            except InvalidError as error:
                if pack or isinstance(error, TooLargeError):
                    raise
                pack = True
            else:
                return

    async def _add(
        self, key: Key, at: SessionKey, known: _Known, entries: Sequence[Entry], *, pack: bool
    ) -> None:
        summary = _folded(key, known.summary, entries)
        events = [event_of(entry, pack=pack) for entry in entries]
        if summary != known.summary or not known.kept:
            # A session that was deleted and made anew may be at the version that is known of the
            # old one: what is folded says of which it is.
            told = {"of": known.uid, "data": summary}
            delta: dict[str, Any] = {SUMMARY: packed(told) if pack else told}
            events[-1] = replace(events[-1], state_delta=delta)
        done = await self.store.events.append(at, *events, expected_version=known.version)
        if not done.duplicate:
            self._remember(at, _Known(done.version, known.uid, summary))

    async def _append_beside(self, key: Key, at: SessionKey, entries: list[Entry]) -> None:
        pack = False
        while True:
            events = [event_of(entry, pack=pack) for entry in entries]
            try:
                await self.store.events.append(at, *events, on_duplicate="ignore")
            except NotFoundError:
                await self._open_beside(key, at)
            except InvalidError as error:
                if pack or isinstance(error, TooLargeError):
                    raise
                pack = True
            else:
                return

    async def _look(self, key: Key, at: SessionKey) -> _Known:
        """The session as it is; made, if there is none."""
        session = await self.store.sessions.get_or_create(*at, agent_type=FORMAT, ttl=self._ttl)
        if not session.last_seq:
            return _Known(session.version, session.uid, None)
        seen = await snapshot(self.store, at, recent=0)
        version, uid = seen.session.version, seen.session.uid
        told = unpacked(seen.state.get(SUMMARY))
        if told is None or told["of"] == uid:
            return _Known(version, uid, told and told["data"])
        return _Known(version, uid, await self._refolded(key, at), kept=False)

    async def _refolded(self, key: Key, at: SessionKey) -> JSON:
        """What is folded of all that is stored, where what was kept is of an earlier life."""
        entries = entries_of(await self.store.events.read(at), key["session_id"])
        return _folded(key, None, entries)

    async def _open_beside(self, key: Key, at: SessionKey) -> None:
        main = SessionKey(at.app, at.user, main_id(key["session_id"]))
        options: dict[str, Any] = {"agent_type": FORMAT, "ttl": self._ttl}
        async with self.store.turn() as turn:
            turn.sessions.get_or_create(*main, **options)
            turn.sessions.get_or_create(*at, parent=main, **options)

    async def _unseen(self, at: SessionKey, entries: Sequence[Entry]) -> list[Entry]:
        """Those that are not stored. What comes meanwhile makes the version stale."""
        new = []
        for entry in entries:
            named = id_of(entry)
            if named is None or await self.store.events.find(at, named) is None:
                new.append(entry)
        return new

    def _remember(self, at: SessionKey, known: _Known) -> None:
        self._known[at] = known
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    async def delete(self, key: Key) -> None:
        """Delete a transcript; the main one takes those of its subagents along.

        For good, or with ``soft_delete`` so that ``store.sessions.restore`` brings it back until a
        sweep, after the store's ``deleted_grace``. `DeniedError` if it is held.
        """
        at = self.session_key(key)
        self._known.pop(at, None)
        await self.store.sessions.delete(at, children=is_main(key), soft=self._soft_delete)

    # -- reading -----------------------------------------------------------------------------

    async def load(self, key: Key) -> list[Entry] | None:
        """Every entry in the order it was stored; None for a key that was never written.

        What another framework has written to the session comes as lines of Claude Code.
        """
        try:
            events = await self.store.events.read(self.session_key(key))
        except NotFoundError:
            return None
        return entries_of(events, key["session_id"]) or None

    async def list_sessions(self, project_key: str) -> list[dict[str, Any]]:
        """Session id and mtime, in milliseconds, of each main transcript, oldest first."""
        return [
            {"session_id": session_of(one.id), "mtime": _millis(one.updated_at)}
            async for one in self._transcripts(project_key)
        ]

    async def list_session_summaries(self, project_key: str) -> list[dict[str, Any]]:
        """What was folded of each main transcript, with the mtime that `list_sessions` gives."""
        return [
            {
                "session_id": session_of(one.id),
                "mtime": _millis(one.updated_at),
                "data": summary,
            }
            async for one in self._transcripts(project_key, with_state=True)
            if (summary := await self._summary_of(project_key, one)) is not None
        ]

    async def _summary_of(self, project_key: str, session: Session) -> JSON:
        told = unpacked((session.state or {}).get(SUMMARY))
        if told is None or told["of"] == session.uid:
            return told and told["data"]
        key = {"project_key": project_key, "session_id": session_of(session.id)}
        try:
            return await self._refolded(key, session.key)
        except NotFoundError:
            return None

    async def list_subkeys(self, key: Key) -> list[str]:
        """The subpaths of a session, in the order in which they were first written."""
        app, user = self._owner(key["project_key"])
        main = SessionKey(app, user, main_id(key["session_id"]))
        found = self.store.sessions.iter(app, user, order="created_at", parent=main)
        prefix = f"{main.id}/"
        return [
            one.id.removeprefix(prefix)
            async for one in found
            if one.last_seq and one.id.startswith(prefix)
        ]

    async def _transcripts(
        self, project_key: str, *, with_state: bool = False
    ) -> AsyncIterator[Session]:
        # By an order that no write changes, so that none is missed while others append.
        found = self.store.sessions.iter(
            *self._owner(project_key), order="created_at", with_state=with_state
        )
        async for one in found:
            if one.last_seq and "/" not in one.id:
                yield one


def _owner(project_key: str) -> tuple[str, str]:
    return "claude", project_key


def _folded(key: Key, before: JSON, entries: Sequence[Entry]) -> JSON:
    told_before = {"session_id": key["session_id"], "mtime": 0, "data": before}
    return fold_session_summary(told_before if before else None, key, list(entries))["data"]


def _millis(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


async def _pause(tries: int) -> None:
    await asyncio.sleep(random.uniform(0, min(0.05, 0.001 * 2**tries)))  # noqa: S311 - no secret


__all__ = ["PerdureSessionStore"]
