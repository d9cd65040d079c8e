"""Carrying out operations and flows: awaited, or in the calling thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Generator, Iterator
from contextlib import suppress
from contextvars import copy_context
from inspect import isawaitable, iscoroutinefunction
from typing import Any, TypeVar, cast

from perdure.engines import Engine, Job, bytes_of
from perdure.engines.delivery import AwaitingTask, BlockedCaller
from perdure.errors import PerdureError, UnsupportedError
from perdure.operation import (
    Call,
    Emit,
    Flow,
    Keeping,
    Operation,
    Settle,
    Sleep,
    Step,
    Stream,
    Tend,
)
from perdure.records import Compacted
from perdure.retrying import Attempts, RetryPolicy
from perdure.subscriptions import Hub
from perdure.tending import Tender

T = TypeVar("T")
Outcome = tuple[Any, BaseException | None]
"""What came of a step: its result, or the error that it raised."""
_NOTHING_YET: Outcome = (None, None)


def _next(steps: Generator[Any, Any, Any], outcome: Outcome) -> Any:
    """The next step, of one who is told what came of the last one."""
    result, error = outcome
    return steps.send(result) if error is None else steps.throw(error)


class AsyncRunner:
    """For tasks of any event loop, in any thread, several loops at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.hub = Hub()
        self.tender = Tender(engine)
        # One event loop runs in a thread at a time: its jobs are gathered there.
        self._gathered = threading.local()

    async def operate(self, op: Operation[Any]) -> Any:
        """Run one operation; if the task is cancelled, what was accepted is still done."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        waiter = AwaitingTask(loop, future)
        told = self.hub.active and not op.reads
        self._gather(loop, self.hub.job(op, waiter) if told else (op, waiter))
        return await future

    def _gather(self, loop: asyncio.AbstractEventLoop, job: Job) -> None:
        """Hand over with all others of this round of the loop: they fill one batch."""
        gathered = self._gathered
        if getattr(gathered, "loop", None) is not loop or not gathered.jobs:
            gathered.loop, gathered.jobs = loop, []
            loop.call_soon(self._hand_over, gathered.jobs)
        gathered.jobs.append(job)

    def _hand_over(self, jobs: list[Job]) -> None:
        if self._gathered.jobs is jobs:
            self._gathered.jobs = []
        try:
            self._engine.submit(jobs)
        except Exception as error:  # noqa: BLE001 - nobody else would tell the waiting tasks
            for _, waiter in jobs:
                waiter.tell(None, error)

    async def flow(self, steps: Flow[Any]) -> Any:
        """Drive a flow to its result."""
        outcome = _NOTHING_YET
        try:
            while True:
                try:
                    step = _next(steps, outcome)
                except StopIteration as done:
                    return done.value
                outcome = await self._try(step)
        finally:
            # Cancelled, it learns of it now, and not when the garbage is collected.
            steps.close()

    async def stream(self, steps: Stream[Any]) -> AsyncIterator[Any]:
        """Drive a stream; its items one by one."""
        outcome = _NOTHING_YET
        try:
            while True:
                try:
                    step = _next(steps, outcome)
                except StopIteration:
                    return
                outcome = _NOTHING_YET
                if isinstance(step, Emit):
                    yield step.item
                else:
                    outcome = await self._try(step)
        finally:
            steps.close()

    async def _try(self, step: Step) -> Outcome:
        try:
            return await self._do(step), None
        except Exception as error:  # noqa: BLE001 - the flow decides what it means
            return None, error

    async def _do(self, step: Step) -> Any:
        if isinstance(step, Operation):
            return await self.operate(step)
        if isinstance(step, Sleep):
            return await self._sleep(step)
        if isinstance(step, Keeping):
            return await self._keep(step)
        if isinstance(step, Tend):
            return self.tender.add(step.what)
        if isinstance(step, Settle):
            return await asyncio.to_thread(settled, self._engine, step)
        result = step.function(*step.args)
        return await result if isawaitable(result) else result

    async def _keep(self, step: Keeping) -> Any:
        calling = asyncio.ensure_future(_beside(step.call))
        try:
            while not (await asyncio.wait([calling], timeout=step.every))[0]:
                with suppress(Exception):
                    await self.operate(step.beat())
            return calling.result()
        finally:
            calling.cancel()

    async def _sleep(self, step: Sleep) -> None:
        hear = getattr(self._engine, "hear", None)
        if hear is None or not step.about:
            await asyncio.sleep(step.seconds)
            return
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        end = hear(step.about, lambda: _tell(loop, changed))
        try:
            # Not wait_for: it can lose a cancellation that comes with the change.
            async with asyncio.timeout(step.seconds):
                await changed.wait()
        except TimeoutError:
            return
        finally:
            end()


async def _beside(call: Call) -> Any:
    """The result of a call that does not hold up the loop, be it sync or async."""
    if iscoroutinefunction(call.function):
        return await call.function(*call.args)
    result = await asyncio.to_thread(call.function, *call.args)
    return await result if isawaitable(result) else result


def _tell(loop: asyncio.AbstractEventLoop, changed: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop was closed with those who waited
        loop.call_soon_threadsafe(changed.set)


class RetryingAsyncRunner(AsyncRunner):
    """The same that makes a write again when what it met passes: each operation by itself."""

    def __init__(self, engine: Engine, policy: RetryPolicy) -> None:
        super().__init__(engine)
        self._policy = policy

    async def operate(self, op: Operation[Any]) -> Any:
        """Run one operation; a write up to as many times as the policy says."""
        if op.reads:
            return await super().operate(op)
        attempts = Attempts(self._policy, op)
        while True:
            try:
                return await super().operate(attempts.op)
            except PerdureError as error:
                failure, pause = error, attempts.pause(error)
            with attempts.waiting(failure):
                await asyncio.sleep(pause)


class Joining(AsyncRunner):
    """Runs operations inside the transaction of a connection of the application's."""

    def __init__(self, engine: Engine, connection: Any) -> None:
        super().__init__(engine)
        self._join = getattr(engine, "join", None)
        self._connection = connection
        if self._join is None:
            raise UnsupportedError("only PostgreSQL can join a transaction: leave out connection=")

    async def operate(self, op: Operation[Any]) -> Any:
        """Run one operation there; the application commits it, or does not."""
        return await cast("Any", self._join)(op, self._connection)


class SyncRunner:
    """For any thread, also one in which an event loop runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.hub = Hub()
        self.tender = Tender(engine)

    def operate(self, op: Operation[Any]) -> Any:
        """Run one operation and return its result."""
        if not self.hub.active or op.reads:
            return self._engine.run(op)
        # Through the engine's own thread, so that all are told of in one order.
        refuse = getattr(self._engine, "refuse_blocking", None)
        if refuse is not None:
            refuse()
        given_up = getattr(self._engine, "given_up", None)
        lost = None if given_up is None else given_up(op)
        waiter = BlockedCaller()
        self._engine.submit([self.hub.job(op, waiter)])
        return waiter.wait(lost)

    def flow(self, steps: Flow[Any]) -> Any:
        """Drive a flow to its result."""
        outcome = _NOTHING_YET
        try:
            while True:
                try:
                    step = _next(steps, outcome)
                except StopIteration as done:
                    return done.value
                outcome = self._try(step)
        finally:
            # Cancelled, it learns of it now, and not when the garbage is collected.
            steps.close()

    async def flow_beside(self, steps: Flow[Any]) -> Any:
        """The same for a task: it holds up no loop, and a thread only as long as a step takes.

        If the task is cancelled no further step is begun.
        """
        outcome = _NOTHING_YET
        try:
            while True:
                try:
                    step = _next(steps, outcome)
                except StopIteration as done:
                    return done.value
                outcome = _NOTHING_YET
                if isinstance(step, Sleep):
                    await asyncio.sleep(step.seconds)
                else:
                    outcome = await asyncio.to_thread(self._try, step)
        finally:
            steps.close()

    def stream(self, steps: Stream[Any]) -> Iterator[Any]:
        """Drive a stream; its items one by one."""
        outcome = _NOTHING_YET
        try:
            while True:
                try:
                    step = _next(steps, outcome)
                except StopIteration:
                    return
                outcome = _NOTHING_YET
                if isinstance(step, Emit):
                    yield step.item
                else:
                    outcome = self._try(step)
        finally:
            steps.close()

    def _try(self, step: Step) -> Outcome:
        try:
            return self._do(step), None
        except Exception as error:  # noqa: BLE001 - the flow decides what it means
            return None, error

    def _do(self, step: Step) -> Any:
        if isinstance(step, Operation):
            return self.operate(step)
        if isinstance(step, Sleep):
            return self._sleep(step)
        if isinstance(step, Keeping):
            return self._keep(step)
        if isinstance(step, Tend):
            return self.tender.add(step.what)
        if isinstance(step, Settle):
            return settled(self._engine, step)
        result = step.function(*step.args)
        return finished(result) if isawaitable(result) else result

    def _keep(self, step: Keeping) -> Any:
        outcome: list[Outcome] = []
        thread = threading.Thread(
            target=lambda: outcome.append(self._try(step.call)), name="perdure-call", daemon=True
        )
        thread.start()
        thread.join(step.every)
        while thread.is_alive():
            with suppress(Exception):
                self.operate(step.beat())
            thread.join(step.every)
        [(result, error)] = outcome or [(None, SystemExit("the call ended its thread"))]
        if error is not None:
            raise error
        return result

    def _sleep(self, step: Sleep) -> None:
        hear = getattr(self._engine, "hear", None)
        if hear is None or not step.about:
            time.sleep(step.seconds)
            return
        changed = threading.Event()
        end = hear(step.about, changed.set)
        try:
            changed.wait(step.seconds)
        finally:
            end()


class RetryingSyncRunner(SyncRunner):
    """The same that makes a write again when what it met passes: each operation by itself."""

    def __init__(self, engine: Engine, policy: RetryPolicy) -> None:
        super().__init__(engine)
        self._policy = policy

    def operate(self, op: Operation[Any]) -> Any:
        """Run one operation; a write up to as many times as the policy says."""
        if op.reads:
            return super().operate(op)
        attempts = Attempts(self._policy, op)
        while True:
            try:
                return super().operate(attempts.op)
            except PerdureError as error:
                failure, pause = error, attempts.pause(error)
            with attempts.waiting(failure):
                time.sleep(pause)


def async_runner(engine: Engine, policy: RetryPolicy | None) -> AsyncRunner:
    """The runner of an async store with that policy."""
    return AsyncRunner(engine) if policy is None else RetryingAsyncRunner(engine, policy)


def sync_runner(engine: Engine, policy: RetryPolicy | None) -> SyncRunner:
    """The runner of a sync store with that policy."""
    return SyncRunner(engine) if policy is None else RetryingSyncRunner(engine, policy)


def settled(engine: Engine, step: Settle) -> list[str]:
    """What an engine leaves of what was removed, when it has done what it can."""
    settle = getattr(engine, "settle", None)
    if settle is None:
        return ["this engine does not say what it keeps of removed rows"]
    return cast("list[str]", settle(step.thorough))


def compacted(engine: Engine) -> Compacted:
    """What an engine gives back when it writes anew all that has removed rows in it. Blocks."""
    engine.open()
    before = bytes_of(engine)
    remains = settled(engine, Settle(True))
    return Compacted(before, bytes_of(engine), tuple(remains))


def finished(awaitable: Awaitable[T]) -> T:
    """The result of async code, on a loop in a thread of its own.

    Not in the calling thread: an event loop may be running there.
    """
    outcome: list[T] = []

    async def finish() -> None:
        outcome.append(await awaitable)

    failure: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(finish())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failure.append(error)

    # With the caller's context variables, as if it were called there.
    thread = threading.Thread(target=copy_context().run, args=(work,), name="perdure-call")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]
