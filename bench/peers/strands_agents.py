"""strands-agents' session repositories, as shipped and ours: its calls are not awaited."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from bench.peers import load
from bench.peers.ours import settings_of
from bench.workload import id_of, text_of

_PACKAGE = "strands-agents"
_AGENT = "desk"


class StrandsPeer(ABC):
    """A repository; each message has the number that strands' session manager would give it."""

    failures: tuple[type[Exception], ...] = ()

    def __init__(self) -> None:
        self._types = load("strands.types.session", _PACKAGE)
        self._ids: list[str] = []
        self._next: list[int] = []

    @abstractmethod
    def repository(self, session: int) -> Any:
        """What keeps the session."""

    async def start(self, sessions: int) -> str:
        for number in range(sessions):
            self._ids.append(id_of(number))
            self._next.append(0)
            await asyncio.to_thread(self._begin, number)
        return await asyncio.to_thread(self._durability)

    def _begin(self, session: int) -> None:
        repository, types = self.repository(session), self._types
        if repository.read_session(self._ids[session]) is None:
            repository.create_session(types.Session(self._ids[session], types.SessionType.AGENT))
        repository.create_agent(self._ids[session], types.SessionAgent(_AGENT, {}, {}))

    @abstractmethod
    def _durability(self) -> str: ...

    async def append(self, session: int, number: int) -> object:
        said = {"role": "user", "content": [{"text": text_of(number)}]}
        message = self._types.SessionMessage.from_message(said, self._next[session])
        self._next[session] += 1
        repository = self.repository(session)
        await asyncio.to_thread(repository.create_message, self._ids[session], _AGENT, message)
        return None

    async def renew(self, session: int) -> None:
        self._ids[session] += "-anew"
        self._next[session] = 0
        await asyncio.to_thread(self._begin, session)

    async def read(self, session: int, recent: int | None) -> int:
        found = await asyncio.to_thread(
            self.repository(session).list_messages, self._ids[session], _AGENT
        )
        return len(found if recent is None else found[-recent:])

    async def stop(self) -> None:
        return


class StrandsFiles(StrandsPeer):
    """FileSessionManager: a file a message, renamed into its place, never flushed."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._manager = load("strands.session", _PACKAGE).FileSessionManager
        self._folder = str(folder / "strands")
        self._managers: dict[str, Any] = {}

    def repository(self, session: int) -> Any:
        name = self._ids[session]
        if name not in self._managers:
            self._managers[name] = self._manager(name, storage_dir=self._folder)
        return self._managers[name]

    def _durability(self) -> str:
        return "files, not flushed"


class PerdureStrands(StrandsPeer):
    """PerdureSessionRepository."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._repository = load("perdure.adapters.strands", _PACKAGE).PerdureSessionRepository(url)

    def repository(self, session: int) -> Any:  # noqa: ARG002 - one for all
        return self._repository

    def _durability(self) -> str:
        return settings_of(self._url)

    async def stop(self) -> None:
        await asyncio.to_thread(self._repository.close)
