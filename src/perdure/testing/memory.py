"""A store in memory that a test can empty, and fill without a call of the API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from perdure.config import Config
from perdure.features import describing
from perdure.features.drafts import Draft, EventRow, draft
from perdure.features.line import EVENTS
from perdure.features.lookup import SESSIONS, SessionRow
from perdure.features.scopes import STATE, Scoped, rows, split
from perdure.features.upkeep import purge
from perdure.operation import Operation, Plan, Query, Settings, Statement
from perdure.parts import check_key, place
from perdure.records import Event, EventInput, NewEvent, Session
from perdure.store import Store, SyncStore
from perdure.tables import TABLES
from perdure.values import Limits, encode_trusted, maybe, to_micros


class MemoryStore(Store):
    """A `Store` in memory: empty when made, gone when closed, and as strict as any other."""

    def __init__(
        self,
        *,
        tenant: str = "",
        event_limit: int | None = None,
        deleted_grace: timedelta | None = None,
        limits: Limits | None = None,
        clock: Callable[[], datetime] | None = None,
        ids: Callable[[], str] | None = None,
        summariser: Callable[..., Any] | None = None,
        token_counter: Callable[..., Any] | None = None,
    ) -> None:
        config = Config(
            url="memory:", tenant=tenant, event_limit=event_limit, deleted_grace=deleted_grace,
            limits=limits, clock=clock, ids=ids, summariser=summariser,
            token_counter=token_counter,
        )  # fmt: skip
        super().__init__(config)

    async def clear(self) -> None:
        """Forget everything: sessions, state, tombstones, of every tenant."""
        await self._runner.operate(_clearing())

    async def put_directly(
        self, session: Session, events: Sequence[Event | EventInput] = ()
    ) -> None:
        """Store a session as it is, in the place of what has its key; no clock is read.

        Its times and its version stay what they are. An `Event` keeps its seq; what is given
        as to `append` is numbered behind the event before it. The session's head, last seq
        and count follow from the events if there are any; without a ``state`` of its own it
        has what their deltas leave.
        """
        await self._runner.operate(_putting(self._settings, session, events))


class SyncMemoryStore(SyncStore):
    """The same for code that does not await: see `MemoryStore`."""

    def __init__(
        self,
        *,
        tenant: str = "",
        event_limit: int | None = None,
        deleted_grace: timedelta | None = None,
        limits: Limits | None = None,
        clock: Callable[[], datetime] | None = None,
        ids: Callable[[], str] | None = None,
        summariser: Callable[..., Any] | None = None,
        token_counter: Callable[..., Any] | None = None,
    ) -> None:
        config = Config(
            url="memory:", tenant=tenant, event_limit=event_limit, deleted_grace=deleted_grace,
            limits=limits, clock=clock, ids=ids, summariser=summariser,
            token_counter=token_counter,
        )  # fmt: skip
        super().__init__(config)

    def clear(self) -> None:
        """Forget everything: see `MemoryStore.clear`."""
        self._runner.operate(_clearing())

    def put_directly(self, session: Session, events: Sequence[Event | EventInput] = ()) -> None:
        """Store a session as it is: see `MemoryStore.put_directly`."""
        self._runner.operate(_putting(self._settings, session, events))


def _clearing() -> Operation[None]:
    def work(_: object) -> Plan[None]:
        for table in TABLES:
            text = f"DELETE FROM {table.name}"  # noqa: S608 - a name of the registry
            yield Statement(Query(f"clear {table.name}", {"sqlite": text}, ()), ())

    return Operation("memory.clear", (), {}, work)


def _putting(
    settings: Settings, session: Session, events: Sequence[Event | EventInput]
) -> Operation[None]:
    now = to_micros(session.updated_at, "updated_at")
    placed = list(_placed(settings, session, events, now))
    row = _row(settings, session, [event for event, _ in placed])
    state = split(session.state, settings.limits, "state")
    deltas = [state] if session.state is not None else [made.delta for _, made in placed]
    terms = describing.terms(session.tags, session.metadata)

    def work(_: object) -> Plan[None]:
        for (uid,) in (yield SESSIONS.uids_of(part=row.part, id=row.id)):
            yield from purge(row.part, uid)
        yield SESSIONS.insert(**row._asdict())
        yield SESSIONS.add_term.many([(row.part, row.uid, term) for term in terms])
        yield EVENTS.insert.many(
            [(row.part, row.uid, *event[:4], made.digest, *event[4:]) for event, made in placed]
        )
        yield STATE.put.many(_entries(row, deltas, now))
        if state.text is not None:
            yield STATE.log(part=row.part, uid=row.uid, seq=0, version=1, delta=state.text, now=now)

    return Operation("memory.put_directly", (), {}, work)


def _entries(row: SessionRow, deltas: Sequence[Scoped], now: int) -> list[tuple[Any, ...]]:
    session = [entry for delta in deltas for entry in delta.session]
    user = [entry for delta in deltas for entry in delta.user]
    app = [entry for delta in deltas for entry in delta.app]
    return [
        *rows(row.part, row.uid, session, now),
        *rows(row.part, "", user, now),
        *rows(row.app_part, "", app, now),
    ]


def _placed(
    settings: Settings, session: Session, events: Sequence[Event | EventInput], now: int
) -> Iterator[tuple[EventRow, Draft]]:
    last = 0
    for event in events:
        if isinstance(event, Event):
            made = draft(_as_new(event), settings, to_micros(event.created_at, "created_at"))
            row = made.row._replace(seq=event.seq, prev=event.prev, version=event.version)
        else:
            made = draft(event, settings, now)
            row = made.row._replace(seq=last + 1, prev=last, version=session.version)
        last = row.seq
        yield row, made


def _as_new(event: Event) -> NewEvent:
    return NewEvent(
        event.content,
        id=event.id,
        author=event.author,
        run_id=event.run_id,
        branch=event.branch,
        filter_key=event.filter_key,
        format=event.format,
        error=event.error,
        usage=event.usage,
        metadata=event.metadata,
        state_delta=event.state_delta,
        timestamp=event.timestamp,
        extra=event.extra,
    )


def _row(settings: Settings, session: Session, events: Sequence[EventRow]) -> SessionRow:
    key = check_key(session.key, settings.limits.text)
    where = place(settings.tenant, key.app, key.user, settings.limits.text)
    updated_at = to_micros(session.updated_at, "updated_at")
    expires_at = maybe(lambda at: to_micros(at, "expires_at"), session.expires_at)
    head = events[-1].seq if events else session.head_seq
    return SessionRow(
        part=where.part,
        uid=session.uid,
        id=key.id,
        tenant=settings.tenant,
        app=key.app,
        user_id=key.user,
        app_part=where.app_part,
        version=session.version,
        head=head,
        left_head=head,
        last_seq=max((event.seq for event in events), default=session.last_seq),
        event_count=len(events) or session.event_count,
        created_at=to_micros(session.created_at, "created_at"),
        updated_at=updated_at,
        last_event_at=maybe(lambda at: to_micros(at, "last_event_at"), session.last_event_at),
        ttl=None if expires_at is None else max(expires_at - updated_at, 1),
        expires_at=expires_at,
        deleted_at=maybe(lambda at: to_micros(at, "deleted_at"), session.deleted_at),
        title=session.title,
        author=session.author,
        agent_type=session.agent_type,
        tags=encode_trusted(list(session.tags)),
        metadata=encode_trusted(session.metadata),
        parent=describing.key_text(session.parent, settings.limits.text),
        origin=maybe(lambda origin: encode_trusted([*origin.key, origin.seq]), session.origin),
        preview=session.preview,
        fence=None,
    )
