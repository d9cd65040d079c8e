"""perdure through its adapter for the OpenAI Agents SDK: the calls that the SDK's sessions get."""

from __future__ import annotations

import asyncio
from typing import Any

import perdure
from bench.peers import load
from bench.peers.ours import settings_of
from bench.workload import APP, id_of, message_of, user_of


class PerdureOpenAI:
    """One PerdureSession object a session, all on one store."""

    failures: tuple[type[Exception], ...] = ()

    def __init__(self, url: str) -> None:
        load("agents.memory", "openai-agents")
        self._session = load("perdure.adapters.openai_agents", "openai-agents").PerdureSession
        self._url = url
        self._store = perdure.open(url)
        self._sessions: list[Any] = []
        self._made = 0

    async def start(self, sessions: int) -> str:
        await self._store
        self._sessions = [self._new() for _ in range(sessions)]
        await asyncio.gather(*(session.describe(title="") for session in self._sessions))
        return await asyncio.to_thread(settings_of, self._url)

    def _new(self) -> Any:
        self._made += 1
        return self._session(id_of(self._made), self._store, app=APP, user=user_of(self._made))

    async def append(self, session: int, number: int) -> object:
        await self._sessions[session].add_items([message_of(number)])
        return None

    async def renew(self, session: int) -> None:
        self._sessions[session] = self._new()

    async def read(self, session: int, recent: int | None) -> int:
        return len(await self._sessions[session].get_items(recent))

    async def stop(self) -> None:
        await self._store.close()
