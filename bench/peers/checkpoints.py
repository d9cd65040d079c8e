"""perdure's own checkpoints, awaited."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import perdure
from bench.peers.ours import settings_of
from bench.peers.postgres import size_of
from bench.threads import CHANNEL, Step
from perdure import CheckpointTuple
from perdure.engines.sqlite_connection import connect


class Checkpoints:
    """`store.checkpoints`."""

    failures: tuple[type[Exception], ...] = ()

    def __init__(self, url: str, *, looking: bool = True, remembering: bool = True) -> None:
        self._url = url
        #: Whether what is read is looked at, all of it: most is not decoded before.
        self._looking = looking
        #: Whether what this process has put and read is remembered from one read to the next.
        self._remembering = remembering
        self.store = perdure.open(url)

    async def start(self) -> str:
        await self.store
        return await asyncio.to_thread(settings_of, self._url)

    async def step(self, thread: str, step: Step) -> None:
        await self.store.checkpoints.put(
            thread,
            step.payload,
            id=step.id,
            parent=step.parent,
            metadata=step.metadata,
            versions={CHANNEL: step.version},
            values={CHANNEL: step.messages} if step.new else {},
        )
        await self.store.checkpoints.put_writes(thread, step.id, "task", step.writes)

    async def latest(self, thread: str) -> int:
        self._forget()
        found = await self.store.checkpoints.get_tuple(thread)
        return len(_looked_at(found)) if self._looking else found.checkpoint.number

    async def list(self, thread: str) -> int:
        self._forget()
        found = [one async for one in self.store.checkpoints.iter(thread)]
        return len([_looked_at(one) for one in found] if self._looking else found)

    def _forget(self) -> None:
        if not self._remembering:
            settings = self.store.checkpoints._settings
            for cache in (settings.cache, settings.looks):
                cache._entries.clear()
                cache._size = 0

    async def size(self) -> int:
        of = size_of if self._url.startswith("postgresql:") else _size_of
        return await asyncio.to_thread(of, self._url)

    async def stop(self) -> None:
        await self.store.close()


def _looked_at(found: CheckpointTuple) -> Any:
    """The messages; with them what the others have decoded, too: they are read whole."""
    checkpoint = found.checkpoint
    values = checkpoint.values[CHANNEL]
    return values if checkpoint.metadata and checkpoint.payload else []


def _size_of(url: str) -> int:
    """The bytes of the file, with its log folded in."""
    path = Path(url.removeprefix("sqlite:///"))
    connection = connect(str(path), durability="full", busy_timeout=10)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    return path.stat().st_size
