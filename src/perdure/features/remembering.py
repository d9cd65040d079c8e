"""Making memories of a session: each event once, one process at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from perdure.errors import BusyError, InvalidError, TooLargeError
from perdure.features import ingesting
from perdure.features.ingesting import Batch, drafts_of, said
from perdure.features.leases import Lease, drop, renew, take
from perdure.features.lookup import Target, target
from perdure.features.memory_rows import Identity, MemoryRow, Owner, identity_of, writer_of
from perdure.operation import Call, Feature, Flow, M, Operation, Sleep, flow, run
from perdure.records import Remembered, SessionKey
from perdure.values import digest

#: How long one process may be at the memories of a session before another one may take over.
_LEASE = 120_000_000
_PAUSE = 0.05


class Remembering(Feature[M]):
    """The part of `store.memory` that learns from sessions."""

    @flow
    def remember(
        self,
        key: SessionKey,
        *,
        extractor: Callable[..., Any] | None = None,
        identity: Identity | None = None,
        wait: timedelta = timedelta(seconds=30),
    ) -> Flow[Remembered]:
        """Make memories of the events of a session that none were made of yet.

        ``extractor`` (default: the store's, else one memory for each message of user and
        assistant) is a function, sync or async, of a list of at most 200 events; it gives
        memories, or None. They are stored with the note of the events in one transaction: after
        a crash, or an error of the extractor, the same events come again. Events appended
        meanwhile wait for the next time. One process at a time does this for a session; another
        waits, at most ``wait``, then `BusyError`. ``identity`` as in `add`: by source for the
        default extractor, by content for any other.
        """
        at = self._at(key)
        extract = extractor or self._settings.extractor or said
        if not callable(extract):
            raise InvalidError(f"extractor must be callable, not {extract!r}", "extractor")
        by = identity_of(identity or ("source" if extract is said else "content"))
        lease = yield from self._lease(at, wait)
        try:
            done = yield from self._remember(at, lease, extract, by)
        except Exception:
            yield from run(drop(lease))
            raise
        yield from run(drop(lease))
        return done

    def _lease(self, at: Target, wait: timedelta) -> Flow[Lease]:
        if not isinstance(wait, timedelta) or wait < timedelta(0):
            raise InvalidError(f"wait must be a timedelta, 0 or more, not {wait!r}", "wait")
        settings = self._settings
        name = f"remember:{digest(at.key.id)}"
        who = settings.ids()
        waited = 0.0
        while True:
            lease = yield from run(take(at.part, name, who, now=settings.clock(), ttl=_LEASE))
            if lease is not None:
                return lease
            if waited >= wait.total_seconds():
                message = f"another process makes memories of session {at.key.id!r} just now"
                raise BusyError(message)
            yield Sleep(_PAUSE)
            waited += _PAUSE

    def _remember(
        self, at: Target, lease: Lease, extract: Callable[..., Any], identity: Identity
    ) -> Flow[Remembered]:
        settings = self._settings
        total = Remembered()
        upto = None
        while True:
            batch = yield from run(self._pending(at, upto))
            upto = batch.upto
            if not batch.events:
                return total
            entries = yield Call(extract, (list(batch.events),))
            owner = writer_of(settings, at.key.app, at.key.user)
            drafts = self._drafts(entries, at.key.id, identity, owner)
            total = _sum(total, (yield from run(self._store(at, owner, batch, drafts))))
            yield from run(renew(lease, now=settings.clock(), ttl=_LEASE))

    def _pending(self, at: Target, upto: int | None) -> Operation[Batch]:
        now = at._replace(now=self._settings.clock())
        return self._reading("remember", lambda _: ingesting.pending(now, upto))

    def _store(
        self, at: Target, owner: Owner, batch: Batch, drafts: Sequence[MemoryRow]
    ) -> Operation[Remembered | None]:
        now = at._replace(now=owner.now)
        return Operation(
            "memory.remember",
            (),
            {},
            lambda _: ingesting.store(now, owner, batch, drafts, self._settings),
        )

    def _at(self, key: SessionKey) -> Target:
        settings = self._settings
        return target(settings.tenant, key, settings.limits.text, settings.clock())

    def _drafts(self, entries: Any, session: str, identity: str, owner: Owner) -> list[MemoryRow]:
        drafts = drafts_of(entries, session, identity_of(identity), self._settings, owner)
        most = self._settings.limits.records
        if len(drafts) > most:
            message = f"{len(drafts)} memories in one call, the limit is {most}"
            raise TooLargeError(message, "records", "entries")
        return drafts


def _sum(one: Remembered, other: Remembered | None) -> Remembered:
    if other is None:
        return one
    return Remembered(
        one.added + other.added,
        one.known + other.known,
        one.refused + other.refused,
        one.events + other.events,
    )
