"""The facade: opens an engine, brings its schema up to date, one attribute a feature."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Coroutine,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from perdure.config import Config, Resolved, resolve
from perdure.engines import engine_for
from perdure.features.approvals import Approvals
from perdure.features.artifacts import Artifacts
from perdure.features.checkpoints import Checkpoints
from perdure.features.clarifications import Clarifications
from perdure.features.cron import Cron
from perdure.features.events import Events
from perdure.features.history import HistoryView
from perdure.features.keyvalues import KeyValues
from perdure.features.memory import Memories
from perdure.features.recovery import RecoveryView
from perdure.features.search import Search
from perdure.features.sessions import Sessions
from perdure.features.sizes import Sizes
from perdure.features.state import State
from perdure.features.steps import Steps
from perdure.features.summaries import Summaries
from perdure.features.sweeping import Sweeping
from perdure.features.upkeep import Upkeep
from perdure.features.usage import Usages
from perdure.handles import SessionHandle, load
from perdure.migrations import migrate, set_up
from perdure.operation import Async, Flow, M, Runner, Sync, run
from perdure.records import (
    ALL,
    JSON,
    AllType,
    Compacted,
    DiskUse,
    ErasureReceipt,
    SearchHit,
    SessionKey,
    Swept,
    Usage,
)
from perdure.retrying import RetryPolicy
from perdure.runners import (
    AsyncRunner,
    Joining,
    SyncRunner,
    async_runner,
    compacted,
    sync_runner,
)
from perdure.schema import migrate_store
from perdure.subscriptions import (
    AsyncSubscription,
    SyncSubscription,
    checked_kinds,
    checked_limit,
)
from perdure.turns import AsyncTurn, SyncTurn

if TYPE_CHECKING:
    from perdure.workers import Scheduler, Workers


class Companion(Protocol):
    """What has started beside a store."""

    def close(self) -> None:
        """End what is under way. Blocks."""


AnySubscription = TypeVar("AnySubscription", AsyncSubscription, SyncSubscription)


class _Store(Generic[M]):
    """What both colours of a store share."""

    def __init__(
        self,
        resolved: Resolved,
        runner_of: Callable[[Any, RetryPolicy | None], AsyncRunner | SyncRunner],
    ) -> None:
        settings = resolved.settings
        self._resolved = resolved
        self._settings = settings
        self._engine = engine_for(resolved, set_up(settings.clock(), resolved.auto_migrate))
        runner = runner_of(self._engine, resolved.retry)
        self._runner: Runner = runner
        self._hub = runner.hub
        self._tender = runner.tender
        #: What runs beside the store, and is closed before it.
        self._companions: set[Companion] = set()
        self.sessions: Sessions[M] = Sessions(self._runner, settings)
        self.events: Events[M] = Events(self._runner, settings)
        self.state: State[M] = State(self._runner, settings)
        self.kv: KeyValues[M] = KeyValues(self._runner, settings)
        self.memory: Memories[M] = Memories(self._runner, settings)
        self.artifacts: Artifacts[M] = Artifacts(self._runner, settings)
        self.summaries: Summaries[M] = Summaries(self._runner, settings)
        self.steps: Steps[M] = Steps(self._runner, settings)
        self.clarifications: Clarifications[M] = Clarifications(self._runner, settings)
        self.approvals: Approvals[M] = Approvals(self._runner, settings)
        self.checkpoints: Checkpoints[M] = Checkpoints(self._runner, settings)
        self.cron: Cron[M] = Cron(self._runner, settings)
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

    def scheduler(
        self, handlers: Mapping[str, Callable[..., Any]] | None = None, *, limit: int = 20
    ) -> Scheduler[M]:
        """What runs the tasks of this store, up to ``limit`` at a time: see `Scheduler`."""
        from perdure.workers import Scheduler  # noqa: PLC0415 - they stand above the store

        return Scheduler(self, handlers, limit=limit)

    def _close(self) -> None:
        # What companions are at may need the store to end well.
        for companion in list(self._companions):
            companion.close()
        self._tender.close()
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
        super().__init__(resolve(config), async_runner)

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

    @property
    def step(self) -> Callable[..., Coroutine[Any, Any, JSON]]:
        """Run a step of a run once, and get what it gave from then on: see `Steps.run`."""
        return self.steps.run

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
        fence: int | None = None,
    ) -> SessionHandle[Async]:
        """A handle on the session of that key, made (with this state and title) if new.

        ``recent`` limits the events it holds to the last ones. Appending through a handle
        checks that nobody else has written in between, and, with the ``fence`` of a run lease, that
        no other run has taken the lease.
        """
        options = {"state": state, "title": title}
        steps = self._loaded(SessionKey(app, user, id or ""), recent, options)
        loaded = await self._runner.flow(steps)
        return SessionHandle(self._runner, self._settings, loaded, recent, fence)

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
            app, user, query, kinds=kinds, session=session, limit=limit, meaning=meaning,
            on_embedder_error=on_embedder_error,
        )  # fmt: skip

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

    async def compact(self) -> Compacted:
        """Write anew what has removed rows in it, and give their room back.

        Who writes waits meanwhile. ``remains``: what could not be done, on a server all of it. In
        files the bytes are gone then. `BusyError` if another process writes to a JSONL directory.
        """
        return await asyncio.to_thread(compacted, self._engine)

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
        super().__init__(resolve(config), sync_runner)
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

    @property
    def step(self) -> Callable[..., JSON]:
        """Run a step of a run once: see `Steps.run`."""
        return self.steps.run

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
        fence: int | None = None,
    ) -> SessionHandle[Sync]:
        """A handle on the session of that key, made if new: see `Store.session`."""
        options = {"state": state, "title": title}
        steps = self._loaded(SessionKey(app, user, id or ""), recent, options)
        loaded = self._runner.flow(steps)
        return SessionHandle(self._runner, self._settings, loaded, recent, fence)

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
            app, user, query, kinds=kinds, session=session, limit=limit, meaning=meaning,
            on_embedder_error=on_embedder_error,
        )  # fmt: skip

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

    def compact(self) -> Compacted:
        """Write anew what has removed rows in it: see `Store.compact`."""
        return compacted(self._engine)

    def start_workers(self) -> Workers[Sync]:
        """Start every worker that the store's options ask for: see `Store.start_workers`."""
        from perdure.workers import Workers  # noqa: PLC0415 - they stand above the store

        workers = Workers(self)
        workers.start()
        return workers
