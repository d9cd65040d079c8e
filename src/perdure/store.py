"""The facade: opens an engine, brings its schema up to date, one attribute a feature."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from perdure.config import Config, Resolved, resolve
from perdure.engines import Engine, engine_for
from perdure.errors import UnsupportedError
from perdure.features.artifacts import Artifacts
from perdure.features.events import Events
from perdure.features.history import HistoryView
from perdure.features.keyvalues import KeyValues
from perdure.features.memory import Memories
from perdure.features.recovery import RecoveryView
from perdure.features.search import Search
from perdure.features.sessions import Sessions
from perdure.features.sizes import Sizes
from perdure.features.state import State
from perdure.features.summaries import Summaries
from perdure.features.sweeping import Sweeping
from perdure.features.upkeep import Upkeep
from perdure.features.usage import Usages
from perdure.handles import SessionHandle, load
from perdure.migrations import check, migrate, nothing_to_set_up, set_up
from perdure.migrations.distribution import distribute, undistributed
from perdure.operation import Async, Flow, M, Runner, Sync, run
from perdure.records import (
    ALL,
    JSON,
    AllType,
    DiskUse,
    ErasureReceipt,
    SearchHit,
    SessionKey,
    Swept,
    Usage,
)
from perdure.retention import RetentionConfig
from perdure.runners import AsyncRunner, Joining, SyncRunner
from perdure.subscriptions import (
    AsyncSubscription,
    SyncSubscription,
    checked_kinds,
    checked_limit,
)
from perdure.turns import AsyncTurn, SyncTurn
from perdure.values import Limits
from perdure.webhooks import Webhook

if TYPE_CHECKING:
    from perdure.workers import Workers


class Companion(Protocol):
    """What has started beside a store."""

    def close(self) -> None:
        """End what is under way. Blocks."""


AnySubscription = TypeVar("AnySubscription", AsyncSubscription, SyncSubscription)


class _Store(Generic[M]):
    """What both colours of a store share."""

    def __init__(
        self, resolved: Resolved, runner_of: Callable[[Any], AsyncRunner | SyncRunner]
    ) -> None:
        settings = resolved.settings
        self._resolved = resolved
        self._settings = settings
        self._engine = engine_for(resolved, set_up(settings.clock(), resolved.auto_migrate))
        runner = runner_of(self._engine)
        self._runner: Runner = runner
        self._hub = runner.hub
        #: What runs beside the store, and is closed before it.
        self._companions: set[Companion] = set()
        self.sessions: Sessions[M] = Sessions(self._runner, settings)
        self.events: Events[M] = Events(self._runner, settings)
        self.state: State[M] = State(self._runner, settings)
        self.kv: KeyValues[M] = KeyValues(self._runner, settings)
        self.memory: Memories[M] = Memories(self._runner, settings)
        self.artifacts: Artifacts[M] = Artifacts(self._runner, settings)
        self.summaries: Summaries[M] = Summaries(self._runner, settings)
        self._usages: Usages[M] = Usages(self._runner, settings)
        self._sizes: Sizes[M] = Sizes(self._runner, settings)
        self._upkeep: Upkeep[M] = Upkeep(self._runner, settings)
        self._sweeping: Sweeping[M] = Sweeping(self._runner, settings)
        self._search: Search[M] = Search(self._runner, settings)

    @property
    def tenant(self) -> str:
        """The tenant that everything in this store object belongs to."""
        return self._settings.tenant

    @property
    def display_url(self) -> str:
        """Where the store is, without its password."""
        return self._resolved.display_url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.display_url}>"

    def history(
        self,
        app: str = "",
        user: str = "",
        *,
        on_error: str = "raise",
        compact_on_save: bool = False,
    ) -> HistoryView[M]:
        """Sessions as lists of messages with a summary, each by one key: see `HistoryView`.

        ``on_error="log"`` never raises, and tries again later; ``compact_on_save=True`` removes
        with each `save` what the view does not show.
        """
        return HistoryView(
            self._runner,
            self._settings,
            app,
            user,
            on_error=on_error,
            compact_on_save=compact_on_save,
        )

    def recovery(self, app: str = "", *, window: int = 20) -> RecoveryView[M]:
        """Sessions as whole contexts with their last messages: see `RecoveryView`."""
        return RecoveryView(self._runner, self._settings, app, window=window)

    def _close(self) -> None:
        # What companions are at may need the store to end well.
        for companion in list(self._companions):
            companion.close()
        self._engine.close()
        self._hub.close()

    def _subscribed(
        self, of: type[AnySubscription], kinds: Collection[str] | str | None, limit: int
    ) -> AnySubscription:
        subscription = of(self._hub, checked_kinds(kinds), checked_limit(limit))
        self._hub.add(subscription)
        return subscription

    def _migrate(self) -> list[str]:
        if self._resolved.auto_migrate:
            # Opening has done it; this says so, or that the store is closed.
            now = self._settings.clock()
            names: list[str] = self._engine.run(migrate(now))
            return names
        return migrate_store(self._resolved)

    def _loaded(self, key: SessionKey, recent: int | None, options: Mapping[str, Any]) -> Flow[Any]:
        create = Sessions.get_or_create.of(
            Sessions(self._runner, self._settings), key.app, key.user, key.id, **options
        )
        session = yield from run(create)
        return (yield from load(self._runner, self._settings, session.key, recent))


class Store(_Store[Async]):
    """A store for async code: `async with perdure.open(url) as store:`, or ``await`` it.

    It may be used from any number of threads and event loops; the first call opens it if
    nothing else has.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(resolve(config), AsyncRunner)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._engine.open)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __await__(self) -> Generator[Any, None, Self]:
        return self.__aenter__().__await__()

    async def close(self) -> None:
        """Finish what was accepted and close; idempotent."""
        await asyncio.to_thread(self._close)

    def turn(self, *, connection: Any = None) -> AsyncTurn:
        """Several writes as one transaction: see `Turn`.

        ``connection``: an asyncpg connection of the application's to the same database. The
        writes become part of the transaction it is in (`InvalidError` if it is in none), and are
        stored when that is committed. On other engines than PostgreSQL `UnsupportedError`.
        """
        if connection is None:
            return AsyncTurn(self._runner, self._settings)
        return AsyncTurn(Joining(self._engine, connection), self._settings)

    async def session(
        self,
        app: str,
        user: str,
        id: str | None = None,
        *,
        recent: int | None = None,
        state: Mapping[str, JSON] | None = None,
        title: str = "",
    ) -> SessionHandle[Async]:
        """A handle on the session of that key, made (with this state and title) if new.

        ``recent`` limits the events it holds to the last ones. Appending through a handle
        checks that nobody else has written in between.
        """
        options = {"state": state, "title": title}
        steps = self._loaded(SessionKey(app, user, id or ""), recent, options)
        loaded = await self._runner.flow(steps)
        return SessionHandle(self._runner, self._settings, loaded, recent)

    async def migrate(self) -> list[str]:
        """Bring the schema up to date; the names of the migrations that were applied."""
        return await asyncio.to_thread(self._migrate)

    async def search(
        self,
        app: str,
        user: str | AllType,
        query: str,
        *,
        kinds: Sequence[str] | None = None,
        session: SessionKey | None = None,
        limit: int = 10,
        meaning: float = 0.5,
        on_embedder_error: str = "raise",
    ) -> list[SearchHit]:
        """What answers the query best, over everything of a user: see `Search.search`."""
        return await self._search.search(
            app,
            user,
            query,
            kinds=kinds,
            session=session,
            limit=limit,
            meaning=meaning,
            on_embedder_error=on_embedder_error,
        )

    async def index(self, app: str | AllType = ALL, user: str | AllType = ALL) -> int:
        """Index what no search has looked through yet, for workers: how many documents."""
        return await self._search.index(app, user)

    async def erase_user(
        self,
        app: str,
        user: str,
        *,
        override_holds: bool = False,
        settle: bool | None = None,
    ) -> ErasureReceipt:
        """Remove everything of a person: see `Upkeep.erase_user`."""
        return await self._upkeep.erase_user(
            app, user, override_holds=override_holds, settle=settle
        )

    def export_user(self, app: str, user: str) -> AsyncIterator[str]:
        """Everything of a person as lines of JSON: see `Upkeep.export_user`."""
        return self._upkeep.export_user(app, user)

    def subscribe(
        self, kinds: Collection[str] | str | None = None, *, limit: int = 1000
    ) -> AsyncSubscription:
        """What this store object commits from now on, as facts of these kinds (None: all).

        Never what failed, and in each session in the order it was stored. At most ``limit``
        facts wait to be read; then the next ones are counted, and one fact of the kind
        ``missed`` tells how many. Ends when the store or the subscription is closed.
        """
        return self._subscribed(AsyncSubscription, kinds, limit)

    async def usage(
        self,
        by: Sequence[str] = ("user", "model", "day"),
        *,
        app: str | AllType = ALL,
        user: str | AllType = ALL,
        session: SessionKey | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        include_deleted: bool = False,
    ) -> list[Usage]:
        """The tokens that events say they took, in groups: see `Usages.usage`."""
        return await self._usages.usage(
            by, app=app, user=user, session=session, after=after, before=before,
            include_deleted=include_deleted,
        )  # fmt: skip

    async def du(self, by: Sequence[str] = ("app", "table"), *, days: int = 30) -> DiskUse:
        """How much is stored, by app, user and table, and its growth: see `Sizes.du`."""
        return await self._sizes.du(by, days=days)

    async def sweep(self, *, dry_run: bool = False) -> Swept:
        """Remove what has had its time: see `Sweeping.sweep`."""
        return await self._sweeping.sweep(dry_run=dry_run)

    async def start_workers(self) -> Workers[Async]:
        """Start every worker that the store's options ask for, in threads of this process.

        They are stopped with the store, or by `Workers.stop`. Any number of processes may do
        this: leases decide who does what.
        """
        from perdure.workers import Workers  # noqa: PLC0415 - they stand above the store

        workers = Workers(self)
        await workers.start()
        return workers


class SyncStore(_Store[Sync]):
    """The same store for code that does not await: `with perdure.open_sync(url) as store:`."""

    def __init__(self, config: Config) -> None:
        super().__init__(resolve(config), SyncRunner)
        self._engine.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Finish what was accepted and close; idempotent."""
        self._close()

    def turn(self) -> SyncTurn:
        """Several writes as one transaction: see `Turn`."""
        return SyncTurn(self._runner, self._settings)

    def session(
        self,
        app: str,
        user: str,
        id: str | None = None,
        *,
        recent: int | None = None,
        state: Mapping[str, JSON] | None = None,
        title: str = "",
    ) -> SessionHandle[Sync]:
        """A handle on the session of that key, made if new: see `Store.session`."""
        options = {"state": state, "title": title}
        steps = self._loaded(SessionKey(app, user, id or ""), recent, options)
        loaded = self._runner.flow(steps)
        return SessionHandle(self._runner, self._settings, loaded, recent)

    def migrate(self) -> list[str]:
        """Bring the schema up to date; the names of the migrations that were applied."""
        return self._migrate()

    def search(
        self,
        app: str,
        user: str | AllType,
        query: str,
        *,
        kinds: Sequence[str] | None = None,
        session: SessionKey | None = None,
        limit: int = 10,
        meaning: float = 0.5,
        on_embedder_error: str = "raise",
    ) -> list[SearchHit]:
        """What answers the query best, over everything of a user: see `Search.search`."""
        return self._search.search(
            app,
            user,
            query,
            kinds=kinds,
            session=session,
            limit=limit,
            meaning=meaning,
            on_embedder_error=on_embedder_error,
        )

    def index(self, app: str | AllType = ALL, user: str | AllType = ALL) -> int:
        """Index what no search has looked through yet, for workers: how many documents."""
        return self._search.index(app, user)

    def erase_user(
        self,
        app: str,
        user: str,
        *,
        override_holds: bool = False,
        settle: bool | None = None,
    ) -> ErasureReceipt:
        """Remove everything of a person: see `Upkeep.erase_user`."""
        return self._upkeep.erase_user(app, user, override_holds=override_holds, settle=settle)

    def export_user(self, app: str, user: str) -> Iterator[str]:
        """Everything of a person as lines of JSON: see `Upkeep.export_user`."""
        return self._upkeep.export_user(app, user)

    def subscribe(
        self, kinds: Collection[str] | str | None = None, *, limit: int = 1000
    ) -> SyncSubscription:
        """What this store object commits from now on, as facts: see `Store.subscribe`."""
        return self._subscribed(SyncSubscription, kinds, limit)

    def usage(
        self,
        by: Sequence[str] = ("user", "model", "day"),
        *,
        app: str | AllType = ALL,
        user: str | AllType = ALL,
        session: SessionKey | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        include_deleted: bool = False,
    ) -> list[Usage]:
        """The tokens that events say they took, in groups: see `Usages.usage`."""
        return self._usages.usage(
            by, app=app, user=user, session=session, after=after, before=before,
            include_deleted=include_deleted,
        )  # fmt: skip

    def du(self, by: Sequence[str] = ("app", "table"), *, days: int = 30) -> DiskUse:
        """How much is stored, by app, user and table, and its growth: see `Sizes.du`."""
        return self._sizes.du(by, days=days)

    def sweep(self, *, dry_run: bool = False) -> Swept:
        """Remove what has had its time: see `Sweeping.sweep`."""
        return self._sweeping.sweep(dry_run=dry_run)

    def start_workers(self) -> Workers[Sync]:
        """Start every worker that the store's options ask for: see `Store.start_workers`."""
        from perdure.workers import Workers  # noqa: PLC0415 - they stand above the store

        workers = Workers(self)
        workers.start()
        return workers


def open(  # noqa: A001 - perdure.open, as gzip.open
    url: str | Config | None = None,
    *,
    tenant: str | None = None,
    durability: str | None = None,
    auto_migrate: bool | None = None,
    busy_timeout: float | None = None,
    event_limit: int | None = None,
    memory_limit_per_user: int | None = None,
    deleted_grace: timedelta | None = None,
    limits: Limits | None = None,
    clock: Callable[[], datetime] | None = None,
    ids: Callable[[], str] | None = None,
    schema: str | None = None,
    pool_min: int | None = None,
    pool_max: int | None = None,
    prepared_statements: bool | None = None,
    pool: Any = None,
    summariser: Callable[..., Any] | None = None,
    extractor: Callable[..., Any] | None = None,
    embedder: Callable[..., Any] | None = None,
    token_counter: Callable[..., Any] | None = None,
    retention: RetentionConfig | None = None,
    on_write: Callable[[Any], Any] | None = None,
    webhooks: Sequence[Webhook] | None = None,
) -> Store:
    """A store for async code; options as in `Config`, arguments win over its values.

    `InvalidError` for what makes no sense; whether the store can be opened shows when it is
    entered, awaited, or first used.
    """
    given = {
        "tenant": tenant, "durability": durability, "auto_migrate": auto_migrate,
        "busy_timeout": busy_timeout, "event_limit": event_limit,
        "memory_limit_per_user": memory_limit_per_user, "deleted_grace": deleted_grace,
        "limits": limits, "clock": clock, "ids": ids, "schema": schema,
        "pool_min": pool_min, "pool_max": pool_max,
        "prepared_statements": prepared_statements, "pool": pool,
        "summariser": summariser, "extractor": extractor, "embedder": embedder,
        "token_counter": token_counter, "retention": retention, "on_write": on_write,
        "webhooks": webhooks,
    }  # fmt: skip
    return Store(_config(url, given))


def open_sync(
    url: str | Config | None = None,
    *,
    tenant: str | None = None,
    durability: str | None = None,
    auto_migrate: bool | None = None,
    busy_timeout: float | None = None,
    event_limit: int | None = None,
    memory_limit_per_user: int | None = None,
    deleted_grace: timedelta | None = None,
    limits: Limits | None = None,
    clock: Callable[[], datetime] | None = None,
    ids: Callable[[], str] | None = None,
    schema: str | None = None,
    pool_min: int | None = None,
    pool_max: int | None = None,
    prepared_statements: bool | None = None,
    pool: Any = None,
    summariser: Callable[..., Any] | None = None,
    extractor: Callable[..., Any] | None = None,
    embedder: Callable[..., Any] | None = None,
    token_counter: Callable[..., Any] | None = None,
    retention: RetentionConfig | None = None,
    on_write: Callable[[Any], Any] | None = None,
    webhooks: Sequence[Webhook] | None = None,
) -> SyncStore:
    """A store for code that does not await, opened: see `open`."""
    given = {
        "tenant": tenant, "durability": durability, "auto_migrate": auto_migrate,
        "busy_timeout": busy_timeout, "event_limit": event_limit,
        "memory_limit_per_user": memory_limit_per_user, "deleted_grace": deleted_grace,
        "limits": limits, "clock": clock, "ids": ids, "schema": schema,
        "pool_min": pool_min, "pool_max": pool_max,
        "prepared_statements": prepared_statements, "pool": pool,
        "summariser": summariser, "extractor": extractor, "embedder": embedder,
        "token_counter": token_counter, "retention": retention, "on_write": on_write,
        "webhooks": webhooks,
    }  # fmt: skip
    return SyncStore(_config(url, given))


def _config(url: str | Config | None, given: Mapping[str, Any]) -> Config:
    config = url if isinstance(url, Config) else Config(url=url)
    return replace(config, **{name: value for name, value in given.items() if value is not None})


def missing_migrations(config: Config) -> list[str]:
    """The names of the migrations that the store lacks; writes nothing."""
    return _on_bare_engine(resolve(config), lambda _: check())


def migrate_store(resolved: Resolved) -> list[str]:
    """Apply the migrations that the store lacks; their names."""
    return _on_bare_engine(resolved, migrate)


def undistributed_tables(resolved: Resolved) -> list[str]:
    """The tables that Citus does not keep in shards yet; writes nothing.

    `UnsupportedError` where there is no Citus.
    """
    with _sharding_engine(resolved) as engine:
        names: list[str] = engine.run(undistributed())
        return names


def distribute_store(resolved: Resolved) -> Iterator[str]:
    """Have Citus keep every table in shards by ``part``; each table's name as it is done.

    A table is one transaction: it copies the rows while those who write to the table wait. What
    is distributed already is left alone, so that after a failure the rest can be done by the
    same again. `UnsupportedError` where there is no Citus. Tried against stand-ins for its
    functions, not against a real Citus.
    """
    with _sharding_engine(resolved) as engine:
        for table in engine.run(undistributed()):
            if engine.run(distribute(table)):
                yield table


@contextmanager
def _sharding_engine(resolved: Resolved) -> Iterator[Engine]:
    with _bare_engine(resolved) as engine:
        if engine.dialect != "postgres":
            raise UnsupportedError(
                f"{resolved.display_url} stays on one machine: only a PostgreSQL database with "
                "Citus can be distributed, see the docs page beyond-one-machine"
            )
        engine.open()
        yield engine


def _on_bare_engine(resolved: Resolved, op_of: Callable[[int], Any]) -> list[str]:
    """Run one operation on a store whose schema is not looked at first."""
    with _bare_engine(resolved) as engine:
        engine.open()
        names: list[str] = engine.run(op_of(resolved.settings.clock()))
        return names


@contextmanager
def _bare_engine(resolved: Resolved) -> Iterator[Engine]:
    """An engine whose schema is not looked at first, not yet opened."""
    engine = engine_for(replace(resolved, unhurried=True), nothing_to_set_up())
    try:
        yield engine
    finally:
        engine.close()
