"""The stores that are measured, all behind one small interface, and the bare driver."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

from bench.contest import MissingError


class AsyncPeer(Protocol):
    """A store that is awaited. Sessions have numbers from 0, one user each."""

    #: What an append may end in on a busy disk: counted, not fatal. Nothing, for ours.
    failures: tuple[type[Exception], ...]

    async def start(self, sessions: int) -> str:
        """Open, make that many empty sessions; how durable it is, in words."""

    async def append(self, session: int, number: int) -> object:
        """Store the event of that number, with its change of the state if it has states."""

    async def renew(self, session: int) -> None:
        """Make a new session and give it that number."""

    async def read(self, session: int, recent: int | None) -> int:
        """Read the last events, or all; how many there were."""

    async def stop(self) -> None:
        """Close."""


def load(module: str, package: str) -> Any:
    """The module of a peer; `MissingError` with what to install."""
    try:
        return import_module(module)
    except ImportError as error:
        message = f"{package} cannot be imported ({error}): pip install 'perdure[bench]'"
        raise MissingError(message) from error


def durability(journal: object, synchronous: object) -> str:
    """The two pragmas in words: ``WAL, FULL``."""
    level = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}.get(int(str(synchronous)), synchronous)
    return f"{str(journal).upper()}, {level}"
