"""Long-term memory: what is to be known of a user beyond one conversation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from perdure.errors import (
    ConflictError,
)
from perdure.features import keeping, memory_changes, recalling
from perdure.features.cursors import check_limit, paged, unpack
from perdure.features.holds import refuse_if_held
from perdure.features.memory_rows import (
    MEMORY,
    Identity,
    draft,
    identity_of,
    memory_of,
    owner_of,
    writer_of,
)
from perdure.features.memory_tools import MemoryTools
from perdure.features.reading import positive
from perdure.features.remembering import Remembering
from perdure.operation import (
    Bumps,
    Flow,
    M,
    Operation,
    Plan,
    Stream,
    Work,
    flow,
    operation,
    reading,
    run,
    stream,
)
from perdure.records import (
    JSON,
    AllType,
    Marker,
    Memory,
    MemoryHit,
    MemoryInput,
    NewMemory,
    Page,
    Remembered,
)
from perdure.values import check_text

_BATCH = 100


class Memories(Remembering[M]):
    """`store.memory`: what is remembered of a user, or with user "" by all users of an app.

    A call reaches the memories of that one owner and nobody else's. What has expired is there
    for no call.
    """

    name = "memory"

    # -- writing -----------------------------------------------------------------------------

    @operation
    def add(
        self,
        app: str,
        user: str,
        content: str,
        topics: Sequence[str] = (),
        *,
        identity: Identity = "content",
        agent: str = "",
        author: str = "",
        session: str = "",
        event_id: str = "",
        metadata: Mapping[str, JSON] | None = None,
        timestamp: datetime | None = None,
        valid_from: datetime | None = None,
        valid_until: datetime | None = None,
        pinned: bool = False,
        expires_at: datetime | None = None,
        revive: bool = True,
    ) -> Work[Memory]:
        """The memory, stored unless the owner has the same one already.

        The same is, by content: content, agent, author, valid_from and valid_until; with
        ``identity="source"``: session and event_id, whatever the content. Of the same one the
        id, created_at and content stay; topics and keys of metadata that it lacks are added, it
        becomes pinned if this is, and the later expires_at holds. One that was deleted or
        corrected comes back; with ``revive=False`` that is a `ConflictError`, and of a corrected
        one you get what it was corrected to. Other fields are as in `NewMemory`.
        """
        given = NewMemory(
            content, topics, agent=agent, author=author, session=session, event_id=event_id,
            metadata=metadata, timestamp=timestamp, valid_from=valid_from,
            valid_until=valid_until, pinned=pinned, expires_at=expires_at,
        )  # fmt: skip
        settings = self._settings
        owner = writer_of(settings, app, user)
        new = draft(given, identity_of(identity), settings, owner)

        def work(_: Bumps) -> Plan[Memory]:
            yield from keeping.hold(owner)
            kept = yield from keeping.keep(owner, new, settings, revive=revive)
            if kept.row is None:
                message = "this memory was deleted: revive=True brings it back"
                raise ConflictError(f"{message} ({content[:80]!r})")
            yield from keeping.index_kept(owner, [kept])
            if kept.new:
                yield from keeping.make_room(owner, [new.id], settings)
            return memory_of(owner, kept.row)

        return work

    @operation
    def ingest(
        self,
        app: str,
        user: str,
        entries: Iterable[MemoryInput],
        *,
        identity: Identity = "content",
    ) -> Work[Remembered]:
        """Several memories in one transaction, as a program finds them: what became of them.

        Each as in `add`, but what was deleted is not brought back, and of what was corrected
        the correction stays. By source an event has one memory: two are an `InvalidError`.
        """
        owner = writer_of(self._settings, app, user)
        drafts = self._drafts(entries, "", identity, owner)

        def work(_: Bumps) -> Plan[Remembered]:
            yield from keeping.hold(owner)
            return (yield from keeping.remembered(owner, drafts, self._settings))

        return work

    @operation
    def replace_session(
        self,
        app: str,
        user: str,
        session: str,
        entries: Iterable[MemoryInput],
        *,
        identity: Identity = "content",
    ) -> Work[Sequence[Memory]]:
        """The memories of a session, made equal to these in one transaction.

        The same ones stay with their id and created_at, new ones are added, all others of the
        session go (and may come back: nobody deleted them). Otherwise as in `ingest`.
        """
        settings = self._settings
        owner = writer_of(settings, app, user)
        check_text(session, "session", settings.limits.text, blank=False)
        drafts = self._drafts(entries, session, identity, owner)
        return lambda _: keeping.replace(owner, session, drafts, settings)

    @operation
    def update(
        self,
        app: str,
        user: str,
        id: str,
        *,
        content: str | None = None,
        topics: Sequence[str] | None = None,
        metadata: Mapping[str, JSON | Marker] | None = None,
        author: str | None = None,
        timestamp: datetime | None = None,
        valid_from: datetime | Marker | None = None,
        valid_until: datetime | Marker | None = None,
        pinned: bool | None = None,
        expires_at: datetime | Marker | None = None,
        expected_version: int | None = None,
    ) -> Work[Memory]:
        """The memory with what is given changed; its id stays, what it was is in `history`.

        ``topics`` takes the place of all topics; ``metadata`` is by key, `DELETE` removes one,
        and it removes a time as well. `NotFoundError`; `ConflictError` if another memory of the
        owner says the same, or if it is not at ``expected_version``. What was corrected is not
        ingested again.
        """
        settings = self._settings
        owner = writer_of(settings, app, user)
        moments = {"valid_from": valid_from, "valid_until": valid_until, "expires_at": expires_at}
        changed = memory_changes.change(
            settings, content, topics, metadata, author, timestamp, moments, pinned
        )
        expected = positive(expected_version, "expected_version")
        self._id(id)

        def work(_: Bumps) -> Plan[Memory]:
            row = yield from keeping.held(owner, id)
            if expected is not None and row.version != expected:
                message = f"memory {id!r} is at version {row.version}, you expected {expected}"
                raise ConflictError(f"{message}: read it again")
            new = memory_changes.applied(row, changed)
            return memory_of(owner, (yield from keeping.change(owner, row, new)))

        return work

    @operation
    def supersede(
        self, app: str, user: str, id: str, by: str, *, at: datetime | None = None
    ) -> Work[Memory]:
        """The memory, with another one in its place from ``at`` on.

        ``at`` is by default when the other begins to hold, else now; from then on the other
        holds and this one does not, and ``as_of`` tells which held when. `NotFoundError` for
        either; `ConflictError` if the other was superseded itself.
        """
        owner = writer_of(self._settings, app, user)
        moment = None if at is None else memory_changes.moment(at, owner.now)
        self._id(id)
        self._id(by)

        def work(_: Bumps) -> Plan[Memory]:
            yield from keeping.get(owner, by)
            row = yield from keeping.held(owner, id)
            other = yield from keeping.get(owner, by)
            return memory_of(owner, (yield from keeping.supersede(owner, row, other, moment)))

        return work

    @operation
    def delete(self, app: str, user: str, id: str) -> Work[bool]:
        """Remove a memory and its history for good; whether it was there.

        A tombstone (a digest, no text) keeps it from being ingested again. `DeniedError` while
        the user is held.
        """
        owner = writer_of(self._settings, app, user)
        self._id(id)

        def work(_: Bumps) -> Plan[bool]:
            yield from refuse_if_held(owner.part, "", f"delete memory {id!r}")
            return (yield from keeping.delete(owner, id))

        return work

    @operation
    def clear(self, app: str, user: str) -> Work[int]:
        """Remove all memories of the owner as `delete` does; how many there were."""
        owner = writer_of(self._settings, app, user)

        def work(_: Bumps) -> Plan[int]:
            yield from refuse_if_held(owner.part, "", f"delete the memories of {user!r}")
            return (yield from keeping.clear(owner))

        return work

    # -- reading -----------------------------------------------------------------------------

    @reading
    def get(self, app: str, user: str, id: str) -> Work[Memory]:
        """The memory of that id, whenever it holds; `NotFoundError`."""
        owner = owner_of(self._settings, app, user)
        self._id(id)

        def work(_: Bumps) -> Plan[Memory]:
            return memory_of(owner, (yield from keeping.get(owner, id)))

        return work

    @reading
    def find(self, app: str, user: str, id: str) -> Work[Memory | None]:
        """The memory of that id, whenever it holds, or None."""
        owner = owner_of(self._settings, app, user)
        self._id(id)

        def work(_: Bumps) -> Plan[Memory | None]:
            row = yield from keeping.find(owner, id)
            return None if row is None else memory_of(owner, row)

        return work

    @reading
    def read(
        self,
        app: str,
        user: str,
        *,
        limit: int = 100,
        cursor: str | None = None,
        topics: Sequence[str] = (),
        session: str | None = None,
        agent: str | None = None,
        as_of: datetime | AllType | None = None,
    ) -> Work[Page[Memory]]:
        """A page of the owner's memories, the last changed first; at most 10,000.

        Those that hold now, or ``as_of`` another time, or with `ALL` all of them, superseded
        ones too. With ``topics`` those that have all of these; ``session`` and ``agent`` are
        ids.
        """
        settings = self._settings
        owner = owner_of(settings, app, user)
        which = memory_changes.wanted(settings, owner, as_of, topics, session, agent)
        size = check_limit(limit, settings.limits.records)
        place = None if cursor is None else unpack(cursor, "memory", int, str)
        after = None if place is None else (place[0], place[1])
        return lambda _: memory_changes.page(owner, which, after, size)

    @stream
    def iter(
        self,
        app: str,
        user: str,
        *,
        topics: Sequence[str] = (),
        session: str | None = None,
        agent: str | None = None,
        as_of: datetime | AllType | None = None,
    ) -> Stream[Memory]:
        """Every memory that `read` gives, page after page."""
        return paged(
            lambda cursor: run(
                Memories.read.of(
                    self, app, user, cursor=cursor, topics=topics, session=session, agent=agent,
                    as_of=as_of,
                )
            )
        )  # fmt: skip

    @reading
    def count(self, app: str, user: str, *, as_of: datetime | AllType | None = None) -> Work[int]:
        """How many memories the owner has, as in `read`."""
        owner = owner_of(self._settings, app, user)
        moment = memory_changes.moment(as_of, owner.now)

        def work(_: Bumps) -> Plan[int]:
            rows = yield MEMORY.count(part=owner.part, now=owner.now, as_of=moment)
            number: int = rows[0][0]
            return number

        return work

    @reading
    def history(self, app: str, user: str, id: str) -> Work[Sequence[Memory]]:
        """Every version of a memory, oldest first, the last as it is now; `NotFoundError`."""
        owner = owner_of(self._settings, app, user)
        self._id(id)
        return lambda _: keeping.history(owner, id)

    @flow
    def search(
        self,
        app: str,
        user: str,
        query: str,
        *,
        limit: int = 10,
        topics: Sequence[str] = (),
        min_score: float = 0.0,
        session: str | None = None,
        agent: str | None = None,
        as_of: datetime | AllType | None = None,
        meaning: float = 0.5,
        on_embedder_error: str = "raise",
    ) -> Flow[Sequence[MemoryHit]]:
        """The memories that answer a query best, with their scores; at most ``limit``.

        Any word of the query may stand in the content or the topics, in any form of the same
        stem; nothing in it is a wildcard or an operator. BM25 by the numbers of this owner's
        memories alone, of equal ones the later first. ``min_score`` is the least score; the
        other options are as in `read`. A query without words finds nothing.

        With an embedder memories of the same meaning are found as well; ``meaning`` and
        ``on_embedder_error`` are as in `Store.search`.
        """
        settings = self._settings
        owner = owner_of(settings, app, user)
        which = memory_changes.wanted(settings, owner, as_of, topics, session, agent)
        asked = recalling.question(settings, query, which, limit, min_score, meaning)
        return (yield from recalling.hits(owner, asked, settings, on_embedder_error))

    # -- around ------------------------------------------------------------------------------

    @flow
    def cleanup(self, *, dry_run: bool = False) -> Flow[int]:
        """Remove memories that have expired, of all owners, in small transactions; how many.

        ``dry_run=True`` only counts.
        """
        now = self._settings.clock()
        if dry_run:
            return (yield from run(self._reading("cleanup", lambda _: _count_expired(now))))
        total = 0
        while True:
            work = lambda _: keeping.remove_expired(now, _BATCH)  # noqa: E731 - made again
            gone = yield from run(Operation("memory.cleanup", (), {}, work))
            total += gone
            if gone < _BATCH:
                return total

    def tools(self, app: str, user: str, *, agent: str = "") -> MemoryTools[M]:
        """Tools that a model can be given, for the memories of this owner and no other."""
        owner_of(self._settings, app, user)
        check_text(agent, "agent", self._settings.limits.text)
        return MemoryTools(self, app, user, agent)

    # -- checks ------------------------------------------------------------------------------

    def _id(self, id: str) -> str:
        return check_text(id, "memory id", self._settings.limits.text, blank=False)


def _count_expired(now: int) -> Plan[int]:
    [(number,)] = yield MEMORY.count_expired(now=now)
    total: int = number
    return total
