"""The servers of the TCP rows: the least that each way of asyncio to speak TCP needs.

Every server listens on a free port, calls `started` with it when it serves connections, and never returns.
They are started by `serve.py`, in which the names below are the names of the servers.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from serve import Started

HOST = "127.0.0.1"
CHUNK = 64 * 1024


class Echo(asyncio.Protocol):
    """Writes back what it gets."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    """Writes back what it gets, read into one buffer of its own."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(CHUNK))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        # A copy: the buffer is read into again, perhaps before the transport is done with what it was given.
        self.transport.write(bytes(self.buffer[:nbytes]))


class SmallestHttp(asyncio.Protocol):
    """Answers each GET with its target: no router, no headers but the needed one."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.head:
            data = self.head + data
        if not data.endswith(b"\r\n\r\n"):
            self.head = data
            return
        self.head = b""
        target = data.split(b" ", 2)[1]
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))


async def protocol(started: Started) -> None:
    await _serve_protocol(Echo, started)


async def buffered(started: Started) -> None:
    await _serve_protocol(BufferedEcho, started)


async def http(started: Started) -> None:
    await _serve_protocol(SmallestHttp, started)


async def _serve_protocol(factory: type[asyncio.BaseProtocol], started: Started) -> None:
    server = await asyncio.get_running_loop().create_server(factory, HOST, 0)
    started(server.sockets[0].getsockname()[1])
    # Not serve_forever(): rloop starts to listen a second time there and then refuses connections.
    await asyncio.Event().wait()


async def streams(started: Started) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, HOST, 0)
    started(server.sockets[0].getsockname()[1])
    await asyncio.Event().wait()


async def sock(started: Started) -> None:
    loop = asyncio.get_running_loop()

    async def echo(connection: socket.socket) -> None:
        with connection:
            while data := await loop.sock_recv(connection, CHUNK):
                await loop.sock_sendall(connection, data)

    tasks = set()
    with socket.create_server((HOST, 0), backlog=1024) as listener:
        listener.setblocking(False)
        started(listener.getsockname()[1])
        while True:
            connection, _ = await loop.sock_accept(listener)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(echo(connection))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
