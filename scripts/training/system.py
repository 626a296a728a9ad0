"""Datagrams, pipes, programs, files and descriptors."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

NOBODY: tuple[str, int] = ("", 0)


async def main(folder: Path) -> None:
    """All of it."""
    await datagrams()
    await pipes()
    await programs()
    await files(folder)
    await descriptors()


class Answering(asyncio.DatagramProtocol):
    """Sends back what it gets."""

    transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


class Asking(asyncio.DatagramProtocol):
    """Keeps some questions on their way."""

    def __init__(self, ahead: int, count: int) -> None:
        self.ahead, self.left, self.missing = ahead, count, count
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport
        for _ in range(self.ahead):
            self.ask()

    def ask(self) -> None:
        self.left -= 1
        self.transport.sendto(b"question %d" % self.left)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.missing -= 1
        if self.left:
            self.ask()
        elif not self.missing:
            self.done.set_result(None)


async def datagrams() -> None:
    """One who asks much, and many who ask little."""
    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(Answering, local_addr=("127.0.0.1", 0))
    address = server.get_extra_info("sockname")
    for askers, ahead, count in ((1, 1, 2_000), (1, 8, 4_000), (32, 1, 100), (8, 4, 400)):
        ends = [
            await loop.create_datagram_endpoint(lambda: Asking(ahead, count), remote_addr=address)  # noqa: B023
            for _ in range(askers)
        ]
        # What the kernel drops is not asked for again.
        await asyncio.wait([protocol.done for _, protocol in ends], timeout=5)
        for transport, _ in ends:
            transport.close()
    server.close()


class Counting(asyncio.Protocol):
    """Counts bytes until the end."""

    def __init__(self) -> None:
        self.size, self.ended = 0, asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.size += len(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(self.size)


class Writing(asyncio.BaseProtocol):
    """Knows when it may write on."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.free.set()

    def pause_writing(self) -> None:
        self.free.clear()

    def resume_writing(self) -> None:
        self.free.set()


async def pipes() -> None:
    """Small and large pieces through pipes."""
    loop = asyncio.get_running_loop()
    for piece, count in ((100, 4_000), (65_536, 400)):
        reading, writing = os.pipe()
        _, counting = await loop.connect_read_pipe(Counting, os.fdopen(reading, "rb", 0))
        writer, protocol = await loop.connect_write_pipe(Writing, os.fdopen(writing, "wb", 0))
        for _ in range(count):
            await protocol.free.wait()
            writer.write(b"x" * piece)
        writer.close()
        assert await counting.ended == piece * count


async def programs() -> None:
    """Programs that are started, spoken with and waited for, many at a time."""
    for _ in range(20):
        process = await asyncio.create_subprocess_exec(
            "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(20):
            process.stdin.write(b"line %d\n" % number)
            await process.stdin.drain()
            assert await process.stdout.readline() == b"line %d\n" % number
        out, _ = await process.communicate(b"y" * 300_000)
        assert len(out) == 300_000
        assert process.returncode == 0

    async def short(code: int) -> int:
        return await (await asyncio.create_subprocess_shell(f"exit {code}")).wait()

    assert await asyncio.gather(*(short(code) for code in range(40))) == list(range(40))
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
    process.terminate()
    assert await process.wait() == -15


async def files(folder: Path) -> None:
    """A file that is sent."""
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryFile() as file:
        file.write(b"z" * 1_000_000)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            file.seek(0)
            await loop.sendfile(writer.transport, file)
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        for _ in range(20):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert len(await reader.read()) == 1_000_000
            writer.close()
            await writer.wait_closed()
        server.close()
        await server.wait_closed()


async def descriptors() -> None:
    """Programs that watch descriptors themselves, as bindings of C libraries do."""
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    done = loop.create_future()
    left = 5_000

    def readable() -> None:
        nonlocal left
        far.send(far.recv(100))

    def answered() -> None:
        nonlocal left
        near.recv(100)
        left -= 1
        if left:
            loop.add_writer(near.fileno(), writable)
        else:
            done.set_result(None)

    def writable() -> None:
        loop.remove_writer(near.fileno())
        near.send(b"x")

    loop.add_reader(far.fileno(), readable)
    loop.add_reader(near.fileno(), answered)
    loop.add_writer(near.fileno(), writable)
    await done
    loop.remove_reader(near.fileno())
    loop.remove_reader(far.fileno())
    near.close()
    far.close()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)

        async def serve() -> None:
            connection, _ = await loop.sock_accept(listening)
            with connection:
                while data := await loop.sock_recv(connection, 4096):
                    await loop.sock_sendall(connection, data)

        for _ in range(20):
            serving = asyncio.create_task(serve())
            with socket.socket() as client:
                client.setblocking(False)
                await loop.sock_connect(client, listening.getsockname())
                buffer = bytearray(4096)
                for size in (10, 1_000, 100) * 30:
                    await loop.sock_sendall(client, bytes(size))
                    got = 0
                    while got < size:
                        got += await loop.sock_recv_into(client, buffer)
            await serving
