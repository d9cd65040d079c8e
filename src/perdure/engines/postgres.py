"""PostgreSQL: one round trip where one statement does it, short transactions for the rest.

The engine has a thread of its own with an event loop, and a pool of connections in it. What
waits there when a connection is free, and may share a transaction, goes out in one trip.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import asyncpg

from perdure.engines import EngineOptions, Job, Setup
from perdure.engines.delivery import BlockedCaller, Outcome, answer, deliver
from perdure.engines.forks import watch_forks
from perdure.engines.postgres_connection import (
    NO_SCHEMA,
    READ_ONLY,
    Connection,
    Server,
    connected,
    drive,
    for_a_transaction,
    probe,
    quoted,
    session_settings,
    state_of,
    translate,
)
from perdure.engines.postgres_hints import Hints
from perdure.engines.postgres_lanes import Lanes
from perdure.engines.postgres_lender import Lender
from perdure.engines.postgres_transactions import Transactions, Ways
from perdure.engines.postgres_upkeep import Upkeep
from perdure.errors import ClosedError, InvalidError, PerdureError, UnknownOutcomeError
from perdure.operation import Fused, Operation

T = TypeVar("T")

_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
#: Whatever the role's default is: plans lock the rows they decide by, and then look. Not READ
#: WRITE: where writing is off by default, as some providers set it on a full disk, it is off.
_WRITING = "BEGIN ISOLATION LEVEL READ COMMITTED"
_KEY_PARTS = 3
#: A setting of PostgreSQL holds no more.
_MOST_MILLIS = 2**31 - 1
_CLOSE_SECONDS = 15.0
_DUPLICATES = {"23505", "42P06"}

#: Engines of the parent, kept in a forked child: collecting them would close its sockets.
_inherited: list[PostgresEngine] = []


class PostgresEngine(Upkeep):
    """The engine of ``postgresql://user:password@host:port/database``.

    One instance may serve any number of threads and event loops. ``fused=False`` runs plain
    transactions alone, as it does on Citus.
    """

    dialect = "postgres"

    def __init__(self, options: EngineOptions, setup: Setup, *, fused: bool = True) -> None:
        self._options = options
        self._setup = setup
        self._fused = fused
        self._own_pool = options.pool is None
        self._pool: Any = options.pool
        self._life = threading.RLock()
        #: Held for moments: what is handed over before the store is closed is still done.
        self._handing = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ready = False
        #: What came before the store was open, in the order in which it came.
        self._early: list[Sequence[Job]] = []
        self._made_schema = False
        self._closed = ""
        self._running: set[asyncio.Task[None]] = set()
        self._transactions: Transactions | None = None
        self._lanes: Lanes | None = None
        self._hints: Hints | None = None
        self._lender: Lender | None = None
        self._borrow: Callable[[], Any] = _nothing
        watch_forks(self)

    # -- life ------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect, bring the schema up to date. Blocks."""
        with self._life:
            self._refuse_if_closed()
            if self._ready:
                return
            if self._loop is None:
                self._loop = self._start()
            try:
                self._call(self._set_up())
            except Exception:
                # Who opens in vain has no store to close.
                self._leave_loop()
                raise
            self._ready = True
            atexit.register(self.close)

    def _start(self) -> asyncio.AbstractEventLoop:
        if not self._own_pool:
            loop: asyncio.AbstractEventLoop = self._pool._loop
            return loop
        loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._serve, args=(loop,), name="perdure-postgres", daemon=True
        )
        self._thread.start()
        return loop

    def _leave_loop(self) -> None:
        """Let the loop go; one of our own ends, and its thread with it."""
        loop, self._loop = self._loop, None
        thread, self._thread = self._thread, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it on the engine's loop and wait for it, in any other thread."""
        loop = self._required_loop
        if _running_loop() is loop:
            work.close()
            raise InvalidError(
                "a pool works on its own event loop: with open(pool=…), await the store there",
                "pool",
            )
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    @property
    def _required_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise ClosedError("the store is closed")
        return self._loop

    async def _set_up(self) -> None:
        try:
            if self._pool is None:
                self._pool = await connected(self._options)
            self._borrow = self._pool.acquire
            if self._own_pool:
                options = self._options
                self._lender = Lender(self._pool, options.pool_max, options.pool_min)
                self._borrow = self._lender
            server = await self._server()
            server.warn()
            self._transactions = Transactions(
                self._borrow,
                self._ways(server),
                self._options.busy_timeout,
                self._mend,
                self._told,
            )
            todo = await self._transactions.read(self._setup)
            if todo is not None:
                await self._transactions.write(todo)
            self._lanes = Lanes(self._transactions, self._spawn, self._options.pool_max)
            self._transactions.marking = await self._has_outcomes()
            if self._own_pool and self._options.prepared_statements:
                # A session of one's own is what a listener needs, and a pooler does not give.
                self._hints = Hints(self._options, self._borrow, self._spawn)
        except PerdureError:
            await self._drop_pool()
            raise
        except Exception as error:
            await self._drop_pool()
            if "startup parameter" in str(error):
                message = "a pooler stands before the server: open with prepared_statements=False"
                raise InvalidError(message, "prepared_statements") from error
            raise translate(error, self._where) from error

    async def _server(self) -> Server:
        async with self._borrow() as connection:
            server = await probe(connection)
        self._fused = self._fused and not server.citus
        return server

    def _ways(self, server: Server) -> Ways:
        wrapped = not self._own_pool or not self._options.prepared_statements
        suffix = ""
        if wrapped:
            settings = session_settings(self._options)
            if self._options.durability == "full" and server.acknowledges_early:
                settings["synchronous_commit"] = "on"
            suffix = for_a_transaction(settings)
        patient = for_a_transaction(
            {"lock_timeout": f"{min(max(1, int(self._options.busy_timeout * 1000)), _MOST_MILLIS)}"}
        )
        return Ways(
            writing=_WRITING + suffix + patient,
            sending=_WRITING + suffix,
            reading=_READING + suffix,
            fused=self._fused,
            wrapped=wrapped,
        )

    async def _has_outcomes(self) -> bool:
        table = f"{quoted(self._options.schema)}.outcomes"
        async with self._borrow() as connection:
            return bool(await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", table))

    @property
    def _required_lanes(self) -> Lanes:
        if self._lanes is None:
            raise ClosedError("the store is closed")
        return self._lanes

    @property
    def _required_lender(self) -> Lender:
        if self._lender is None:
            raise ClosedError("the store is closed")
        return self._lender

    @property
    def _where(self) -> str:
        return "postgresql" if self._own_pool else "the pool"

    async def _mend(self, state: str) -> bool:
        """Do what an error asks for; whether the same may work then."""
        if state == NO_SCHEMA and not self._made_schema:
            await self._make_schema()
            self._made_schema = True
            return True
        if state == READ_ONLY and self._own_pool:
            # The primary is another one now: these connections are to what it was.
            await self._pool.expire_connections()
            await self._required_lender.clear()
        return False

    async def _make_schema(self) -> None:
        schema = self._options.schema
        async with self._borrow() as connection:
            try:
                await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
            except asyncpg.PostgresError as error:
                # Somebody else made it at the same moment: IF NOT EXISTS does not see that.
                if state_of(error) not in _DUPLICATES:
                    raise translate(error, f"schema {schema!r}") from error

    async def _drop_pool(self) -> None:
        pool, self._transactions = self._pool, None
        if self._own_pool:
            self._pool = None
            if pool is not None:
                pool.terminate()

    def close(self) -> None:
        """Finish what was accepted, close the connections that are ours. Blocks; idempotent."""
        with self._life:
            if self._closed:
                return
            with self._handing:
                self._closed = "the store is closed"
            atexit.unregister(self.close)
            loop, self._loop = self._loop, None
            if loop is None:
                return
            if _running_loop() is not loop and loop.is_running():
                asyncio.run_coroutine_threadsafe(self._drain(), loop).result()
            if self._thread is not None:
                loop.call_soon_threadsafe(loop.stop)
                self._thread.join()

    async def _drain(self) -> None:
        while self._running:
            await asyncio.wait(self._running)
        self._transactions = None
        if self._hints is not None:
            await self._hints.close()
        if self._own_pool and self._pool is not None:
            try:
                await self._required_lender.clear()
                await asyncio.wait_for(self._pool.close(), _CLOSE_SECONDS)
            except (TimeoutError, OSError, asyncpg.InterfaceError):
                # Its server is gone: there is nobody to say goodbye to.
                self._pool.terminate()

    @property
    def closed(self) -> bool:
        """Whether `close` was called, or this is a copy in a forked child."""
        return bool(self._closed)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ClosedError(self._closed)

    # -- the port --------------------------------------------------------------------------

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take these operations; each waiter is told the outcome. Does not block."""
        if not self._ready:
            self._open_and_submit(jobs)
            return
        with self._handing:
            self._refuse_if_closed()
            loop = self._required_loop
            if loop.is_closed() or not loop.is_running():
                raise ClosedError("the event loop of the pool has ended")
            loop.call_soon_threadsafe(self._accept, jobs)

    def _open_and_submit(self, jobs: Sequence[Job]) -> None:
        """The first operations of a store open it, but never on the caller's event loop."""
        with self._handing:
            self._refuse_if_closed()
            self._early.append(jobs)
            if len(self._early) > 1:
                return
        threading.Thread(target=self._open_early, name="perdure-open", daemon=True).start()

    def _open_early(self) -> None:
        error: Exception | None = None
        try:
            self.open()
        except Exception as caught:  # noqa: BLE001 - it belongs to the callers
            error = caught
        with self._handing:
            early, self._early = self._early, []
        for jobs in early:
            if error is not None:
                _refuse(jobs, error)
                continue
            try:
                self.submit(jobs)
            except PerdureError as refusal:
                _refuse(jobs, refusal)

    def run(self, op: Operation[Any]) -> Any:
        """Run one operation and return its result."""
        self.refuse_blocking()
        waiter = BlockedCaller()
        given_up = self.given_up(op)
        self.submit([(op, waiter)])
        return waiter.wait(given_up)

    def given_up(self, op: Operation[Any]) -> Callable[[], PerdureError | None] | None:
        """What who waits for the operation asks: whether nobody is left to run it."""
        # An application's loop may end with what it had to do.
        return None if self._own_pool else partial(_lost, op, self._required_loop)

    def refuse_blocking(self) -> None:
        """Refuse to wait in this thread if the loop that does the work runs in it."""
        self._refuse_if_closed()
        if not self._ready:
            self.open()
        if _running_loop() is self._required_loop:
            raise InvalidError("a pool works on its own event loop: await the store there", "pool")

    async def join(self, op: Operation[Any], connection: Connection) -> Any:
        """Run a writing operation in the transaction of a connection of the application's.

        On the loop that the connection belongs to. If it fails, what the application did before
        stands, and its transaction can go on.
        """
        self._refuse_if_closed()
        if not self._ready:
            await asyncio.to_thread(self.open)
        if not connection.is_in_transaction():
            message = (
                "begin a transaction on the connection first: async with connection.transaction()"
            )
            raise InvalidError(message, "connection")
        try:
            async with connection.transaction():
                before = await connection.fetchval("SHOW search_path")
                schema = quoted(self._options.schema)
                await connection.execute(f"SET LOCAL search_path = {schema}")
                result = await drive(connection, op.plan())
                await connection.execute("SELECT set_config('search_path', $1, TRUE)", before)
                return result
        except PerdureError:
            raise
        except Exception as error:
            raise translate(error, op.name) from error

    def hear(self, about: tuple[str, str], wake: Callable[[], None]) -> Callable[[], None]:
        """Call this, from the engine's thread, when that session may have changed.

        Anybody's change, as far as it is heard of: a hint, and no more. Returns what ends it.
        """
        hints, loop = self._hints, self._loop
        if hints is None or loop is None:
            return _nothing
        loop.call_soon_threadsafe(hints.add, about, wake)

        def end() -> None:
            with suppress(RuntimeError):  # the loop has ended first
                loop.call_soon_threadsafe(hints.remove, about, wake)

        return end

    def _told(self, part: str, session_id: str) -> None:
        if self._hints is not None:
            self._hints.tell(part, session_id)

    # -- on the engine's loop ----------------------------------------------------------------

    def _accept(self, jobs: Sequence[Job]) -> None:
        transactions = self._transactions
        if transactions is None:
            _refuse(jobs, ClosedError(self._closed))
            return
        for job in jobs:
            op = job[0]
            if op.reads:
                self._spawn(answer(job[1], transactions.read(op)))
            elif (row := _row_of(op)) is not None:
                try:
                    fused = self._fused and isinstance(op.work, Fused)
                    self._required_lanes.add(job, row, fused=fused)
                except Exception as error:  # noqa: BLE001 - it belongs to this caller alone
                    _refuse([job], error)
            else:
                self._spawn(answer(job[1], transactions.write(op)))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    # -- forks -----------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Nothing has to rest: a child uses none of it."""

    def after_fork_in_parent(self) -> None:
        """Nothing was stopped."""

    def after_fork_in_child(self) -> None:
        """Be closed, without touching the connections that the parent still uses."""
        self._closed = "this store was opened before a fork: open another one in the child"
        self._life = threading.RLock()
        self._handing = threading.Lock()
        atexit.unregister(self.close)
        _inherited.append(self)


def _row_of(op: Operation[Any]) -> tuple[str, ...] | None:
    """What the operation writes, as far as its arguments tell: a key, whole or in three parts."""
    if not op.of_session:
        return getattr(op.work, "order", None)
    first = op.args[0] if op.args else None
    key = tuple(first) if isinstance(first, tuple) else op.args[:_KEY_PARTS]
    whole = len(key) == _KEY_PARTS and all(isinstance(part, str) and part for part in key[2:])
    return key if whole else None


def _refuse(jobs: Sequence[Job], error: Exception) -> None:
    deliver([Outcome(waiter, error=error) for _, waiter in jobs])


def _lost(op: Operation[Any], loop: asyncio.AbstractEventLoop) -> PerdureError | None:
    """What to say of an operation whose event loop was closed under way."""
    if not loop.is_closed():
        return None
    message = f"{op.name}: the event loop of the pool has ended"
    return ClosedError(message) if op.reads else UnknownOutcomeError(message)


def _nothing() -> None:
    """There is nothing to end."""


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
