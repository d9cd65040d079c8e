"""An engine that fails when a test says so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, cast

from perdure.config import Config, resolve
from perdure.engines import Engine, EngineOptions, Job, Setup, at_url, engine_for, register_engine
from perdure.engines.delivery import BlockedCaller, Outcome, Waiter, deliver
from perdure.operation import Operation
from perdure.store import Store, SyncStore

PREFIX = "failing+"

Fault = Exception | Callable[[], Exception]


class _Rule:
    def __init__(self, fault: Fault, name: str, nth: int, times: int | None, after: bool) -> None:
        self._fault = fault
        self._name = name
        self._before_it = nth - 1
        self._left = times
        self.after = after

    def takes(self, name: str) -> bool:
        """Whether this operation is one to fail; counts it if its name fits."""
        if not fnmatchcase(name, self._name) or self._left == 0:
            return False
        if self._before_it:
            self._before_it -= 1
            return False
        if self._left is not None:
            self._left -= 1
        return True

    def error(self) -> Exception:
        return self._fault if isinstance(self._fault, Exception) else self._fault()


class FailingEngine:
    """An engine around another one, whose operations fail as `fail` says.

    ``names`` are those of all operations it was given, in order: ``events.append``,
    ``sessions.get``, ``store.turn``, ``handle.load`` …
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []
        self.dialect = engine.dialect
        self.names: list[str] = []

    def fail(
        self,
        error: Fault,
        *,
        name: str = "*",
        nth: int = 1,
        times: int | None = 1,
        after: bool = False,
    ) -> None:
        """Make operations raise the error, or what the given callable makes.

        Which: of those whose name fits (``*`` stands for any text) the nth from now, and the
        following ones up to ``times`` in all (None: all of them). When: before it takes
        effect, or with ``after=True`` after it: the store has written, and the caller is not
        told. That is a lost acknowledgement.
        """
        with self._lock:
            self._rules.append(_Rule(error, name, nth, times, after))

    def heal(self) -> None:
        """Forget every fault."""
        with self._lock:
            self._rules.clear()

    def _rule(self, op: Operation[Any]) -> _Rule | None:
        with self._lock:
            self.names.append(op.name)
            # Each of them counts, also those behind the one that takes it.
            taking = [rule for rule in self._rules if rule.takes(op.name)]
        return taking[0] if taking else None

    def open(self) -> None:
        """Open the engine inside."""
        self._engine.open()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take these operations, but for those that are to fail before."""
        passed: list[Job] = []
        for op, waiter in jobs:
            rule = self._rule(op)
            if rule is None:
                passed.append((op, waiter))
            elif rule.after:
                passed.append((op, cast("Waiter", _Untold(waiter, rule))))
            else:
                deliver([Outcome(waiter, error=rule.error())])
        self._engine.submit(passed)

    def run(self, op: Operation[Any]) -> Any:
        """Run one operation and return its result, or fail."""
        rule = self._rule(op)
        if rule is not None and not rule.after:
            raise rule.error()
        result = self._engine.run(op)
        if rule is not None:
            raise rule.error()
        return result

    def close(self) -> None:
        """Close the engine inside."""
        self._engine.close()


class _Untold:
    """A waiter that is told of a fault, where it would have been told that all is well."""

    def __init__(self, waiter: Waiter, rule: _Rule) -> None:
        self._waiter: BlockedCaller = cast("BlockedCaller", waiter)
        self._rule = rule
        self.loop = waiter.loop

    def tell(self, value: Any, error: BaseException | None) -> None:
        del value
        self._waiter.tell(None, error or self._rule.error())


class Failing(NamedTuple):
    """A store, and the engine below it that makes it fail."""

    store: Store
    engine: FailingEngine


class SyncFailing(NamedTuple):
    """A sync store, and the engine below it that makes it fail."""

    store: SyncStore
    engine: FailingEngine


def open_failing(config: str | Config = "memory:") -> Failing:
    """A store on any URL whose operations can be made to fail.

    ``store, engine = open_failing()``, then
    ``engine.fail(BusyError("locked"), name="events.append", after=True)``.
    """
    store = Store(_failing(config))
    return Failing(store, cast("FailingEngine", store._engine))


def open_failing_sync(config: str | Config = "memory:") -> SyncFailing:
    """The same for code that does not await."""
    store = SyncStore(_failing(config))
    return SyncFailing(store, cast("FailingEngine", store._engine))


def _failing(config: str | Config) -> Config:
    config = Config(url=config) if isinstance(config, str) else config
    url = PREFIX + resolve(config).url
    register_engine(url.partition(":")[0], _around)
    return replace(config, url=url)


def _around(options: EngineOptions, setup: Setup) -> Engine:
    inner = at_url(options, options.url.removeprefix(PREFIX))
    return FailingEngine(engine_for(inner, setup))
