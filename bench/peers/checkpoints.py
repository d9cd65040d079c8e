"""perdure's own checkpoints, awaited."""

from __future__ import annotations

import asyncio
from pathlib import Path

import perdure
from bench.peers.ours import settings_of
from bench.peers.postgres import size_of
from bench.threads import CHANNEL, Step
from perdure.engines.sqlite_connection import connect


class Checkpoints:
    """`store.checkpoints`."""

    failures: tuple[type[Exception], ...] = ()

    def __init__(self, url: str, *, looking: bool = True) -> None:
        self._url = url
        #: Whether the values of what is read are looked at: nothing is decoded before.
        self._looking = looking
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
        found = await self.store.checkpoints.get_tuple(thread)
        return len(found.checkpoint.values[CHANNEL]) if self._looking else found.checkpoint.number

    async def list(self, thread: str) -> int:
        found = [one async for one in self.store.checkpoints.iter(thread)]
        return len([one.checkpoint.values[CHANNEL] for one in found if self._looking] or found)

    async def size(self) -> int:
        of = size_of if self._url.startswith("postgresql:") else _size_of
        return await asyncio.to_thread(of, self._url)

    async def stop(self) -> None:
        await self.store.close()


def _size_of(url: str) -> int:
    """The bytes of the file, with its log folded in."""
    path = Path(url.removeprefix("sqlite:///"))
    connection = connect(str(path), durability="full", busy_timeout=10)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    return path.stat().st_size
