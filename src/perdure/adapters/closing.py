"""What is closed with ``with`` and ``async with`` alike."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Closing(ABC):
    """Who has a `close` gets the rest: its awaited twin, and both kinds of blocks."""

    @abstractmethod
    def close(self) -> None:
        """Finish what was accepted and close the store; idempotent."""

    async def aclose(self) -> None:
        """The same, without holding up the loop."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


__all__ = ["Closing"]
