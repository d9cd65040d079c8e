"""A TCP proxy before a PostgreSQL server that loses connections at the worst moment.

It knows the frames of PostgreSQL's protocol, so that it can cut right before a message reaches
the server, or after the server has done what it asks for and before anybody hears of it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

When = Literal["before", "after"]
T = TypeVar("T")

_HOST = "127.0.0.1"
_TO_ENCRYPT = {80877103, 80877104}  # SSLRequest, GSSENCRequest
_QUERY, _SYNC, _READY = b"Q", b"S", b"Z"


def is_commit(message: bytes) -> bool:
    """A COMMIT as a simple query, or at the end of one, as a transaction ends."""
    words = message[5:].strip(b"\0; \n").upper()
    return message[:1] == _QUERY and (words == b"END" or words.endswith(b"COMMIT"))


def is_sync(message: bytes) -> bool:
    """The end of a statement with parameters, which commits it when no transaction is open."""
    return message[:1] == _SYNC


@dataclass
class _Order:
    when: When
    matches: Callable[[bytes], bool]
    skip: int
    times: int

    def takes(self, message: bytes) -> bool:
        if self.times == 0 or not self.matches(message):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class FaultProxy:
    """Listens on a port of its own and forwards to one server, until it is told otherwise.

    Runs in a thread of its own; every method may be called from anywhere. `cuts` counts the
    connections cut, by ``"before"``, ``"after"`` and ``"all"``. A cut is a reset (RST) of both
    sides. Connections through it are never encrypted.
    """

    def __init__(self, target_host: str, port: int) -> None:
        self.cuts: Counter[str] = Counter()
        self._target = (target_host, port)
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._order: _Order | None = None
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")
        self._thread.daemon = True
        self._thread.start()
        self.port = 0
        self.port = self._call(self._listen())

    @classmethod
    def to(cls, dsn: str) -> Self:
        """A proxy before the server of a DSN."""
        parts = urlsplit(dsn)
        return cls(parts.hostname or _HOST, parts.port or 5432)

    def url(self, dsn: str) -> str:
        """The same DSN, through this proxy."""
        parts = urlsplit(dsn)
        login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        return parts._replace(netloc=f"{login}{_HOST}:{self.port}").geturl()

    def cut_all(self) -> int:
        """Reset every connection; how many there were."""
        return self._call(self._cut_all())

    def refuse(self, refusing: bool = True) -> None:
        """Refuse new connections (ECONNREFUSED), or take them again; those there are stay."""
        self._call(self._refuse() if refusing else self._listen())

    def cut_at(
        self,
        when: When,
        matches: Callable[[bytes], bool] = is_commit,
        *,
        skip: int = 0,
        times: int = 1,
    ) -> None:
        """Cut the connection at the next messages of a client that match.

        ``before``: the server never gets it. ``after``: the server has done it and says so
        (ReadyForQuery), and the client hears nothing. ``matches`` sees the raw message: type,
        length, body. The first ``skip`` matches pass; then ``times`` are cut. It replaces the
        order before it.
        """
        self._order = _Order(when, matches, skip, times)

    def close(self) -> None:
        """End it; connections still open are reset."""
        if not self._loop.is_closed():
            self._call(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> int:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, _HOST, self.port)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _cut_all(self) -> int:
        links = list(self._links)
        for link in links:
            link.cut("all")
        return len(links)

    async def _end(self) -> None:
        await self._refuse()
        for link in list(self._links):
            link.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the next round

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(*self._target)
        except OSError:
            _reset(writer)
            return
        link = _Link(self, (reader, writer), there)
        self._links.add(link)
        try:
            await link.carry()
        finally:
            self._links.discard(link)

    def verdict(self, message: bytes) -> When | None:
        """What is to be done at that message."""
        order = self._order
        return order.when if order is not None and order.takes(message) else None


_Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """One connection: the client's end and the server's."""

    def __init__(self, proxy: FaultProxy, client: _Ends, server: _Ends) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self._doomed = False

    async def carry(self) -> None:
        """Both directions, until one side ends."""
        both = [asyncio.ensure_future(self._ask()), asyncio.ensure_future(self._answer())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            self._to_client.close()
            self._to_server.close()

    def cut(self, kind: str) -> None:
        """Reset both ends, and count it."""
        self._proxy.cuts[kind] += 1
        self.reset()

    def reset(self) -> None:
        """Reset both ends."""
        _reset(self._to_client)
        _reset(self._to_server)

    async def _ask(self) -> None:
        await self._start()
        while True:
            message = await _message(self._from_client)
            verdict = self._proxy.verdict(message)
            if verdict == "before":
                self.cut(verdict)
                return
            self._doomed = self._doomed or verdict == "after"
            self._to_server.write(message)
            await self._to_server.drain()

    async def _start(self) -> None:
        # The first message has no type. Encryption is declined here, so that all is in frames.
        while True:
            head = await self._from_client.readexactly(8)
            length, code = struct.unpack("!II", head)
            if code not in _TO_ENCRYPT:
                break
            self._to_client.write(b"N")
        self._to_server.write(head + await self._from_client.readexactly(length - 8))

    async def _answer(self) -> None:
        while True:
            message = await _message(self._from_server)
            if not self._doomed:
                self._to_client.write(message)
                await self._to_client.drain()
            elif message[:1] == _READY:
                self.cut("after")
                return


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(5)
    return head + await reader.readexactly(int.from_bytes(head[1:]) - 4)


def _reset(writer: asyncio.StreamWriter) -> None:
    open_socket = writer.get_extra_info("socket")
    if open_socket is not None and open_socket.fileno() != -1:
        # Without lingering a close is a reset: the other side gets an error, and no end.
        option = struct.pack("ii", 1, 0)
        open_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
    writer.transport.abort()
