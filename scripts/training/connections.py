"""Servers and clients over TCP and Unix sockets: by protocols, by buffered protocols and by streams."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

#: Keyword arguments of a server and of a client.
Ways = tuple[dict[str, Any], dict[str, Any]]


async def main(folder: Path) -> None:
    """Over TCP and over Unix sockets."""
    with tempfile.TemporaryDirectory() as directory:
        for rounds in (1, 8, 64):
            await converse(({}, {}), rounds, None)
        await converse(({}, {}), 8, Path(directory, "socket"))


async def converse(ways: Ways, many: int, path: Path | None) -> None:
    """Everything, with so many connections at a time."""
    for protocol in (Web, Echo, Filling):
        await with_protocol(protocol, ways, many, path)
    await with_streams(ways, many, path)
    await short_ones(ways, many, path)


class Web(asyncio.Protocol):
    """A small server of pages that keeps connections open, and closes those that are silent."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.buffer = b""
        self.limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        assert self.transport.get_extra_info("peername") is not None

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.limit is not None:
            self.limit.cancel()
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head, self.buffer = self.buffer[:end], self.buffer[end + 4 :]
            size = int(head.split(b" ", 2)[1][1:])
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
            if size > 10_000:
                self.transport.writelines([answer, bytes(size)])
            elif size > 1_000:
                self.transport.write(answer)
                self.transport.write(bytes(size))
            else:
                self.transport.write(answer + bytes(size))
        self.limit = self.loop.call_later(5, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.limit is not None:
            self.limit.cancel()


class Asker(asyncio.Protocol):
    """Asks for one page after the other."""

    transport: asyncio.Transport

    def __init__(
        self, sizes: list[int], question: Callable[[int], bytes], extra: Callable[[int], int]
    ) -> None:
        self.sizes, self.question, self.extra = sizes, question, extra
        self.missing = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.ask()

    def ask(self) -> None:
        size = self.sizes.pop()
        self.missing = size + self.extra(size)
        self.transport.write(self.question(size))

    def data_received(self, data: bytes) -> None:
        self.missing -= len(data)
        assert self.missing >= 0
        if not self.missing:
            if self.sizes:
                self.ask()
            else:
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(None)


class Echo(asyncio.Protocol):
    """Sends back what it gets, and stops reading while the peer does not take it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=100_000)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()

    def eof_received(self) -> None:
        return None


class Filling(asyncio.BufferedProtocol):
    """The same, into a buffer of its own."""

    def __init__(self) -> None:
        self.buffer = bytearray(65_536)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self.buffer)

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(memoryview(self.buffer)[:nbytes])


def page_size(size: int) -> int:
    """The bytes before a page of so many."""
    return len(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)


async def serving(make: Callable[[], asyncio.BaseProtocol], ways: Ways, path: Path | None) -> asyncio.Server:
    """A server."""
    loop = asyncio.get_running_loop()
    if path is not None:
        return await loop.create_unix_server(cast(Any, make), path, **ways[0])
    return await loop.create_server(cast(Any, make), "127.0.0.1", 0, **ways[0])


async def with_protocol(
    protocol: type[asyncio.BaseProtocol], ways: Ways, many: int, path: Path | None
) -> None:
    """So many askers, who between them ask for some thousands of small things and a few large ones."""
    loop = asyncio.get_running_loop()
    server = await serving(protocol, ways, path)
    sizes = [200_000, 20_000, 2_000, *([100, 1_000, 30] * (2_000 // many))]
    if protocol is Web:
        question, extra = (lambda size: b"GET /%d HTTP/1.1\r\nHost: here\r\n\r\n" % size), page_size
    else:
        question, extra = bytes, int.__mul__.__get__(0)

    def asker() -> Asker:
        return Asker(sizes.copy(), question, extra)

    if path is not None:
        ends = await asyncio.gather(
            *(loop.create_unix_connection(asker, str(path), **ways[1]) for _ in range(many))
        )
    else:
        address = server.sockets[0].getsockname()
        ends = await asyncio.gather(
            *(loop.create_connection(asker, *address, **ways[1]) for _ in range(many))
        )
    await asyncio.gather(*(client.ended for _, client in ends))
    server.close()
    await server.wait_closed()


async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A chat server's side of a connection: lines with a length after them, that many bytes, and an answer."""
    try:
        while line := await reader.readline():
            body = await reader.readexactly(int(line))
            writer.write(b"got %d" % len(body))
            writer.write(b"\r\n")
            await writer.drain()
        rest = await reader.read()
        assert not rest
    finally:
        writer.close()
        await writer.wait_closed()


async def client(connect: Callable[[], Awaitable[Any]], turns: int) -> None:
    """The other side."""
    reader, writer = await connect()
    for turn in range(turns):
        size = 30_000 if turn % 100 == 99 else 10 + turn
        writer.write(b"%d\n" % size)
        writer.write(bytes(size))
        await writer.drain()
        answer = await (reader.readuntil(b"\r\n") if turn % 2 else reader.readline())
        assert answer == b"got %d\r\n" % size
    if not isinstance(writer.get_extra_info("ssl_object"), (ssl.SSLObject, ssl.SSLSocket)):
        writer.write_eof()
    writer.close()
    await writer.wait_closed()


async def with_streams(ways: Ways, many: int, path: Path | None) -> None:
    """A chat."""
    if path is not None:
        server = await asyncio.start_unix_server(session, path, **ways[0])
    else:
        server = await asyncio.start_server(session, "127.0.0.1", 0, **ways[0])

    def connect() -> Awaitable[Any]:
        if path is not None:
            return asyncio.open_unix_connection(path, **ways[1])
        return asyncio.open_connection(*server.sockets[0].getsockname(), **ways[1])

    async with server:
        await asyncio.gather(*(client(connect, 4_000 // many) for _ in range(many)))


async def short_ones(ways: Ways, many: int, path: Path | None) -> None:
    """Connections for one question each."""
    server = await serving(Web, ways, path)
    loop = asyncio.get_running_loop()

    def asker() -> Asker:
        return Asker([100], lambda size: b"GET /%d HTTP/1.1\r\n\r\n" % size, page_size)

    async def one() -> None:
        if path is not None:
            _, end = await loop.create_unix_connection(asker, str(path), **ways[1])
        else:
            _, end = await loop.create_connection(asker, *server.sockets[0].getsockname(), **ways[1])
        await end.ended

    for _ in range(max(128 // many, 2)):
        await asyncio.gather(*(one() for _ in range(many)))
    server.close()
    await server.wait_closed()
