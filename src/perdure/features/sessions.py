"""Sessions: conversations, their description and their life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from perdure.errors import AlreadyExistsError, DeniedError, NotFoundError
from perdure.features import describing, listing
from perdure.features.cursors import check_limit, paged
from perdure.features.describing import Text
from perdure.features.holds import refuse_if_held
from perdure.features.hooks import passed
from perdure.features.lives import delete, fork, insert, tell_removal
from perdure.features.lookup import (
    SESSIONS,
    SessionRow,
    Target,
    bump,
    claim,
    find,
    get,
    session_of,
    target,
)
from perdure.features.outbox import Notes, notes
from perdure.features.reading import positive, wanted_text
from perdure.features.runs import Leasing
from perdure.features.scopes import STATE, Scoped, rows, split
from perdure.features.upkeep import UPKEEP, purge
from perdure.operation import (
    Bumps,
    M,
    Noted,
    Plan,
    Stream,
    Work,
    operation,
    reading,
    run,
    stream,
)
from perdure.records import (
    ALL,
    JSON,
    AllType,
    Marker,
    NewSession,
    Page,
    Session,
    SessionKey,
)
from perdure.values import FIRST_MICROS, check_text, encode_trusted, from_micros, to_micros


class _New(NamedTuple):
    """A session to be: its row, its state, what lists find it by."""

    row: SessionRow
    state: Scoped
    terms: Sequence[str]
    imported: bool
    notes: Notes


class Sessions(Leasing[M]):
    """`store.sessions`: making, finding, describing, deleting sessions."""

    name = "sessions"

    def _at(self, key: SessionKey, fence: int | None = None) -> Target:
        settings = self._settings
        positive(fence, "fence")
        return target(settings.tenant, key, settings.limits.text, settings.clock(), fence)

    # -- making ------------------------------------------------------------------------------

    @operation
    def create(
        self,
        app: str,
        user: str,
        id: str | None = None,
        *,
        state: Mapping[str, JSON] | None = None,
        title: str = "",
        author: str = "",
        agent_type: str = "",
        tags: Sequence[str] = (),
        metadata: Mapping[str, JSON] | None = None,
        parent: SessionKey | None = None,
        ttl: timedelta | None = None,
        created_at: datetime | None = None,
        imported: bool = False,
    ) -> Work[Session]:
        """A new session; `AlreadyExistsError` if the id is in use.

        A blank id is made by the store. ``state`` is split by prefix (``app:``, ``user:``,
        none; ``temp:`` is dropped). With a ``ttl`` the session expires that long after its
        last write. ``created_at`` is for importers; with ``imported=True`` a user who was
        erased is not brought back: `DeniedError`. Of concurrent creates of one id exactly
        one wins.
        """
        new = self._new(
            app, user, id, state, title, author, agent_type, tags, metadata, parent, ttl,
            created_at, imported,
        )  # fmt: skip
        return lambda bumps: self._create(new, bumps)

    @operation
    def get_or_create(
        self,
        app: str,
        user: str,
        id: str | None = None,
        *,
        state: Mapping[str, JSON] | None = None,
        title: str = "",
        author: str = "",
        agent_type: str = "",
        tags: Sequence[str] = (),
        metadata: Mapping[str, JSON] | None = None,
        parent: SessionKey | None = None,
        ttl: timedelta | None = None,
        created_at: datetime | None = None,
        imported: bool = False,
    ) -> Work[Session]:
        """The stored session of that key as it is; stored if new, as `create` does."""
        new = self._new(
            app, user, id, state, title, author, agent_type, tags, metadata, parent, ttl,
            created_at, imported,
        )  # fmt: skip

        def work(bumps: Bumps) -> Plan[Session]:
            while (row := (yield from find(_target(new)))) is None:
                try:
                    return (yield from self._create(new, bumps))
                except AlreadyExistsError:
                    # Somebody else made it between two statements.
                    continue
            return session_of(row)

        # Whose uid tells whether it was made.
        return Noted(work, new.row.uid)

    def _new(
        self,
        app: str,
        user: str,
        session_id: str | None,
        state: Mapping[str, JSON] | None,
        title: str,
        author: str,
        agent_type: str,
        tags: Sequence[str],
        metadata: Mapping[str, JSON] | None,
        parent: SessionKey | None,
        ttl: timedelta | None,
        created_at: datetime | None,
        imported: bool,
    ) -> _New:
        settings = self._settings
        uid = settings.ids()
        at = self._at(SessionKey(app, user, _blank_is_new(session_id, uid)))
        given = NewSession(at.key, title, author, agent_type, tags, metadata, state)
        given = passed(given, settings)
        text = Text(settings.limits)
        checked_tags = text.tags(given.tags or ())
        checked_metadata = text.metadata(given.metadata or {})
        life = None if ttl is None else describing.micros(ttl, "session")
        row = SessionRow(
            part=at.part,
            uid=uid,
            id=at.key.id,
            tenant=settings.tenant,
            app=at.key.app,
            user_id=at.key.user,
            app_part=at.app_part,
            version=1,
            head=0,
            left_head=0,
            last_seq=0,
            event_count=0,
            created_at=at.now if created_at is None else to_micros(created_at, "created_at"),
            updated_at=at.now,
            last_event_at=None,
            ttl=life,
            expires_at=None if life is None else at.now + life,
            deleted_at=None,
            title=text.line(_or_blank(given.title), "title"),
            author=text.line(_or_blank(given.author), "author"),
            agent_type=text.line(_or_blank(given.agent_type), "agent_type"),
            tags=encode_trusted(checked_tags),
            metadata=encode_trusted(checked_metadata),
            parent=describing.key_text(parent, settings.limits.text),
            origin=None,
            preview="",
            fence=None,
        )
        terms = describing.terms(checked_tags, checked_metadata)
        scoped = split(given.state, settings.limits, "state")
        return _New(row, scoped, terms, imported, notes(settings))

    def _create(self, new: _New, bumps: Bumps) -> Plan[Session]:
        row = new.row
        # What the transaction did to an earlier session of this id is not this one's.
        bumps.pop(row.key, None)
        if new.imported:
            [(erased_at,)] = yield UPKEEP.admit(part=row.part)
            if erased_at:
                raise DeniedError(
                    f"user {row.user_id!r} of app {row.app!r} was erased at "
                    f"{from_micros(erased_at).isoformat()}: not brought back by an import"
                )
            yield UPKEEP.admitted(part=row.part)
        if (yield from find(_target(new))):
            raise AlreadyExistsError(f"session {row.id!r} exists: get it, or take another id")
        yield from insert(row)
        yield from self._fill(new)
        yield from new.notes.tell_session(row.part, "session.created", row.key, row.uid)
        return session_of(row)

    def _fill(self, new: _New) -> Plan[None]:
        row, now = new.row, new.row.updated_at
        entries = [
            *rows(row.part, row.uid, new.state.session, now),
            *rows(row.part, "", new.state.user, now),
            *rows(row.app_part, "", new.state.app, now),
        ]
        if entries:
            yield STATE.put.many(entries)
        if new.state.text is not None:
            yield STATE.log(
                part=row.part, uid=row.uid, seq=0, version=1, delta=new.state.text, now=now
            )
        if new.terms:
            yield SESSIONS.add_term.many([(row.part, row.uid, term) for term in new.terms])

    # -- finding -----------------------------------------------------------------------------

    @reading
    def get(self, key: SessionKey) -> Work[Session]:
        """The session; `NotFoundError` if it is unknown, deleted or expired."""
        at = self._at(key)

        def work(_: Bumps) -> Plan[Session]:
            return session_of((yield from get(at)))

        return work

    @reading
    def find(self, key: SessionKey) -> Work[Session | None]:
        """The session, or None."""
        at = self._at(key)

        def work(_: Bumps) -> Plan[Session | None]:
            row = yield from find(at)
            return session_of(row) if row else None

        return work

    @reading
    def list(
        self,
        app: str | AllType = ALL,
        user: str | AllType = ALL,
        *,
        order: str = "-updated_at",
        text: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, JSON] | None = None,
        parent: SessionKey | None = None,
        updated_after: datetime | None = None,
        with_state: bool = False,
        include_deleted: bool = False,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Work[Page[Session]]:
        """A page of sessions, of a user, of an app, or of the whole tenant; never their events.

        ``order`` is updated_at, created_at, last_event_at, title or id; a ``-`` before it
        turns it round. ``text`` must occur in the title, the preview or the id (ASCII letters
        in either case); all ``tags`` and all ``metadata`` pairs must be there, equal.
        ``with_state=True`` brings each session's merged state. At most 10,000 a page.
        """
        size = check_limit(limit, self._settings.limits.records)
        wanted = listing.wanted(
            self._settings, app, user, text, tags, metadata, parent, updated_after, include_deleted
        )
        by = listing.order_of(order, cursor)
        return lambda _: listing.page(wanted, by, size, with_state)

    @stream
    def iter(
        self,
        app: str | AllType = ALL,
        user: str | AllType = ALL,
        *,
        order: str = "-updated_at",
        text: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, JSON] | None = None,
        parent: SessionKey | None = None,
        updated_after: datetime | None = None,
        with_state: bool = False,
        include_deleted: bool = False,
    ) -> Stream[Session]:
        """Every session that `list` would give, page after page."""
        return paged(
            lambda cursor: run(
                Sessions.list.of(
                    self,
                    app,
                    user,
                    order=order,
                    text=text,
                    tags=tags,
                    metadata=metadata,
                    parent=parent,
                    updated_after=updated_after,
                    with_state=with_state,
                    include_deleted=include_deleted,
                    cursor=cursor,
                    limit=200,
                )
            )
        )

    @reading
    def count(
        self,
        app: str | AllType = ALL,
        user: str | AllType = ALL,
        *,
        text: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, JSON] | None = None,
        parent: SessionKey | None = None,
        updated_after: datetime | None = None,
        include_deleted: bool = False,
    ) -> Work[int]:
        """How many sessions `list` would give over all its pages."""
        wanted = listing.wanted(
            self._settings, app, user, text, tags, metadata, parent, updated_after, include_deleted
        )
        return lambda _: listing.count(wanted)

    # -- describing --------------------------------------------------------------------------

    @operation
    def update(
        self,
        key: SessionKey,
        *,
        title: str | None = None,
        author: str | None = None,
        agent_type: str | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, JSON | Marker] | None = None,
        ttl: timedelta | Marker | None = None,
        expected_version: int | None = None,
        fence: int | None = None,
    ) -> Work[Session]:
        """Change what is given, leave the rest; the session as it is then.

        ``metadata`` is changed by key, `DELETE` removes one; ``tags`` are replaced;
        ``ttl=DELETE`` lets the session live for ever. Raises `NotFoundError` (a deleted
        session stays deleted) and `StaleSessionError`.
        """
        at = self._at(key, fence)
        given = NewSession(at.key, title, author, agent_type, tags, metadata)
        given = passed(given, self._settings)
        change = describing.change(
            self._settings.limits, given.title, given.author, given.agent_type, given.tags,
            given.metadata, ttl,
        )  # fmt: skip
        expected = positive(expected_version, "expected_version")

        def work(bumps: Bumps) -> Plan[Session]:
            row = yield from claim(at, expected, bumps)
            return session_of((yield from describing.apply(row, change, at.now)))

        return work

    # -- life --------------------------------------------------------------------------------

    @operation
    def delete(self, key: SessionKey, *, children: bool = False, soft: bool = True) -> Work[bool]:
        """Delete the session and all that hangs on it; whether there was one.

        Soft: for every call it is gone, its id is free, and `restore` brings it back until
        the sweeper purges it after ``deleted_grace``; with ``soft=False`` it is purged at once.
        App and user state stay.
        `DeniedError` for one that is held.
        ``children=True`` takes the sessions of the same user along that it opened.
        """
        at, telling = self._at(key), notes(self._settings)

        def work(bumps: Bumps) -> Plan[bool]:
            found = yield SESSIONS.hold(
                part=at.part, id=at.key.id, now=at.now, expected=None, fence=None
            )
            if not found:
                return False
            row = SessionRow._make(found[0])
            bump(bumps, at.key)
            yield from delete(row, children, soft, self._settings, at.now, telling)
            return True

        return work

    @operation
    def restore(self, key: SessionKey, *, uid: str | None = None) -> Work[Session]:
        """Bring back the session of that id that was deleted last, or the one with that uid.

        Raises `NotFoundError` if there is none, `AlreadyExistsError` if the id is in use.
        """
        at, telling = self._at(key), notes(self._settings)
        wanted_text(uid, "uid")

        def work(bumps: Bumps) -> Plan[Session]:
            bump(bumps, at.key)
            row = yield from self._deleted(at, uid)
            if (yield from find(at)):
                raise AlreadyExistsError(f"session id {at.key.id!r} is in use: delete it first")
            yield SESSIONS.retire_expired(part=at.part, id=at.key.id, now=at.now)
            restored = yield SESSIONS.mark_restored(
                part=row.part, uid=row.uid, deleted_at=row.deleted_at, now=at.now
            )
            if not restored:
                raise AlreadyExistsError(f"session {at.key.id!r} was restored by another caller")
            yield from telling.tell_session(row.part, "session.restored", row.key, row.uid)
            return session_of(SessionRow._make(restored[0]))

        return work

    def _deleted(self, at: Target, uid: str | None) -> Plan[SessionRow]:
        if uid is None:
            found = yield SESSIONS.find_deleted(part=at.part, id=at.key.id)
        else:
            found = yield SESSIONS.find_uid(part=at.part, uid=uid)
        row = SessionRow._make(found[0]) if found else None
        if row is None or row.deleted_at in {None, FIRST_MICROS} or row.id != at.key.id:
            raise NotFoundError(f"no deleted session {at.key.id!r} to restore (uid {uid!r})")
        return row

    @operation
    def purge(self, key: SessionKey, *, uid: str | None = None) -> Work[bool]:
        """Remove every session of that id for good, deleted ones too; or only that uid.

        Returns whether there was something; `DeniedError` if one of them is held.
        """
        at, telling = self._at(key), notes(self._settings)

        def work(_: Bumps) -> Plan[bool]:
            found = yield SESSIONS.uids_of(part=at.part, id=at.key.id)
            doomed = [found_uid for (found_uid,) in found if uid is None or found_uid == uid]
            for doomed_uid in doomed:
                yield SESSIONS.hold_uid(part=at.part, uid=doomed_uid)
                yield from refuse_if_held(at.part, doomed_uid, f"purge session {at.key.id!r}")
            for doomed_uid in doomed:
                yield from tell_removal(telling, at.part, doomed_uid)
                yield from purge(at.part, doomed_uid)
            return bool(doomed)

        return work

    @operation
    def fork(
        self, key: SessionKey, *, at: int | None = None, id: str | None = None
    ) -> Work[Session]:
        """A new session with the events of the active line up to seq ``at`` (None: all).

        It has the session state as of that event, the same description, seqs from 1 on and
        a link to its origin. One transaction. Raises `NotFoundError`, or
        `AlreadyExistsError` if the new id is in use.
        """
        source = self._at(key)
        positive(at, "at")
        uid = self._settings.ids()
        new_id = check_text(_blank_is_new(id, uid), "session id", self._settings.limits.text)
        telling = notes(self._settings)
        return lambda _: fork(source, at, new_id, uid, self._settings, telling)


def _or_blank(value: str | None) -> str:
    return "" if value is None else value


def _blank_is_new(session_id: str | None, new: str) -> str:
    return new if session_id is None or session_id == "" else session_id


def _target(new: _New) -> Target:
    return Target(new.row.key, new.row.part, new.row.app_part, new.row.updated_at)
