"""`PerdureDurability`: runs of pydantic-ai agents that go on where they were killed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_ai.durable_exec import (
    JSON_CODEC,
    BaseDurabilityCapability,
    DurabilityEngineSpec,
    DurableOperationBackend,
    DurableOperationId,
    EventStreamHandlerId,
    JournalCallableOperationBackend,
    RoleBasedOperationConfig,
    WorkspaceCall,
    conversation_id_from_run_id,
    record_durable_unit,
    replay_scope,
)
from pydantic_ai.tools import RunContext

from perdure.adapters.packing import packed, unpacked
from perdure.adapters.service import async_store
from perdure.records import JSON, SessionKey, UserScope
from perdure.store import Store, SyncStore
from perdure.values import Limits

Owner = SessionKey | UserScope | None
_LONGEST_NAME = Limits().text
_HALF_A_MINUTE = timedelta(seconds=30)


@dataclass
class _Journal:
    """A run as it goes on: what its steps are known by.

    What a step does has a journal of its own, so that what runs inside of it is known by the
    step, and counts for nothing once the step is done.
    """

    run_id: str
    options: dict[str, Any]
    step: str = ""
    counted: Counter[str] = field(default_factory=Counter)

    def next(self, name: str) -> int:
        """How many of that name there have been before."""
        self.counted[name] += 1
        return self.counted[name] - 1


_journal: ContextVar[_Journal | None] = ContextVar("perdure_journal", default=None)
#: The agent's run whose event is given to a handler: pydantic-ai does not say it with the event.
_streaming: ContextVar[str] = ContextVar("perdure_streaming", default="")


class PerdureDurability(BaseDurabilityCapability[Any]):
    """A capability of an agent whose runs survive their process.

    Inside of `run` each request to the model, each call of a tool, and what else the agent does
    beyond its own code, is a step of ``store.step``: done once, and its result stored. After a
    crash start the same run again: what is stored is given back, and the rest is done. A step that
    was under way when the process died is done again; what must not happen twice needs a key at
    the one who does it.

    ``PerdureDurability(store)`` takes a `Store`, a `SyncStore` or a URL, whose store it opens and
    `close` closes. ``name`` (default: the agent's) and the ids of toolsets are part of what steps
    are known by: changing them makes them new. ``models`` and ``event_stream_handler`` are those
    of pydantic-ai. A tool with the metadata ``{"perdure": False}`` is no step, and runs each time.
    """

    engine_spec = DurabilityEngineSpec(
        engine_name="Perdure",
        durable_unit_noun="step",
        durable_container_noun="run",
        codec=JSON_CODEC,
        unsupported_runtime_toolset_kinds=frozenset({"function", "mcp", "dynamic"}),
        toolset_lifecycles={
            "function": "enter-always",
            "mcp": "enter-in-durable-unit",
            "dynamic": "enter-never",
        },
        tool_config_key="perdure",
    )

    def __init__(
        self,
        store: Store | SyncStore | str,
        *,
        models: Mapping[str, Any] | None = None,
        event_stream_handler: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(models=models, event_stream_handler=event_stream_handler, name=name)
        self._own = isinstance(store, str)
        self.store: Store = async_store(store)

    async def close(self) -> None:
        """Close the store, if it was opened here; idempotent."""
        if self._own:
            await self.store.close()

    @contextmanager
    def run(
        self,
        run_id: str,
        *,
        owner: Owner = None,
        fence: int | None = None,
        keep: timedelta | None = None,
        timeout: float | None = None,
        lease: timedelta = _HALF_A_MINUTE,
    ) -> Iterator[None]:
        """The run of that id, for a ``with`` block that runs the agent, any number of times.

        The block must do the same things in the same order each time it is run; the agent's own
        code does. ``owner``, ``fence``, ``keep``, ``timeout`` and ``lease`` are those of
        ``store.step``: whose the steps are, which run lease they belong to, how long they are kept,
        how long to wait for another process that is at one, and after what time one that a dead
        process was at is free.
        """
        options = {
            "owner": owner, "fence": fence, "keep": keep, "timeout": timeout, "lease": lease,
        }  # fmt: skip
        token = _journal.set(_Journal(run_id, options))
        try:
            with replay_scope():
                yield
        finally:
            _journal.reset(token)

    # -- what the base asks for --------------------------------------------------------------

    @property
    def in_durable_context(self) -> bool:
        """Whether this is inside of `run`."""
        return _journal.get() is not None

    def get_durable_operation_backend(self) -> DurableOperationBackend[Any]:
        """What carries out steps."""
        return _Backend(self)

    def get_default_run_id(self) -> str | None:
        """An id for the agent's run that is the same when it is run again."""
        journal = _journal.get()
        if journal is None:
            return None
        inside = f":{_digest(journal.step)[:16]}" if journal.step else ""
        return f"{journal.run_id}{inside}:{journal.next('run')}"

    def get_default_conversation_id(self, run_id: str) -> str | None:
        """An id for the conversation, likewise."""
        return conversation_id_from_run_id(run_id) if self.in_durable_context else None

    async def get_run_start_time(self, run_id: str) -> datetime | None:
        """When the run was started first, so that its timeout counts from there."""
        journal = _journal.get()
        if journal is None:
            return None
        name = f"{self.name}__run_start_time"
        begun = await self._step(journal, _named(journal, name, run_id), _now)
        return datetime.fromisoformat(begun)

    async def _dispatch_event_stream_event(self, ctx: RunContext[Any], event: Any) -> None:
        token = _streaming.set(ctx.run_id or "")
        try:
            await super()._dispatch_event_stream_event(ctx, event)
        finally:
            _streaming.reset(token)

    def _tool_config(self, operation_id: DurableOperationId, tool: Any, tool_name: str) -> Any:
        """What a tool's metadata says of its steps: nothing, or that it has none."""
        kind = getattr(operation_id, "toolset_kind", "function")
        return self._build_resolve_tool_config(self._toolset_base_config(kind))(tool, tool_name)

    async def _step(
        self, journal: _Journal, name: str, body: Callable[[], Awaitable[JSON]]
    ) -> JSON:
        done = False

        async def once() -> JSON:
            nonlocal done
            done = True
            token = _journal.set(_Journal(journal.run_id, journal.options, name))
            try:
                # Refusing a result now would mean doing its work again.
                return packed(await body())
            finally:
                _journal.reset(token)

        given = await self.store.steps.run(journal.run_id, name, once, **journal.options)
        record_durable_unit(executed=done)
        return unpacked(given)


class _Backend(JournalCallableOperationBackend[Any]):
    """Steps of the store as pydantic-ai's durable units."""

    def __init__(self, durability: PerdureDurability) -> None:
        super().__init__(
            agent_name=durability.name,
            default_model_id=durability.default_model_id,
            config=RoleBasedOperationConfig(
                model={}, event={}, capability={}, tool={}, resolve_tool=durability._tool_config
            ),
        )
        self._durability = durability

    async def execute(
        self,
        *,
        operation_id: DurableOperationId,
        name: str,
        body: Callable[[], Awaitable[object]],
        cache_key: tuple[object, ...],
        config: Any,  # noqa: ARG002 - there is nothing to configure
    ) -> object:
        """What the step gives: done now, or before."""
        journal = _journal.get()
        if journal is None:
            return await body()
        step = _named(journal, name, *_context(operation_id, cache_key))
        return await self._durability._step(journal, step, body)


def _context(operation_id: DurableOperationId, cache_key: tuple[Any, ...]) -> list[str]:
    """What tells a step from others of its name, whatever the order in which they begin.

    Calls of one response run side by side, and what they give comes back at once when they are
    done: their ids, which are part of the stored response, say what belongs to which.
    """
    told: list[str] = []
    about: Any = None
    match operation_id, cache_key:
        case EventStreamHandlerId(), (about,):
            told = [_streaming.get(), about.event_kind, getattr(about, "name", "")]
        case _, (WorkspaceCall() as call, _, str() as run_id):
            told = [run_id, call.method, call.path, str(call.command)]
        case _:
            about = next((one for one in cache_key if isinstance(one, RunContext)), None)
            told = [about.run_id or ""] if about else []
    call_id = getattr(about, "tool_call_id", None)
    return [*told, call_id] if call_id else told


def _named(journal: _Journal, name: str, *context: str) -> str:
    """The name of a step: what it is, where it belongs, and which of those it is."""
    place = ":".join((name, *context))
    told = f"{place}#{journal.next(place)}"
    if len(told.encode()) <= _LONGEST_NAME:
        return told
    return f"{name.encode()[: _LONGEST_NAME - 80].decode(errors='ignore')}#{_digest(told)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def _now() -> str:
    return datetime.now(UTC).isoformat()


__all__ = ["PerdureDurability"]
