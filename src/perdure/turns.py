"""A turn: several writes as one transaction, sent when the block ends."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Generic, Self

from perdure.errors import ClosedError, InvalidError
from perdure.features.approvals import Approvals
from perdure.features.artifacts import Artifacts
from perdure.features.checkpoints import Checkpoints
from perdure.features.clarifications import Clarifications
from perdure.features.cron import Cron
from perdure.features.events import Events
from perdure.features.keyvalues import KeyValues
from perdure.features.lookup import SESSIONS, target
from perdure.features.memory import Memories
from perdure.features.sessions import Sessions
from perdure.features.state import State
from perdure.features.steps import Steps
from perdure.features.summaries import Summaries
from perdure.operation import (
    Async,
    Bumps,
    Deferred,
    Flow,
    M,
    Operation,
    Pending,
    Plan,
    Runner,
    Settings,
    Stream,
    Sync,
)
from perdure.records import SessionKey


class _Collector:
    """The runner inside a turn: it only notes what is to be done."""

    def __init__(self) -> None:
        self.operations: list[Operation[Any]] = []
        self.pending: list[Pending[Any]] = []
        self.ended = False

    def operate(self, op: Operation[Any]) -> Pending[Any]:
        """Note a write; nothing happens yet."""
        if self.ended:
            raise ClosedError(f"the turn has ended: {op.name} belongs to no transaction")
        if op.reads:
            raise InvalidError(f"a turn only writes: call {op.name} on the store")
        self.operations.append(op)
        self.pending.append(Pending())
        return self.pending[-1]

    def flow(self, steps: Flow[Any]) -> Any:
        """Refused: a flow may call user code, and no transaction waits for that."""
        steps.close()
        raise InvalidError("a turn takes single writes only: call this on the store")

    flow_beside = flow

    def stream(self, steps: Stream[Any]) -> Any:
        """Refused, as `flow` is."""
        steps.close()
        raise InvalidError("a turn only writes: iterate on the store")


class Turn(Generic[M]):
    """Writes that are stored together, or not at all.

    Each method of its features that writes returns a `Pending`, whose ``value`` is there after
    the block. Later operations see what earlier ones wrote, and an
    ``expected_version`` is meant as of the beginning of the turn. If one fails nothing is
    stored and its error is raised, with ``error.operation = (index, name)``; an exception in
    the block sends nothing. No lock is held while the block runs.
    """

    def __init__(self, runner: Runner, settings: Settings) -> None:
        self._runner = runner
        self._collector = _Collector()
        self.sessions: Sessions[Deferred] = Sessions(self._collector, settings)
        self.events: Events[Deferred] = Events(self._collector, settings)
        self.state: State[Deferred] = State(self._collector, settings)
        self.kv: KeyValues[Deferred] = KeyValues(self._collector, settings)
        self.memory: Memories[Deferred] = Memories(self._collector, settings)
        self.artifacts: Artifacts[Deferred] = Artifacts(self._collector, settings)
        self.summaries: Summaries[Deferred] = Summaries(self._collector, settings)
        self.clarifications: Clarifications[Deferred] = Clarifications(self._collector, settings)
        self.approvals: Approvals[Deferred] = Approvals(self._collector, settings)
        self.steps: Steps[Deferred] = Steps(self._collector, settings)
        self.checkpoints: Checkpoints[Deferred] = Checkpoints(self._collector, settings)
        self.cron: Cron[Deferred] = Cron(self._collector, settings)

    def _operation(self) -> Operation[list[Any]]:
        operations = tuple(self._collector.operations)
        rows = _rows_of(operations, self.sessions._settings)
        return Operation("store.turn", operations, {}, lambda bumps: _all(operations, rows, bumps))

    def _end(self, failed: bool) -> bool:
        """Whether the turn is to be sent; an empty one too: it fails on a closed store."""
        self._collector.ended = True
        return not failed

    def _resolve(self, values: list[Any]) -> None:
        for pending, value in zip(self._collector.pending, values, strict=True):
            pending.resolve(value)


class AsyncTurn(Turn[Async]):
    """What `Store.turn` gives, for `async with`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._end(failed=error is not None):
            self._resolve(await self._runner.operate(self._operation()))


class SyncTurn(Turn[Sync]):
    """What `SyncStore.turn` gives, for `with`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._end(failed=error is not None):
            self._resolve(self._runner.operate(self._operation()))


def _rows_of(operations: tuple[Operation[Any], ...], settings: Settings) -> list[tuple[str, str]]:
    """Part and id of the sessions that are written, in the order in which all turns lock them."""
    named = [value for op in operations for value in (*op.args[:1], op.kwargs.get("session"))]
    keys = {key for key in named if isinstance(key, SessionKey)}
    if len(keys) < 2:  # noqa: PLR2004 - one cannot be locked in another order
        return []
    targets = [target(settings.tenant, key, settings.limits.text, 0) for key in keys]
    return sorted((at.part, at.key.id) for at in targets)


def _all(
    operations: tuple[Operation[Any], ...], rows: list[tuple[str, str]], bumps: Bumps
) -> Plan[list[Any]]:
    for part, session_id in rows:
        yield SESSIONS.lock(part=part, id=session_id)
    values = []
    for index, op in enumerate(operations):
        try:
            values.append((yield from op.work(bumps)))
        except Exception as error:
            # On errors of any class, as docs/turns.md says: ours, of the driver, of what is stored.
            error.operation = (index, op.name)  # type: ignore[attr-defined]
            raise
    return values
