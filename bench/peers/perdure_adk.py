"""perdure through its ADK adapter: the same calls as ADK's own services get."""

from __future__ import annotations

import asyncio

from bench.peers import load
from bench.peers.adk import AdkPeer
from bench.peers.ours import settings_of


class PerdureAdk(AdkPeer):
    """PerdureSessionService."""

    def __init__(self, url: str) -> None:
        load("google.adk.sessions", "google-adk")
        module = load("perdure.adapters.adk", "google-adk")
        self._url = url
        super().__init__(module.PerdureSessionService(url))

    async def _durability(self) -> str:
        return await asyncio.to_thread(settings_of, self._url)

    async def stop(self) -> None:
        await self._service.close()
