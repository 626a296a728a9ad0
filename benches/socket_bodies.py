"""The bodies of the socket rows: echoes over UDP and Unix sockets, connecting and closing, much data over TCP.

Client and server share a process and a loop, so both count. Called by `bench_sockets.py`.
"""

from __future__ import annotations

import asyncio
import tempfile
from asyncio import AbstractEventLoop
from pathlib import Path
from typing import cast

from body import Body, expect
from loops import Sleep
from tcp_servers import HOST, Echo

MIB = 1024 * 1024
CHUNK = bytes(MIB)
DATAGRAM = bytes(512)
IN_FLIGHT = 32
PEERS = 64
MESSAGE = bytes(1024)


class Tally:
    """How many answers have come, and how many are wanted."""

    def __init__(self, loop: AbstractEventLoop, wanted: int) -> None:
        self.wanted = wanted
        self.asked = self.answered = 0
        self.done = loop.create_future()

    def may_ask(self) -> bool:
        """Counts one more question, unless all were asked."""
        self.asked += 1
        return self.asked <= self.wanted

    def answer(self) -> None:
        """Counts an answer."""
        self.answered += 1
        if self.answered == self.wanted:
            self.done.set_result(None)


class EchoDatagrams(asyncio.DatagramProtocol):
    """Sends back what it gets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.transport.sendto(data, addr)


class AskDatagrams(asyncio.DatagramProtocol):
    """Answers each answer with the next question."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.tally.answer()
        if self.tally.may_ask():
            self.transport.sendto(data)


async def echo_datagrams(loop: AbstractEventLoop, count: int, peers: int, each: int) -> int:
    tally = Tally(loop, count)
    server, _ = await loop.create_datagram_endpoint(EchoDatagrams, local_addr=(HOST, 0))
    address = server.get_extra_info("sockname")
    clients = [
        (await loop.create_datagram_endpoint(lambda: AskDatagrams(tally), remote_addr=address))[0]
        for _ in range(peers)
    ]
    for _ in range(each):
        for client in clients:
            if tally.may_ask():
                client.sendto(DATAGRAM)
    await asyncio.wait_for(tally.done, 60)
    for transport in (server, *clients):
        transport.close()
    await asyncio.sleep(0.01)
    return tally.answered


async def udp_one_peer(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    return await echo_datagrams(loop, count, 1, IN_FLIGHT)


async def udp_many_peers(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    return await echo_datagrams(loop, count, PEERS, 1)


class Ask(asyncio.Protocol):
    """Answers each answer, when all of it has come, with the next question."""

    transport: asyncio.Transport

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.missing = len(MESSAGE)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.missing -= len(data)
        if self.missing == 0:
            self.missing = len(MESSAGE)
            self.tally.answer()
            if self.tally.may_ask():
                self.transport.write(MESSAGE)


async def unix_echo(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    tally = Tally(loop, count)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "echo")
        server = await loop.create_unix_server(Echo, path)
        clients = [(await loop.create_unix_connection(lambda: Ask(tally), path))[0] for _ in range(PEERS)]
        for client in clients:
            if tally.may_ask():
                client.write(MESSAGE)
        await asyncio.wait_for(tally.done, 60)
        for client in clients:
            client.close()
        server.close()
        await asyncio.sleep(0.01)
    return tally.answered


class Goodbye(asyncio.Protocol):
    """Knows when the connection is closed."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.closed = loop.create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)


async def connect_and_close(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    server = await loop.create_server(asyncio.Protocol, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    done = 0
    for _ in range(count):
        transport, protocol = await loop.create_connection(lambda: Goodbye(loop), HOST, port)
        transport.close()
        await protocol.closed
        done += 1
    server.close()
    await asyncio.sleep(0.01)
    return done


class Sink(asyncio.Protocol):
    """Counts what it gets, and tells its maker at the end."""

    def __init__(self, ended: asyncio.Future[int]) -> None:
        self.ended = ended
        self.size = 0

    def data_received(self, data: bytes) -> None:
        self.size += len(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(self.size)


class Source(asyncio.Protocol):
    """Knows when to go on writing."""

    def __init__(self) -> None:
        self.may_write = asyncio.Event()
        self.may_write.set()

    def pause_writing(self) -> None:
        self.may_write.clear()

    def resume_writing(self) -> None:
        self.may_write.set()


async def tcp_bulk(loop: AbstractEventLoop, count: int, sleep: Sleep) -> int:
    ended = loop.create_future()
    server = await loop.create_server(lambda: Sink(ended), HOST, 0)
    transport, source = await loop.create_connection(Source, HOST, server.sockets[0].getsockname()[1])
    for _ in range(count):
        transport.write(CHUNK)
        await source.may_write.wait()
    transport.close()
    size = await ended
    server.close()
    await asyncio.sleep(0.01)
    return int(size) // MIB


BODIES = {
    body.name: body
    for body in (
        Body(
            "UDP echo, one peer",
            f"datagrams of {len(DATAGRAM)} bytes there and back, {IN_FLIGHT} in flight",
            udp_one_peer,
            by_processor_time=True,
            unit="echoes/s",
        ),
        Body(
            "UDP echo, 64 peers",
            f"the same between a server and {PEERS} connected clients, one in flight each",
            udp_many_peers,
            by_processor_time=True,
            unit="echoes/s",
        ),
        Body(
            "Unix echo",
            f"{len(MESSAGE)} bytes there and back over {PEERS} Unix connections, one in flight each",
            unix_echo,
            by_processor_time=True,
            unit="echoes/s",
        ),
        Body(
            "connect and close",
            "TCP connections that are made and closed one after the other",
            connect_and_close,
            step=100,
            by_processor_time=True,
            unit="connections/s",
        ),
        Body(
            "TCP bulk",
            "one connection that carries much data in writes of 1 MiB",
            tcp_bulk,
            step=16,
            by_processor_time=True,
            unit="MiB/s",
        ),
    )
}


def check(loop: AbstractEventLoop, body: Body, sleep: Sleep) -> None:
    """Raises AssertionError unless datagrams come back as they were sent, from where they were sent to."""
    loop.run_until_complete(_check(loop))


async def _check(loop: AbstractEventLoop) -> None:
    received: list[tuple[bytes, object]] = []

    class Keep(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            received.append((data, addr))

    server, _ = await loop.create_datagram_endpoint(EchoDatagrams, local_addr=(HOST, 0))
    address = server.get_extra_info("sockname")
    client, _ = await loop.create_datagram_endpoint(Keep, remote_addr=address)
    sent = [b"one", b"two", b"three", b"six", b"ten"]
    for data in sent:
        client.sendto(data)
    for _ in range(100):
        if len(received) == len(sent):
            break
        await asyncio.sleep(0.001)
    expect("datagrams", [data.decode() for data, _ in received], [data.decode() for data in sent])
    expect("senders", [str(addr) for _, addr in received], [str(address)] * len(sent))
    for transport in (server, client):
        transport.close()
    await asyncio.sleep(0.01)
