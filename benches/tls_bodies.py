"""What the rows about TLS itself do: shake hands, and move much data, client and server in one process.

Called by `bench_tls.py`.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import cast

import tls_servers
from body import Body, expect
from loops import Sleep
from tcp_servers import HOST

MIB = 1024 * 1024
CHUNK = bytes(range(256)) * 1024
CHUNKS = MIB // len(CHUNK)


class Counting(asyncio.Protocol):
    """The server's side: counts what it gets, and shows the first and the last of it."""

    def __init__(self, ended: Callable[[Counting], None]) -> None:
        self.ended = ended
        self.size = 0
        self.first = self.last = b""

    def data_received(self, data: bytes) -> None:
        self.first = self.first or data[:256]
        self.last = data[-256:]
        self.size += len(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended(self)


class Client(asyncio.Protocol):
    """The client's side: knows when to go on writing, and when the connection is closed."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        self.may_write.clear()

    def resume_writing(self) -> None:
        self.may_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()


class Pair:
    """A server, and clients that connect to it."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.loop = loop
        self.seen: asyncio.Queue[Counting] = asyncio.Queue()

    async def listen(self) -> None:
        context = tls_servers.server_context()
        self.server = await self.loop.create_server(
            lambda: Counting(self.seen.put_nowait), HOST, 0, ssl=context
        )
        self.port = self.server.sockets[0].getsockname()[1]
        self.context = tls_servers.client_context()

    async def connect(self) -> Client:
        _, client = await self.loop.create_connection(
            Client, HOST, self.port, ssl=self.context, server_hostname="localhost"
        )
        return client

    async def close(self) -> None:
        self.server.close()


async def handshakes(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    pair = Pair(loop)
    await pair.listen()
    done = 0
    for _ in range(count):
        client = await pair.connect()
        client.transport.close()
        await client.closed.wait()
        await pair.seen.get()
        done += 1
    await pair.close()
    return done


async def bulk(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    pair = Pair(loop)
    await pair.listen()
    client = await pair.connect()
    for _ in range(count * CHUNKS):
        client.transport.write(CHUNK)
        if not client.may_write.is_set():
            await client.may_write.wait()
    client.transport.close()
    server = await pair.seen.get()
    await client.closed.wait()
    await pair.close()
    return server.size // MIB


BODIES = {
    body.name: body
    for body in (
        Body(
            "handshakes",
            "connect, shake hands with the certificate checked, close; one after the other",
            handshakes,
            step=20,
            by_processor_time=True,
            unit="handshakes/s",
        ),
        Body(
            "bulk",
            "one connection that carries much data in writes of 256 KiB",
            bulk,
            step=8,
            by_processor_time=True,
            unit="MiB/s",
        ),
    )
}


def check(loop: AbstractEventLoop, body: Body, sleep: Sleep) -> None:
    """Raises AssertionError unless data arrives whole, over TLS, from a server whose certificate was checked."""
    loop.run_until_complete(_check(loop))


async def _check(loop: AbstractEventLoop) -> None:
    pair = Pair(loop)
    await pair.listen()
    client = await pair.connect()
    expect("version", [client.transport.get_extra_info("ssl_object").version()], ["TLSv1.3"])
    expect("certificate", [str(bool(client.transport.get_extra_info("peercert")))], ["True"])
    client.transport.write(CHUNK)
    client.transport.close()
    server = await pair.seen.get()
    await client.closed.wait()
    expect("bytes", [str(server.size)], [str(len(CHUNK))])
    if server.first != CHUNK[:256] or server.last != CHUNK[-256:]:
        raise AssertionError("the data did not arrive as it was sent")
    await pair.close()
