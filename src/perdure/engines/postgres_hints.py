"""LISTEN and NOTIFY: who waits for a change looks sooner. Nothing depends on it.

A notification is sent beside the writes, never in their transactions: inside, the server makes
all of them commit one after the other. What is lost on the way is found by looking.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from hashlib import blake2b
from typing import Any

import asyncpg

from perdure.engines import EngineOptions
from perdure.engines.postgres_connection import Connection, connect_arguments

Wake = Callable[[], None]

#: Writes of this time go into one notification; of the second one, if another has just gone.
_GATHER_SECONDS = 0.01
_BUSY_SECONDS = 0.05
#: Where listening has failed it is not tried again before.
_AGAIN_SECONDS = 1.0
#: A payload may have 7,999 bytes; with more keys than this everybody is woken.
_MOST_KEYS = 200
_EVERYBODY = "*"
#: What a lost connection may be: the last one where it was cut off between two messages.
_NOT_NOW = (
    OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError
)  # fmt: skip


def _key(part: str, session_id: str) -> str:
    """What stands for a session in a payload: hex digits, whatever its id is."""
    return blake2b(f"{part}/{session_id}".encode(), digest_size=16).hexdigest()


class Hints:
    """What this process tells others, and what it hears of them. On the engine's loop."""

    def __init__(
        self,
        options: EngineOptions,
        borrow: Callable[[], Any],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._options = options
        self._borrow = borrow
        self._spawn = spawn
        self._channel = f"perdure_{blake2b(options.schema.encode(), digest_size=8).hexdigest()}"
        self._waiting: dict[str, list[Wake]] = {}
        self._changed: set[tuple[str, str]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._listener: Connection = None
        self._connecting = False
        self._listen_from = 0.0
        self._sent_at = 0.0

    def add(self, about: tuple[str, str], wake: Wake) -> None:
        """Somebody waits for a change of that session."""
        self._waiting.setdefault(_key(*about), []).append(wake)
        if self._connecting or (self._listener is not None and not self._listener.is_closed()):
            return
        if asyncio.get_running_loop().time() >= self._listen_from:
            self._connecting = True
            self._spawn(self._listen())

    def remove(self, about: tuple[str, str], wake: Wake) -> None:
        """They wait no longer."""
        key = _key(*about)
        waiting = self._waiting.get(key, [])
        if wake in waiting:
            waiting.remove(wake)
        if not waiting:
            self._waiting.pop(key, None)

    def tell(self, part: str, session_id: str) -> None:
        """Something was stored in that session."""
        if self._waiting:
            self._wake(_key(part, session_id))
        self._changed.add((part, session_id))
        if self._timer is None:
            loop = asyncio.get_running_loop()
            due = max(loop.time() + _GATHER_SECONDS, self._sent_at + _BUSY_SECONDS)
            self._timer = loop.call_at(due, lambda: self._spawn(self._send()))

    async def close(self) -> None:
        """Stop listening."""
        if self._timer is not None:
            self._timer.cancel()
        if self._listener is not None and not self._listener.is_closed():
            self._listener.terminate()

    async def _listen(self) -> None:
        arguments = connect_arguments(self._options)
        for name in ("min_size", "max_size", "reset", "init"):
            arguments.pop(name, None)
        try:
            listener = await asyncpg.connect(**arguments)
            await listener.add_listener(self._channel, self._heard)
            self._listener = listener
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            # They look by themselves, and who waits later tries again.
            self._listener = None
            self._listen_from = asyncio.get_running_loop().time() + _AGAIN_SECONDS
        finally:
            self._connecting = False

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        for key in self._waiting if payload == _EVERYBODY else payload.split(","):
            self._wake(key)

    def _wake(self, key: str) -> None:
        for wake in self._waiting.get(key, ()):
            wake()

    async def _send(self) -> None:
        self._timer = None
        self._sent_at = asyncio.get_running_loop().time()
        changed, self._changed = self._changed, set()
        payload = _EVERYBODY
        if len(changed) <= _MOST_KEYS:
            payload = ",".join(_key(*one) for one in changed)
        # A hint may be lost in a crash: it does not wait for the disk. Two statements sent as one
        # query are a transaction.
        text = (
            f"SET LOCAL synchronous_commit = off; SELECT pg_notify('{self._channel}', '{payload}')"
        )
        with suppress(*_NOT_NOW):
            async with self._borrow() as connection:
                await connection.execute(text)
